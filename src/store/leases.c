/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/timeutil.h"

/* A lease is a file in leases/ that its process keeps flock'd, named "<pid>-<start in ns>-<random>". Each line in it
 * is a digest that the process relies on. It is empty at first, so that a store can be opened, and cleaned, on a full
 * disk. */

#define LEASE_MAX (64u << 20)
#define CLOCK_SLACK 1000000000LL /* ns: file times come from a coarser clock than ours */

static int lease_create(struct cb_store *s, bool *lost, struct cb_error *err)
{
    uint64_t rnd = 0;
    if (getrandom(&rnd, sizeof rnd, 0) != (ssize_t)sizeof rnd)
        return cb_error_sys(err, CB_ELOCAL, errno, "getrandom");
    snprintf(s->lease, sizeof s->lease, "%ld-%lld-%016llx", (long)getpid(), (long long)cb_time_now(),
             (unsigned long long)rnd);
    char path[CB_STORE_PATH_MAX];
    snprintf(path, sizeof path, "leases/%s", s->lease);
    cb_autoclose int fd =
        openat(s->root_fd, path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/%s", s->root, path);
    int r = cb_fs_lock(fd, err);
    if (r < 0)
        return r;
    /* Somebody who cleans may have taken the file for a dead one before we had the lock. */
    struct stat st;
    if (fstat(fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat %s/%s", s->root, path);
    *lost = st.st_nlink == 0;
    if (!*lost)
        s->lease_fd = CB_TAKE_FD(fd);
    return 0;
}

int cb_lease_take(struct cb_store *s, struct cb_error *err)
{
    for (int i = 0; i < 100; i++) {
        bool lost = false;
        int r = lease_create(s, &lost, err);
        if (r < 0 || !lost)
            return r;
    }
    return cb_error_set(err, CB_ELOCAL, "cannot keep a lease file in %s/leases", s->root);
}

/* Whether an entry of tmp/ ("<lease>") or trash/ ("<lease>.<n>") is that lease's. */
static bool belongs(const char *entry, const char *lease)
{
    size_t n = strlen(lease);
    return strncmp(entry, lease, n) == 0 && (entry[n] == '\0' || entry[n] == '.');
}

static int remove_own(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    const struct cb_store *s = arg;
    return belongs(name, s->lease) ? cb_fs_remove_tree(dirfd, name, err) : 0;
}

void cb_lease_drop(struct cb_store *s)
{
    if (s->lease_fd < 0)
        return;
    /* What cannot be removed now goes at the next open: the lease is gone then. */
    int r = s->tmp_fd >= 0 ? cb_store_each(s, "tmp", remove_own, s, NULL) : 0;
    r |= s->trash_fd >= 0 ? cb_store_each(s, "trash", remove_own, s, NULL) : 0;
    (void)r;
    cb_close_p(&s->tmp_fd);
    cb_close_p(&s->trash_fd);
    s->tmp_fd = s->trash_fd = -1;
    char path[CB_STORE_PATH_MAX];
    snprintf(path, sizeof path, "leases/%s", s->lease);
    unlinkat(s->root_fd, path, 0);
    close(CB_TAKE_FD(s->lease_fd));
}

/* 1: its process lives, 0: not. *fd: open for reading where it lives. A dead one is unlinked where `reap`. */
static int lease_live(struct cb_store *s, const char *name, bool reap, int *fd, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    snprintf(path, sizeof path, "leases/%.100s", name);
    cb_autoclose int f = openat(s->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (f < 0 && (errno == ENOENT || errno == ELOOP))
        return 0;
    if (f < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, path);
    if (flock(f, (reap ? LOCK_EX : LOCK_SH) | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK)
            return cb_error_sys(err, CB_ELOCAL, errno, "lock %s/%s", s->root, path);
        if (fd)
            *fd = CB_TAKE_FD(f);
        return 1;
    }
    if (reap)
        unlinkat(s->root_fd, path, 0);
    return 0;
}

static int reap_lease(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    struct cb_store *s = arg;
    int r = lease_live(s, name, true, NULL, err);
    return r < 0 ? r : 0;
}

struct reap {
    struct cb_store *s;
    const char *where;
};

/* Only one cleaner gets a dead entry: who can rename it to a name of its own. */
static int reap_leftover(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    const struct reap *a = arg;
    struct cb_store *s = a->s;
    char lease[64];
    snprintf(lease, sizeof lease, "%.*s", (int)strcspn(name, "."), name);
    if (strcmp(lease, s->lease) == 0)
        return 0;
    int live = lease_live(s, lease, false, NULL, err);
    if (live != 0)
        return live < 0 ? live : 0;
    char path[CB_STORE_PATH_MAX], to[CB_STORE_TRASH_NAME];
    snprintf(path, sizeof path, "%s/%.180s", a->where, name);
    int trash = -1;
    int r = cb_store_trash(s, path, to, err);
    if (r < 0 || to[0] == '\0' || (r = cb_store_trash_dir(s, &trash, err)) < 0)
        return r;
    (void)dirfd;
    return cb_fs_remove_tree(trash, to, err);
}

int cb_lease_clean(struct cb_store *s, struct cb_error *err)
{
    int r = cb_store_each(s, "leases", reap_lease, s, err);
    struct reap tmp = { s, "tmp" }, trash = { s, "trash" };
    if (r == 0)
        r = cb_store_each(s, "tmp", reap_leftover, &tmp, err);
    if (r == 0)
        r = cb_store_each(s, "trash", reap_leftover, &trash, err);
    if (r == 0)
        r = cb_store_uploads_expire(s, err);
    if (r == 0)
        r = cb_steps_clean(s, err);
    if (r < 0)
        cb_error_wrap(err, "remove what a killed process left");
    return r;
}

static int lease_add(struct cb_store *s, const char *text, struct cb_error *err)
{
    char line[CB_DIGEST_TEXT_MAX + 1];
    int n = snprintf(line, sizeof line, "%s\n", text);
    struct stat st;
    if (fstat(s->lease_fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "stat %s/leases/%s", s->root, s->lease);
    int r = cb_fd_write_all(s->lease_fd, line, (size_t)n, err);
    if (r == 0)
        return 0;
    cb_error_wrap(err, "write %s/leases/%s", s->root, s->lease);
    /* Half a line would spoil the next one. */
    if (ftruncate(s->lease_fd, st.st_size) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "truncate %s/leases/%s", s->root, s->lease);
    return r;
}

int cb_store_hold(struct cb_store *s, const struct cb_digest *d, struct cb_error *err)
{
    char line[CB_DIGEST_TEXT_MAX];
    cb_digest_text(d, line);
    pthread_mutex_lock(&s->hold_mutex);
    int r = 0;
    if (!cb_hashmap_get(s->held, line)) {
        /* With `lock` shared gc is either before us (and the caller's open will fail) or sees the line. */
        cb_autoclose int lock = -1;
        r = cb_store_lock(s, false, &lock, err);
        if (r == 0)
            r = lease_add(s, line, err);
        if (r == 0)
            cb_hashmap_put(s->held, line, s);
    }
    pthread_mutex_unlock(&s->hold_mutex);
    return r;
}

struct each_lease {
    struct cb_store *s;
    int (*fn)(void *arg, const struct cb_digest *d, struct cb_error *err);
    void *arg;
    int64_t *oldest_other;
};

static int64_t start_of(const char *name)
{
    uint64_t start = 0;
    char text[32];
    const char *p = strchr(name, '-');
    if (!p)
        return INT64_MIN;
    snprintf(text, sizeof text, "%.*s", (int)CB_MIN(strcspn(p + 1, "-"), sizeof text - 1), p + 1);
    return cb_parse_u64(text, INT64_MAX, &start) ? (int64_t)start - CLOCK_SLACK : INT64_MIN;
}

static int visit_lease(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    const struct each_lease *a = arg;
    cb_autoclose int fd = -1;
    int r = lease_live(a->s, name, false, &fd, err);
    if (r <= 0)
        return r;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if ((r = cb_fd_slurp(fd, LEASE_MAX, &text, err)) < 0)
        return r;
    if (strcmp(name, a->s->lease) != 0)
        *a->oldest_other = CB_MIN(*a->oldest_other, start_of(name));
    for (char *line = text.buf, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        struct cb_digest d;
        *end = '\0';
        if (cb_digest_parse(&d, line, NULL) == 0 && (r = a->fn(a->arg, &d, err)) < 0)
            return r;
    }
    return 0;
}

int cb_lease_each(struct cb_store *s, int (*fn)(void *arg, const struct cb_digest *d, struct cb_error *err),
                  void *arg, int64_t *oldest_other, struct cb_error *err)
{
    *oldest_other = INT64_MAX;
    struct each_lease a = { s, fn, arg, oldest_other };
    return cb_store_each(s, "leases", visit_lease, &a, err);
}
