/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"
#include "util/thread.h"

void copy_local_init(struct copy_local *l, unsigned workers)
{
    pthread_mutex_init(&l->mu, NULL);
    pthread_cond_init(&l->cond, NULL);
    l->by_digest = cb_hashmap_new();
    l->pool = cb_pool_new("copy", workers);
}

static void blob_free(struct copy_local_blob *b)
{
    cb_descriptor_done(&b->desc);
    cb_strbuf_done(&b->body);
    cb_error_done(&b->error);
    free(b);
}

void copy_local_done(struct copy_local *l)
{
    pthread_mutex_lock(&l->mu);
    l->stop = true;
    pthread_mutex_unlock(&l->mu);
    cb_pool_free(l->pool);
    for (size_t i = 0; i < l->n; i++)
        blob_free(l->v[i]);
    for (size_t i = 0; i < l->n_names; i++) {
        cb_descriptor_done(&l->names[i].desc);
        free(l->names[i].tag);
    }
    free(l->v);
    free(l->names);
    free(l->results);
    cb_hashmap_free(l->by_digest);
    cb_error_done(&l->why);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->mu);
}

/* ---- one blob, in a worker ---- */

struct counted {
    struct cb_blob_source base;
    struct cb_blob_source *inner; /* owned */
    struct copy_local *t;
    const struct cb_descriptor *desc;
    uint64_t done;
};

static int counted_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct counted *c = (struct counted *)s;
    char text[CB_DIGEST_TEXT_MAX], id[64];
    int r = cb_cancel_check(c->t->base.env->cancel, err);
    if (r == 0)
        r = cb_blob_read(c->inner, buf, n, got, err);
    if (r < 0)
        return r;
    c->done += *got;
    snprintf(id, sizeof id, "%.19s", cb_digest_text(&c->desc->digest, text));
    cb_step_status(c->t->base.env->step, id, c->done, c->desc->size);
    if (*got == 0)
        cb_step_status_done(c->t->base.env->step, id);
    return 0;
}

static void counted_close(struct cb_blob_source *s)
{
    struct counted *c = (struct counted *)s;
    c->inner->ops->close(c->inner);
    free(c);
}

static const struct cb_blob_source_ops counted_ops = { counted_read, counted_close };

static struct cb_blob_source *count(struct copy_local *t, const struct cb_descriptor *d,
                                    struct cb_blob_source *inner /* taken */)
{
    struct counted *c = CB_NEW(struct counted);
    *c = (struct counted){ { &counted_ops }, inner, t, d, 0 };
    return &c->base;
}

static int bring_once(struct copy_local_blob *b, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    int r = b->from->ops->blob(b->from, &b->desc, &src, err);
    if (r < 0)
        return r;
    if (b->extra && b->t->once) { /* what is wrong with it must not be wrong with the archive */
        r = cb_blob_read_all(src, CB_MAX_TOC_BLOB, &b->body, err);
        if (r < 0)
            return r;
        src->ops->close(src);
        src = cb_blob_source_from_mem(b->body.buf ? b->body.buf : "", b->body.len);
    }
    src = count(b->t, &b->desc, CB_TAKE(src));
    r = b->t->put(b->t, &b->desc, src, err);
    b->broke = r < 0 && b->t->once;
    return r;
}

