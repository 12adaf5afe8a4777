/* SPDX-License-Identifier: Apache-2.0 */
/* The artifact of a cache mount: its config names the index, its layers are the index and all packs, so that a registry
 * keeps those. */
#include "cache/mount_parts.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/timeutil.h"

#define SCHEMA 1

void cache_mount_head_done(struct cache_mount_head *h)
{
    free(h->name);
    free(h->id);
    *h = (struct cache_mount_head){ 0 };
}

/* ---- signatures ---- */

static void digest_head(const struct cache_mount_head *h, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *x = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(x, "cbpush-cache-mount/1");
    cb_hasher_field(x, h->name);
    cb_hasher_field_u64(x, (uint64_t)h->created);
    cb_hasher_field_digest(x, &h->index);
    cb_hasher_field_u64(x, h->index_size);
    cb_hasher_finish(x, out);
}

int cache_mount_head_sign(const struct cb_cache_key *k, struct cache_mount_head *h, struct cb_error *err)
{
    struct cb_digest d;
    digest_head(h, &d);
    h->is_signed = cache_sign_digest(k, &d, h->signature);
    return h->is_signed ? 0 : cb_error_set(err, CB_ELOCAL, "a cache mount cannot be signed");
}

bool cache_mount_head_verify(const struct cb_cache_key *k, const struct cache_mount_head *h)
{
    struct cb_digest d;
    digest_head(h, &d);
    return h->is_signed && cache_verify_digest(k, &d, h->signature);
}

/* ---- writing ---- */

void cache_mount_head_print(struct cb_strbuf *out, const struct cache_mount_head *h)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autojson json_t *o = json_object();
    json_t *index = json_object();
    cb_json_put(o, "schema", json_integer(SCHEMA));
    cb_json_put_string(o, "name", h->name);
    cb_json_put_string(o, "id", h->id);
    cb_time_format(&text, h->created);
    cb_json_put_string(o, "created", text.buf);
    cb_json_put_string(index, "digest", cb_digest_text(&h->index, digest));
    cb_json_put(index, "size", json_integer((json_int_t)h->index_size));
    cb_json_put(o, "index", index);
    cb_json_put(o, "files", json_integer((json_int_t)h->files));
    cb_json_put(o, "bytes", json_integer((json_int_t)h->bytes));
    if (h->is_signed) {
        cb_strbuf_reset(&text);
        cb_base64_encode(&text, h->signature, sizeof h->signature);
        cb_json_put_string(o, "signature", text.buf);
    }
    cb_json_print(out, o);
}

static void add_layer(struct cb_manifest *m, const char *type, const struct cb_digest *d, uint64_t size)
{
    m->layers[m->n_layers++] = (struct cb_descriptor){ .media_type = cb_strdup(type), .digest = *d, .size = size };
}

void cache_mount_artifact(struct cb_cache_artifact *out, const struct cache_mount_head *h,
                          const struct cache_mount_index *x)
{
    struct cb_manifest *m = &out->manifest;
    struct cb_strbuf when cb_cleanup_strbuf = CB_STRBUF_INIT;
    cache_mount_head_print(&out->config, h);
    m->artifact_type = cb_strdup(CB_MT_CACHE_MOUNT);
    cb_descriptor_of(&m->config, CB_MT_CACHE_MOUNT_CONFIG, out->config.buf, out->config.len);
    m->layers = cb_calloc(x->n_packs + 1, sizeof *m->layers);
    add_layer(m, CB_MT_CACHE_MOUNT_INDEX, &h->index, h->index_size);
    for (size_t i = 0; i < x->n_packs; i++)
        add_layer(m, CB_MT_CACHE_MOUNT_PACK, &x->packs[i].digest, x->packs[i].size);
    cb_time_format(&when, h->created);
    cb_strmap_set(&m->annotations, "org.opencontainers.image.created", when.buf);
    cb_manifest_print(&out->body, m);
    cache_artifact_embed(out);
}

/* ---- reading ---- */

static int take_signature(struct cache_mount_head *h, const char *text, struct cb_error *err)
{
    struct cb_strbuf raw cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!text)
        return 0;
    if (!cb_base64_decode(&raw, text, strlen(text)) || raw.len != sizeof h->signature)
        return cb_error_set(err, CB_EVERIFY, "its signature is malformed");
    memcpy(h->signature, raw.buf, sizeof h->signature);
    h->is_signed = true;
    return 0;
}

static int take_fields(struct cache_mount_head *h, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "schema", "name", "id", "created", "index", "files", "bytes", "signature",
                                         NULL };
    const char *name = NULL, *id = NULL, *created = NULL, *digest = NULL, *signature = NULL;
    const json_t *index = NULL;
    uint64_t schema = 0;
    int r = cb_json_check_keys(o, known, err);
    if (r < 0 || (r = cb_json_get_u64(o, "schema", &schema, err)) < 0 ||
        (r = cb_json_get_string(o, "name", &name, err)) < 0 || (r = cb_json_get_string(o, "id", &id, err)) < 0 ||
        (r = cb_json_get_string(o, "created", &created, err)) < 0 ||
        (r = cb_json_get_object(o, "index", &index, err)) < 0 ||
        (r = cb_json_get_string(index, "digest", &digest, err)) < 0 ||
        (r = cb_json_get_u64(index, "size", &h->index_size, err)) < 0 ||
        (r = cb_json_get_u64(o, "files", &h->files, err)) < 0 ||
        (r = cb_json_get_u64(o, "bytes", &h->bytes, err)) < 0 ||
        (r = cb_json_get_string(o, "signature", &signature, err)) < 0)
        return r;
    if (schema != SCHEMA || !name || !created || !digest || !cb_time_parse(created, &h->created) ||
        h->index_size > CACHE_MOUNT_INDEX_MAX)
        return cb_error_set(err, CB_EVERIFY, "it says too little of its index, or more than may be");
    h->name = cb_strdup(name);
    h->id = cb_strdup(id ? id : "");
    r = cb_digest_parse(&h->index, digest, err);
    return r < 0 ? r : take_signature(h, signature, err);
}

int cache_mount_head_parse(struct cache_mount_head *out, const char *text, size_t len, struct cb_error *err)
{
    cb_autojson json_t *o = cb_json_parse(text, len, err);
    return o ? take_fields(out, o, err) : -CB_EVERIFY;
}

int cache_mount_fetch(const struct cb_cache_mount *m, struct cache_mount_head *h, struct cb_error *err)
{
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cache_get(m->place, m->name, &a, &body, err);
    if (r == 0 && strcmp(a.manifest.artifact_type, CB_MT_CACHE_MOUNT))
        r = cb_error_set(err, CB_EVERIFY, "it is no cache mount");
    if (r == 0)
        r = cache_mount_head_parse(h, a.config.buf, a.config.len, err);
    if (r == 0 && strcmp(h->name, m->name))
        r = cb_error_set(err, CB_EVERIFY, "it is the one of another cache mount");
    return r;
}

int cache_mount_fetch_index(const struct cb_cache_mount *m, const struct cache_mount_head *h,
                            struct cache_mount_index *x, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor d = { .media_type = (char *)(uintptr_t)CB_MT_CACHE_MOUNT_INDEX, .digest = h->index,
                               .size = h->index_size };
    int r = cache_slurp(m->place, &d, CACHE_MOUNT_INDEX_MAX, &text, err);
    if (r == -CB_ENOTFOUND)
        r = cb_error_set(err, CB_EVERIFY, "its index is gone");
    return r < 0 ? r : cache_mount_index_parse(x, text.buf, text.len, err);
}
