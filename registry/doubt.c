/* SPDX-License-Identifier: Apache-2.0 */
/* Who served other bytes than those of a digest, and what is made of that. */
#include "registry/blob.h"
#include "util/alloc.h"

#define AGAIN " again" /* no host begins so */

static char *key_of(const struct reg_endpoint *e, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s/%s %s", e->host, e->repo, cb_digest_text(d, text));
}

static char *again_key(const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_asprintf(AGAIN "%s", cb_digest_text(d, text));
}

/* The first time is worth another try: of the next place, or of this one, where there is no other. */
void reg_doubt(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *d)
{
    cb_autofree char *key = key_of(e, d), *again = again_key(d);
    pthread_mutex_lock(&r->known->mu);
    if (!cb_hashmap_get(r->known->doubted, key))
        cb_hashmap_put(r->known->doubted, again, r);
    cb_hashmap_put(r->known->doubted, key, r);
    pthread_mutex_unlock(&r->known->mu);
}

bool cb_registry_blob_again(struct cb_registry *r, const struct cb_digest *d)
{
    cb_autofree char *again = again_key(d);
    pthread_mutex_lock(&r->known->mu);
    bool worth = cb_hashmap_remove(r->known->doubted, again) != NULL;
    pthread_mutex_unlock(&r->known->mu);
    return worth;
}

static bool is_doubted(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *d)
{
    cb_autofree char *key = key_of(e, d);
    pthread_mutex_lock(&r->known->mu);
    bool doubted = cb_hashmap_get(r->known->doubted, key) != NULL;
    pthread_mutex_unlock(&r->known->mu);
    return doubted;
}

void reg_doubt_order(struct cb_registry *r, struct reg_endpoints *all, const struct cb_digest *d)
{
    cb_autofree struct reg_endpoint *v = cb_calloc(all->n + 1, sizeof *v);
    size_t n = 0;
    for (int doubted = 0; doubted < 2; doubted++)
        for (size_t i = 0; i < all->n; i++)
            if (is_doubted(r, &all->v[i], d) == (doubted == 1))
                v[n++] = all->v[i];
    memcpy(all->v, v, n * sizeof *v);
}

/* ---- who gave the bytes ---- */

static bool has(const struct reg_givers *g, const struct reg_endpoint *e)
{
    for (size_t i = 0; i < g->places.n; i++)
        if (!strcmp(g->places.v[i].host, e->host) && !strcmp(g->places.v[i].repo, e->repo))
            return true;
    return false;
}

void reg_givers_add(struct reg_givers *g, const struct remote *x)
{
    for (size_t i = 0; i < x->all.n; i++) {
        const struct reg_endpoint *e = &x->all.v[i];
        if (i >= 64 || !(x->gave >> i & 1) || has(g, e))
            continue;
        CB_GROW(g->places.v, g->places.n, g->places.cap);
        g->places.v[g->places.n++] = (struct reg_endpoint){ cb_strdup(e->host), cb_strdup(e->repo), e->h };
    }
    g->foreign = g->foreign || x->gave_foreign;
    if (x->coding && !g->coding)
        g->coding = cb_strdup(x->coding);
}

void reg_givers_done(struct reg_givers *g)
{
    reg_endpoints_done(&g->places);
    free(g->coding);
    *g = (struct reg_givers){ 0 };
}

/* ---- a source that tells of them ---- */

struct judged {
    struct cb_blob_source base;
    struct cb_blob_source *verified; /* owned; reads inner */
    struct reg_judged_source inner;
    struct cb_registry *r;
    struct cb_digest digest;
};

/* Of several givers one is wrong, and which is not known: without the first the next try shows more. */
static int condemn(const struct judged *j, struct cb_error *err)
{
    CB_CLEANUP(reg_givers_done) struct reg_givers g = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    j->inner.givers(j->inner.source, &g);
    if (g.places.n)
        reg_doubt(j->r, &g.places.v[0], &j->digest);
    if (g.coding) {
        cb_strbuf_add_sanitized(&text, g.coding, CB_MIN(strlen(g.coding), (size_t)40), false);
        cb_error_wrap(err, "sent with Content-Encoding: %s, by a proxy perhaps", text.buf);
        cb_strbuf_reset(&text);
    }
    for (size_t i = 0; i < g.places.n; i++)
        cb_strbuf_addf(&text, "%s%s", i ? " and " : "", g.places.v[i].host);
    if (g.foreign)
        cb_strbuf_addf(&text, "%sforeign URL", text.len ? " and " : "");
    return text.len ? cb_error_wrap(err, "%s", text.buf) : -(int)err->code;
}

static int judged_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct judged *j = (struct judged *)b;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int s = cb_blob_read(j->verified, buf, n, got, &e);
    if (s == -CB_EVERIFY)
        condemn(j, &e);
    return s < 0 ? cb_error_move(err, &e) : s;
}

static int judged_seek(struct cb_blob_source *b, uint64_t offset, struct cb_error *err)
{
    return cb_blob_seek(((struct judged *)b)->verified, offset, err);
}

static void judged_close(struct cb_blob_source *b)
{
    struct judged *j = (struct judged *)b;
    j->verified->ops->close(j->verified);
    free(j);
}

struct cb_blob_source *reg_judged(struct cb_registry *r, const struct cb_descriptor *d,
                                  const struct reg_judged_source *inner)
{
    static const struct cb_blob_source_ops ops = { judged_read, judged_close, judged_seek };
    struct judged *j = CB_NEW(struct judged);
    j->base.ops = &ops;
    j->r = r;
    j->digest = d->digest;
    j->inner = *inner;
    j->verified = cb_blob_source_verify(inner->source, &d->digest, d->size);
    return &j->base;
}
