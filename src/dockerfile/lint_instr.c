/* SPDX-License-Identifier: Apache-2.0 */
/* The rules for an instruction of a stage, and what it changes for those below it. */
#include "dockerfile/lint_private.h"

#include <ctype.h>
#include <strings.h>

#include "util/alloc.h"
#include "util/path.h"

struct walk {
    struct cb_df_lint *l;
    struct cb_df_lint_stage *st;
    struct cb_df_lint_at at;
    bool unsure;     /* a variable may come from a parent that nothing is known of */
};

/* ---- variables ---- */

/* Arguments that only steer the scan for an SBOM: nobody has to declare them, and they are no variables. */
static bool is_scan_arg(const char *name)
{
    return strcmp(name, "BUILDKIT_SBOM_SCAN_CONTEXT") == 0 || strcmp(name, "BUILDKIT_SBOM_SCAN_STAGE") == 0;
}

static void undefined(struct walk *w, const char *name)
{
    if (cb_strvec_has(&w->st->declared, name) || is_scan_arg(name))
        return;
    w->unsure |= !w->st->known;
    if (!w->st->known)
        return;
    cb_autofree char *best = cb_df_lint_nearest(name, &w->st->env);
    cb_df_lint_warn(w->l, w->at, CB_DF_UNDEFINED_VAR, "Usage of undefined variable '$%s'%s%s%s", name,
                    best ? " (did you mean $" : "", best ? best : "", best ? "?)" : "");
}

static char *expand_as(struct walk *w, const char *text, bool raw)
{
    CB_CLEANUP(cb_df_lint_expansion_done) struct cb_df_lint_expansion e = { 0 };
    if (!text || !strpbrk(text, "$\\`\"'"))
        return cb_strdup(text ? text : "");
    cb_df_lint_expand(&e, w->l, &w->st->env, text, raw);
    for (size_t i = 0; i < e.unmatched.n; i++)
        undefined(w, e.unmatched.v[i]);
    return e.text ? CB_TAKE(e.text) : cb_strdup("");
}

static char *expand(struct walk *w, const char *text)
{
    return expand_as(w, text, false);
}

static void look(struct walk *w, const char *text)
{
    free(expand(w, text));
}

/* ---- ENV, LABEL, ARG ---- */

static bool has_token(const char *name, const char *const *tokens)
{
    for (const char *p = name; *p;) {
        size_t n = strcspn(p, "_");
        for (size_t i = 0; tokens[i]; i++)
            if (strlen(tokens[i]) == n && strncasecmp(tokens[i], p, n) == 0)
                return true;
        p += n + (p[n] != '\0');
    }
    return false;
}

static void lint_secret(struct walk *w, const char *keyword, const char *name)
{
    static const char *const secret[] = { "apikey", "auth", "credential", "credentials", "key", "password", "pword",
                                          "passwd", "secret", "token", NULL };
    static const char *const harmless[] = { "public", "file", "version", NULL };
    if (!has_token(name, secret) || has_token(name, harmless))
        return;
    cb_autofree char *shown = cb_df_lint_quoted(name);
    cb_df_lint_warn(w->l, w->at, CB_DF_SECRETS_USED_IN_ARG_OR_ENV,
                    "Do not use ARG or ENV instructions for sensitive data (%s %s)", keyword, shown);
}

static void on_pairs(struct walk *w)
{
    const struct cb_df_instruction *i = w->at.i;
    struct cb_slice word = cb_df_lint_keyword(i);
    /* One instruction sees what was set before it, whatever it sets itself. */
    char **keys = cb_calloc(i->n_pairs + 1, sizeof *keys), **values = cb_calloc(i->n_pairs + 1, sizeof *values);
    for (size_t k = 0; k < i->n_pairs; k++) {
        keys[k] = expand(w, i->pairs[k].key);
        values[k] = expand(w, i->pairs[k].value);
    }
    for (size_t k = 0; k < i->n_pairs; k++) {
        if (i->legacy_form)
            cb_df_lint_warn(w->l, w->at, CB_DF_LEGACY_KEY_VALUE_FORMAT,
                            "\"%.*s key=value\" should be used instead of legacy \"%.*s key value\" format",
                            (int)word.len, word.ptr, (int)word.len, word.ptr);
        if (i->kind == CB_DF_ENV) {
            lint_secret(w, "ENV", keys[k]);
            cb_env_set(&w->st->env, keys[k], values[k]);
        }
        free(keys[k]);
        free(values[k]);
    }
    free(keys);
    free(values);
}

