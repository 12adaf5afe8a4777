/* SPDX-License-Identifier: Apache-2.0 */
/* Variables of the checks: what is set, what is used, and what was likely meant. */
#include "dockerfile/lint_private.h"

#include "util/alloc.h"

#define MAX_NAME 64 /* longer names are nobody's slip */

/* Insertions, deletions and replacements; a swap is two. */
static unsigned distance(struct cb_slice a, struct cb_slice b)
{
    unsigned row[MAX_NAME + 1];
    for (size_t j = 0; j <= b.len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= a.len; i++) {
        unsigned diagonal = row[0];
        row[0] = (unsigned)i;
        for (size_t j = 1; j <= b.len; j++) {
            unsigned up = row[j], best = diagonal + (a.ptr[i - 1] != b.ptr[j - 1]);
            best = CB_MIN(best, CB_MIN(up, row[j - 1]) + 1);
            diagonal = up;
            row[j] = best;
        }
    }
    return row[b.len];
}

char *cb_df_lint_nearest(const char *name, const struct cb_strvec *env)
{
    struct cb_slice want = CB_SLICE(name), best = { NULL, 0 };
    unsigned limit = 3;
    for (size_t i = 0; i < env->n && want.len <= MAX_NAME; i++) {
        struct cb_slice key = { env->v[i], strcspn(env->v[i], "=") };
        if (key.len > MAX_NAME)
            continue;
        unsigned d = distance(want, key);
        if (d == 0)
            return NULL;
        if (d < limit) {
            limit = d;
            best = key;
        }
    }
    return best.ptr ? cb_strndup(best.ptr, best.len) : NULL;
}

/* ---- expansion ---- */

struct looker {
    const struct cb_strvec *env;
    struct cb_df_lint_expansion *e;
};

static const char *look(void *arg, const char *name)
{
    return cb_env_get(((struct looker *)arg)->env, name);
}

static void note(void *arg, const char *name, bool set)
{
    struct cb_df_lint_expansion *e = ((struct looker *)arg)->e;
    struct cb_strvec *v = set ? &e->matched : &e->unmatched;
    if (!cb_strvec_has(v, name))
        cb_strvec_push(v, name);
}

void cb_df_lint_expansion_done(struct cb_df_lint_expansion *e)
{
    free(e->text);
    cb_strvec_done(&e->matched);
    cb_strvec_done(&e->unmatched);
    *e = (struct cb_df_lint_expansion){ 0 };
}

void cb_df_lint_expand(struct cb_df_lint_expansion *e, const struct cb_df_lint *l, const struct cb_strvec *env,
                       const char *text, bool raw)
{
    struct looker k = { env, e };
    struct cb_df_scope scope = { .lookup = look, .seen = note, .arg = &k, .escape = l->d->escape };
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    int r = raw ? cb_df_expand_raw(&sb, text, &scope, NULL) : cb_df_expand(&sb, text, &scope, NULL);
    if (r == 0)
        e->text = cb_strdup(sb.len ? sb.buf : "");
}

/* ---- arguments ---- */

const char *cb_df_lint_build_arg(const struct cb_df_lint *l, const char *name)
{
    return l->o->build_args ? cb_env_get(l->o->build_args, name) : NULL;
}

static void set_platform(struct cb_df_lint *l, struct cb_strvec *env, const char *prefix, const char *platform)
{
    static const char *const parts[] = { "OS", "ARCH", "VARIANT" };
    struct cb_slice rest = CB_SLICE(platform ? platform : "");
    cb_autofree char *whole = cb_asprintf("%sPLATFORM", prefix), *version = cb_asprintf("%sOSVERSION", prefix);
    cb_env_set(env, whole, rest.ptr);
    cb_env_set(env, version, "");
    for (size_t i = 0; i < CB_COUNTOF(parts); i++) {
        const char *slash = memchr(rest.ptr, '/', rest.len);
        size_t n = slash ? (size_t)(slash - rest.ptr) : rest.len;
        cb_autofree char *key = cb_asprintf("%s%s", prefix, parts[i]);
        cb_autofree char *value = cb_asprintf("%.*s", (int)n, rest.ptr);
        cb_env_set(env, key, value);
        n += slash != NULL;
        rest = (struct cb_slice){ rest.ptr + n, rest.len - n };
    }
    for (size_t i = 0; i < env->n; i++) {
        cb_autofree char *key = cb_strndup(env->v[i], strcspn(env->v[i], "="));
        const char *given = cb_starts_with(key, prefix) ? cb_df_lint_build_arg(l, key) : NULL;
        if (given)
            cb_env_set(env, key, given);
    }
}

void cb_df_lint_platform_args(struct cb_df_lint *l, struct cb_strvec *env)
{
    set_platform(l, env, "BUILD", l->o->build_platform);
    set_platform(l, env, "TARGET", l->o->target_platform);
    cb_env_set(env, "TARGETSTAGE", l->o->target && *l->o->target ? l->o->target : "default");
}

void cb_df_lint_arg_add(struct cb_df_lint_args *args, const struct cb_df_instruction *i, const char *name,
                        const char *value)
{
    CB_GROW(args->v, args->n, args->cap);
    args->v[args->n++] = (struct cb_df_lint_arg){
        .param = { .name = cb_strdup(name), .value = cb_strdup_or_null(value), .span = i->span,
                   .description = cb_strdup_or_null(cb_df_description(i, name)) },
    };
}

static bool meta_arg(const struct cb_df_lint *l, const struct cb_df_pair *p, bool with, struct cb_strvec *env,
                     struct cb_df_lint_expansion *e)
{
    const char *given = with ? cb_df_lint_build_arg(l, p->key) : NULL;
    if (given)
        e->text = cb_strdup(given);
    else if (p->value)
        cb_df_lint_expand(e, l, env, p->value, false);
    if (e->text)
        cb_env_set(env, p->key, e->text);
    return e->text || !p->value;
}

bool cb_df_lint_meta_args(const struct cb_df_lint *l, bool with, struct cb_strvec *env, struct cb_df_lint_args *args)
{
    bool ok = true;
    for (size_t i = 0; i < l->d->n_global_args; i++) {
        const struct cb_df_instruction *in = &l->d->global_args[i];
        for (size_t k = 0; k < in->n_pairs; k++) {
            CB_CLEANUP(cb_df_lint_expansion_done) struct cb_df_lint_expansion e = { 0 };
            ok &= meta_arg(l, &in->pairs[k], with, env, &e);
            if (!args)
                continue;
            cb_df_lint_arg_add(args, in, in->pairs[k].key, e.text);
            cb_strvec_copy(&args->v[args->n - 1].deps, &e.matched);
        }
    }
    return ok;
}
