/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"

/* trees/<name>/state is one line: "2 boot <boot id>" of a tree that may be in the page cache only, or "2 synced". Trees
 * without the 2 are of a cbpush that named them by the diff id alone, whatever they took from below. */
#define STATE_MAX 128
#define STATE_BOOT "2 boot %s\n"
#define STATE_SYNCED "2 synced\n"

static bool state_good(const struct cb_store *s, int tree_fd)
{
    cb_autoclose int fd = openat(tree_fd, "state", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    char buf[STATE_MAX], want[STATE_MAX];
    size_t n = 0;
    if (fd < 0 || cb_fd_read_full(fd, buf, sizeof buf - 1, &n, NULL) < 0)
        return false;
    buf[n] = '\0';
    snprintf(want, sizeof want, STATE_BOOT, s->boot);
    return strcmp(buf, STATE_SYNCED) == 0 || (s->boot[0] && strcmp(buf, want) == 0);
}

/* An image is as good as none where nobody can mount it: the layer is unpacked anew, in the form that we can use. */
static bool usable(struct cb_store *s, int tree_fd)
{
    struct stat st;
    return fstatat(tree_fd, "image", &st, AT_SYMLINK_NOFOLLOW) < 0 || cb_store_wants_images(s);
}

/* 0: *fd is the directory of a tree to be trusted. */
static int open_good(struct cb_store *s, const char *path, int *fd, bool *bad, struct cb_error *err)
{
    *bad = false;
    cb_autoclose int f = openat(s->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (f < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, path);
    if (f >= 0 && state_good(s, f) && usable(s, f)) {
        *fd = CB_TAKE_FD(f);
        return 0;
    }
    *bad = f >= 0 || errno != ENOENT;
    return cb_error_set(err, CB_ENOTFOUND, "the store has no %s", path);
}

/* Removes a tree that is not to be trusted. Under the lock, so that nobody removes the good one that has just taken
 * its place. */
static int drop_bad(struct cb_store *s, const char *path, struct cb_error *err)
{
    char name[CB_STORE_TRASH_NAME] = "";
    int r;
    {
        cb_autoclose int lock = -1, fd = -1;
        bool bad = false;
        if ((r = cb_store_lock(s, true, &lock, err)) < 0)
            return r;
        r = open_good(s, path, &fd, &bad, NULL);
        if (!bad)
            return 0;
        if ((r = cb_store_trash(s, path, name, err)) < 0)
            return r;
    }
    int trash = -1;
    if (name[0] == '\0')
        return 0;
    return (r = cb_store_trash_dir(s, &trash, err)) < 0 ? r : cb_fs_remove_tree(trash, name, err);
}

static int open_image(struct cb_store *s, int tree, const char *path, int *fd, struct cb_error *err)
{
    *fd = cb_tree_image_open(s, tree, path);
    if (*fd >= 0)
        return 0;
    return cb_error_sys(err, CB_ELOCAL, -*fd, "mount %s/%s/image (CBPUSH_TREES=directories does without)", s->root,
                        path);
}

/* That of exactly this name. */
static int open_named(struct cb_store *s, const struct cb_tree_name *name, int *fd, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    cb_store_tree_path(s, path, name);
    cb_autoclose int probe = -1, tree = -1;
    bool bad = false;
    int r = open_good(s, path, &probe, &bad, err);
    if (bad) {
        int d = drop_bad(s, path, err);
        return d < 0 ? d
                     : cb_error_set(err, CB_ENOTFOUND, "%s is of before the last boot, or cannot be mounted", path);
    }
    if (r < 0 || (r = cb_store_hold(s, name->diff_id, err)) < 0 || (r = open_good(s, path, &tree, &bad, err)) < 0)
        return r;
    *fd = openat(tree, "fs", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd < 0 && errno == ENOENT)
        return open_image(s, tree, path, fd, err);
    return *fd >= 0 ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s/fs", s->root, path);
}

int cb_store_tree_open(struct cb_store *s, const struct cb_tree_name *name, int *fd, struct cb_error *err)
{
    const struct cb_tree_name alone = { name->diff_id, NULL };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = open_named(s, &alone, fd, &e);
    if (r == -CB_ENOTFOUND && name->below)
        return open_named(s, name, fd, err);
    return r < 0 ? cb_error_move(err, &e) : 0;
}

static int tmp_fill(struct cb_store_tmp *t, int parent, struct cb_error *err)
{
    if (mkdirat(parent, t->name, 0700) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/tmp/%s/%s", t->store->root, t->store->lease, t->name);
    t->fd = openat(parent, t->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (t->fd < 0 || mkdirat(t->fd, "fs", 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/tmp/%s/%s/fs", t->store->root, t->store->lease,
                            t->name);
    cb_autoclose int fs = openat(t->fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fs < 0 || fchmod(fs, 0755) < 0) /* whatever the umask */
        return cb_error_sys(err, CB_ELOCAL, errno, "chmod %s/tmp/%s/%s/fs", t->store->root, t->store->lease, t->name);
    return 0;
}

int cb_store_tmp_new(struct cb_store *s, const char *prefix, struct cb_store_tmp *out, struct cb_error *err)
{
    int parent = -1;
    int r = cb_store_tmp_dir(s, &parent, err);
    if (r < 0)
        return r;
    struct cb_store_tmp t = { .store = s, .fd = -1 };
    cb_store_serial_name(s, prefix, t.name);
    if ((r = tmp_fill(&t, parent, err)) < 0)
        cb_store_tmp_done(&t);
    else
        *out = t;
    return r;
}

void cb_store_tmp_done(struct cb_store_tmp *t)
{
    int parent = -1;
    cb_close_p(&t->fd);
    t->fd = -1;
    if (t->store && t->name[0] && cb_store_tmp_dir(t->store, &parent, NULL) == 0) {
        int r = cb_fs_remove_tree(parent, t->name, NULL);
        (void)r; /* what stays goes with the lease */
    }
    t->store = NULL;
}

int cb_store_spool(struct cb_store *s, int *fd, struct cb_error *err)
{
    struct cb_tmpfile file cb_cleanup_tmpfile = CB_TMPFILE_INIT;
    int dir = -1;
    int r = cb_store_tmp_dir(s, &dir, err);
    if (r == 0)
        r = cb_tmpfile_open(&file, dir, 0600, err);
    if (r < 0)
        return r;
    *fd = fcntl(file.fd, F_DUPFD_CLOEXEC, 3);
    return *fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "keep a file in %s/tmp", s->root) : 0;
}

/* Moving a directory elsewhere writes its "..": so a tree whose root is read-only needs the bit for a moment. */
static int move_dir(int dirfd, const char *from, const char *to)
{
    if (renameat(dirfd, from, dirfd, to) == 0)
        return 0;
    if (errno != EACCES)
        return -1;
    cb_autoclose int fd = openat(dirfd, from, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || fchmodat(dirfd, from, (st.st_mode & 07777) | 0700, 0) < 0)
        return -1;
    int r = renameat(dirfd, from, dirfd, to);
    return fchmodat(dirfd, r == 0 ? to : from, st.st_mode & 07777, 0) < 0 ? -1 : r;
}

static int wrap_up(struct cb_store_tmp *t, const char *sub, struct cb_error *err)
{
    struct cb_store *s = t->store;
    struct stat st;
    if (fstatat(t->fd, sub, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s/%s", t->name, sub);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_EINTERNAL, "%s/%s is no directory", t->name, sub);
    if (mkdirat(t->fd, "publish", 0700) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/publish", t->name);
    if (move_dir(t->fd, sub, S_ISDIR(st.st_mode) ? "publish/fs" : "publish/image") < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "move %s/%s", t->name, sub);
    char state[STATE_MAX];
    if (s->boot[0])
        snprintf(state, sizeof state, STATE_BOOT, s->boot);
    else if (syncfs(t->fd) < 0) /* nothing tells this boot from the next */
        return cb_error_sys(err, CB_ELOCAL, errno, "sync");
    else
        snprintf(state, sizeof state, STATE_SYNCED);
    cb_autoclose int fd = openat(t->fd, "publish/state", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/publish/state", t->name);
    return cb_fd_write_all(fd, state, strlen(state), err);
}

int cb_store_tree_publish(struct cb_store *s, struct cb_store_tmp *t, const char *sub,
                          const struct cb_tree_name *name, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    cb_store_tree_path(s, path, name);
    int r = cb_store_hold(s, name->diff_id, err);
    if (r == 0)
        r = wrap_up(t, sub, err);
    for (int i = 0; r == 0 && i < 16; i++) {
        int e = cb_fs_rename_noreplace(t->fd, "publish", s->root_fd, path);
        if (e == 0)
            return 0;
        if (e != -EEXIST && e != -ENOTEMPTY) {
            r = cb_error_sys(err, CB_ELOCAL, -e, "rename");
            break;
        }
        cb_autoclose int there = -1;
        bool bad = false;
        r = open_good(s, path, &there, &bad, err);
        if (r != -CB_ENOTFOUND)
            break; /* one that is there wins */
        r = bad ? drop_bad(s, path, err) : 0;
    }
    if (r < 0)
        cb_error_wrap(err, "publish %s/%s", s->root, path);
    return r;
}

struct settle {
    struct cb_store *s;
    struct cb_strvec names;
};

static int note_tree(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    (void)err;
    cb_strvec_push(&((struct settle *)arg)->names, name);
    return 0;
}

static int settle_one(struct cb_store *s, const char *name, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX], buf[STATE_MAX] = "";
    snprintf(path, sizeof path, "trees/%.240s", name);
    cb_autoclose int dir = -1;
    bool bad = false;
    int r = open_good(s, path, &dir, &bad, err);
    if (r < 0)
        return r == -CB_ENOTFOUND ? 0 : r;
    cb_autoclose int fd = openat(dir, "state", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    size_t n = 0;
    if (fd < 0 || cb_fd_read_full(fd, buf, sizeof buf - 1, &n, NULL) < 0 || cb_starts_with(buf, STATE_SYNCED))
        return 0;
    r = cb_fs_write_file(dir, "state", STATE_SYNCED, strlen(STATE_SYNCED), 0600, err);
    /* Another gc may have taken it away meanwhile. */
    struct stat here, there;
    bool gone = fstat(dir, &here) == 0 &&
                (fstatat(s->root_fd, path, &there, AT_SYMLINK_NOFOLLOW) < 0 || there.st_ino != here.st_ino);
    return gone ? 0 : r;
}

int cb_trees_settle(struct cb_store *s, struct cb_error *err)
{
    /* Only those are settled that were whole before the sync began. */
    struct settle a = { .s = s, .names = CB_STRVEC_INIT };
    int r = cb_store_each(s, "trees", note_tree, &a, err);
    if (r == 0 && a.names.n > 0 && syncfs(s->root_fd) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "sync %s", s->root);
    for (size_t i = 0; r == 0 && i < a.names.n; i++)
        r = settle_one(s, a.names.v[i], err);
    cb_strvec_done(&a.names);
    return r;
}
