/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What RUN --mount=type=cache directories hold, kept in places: an artifact a directory. Part of cache.h, which is to
 * be included. doc/cache.md, "Cache mounts", has the format. Each call may be in any thread. */

#define CB_MT_CACHE_MOUNT "application/vnd.cbpush.cache.mount.v1"
#define CB_MT_CACHE_MOUNT_CONFIG "application/vnd.cbpush.cache.mount.config.v1+json"
#define CB_MT_CACHE_MOUNT_INDEX "application/vnd.cbpush.cache.mount.index.v1"
#define CB_MT_CACHE_MOUNT_PACK "application/vnd.cbpush.cache.mount.pack.v1"

struct cb_cache_mount {
    struct cb_cache_place *place;
    const struct cb_cache_key *key; /* signs, or has to have signed; or NULL */
    const char *name;               /* in the place: the tag */
    const char *id;                 /* for people */
    int tmp_fd;                     /* a directory for packs; what is made in it stays until the caller removes it */
    bool single_id;                 /* files have no owners on this disk: they are told as these, and not set */
    uint32_t uid, gid;
    bool anew;                      /* save: nothing of what the place has is to be used */
    const struct cb_cancel *cancel;
};
struct cb_cache_mount_stats {
    uint64_t files, bytes;          /* of the directory */
    uint64_t chunks, chunks_new;    /* different ones; of which the place had none */
    uint64_t moved;                 /* bytes of packs that are sent, or were fetched */
    bool same;                      /* nothing had to be written */
};

/* Reads the directory, where it is not as the place has it, and begins to send what the place lacks. Nothing refers to
 * it before commit; when that returns, the directory is needed no more. Files that change meanwhile: -CB_ELOCAL. */
struct cb_cache_mount_save;
int cb_cache_mount_save(const struct cb_cache_mount *m, int fs_fd, struct cb_cache_mount_save **out,
                        struct cb_error *err) CB_WUR;
/* Waits for what is sent, and moves the name. m as it was above. */
int cb_cache_mount_commit(struct cb_cache_mount_save *s, struct cb_cache_mount_stats *stats, struct cb_error *err)
    CB_WUR;
void cb_cache_mount_save_free(struct cb_cache_mount_save *s); /* after its place was closed */
CB_DEFINE_CLEANUP(struct cb_cache_mount_save *, cb_cache_mount_save_free)

/* Fills an empty directory. -CB_ENOTFOUND: the place has none. After a failure there may be anything in it. */
int cb_cache_mount_restore(const struct cb_cache_mount *m, int fs_fd, struct cb_cache_mount_stats *stats,
                           struct cb_error *err) CB_WUR;
