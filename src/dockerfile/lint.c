/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/lint_private.h"

#include "util/alloc.h"

/* ---- what is reported ---- */

static bool says(bool all, const struct cb_strvec *names, const char *name)
{
    return all || cb_strvec_has(names, name);
}

/* The comment above an instruction adds to what the file says. */
static bool wanted(const struct cb_df_lint *l, const struct cb_df_instruction *i, const struct cb_df_rule *r)
{
    CB_CLEANUP(cb_df_check_done) struct cb_df_check own = { 0 };
    if (i && i->check && !r->whole_file && cb_df_check_parse(&own, i->check, NULL) < 0)
        cb_df_check_done(&own);
    if (r->experimental)
        return says(l->check.experimental_all, &l->check.experimental, r->name) ||
               says(own.experimental_all, &own.experimental, r->name);
    return !says(l->check.skip_all, &l->check.skip, r->name) && !says(own.skip_all, &own.skip, r->name);
}

void cb_df_lint_warn(struct cb_df_lint *l, struct cb_df_lint_at at, enum cb_df_rule_id rule, const char *fmt, ...)
{
    const struct cb_df_rule *r = &cb_df_rules[rule];
    va_list ap;
    if (!wanted(l, at.i, r))
        return;
    va_start(ap, fmt);
    cb_autofree char *text = cb_vasprintf(fmt, ap);
    va_end(ap);
    l->violated[rule] = true;
    cb_df_warn(&l->warnings, at.span, r->name, "%s", text);
}

struct cb_slice cb_df_lint_keyword(const struct cb_df_instruction *i)
{
    return (struct cb_slice){ i->original, strlen(cb_df_kind_name(i->kind)) };
}

char *cb_df_lint_quoted(const char *s)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_addch(&sb, '"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            cb_strbuf_addf(&sb, "\\%c", *s);
        else if (*s == '\t')
            cb_strbuf_adds(&sb, "\\t");
        else if ((unsigned char)*s < ' ' || *s == 0x7f)
            cb_strbuf_addf(&sb, "\\x%02x", (unsigned char)*s);
        else
            cb_strbuf_addch(&sb, *s);
    }
    cb_strbuf_addch(&sb, '"');
    return cb_strbuf_detach(&sb, NULL);
}

/* ---- the walk ---- */

static void done_args(struct cb_df_lint_args *a)
{
    for (size_t i = 0; i < a->n; i++) {
        free(a->v[i].param.name);
        free(a->v[i].param.value);
        free(a->v[i].param.description);
        cb_strvec_done(&a->v[i].deps);
    }
    free(a->v);
}

static void done_params(struct cb_df_params *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->v[i].name);
        free(p->v[i].value);
        free(p->v[i].description);
    }
    free(p->v);
}

void cb_df_outline_done(struct cb_df_outline *o)
{
    free(o->name);
    free(o->description);
    done_params(&o->args);
    done_params(&o->secrets);
    done_params(&o->ssh);
    done_params(&o->caches);
    *o = (struct cb_df_outline){ 0 };
}

static void done_stage(struct cb_df_lint_stage *st)
{
    cb_strvec_done(&st->env);
    cb_strvec_done(&st->declared);
    cb_strvec_done(&st->used);
    done_args(&st->args);
    done_params(&st->secrets);
    done_params(&st->ssh);
    done_params(&st->caches);
}

void cb_df_lint_done(struct cb_df_lint *l)
{
    for (size_t i = 0; l->stages && i < l->d->n_stages; i++)
        done_stage(&l->stages[i]);
    free(l->stages);
    for (size_t i = 0; i < l->warnings.n; i++) {
        free(l->warnings.v[i].rule);
        free(l->warnings.v[i].text);
    }
    free(l->warnings.v);
    cb_df_check_done(&l->check);
    cb_strvec_done(&l->globals);
    cb_strvec_done(&l->global_names);
    done_args(&l->global_args);
}

