/* SPDX-License-Identifier: Apache-2.0 */
/* Directories of cache mounts: who gets which, between threads and processes, and what is removed. */
#include "store_fixture.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

static struct cb_store_mount_spec spec_of(const char *key, enum cb_mount_sharing sharing)
{
    return (struct cb_store_mount_spec){ .key = digest_of(key), .sharing = sharing };
}

static ino_t inode(const struct cb_store_mount *m)
{
    struct stat st;
    assert_int_equal(fstat(m->fd, &st), 0);
    return st.st_ino;
}

static struct cb_store_mount take(struct fixture *f, const char *key, enum cb_mount_sharing sharing)
{
    struct cb_store_mount m;
    struct cb_store_mount_spec spec = spec_of(key, sharing);
    ok(cb_store_mount_take(f->s, &spec, &m, &f->err));
    return m;
}

static void test_kept(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mount m = take(f, "a", CB_SHARING_SHARED);
    struct stat st;
    assert_int_equal(fstat(m.fd, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755);
    assert_int_equal(mkdirat(m.fd, "x", 0755), 0);
    cb_store_mount_done(&m);
    reopen(f);
    struct cb_store_gc_options o = { .all = true };
    struct cb_store_gc_result res;
    ok(cb_store_gc(f->s, &o, &res, &f->err));
    m = take(f, "a", CB_SHARING_LOCKED);
    assert_int_equal(faccessat(m.fd, "x", F_OK, 0), 0);
    struct cb_store_mount other = take(f, "b", CB_SHARING_LOCKED);
    assert_int_equal(faccessat(other.fd, "x", F_OK, 0), -1);
    cb_store_mount_done(&m);
    cb_store_mount_done(&other);
}

static void test_sharing(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mount a = take(f, "k", CB_SHARING_SHARED), b = take(f, "k", CB_SHARING_SHARED);
    assert_int_equal(inode(&a), inode(&b));
    struct cb_store_mount p = take(f, "k", CB_SHARING_PRIVATE), q = take(f, "k", CB_SHARING_PRIVATE);
    assert_int_not_equal(inode(&p), inode(&a));
    assert_int_not_equal(inode(&p), inode(&q));
    ino_t first = inode(&p);
    cb_store_mount_done(&p);
    p = take(f, "k", CB_SHARING_LOCKED); /* one that nobody has is there: no waiting */
    assert_int_equal(inode(&p), first);
    cb_store_mount_done(&p);
    /* Who shares joins those that do, though another is idle. */
    struct cb_store_mount c = take(f, "k", CB_SHARING_SHARED);
    assert_int_equal(inode(&c), inode(&a));
    cb_store_mount_done(&a);
    cb_store_mount_done(&b);
    cb_store_mount_done(&c);
    cb_store_mount_done(&q);
}

struct waiter {
    struct fixture *f;
    struct cb_store *s;
    _Atomic bool waits, got;
    struct cb_cancel *cancel;
    int r;
};

static void told(void *arg)
{
    ((struct waiter *)arg)->waits = true;
}

static void *wait_for_it(void *arg)
{
    struct waiter *w = arg;
    struct cb_store_mount m;
    struct cb_store_mount_spec spec = spec_of("k", CB_SHARING_LOCKED);
    spec.waiting = told;
    spec.arg = w;
    spec.cancel = w->cancel;
    w->r = cb_store_mount_take(w->s, &spec, &m, NULL);
    w->got = true;
    cb_store_mount_done(&m);
    return NULL;
}

static void until(const _Atomic bool *flag)
{
    for (int i = 0; i < 500 && !*flag; i++)
        usleep(10000);
    assert_true(*flag);
}

static void test_locked_waits(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mount m = take(f, "k", CB_SHARING_LOCKED);
    struct waiter w = { .f = f, .s = f->s };
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, wait_for_it, &w), 0);
    until(&w.waits);
    usleep(250000);
    assert_false(w.got);
    cb_store_mount_done(&m);
    pthread_join(t, NULL);
    assert_int_equal(w.r, 0);
    assert_int_equal(count_in(f, "mounts"), 2); /* the lock and one key */
}

static void test_waiting_is_canceled(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mount m = take(f, "k", CB_SHARING_SHARED);
    struct waiter w = { .f = f, .s = f->s, .cancel = cb_cancel_new(NULL) };
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, wait_for_it, &w), 0);
    until(&w.waits);
    cb_cancel_trigger(w.cancel, 0);
    pthread_join(t, NULL);
    assert_int_equal(w.r, -CB_ECANCELED);
    cb_cancel_free(w.cancel);
    cb_store_mount_done(&m);
}

