/* SPDX-License-Identifier: Apache-2.0 */
/* Claims under every order of requests: builds are threads that take turns in a time of our own, in which each request
 * takes as long as a seed says, on its way and back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>

#include "cache/cache.h"
#include "util/alloc.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)
#define MANY 60

struct build {
    struct world *w;
    pthread_t thread;
    pthread_cond_t turn;
    int64_t wake;       /* INT64_MAX: it has ended */
    int64_t ran;        /* when it began to run the step; -1: it did not */
    enum cb_cache_claim_state state;
};

/* What builds do, and what the place is like. */
struct world {
    struct cb_cache_place place;
    pthread_mutex_t mu;
    struct build v[MANY], *has_turn;
    size_t n;
    int64_t now;
    uint64_t seed;
    char *tag;          /* what stands in the claim's tag; NULL: nothing */
    size_t requests;
    bool recorded;      /* the record is there */
    int64_t slowest, run, wait;
    bool refuses, keeps, fails; /* PUT, DELETE; the step */
    size_t killed;      /* so many of those that run it are killed */
};

static unsigned draw(struct world *w, unsigned n)
{
    w->seed = w->seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(w->seed >> 33) % n;
}

/* Under mu: whoever is due first goes on. */
static void pass(struct world *w)
{
    struct build *first = &w->v[0];
    for (size_t i = 1; i < w->n; i++)
        if (w->v[i].wake < first->wake)
            first = &w->v[i];
    w->has_turn = first->wake == INT64_MAX ? NULL : first;
    if (!w->has_turn)
        return;
    w->now = CB_MAX(w->now, first->wake);
    pthread_cond_signal(&first->turn);
}

static void sleep_until(struct build *b, int64_t when)
{
    b->wake = when;
    pass(b->w);
    while (b->w->has_turn != b)
        pthread_cond_wait(&b->turn, &b->w->mu);
}

static struct build *me(struct world *w)
{
    return w->has_turn;
}

static void travel(struct world *w)
{
    sleep_until(me(w), w->now + MS + draw(w, (unsigned)(w->slowest / MS)) * MS);
}

/* ---- the place ---- */

static int peek(struct cb_cache_place *p, const char *name, struct cb_strbuf *out, struct cb_error *err)
{
    struct world *w = (struct world *)p;
    assert_true(cb_cache_claim_is_name(name));
    w->requests++;
    travel(w);
    bool there = w->tag != NULL;
    if (there)
        cb_strbuf_adds(out, w->tag);
    travel(w);
    return there ? 0 : cb_error_set(err, CB_ENOTFOUND, "nothing");
}

static int mark(struct cb_cache_place *p, CB_UNUSED const char *name, const struct cb_descriptor *d,
                struct cb_slice body, struct cb_error *err)
{
    struct world *w = (struct world *)p;
    struct cb_digest is;
    cb_digest_of(&is, body.ptr, body.len);
    assert_true(cb_digest_eq(&is, &d->digest));
    w->requests++;
    travel(w);
    if (!w->refuses) {
        free(w->tag);
        w->tag = cb_strndup(body.ptr, body.len);
    }
    travel(w);
    return w->refuses ? cb_error_set(err, CB_EAUTH, "refused") : 0;
}

static int unmark(struct cb_cache_place *p, const struct cb_digest *d, struct cb_error *err)
{
    struct world *w = (struct world *)p;
    struct cb_digest is;
    w->requests++;
    travel(w);
    if (w->keeps)
        return cb_error_set(err, CB_ENET, "405");
    if (w->tag)
        cb_digest_of(&is, w->tag, strlen(w->tag));
    if (w->tag && cb_digest_eq(&is, d)) {
        free(w->tag);
        w->tag = NULL;
    }
    travel(w);
    return 0;
}

static int64_t now_of(void *arg)
{
    return ((struct build *)arg)->w->now;
}

static bool recorded(void *arg)
{
    struct world *w = ((struct build *)arg)->w;
    travel(w);
    bool there = w->recorded;
    travel(w);
    return there;
}

/* ---- builds ---- */

