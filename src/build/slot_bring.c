/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>

#include "build/slot_private.h"
#include "util/alloc.h"
#include "util/encode.h"

/* "sha256:0123456789ab": what people are shown of a digest. */
static void short_digest(char out[32], const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    snprintf(out, 32, "%.19s", cb_digest_text(d, text));
}

/* ---- where the bytes come from ---- */

static int open_origin(struct cb_slot *s, const struct cb_layer_encoding *e, struct cb_blob_source **out, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { .media_type = cb_strdup(e->media_type ? e->media_type : ""),
                                                     .digest = e->digest, .size = e->size };
    int r = cb_error_set(err, CB_ENOTFOUND, "no repository is known that has it");
    for (size_t i = 0; i < s->layer.n_origins; i++) {
        const struct cb_layer_origin *o = &s->layer.origins[i];
        if (!cb_digest_eq(&o->digest, &e->digest))
            continue;
        r = cb_registry_blob(s->env->registry, o->host, o->repo, &d, out, err);
        if (r == 0 || r == -CB_ECANCELED)
            return r;
    }
    return r;
}

int cb_slot_open_blob(struct cb_slot *s, const struct cb_digest *blob, struct cb_blob_source **out, struct cb_error *err)
{
    int r = cb_store_blob_source(s->env->store, blob, out, err);
    if (r != -CB_ENOTFOUND)
        return r;
    for (size_t i = 0; i < s->layer.n_encodings; i++)
        if (cb_digest_eq(&s->layer.encodings[i].digest, blob))
            return open_origin(s, &s->layer.encodings[i], out, err);
    return cb_error_set(err, CB_ENOTFOUND, "the layer has no such blob");
}

/* A blob in the store, of whatever encoding, or NULL. */
static const struct cb_layer_encoding *stored_encoding(struct cb_slot *s)
{
    for (size_t i = 0; i < s->layer.n_encodings; i++)
        if (cb_store_blob_has(s->env->store, &s->layer.encodings[i].digest, NULL))
            return &s->layer.encodings[i];
    return NULL;
}

static const struct cb_layer_encoding *wanted_encoding(struct cb_slot *s)
{
    for (size_t i = 0; i < s->layer.n_encodings; i++)
        if (cb_digest_eq(&s->layer.encodings[i].digest, &s->manifest_digest))
            return &s->layer.encodings[i];
    return s->layer.n_encodings ? &s->layer.encodings[0] : NULL;
}

struct counted {
    struct cb_blob_source base;
    struct cb_blob_source *inner;
    struct cb_step *step;
    char id[32];
    uint64_t n, total, told;
};

static int counted_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct counted *c = (struct counted *)b;
    int r = cb_blob_read(c->inner, buf, n, got, err);
    if (r < 0)
        return r;
    c->n += *got;
    if (*got == 0 || c->n - c->told >= (256u << 10)) {
        c->told = c->n;
        cb_step_status(c->step, c->id, c->n, c->total);
    }
    return 0;
}

static void counted_close(struct cb_blob_source *b)
{
    struct counted *c = (struct counted *)b;
    c->inner->ops->close(c->inner);
    free(c);
}

static const struct cb_blob_source_ops counted_ops = { counted_read, counted_close };

static struct cb_blob_source *counted_new(struct cb_blob_source *inner, struct cb_step *step, const struct cb_layer_encoding *e)
{
    struct counted *c = CB_NEW(struct counted);
    c->base.ops = &counted_ops;
    c->inner = inner;
    c->step = step;
    c->total = e->size;
    short_digest(c->id, &e->digest);
    cb_step_status(step, c->id, 0, e->size);
    return &c->base;
}

/* ---- bringing ---- */

static unsigned check_have(struct cb_slot *s)
{
    unsigned have = 0;
    int fd = -1;
    if (!s->toc)
        (void)!cb_store_toc_get(s->env->store, &s->layer.diff_id, &s->toc, NULL);
    if (s->toc)
        have |= CB_NEED_TOC;
    if (s->tree_fd >= 0) {
        have |= CB_NEED_TREE | CB_NEED_DATA;
    } else if (cb_store_tree_open(s->env->store, &s->layer.diff_id, &fd, NULL) == 0) {
        cb_close_p(&fd);
        have |= CB_NEED_TREE | CB_NEED_DATA;
    }
    if (stored_encoding(s))
        have |= CB_NEED_BLOB | CB_NEED_DATA;
    return have;
}

