/* SPDX-License-Identifier: Apache-2.0 */
#include "build/cache_in.h"

#include "build/failed.h"
#include "util/alloc.h"
#include "util/timeutil.h"

struct cb_cache_in {
    const struct cb_build_env *env;
    struct cb_cache_source **v;
    size_t n;
};

static bool is_of(const struct cb_cache_source *s, const struct cb_cache_place *place)
{
    return !place || !strcmp(cb_cache_source_place(s)->text, place->text);
}

static bool in_store(void *arg, const struct cb_digest *blob)
{
    const struct cb_build_env *env = arg;
    return cb_store_blob_has(env->store, blob, NULL);
}

static int open_one(struct cb_cache_in *in, const struct cb_build_options *o, const struct cb_cache_spec *spec,
                    const char *run, struct cb_error *err)
{
    const struct cb_build_env *env = in->env;
    struct cb_cache_source_options so = {
        .place = { .spec = spec, .run = run, .registry = env->registry, .cancel = env->cancel },
        .progress = env->progress, .have = in_store, .arg = (void *)(uintptr_t)env,
        .newer_than = cb_build_cache_limit(o),
    };
    int r = cb_cache_source_open(&so, &in->v[in->n], err);
    in->n += r == 0;
    return r;
}

int cb_cache_in_open(const struct cb_build_env *env, const struct cb_build_options *o, const char *run,
                     struct cb_cache_in **out, struct cb_error *err)
{
    CB_AUTO(cb_cache_in_free) struct cb_cache_in *in = CB_NEW(struct cb_cache_in);
    int r = 0;
    in->env = env;
    in->v = cb_calloc(o->n_cache_from + 1, sizeof(struct cb_cache_source *));
    for (size_t i = 0; r == 0 && i < o->n_cache_from; i++)
        r = open_one(in, o, &o->cache_from[i], run, err);
    *out = r == 0 && in->n ? CB_TAKE(in) : NULL;
    return r;
}

void cb_cache_in_free(struct cb_cache_in *in)
{
    if (!in)
        return;
    for (size_t i = 0; i < in->n; i++)
        cb_cache_source_close(in->v[i]);
    free(in->v);
    free(in);
}

void cb_cache_in_fetch(struct cb_cache_in *in, const struct cb_digest *keys, size_t n)
{
    struct cb_digest *left = cb_memdup(keys, n * sizeof *keys);
    for (size_t i = 0; i < in->n && n; i++) {
        struct cb_cache_found found;
        cb_autofree char *name =
            cb_asprintf("[internal] reading the cache in %s", cb_cache_source_place(in->v[i])->text);
        struct cb_step *step = cb_step_new(in->env->progress, name);
        size_t asked = n, m = 0;
        cb_step_begin(step);
        cb_cache_source_fetch(in->v[i], left, n);
        for (size_t k = 0; k < n; k++)
            if (!cb_cache_source_find(in->v[i], &left[k], &found))
                left[m++] = left[k];
        n = m;
        cb_step_logf(step, "it has %zu of %zu steps", asked - n, asked);
        cb_step_done(step);
    }
    free(left);
}

bool cb_cache_in_find(struct cb_cache_in *in, const struct cb_digest *key, struct cb_cache_hit *out)
{
    struct cb_cache_found found;
    for (size_t i = 0; i < in->n; i++)
        if (cb_cache_source_find(in->v[i], key, &found)) {
            *out = (struct cb_cache_hit){ found.set, found.step, cb_cache_source_place(in->v[i]) };
            return true;
        }
    return false;
}

bool cb_cache_in_has_content(struct cb_cache_in *in, const char *note)
{
    bool has = false;
    for (size_t i = 0; !has && i < in->n; i++)
        has = cb_cache_source_has_content(in->v[i], note);
    return has;
}

bool cb_cache_in_find_content(struct cb_cache_in *in, const struct cb_digest *content, struct cb_cache_hit *out)
{
    struct cb_cache_found found;
    for (size_t i = 0; i < in->n; i++)
        if (cb_cache_source_find_content(in->v[i], content, &found)) {
            *out = (struct cb_cache_hit){ found.set, found.step, cb_cache_source_place(in->v[i]) };
            return true;
        }
    return false;
}

const struct cb_cache_layer *cb_cache_in_table(struct cb_cache_in *in, const struct cb_digest *diff_id,
                                               struct cb_cache_place **place)
{
    const struct cb_cache_layer *l = NULL;
    for (size_t i = 0; !l && i < in->n; i++) {
        l = cb_cache_source_table(in->v[i], diff_id);
        *place = cb_cache_source_place(in->v[i]);
    }
    return l;
}

bool cb_cache_in_again(struct cb_cache_in *in, const struct cb_cache_place *place, const struct cb_digest *key)
{
    struct cb_cache_found found;
    bool has = false;
    for (size_t i = 0; !has && i < in->n; i++)
        if (is_of(in->v[i], place)) {
            cb_cache_source_fetch(in->v[i], key, 1);
            has = cb_cache_source_find(in->v[i], key, &found);
        }
    return has;
}

bool cb_cache_in_reads(const struct cb_cache_in *in, const struct cb_cache_place *place)
{
    bool reads = false;
    for (size_t i = 0; in && !reads && i < in->n; i++)
        reads = is_of(in->v[i], place) && cb_cache_source_answers(in->v[i]);
    return reads;
}

enum cb_cache_state cb_cache_in_state(struct cb_cache_in *in, const struct cb_cache_place *place,
                                      const struct cb_digest *key)
{
    enum cb_cache_state state = CB_CACHE_UNKNOWN;
    for (size_t i = 0; in && state == CB_CACHE_UNKNOWN && i < in->n; i++)
        if (is_of(in->v[i], place))
            state = cb_cache_source_state(in->v[i], key);
    return state;
}

char *cb_cache_run_name(const struct cb_build_options *o, const struct cb_reference *first_tag)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_hasher_field(h, "cbpush-run/1");
    cb_hasher_field(h, first_tag ? first_tag->host : NULL);
    cb_hasher_field(h, first_tag ? first_tag->repo : NULL);
    cb_hasher_field(h, o->dockerfile);
    cb_hasher_field(h, o->target);
    cb_hasher_finish(h, &d);
    return cb_asprintf("run-%.32s", cb_digest_hex(&d, hex));
}

int64_t cb_build_cache_limit(const struct cb_build_options *o)
{
    int64_t at;
    if (o->cache_ttl <= 0 || __builtin_sub_overflow(cb_time_now(), o->cache_ttl, &at))
        return INT64_MIN;
    return at;
}
