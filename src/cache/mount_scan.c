/* SPDX-License-Identifier: Apache-2.0 */
/* What a cache directory holds. Steps wrote it, so it is not trusted: every path is opened without following links. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/mount_parts.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/path.h"

struct scan {
    const struct cb_cache_mount *m;
    int root;
    struct cb_hasher *state;
    struct cb_toc_builder *toc;    /* or NULL */
    struct cb_hashmap *links;      /* "dev:ino" of an inode with several names → the first of them, ours */
    uint64_t bytes;
};

/* One thing in a directory that is open. */
struct node {
    int dirfd;
    const char *name, *path;
    struct stat st;
};

static void hash_stat(struct cb_hasher *h, const struct stat *st)
{
    const uint64_t v[] = {
        st->st_mode, st->st_uid, st->st_gid, (uint64_t)st->st_size, st->st_ino, (uint64_t)st->st_mtim.tv_sec,
        (uint64_t)st->st_mtim.tv_nsec, (uint64_t)st->st_ctim.tv_sec, (uint64_t)st->st_ctim.tv_nsec,
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        cb_hasher_field_u64(h, v[i]);
}

static int read_link(const struct node *n, char text[static CB_MAX_PATH + 1], struct cb_error *err)
{
    ssize_t len = readlinkat(n->dirfd, n->name, text, CB_MAX_PATH + 1);
    if (len < 0 || len > CB_MAX_PATH)
        return cb_error_sys(err, CB_ELOCAL, len < 0 ? errno : ENAMETOOLONG, "read link %s", n->path);
    text[len] = '\0';
    return 0;
}

static const char *first_name(struct scan *s, const struct node *n)
{
    char key[64];
    if (!S_ISREG(n->st.st_mode) || n->st.st_nlink < 2)
        return NULL;
    snprintf(key, sizeof key, "%llu:%llu", (unsigned long long)n->st.st_dev, (unsigned long long)n->st.st_ino);
    const char *first = cb_hashmap_get(s->links, key);
    if (!first)
        cb_hashmap_put(s->links, key, cb_strdup(n->path));
    return first;
}

static int read_xattrs(const struct node *n, struct cb_xattrs *x, struct cb_error *err)
{
    bool dir = S_ISDIR(n->st.st_mode);
    if (!dir && !S_ISREG(n->st.st_mode))
        return 0;
    cb_autoclose int fd = openat(n->dirfd, n->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || cb_xattrs_read(x, fd) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read the attributes of %s", n->path);
    return 0;
}

static bool set_type(struct cb_entry *e, const struct node *n, const char *first, const char *text)
{
    switch (n->st.st_mode & S_IFMT) {
    case S_IFREG:
        e->type = first ? CB_ENTRY_HARDLINK : CB_ENTRY_FILE;
        e->size = (uint64_t)n->st.st_size;
        e->link = first;
        return true;
    case S_IFDIR:
        e->type = CB_ENTRY_DIR;
        return true;
    case S_IFLNK:
        e->type = CB_ENTRY_SYMLINK;
        e->link = text;
        return true;
    default: /* sockets, pipes and devices are no cache */
        return false;
    }
}

static int add_entry(struct scan *s, const struct node *n, const char *text, struct cb_error *err)
{
    struct cb_xattrs x cb_cleanup_xattrs = CB_XATTRS_INIT;
    const struct cb_cache_mount *m = s->m;
    struct cb_entry e = { .path = n->path, .mode = n->st.st_mode & 07777, .mtime = n->st.st_mtim.tv_sec,
                          .uid = m->single_id ? m->uid : n->st.st_uid, .gid = m->single_id ? m->gid : n->st.st_gid,
                          .offset = UINT64_MAX };
    if (!set_type(&e, n, first_name(s, n), text))
        return 0;
    if (e.type == CB_ENTRY_FILE && ((s->bytes += e.size) > CB_MAX_CACHE_MOUNT))
        return cb_error_set(err, CB_ELOCAL, "it holds more than %llu GiB",
                            (unsigned long long)(CB_MAX_CACHE_MOUNT >> 30));
    int r = e.type == CB_ENTRY_HARDLINK ? 0 : read_xattrs(n, &x, err);
    uint32_t first = 0; /* of user.*: security.capability is worth nothing on a mount of a step (nosuid) */
    while (first < x.n && !cb_starts_with(x.v[first].name, "user."))
        first++;
    e.xattrs = x.v + first;
    e.n_xattrs = x.n - first;
    return r < 0 ? r : cb_toc_builder_add(s->toc, &e, err);
}

static int scan_node(struct scan *s, struct node *n, struct cb_strvec *dirs, struct cb_error *err)
{
    char text[CB_MAX_PATH + 1] = "";
    int r = 0;
    if (fstatat(n->dirfd, n->name, &n->st, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", n->path);
    if (S_ISLNK(n->st.st_mode))
        r = read_link(n, text, err);
    cb_hasher_field(s->state, n->path);
    cb_hasher_field(s->state, text);
    hash_stat(s->state, &n->st);
    if (S_ISDIR(n->st.st_mode))
        cb_strvec_push(dirs, n->path);
    return r < 0 || !s->toc ? r : add_entry(s, n, text, err);
}

static int list(int fd, struct cb_strvec *names, struct cb_error *err)
{
    int own = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    DIR *d = own < 0 ? NULL : fdopendir(own);
    if (!d) {
        int e = errno;
        cb_close_p(&own);
        return cb_error_sys(err, CB_ELOCAL, e, "read a directory");
    }
    errno = 0;
    for (struct dirent *e; (e = readdir(d)); errno = 0)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            cb_strvec_push(names, e->d_name);
    int e = errno;
    closedir(d);
    cb_strvec_sort(names);
    return e ? cb_error_sys(err, CB_ELOCAL, e, "read a directory") : 0;
}

/* Its directories are appended to dirs, with their paths. */
static int scan_dir(struct scan *s, const char *path, struct cb_strvec *dirs, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autoclose int fd = cb_path_openat(s->root, path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open %s", path);
    int r = list(fd, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        cb_autofree char *full = cb_asprintf("%s%s%s", path, *path ? "/" : "", names.v[i]);
        struct node n = { .dirfd = fd, .name = names.v[i], .path = full };
        r = strlen(full) > CB_MAX_PATH ? cb_error_set(err, CB_ELOCAL, "a path is too long") :
                                         scan_node(s, &n, dirs, err);
    }
    return r < 0 ? r : cb_cancel_check(s->m->cancel, err);
}

static int scan_all(struct scan *s, struct cb_error *err)
{
    struct cb_strvec dirs cb_cleanup_strvec = CB_STRVEC_INIT;
    struct stat st;
    if (fstat(s->root, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read a cache directory");
    cb_hasher_field_u64(s->state, st.st_mode);
    cb_hasher_field_u64(s->state, (uint64_t)st.st_uid << 32 | st.st_gid);
    cb_strvec_push(&dirs, "");
    int r = 0;
    for (size_t i = 0; r == 0 && i < dirs.n; i++) {
        cb_autofree char *path = cb_strdup(dirs.v[i]);
        r = scan_dir(s, path, &dirs, err);
    }
    return r;
}

int cache_mount_scan(const struct cb_cache_mount *m, int fs_fd, struct cb_digest *state, struct cb_toc **toc,
                     struct cb_error *err)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *links = cb_hashmap_new();
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = toc ? cb_toc_builder_new() : NULL;
    struct scan s = { .m = m, .root = fs_fd, .state = h, .toc = b, .links = links };
    const char *k;
    void *v;
    size_t it = 0;
    int r = scan_all(&s, err);
    cb_hasher_finish(h, state);
    if (r == 0 && toc)
        *toc = cb_toc_builder_finish(b);
    while (cb_hashmap_next(links, &it, &k, &v))
        free(v);
    return r;
}

/* ---- what it was ---- */

/* One file a place and name, in the directory that fs is in: `known-` and a hash of both. */
static void note_name(const struct cb_cache_mount *m, char out[static 64])
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_hasher_field(h, m->place->text);
    cb_hasher_field(h, m->name);
    cb_hasher_finish(h, &d);
    snprintf(out, 64, "known-%.32s", cb_digest_hex(&d, hex));
}

static void note_text(struct cb_strbuf *out, const struct cb_digest *index, const struct cb_digest *state)
{
    cb_strbuf_add_digest(out, index);
    cb_strbuf_addch(out, ' ');
    cb_strbuf_add_digest(out, state);
    cb_strbuf_addch(out, '\n');
}

bool cache_mount_is_known(const struct cb_cache_mount *m, int fs_fd, const struct cb_digest *index,
                          const struct cb_digest *state)
{
    struct cb_strbuf is cb_cleanup_strbuf = CB_STRBUF_INIT, was cb_cleanup_strbuf = CB_STRBUF_INIT;
    char name[64];
    note_name(m, name);
    note_text(&is, index, state);
    cb_autoclose int dir = openat(fs_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    cb_autoclose int fd = dir < 0 ? -1 : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 && cb_fd_slurp(fd, 4 * CB_DIGEST_TEXT_MAX, &was, NULL) == 0 && cb_streq(is.buf, was.buf);
}

/* Where it cannot be written the next save reads everything again. */
void cache_mount_remember(const struct cb_cache_mount *m, int fs_fd, const struct cb_digest *index,
                          const struct cb_digest *state)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    char name[64];
    note_name(m, name);
    note_text(&text, index, state);
    cb_autoclose int dir = openat(fs_fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0 && cb_fs_write_file(dir, name, text.buf, text.len, 0600, NULL) < 0)
        unlinkat(dir, name, 0);
}
