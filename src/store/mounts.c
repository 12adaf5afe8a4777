/* SPDX-License-Identifier: Apache-2.0 */
/* mounts/<hex of key>[-form]/<n>/{fs,lock}: who uses fs has the flock of `lock`; what else stands there is the user's
 * of fs, and goes with it. mounts/lock is held while one is
 * looked for, made visible or removed, and never for longer. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fs.h"

#define POLL_MS 100

static int selection_lock(struct cb_store *s, int *fd, struct cb_error *err)
{
    if (mkdirat(s->root_fd, "mounts", 0700) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/mounts", s->root);
    cb_autoclose int f = openat(s->root_fd, "mounts/lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (f < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/mounts/lock", s->root);
    int r = cb_fs_lock(f, err);
    if (r == 0)
        *fd = CB_TAKE_FD(f);
    return r;
}

static int note_name(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    (void)err;
    cb_strvec_push(arg, name);
    return 0;
}

static int list(struct cb_store *s, const char *dir, struct cb_strvec *names, struct cb_error *err)
{
    int r = cb_store_each(s, dir, note_name, names, err);
    cb_strvec_sort(names);
    return r;
}

static int try_lock(int fd, int how)
{
    int r;
    do
        r = flock(fd, how | LOCK_NB);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int open_lock(struct cb_store *s, const char *dir, const char *name)
{
    char path[CB_STORE_PATH_MAX];
    snprintf(path, sizeof path, "%.180s/%.60s/lock", dir, name);
    int fd = openat(s->root_fd, path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

/* The directory `name` locked as sharing wants it: its lock, or -EWOULDBLOCK. *idle: nobody has it, and a step that
 * shares would rather join others. */
static int lock_one(struct cb_store *s, const char *dir, const char *name, enum cb_mount_sharing sharing, bool *idle)
{
    cb_autoclose int fd = open_lock(s, dir, name);
    if (fd < 0)
        return fd;
    int r = try_lock(fd, LOCK_EX);
    if (sharing != CB_SHARING_SHARED)
        return r < 0 ? r : CB_TAKE_FD(fd);
    *idle = r == 0;
    r = r == 0 ? -EWOULDBLOCK : try_lock(fd, LOCK_SH);
    return r < 0 ? r : CB_TAKE_FD(fd);
}

static int lock_idle(struct cb_store *s, const char *dir, const char *name)
{
    cb_autoclose int fd = open_lock(s, dir, name);
    int r = fd < 0 ? fd : try_lock(fd, LOCK_SH);
    return r < 0 ? r : CB_TAKE_FD(fd);
}

static int open_fs(struct cb_store *s, const char *dir, const char *name, struct cb_store_mount *out,
                   struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    snprintf(path, sizeof path, "%.180s/%.60s/fs", dir, name);
    snprintf(out->name, sizeof out->name, "%s", name);
    out->fd = openat(s->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    return out->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, path) : 0;
}

/* Under the selection lock. 1: *out is it; 0: there is none to be had; *busy: but others have some. */
static int find(struct cb_store *s, const char *dir, enum cb_mount_sharing sharing, struct cb_store_mount *out,
                bool *busy, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    const char *spare = NULL, *got = NULL;
    int r = list(s, dir, &names, err);
    if (r < 0)
        return r;
    for (size_t i = 0; !got && i < names.n; i++) {
        bool idle = false;
        int fd = lock_one(s, dir, names.v[i], sharing, &idle);
        *busy = *busy || (fd == -EWOULDBLOCK && !idle);
        if (idle && !spare)
            spare = names.v[i];
        if (fd >= 0) {
            out->lock = fd;
            got = names.v[i];
        }
    }
    if (!got && spare && (out->lock = lock_idle(s, dir, spare)) >= 0)
        got = spare;
    if (!got)
        return 0;
    r = open_fs(s, dir, got, out, err);
    return r < 0 ? r : 1;
}

