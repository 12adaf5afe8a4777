/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>

#include "util/alloc.h"
#include "util/quota.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/thread.h"

#define RING_BYTES ((size_t)2 << 20)

static void *report_signals(void *arg)
{
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    *(bool *)arg = sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1);
    return arg;
}

static void test_start(void **state)
{
    (void)state;
    sigset_t before, after;
    pthread_sigmask(SIG_SETMASK, NULL, &before);
    pthread_t t;
    bool blocked = false;
    void *result;
    assert_int_equal(cb_thread_start(&t, "a name that is too long", report_signals, &blocked, NULL), 0);
    assert_int_equal(pthread_join(t, &result), 0);
    assert_ptr_equal(result, &blocked);
    assert_true(blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &after);
    assert_int_equal(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
}

struct order {
    pthread_mutex_t lock;
    int seen[1000];
    int n;
    struct cb_pool *pool;
};

struct order_job {
    struct order *o;
    int i;
};

static void note_order(void *arg)
{
    struct order_job *j = arg;
    pthread_mutex_lock(&j->o->lock);
    j->o->seen[j->o->n++] = j->i;
    pthread_mutex_unlock(&j->o->lock);
}

static void test_pool_order(void **state)
{
    (void)state;
    struct order o = { .lock = PTHREAD_MUTEX_INITIALIZER };
    static struct order_job jobs[1000];
    struct cb_pool *p = cb_pool_new("one", 1);
    for (int i = 0; i < 1000; i++) {
        jobs[i] = (struct order_job){ &o, i };
        cb_pool_submit(p, note_order, &jobs[i]);
    }
    cb_pool_free(p);
    assert_int_equal(o.n, 1000);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(o.seen[i], i);
}

struct meeting {
    pthread_barrier_t barrier;
    atomic_int done;
    struct cb_pool *pool;
};

static void meet(void *arg)
{
    struct meeting *m = arg;
    pthread_barrier_wait(&m->barrier);
    atomic_fetch_add(&m->done, 1);
}

/* Passes only if all n jobs run at the same time. */
static void test_pool_is_parallel(void **state)
{
    (void)state;
    struct meeting m = { 0 };
    pthread_barrier_init(&m.barrier, NULL, 4);
    struct cb_pool *p = cb_pool_new("four", 4);
    assert_int_equal(cb_pool_threads(p), 4);
    for (int i = 0; i < 40; i++)
        cb_pool_submit(p, meet, &m);
    cb_pool_free(p);
    assert_int_equal(atomic_load(&m.done), 40);
    pthread_barrier_destroy(&m.barrier);
}

static void count(void *arg)
{
    atomic_fetch_add(&((struct meeting *)arg)->done, 1);
}

static void submit_more(void *arg)
{
    struct meeting *m = arg;
    for (int i = 0; i < 10; i++)
        cb_pool_submit(m->pool, count, m);
}

struct crowd {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    int in, most, until; /* nobody leaves before so many have come */
    int came;
};

static void join_crowd(void *arg)
{
    struct crowd *c = arg;
    pthread_mutex_lock(&c->lock);
    c->in++;
    c->came++;
    c->most = CB_MAX(c->most, c->in);
    pthread_cond_broadcast(&c->cond);
    while (c->came < c->until)
        pthread_cond_wait(&c->cond, &c->lock);
    c->in--;
    pthread_mutex_unlock(&c->lock);
}

static void await_crowd(struct crowd *c, int came)
{
    pthread_mutex_lock(&c->lock);
    while (c->came < came)
        pthread_cond_wait(&c->cond, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

#define CROWD(n) { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER, .until = (n) }

static void test_pool_limit(void **state)
{
    (void)state;
    struct crowd two = CROWD(2), four = CROWD(4), one = CROWD(0);
    struct cb_pool *p = cb_pool_new("some", 4);
    cb_pool_limit(p, 2);
    for (int i = 0; i < 50; i++)
        cb_pool_submit(p, join_crowd, &two);
    await_crowd(&two, 50);
    assert_int_equal(two.most, 2);
    /* Raised while there are jobs that wait for it: they come. */
    cb_pool_limit(p, 0);
    for (int i = 0; i < 4; i++)
        cb_pool_submit(p, join_crowd, &four);
    await_crowd(&four, 1);
    cb_pool_limit(p, 4);
    await_crowd(&four, 4);
    /* Lowered, it holds to the end, once those have gone; and all is done. */
    cb_pool_limit(p, 1);
    for (int i = 0; i < 50; i++)
        cb_pool_submit(p, join_crowd, &one);
    cb_pool_free(p);
    assert_int_equal(four.most, 4);
    assert_int_equal(one.came, 50);
    assert_int_equal(one.most, 1);
}

static void test_pool_jobs_submit_jobs(void **state)
{
    (void)state;
    for (int round = 0; round < 50; round++) {
        struct meeting m = { .pool = cb_pool_new("two", 2) };
        for (int i = 0; i < 10; i++)
            cb_pool_submit(m.pool, submit_more, &m);
        cb_pool_free(m.pool);
        assert_int_equal(atomic_load(&m.done), 100);
    }
    cb_pool_free(cb_pool_new("unused", 0));
    cb_pool_free(NULL);
}

static uint8_t byte_at(size_t i)
{
    return (uint8_t)(i * 31 + (i >> 8));
}

static void *write_all(void *arg)
{
    struct cb_ring *r = arg;
    uint8_t buf[700];
    for (size_t i = 0; i < RING_BYTES;) {
        size_t n = CB_MIN(1 + i % sizeof buf, RING_BYTES - i);
        for (size_t k = 0; k < n; k++)
            buf[k] = byte_at(i + k);
        size_t w = cb_ring_write(r, buf, n);
        if (w == 0)
            break;
        i += w;
    }
    cb_ring_close_write(r);
    return NULL;
}

static void test_ring_two_threads(void **state)
{
    (void)state;
    static const size_t capacities[] = { 61, 4096, 1 << 20 };
    for (size_t c = 0; c < CB_COUNTOF(capacities); c++) {
        CB_AUTO(cb_ring_free) struct cb_ring *r = cb_ring_new(capacities[c]);
        pthread_t t;
        assert_int_equal(cb_thread_start(&t, "writer", write_all, r, NULL), 0);
        uint8_t buf[999];
        size_t total = 0, bad = 0, n;
        while ((n = cb_ring_read(r, buf, 1 + total % sizeof buf)) > 0) {
            for (size_t k = 0; k < n; k++)
                bad += buf[k] != byte_at(total + k);
            total += n;
        }
        pthread_join(t, NULL);
        assert_int_equal(total, RING_BYTES);
        assert_int_equal(bad, 0);
    }
}

static void *produce_in_place(void *arg)
{
    struct cb_ring *r = arg;
    void *p;
    size_t n, total = 0;
    while (total < 100000 && (n = cb_ring_reserve(r, &p)) > 0) {
        n = CB_MIN(n, 1 + total % 700); /* never all of it */
        n = CB_MIN(n, 100000 - total);
        for (size_t i = 0; i < n; i++)
            ((unsigned char *)p)[i] = (unsigned char)((total + i) * 7);
        cb_ring_commit(r, n);
        total += n;
    }
    cb_ring_close_write(r);
    return NULL;
}

static void test_ring_in_place(void **state)
{
    (void)state;
    static const size_t capacities[] = { 1, 7, 4096 };
    for (size_t c = 0; c < CB_COUNTOF(capacities); c++) {
        CB_AUTO(cb_ring_free) struct cb_ring *r = cb_ring_new(capacities[c]);
        pthread_t t;
        assert_int_equal(cb_thread_start(&t, "producer", produce_in_place, r, NULL), 0);
        const void *p;
        size_t n, total = 0;
        while ((n = cb_ring_peek(r, &p)) > 0) {
            n = CB_MIN(n, 1 + total % 300);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(((const unsigned char *)p)[i], (unsigned char)((total + i) * 7));
            cb_ring_release(r, n);
            total += n;
        }
        pthread_join(t, NULL);
        assert_int_equal(total, 100000);
        void *room;
        cb_ring_close_read(r);
        assert_int_equal(cb_ring_reserve(r, &room), 0);
    }
}

static void test_ring_reader_leaves(void **state)
{
    (void)state;
    CB_AUTO(cb_ring_free) struct cb_ring *r = cb_ring_new(16);
    pthread_t t;
    assert_int_equal(cb_thread_start(&t, "writer", write_all, r, NULL), 0);
    uint8_t buf[8];
    assert_true(cb_ring_read(r, buf, sizeof buf) > 0);
    cb_ring_close_read(r);
    pthread_join(t, NULL); /* the blocked writer has been woken */
    assert_int_equal(cb_ring_write(r, buf, 1), 0);
    bool closed = false;
    assert_int_equal(cb_ring_try_write(r, buf, 1, &closed), 0);
    assert_true(closed);
}

static void bump(void *arg)
{
    ++*(int *)arg;
}

static void test_ring_try(void **state)
{
    (void)state;
    CB_AUTO(cb_ring_free) struct cb_ring *r = cb_ring_new(4);
    int rooms = 0, data = 0;
    bool flag = true;
    char buf[8];
    cb_ring_on_room(r, bump, &rooms);
    cb_ring_on_data(r, bump, &data);
    assert_int_equal(cb_ring_try_read(r, buf, 4, &flag), 0);
    assert_false(flag);
    assert_int_equal(cb_ring_try_write(r, "abcdef", 6, &flag), 4);
    assert_false(flag);
    assert_int_equal(data, 1);
    assert_int_equal(rooms, 0);
    assert_int_equal(cb_ring_try_write(r, "ef", 2, &flag), 0);
    assert_false(flag);
    assert_int_equal(cb_ring_try_read(r, buf, 3, &flag), 3);
    assert_memory_equal(buf, "abc", 3);
    assert_int_equal(rooms, 1);
    assert_int_equal(cb_ring_try_write(r, "ef", 2, &flag), 2);
    assert_int_equal(data, 1); /* the reader had not asked */
    assert_int_equal(cb_ring_read(r, buf, 8), 3);
    assert_memory_equal(buf, "def", 3);
    assert_int_equal(rooms, 1); /* the writer had not asked */
    assert_int_equal(cb_ring_try_read(r, buf, 8, &flag), 0);
    cb_ring_close_write(r);
    assert_int_equal(data, 2); /* the end counts as news */
    assert_int_equal(cb_ring_try_read(r, buf, 8, &flag), 0);
    assert_true(flag);
    assert_int_equal(cb_ring_read(r, buf, 8), 0);
    cb_ring_close_read(r);
    assert_int_equal(data, 2);
}

static void test_ring_close_wakes_asker(void **state)
{
    (void)state;
    CB_AUTO(cb_ring_free) struct cb_ring *r = cb_ring_new(1);
    int rooms = 0;
    bool closed;
    cb_ring_on_room(r, bump, &rooms);
    assert_int_equal(cb_ring_write(r, "x", 1), 1);
    assert_int_equal(cb_ring_try_write(r, "y", 1, &closed), 0);
    cb_ring_close_read(r);
    assert_int_equal(rooms, 1);
    assert_int_equal(cb_ring_try_write(r, "y", 1, &closed), 0);
    assert_true(closed);
}

struct cgroup_file {
    const char *path, *text;
};

static void write_cgroups(int dirfd, const char *dir, const struct cgroup_file *files)
{
    for (; files->path; files++) {
        const char *slash = strrchr(files->path, '/');
        cb_autofree char *parent = cb_asprintf("%s/%.*s", dir, slash ? (int)(slash - files->path) : 0, files->path);
        assert_int_equal(cb_fs_mkdirs(parent, 0755, NULL), 0);
        cb_autoclose int fd = openat(dirfd, files->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        assert_int_equal(cb_fd_write_all(fd, files->text, strlen(files->text), NULL), 0);
    }
}

static void test_quota(void **state)
{
    (void)state;
    static const struct cgroup_file files[] = {
        { "cpu.max", "800000 100000\n" },
        { "pod/cpu.max", "max 100000\n" },
        { "pod/c1/cpu.max", "250000 100000\n" },
        { "pod/c2/cpu.max", "50000 100000\n" },
        { "pod/junk/cpu.max", "-5 x\n" },
        { "pod/zero/cpu.max", "100000 0\n" },
        { "cpu/docker/x/cpu.cfs_quota_us", "350000\n" },
        { "cpu/docker/x/cpu.cfs_period_us", "100000\n" },
        { "cpu/docker/y/cpu.cfs_quota_us", "-1\n" },
        { "cpu/docker/y/cpu.cfs_period_us", "100000\n" },
        { "memory.max", "max\n" },
        { "pod/memory.max", "2147483648\n" },
        { "pod/c1/memory.max", "1073741824\n" },
        { "pod/junk/memory.max", "much\n" },
        { "memory/docker/x/memory.limit_in_bytes", "536870912\n" },
        { "memory/docker/y/memory.limit_in_bytes", "9223372036854771712\n" },
        { NULL, NULL },
    };
    static const struct {
        const char *membership;
        unsigned cpus;
        uint64_t mib;
    } rows[] = {
        { "0::/pod/c1\n", 3, 1024 },
        { "0::/pod/c2\n", 1, 2048 },
        { "0::/pod\n", 8, 2048 },
        { "0::/\n", 8, 0 },
        { "0::/pod/junk", 8, 2048 },
        { "0::/pod/zero\n", 8, 2048 },
        { "0::/not/visible\n", 8, 0 },
        { "5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n", 4, 512 },
        { "4:cpuacct,cpu:/docker/y\n", 0, 0 },
        { "4:cpuset:/docker/x\n", 0, 0 },
        { "4:memory:/docker/y\n", 0, 9223372036854771712u >> 20 },
        { "1:name=systemd:/\n4:cpu:/docker/x\n0::/pod/c2\n", 1, 2048 },
        { "2:memory:/docker/x\n0::/pod\n", 8, 512 },
        { "", 0, 0 },
        { "garbage\n:\n::\n", 8, 0 },
    };
    char dir[] = "/tmp/cb-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    cb_autoclose int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    write_cgroups(dirfd, dir, files);
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        unsigned cpus = cb_cpu_quota(dir, rows[i].membership);
        uint64_t bytes = cb_memory_quota(dir, rows[i].membership);
        if (cpus != rows[i].cpus || bytes >> 20 != rows[i].mib)
            fail_msg("row %zu: %u, %llu MiB", i, cpus, (unsigned long long)(bytes >> 20));
    }
    assert_int_equal(cb_cpu_quota("/nonexistent", "0::/\n"), 0);
    assert_int_equal(cb_fs_remove_contents(dirfd, NULL), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_memory(void **state)
{
    (void)state;
    uint64_t bytes = cb_memory_available();
    assert_true(bytes > 1 << 20);
    assert_true(bytes <= (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void test_cpu_count(void **state)
{
    (void)state;
    unsetenv("CBPUSH_THREADS");
    unsigned real = cb_cpu_count();
    assert_true(real >= 1 && real <= 1024);
    setenv("CBPUSH_THREADS", "17", 1);
    assert_int_equal(cb_cpu_count(), 17);
    assert_int_equal(cb_cpu_count_check(NULL), 0);
    static const char *const bad[] = { "0", "", "-1", "1025", "many" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        setenv("CBPUSH_THREADS", bad[i], 1);
        assert_int_equal(cb_cpu_count(), real);
        assert_int_equal(cb_cpu_count_check(NULL), *bad[i] ? -CB_EUSAGE : 0);
    }
    unsetenv("CBPUSH_THREADS");
    assert_int_equal(cb_cpu_count_check(NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_pool_order),
        cmocka_unit_test(test_pool_is_parallel),
        cmocka_unit_test(test_pool_limit),
        cmocka_unit_test(test_pool_jobs_submit_jobs),
        cmocka_unit_test(test_ring_two_threads),
        cmocka_unit_test(test_ring_in_place),
        cmocka_unit_test(test_ring_reader_leaves),
        cmocka_unit_test(test_ring_try),
        cmocka_unit_test(test_ring_close_wakes_asker),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_cpu_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