/* A process that has one is killed: nobody waits for it. */
static void test_dead_holder(void **state)
{
    struct fixture *f = *state;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    if (pid == 0) {
        struct cb_store *s = NULL;
        struct cb_store_options o = { .root = f->root };
        struct cb_store_mount m;
        struct cb_store_mount_spec spec = spec_of("k", CB_SHARING_LOCKED);
        if (cb_store_open(&o, &s, NULL) < 0 || cb_store_mount_take(s, &spec, &m, NULL) < 0 ||
            mkdirat(m.fd, "half", 0755) < 0 || write(ready[1], "", 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    char c;
    assert_int_equal(read(ready[0], &c, 1), 1);
    struct cb_store_mounts res;
    ok(cb_store_mounts_prune(f->s, false, &res, &f->err));
    assert_int_equal(res.n, 0);
    assert_int_equal(res.in_use, 1);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct cb_store_mount m = take(f, "k", CB_SHARING_LOCKED);
    assert_int_equal(faccessat(m.fd, "half", F_OK, 0), 0);
    cb_store_mount_done(&m);
    close(ready[0]);
    close(ready[1]);
}

static int fill(void *arg, int fs_fd, struct cb_error *err)
{
    int *calls = arg;
    ++*calls;
    if (*calls == 1)
        return cb_error_set(err, CB_ELOCAL, "no luck");
    return mkdirat(fs_fd, "seed", 0755);
}

static void test_fill(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mount_spec spec = spec_of("k", CB_SHARING_SHARED);
    struct cb_store_mount m;
    int calls = 0;
    spec.fill = fill;
    spec.arg = &calls;
    fails(cb_store_mount_take(f->s, &spec, &m, &f->err), CB_ELOCAL);
    assert_int_equal(count_in(f, "mounts"), 1); /* only the lock: one that is not whole is not there */
    for (int i = 0; i < 2; i++) {
        ok(cb_store_mount_take(f->s, &spec, &m, &f->err));
        assert_int_equal(faccessat(m.fd, "seed", F_OK, 0), 0);
        cb_store_mount_done(&m);
    }
    assert_int_equal(calls, 2);
}

static void test_prune(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mounts res;
    struct cb_store_mount a = take(f, "a", CB_SHARING_SHARED), b = take(f, "b", CB_SHARING_SHARED);
    cb_autoclose int big = openat(b.fd, "big", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    static const char data[65536] = { 1 };
    assert_int_equal(write(big, data, sizeof data), sizeof data);
    cb_store_mount_done(&b);
    ok(cb_store_mounts_prune(f->s, true, &res, &f->err));
    assert_int_equal(res.n, 1);
    assert_int_equal(res.in_use, 1);
    assert_true(res.bytes >= sizeof data);
    assert_int_equal(count_in(f, "mounts"), 3);
    ok(cb_store_mounts_prune(f->s, false, &res, &f->err));
    assert_int_equal(res.n, 1);
    assert_true(res.bytes >= sizeof data);
    assert_int_equal(count_in(f, "mounts"), 2);
    assert_int_equal(count_in(f, "trash"), 0);
    cb_store_mount_done(&a);
    ok(cb_store_mounts_prune(f->s, false, &res, &f->err));
    assert_int_equal(count_in(f, "mounts"), 1);
}

/* One that was had is read again beside who shares it, but not beside who has it alone, nor once it was removed. */
static void test_again(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mount m = take(f, "k", CB_SHARING_LOCKED), again;
    struct cb_digest key = digest_of("k");
    ino_t here = inode(&m);
    char name[sizeof m.name];
    memcpy(name, m.name, sizeof name);
    fails(cb_store_mount_again(f->s, &key, name, &again, &f->err), CB_ELOCAL);
    assert_int_equal(f->err.sys_errno, EWOULDBLOCK);
    cb_store_mount_done(&m);
    m = take(f, "k", CB_SHARING_SHARED);
    ok(cb_store_mount_again(f->s, &key, name, &again, &f->err));
    assert_int_equal(inode(&again), here);
    cb_store_mount_done(&m);
    /* While it is read, nobody gets it alone, and it is not removed. */
    struct cb_store_mount p = take(f, "k", CB_SHARING_PRIVATE);
    assert_int_not_equal(inode(&p), here);
    cb_store_mount_done(&p);
    struct cb_store_mounts res;
    ok(cb_store_mounts_prune(f->s, false, &res, &f->err));
    assert_int_equal(res.in_use, 1);
    cb_store_mount_done(&again);
    ok(cb_store_mounts_prune(f->s, false, &res, &f->err));
    fails(cb_store_mount_again(f->s, &key, name, &again, &f->err), CB_ENOTFOUND);
}

static void test_drop_empty(void **state)
{
    struct fixture *f = *state;
    struct cb_digest key = digest_of("k"), other = digest_of("other");
    struct cb_store_mount m = take(f, "k", CB_SHARING_SHARED);
    ok(cb_store_mount_drop_empty(f->s, &other, &f->err));
    ok(cb_store_mount_drop_empty(f->s, &key, &f->err)); /* somebody has it */
    assert_int_equal(count_in(f, "mounts"), 2);
    struct cb_store_mount full = take(f, "k", CB_SHARING_PRIVATE);
    assert_int_equal(mkdirat(full.fd, "x", 0755), 0);
    ino_t kept = inode(&full);
    cb_store_mount_done(&full);
    cb_store_mount_done(&m);
    ok(cb_store_mount_drop_empty(f->s, &key, &f->err));
    assert_int_equal(count_in(f, "trash"), 0);
    m = take(f, "k", CB_SHARING_LOCKED);
    assert_int_equal(inode(&m), kept);
    cb_store_mount_done(&m);
}

/* Whoever runs under another mapping of ids has directories of its own. */
static void test_forms(void **state)
{
    struct fixture *f = *state;
    struct cb_store_mount m = take(f, "k", CB_SHARING_SHARED);
    ino_t here = inode(&m);
    cb_store_mount_done(&m);
    struct cb_store *s = NULL;
    struct cb_store_options o = { .root = f->root, .tree_form = "single" };
    struct cb_store_mount_spec spec = spec_of("k", CB_SHARING_SHARED);
    ok(cb_store_open(&o, &s, &f->err));
    ok(cb_store_mount_take(s, &spec, &m, &f->err));
    assert_int_not_equal(inode(&m), here);
    cb_store_mount_done(&m);
    cb_store_close(s);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_kept), T(test_sharing), T(test_locked_waits), T(test_waiting_is_canceled), T(test_dead_holder),
        T(test_fill), T(test_prune),   T(test_forms), T(test_again), T(test_drop_empty),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
