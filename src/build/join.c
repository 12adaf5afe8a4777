/* SPDX-License-Identifier: Apache-2.0 */
#include "build/join.h"

#include "build/release.h"
#include "util/alloc.h"
#include "util/limits.h"

#define KEY_HEX 16
#define MAX_ROUNDS 5
#define MEETING "cbpush-join-"
#define ANNOTATION "dev.cbpush.join" /* of the index: which join made it */

/* ---- where they meet ---- */

void cb_join_places_done(struct cb_join_places *p)
{
    for (size_t i = 0; i < p->n; i++) {
        cb_reference_done(&p->v[i].meeting);
        free(p->v[i].tags);
        free(p->v[i].key);
    }
    free(p->v);
}

static int by_tag(const void *a, const void *b)
{
    const struct cb_reference *const *x = a, *const *y = b;
    return strcmp((*x)->tag, (*y)->tag);
}

/* Whoever joins the same ID for the same tags, in whatever order, has the same key. */
static char *make_key(const struct cb_join *join, struct cb_join_place *p)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    qsort(p->tags, p->n, sizeof(struct cb_reference *), by_tag);
    cb_hasher_field(h, join->id);
    for (size_t i = 0; i < p->n; i++)
        cb_hasher_field(h, p->tags[i]->tag);
    cb_hasher_finish(h, &d);
    return cb_strndup(cb_digest_hex(&d, hex), KEY_HEX);
}

static char *meeting_tag(const char *key, const struct cb_platform *p)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, MEETING);
    cb_strbuf_addf(&sb, "%s-", key);
    cb_strbuf_add_platform(&sb, p);
    for (char *s = sb.buf; *s; s++)
        *s = *s == '/' ? '-' : *s;
    return cb_strbuf_detach(&sb, NULL);
}

static struct cb_join_place *place_of(struct cb_join_places *out, const struct cb_reference *ref)
{
    for (size_t i = 0; i < out->n; i++)
        if (!strcmp(out->v[i].tags[0]->host, ref->host) && !strcmp(out->v[i].tags[0]->repo, ref->repo))
            return &out->v[i];
    return &out->v[out->n++];
}

static bool is_expected(const struct cb_join *join, const struct cb_platform *own)
{
    for (size_t i = 0; i < join->n_expect; i++)
        if (cb_platform_eq(&join->expect[i], own))
            return true;
    return false;
}

int cb_join_places_make(struct cb_join_places *out, const struct cb_join *join, const struct cb_platform *own,
                        const struct cb_reference *tags, size_t n_tags, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&text, own);
    if (!is_expected(join, own))
        return cb_error_set(err, CB_EUSAGE, "--join: %s is built here, and --expect does not name it", text.buf);
    out->v = cb_calloc(n_tags + 1, sizeof *out->v);
    for (size_t i = 0; i < n_tags; i++) {
        struct cb_join_place *p = place_of(out, &tags[i]);
        p->tags = cb_reallocarray(p->tags, p->n + 1, sizeof(struct cb_reference *));
        p->tags[p->n++] = &tags[i];
    }
    for (size_t i = 0; i < out->n; i++) {
        struct cb_join_place *p = &out->v[i];
        p->key = make_key(join, p);
        p->meeting = (struct cb_reference){ .host = cb_strdup(p->tags[0]->host), .repo = cb_strdup(p->tags[0]->repo),
                                            .tag = meeting_tag(p->key, own) };
    }
    return 0;
}

/* ---- who is there ---- */

struct meeting {
    const struct cb_join_work *w;
    const struct cb_join_place *place;
    struct cb_push *push;
    struct cb_descriptor *v; /* by the order of --expect; digest unset: not there */
    struct cb_index made;    /* what the join made before, if it did */
};

static void meeting_done(struct meeting *m)
{
    for (size_t i = 0; i < m->w->join->n_expect; i++)
        cb_descriptor_done(&m->v[i]);
    free(m->v);
    cb_index_done(&m->made);
    cb_push_free(m->push);
}

/* The descriptor of a manifest of that repository, by its digest. */
static int describe(const struct meeting *m, const struct cb_digest *d, struct cb_descriptor *out,
                    struct cb_error *err)
{
    const struct cb_reference *tag = m->place->tags[0];
    struct cb_reference ref = { .host = tag->host, .repo = tag->repo, .digest = *d };
    return cb_registry_head(m->w->env->registry, &ref, out, err);
}

