/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/cancel.h"
#include "util/lock_wait.h"
#include "util/turn.h"

static bool readable(const struct cb_cancel *c, int timeout_ms)
{
    struct pollfd p = { .fd = cb_cancel_fd(c), .events = POLLIN };
    return poll(&p, 1, timeout_ms) == 1;
}

static void test_single(void **state)
{
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_false(cb_canceled(NULL));
    assert_int_equal(cb_cancel_signal(NULL), 0);
    assert_int_equal(cb_cancel_check(NULL, &err), 0);
    assert_false(cb_canceled(c));
    assert_false(readable(c, 0));
    assert_int_equal(cb_cancel_check(c, &err), 0);
    cb_cancel_trigger(c, SIGTERM);
    cb_cancel_trigger(c, SIGINT); /* the first one counts */
    assert_true(cb_canceled(c));
    assert_true(readable(c, 0));
    assert_true(readable(c, 0));
    assert_int_equal(cb_cancel_signal(c), SIGTERM);
    assert_int_equal(cb_cancel_check(c, &err), -CB_ECANCELED);
    assert_string_equal(cb_error_text(&err), "interrupted");
}

/* ---- a lock that somebody else has ---- */

struct lock_box {
    int one, two; /* two open files of one name */
    atomic_int slow;
};

static void open_lock(struct lock_box *b)
{
    char path[] = "/tmp/cbpush-lock.XXXXXX";
    b->one = mkstemp(path);
    b->two = open(path, O_RDWR | O_CLOEXEC);
    assert_true(b->one >= 0 && b->two >= 0);
    unlink(path);
    atomic_init(&b->slow, 0);
}

static void close_lock(struct lock_box *b)
{
    close(b->one);
    close(b->two);
}

static void *give_back(void *arg)
{
    const struct lock_box *b = arg;
    usleep(20000);
    flock(b->one, LOCK_UN);
    return NULL;
}

static void count_slow(void *arg)
{
    struct lock_box *b = arg;
    atomic_fetch_add(&b->slow, 1);
    give_back(b);
}

static void *trigger(void *arg)
{
    usleep(20000);
    cb_cancel_trigger(arg, SIGINT);
    return NULL;
}

static void test_lock_comes(void **state)
{
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    struct lock_box b;
    open_lock(&b);
    struct cb_lock_wait w = { .cancel = c };
    assert_int_equal(cb_lock_wait(b.one, true, &w, NULL), 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, give_back, &b), 0);
    assert_int_equal(cb_lock_wait(b.two, true, &w, NULL), 0);
    pthread_join(t, NULL);
    assert_int_equal(flock(b.one, LOCK_SH | LOCK_NB), -1); /* two has it, not the thread that waited for it */
    flock(b.two, LOCK_UN);
    assert_int_equal(cb_lock_wait(b.one, false, &w, NULL), 0);
    assert_int_equal(cb_lock_wait(b.two, false, &w, NULL), 0);
    close_lock(&b);
}

static void test_lock_is_not_waited_for(void **state)
{
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct lock_box b;
    open_lock(&b);
    struct cb_lock_wait w = { .cancel = c };
    assert_int_equal(cb_lock_wait(b.one, true, &w, &err), 0);
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, trigger, c), 0);
    assert_int_equal(cb_lock_wait(b.two, false, &w, &err), -CB_ECANCELED);
    pthread_join(t, NULL);
    flock(b.one, LOCK_UN);
    close(b.two); /* as the caller would: nothing keeps the lock then but the thread, which gives it back */
    int tries = 0;
    while (flock(b.one, LOCK_EX | LOCK_NB) < 0 && tries++ < 5000)
        usleep(1000);
    assert_in_range(tries, 0, 4999);
    assert_int_equal(cb_lock_wait(b.one, true, &w, &err), 0); /* what is free is had all the same */
    close(b.one);
}

