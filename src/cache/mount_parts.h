/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the files of cache mounts share. A directory is a stream: its table (cb_toc_print), then the bytes of its files
 * in the order of the table. The stream is cut into chunks, each compressed alone; packs are chunks in a row. */

#include "cache/cdc.h"
#include "cache/private.h"

#define CACHE_MOUNT_INDEX_MAX (64u << 20)     /* bytes */
#define CACHE_MOUNT_PACKS_MAX 500             /* the manifest names them all, and the index: CB_MAX_LAYERS */
#define CACHE_MOUNT_PACKED_MAX (2u * CACHE_CDC_MAX) /* of a chunk: more than any compressor makes of it */

struct cache_mount_pack {
    struct cb_digest digest;
    uint64_t size;
};
struct cache_mount_chunk {
    struct cb_digest digest;       /* of its bytes */
    uint32_t size;                 /* bytes */
    uint32_t pack, packed;         /* where they are compressed: position among the packs, bytes there */
    uint64_t offset;
};
struct cache_mount_index {
    uint32_t mode, uid, gid;       /* of the directory itself */
    struct cache_mount_pack *packs;
    struct cache_mount_chunk *chunks; /* each once */
    uint32_t *refs;                /* the stream: positions among the chunks */
    size_t n_packs, cap_packs, n_chunks, cap_chunks, n_refs, cap_refs;
    size_t table_refs;             /* so many of the first ones are the table */
};
void cache_mount_index_done(struct cache_mount_index *x);
#define cb_cleanup_mount_index CB_CLEANUP(cache_mount_index_done)
void cache_mount_index_print(struct cb_strbuf *out, const struct cache_mount_index *x);
/* Strict: -CB_EVERIFY. *out is empty before, and to be freed after a failure too. */
int cache_mount_index_parse(struct cache_mount_index *out, const void *buf, size_t len, struct cb_error *err) CB_WUR;
uint64_t cache_mount_stream_size(const struct cache_mount_index *x, size_t from_ref); /* bytes */

/* What the artifact says of its index. */
struct cache_mount_head {
    struct cb_digest index;
    uint64_t index_size;
    int64_t created;               /* ns */
    char *name, *id;
    uint64_t files, bytes;         /* for people */
    bool is_signed;
    uint8_t signature[CB_CACHE_SIGNATURE];
};
void cache_mount_head_done(struct cache_mount_head *h);
#define cb_cleanup_mount_head CB_CLEANUP(cache_mount_head_done)
void cache_mount_head_print(struct cb_strbuf *out, const struct cache_mount_head *h);
int cache_mount_head_parse(struct cache_mount_head *out, const char *text, size_t len, struct cb_error *err) CB_WUR;
int cache_mount_head_sign(const struct cb_cache_key *k, struct cache_mount_head *h, struct cb_error *err) CB_WUR;
bool cache_mount_head_verify(const struct cb_cache_key *k, const struct cache_mount_head *h);
/* *out is CB_CACHE_ARTIFACT_INIT. */
void cache_mount_artifact(struct cb_cache_artifact *out, const struct cache_mount_head *h,
                          const struct cache_mount_index *x);
/* What the place has under the name, checked but for its signature. -CB_ENOTFOUND. */
int cache_mount_fetch(const struct cb_cache_mount *m, struct cache_mount_head *h, struct cb_error *err) CB_WUR;
int cache_mount_fetch_index(const struct cb_cache_mount *m, const struct cache_mount_head *h,
                            struct cache_mount_index *x, struct cb_error *err) CB_WUR;

/* ---- mount_scan.c ---- */
/* The directory as it is, by what stat(2) tells: names, types, modes, owners, sizes, times to the nanosecond, inodes.
 * toc: gets its table, of all but what is neither file, directory nor link; or NULL. */
int cache_mount_scan(const struct cb_cache_mount *m, int fs_fd, struct cb_digest *state, struct cb_toc **toc,
                     struct cb_error *err) CB_WUR;
/* Beside the directory stands what it was when it was last saved to, or restored from, this place. */
bool cache_mount_is_known(const struct cb_cache_mount *m, int fs_fd, const struct cb_digest *index,
                          const struct cb_digest *state);
void cache_mount_remember(const struct cb_cache_mount *m, int fs_fd, const struct cb_digest *index,
                          const struct cb_digest *state);