/* Who is waited for, into out; false: nobody. */
static bool missing(const struct meeting *m, struct cb_strbuf *out)
{
    for (size_t i = 0; i < m->w->join->n_expect; i++) {
        if (cb_digest_is_set(&m->v[i].digest))
            continue;
        cb_strbuf_adds(out, out->len ? ", " : "");
        cb_strbuf_add_platform(out, &m->w->join->expect[i]);
    }
    return out->len > 0;
}

/* What an earlier run of this join made, so that one that is run again finds the others, whose meeting tags are gone.
 * Looked at after those: whoever takes them away has made it before. */
static int look_at_made(struct meeting *m, struct cb_error *err)
{
    const struct cb_reference *tag = m->place->tags[0];
    struct cb_tag_state state cb_cleanup_tag_state = { 0 };
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int r = cb_push_tag_state(m->push, tag->tag, &state, err);
    if (r < 0 || !state.there)
        return r;
    struct cb_reference ref = { .host = tag->host, .repo = tag->repo, .digest = state.digest };
    r = cb_registry_manifest(m->w->env->registry, &ref, &f, err);
    if (r < 0 || !cb_mt_is_index(f.desc.media_type))
        return r;
    r = cb_index_parse(&m->made, f.body.buf, f.body.len, f.desc.media_type, err);
    const char *by = r == 0 ? cb_strmap_get(&m->made.annotations, ANNOTATION) : NULL;
    if (r == 0 && !cb_streq(by, m->place->key))
        cb_index_done(&m->made);
    return r;
}

static const struct cb_descriptor *made_entry(const struct meeting *m, const struct cb_platform *p)
{
    for (size_t i = 0; i < m->made.n_manifests; i++)
        if (m->made.manifests[i].platform && cb_platform_eq(m->made.manifests[i].platform, p))
            return &m->made.manifests[i];
    return NULL;
}

static int find_one(struct meeting *m, size_t i, struct cb_error *err)
{
    const struct cb_platform *p = &m->w->join->expect[i];
    struct cb_tag_state state cb_cleanup_tag_state = { 0 };
    cb_autofree char *tag = meeting_tag(m->place->key, p);
    if (cb_platform_eq(p, m->w->own)) {
        cb_descriptor_copy(&m->v[i], m->w->desc);
        return 0;
    }
    int r = cb_push_tag_state(m->push, tag, &state, err);
    return r == 0 && state.there ? describe(m, &state.digest, &m->v[i], err) : r;
}

static void take_made(struct meeting *m, size_t i)
{
    const struct cb_platform *p = &m->w->join->expect[i];
    struct cb_descriptor *d = &m->v[i];
    if (!cb_digest_is_set(&d->digest) && made_entry(m, p))
        cb_descriptor_copy(d, made_entry(m, p));
    if (!cb_digest_is_set(&d->digest))
        return;
    if (!d->platform)
        d->platform = CB_NEW(struct cb_platform);
    cb_platform_copy(d->platform, p);
}

static int open_meeting(struct meeting *m, const struct cb_join_work *w, const struct cb_join_place *place,
                        struct cb_error *err)
{
    struct cb_strbuf wanted cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_push_options o = { .target = place->tags[0], .jobs = 1 };
    *m = (struct meeting){ .w = w, .place = place, .v = cb_calloc(w->join->n_expect, sizeof *m->v) };
    int r = cb_push_begin(w->env->registry, &o, &m->push, err);
    for (size_t i = 0; r == 0 && i < w->join->n_expect; i++)
        r = find_one(m, i, err);
    if (r == 0 && missing(m, &wanted))
        r = look_at_made(m, err);
    for (size_t i = 0; r == 0 && i < w->join->n_expect; i++)
        take_made(m, i);
    return r;
}

/* ---- the index ---- */