static void test_lock_is_slow(void **state)
{
    (void)state;
    struct lock_box b;
    open_lock(&b);
    struct cb_lock_wait w = { .slow = count_slow, .slow_arg = &b };
    assert_int_equal(cb_lock_wait(b.one, true, &w, NULL), 0);
    assert_int_equal(cb_lock_wait(b.two, true, &w, NULL), 0); /* given back once it was told */
    assert_int_equal(atomic_load(&b.slow), 1);
    close_lock(&b);
}

#define GENERATIONS 12 /* more than nested epoll sets could be */

static void test_generations(void **state)
{
    (void)state;
    for (int who = 0; who < GENERATIONS; who++) {
        struct cb_cancel *chain[GENERATIONS];
        for (int i = 0; i < GENERATIONS; i++)
            chain[i] = cb_cancel_new(i ? chain[i - 1] : NULL);
        cb_cancel_trigger(chain[who], 0);
        for (int i = 0; i < GENERATIONS; i++) {
            assert_int_equal(cb_canceled(chain[i]), i >= who);
            assert_int_equal(readable(chain[i], 0), i >= who);
            assert_int_equal(cb_cancel_signal(chain[i]), 0);
        }
        for (int i = GENERATIONS - 1; i >= 0; i--)
            cb_cancel_free(chain[i]);
    }
}

