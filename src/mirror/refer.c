/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/private.h"
#include "util/alloc.h"

#define FACT "mirror-referrers"

/* What is known of one subject; its asker is the one who made it. */
struct subject {
    bool done;
    int r;
    struct cb_strbuf state;
    struct cb_error error;
};

void mirror_watch_init(struct mirror_watch *w, const struct cb_copy_env *env, const struct cb_place *source,
                       const struct cb_strvec *tags)
{
    *w = (struct mirror_watch){ .env = env, .source = source, .subjects = cb_hashmap_new(), .api = -1 };
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->changed, NULL);
    w->tags = tags ? cb_hashmap_new() : NULL;
    for (size_t i = 0; tags && i < tags->n; i++)
        cb_hashmap_put(w->tags, tags->v[i], w);
}

void mirror_watch_done(struct mirror_watch *w)
{
    size_t it = 0;
    const char *key;
    void *value;
    while (cb_hashmap_next(w->subjects, &it, &key, &value)) {
        struct subject *s = value;
        cb_strbuf_done(&s->state);
        cb_error_done(&s->error);
        free(s);
    }
    cb_hashmap_free(w->subjects);
    cb_hashmap_free(w->tags);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->mu);
}

static void reference_of(const struct mirror_watch *w, const char *tag, const struct cb_digest *digest,
                         struct cb_reference *out)
{
    cb_reference_copy(out, &w->source->ref);
    out->tag = cb_strdup_or_null(tag);
    if (digest)
        out->digest = *digest;
}

/* ---- the tags that belong to a digest ---- */

static int add_tag(struct mirror_watch *w, const char *tag, struct cb_strbuf *state, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (!cb_reference_valid_tag(tag) || (w->tags && !cb_hashmap_get(w->tags, tag)))
        return 0;
    reference_of(w, tag, NULL, &ref);
    int r = cb_registry_head(w->env->registry, &ref, &d, &e);
    if (r == -CB_ENOTFOUND)
        return 0;
    if (r < 0)
        return cb_error_move(err, &e);
    cb_strbuf_addf(state, "%s ", tag);
    cb_strbuf_add_digest(state, &d.digest);
    cb_strbuf_addch(state, '\n');
    return 0;
}

static int add_tags(struct mirror_watch *w, const struct cb_digest *subject, bool list, struct cb_strbuf *state,
                    struct cb_error *err)
{
    static const char *const kinds[] = { ".sig", ".att", ".sbom" };
    char hex[CB_DIGEST_TEXT_MAX];
    const char *alg = cb_digest_alg_name(subject->alg);
    cb_autofree char *fallback = cb_asprintf("%s-%.64s", alg, cb_digest_hex(subject, hex));
    int r = list ? add_tag(w, fallback, state, err) : 0;
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(kinds); i++) {
        cb_autofree char *tag = cb_asprintf("%s-%s%s", alg, hex, kinds[i]);
        r = add_tag(w, tag, state, err);
    }
    return r;
}

/* ---- the list of the registry ---- */

static int has_api(struct mirror_watch *w, const struct cb_digest *subject, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    pthread_mutex_lock(&w->mu);
    if (w->api < 0) {
        reference_of(w, NULL, subject, &ref);
        w->api = cb_registry_has_referrers(w->env->registry, &ref, err);
    }
    int api = w->api;
    pthread_mutex_unlock(&w->mu);
    return api;
}

static int add_list(struct mirror_watch *w, const struct cb_digest *subject, struct cb_strbuf *state,
                    struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_index idx cb_cleanup_index = { 0 };
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    reference_of(w, NULL, subject, &ref);
    int r = cb_registry_referrers(w->env->registry, &ref, NULL, &idx, err);
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++)
        cb_strvec_push(&all, cb_digest_text(&idx.manifests[i].digest, text));
    cb_strvec_sort(&all);
    for (size_t i = 0; i < all.n; i++)
        cb_strbuf_addf(state, "%s\n", all.v[i]);
    return r;
}

/* ---- one subject, and all that belong to a tag ---- */

static int ask(struct mirror_watch *w, const struct cb_digest *subject, struct cb_strbuf *state, struct cb_error *err)
{
    int api = has_api(w, subject, err);
    int r = api < 0 ? api : api ? add_list(w, subject, state, err) : 0;
    return r < 0 ? r : add_tags(w, subject, !api, state, err);
}

static struct subject *subject_of(struct mirror_watch *w, const char *text)
{
    cb_autofree struct subject *fresh = CB_NEW(struct subject);
    struct cb_digest d;
    fresh->state = (struct cb_strbuf)CB_STRBUF_INIT;
    pthread_mutex_lock(&w->mu);
    struct subject *s = cb_hashmap_get(w->subjects, text);
    if (s) {
        while (!s->done)
            pthread_cond_wait(&w->changed, &w->mu);
        pthread_mutex_unlock(&w->mu);
        return s;
    }
    s = CB_TAKE(fresh);
    cb_hashmap_put(w->subjects, text, s);
    pthread_mutex_unlock(&w->mu);
    int r = cb_digest_parse(&d, text, &s->error);
    s->r = r < 0 ? r : ask(w, &d, &s->state, &s->error);
    pthread_mutex_lock(&w->mu);
    s->done = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->mu);
    return s;
}

int mirror_watch_state(struct mirror_watch *w, const struct mirror_result *of, struct cb_digest *out,
                       struct cb_error *err)
{
    struct cb_strbuf state cb_cleanup_strbuf = CB_STRBUF_INIT;
    char top[CB_DIGEST_TEXT_MAX];
    cb_digest_text(&of->digest, top);
    *out = (struct cb_digest){ 0 };
    for (size_t i = 0; i <= of->parts.n; i++) {
        const char *text = i ? of->parts.v[i - 1] : top;
        const struct subject *s = subject_of(w, text);
        if (s->r < 0)
            return cb_error_copy(err, &s->error);
        if (s->state.len)
            cb_strbuf_addf(&state, "%s: %s", text, s->state.buf);
    }
    if (state.len)
        cb_digest_of(out, state.buf, state.len);
    return 0;
}

/* ---- what was brought ---- */

static char *fact_key(const struct cb_mirror_pair *p, const struct cb_mirror_tag *t)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s/%s %s/%s %s", p->source.ref.host, p->source.ref.repo, p->target.ref.host,
                       p->target.ref.repo, cb_digest_text(&t->result, text));
}

bool mirror_watch_brought(const struct cb_copy_env *env, const struct cb_mirror_pair *p, const struct cb_mirror_tag *t)
{
    struct cb_strbuf have cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    cb_autofree char *key = fact_key(p, t);
    if (!cb_digest_is_set(&t->referrers))
        return true;
    return cb_store_fact_get(env->store, FACT, key, &have, NULL) == 0 &&
           !strcmp(have.buf, cb_digest_text(&t->referrers, text));
}

void mirror_watch_keep(const struct cb_copy_env *env, const struct cb_mirror_pair *p, const struct cb_mirror_tag *t)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_autofree char *key = fact_key(p, t);
    if (cb_digest_is_set(&t->referrers))
        (void)!cb_store_fact_put(env->store, FACT, key, cb_digest_text(&t->referrers, text), NULL);
}
