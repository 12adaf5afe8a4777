/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "oci/config.h"
#include "oci/manifest.h"
#include "store/private.h"
#include "util/limits.h"
#include "util/timeutil.h"

/* true where it was not marked yet. */
static bool mark(struct cb_marks *m, struct cb_hashmap *map, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_hashmap_put(map, cb_digest_text(d, text), m) == NULL;
}

static bool is_marked(struct cb_hashmap *map, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_hashmap_get(map, cb_digest_text(d, text)) != NULL;
}

bool cb_marks_blob(const struct cb_marks *m, const struct cb_digest *d)
{
    return is_marked(m->blobs, d);
}

bool cb_marks_layer(const struct cb_marks *m, const struct cb_digest *diff_id)
{
    return is_marked(m->layers, diff_id);
}

/* Damaged and missing pieces hold nothing; a failing machine must not look like that. */
static int read_piece(struct cb_marks *m, const struct cb_digest *d, struct cb_strbuf *out, struct cb_error *err)
{
    int r = cb_store_blob_read(m->store, d, CB_MAX_MANIFEST, out, err);
    return r == -CB_ENOTFOUND || r == -CB_EVERIFY ? 1 : r;
}

static int mark_config(struct cb_marks *m, const struct cb_digest *d, struct cb_error *err)
{
    mark(m, m->blobs, d);
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = read_piece(m, d, &body, err);
    if (r != 0)
        return r < 0 ? r : 0;
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    if (cb_image_config_parse(&c, body.buf, body.len, NULL) < 0)
        return 0; /* an artifact's config */
    for (size_t i = 0; i < c.n_diff_ids; i++)
        mark(m, m->layers, &c.diff_ids[i]);
    return 0;
}

static int mark_manifest(struct cb_marks *m, const struct cb_digest *d, unsigned depth, struct cb_error *err);

static int mark_index(struct cb_marks *m, const struct cb_strbuf *body, unsigned depth, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    if (cb_index_parse(&idx, body->buf, body->len, NULL, NULL) < 0)
        return 0;
    for (size_t i = 0; i < idx.n_manifests; i++) {
        int r = mark_manifest(m, &idx.manifests[i].digest, depth + 1, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int mark_manifest(struct cb_marks *m, const struct cb_digest *d, unsigned depth, struct cb_error *err)
{
    mark(m, m->blobs, d);
    if (depth > CB_MAX_INDEX_DEPTH || !mark(m, m->seen, d))
        return 0;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = read_piece(m, d, &body, err);
    if (r != 0)
        return r < 0 ? r : 0;
    const char *type = cb_manifest_detect(body.buf, body.len, NULL, NULL);
    if (type && cb_mt_is_index(type))
        return mark_index(m, &body, depth, err);
    struct cb_manifest man cb_cleanup_manifest = { 0 };
    if (!type || cb_manifest_parse(&man, body.buf, body.len, NULL, NULL) < 0)
        return 0;
    for (size_t i = 0; i < man.n_layers; i++)
        mark(m, m->blobs, &man.layers[i].digest);
    return mark_config(m, &man.config.digest, err);
}

/* A digest in a lease may name a layer, a blob, or a manifest with all below it. */
static int mark_held(void *arg, const struct cb_digest *d, struct cb_error *err)
{
    struct cb_marks *m = arg;
    mark(m, m->layers, d);
    mark(m, m->blobs, d);
    cb_autoclose int fd = -1;
    uint64_t size = 0;
    char first = 0;
    int r = cb_store_blob_peek(m->store, d, &fd, &size, err);
    if (r < 0)
        return r == -CB_ENOTFOUND || r == -CB_EVERIFY ? 0 : r;
    if (size > CB_MAX_MANIFEST || pread(fd, &first, 1, 0) != 1 || first != '{')
        return 0;
    return mark_manifest(m, d, 0, err);
}

static int mark_names(struct cb_marks *m, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_store_index_read(m->store, &idx, err);
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++)
        r = mark_manifest(m, &idx.manifests[i].digest, 0, err);
    return r;
}

static int mark_record(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct cb_marks *m = arg;
    struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
    int r = cb_cache_record_read(dirfd, name, &rec, err);
    if (r < 0)
        return r == -CB_ENOTFOUND ? 0 : r;
    for (size_t i = 0; i < rec.n_layers; i++)
        mark(m, m->layers, &rec.layers[i]);
    return 0;
}

static int mark_record_dir(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    struct cb_marks *m = arg;
    char path[CB_STORE_PATH_MAX];
    if (strlen(name) != 2)
        return 0;
    snprintf(path, sizeof path, "cache/%s", name);
    return cb_store_each(m->store, path, mark_record, m, err);
}

struct recent {
    struct cb_marks *m;
    int64_t keep_newer;
};

static int mark_recent(void *arg, const struct cb_digest *diff_id, int64_t last_use, struct cb_error *err)
{
    (void)err;
    const struct recent *a = arg;
    int64_t now = cb_time_now();
    if (a->keep_newer > 0 && (last_use > now || now - last_use < a->keep_newer))
        mark(a->m, a->m->layers, diff_id);
    return 0;
}

/* From layers to the blobs that encode them. */
static int mark_encodings(struct cb_store *s, void *arg, struct cb_error *err)
{
    const struct recent *a = arg;
    int r = cb_layer_table_each_use(s, mark_recent, arg, err);
    size_t it = 0;
    const char *text;
    void *v;
    while (r == 0 && cb_hashmap_next(a->m->layers, &it, &text, &v)) {
        struct cb_digest d;
        struct cb_layer l cb_cleanup_layer = { 0 };
        if (cb_digest_parse(&d, text, NULL) < 0)
            continue;
        r = cb_layer_table_get(s, &d, &l, err);
        for (size_t i = 0; r == 0 && i < l.n_encodings; i++)
            mark(a->m, a->m->blobs, &l.encodings[i].digest);
        r = r == -CB_ENOTFOUND ? 0 : r;
    }
    return r;
}

int cb_marks_collect(struct cb_marks *m, struct cb_store *s, bool cache_too, struct cb_error *err)
{
    *m = (struct cb_marks){ .store = s, .oldest_other = INT64_MAX };
    m->blobs = cb_hashmap_new();
    m->layers = cb_hashmap_new();
    m->seen = cb_hashmap_new();
    int r = mark_names(m, err);
    if (r == 0)
        r = cb_lease_each(s, mark_held, m, &m->oldest_other, err);
    if (r == 0 && cache_too)
        r = cb_store_each(s, "cache", mark_record_dir, m, err);
    return r;
}

int cb_marks_expand(struct cb_marks *m, int64_t keep_newer, struct cb_error *err)
{
    struct recent a = { m, keep_newer };
    return cb_db_run(m->store, mark_encodings, &a, err);
}

void cb_marks_done(struct cb_marks *m)
{
    cb_hashmap_free(m->blobs);
    cb_hashmap_free(m->layers);
    cb_hashmap_free(m->seen);
    *m = (struct cb_marks){ 0 };
}