/* Into the store, nothing else. */
static int copy_blob(struct cb_slot *s, struct cb_blob_source *src, const struct cb_layer_encoding *e, struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    cb_autofree char *buf = cb_malloc(256u << 10);
    int r = cb_store_blob_sink(s->env->store, &sink, err);
    for (size_t got = 1; r == 0 && got;) {
        r = cb_blob_read(src, buf, 256u << 10, &got, err);
        if (r == 0 && got)
            r = sink->ops->write(sink, buf, got, err);
    }
    return r < 0 ? r : sink->ops->commit(sink, &e->digest, e->size, err);
}

struct bring {
    struct cb_slot *slot;
    unsigned missing;
    struct cb_step *step;
    const struct cb_layer_encoding *encoding;
    bool remote;
};

static int take_in(const struct bring *b, struct cb_blob_source *src, struct cb_blob_sink *sink, struct cb_error *err)
{
    const struct cb_build_env *env = b->slot->env;
    struct cb_layer_intake in = {
        .store = env->store, .source = sink ? cb_blob_source_tee(src, sink) : src, .diff_id = b->slot->layer.diff_id,
        .want_tree = (b->missing & CB_NEED_TREE) != 0, .userxattr = env->id_mode != CB_ID_REAL_ROOT,
        .single_id = env->id_mode == CB_ID_SINGLE, .cancel = env->cancel,
    };
    uint64_t size = 0;
    int r = cb_image_intake(&in, NULL, &size, err);
    if (r < 0)
        return r;
    if (sink)
        r = sink->ops->commit(sink, &b->encoding->digest, b->encoding->size, err);
    b->slot->layer.size = size;
    return r;
}

static int fetch(const struct bring *b, struct cb_error *err)
{
    struct cb_slot *s = b->slot;
    cb_autosource struct cb_blob_source *src = NULL;
    cb_autosink struct cb_blob_sink *sink = NULL;
    char id[32];
    int r = b->remote ? open_origin(s, b->encoding, &src, err) : cb_store_blob_source(s->env->store, &b->encoding->digest, &src, err);
    if (r < 0)
        return r;
    short_digest(id, &b->encoding->digest);
    src = counted_new(src, b->step, b->encoding);
    if (!(b->missing & (CB_NEED_TOC | CB_NEED_TREE))) {
        r = copy_blob(s, src, b->encoding, err);
    } else {
        if (b->remote)
            r = cb_store_blob_sink(s->env->store, &sink, err);
        if (r == 0)
            r = take_in(b, CB_TAKE(src), sink, err);
    }
    if (r == 0)
        cb_step_status_done(b->step, id);
    return r;
}

static int bring_missing(struct cb_slot *s, unsigned missing, struct cb_step *step, struct cb_error *err)
{
    const struct cb_layer_encoding *e = stored_encoding(s);
    struct bring b = { s, missing, step, e ? e : wanted_encoding(s), e == NULL };
    char id[32];
    short_digest(id, &s->layer.diff_id);
    if (!b.encoding)
        return cb_error_set(err, CB_ENOTFOUND, "layer %s: no blob of it is known", id);
    int r = fetch(&b, err);
    if (r < 0) {
        short_digest(id, &b.encoding->digest);
        return cb_error_wrap(err, "layer %s", id);
    }
    return cb_store_layer_put(s->env->store, &s->layer, err);
}

void cb_slot_expect(struct cb_slot *s, unsigned needs)
{
    pthread_mutex_lock(&s->mu);
    s->expected |= needs;
    pthread_mutex_unlock(&s->mu);
}

int cb_slot_bring(struct cb_slot *s, unsigned needs, struct cb_step *step, struct cb_error *err)
{
    bool empty;
    if (s->tree_fd >= 0 && !(needs & ~(unsigned)CB_NEED_TREE))
        return 0;
    int r = cb_slot_wait(s, &empty, err);
    if (r < 0 || empty)
        return r;
    pthread_mutex_lock(&s->mu);
    while (s->busy)
        pthread_cond_wait(&s->cond, &s->mu);
    if ((s->have & needs) != needs)
        s->have |= check_have(s);
    unsigned missing = needs & ~s->have;
    if (missing)
        missing |= s->expected & ~s->have;
    s->busy = missing != 0;
    pthread_mutex_unlock(&s->mu);
    if (!missing)
        return 0;
    r = cb_cancel_check(s->env->cancel, err);
    if (r == 0)
        r = bring_missing(s, missing, step, err);
    pthread_mutex_lock(&s->mu);
    s->busy = false;
    if (r == 0)
        s->have |= check_have(s);
    if (r == 0 && (s->have & needs) != needs)
        r = cb_error_set(err, CB_EINTERNAL, "a layer was brought and is not there");
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    return r;
}