/* --build-arg, else the default, else the global value. */
static void on_arg(struct walk *w, const struct cb_df_pair *p)
{
    struct cb_df_lint_stage *st = w->st;
    const char *given = cb_df_lint_build_arg(w->l, p->key);
    const char *global = !given && !p->value ? cb_env_get(&w->l->globals, p->key) : NULL;
    lint_secret(w, "ARG", p->key);
    cb_autofree char *value = given || global ? cb_strdup(given ? given : global)
        : p->value ? expand(w, p->value) : NULL;
    if (value && !is_scan_arg(p->key))
        cb_env_set(&st->env, p->key, value);
    if (!global)
        cb_df_lint_arg_add(&st->args, w->at.i, p->key, value);
    if (!cb_strvec_has(&st->used, p->key))
        cb_strvec_push(&st->used, p->key);
    if (!cb_strvec_has(&st->declared, p->key))
        cb_strvec_push(&st->declared, p->key);
}

static void on_args(struct walk *w)
{
    for (size_t k = 0; k < w->at.i->n_pairs; k++)
        on_arg(w, &w->at.i->pairs[k]);
}

/* ---- COPY, ADD ---- */

static bool is_remote(const char *s)
{
    static const char *const schemes[] = { "http://", "https://", "git@", "git://", "ssh://" };
    for (size_t i = 0; i < CB_COUNTOF(schemes); i++)
        if (cb_starts_with(s, schemes[i]))
            return true;
    return false;
}

static void lint_ignored(struct walk *w, const char *source)
{
    const struct cb_df_ignore *ig = w->l->o->ignore;
    cb_cleanup_strbuf struct cb_strbuf path = CB_STRBUF_INIT;
    if (w->at.i->from || !cb_df_ignore_simple(ig) || (w->at.i->kind == CB_DF_ADD && is_remote(source)))
        return;
    cb_path_clean(&path, source);
    bool root = strcmp(path.buf, ".") == 0 || strcmp(path.buf, "/") == 0;
    if (root ? !cb_df_ignore_all(ig) : path.buf[0] == '/' || !cb_df_ignored(ig, path.buf))
        return;
    cb_autofree char *shown = cb_df_lint_quoted(path.buf);
    cb_df_lint_warn(w->l, w->at, CB_DF_COPY_IGNORED_FILE, "Attempting to %s file %s that is excluded by .dockerignore",
                    w->at.i->kind == CB_DF_ADD ? "Add" : "Copy", shown);
}

static bool is_heredoc(const struct cb_df_instruction *i, size_t word)
{
    for (size_t k = 0; k < i->n_heredocs; k++)
        if (i->heredoc_word[k] == word)
            return true;
    return false;
}

static void on_copy(struct walk *w)
{
    const struct cb_df_instruction *i = w->at.i;
    cb_cleanup_strvec struct cb_strvec sources = CB_STRVEC_INIT;
    look(w, i->chown);
    look(w, i->chmod);
    look(w, i->checksum);
    for (size_t k = 0; k < i->words.n; k++) {
        char *word = is_heredoc(i, k) ? NULL : expand(w, i->words.v[k]);
        if (word && k + 1 < i->words.n)
            cb_strvec_take(&sources, word);
        else
            free(word);
    }
    for (size_t k = 0; k < i->n_heredocs; k++)
        if (i->heredocs[k].expand)
            free(expand_as(w, i->heredocs[k].body, true));
    for (size_t k = 0; k < sources.n; k++)
        lint_ignored(w, sources.v[k]);
}

/* ---- RUN ---- */

