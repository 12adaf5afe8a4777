/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan_private.h"
#include "util/alloc.h"

/* In pairs. */
static const char *const proxy_args[] = { "HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy",
                                          "FTP_PROXY",  "ftp_proxy",  "NO_PROXY",    "no_proxy",
                                          "ALL_PROXY",  "all_proxy",  NULL };

bool cb_plan_is_proxy_arg(const char *name)
{
    for (size_t i = 0; proxy_args[i]; i++)
        if (!strcmp(proxy_args[i], name))
            return true;
    return false;
}

static const char *build_arg(const struct planner *p, const char *key)
{
    return p->o->build->build_args ? cb_env_get(p->o->build->build_args, key) : NULL;
}

/* ---- the global scope ---- */

static const char *lookup_global(void *arg, const char *name)
{
    return cb_env_get(&((struct planner *)arg)->globals, name);
}

int plan_expand_global(struct planner *p, const char *text, char **out, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_df_scope scope = { .lookup = lookup_global, .arg = p, .escape = p->df->escape };
    int r = cb_df_expand(&sb, text, &scope, err);
    if (r == 0)
        *out = cb_strbuf_detach(&sb, NULL);
    return r;
}

static void set_platform_args(struct planner *p, const char *prefix, const struct cb_platform *pl)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct { const char *suffix, *value; } v[] = {
        { "OS", pl->os }, { "ARCH", pl->arch }, { "VARIANT", pl->variant }, { "OSVERSION", pl->os_version },
    };
    cb_strbuf_add_platform(&text, pl);
    cb_autofree char *whole = cb_asprintf("%sPLATFORM", prefix);
    const char *given = build_arg(p, whole);
    cb_env_set(&p->globals, whole, given ? given : text.buf);
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        cb_autofree char *key = cb_asprintf("%s%s", prefix, v[i].suffix);
        given = build_arg(p, key);
        cb_env_set(&p->globals, key, given ? given : v[i].value ? v[i].value : "");
    }
}

/* As BuildKit names it: what --target says, else the last stage. */
static const char *target_stage(const struct planner *p)
{
    const char *target = p->o->build->target;
    const char *last = p->df->n_stages ? p->df->stages[p->df->n_stages - 1].from.stage_name : NULL;
    return target && *target ? target : last ? last : "default";
}

int plan_global_args(struct planner *p, struct cb_error *err)
{
    set_platform_args(p, "BUILD", &p->host);
    set_platform_args(p, "TARGET", &p->target);
    cb_env_set(&p->globals, "TARGETSTAGE", target_stage(p));
    for (size_t i = 0; i < p->df->n_global_args; i++) {
        const struct cb_df_instruction *in = &p->df->global_args[i];
        for (size_t k = 0; k < in->n_pairs; k++) {
            const char *given = build_arg(p, in->pairs[k].key);
            cb_autofree char *value = given ? cb_strdup(given) : NULL;
            int r = !given && in->pairs[k].value ? plan_expand_global(p, in->pairs[k].value, &value, err) : 0;
            if (r < 0)
                return plan_error(p, in->span, err);
            if (value)
                cb_env_set(&p->globals, in->pairs[k].key, value);
        }
    }
    return 0;
}

/* ---- the scope of a stage: ENV wins over ARG ---- */

static const char *lookup_stage(void *arg, const char *name)
{
    const struct plan_stage *st = arg;
    const char *v = cb_env_get(&st->config.env, name);
    return v ? v : cb_env_get(&st->args, name);
}

static struct cb_df_scope stage_scope(struct plan_stage *st)
{
    return (struct cb_df_scope){ .lookup = lookup_stage, .arg = st, .escape = st->p->df->escape };
}

int plan_expand(struct plan_stage *st, const char *text, char **out, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_df_scope scope = stage_scope(st);
    int r = cb_df_expand(&sb, text, &scope, err);
    if (r == 0)
        *out = cb_strbuf_detach(&sb, NULL);
    return r;
}