static int make_index(const struct meeting *m, struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    const struct cb_join_work *w = m->w;
    for (size_t i = 0; i < w->annotations->n; i++)
        cb_strmap_set(&annotations, w->annotations->v[i].key, w->annotations->v[i].value);
    cb_strmap_set(&annotations, ANNOTATION, m->place->key);
    struct cb_commit_index_options o = { .manifests = m->v, .n = w->join->n_expect, .annotations = &annotations,
                                         .docker_types = w->docker_types };
    return cb_image_commit_index(w->env->store, &o, out, err);
}

static int move_tags(const struct meeting *m, const struct cb_descriptor *desc, struct cb_build_result *res,
                     struct cb_error *err)
{
    const struct cb_join_work *w = m->w;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_release rel CB_CLEANUP(cb_release_done) = { .registry = w->env->registry, .policy = w->policy,
                                                          .v = cb_calloc(m->place->n, sizeof *rel.v) };
    for (; rel.n < m->place->n; rel.n++)
        rel.v[rel.n] = (struct cb_release_tag){ .ref = m->place->tags[rel.n], .push = m->push };
    int r = cb_store_blob_get(w->env->store, &desc->digest, CB_MAX_MANIFEST, &body, err);
    if (r == 0)
        r = cb_release_run(&rel, &(struct cb_tag_manifest){ desc, { body.buf, body.len } }, err);
    cb_release_report(&rel, r < 0, res);
    return r;
}

/* 1: the tag was there and is deleted, 0: it was not there. */
static int take_one(const struct meeting *m, const char *name, struct cb_error *err)
{
    const struct cb_reference *tag = m->place->tags[0];
    struct cb_tag_state state cb_cleanup_tag_state = { 0 };
    struct cb_reference ref = { .host = tag->host, .repo = tag->repo, .tag = (char *)(uintptr_t)name };
    int r = cb_push_tag_state(m->push, name, &state, err);
    if (r < 0 || !state.there)
        return r;
    r = cb_registry_tag_delete(m->w->env->registry, &ref, err);
    return r < 0 && r != -CB_ENOTFOUND ? r : 1;
}

/* Until none is there: another machine may be at it, and delete by ways that meet ours. What stays is told, and is no
 * failure: the tags have moved. */
static void take_away(const struct meeting *m)
{
    const struct cb_join_work *w = m->w;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int there = 1, r = 0;
    for (unsigned round = 0; there > 0 && round < MAX_ROUNDS; round++) {
        there = 0;
        for (size_t i = 0; i < w->join->n_expect; i++) {
            cb_autofree char *name = meeting_tag(m->place->key, &w->join->expect[i]);
            cb_error_done(&e);
            r = take_one(m, name, &e);
            there += r != 0;
        }
    }
    if (there > 0)
        cb_progress_note(w->env->progress, true, "%s/%s: tags " MEETING "%s… are needed no more, and stay%s%s",
                         m->place->tags[0]->host, m->place->tags[0]->repo, m->place->key, r < 0 ? ": " : "",
                         r < 0 ? cb_error_text(&e) : "");
}

/* A tag that may not move will not do so later: what was refused must not be found by those that are run again. */
static bool is_refused(const struct cb_join_work *w, int r)
{
    return r == -CB_EVERIFY && w->policy->immutable;
}

static int finish_place(const struct cb_join_work *w, const struct cb_join_place *place, struct cb_descriptor *out,
                        struct cb_build_result *res, struct cb_error *err)
{
    struct meeting m CB_CLEANUP(meeting_done) = { .w = w };
    struct cb_strbuf wanted cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = open_meeting(&m, w, place, err);
    if (r < 0)
        return r;
    if (missing(&m, &wanted)) {
        cb_progress_note(w->env->progress, true, "%s/%s: waiting for %s to join, its tags stay as they are",
                         place->tags[0]->host, place->tags[0]->repo, wanted.buf);
        return 0;
    }
    cb_descriptor_done(out);
    r = make_index(&m, out, err);
    if (r == 0)
        r = move_tags(&m, out, res, err);
    if (r == 0 || is_refused(w, r))
        take_away(&m);
    return r;
}

int cb_join_finish(const struct cb_join_work *w, const struct cb_join_places *places, struct cb_descriptor *out,
                   struct cb_build_result *res, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < places->n; i++)
        r = finish_place(w, &places->v[i], out, res, err);
    return r < 0 ? cb_error_wrap(err, "join %s", w->join->id) : 0;
}