/* ---- another encoding ---- */

static bool engine_serves(const struct cb_layer_encoding *e, enum cb_compression c, int level)
{
    if (e->compression != c)
        return false;
    if (level == INT_MIN || c == CB_COMPRESSION_NONE)
        return true;
    const char *slash = e->engine ? strrchr(e->engine, '/') : NULL;
    uint32_t l;
    return slash && cb_parse_u32(slash + 1, &l) && l == (uint32_t)level;
}

static bool find_encoding(struct cb_slot *s, enum cb_compression c, int level, struct cb_layer_encoding *out)
{
    for (size_t i = 0; i < s->layer.n_encodings; i++) {
        const struct cb_layer_encoding *e = &s->layer.encodings[i];
        if (s->parent ? cb_digest_eq(&e->digest, &s->manifest_digest) : engine_serves(e, c, level)) {
            *out = *e;
            out->media_type = cb_strdup_or_null(e->media_type);
            out->engine = cb_strdup_or_null(e->engine);
            return true;
        }
    }
    return false;
}

struct reader_source {
    struct cb_blob_source base;
    struct cb_layer_reader *reader;
};

static int reader_pull(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    return cb_layer_reader_read(((struct reader_source *)b)->reader, buf, n, got, err);
}

static void reader_pull_close(struct cb_blob_source *b CB_UNUSED)
{
}

/* Every tar of ours is written by one writer: reading its entries back and writing them again gives the same tar. */
static int transcode(struct cb_slot *s, enum cb_compression c, int level, struct cb_layer *out, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { reader_pull, reader_pull_close };
    const struct cb_layer_encoding *from = stored_encoding(s) ? stored_encoding(s) : wanted_encoding(s);
    cb_autosink struct cb_blob_sink *sink = NULL;
    struct cb_layer_read_options ro = { .cancel = s->env->cancel };
    int r = from ? cb_slot_open_blob(s, &from->digest, &ro.source, err) : cb_error_set(err, CB_ENOTFOUND, "no blob");
    if (r == 0)
        r = cb_store_blob_sink(s->env->store, &sink, err);
    if (r < 0)
        return r;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    struct cb_layer_write_options wo = { .compression = c, .level = level, .pool = s->env->cpu, .clamp_mtime = INT64_MAX,
                                         .sink = sink, .cancel = s->env->cancel };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = reader ? cb_layer_writer_new(&wo, err) : NULL;
    if (!w)
        return -CB_ELOCAL;
    struct reader_source pull = { { &ops }, reader };
    for (const struct cb_entry *e; (r = cb_layer_reader_next(reader, &e, err)) == 0 && e;) {
        r = cb_layer_writer_add(w, e, e->type == CB_ENTRY_FILE ? &pull.base : NULL, err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    r = cb_layer_reader_finish(reader, &s->layer.diff_id, NULL, NULL, NULL, err);
    return r < 0 ? r : cb_layer_writer_finish(w, out, NULL, err);
}

bool cb_slot_encoding_known(struct cb_slot *s, enum cb_compression c, int level, struct cb_layer_encoding *out)
{
    pthread_mutex_lock(&s->mu);
    bool found = find_encoding(s, c, level, out);
    pthread_mutex_unlock(&s->mu);
    return found;
}

void cb_layer_encoding_done(struct cb_layer_encoding *e)
{
    free(e->media_type);
    free(e->engine);
    *e = (struct cb_layer_encoding){ 0 };
}

int cb_slot_encoding(struct cb_slot *s, enum cb_compression c, int level, struct cb_layer_encoding *out, struct cb_error *err)
{
    struct cb_layer made cb_cleanup_layer = { 0 };
    if (cb_slot_encoding_known(s, c, level, out))
        return 0;
    int r = transcode(s, c, level, &made, err);
    if (r < 0)
        return cb_error_wrap(err, "compress a layer again");
    if (!cb_digest_eq(&made.diff_id, &s->layer.diff_id))
        return cb_error_set(err, CB_EINTERNAL, "a layer changed while it was compressed again");
    r = cb_store_layer_put(s->env->store, &made, err);
    pthread_mutex_lock(&s->mu);
    cb_layer_add_encoding(&s->layer, &made.encodings[0]);
    pthread_mutex_unlock(&s->mu);
    return r == 0 && !cb_slot_encoding_known(s, c, level, out) ? cb_error_set(err, CB_EINTERNAL, "a layer's new encoding is not found") : r;
}