int plan_expand_words(struct plan_stage *st, const char *text, struct cb_strvec *out, struct cb_error *err)
{
    struct cb_df_scope scope = stage_scope(st);
    return cb_df_expand_words(out, text, &scope, err);
}

int plan_expand_raw(struct plan_stage *st, const char *text, char **out, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_df_scope scope = stage_scope(st);
    int r = cb_df_expand_raw(&sb, text, &scope, err);
    if (r == 0)
        *out = cb_strbuf_detach(&sb, NULL);
    return r;
}

int plan_expand_mount(struct plan_stage *st, const struct cb_df_mount *m, struct cb_df_mount *out,
                      struct cb_error *err)
{
    struct cb_df_scope scope = stage_scope(st);
    return cb_df_mount_expand(out, m, &scope, err);
}

/* --build-arg, else the default, else (without a default) the global value. */
static int arg_value(struct plan_stage *st, const struct cb_df_pair *pair, char **out, struct cb_error *err)
{
    const char *v = build_arg(st->p, pair->key);
    if (!v && pair->value)
        return plan_expand(st, pair->value, out, err);
    if (!v)
        v = cb_env_get(&st->p->globals, pair->key);
    *out = cb_strdup_or_null(v);
    return 0;
}

/* One after the other: a default sees those before it in the same line. */
int plan_arg(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note, struct cb_error *err)
{
    for (size_t k = 0; k < i->n_pairs; k++) {
        const char *key = i->pairs[k].key;
        cb_autofree char *value = NULL;
        int r = arg_value(st, &i->pairs[k], &value, err);
        if (r < 0)
            return r;
        if (value)
            cb_env_set(&st->args, key, value);
        if (!cb_strvec_has(&st->declared, key))
            cb_strvec_push(&st->declared, key);
        cb_strbuf_addf(note, " %s%s%s", key, value ? "=" : "", value ? value : "");
    }
    return 0;
}

static void split(const char *entry, char **key, const char **value)
{
    const char *eq = strchrnul(entry, '=');
    *key = cb_strndup(entry, (size_t)(eq - entry));
    *value = *eq ? eq + 1 : "";
}

/* One that is given stands in both spellings, whatever ENV says; of two the lower-case one. */
static void add_proxies(const struct plan_stage *st, struct cb_strvec *out)
{
    for (size_t i = 0; proxy_args[i]; i += 2) {
        const char *upper = build_arg(st->p, proxy_args[i]), *lower = build_arg(st->p, proxy_args[i + 1]);
        const char *value = lower ? lower : upper;
        if (!value || !*value)
            continue;
        cb_env_set(out, proxy_args[i], value);
        cb_env_set(out, proxy_args[i + 1], value);
    }
}

void plan_run_env(const struct plan_stage *st, bool with_proxies, struct cb_strvec *out)
{
    cb_strvec_copy(out, &st->config.env);
    for (size_t i = 0; i < st->args.n; i++) {
        cb_autofree char *key = NULL;
        const char *value;
        split(st->args.v[i], &key, &value);
        if (!cb_env_get(&st->config.env, key) && !plan_is_scan_arg(key))
            cb_env_set(out, key, value);
    }
    if (with_proxies)
        add_proxies(st, out);
}

void plan_run_args(const struct plan_stage *st, struct cb_strvec *out)
{
    for (size_t i = 0; i < st->args.n; i++) {
        cb_autofree char *key = NULL;
        const char *value;
        split(st->args.v[i], &key, &value);
        if (!cb_env_get(&st->config.env, key) && !plan_is_scan_arg(key))
            cb_strvec_push(out, key);
    }
}

void plan_args_note(const struct plan_stage *st, struct cb_strbuf *out)
{
    if (st->declared.n == 0)
        return;
    cb_strbuf_addf(out, "|%zu ", st->declared.n);
    for (size_t i = 0; i < st->declared.n; i++) {
        const char *env = cb_env_get(&st->config.env, st->declared.v[i]);
        const char *value = env ? env : cb_env_get(&st->args, st->declared.v[i]);
        cb_strbuf_addf(out, "%s=%s ", st->declared.v[i], value ? value : "");
    }
}
