/* SPDX-License-Identifier: Apache-2.0 */
#include "util/thread.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/quota.h"

#define MAX_THREADS 1024u

/* The mask has no fixed size: the kernel refuses one that is too small for the machine. */
static unsigned cpus_by_affinity(void)
{
    for (int room = 1024; room <= 65536; room *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)room);
        size_t size = CPU_ALLOC_SIZE((size_t)room);
        if (!set)
            return 1;
        int r = sched_getaffinity(0, size, set);
        int count = r == 0 ? CPU_COUNT_S(size, set) : 0;
        CPU_FREE(set);
        if (r == 0)
            return count > 0 ? (unsigned)count : 1;
        if (errno != EINVAL)
            return 1;
    }
    return 1;
}

static bool threads_wanted(uint64_t *n)
{
    const char *env = getenv("CBPUSH_THREADS");
    return env && cb_parse_u64(env, MAX_THREADS, n) && *n > 0;
}

int cb_cpu_count_check(struct cb_error *err)
{
    const char *env = getenv("CBPUSH_THREADS");
    uint64_t wanted;
    if (!env || !*env || threads_wanted(&wanted))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "CBPUSH_THREADS=%s: a number from 1 to %u", env, MAX_THREADS);
}

unsigned cb_cpu_count(void)
{
    uint64_t wanted;
    if (threads_wanted(&wanted))
        return (unsigned)wanted;
    unsigned n = cpus_by_affinity(), quota = cb_cpu_quota_here();
    return CB_MIN(quota ? CB_MIN(n, quota) : n, MAX_THREADS);
}

struct start {
    char name[16];
    void *(*fn)(void *arg);
    void *arg;
};

/* It has its name before it does anything: --trace shows it. */
static void *thread_main(void *arg)
{
    struct start s = *(struct start *)arg;
    free(arg);
    (void)pthread_setname_np(pthread_self(), s.name);
    return s.fn(s.arg);
}

int cb_thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg, struct cb_error *err)
{
    sigset_t all, old;
    struct start *s = CB_NEW(struct start);
    *s = (struct start){ .fn = fn, .arg = arg };
    snprintf(s->name, sizeof s->name, "%s", name);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = pthread_create(t, NULL, thread_main, s);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (e == 0)
        return 0;
    free(s);
    return cb_error_sys(err, CB_ELOCAL, e, "start thread %s", name);
}