static void add_param(struct cb_df_params *p, const char *name, bool required, struct cb_df_span span)
{
    for (size_t k = 0; k < p->n; k++)
        if (strcmp(p->v[k].name, name) == 0)
            return;
    CB_GROW(p->v, p->n, p->cap);
    p->v[p->n++] = (struct cb_df_param){ .name = cb_strdup(name), .required = required, .span = span };
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static void on_mount(struct walk *w, const struct cb_df_mount *m)
{
    cb_autofree char *id = expand(w, m->id), *target = expand(w, m->target);
    cb_cleanup_strbuf struct cb_strbuf clean = CB_STRBUF_INIT;
    const char *const rest[] = { m->source, m->env, m->sharing, m->mode, m->uid, m->gid, m->size };
    for (size_t k = 0; k < CB_COUNTOF(rest); k++)
        look(w, rest[k]);
    cb_path_clean(&clean, target);
    if (m->type == CB_DF_MOUNT_SECRET)
        add_param(&w->st->secrets, *id ? id : base_name(clean.buf), m->required, w->at.span);
    else if (m->type == CB_DF_MOUNT_SSH)
        add_param(&w->st->ssh, *id ? id : "default", m->required, w->at.span);
    else if (m->type == CB_DF_MOUNT_CACHE)
        add_param(&w->st->caches, *id ? id : clean.buf, false, w->at.span);
}

static void on_run(struct walk *w)
{
    for (size_t k = 0; k < w->at.i->n_mounts; k++)
        on_mount(w, &w->at.i->mounts[k]);
}

/* ---- the others ---- */

static void on_workdir(struct walk *w)
{
    cb_autofree char *path = expand(w, w->at.i->words.v[0]);
    if (!w->st->workdir_set && !w->unsure && path[0] != '/') {
        cb_autofree char *shown = cb_df_lint_quoted(path);
        cb_df_lint_warn(w->l, w->at, CB_DF_WORKDIR_RELATIVE_PATH,
                        "Relative workdir %s can have unexpected results if the base image changes", shown);
    }
    w->st->workdir_set = true;
}

/* [[ip:]host:]container[/protocol] */
static void lint_port(struct walk *w, const char *port)
{
    const char *colon = strrchr(port, ':'), *slash = strchr(colon ? colon : port, '/');
    bool upper = false;
    for (const char *p = slash; p && *p; p++)
        upper |= isupper((unsigned char)*p) != 0;
    if (upper)
        cb_df_lint_warn(w->l, w->at, CB_DF_EXPOSE_PROTO_CASING,
                        "Defined protocol '%s' in EXPOSE instruction should be lowercase", port);
    if (colon && strspn(port, ":") < (size_t)(colon - port) + 1)
        cb_df_lint_warn(w->l, w->at, CB_DF_EXPOSE_INVALID_FORMAT,
                        "EXPOSE instruction should not define an IP address or host-port mapping, found '%s'", port);
}

static const char *env_of(void *arg, const char *name)
{
    return cb_env_get(arg, name);
}

/* BuildKit does not report undefined variables here. */
static void on_expose(struct walk *w)
{
    cb_cleanup_strvec struct cb_strvec ports = CB_STRVEC_INIT;
    struct cb_df_scope scope = { .lookup = env_of, .arg = &w->st->env, .escape = w->l->d->escape };
    for (size_t k = 0; k < w->at.i->words.n; k++)
        (void)!cb_df_expand_words(&ports, w->at.i->words.v[k], &scope, NULL);
    for (size_t k = 0; k < ports.n; k++)
        lint_port(w, ports.v[k]);
}

/* The earlier one is told of, for that is the one without effect. */
static void lint_once(struct walk *w)
{
    const struct cb_df_instruction *i = w->at.i;
    struct cb_slice word = cb_df_lint_keyword(i);
    struct cb_df_lint_at earlier = { i, w->st->last[i->kind] };
    if (earlier.span.first)
        cb_df_lint_warn(w->l, earlier, CB_DF_MULTIPLE_INSTRUCTIONS_DISALLOWED,
                        "Multiple %.*s instructions should not be used in the same stage because only the last one "
                        "will be used", (int)word.len, word.ptr);
    w->st->last[i->kind] = w->at.span;
}

static void on_command(struct walk *w)
{
    const struct cb_df_instruction *i = w->at.i;
    struct cb_slice word = cb_df_lint_keyword(i);
    lint_once(w);
    if (!i->command.exec_form && !w->st->has_shell)
        cb_df_lint_warn(w->l, w->at, CB_DF_JSON_ARGS_RECOMMENDED,
                        "JSON arguments recommended for %.*s to prevent unintended behavior related to OS signals",
                        (int)word.len, word.ptr);
}

static void on_words(struct walk *w)
{
    for (size_t k = 0; k < w->at.i->words.n; k++)
        look(w, w->at.i->words.v[k]);
}

static void on_shell(struct walk *w)
{
    w->st->has_shell = true;
}

void cb_df_lint_instruction(struct cb_df_lint *l, struct cb_df_lint_stage *st, struct cb_df_lint_at at)
{
    static void (*const rules[])(struct walk *w) = {
        [CB_DF_ARG] = on_args, [CB_DF_ENV] = on_pairs, [CB_DF_LABEL] = on_pairs, [CB_DF_WORKDIR] = on_workdir,
        [CB_DF_COPY] = on_copy, [CB_DF_ADD] = on_copy, [CB_DF_RUN] = on_run, [CB_DF_USER] = on_words,
        [CB_DF_EXPOSE] = on_expose, [CB_DF_CMD] = on_command, [CB_DF_ENTRYPOINT] = on_command,
        [CB_DF_VOLUME] = on_words, [CB_DF_SHELL] = on_shell, [CB_DF_STOPSIGNAL] = on_words,
        [CB_DF_HEALTHCHECK] = lint_once, [CB_DF_ONBUILD] = NULL,
    };
    struct walk w = { .l = l, .st = st, .at = at };
    if (rules[at.i->kind])
        rules[at.i->kind](&w);
}
