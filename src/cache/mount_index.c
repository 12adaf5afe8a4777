/* SPDX-License-Identifier: Apache-2.0 */
/* The index of a cache mount: what packs there are, what chunks in them, and which of those in a row are the stream. */
#include "cache/mount_parts.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"

static const char MAGIC[8] = { 'c', 'b', 'm', 'n', 't', '\0', '\0', '\1' };
#define RAW 32 /* sha256 */
#define MIN_PACK (RAW + 1)
#define MIN_CHUNK (RAW + 4)

void cache_mount_index_done(struct cache_mount_index *x)
{
    free(x->packs);
    free(x->chunks);
    free(x->refs);
    *x = (struct cache_mount_index){ 0 };
}

uint64_t cache_mount_stream_size(const struct cache_mount_index *x, size_t from_ref)
{
    uint64_t n = 0;
    for (size_t i = from_ref; i < x->n_refs; i++)
        n += x->chunks[x->refs[i]].size;
    return n;
}

/* ---- writing ---- */

static void put(struct cb_strbuf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        cb_strbuf_addch(out, (char)(unsigned char)(v | 0x80));
    cb_strbuf_addch(out, (char)(unsigned char)v);
}

void cache_mount_index_print(struct cb_strbuf *out, const struct cache_mount_index *x)
{
    cb_strbuf_add(out, MAGIC, sizeof MAGIC);
    put(out, x->mode);
    put(out, x->uid);
    put(out, x->gid);
    put(out, x->n_packs);
    for (size_t i = 0; i < x->n_packs; i++) {
        cb_strbuf_add(out, x->packs[i].digest.raw, RAW);
        put(out, x->packs[i].size);
    }
    put(out, x->n_chunks);
    for (size_t i = 0; i < x->n_chunks; i++) {
        const struct cache_mount_chunk *c = &x->chunks[i];
        cb_strbuf_add(out, c->digest.raw, RAW);
        put(out, c->size);
        put(out, c->pack);
        put(out, c->packed);
        put(out, c->offset);
    }
    put(out, x->n_refs);
    put(out, x->table_refs);
    for (size_t i = 0; i < x->n_refs; i++)
        put(out, x->refs[i]);
}

/* ---- reading ---- */

struct reader {
    const uint8_t *p, *end;
    bool bad; /* once set, every take yields nothing */
};

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

static uint64_t take(struct reader *r, uint64_t min, uint64_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 63 && !r->bad && left(r); shift += 7) {
        uint8_t c = *r->p++;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c & 0x80)
            continue;
        if ((c == 0 && shift) || v < min || v > max) /* one number has one form */
            break;
        return v;
    }
    r->bad = true;
    return min;
}

static void take_digest(struct reader *r, struct cb_digest *d)
{
    if (r->bad || left(r) < RAW) {
        r->bad = true;
        return;
    }
    d->alg = CB_DIGEST_SHA256;
    memcpy(d->raw, r->p, RAW);
    r->p += RAW;
}

static size_t take_count(struct reader *r, size_t max, size_t least)
{
    size_t n = (size_t)take(r, 0, max);
    if (n > left(r) / least)
        r->bad = true;
    return r->bad ? 0 : n;
}

static void take_packs(struct reader *r, struct cache_mount_index *x)
{
    x->n_packs = take_count(r, CACHE_MOUNT_PACKS_MAX, MIN_PACK);
    x->packs = cb_calloc(x->n_packs + 1, sizeof *x->packs);
    for (size_t i = 0; i < x->n_packs; i++) {
        take_digest(r, &x->packs[i].digest);
        x->packs[i].size = take(r, 1, 2 * CB_MAX_CACHE_MOUNT);
    }
}

static void take_chunks(struct reader *r, struct cache_mount_index *x)
{
    x->n_chunks = take_count(r, UINT32_MAX, MIN_CHUNK);
    x->chunks = cb_calloc(x->n_chunks + 1, sizeof *x->chunks);
    if (x->n_chunks && !x->n_packs)
        r->bad = true;
    for (size_t i = 0; i < x->n_chunks && !r->bad; i++) {
        struct cache_mount_chunk *c = &x->chunks[i];
        take_digest(r, &c->digest);
        c->size = (uint32_t)take(r, 1, CACHE_CDC_MAX);
        c->pack = (uint32_t)take(r, 0, x->n_packs - 1);
        c->packed = (uint32_t)take(r, 1, CACHE_MOUNT_PACKED_MAX);
        c->offset = take(r, 0, 2 * CB_MAX_CACHE_MOUNT);
        if (!r->bad && c->offset + c->packed > x->packs[c->pack].size)
            r->bad = true;
    }
}

static void take_refs(struct reader *r, struct cache_mount_index *x)
{
    uint64_t table = 0, total = 0;
    x->n_refs = (size_t)take(r, 0, UINT32_MAX);
    x->table_refs = (size_t)take(r, 0, x->n_refs);
    if (x->n_refs > left(r) || (x->n_refs && !x->n_chunks))
        r->bad = true;
    if (r->bad) {
        x->n_refs = 0;
        return;
    }
    x->refs = cb_calloc(x->n_refs + 1, sizeof *x->refs);
    for (size_t i = 0; i < x->n_refs && !r->bad; i++) {
        x->refs[i] = (uint32_t)take(r, 0, x->n_chunks - 1);
        uint32_t size = r->bad ? 0 : x->chunks[x->refs[i]].size;
        total += size;
        table += i < x->table_refs ? size : 0;
        if (total > CB_MAX_CACHE_MOUNT || table > CB_MAX_TOC_BLOB)
            r->bad = true;
    }
}

int cache_mount_index_parse(struct cache_mount_index *out, const void *buf, size_t len, struct cb_error *err)
{
    struct reader r = { buf, (const uint8_t *)buf + len, false };
    if (len < sizeof MAGIC || memcmp(buf, MAGIC, sizeof MAGIC) != 0)
        return cb_error_set(err, CB_EVERIFY, "it is no index of a cache mount, or one of another version");
    r.p += sizeof MAGIC;
    out->mode = (uint32_t)take(&r, 0, 07777);
    out->uid = (uint32_t)take(&r, 0, UINT32_MAX - 1);
    out->gid = (uint32_t)take(&r, 0, UINT32_MAX - 1);
    take_packs(&r, out);
    take_chunks(&r, out);
    take_refs(&r, out);
    if (r.bad || left(&r))
        return cb_error_set(err, CB_EVERIFY, "the index of the cache mount is malformed near byte %zu",
                            len - left(&r));
    return 0;
}
