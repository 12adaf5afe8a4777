/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "oci/manifest.h"
#include "store/private.h"
#include "util/fs.h"

struct count {
    struct cb_store *s;
    struct cb_store_usage *out;
};

static int count_blob(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    const struct count *c = arg;
    struct stat st;
    struct cb_digest d;
    (void)err;
    if (!cb_store_digest_of_hex(&d, name, strlen(name)) || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0; /* foreign, or gc was quicker */
    c->out->blobs++;
    c->out->blob_bytes += (uint64_t)st.st_size;
    return 0;
}

static int count_tree(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    const struct count *c = arg;
    uint64_t bytes = 0;
    struct stat st;
    int r = cb_fs_disk_usage(dirfd, name, &bytes, err);
    if (r < 0) /* gone meanwhile? */
        return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT ? 0 : r;
    c->out->trees++;
    c->out->tree_bytes += bytes;
    return 0;
}

static int count_record(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    (void)name;
    (void)err;
    ((const struct count *)arg)->out->records++;
    return 0;
}

static int count_record_dir(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    char path[CB_STORE_PATH_MAX];
    if (strlen(name) != 2)
        return 0;
    snprintf(path, sizeof path, "cache/%s", name);
    return cb_store_each(((const struct count *)arg)->s, path, count_record, arg, err);
}

int cb_store_usage_get(struct cb_store *s, struct cb_store_usage *out, struct cb_error *err)
{
    *out = (struct cb_store_usage){ 0 };
    struct count c = { s, out };
    struct cb_index idx cb_cleanup_index = { 0 };
    int r;
    if ((r = cb_store_each(s, "blobs/sha256", count_blob, &c, err)) < 0 ||
        (r = cb_store_each(s, "blobs/sha512", count_blob, &c, err)) < 0 ||
        (r = cb_store_each(s, "trees", count_tree, &c, err)) < 0 ||
        (r = cb_store_each(s, "cache", count_record_dir, &c, err)) < 0 || (r = cb_store_index_read(s, &idx, err)) < 0)
        return r;
    out->names = idx.n_manifests;
    return 0;
}