static void add_rules(const struct cb_strvec *more, bool *all, struct cb_strvec *names)
{
    for (size_t i = 0; more && i < more->n; i++) {
        *all |= strcmp(more->v[i], "all") == 0;
        cb_strvec_push(names, more->v[i]);
    }
}

static int read_check(struct cb_df_lint *l, struct cb_error *err)
{
    const char *text = l->o->check ? l->o->check : l->d->check ? l->d->check : "";
    if (cb_df_check_parse(&l->check, text, err) == 0) {
        add_rules(l->o->skip, &l->check.skip_all, &l->check.skip);
        add_rules(l->o->experimental, &l->check.experimental_all, &l->check.experimental);
        return 0;
    }
    (void)cb_error_wrap(err, l->o->check ? "BUILDKIT_DOCKERFILE_CHECK" : "%s: # check=", l->d->name);
    return -CB_ECONF;
}

int cb_df_lint_run(struct cb_df_lint *l, struct cb_df_lint_stage **target, struct cb_error *err)
{
    int r = read_check(l, err);
    if (r < 0)
        return r;
    l->stages = cb_calloc(l->d->n_stages + 1, sizeof *l->stages);
    cb_df_lint_file(l);
    cb_df_lint_defaults(l);
    cb_df_lint_platform_args(l, &l->globals);
    (void)cb_df_lint_meta_args(l, true, &l->globals, &l->global_args);
    for (size_t i = 0; i < l->d->n_stages; i++) {
        l->stages[i].df = &l->d->stages[i];
        l->stages[i].index = i;
        cb_df_lint_from(l, &l->stages[i]);
    }
    bool found = cb_df_lint_link(l, target);
    for (size_t i = 0; i < l->d->n_stages; i++)
        if (l->o->all_stages || !found || l->stages[i].reachable)
            cb_df_lint_stage(l, &l->stages[i]);
    return 0;
}

/* ---- the result ---- */

static int by_line(const void *a, const void *b)
{
    const struct cb_df_warning *x = a, *y = b;
    if (x->span.first != y->span.first)
        return x->span.first < y->span.first ? -1 : 1;
    int r = strcmp(x->rule, y->rule);
    return r != 0 ? r : strcmp(x->text, y->text);
}

static void give(struct cb_dockerfile *d, struct cb_df_warnings *w)
{
    size_t n = d->n_warnings + w->n;
    if (w->n == 0)
        return;
    struct cb_df_warning *v = cb_calloc(n, sizeof *v);
    if (d->n_warnings)
        memcpy(v, d->warnings, d->n_warnings * sizeof *v);
    memcpy(v + d->n_warnings, w->v, w->n * sizeof *v);
    w->n = 0;
    free(d->warnings);
    d->warnings = v;
    d->n_warnings = n;
    qsort(v, n, sizeof *v, by_line);
}

static int verdict(const struct cb_df_lint *l, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf rules = CB_STRBUF_INIT;
    for (size_t i = 0; i < CB_DF_N_RULES; i++)
        if (l->violated[i])
            cb_strbuf_addf(&rules, "%s%s", rules.len ? ", " : "", cb_df_rules[i].name);
    if (!l->check.error || l->o->report_only || rules.len == 0)
        return 0;
    unsigned line = l->warnings.v[0].span.first;
    for (size_t i = 1; i < l->warnings.n; i++)
        line = CB_MIN(line, l->warnings.v[i].span.first);
    cb_df_fail(err, "lint violation found for rules: %s", rules.buf);
    return cb_error_wrap(err, "%s:%u", l->d->name, line);
}

int cb_df_lint(struct cb_dockerfile *d, const struct cb_df_lint_options *o, struct cb_error *err)
{
    CB_CLEANUP(cb_df_lint_done) struct cb_df_lint l = { .d = d, .o = o };
    struct cb_df_lint_stage *target;
    int r = cb_df_lint_run(&l, &target, err);
    if (r == 0)
        r = verdict(&l, err);
    give(d, &l.warnings);
    return r;
}