/* The step takes its time, in which the claim is renewed. */
static void run(struct build *b, struct cb_cache_claim *c, int64_t due)
{
    struct world *w = b->w;
    int64_t over = w->now + w->run;
    enum cb_cache_claim_state state = CB_CLAIM_OURS;
    b->ran = w->now;
    if (w->killed > 0)
        return;
    while (due < over) {
        sleep_until(b, CB_MAX(due, w->now));
        due = cb_cache_claim_go(c, &state);
    }
    sleep_until(b, CB_MAX(over, w->now));
    w->recorded = w->recorded || !w->fails;
}

static void *build(void *arg)
{
    struct build *b = arg;
    struct world *w = b->w;
    int64_t due = 0;
    pthread_mutex_lock(&w->mu);
    while (w->has_turn != b)
        pthread_cond_wait(&b->turn, &w->mu);
    struct cb_cache_claim_options o = { .place = &w->place, .max_wait = w->wait, .now = now_of, .recorded = recorded,
                                        .arg = b };
    cb_digest_of(&o.key, "step", 4);
    struct cb_cache_claim *c = cb_cache_claim_new(&o);
    b->state = CB_CLAIM_ASKING;
    while (b->state == CB_CLAIM_ASKING || b->state == CB_CLAIM_OTHERS) {
        sleep_until(b, CB_MAX(due, w->now));
        due = cb_cache_claim_go(c, &b->state);
    }
    if (b->state != CB_CLAIM_RECORDED)
        run(b, c, due);
    if (b->ran >= 0 && w->killed > 0) {
        w->killed--;
        w->keeps = w->refuses = true; /* what it would do now it does not */
        size_t before = w->requests;
        char *tag = cb_strdup_or_null(w->tag);
        cb_cache_claim_free(c);
        free(w->tag);
        w->tag = tag;
        w->requests = before;
        w->keeps = w->refuses = false;
    } else {
        cb_cache_claim_free(c);
    }
    b->wake = INT64_MAX;
    pass(w);
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

static struct world *world(size_t n, uint64_t seed)
{
    static const struct cb_cache_place_ops ops = { .peek = peek, .mark = mark, .unmark = unmark };
    struct world *w = CB_NEW(struct world);
    w->place.ops = &ops;
    w->n = n;
    w->seed = seed;
    w->slowest = 10 * MS;
    w->run = 30 * SECOND;
    w->wait = 3600 * SECOND;
    pthread_mutex_init(&w->mu, NULL);
    return w;
}

/* Runs them all: how many ran the step. together: they begin within so many ms. */
static size_t play(struct world *w, unsigned together)
{
    size_t ran = 0;
    pthread_mutex_lock(&w->mu);
    for (size_t i = 0; i < w->n; i++) {
        w->v[i].w = w;
        w->v[i].ran = -1;
        w->v[i].wake = draw(w, together + 1) * MS;
        pthread_cond_init(&w->v[i].turn, NULL);
        assert_int_equal(pthread_create(&w->v[i].thread, NULL, build, &w->v[i]), 0);
    }
    pass(w);
    pthread_mutex_unlock(&w->mu);
    for (size_t i = 0; i < w->n; i++) {
        pthread_join(w->v[i].thread, NULL);
        pthread_cond_destroy(&w->v[i].turn);
        ran += w->v[i].ran >= 0;
    }
    return ran;
}

static void end(struct world *w)
{
    free(w->tag);
    pthread_mutex_destroy(&w->mu);
    free(w);
}

/* ---- */

static void of_many_one_runs_it(void **state)
{
    (void)state;
    static const int64_t slowest[] = { 2, 10, 100, 1000 };
    static const unsigned together[] = { 0, 5, 200, 3000 };
    for (size_t i = 0; i < CB_COUNTOF(slowest); i++)
        for (size_t k = 0; k < CB_COUNTOF(together); k++)
            for (uint64_t seed = 0; seed < 6; seed++) {
                struct world *w = world(seed % 2 ? 3 : MANY, seed);
                w->slowest = slowest[i] * MS;
                size_t ran = play(w, together[k]);
                if (ran != 1)
                    fail_msg("%zu builds ran it: requests up to %d ms, begun in %u ms, seed %d", ran,
                             (int)slowest[i], together[k], (int)seed);
                assert_null(w->tag);
                end(w);
            }
}

static void a_build_alone_needs_four_requests(void **state)
{
    (void)state;
    struct world *w = world(1, 1);
    w->run = 0;
    assert_int_equal(play(w, 0), 1);
    assert_int_equal(w->requests, 4); /* look, claim, look, delete */
    assert_null(w->tag);
    end(w);
}

static void a_long_step_leaves_few_manifests(void **state)
{
    (void)state;
    struct world *w = world(1, 1);
    w->run = 3600 * SECOND;
    assert_int_equal(play(w, 0), 1);
    assert_true(w->requests < 3600 / 5 + 40);
    assert_null(w->tag);
    end(w);
}

static void who_is_killed_is_followed_by_one_other(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct world *w = world(20, seed);
        int64_t first = INT64_MAX, last = 0;
        w->killed = 1;
        assert_int_equal(play(w, 100), 2);
        for (size_t i = 0; i < w->n; i++)
            if (w->v[i].ran >= 0) {
                first = CB_MIN(first, w->v[i].ran);
                last = CB_MAX(last, w->v[i].ran);
            }
        assert_true(last - first > CB_CACHE_CLAIM_DEAD - CB_CACHE_CLAIM_BEAT);
        assert_true(last - first < CB_CACHE_CLAIM_DEAD + CB_CACHE_CLAIM_BEAT);
        assert_null(w->tag);
        end(w);
    }
}