static void test_siblings(void **state)
{
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *parent = cb_cancel_new(NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *a = cb_cancel_new(parent);
    CB_AUTO(cb_cancel_free) struct cb_cancel *b = cb_cancel_new(parent);
    cb_cancel_trigger(a, 0);
    assert_true(cb_canceled(a));
    assert_false(cb_canceled(b));
    assert_false(cb_canceled(parent));
    assert_false(readable(b, 0));
    cb_cancel_trigger(parent, SIGHUP);
    assert_true(readable(b, 0));
    assert_int_equal(cb_cancel_signal(b), SIGHUP);
    struct cb_cancel *late = cb_cancel_new(parent); /* born cancelled */
    assert_true(cb_canceled(late));
    assert_true(readable(late, 0));
    cb_cancel_free(late);
    cb_cancel_free(NULL);
}

static void test_by_itself(void **state)
{
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *parent = cb_cancel_new(NULL);
    CB_AUTO(cb_cancel_free) struct cb_cancel *never = cb_cancel_new_for(parent, INT64_MAX / 2);
    CB_AUTO(cb_cancel_free) struct cb_cancel *soon = cb_cancel_new_for(parent, 50 * INT64_C(1000000));
    CB_AUTO(cb_cancel_free) struct cb_cancel *child = cb_cancel_new(soon);
    CB_AUTO(cb_cancel_free) struct cb_cancel *orphan = cb_cancel_new_for(NULL, 1);
    assert_true(readable(orphan, 10000));
    assert_true(cb_canceled(orphan));
    assert_true(readable(child, 10000));
    assert_true(cb_canceled(child));
    assert_true(readable(soon, 10000));
    assert_false(cb_canceled(parent));
    assert_false(cb_canceled(never));
    assert_false(readable(never, 0));
    cb_cancel_trigger(parent, SIGTERM);
    assert_true(readable(never, 0));
    assert_int_equal(cb_cancel_signal(never), SIGTERM);
}

/* ---- turns */

struct visitor {
    struct cb_turn *turn;
    struct cb_cancel *cancel;
    pthread_t thread;
    atomic_int order, result;
    atomic_int *served;
};

static void *visit(void *arg)
{
    struct visitor *v = arg;
    int r = cb_turn_take(v->turn, v->cancel, NULL);
    atomic_store(&v->result, r);
    if (r == 0) {
        atomic_store(&v->order, atomic_fetch_add(v->served, 1) + 1);
        cb_turn_give(v->turn);
    }
    return NULL;
}

/* The last of them waits. */
static void begin_visit(struct visitor *v, size_t queued)
{
    assert_int_equal(pthread_create(&v->thread, NULL, visit, v), 0);
    while (cb_turn_waiting(v->turn) != queued)
        usleep(1000);
}

/* Who is cancelled goes, the others come in their order. */
static void test_turns(void **state)
{
    (void)state;
    struct cb_turn turn;
    atomic_int served = 0;
    CB_AUTO(cb_cancel_free) struct cb_cancel *c = cb_cancel_new(NULL);
    struct visitor v[] = { { .turn = &turn, .served = &served, .result = 1 },
                           { .turn = &turn, .served = &served, .result = 1, .cancel = c },
                           { .turn = &turn, .served = &served, .result = 1 } };
    cb_turn_init(&turn);
    assert_int_equal(cb_turn_take(&turn, NULL, NULL), 0);
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        begin_visit(&v[i], i + 1);
    cb_cancel_trigger(c, 0);
    pthread_join(v[1].thread, NULL);
    assert_int_equal(v[1].result, -CB_ECANCELED);
    assert_int_equal(v[0].result, 1);
    cb_turn_give(&turn);
    pthread_join(v[0].thread, NULL);
    pthread_join(v[2].thread, NULL);
    assert_int_equal(v[0].order, 1);
    assert_int_equal(v[2].order, 2);
    /* What is free is given even to who is cancelled: it costs no time. */
    assert_int_equal(cb_turn_take(&turn, c, NULL), 0);
    assert_int_equal(cb_turn_take(&turn, c, NULL), -CB_ECANCELED);
    cb_turn_give(&turn);
    cb_turn_done(&turn);
}

static int child_status(void (*body)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        alarm(20);
        body();
        _exit(99);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

static void one_signal(void)
{
    struct cb_cancel *c = cb_cancel_new(NULL);
    struct cb_cancel *child = cb_cancel_new(c);
    if (cb_cancel_on_signals(c, NULL) < 0)
        _exit(1);
    kill(getpid(), SIGTERM);
    if (!readable(child, 5000) || cb_cancel_signal(child) != SIGTERM)
        _exit(2);
    kill(getpid(), SIGTERM); /* again: no harm */
    kill(getpid(), SIGHUP);
    kill(getpid(), SIGINT); /* at once: the same interruption, told twice */
    usleep(1200000);
    kill(getpid(), SIGINT); /* the second interruption */
    for (;;)
        pause();
}

static int words[2]; /* a pipe */

static void two_interrupts(void)
{
    struct cb_cancel *c = cb_cancel_new(NULL);
    cb_cancel_last_words(words[1], "the end");
    if (cb_cancel_on_signals(c, NULL) < 0)
        _exit(1);
    kill(getpid(), SIGINT);
    if (!readable(c, 5000) || cb_cancel_signal(c) != SIGINT)
        _exit(2);
    kill(getpid(), SIGINT);
    usleep(1200000);
    kill(getpid(), SIGINT);
    for (;;)
        pause();
}

static void token_gone(void)
{
    struct cb_cancel *c = cb_cancel_new(NULL);
    if (cb_cancel_on_signals(c, NULL) < 0)
        _exit(1);
    cb_cancel_free(c);
    kill(getpid(), SIGTERM);
    for (;;)
        pause();
}

static void ignored_stays_ignored(void)
{
    signal(SIGHUP, SIG_IGN);
    struct cb_cancel *c = cb_cancel_new(NULL);
    if (cb_cancel_on_signals(c, NULL) < 0)
        _exit(1);
    kill(getpid(), SIGHUP);
    _exit(cb_canceled(c) || readable(c, 50) ? 2 : 0);
}

static void test_signals(void **state)
{
    (void)state;
    int status = child_status(one_signal);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    char text[16] = "";
    assert_int_equal(pipe(words), 0);
    status = child_status(two_interrupts);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    assert_int_equal(read(words[0], text, sizeof text - 1), 7);
    assert_string_equal(text, "the end");
    close(words[0]);
    close(words[1]);
    status = child_status(token_gone);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
    status = child_status(ignored_stays_ignored);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),
        cmocka_unit_test(test_lock_comes),
        cmocka_unit_test(test_lock_is_not_waited_for),
        cmocka_unit_test(test_lock_is_slow),
        cmocka_unit_test(test_generations),
        cmocka_unit_test(test_siblings),
        cmocka_unit_test(test_by_itself),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