/* A new one, complete but for its name. */
static int make(struct cb_store *s, const struct cb_store_mount_spec *spec, struct cb_store_tmp *tmp,
                struct cb_error *err)
{
    int r = cb_store_tmp_new(s, "mount", tmp, err);
    if (r < 0)
        return r;
    cb_autoclose int lock = openat(tmp->fd, "lock", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    cb_autoclose int fs = openat(tmp->fd, "fs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (lock < 0 || fs < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a cache directory");
    return spec->fill ? spec->fill(spec->arg, fs, err) : 0;
}

static int free_name(struct cb_store *s, const char *dir, char name[static 24], struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = list(s, dir, &names, err);
    unsigned n = 0;
    do
        snprintf(name, 24, "%u", n++);
    while (cb_strvec_has(&names, name));
    return r;
}

/* Under the selection lock. */
static int publish(struct cb_store *s, const char *dir, struct cb_store_tmp *tmp, char name[static 24],
                   struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    if (mkdirat(s->root_fd, dir, 0700) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/%s", s->root, dir);
    int parent = -1, r = free_name(s, dir, name, err);
    if (r == 0)
        r = cb_store_tmp_dir(s, &parent, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof path, "%.180s/%s", dir, name);
    if (renameat(parent, tmp->name, s->root_fd, path) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/%s", s->root, path);
    cb_close_p(&tmp->fd);
    *tmp = (struct cb_store_tmp)CB_STORE_TMP_INIT;
    return 0;
}

struct taking {
    struct cb_store *s;
    const struct cb_store_mount_spec *spec;
    char dir[CB_STORE_PATH_MAX];
    struct cb_store_tmp tmp; /* one that was made, or none */
    bool busy;               /* wait */
};

/* One look: 1: *out is it; 0: not yet: wait, or make one. */
static int attempt(struct taking *t, struct cb_store_mount *out, struct cb_error *err)
{
    cb_autoclose int lock = -1;
    enum cb_mount_sharing sharing = t->spec->sharing;
    char name[24];
    t->busy = false;
    int r = selection_lock(t->s, &lock, err);
    if (r == 0)
        r = find(t->s, t->dir, sharing, out, &t->busy, err);
    if (sharing != CB_SHARING_LOCKED)
        t->busy = false; /* others have theirs: this step gets a new one */
    if (r != 0 || t->tmp.fd < 0 || t->busy)
        return r;
    if ((r = publish(t->s, t->dir, &t->tmp, name, err)) == 0)
        r = find(t->s, t->dir, sharing, out, &t->busy, err);
    return r;
}

static int wait_a_little(const struct cb_store_mount_spec *spec, struct cb_error *err)
{
    struct pollfd p = { .fd = spec->cancel ? cb_cancel_fd(spec->cancel) : -1, .events = POLLIN };
    if (poll(&p, 1, POLL_MS) < 0 && errno != EINTR)
        return cb_error_sys(err, CB_ELOCAL, errno, "wait for a cache directory");
    return cb_cancel_check(spec->cancel, err);
}

static int take(struct taking *t, struct cb_store_mount *out, struct cb_error *err)
{
    const struct cb_store_mount_spec *spec = t->spec;
    bool told = false;
    int r = 0;
    while (r == 0 && (r = attempt(t, out, err)) == 0) {
        if (t->busy && !told && spec->waiting)
            spec->waiting(spec->arg);
        told = told || t->busy;
        r = t->busy ? wait_a_little(spec, err) : make(t->s, spec, &t->tmp, err);
    }
    return r < 0 ? r : 0;
}

static void dir_of(const struct cb_store *s, const struct cb_digest *key, char dir[static CB_STORE_PATH_MAX])
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(dir, CB_STORE_PATH_MAX, "mounts/%s%s%s", cb_digest_hex(key, hex), s->tree_form[0] ? "-" : "",
             s->tree_form);
}

int cb_store_mount_take(struct cb_store *s, const struct cb_store_mount_spec *spec, struct cb_store_mount *out,
                        struct cb_error *err)
{
    struct taking t = { .s = s, .spec = spec, .tmp = CB_STORE_TMP_INIT };
    dir_of(s, &spec->key, t.dir);
    *out = (struct cb_store_mount)CB_STORE_MOUNT_INIT;
    int r = take(&t, out, err);
    cb_store_tmp_done(&t.tmp);
    if (r < 0)
        cb_store_mount_done(out);
    return r;
}

int cb_store_mount_again(struct cb_store *s, const struct cb_digest *key, const char *name, struct cb_store_mount *out,
                         struct cb_error *err)
{
    cb_autoclose int lock = -1;
    char dir[CB_STORE_PATH_MAX];
    dir_of(s, key, dir);
    *out = (struct cb_store_mount)CB_STORE_MOUNT_INIT;
    int r = selection_lock(s, &lock, err);
    if (r < 0)
        return r;
    int fd = lock_idle(s, dir, name);
    if (fd < 0)
        return cb_error_sys(err, fd == -ENOENT ? CB_ENOTFOUND : CB_ELOCAL, -fd, "take a cache directory");
    out->lock = fd;
    r = open_fs(s, dir, name, out, err);
    if (r < 0)
        cb_store_mount_done(out);
    return r;
}

void cb_store_mount_done(struct cb_store_mount *m)
{
    /* A process that is being started may have a copy of the descriptor: closing ours would not be enough. */
    if (m->lock >= 0)
        flock(m->lock, LOCK_UN);
    cb_close_p(&m->lock);
    cb_close_p(&m->fd);
    *m = (struct cb_store_mount)CB_STORE_MOUNT_INIT;
}

/* ---- removing ---- */

struct prune {
    struct cb_store *s;
    bool dry_run;
    struct cb_store_mounts *res;
    struct cb_strvec trash;
};

static int measure(struct prune *p, int dirfd, const char *name, struct cb_error *err)
{
    uint64_t bytes = 0;
    int r = cb_fs_disk_usage(dirfd, name, &bytes, err);
    p->res->bytes += bytes;
    return r;
}

/* What is taken is held until it is out of the way. */
static int prune_one(struct prune *p, const char *dir, const char *name, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX], trashed[CB_STORE_TRASH_NAME];
    cb_autoclose int lock = open_lock(p->s, dir, name);
    if (lock < 0 && lock != -ENOENT)
        return cb_error_sys(err, CB_ELOCAL, -lock, "open %s/%s/%s/lock", p->s->root, dir, name);
    if (lock >= 0 && try_lock(lock, LOCK_EX) < 0) {
        p->res->in_use++;
        return 0;
    }
    p->res->n++;
    snprintf(path, sizeof path, "%.180s/%.60s", dir, name);
    if (p->dry_run)
        return measure(p, p->s->root_fd, path, err);
    int r = cb_store_trash(p->s, path, trashed, err);
    if (r == 0 && trashed[0])
        cb_strvec_push(&p->trash, trashed);
    return r;
}

static int prune_key(struct prune *p, const char *key, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    char dir[CB_STORE_PATH_MAX];
    if (cb_streq(key, "lock"))
        return 0;
    snprintf(dir, sizeof dir, "mounts/%.180s", key);
    int r = list(p->s, dir, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++)
        r = prune_one(p, dir, names.v[i], err);
    if (r == 0 && !p->dry_run && unlinkat(p->s->root_fd, dir, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY &&
        errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "remove %s/%s", p->s->root, dir);
    return r;
}

static int move_to_trash(struct prune *p, struct cb_error *err)
{
    struct cb_strvec keys cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autoclose int lock = -1;
    int r = selection_lock(p->s, &lock, err);
    if (r == 0)
        r = list(p->s, "mounts", &keys, err);
    for (size_t i = 0; r == 0 && i < keys.n; i++)
        r = prune_key(p, keys.v[i], err);
    return r;
}

static int empty_trash(struct prune *p, struct cb_error *err)
{
    int trash = -1;
    int r = cb_store_trash_dir(p->s, &trash, err);
    for (size_t i = 0; r == 0 && i < p->trash.n; i++) {
        r = measure(p, trash, p->trash.v[i], err);
        if (r == 0)
            r = cb_fs_remove_tree(trash, p->trash.v[i], err);
    }
    return r;
}

/* Its lock, held, where the directory is empty and nobody has it; else -1. */
static int lock_empty(struct cb_store *s, const char *dir, const char *name)
{
    struct cb_store_mount m = CB_STORE_MOUNT_INIT;
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    char path[CB_STORE_PATH_MAX];
    cb_autoclose int lock = open_lock(s, dir, name);
    snprintf(path, sizeof path, "%.180s/%.60s/fs", dir, name);
    bool empty = lock >= 0 && try_lock(lock, LOCK_EX) == 0 && open_fs(s, dir, name, &m, NULL) == 0 &&
                 list(s, path, &names, NULL) == 0 && names.n == 0;
    cb_close_p(&m.fd);
    return empty ? CB_TAKE_FD(lock) : -1;
}

int cb_store_mount_drop_empty(struct cb_store *s, const struct cb_digest *key, struct cb_error *err)
{
    struct cb_store_mounts res = { 0 };
    struct prune p = { .s = s, .res = &res };
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autoclose int lock = -1;
    char dir[CB_STORE_PATH_MAX], path[CB_STORE_PATH_MAX], trashed[CB_STORE_TRASH_NAME];
    dir_of(s, key, dir);
    int r = selection_lock(s, &lock, err);
    if (r == 0)
        r = list(s, dir, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        cb_autoclose int held = lock_empty(s, dir, names.v[i]);
        if (held < 0)
            continue;
        snprintf(path, sizeof path, "%.180s/%.60s", dir, names.v[i]);
        r = cb_store_trash(s, path, trashed, err);
        if (r == 0 && trashed[0])
            cb_strvec_push(&p.trash, trashed);
    }
    cb_close_p(&lock);
    lock = -1;
    int e = empty_trash(&p, r < 0 ? NULL : err);
    cb_strvec_done(&p.trash);
    return r < 0 ? r : e;
}

int cb_store_mounts_prune(struct cb_store *s, bool dry_run, struct cb_store_mounts *res, struct cb_error *err)
{
    *res = (struct cb_store_mounts){ 0 };
    struct prune p = { .s = s, .dry_run = dry_run, .res = res };
    int r = move_to_trash(&p, err);
    int e = empty_trash(&p, r < 0 ? NULL : err);
    cb_strvec_done(&p.trash);
    if (r == 0)
        r = e;
    if (r < 0)
        cb_error_wrap(err, "remove cache directories");
    return r;
}