/* Wrong bytes from a registry are asked for again: another place may have it right. */
static int bring(struct copy_local_blob *b, struct cb_error *err)
{
    struct copy_local *t = b->t;
    cb_autosource struct cb_blob_source *src = NULL;
    if ((t->has && t->has(t, &b->desc)) ||
        (b->from && t->base.o.elsewhere && t->base.o.elsewhere(t->base.o.arg, &b->desc))) {
        b->result.outcome = CB_BLOB_PRESENT;
        return 0;
    }
    b->result.outcome = CB_BLOB_COPIED;
    b->result.sent = b->desc.size;
    if (!b->from) {
        src = cb_blob_source_from_mem(b->body.buf, b->body.len);
        return t->put(t, &b->desc, src, err);
    }
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = bring_once(b, &e);
    while (r == -CB_EVERIFY && !t->once && cb_registry_blob_again(t->base.env->registry, &b->desc.digest)) {
        cb_error_done(&e);
        r = bring_once(b, &e);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

/* One that is left out because another has failed fails as that one did: whoever waits for it first is told why. */
static int may_begin(struct copy_local *t, struct cb_error *err)
{
    pthread_mutex_lock(&t->mu);
    int r = t->failed && !t->base.o.keep_going ? cb_error_copy(err, &t->why)
            : t->stop ? cb_error_set(err, CB_ECANCELED, "stopped") : 0;
    pthread_mutex_unlock(&t->mu);
    return r;
}

static void blob_job(void *arg)
{
    struct copy_local_blob *b = arg;
    struct copy_local *t = b->t;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    int r = may_begin(t, &e);
    if (r == 0 && (r = bring(b, &e)) < 0 && r != -CB_ECANCELED)
        cb_error_wrap(&e, "blob %.19s", cb_digest_text(&b->desc.digest, text));
    if (r == 0 && t->base.o.landed)
        t->base.o.landed(t->base.o.arg, &b->desc.digest);
    pthread_mutex_lock(&t->mu);
    if (r < 0 && (!b->extra || b->broke) && !t->failed)
        t->failed = cb_error_copy(&t->why, &e) < 0;
    b->done = true;
    cb_error_move(&b->error, &e);
    pthread_cond_broadcast(&t->cond);
    pthread_mutex_unlock(&t->mu);
}

static void submit(struct copy_local *l, struct cb_copy_source *from, const struct cb_descriptor *d,
                   struct cb_slice body, bool extra)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_text(&d->digest, text);
    pthread_mutex_lock(&l->mu);
    if (cb_hashmap_get(l->by_digest, text)) {
        pthread_mutex_unlock(&l->mu);
        return;
    }
    struct copy_local_blob *b = CB_NEW(struct copy_local_blob);
    *b = (struct copy_local_blob){ .t = l, .from = from, .body = CB_STRBUF_INIT, .extra = extra,
                                   .result = { .digest = d->digest, .size = d->size } };
    cb_descriptor_copy(&b->desc, d);
    cb_strbuf_add(&b->body, body.ptr, body.len);
    CB_GROW(l->v, l->n, l->cap);
    l->v[l->n++] = b;
    cb_hashmap_put(l->by_digest, text, b);
    pthread_mutex_unlock(&l->mu);
    cb_pool_submit(l->pool, blob_job, b);
}

/* ---- what the engine calls ---- */

int copy_local_blob(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                    struct cb_error *err CB_UNUSED)
{
    submit((struct copy_local *)t, from, d, CB_SLICE(""), false);
    return 0;
}

void copy_local_extra(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                      const char *text)
{
    struct cb_slice body = { text ? text : "", text ? strlen(text) : 0 };
    submit((struct copy_local *)t, text ? NULL : from, d, body, true);
}

int copy_local_wait(struct cb_copy_target *t, const struct cb_digest *d, struct cb_error *err)
{
    struct copy_local *l = (struct copy_local *)t;
    char text[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&l->mu);
    const struct copy_local_blob *b = cb_hashmap_get(l->by_digest, cb_digest_text(d, text));
    while (b && !b->done)
        pthread_cond_wait(&l->cond, &l->mu);
    int r = !b ? cb_error_set(err, CB_EINTERNAL, "nobody brings %s", text)
            : b->error.code ? cb_error_copy(err, &b->error) : 0;
    pthread_mutex_unlock(&l->mu);
    return r;
}

/* For a directory that others read: a reader that follows what refers to an image finds it in the index only. */
static void add_name(struct copy_local *l, const struct cb_descriptor *d, const char *tag, bool referrer)
{
    pthread_mutex_lock(&l->mu);
    CB_GROW(l->names, l->n_names, l->cap_names);
    struct copy_local_name *n = &l->names[l->n_names++];
    const char *prefix = l->base.o.prefix ? l->base.o.prefix : "";
    *n = (struct copy_local_name){ .tag = tag ? cb_asprintf("%s%s", prefix, tag) : NULL, .referrer = referrer };
    cb_descriptor_copy(&n->desc, d);
    pthread_mutex_unlock(&l->mu);
}

int copy_local_manifest(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, bool subject,
                        struct cb_error *err)
{
    struct copy_local *l = (struct copy_local *)t;
    submit(l, NULL, d, body, false);
    int r = copy_local_wait(t, &d->digest, err);
    if (r == 0 && subject)
        add_name(l, d, NULL, true);
    return r;
}

int copy_local_tag(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, const char *tag,
                   struct cb_error *err)
{
    int r = copy_local_manifest(t, d, body, false, err);
    if (r == 0)
        add_name((struct copy_local *)t, d, tag, false);
    return r;
}

size_t copy_local_blobs(struct cb_copy_target *t, const struct cb_push_result **out)
{
    struct copy_local *l = (struct copy_local *)t;
    size_t n = 0;
    pthread_mutex_lock(&l->mu);
    free(l->results);
    l->results = cb_calloc(l->n + 1, sizeof *l->results);
    for (size_t i = 0; i < l->n; i++)
        if (l->v[i]->done && !l->v[i]->error.code && l->v[i]->from && !l->v[i]->extra)
            l->results[n++] = l->v[i]->result;
    *out = l->results;
    pthread_mutex_unlock(&l->mu);
    return n;
}

/* ---- index.json ---- */

static bool is_replaced(const struct cb_descriptor *old, const struct copy_local *l)
{
    const char *tag = cb_strmap_get(&old->annotations, CB_ANN_REF_NAME);
    for (size_t i = 0; i < l->n_names; i++) {
        const struct copy_local_name *n = &l->names[i];
        if (n->tag ? cb_streq(tag, n->tag) : !tag && cb_digest_eq(&old->digest, &n->desc.digest))
            return true;
    }
    return false;
}

static struct cb_descriptor *add_entry(struct cb_index *idx, const struct cb_descriptor *d)
{
    idx->manifests = cb_reallocarray(idx->manifests, idx->n_manifests + 1, sizeof *idx->manifests);
    struct cb_descriptor *new = &idx->manifests[idx->n_manifests++];
    *new = (struct cb_descriptor){ 0 };
    cb_descriptor_copy(new, d);
    return new;
}

static bool listed_before(const struct copy_local *l, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (cb_digest_eq(&l->names[i].desc.digest, &l->names[at].desc.digest) &&
            cb_streq(l->names[i].tag, l->names[at].tag))
            return true;
    return false;
}

void copy_local_index(const struct copy_local *l, const struct cb_index *onto, struct cb_strbuf *out)
{
    struct cb_index idx cb_cleanup_index = { .media_type = cb_strdup(CB_MT_OCI_INDEX) };
    for (size_t i = 0; onto && i < onto->n_manifests; i++)
        if (!is_replaced(&onto->manifests[i], l))
            add_entry(&idx, &onto->manifests[i]);
    for (size_t i = 0; i < l->n_names; i++) {
        if (listed_before(l, i))
            continue;
        struct cb_descriptor *d = add_entry(&idx, &l->names[i].desc);
        if (l->names[i].tag)
            cb_strmap_set(&d->annotations, CB_ANN_REF_NAME, l->names[i].tag);
        if (l->names[i].tag && l->full_name)
            cb_strmap_set(&d->annotations, CB_ANN_IMAGE_NAME, l->full_name);
    }
    if (onto)
        cb_strmap_copy(&idx.annotations, &onto->annotations);
    cb_index_print(out, &idx);
}
