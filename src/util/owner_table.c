/* SPDX-License-Identifier: Apache-2.0 */
#include "util/owner_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/hashmap.h"

#define KEY_MAX (2 * MAX_HANDLE_SZ + 32)
#define ROW_BYTES 256
#define MAX_BYTES (UINT64_C(1) << 30) /* a step can chown and remove for ever */

struct row {
    uint32_t id[2]; /* user, group */
    char *path;     /* of an inode: where that was; of a path: NULL */
};

struct cb_owner_table {
    struct cb_hashmap *inodes, *paths; /* → struct row */
    uint32_t id[2];
    uint64_t bytes;                    /* about */
};

struct cb_owner_table *cb_owner_table_new(uint32_t uid, uint32_t gid)
{
    struct cb_owner_table *t = CB_NEW(struct cb_owner_table);
    *t = (struct cb_owner_table){ .inodes = cb_hashmap_new(), .paths = cb_hashmap_new(), .id = { uid, gid } };
    return t;
}

static void free_rows(struct cb_hashmap *m)
{
    size_t it = 0;
    const char *key;
    void *row;
    while (cb_hashmap_next(m, &it, &key, &row)) {
        free(((struct row *)row)->path);
        free(row);
    }
    cb_hashmap_free(m);
}

void cb_owner_table_free(struct cb_owner_table *t)
{
    if (!t)
        return;
    free_rows(t->inodes);
    free_rows(t->paths);
    free(t);
}

/* Inode numbers are soon used again; a handle has the inode's generation too. Without handles, the time of birth. */
static bool make_key(char key[static KEY_MAX], int dirfd, const char *name)
{
    union {
        struct file_handle h;
        char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
    } u;
    int mount, at = name[0] ? 0 : AT_EMPTY_PATH;
    u.h.handle_bytes = MAX_HANDLE_SZ;
    if (name_to_handle_at(dirfd, name, &u.h, &mount, at) == 0) {
        int n = snprintf(key, KEY_MAX, "%x:", (unsigned)u.h.handle_type);
        cb_hex_encode(key + n, u.h.f_handle, u.h.handle_bytes);
        return true;
    }
    struct statx st;
    if (statx(dirfd, name, at | AT_SYMLINK_NOFOLLOW, STATX_INO | STATX_BTIME, &st) < 0)
        return false;
    snprintf(key, KEY_MAX, "i%llx:%llx:%x", (unsigned long long)st.stx_ino, (unsigned long long)st.stx_btime.tv_sec,
             st.stx_btime.tv_nsec);
    return true;
}

static struct row *row_of(struct cb_owner_table *t, struct cb_hashmap *m, const char *key)
{
    struct row *row = cb_hashmap_get(m, key);
    if (row)
        return row;
    row = CB_NEW(struct row);
    row->id[0] = row->id[1] = CB_OWNER_KEEP;
    cb_hashmap_put(m, key, row);
    t->bytes += ROW_BYTES + strlen(key);
    return row;
}

static void set(struct row *row, const uint32_t id[static 2])
{
    for (int i = 0; i < 2; i++)
        row->id[i] = id[i] == CB_OWNER_KEEP ? row->id[i] : id[i];
}

bool cb_owner_table_put(struct cb_owner_table *t, int fd, const char *path, uint32_t uid, uint32_t gid)
{
    char key[KEY_MAX];
    const uint32_t id[2] = { uid, gid };
    if (t->bytes > MAX_BYTES || !make_key(key, fd, ""))
        return false;
    struct row *row = row_of(t, t->inodes, key);
    set(row, id);
    if (!row->path || strcmp(row->path, path) != 0) {
        free(row->path);
        row->path = cb_strdup(path);
        t->bytes += strlen(path);
    }
    set(row_of(t, t->paths, path), id);
    return true;
}

void cb_owner_table_get(const struct cb_owner_table *t, int dirfd, const char *name, const char *path,
                        uint32_t owner[static 2])
{
    char key[KEY_MAX];
    const struct row *inode = make_key(key, dirfd, name) ? cb_hashmap_get(t->inodes, key) : NULL;
    const struct row *at_path = cb_hashmap_get(t->paths, path);
    for (int i = 0; i < 2; i++) {
        bool counts = inode && inode->id[i] != CB_OWNER_KEEP && (inode->id[i] != 0 || !strcmp(inode->path, path));
        if (counts)
            owner[i] = inode->id[i];
        else if (at_path && at_path->id[i] != CB_OWNER_KEEP)
            owner[i] = at_path->id[i];
        else if (owner[i] == CB_OWNER_KEEP)
            owner[i] = t->id[i];
    }
}