static void a_step_that_fails_is_not_tried_by_one_after_the_other(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 10; seed++) {
        struct world *w = world(20, seed);
        w->fails = true;
        assert_int_equal(play(w, 100), 20);
        assert_true(w->now < 3 * w->run + 15 * SECOND);
        end(w);
    }
}

static void a_place_that_refuses_is_done_without(void **state)
{
    (void)state;
    struct world *w = world(5, 1);
    w->refuses = true;
    assert_int_equal(play(w, 0), 5);
    for (size_t i = 0; i < w->n; i++)
        assert_true(w->v[i].ran < SECOND);
    end(w);
}

static void where_nothing_is_deleted_the_claim_has_ended(void **state)
{
    (void)state;
    struct world *w = world(10, 1);
    int64_t created = 0;
    bool live = true;
    w->keeps = true;
    assert_int_equal(play(w, 100), 1);
    assert_non_null(w->tag);
    assert_true(cb_cache_claim_read(w->tag, strlen(w->tag), &created, &live));
    assert_false(live);
    /* And keeps nobody from claiming. */
    w->recorded = false;
    w->now = 0;
    assert_int_equal(play(w, 0), 1);
    end(w);
}

static void nobody_waits_for_longer_than_was_said(void **state)
{
    (void)state;
    struct world *w = world(5, 1);
    w->wait = 7 * SECOND;
    assert_int_equal(play(w, 0), 5);
    for (size_t i = 0; i < w->n; i++)
        assert_true(w->v[i].ran < 10 * SECOND);
    end(w);
}

static void another_thing_in_the_tag_is_left_alone(void **state)
{
    (void)state;
    static const char *const others[] = {
        "{}", "x", "{\"artifactType\":\"" CB_MT_CACHE_CLAIM "\"}",
        "{\"artifactType\":\"" CB_MT_CACHE_CLAIM "\",\"annotations\":{\"org.cbpush.claim.owner\":1}}",
        "{\"artifactType\":\"a/b\",\"annotations\":{\"org.cbpush.claim.owner\":\"\"}}",
        "{\"artifactType\":\"" CB_MT_CACHE_CLAIM "\",\"annotations\":{\"org.cbpush.claim.owner\":\"a\"}}",
    };
    for (size_t i = 0; i < CB_COUNTOF(others); i++) {
        struct world *w = world(2, i);
        w->tag = cb_strdup(others[i]);
        assert_int_equal(play(w, 0), 2);
        assert_string_equal(w->tag, others[i]);
        end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_many_one_runs_it),
        cmocka_unit_test(a_build_alone_needs_four_requests),
        cmocka_unit_test(a_long_step_leaves_few_manifests),
        cmocka_unit_test(who_is_killed_is_followed_by_one_other),
        cmocka_unit_test(a_step_that_fails_is_not_tried_by_one_after_the_other),
        cmocka_unit_test(a_place_that_refuses_is_done_without),
        cmocka_unit_test(where_nothing_is_deleted_the_claim_has_ended),
        cmocka_unit_test(nobody_waits_for_longer_than_was_said),
        cmocka_unit_test(another_thing_in_the_tag_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
