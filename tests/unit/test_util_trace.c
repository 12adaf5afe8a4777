/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/thread.h"
#include "util/timeutil.h"
#include "util/trace.h"

/* A recording on a file, and what a strict parser that is not ours makes of it. */
static FILE *begin(void)
{
    char path[] = "/tmp/cbpush-test-trace-XXXXXX";
    int fd = mkstemp(path);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "w+");
    unlink(path);
    assert_non_null(f);
    cb_trace_begin(fileno(f), cb_time_monotonic());
    return f;
}

static json_t *end(FILE *f)
{
    struct cb_error err = CB_ERROR_INIT;
    json_error_t e;
    assert_int_equal(cb_trace_end(&err), 0);
    rewind(f);
    json_t *o = json_loadf(f, JSON_REJECT_DUPLICATES, &e);
    if (!o)
        print_message("line %d: %s\n", e.line, e.text);
    assert_non_null(o);
    assert_true(json_is_array(json_object_get(o, "traceEvents")));
    fclose(f);
    return o;
}

/* The nth complete event; all of them where n is SIZE_MAX, counted. */
static json_t *span_at(const json_t *o, size_t n, size_t *count)
{
    json_t *events = json_object_get(o, "traceEvents"), *e;
    size_t i, seen = 0;
    json_array_foreach(events, i, e) {
        if (strcmp(json_string_value(json_object_get(e, "ph")), "X"))
            continue;
        if (seen++ == n)
            return e;
    }
    if (count)
        *count = seen;
    return NULL;
}

static size_t count_spans(const json_t *o)
{
    size_t n = 0;
    (void)span_at(o, SIZE_MAX, &n);
    return n;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    assert_non_null(s);
    return s;
}

static const char *track_name(const json_t *o, json_int_t tid)
{
    json_t *events = json_object_get(o, "traceEvents"), *e;
    size_t i;
    json_array_foreach(events, i, e) {
        if (!strcmp(text_of(e, "ph"), "M") && !strcmp(text_of(e, "name"), "thread_name") &&
            json_integer_value(json_object_get(e, "tid")) == tid)
            return text_of(json_object_get(e, "args"), "name");
    }
    fail_msg("track %lld has no name", (long long)tid);
    return NULL;
}

static void test_off(void **state)
{
    (void)state;
    struct cb_span s = cb_span_begin("kind", "%s", "name");
    assert_false(cb_trace_on());
    assert_int_equal(s.begin, 0);
    assert_null(s.name);
    cb_span_text(&s, "a", "b");
    cb_span_number(&s, "a", 1);
    cb_span_end(&s);
    assert_null(s.args.buf);
}

static void test_event(void **state)
{
    (void)state;
    FILE *f = begin();
    struct cb_span s = cb_span_begin("layer", "unpack %d", 7);
    cb_span_text(&s, "digest", "sha256:ab");
    cb_span_text(&s, "left_out", NULL);
    cb_span_number(&s, "bytes", UINT64_C(1) << 40);
    cb_span_end(&s);
    cb_span_end(&s); /* nothing is left of it */
    json_t *o = end(f), *e = span_at(o, 0, NULL);
    assert_int_equal(count_spans(o), 1);
    assert_string_equal(text_of(e, "cat"), "layer");
    assert_string_equal(text_of(e, "name"), "unpack 7");
    assert_true(json_is_number(json_object_get(e, "ts")) && json_is_number(json_object_get(e, "dur")));
    assert_int_equal(json_integer_value(json_object_get(e, "pid")), getpid());
    json_t *args = json_object_get(e, "args");
    assert_int_equal(json_object_size(args), 2);
    assert_string_equal(text_of(args, "digest"), "sha256:ab");
    assert_true(json_integer_value(json_object_get(args, "bytes")) == (json_int_t)(UINT64_C(1) << 40));
    assert_string_equal(track_name(o, json_integer_value(json_object_get(e, "tid"))), "main");
    json_decref(o);
}

/* Whatever a name holds, the file is JSON and the text is the same where it is text. */
static void test_hostile(void **state)
{
    (void)state;
    static const struct { const char *in, *out; } cases[] = {
        { "\"},{\"ph\":\"X\"", "\"},{\"ph\":\"X\"" },
        { "back\\slash\\", "back\\slash\\" },
        { "line\nbreak\ttab\rcr\x01\x1f\x7f", "line\nbreak\ttab\rcr\x01\x1f\x7f" },
        { "\xff\xfe bad \xc3", "\xef\xbf\xbd\xef\xbf\xbd bad \xef\xbf\xbd" },
        { "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
        { "gr\xc3\xbc\xc3\x9f \xe2\x86\x92 \xf0\x9f\x90\xb3", "gr\xc3\xbc\xc3\x9f \xe2\x86\x92 \xf0\x9f\x90\xb3" },
        { "%s%n", "%s%n" },
        { "", "kind" },
    };
    FILE *f = begin();
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_span s = cb_span_begin("kind", "%s", cases[i].in);
        cb_span_text(&s, "text", cases[i].in);
        cb_span_end(&s);
    }
    json_t *o = end(f);
    assert_int_equal(count_spans(o), CB_COUNTOF(cases));
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        json_t *e = span_at(o, i, NULL);
        assert_string_equal(text_of(e, "name"), cases[i].out);
        if (*cases[i].in)
            assert_string_equal(text_of(json_object_get(e, "args"), "text"), cases[i].out);
    }
    json_decref(o);
}

/* What a Dockerfile says of URLs is not passed on; a cut does not uncover it. */
static void test_urls(void **state)
{
    (void)state;
    cb_autofree char *deep = cb_asprintf("ADD %0*d https://user:canary@%0*d.example/", 270, 0, 40, 0);
    const char *const texts[] = {
        "ADD https://user:canary@h.example/a?sig=canary&x=canary /b", "RUN curl \"http://canary@h/?canary\"", deep,
        "git clone ssh://u:canary@h/r\nline https://h/p?canary#v1",
    };
    FILE *f = begin();
    for (size_t i = 0; i < CB_COUNTOF(texts); i++) {
        struct cb_span s = cb_span_begin("kind", "%s", texts[i]);
        cb_span_text(&s, "text", texts[i]);
        cb_span_end(&s);
    }
    json_t *o = end(f);
    for (size_t i = 0; i < CB_COUNTOF(texts); i++) {
        json_t *e = span_at(o, i, NULL);
        assert_null(strstr(text_of(e, "name"), "canary"));
        assert_null(strstr(text_of(json_object_get(e, "args"), "text"), "canary"));
    }
    assert_string_equal(text_of(span_at(o, 0, NULL), "name"), "ADD https://xxxxx@h.example/a?sig=xxxxx&x=xxxxx /b");
    assert_non_null(strstr(text_of(span_at(o, 3, NULL), "name"), "?xxxxx#v1")); /* a revision */
    json_decref(o);
}

/* Long texts are cut between characters. */
static void test_long(void **state)
{
    (void)state;
    cb_autofree char *text = cb_malloc(3001);
    for (size_t i = 0; i < 1000; i++)
        memcpy(text + 3 * i, "\xe2\x86\x92", 3);
    text[3000] = '\0';
    FILE *f = begin();
    struct cb_span s = cb_span_begin("kind", "x%s", text);
    cb_span_end(&s);
    json_t *o = end(f);
    const char *name = text_of(span_at(o, 0, NULL), "name");
    assert_in_range(strlen(name), 200, 300);
    assert_int_equal(strlen(name) % 3, 1);
    assert_null(strstr(name, "\xef\xbf\xbd"));
    json_decref(o);
}

/* Two at a time have two tracks; the next one takes the first again. */
static void test_apart(void **state)
{
    (void)state;
    FILE *f = begin();
    struct cb_span a = cb_span_begin_apart("http", "a"), b = cb_span_begin_apart("http", "b");
    cb_span_end(&a);
    struct cb_span c = cb_span_begin_apart("http", "c");
    cb_span_end_at(&b, b.begin + 5000);
    cb_span_end(&c);
    json_t *o = end(f);
    json_int_t tid[3];
    for (size_t i = 0; i < 3; i++)
        tid[i] = json_integer_value(json_object_get(span_at(o, i, NULL), "tid"));
    assert_string_equal(track_name(o, tid[0]), "http 1");
    assert_string_equal(track_name(o, tid[1]), "http 2");
    assert_int_equal(tid[2], tid[0]);
    assert_true(json_real_value(json_object_get(span_at(o, 1, NULL), "dur")) == 5.0);
    json_decref(o);
}

#define THREADS 8
#define SPANS 2000

static void *many(void *arg)
{
    for (size_t i = 0; i < SPANS; i++) {
        struct cb_span outer = cb_span_begin("outer", "%s", (const char *)arg);
        struct cb_span inner = cb_span_begin("inner", "%zu", i);
        cb_span_number(&inner, "i", i);
        cb_span_end(&inner);
        cb_span_end(&outer);
    }
    return NULL;
}

static void run_threads(unsigned n)
{
    pthread_t t[THREADS];
    for (size_t i = 0; i < n; i++)
        assert_int_equal(cb_thread_start(&t[i], "worker", many, (void *)(uintptr_t)"\x80 odd \"name\"", NULL), 0);
    for (size_t i = 0; i < n; i++)
        pthread_join(t[i], NULL);
}

static double number(const json_t *e, const char *key)
{
    return json_number_value(json_object_get(e, key));
}

/* Nothing is lost or torn, far past the size of the buffer; each inner span lies in the outer one that follows. */
static void test_threads(void **state)
{
    (void)state;
    FILE *f = begin();
    run_threads(THREADS);
    json_t *o = end(f), *events = json_object_get(o, "traceEvents"), *e;
    json_t *last[64] = { 0 };
    size_t i;
    assert_int_equal(count_spans(o), 2 * THREADS * SPANS);
    json_array_foreach(events, i, e) {
        size_t tid = (size_t)json_integer_value(json_object_get(e, "tid"));
        assert_in_range(tid, 0, 63);
        if (strcmp(text_of(e, "ph"), "X"))
            continue;
        if (!strcmp(text_of(e, "cat"), "outer")) {
            json_t *in = last[tid];
            assert_true(number(e, "ts") <= number(in, "ts"));
            assert_true(number(e, "ts") + number(e, "dur") + 0.001 >= number(in, "ts") + number(in, "dur"));
        }
        last[tid] = e;
    }
    json_decref(o);
}

/* Threads that come after others have gone take over their tracks. */
static void test_tracks_are_reused(void **state)
{
    (void)state;
    FILE *f = begin();
    for (int i = 0; i < 5; i++)
        run_threads(1);
    json_t *o = end(f), *events = json_object_get(o, "traceEvents"), *e;
    size_t i, tracks = 0;
    json_array_foreach(events, i, e)
        tracks += !strcmp(text_of(e, "name"), "thread_name");
    assert_int_equal(tracks, 1);
    json_decref(o);
}

static void test_twice(void **state)
{
    (void)state;
    FILE *f = begin();
    struct cb_span s = cb_span_begin("kind", "first"), left = cb_span_begin_apart("http", "left open");
    cb_span_end(&s);
    json_decref(end(f));
    cb_span_end(&left); /* nowhere */
    f = begin();
    s = cb_span_begin("kind", "second");
    cb_span_end(&s);
    json_t *o = end(f);
    assert_int_equal(count_spans(o), 1);
    assert_string_equal(track_name(o, json_integer_value(json_object_get(span_at(o, 0, NULL), "tid"))), "main");
    json_decref(o);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct cb_error err = CB_ERROR_INIT;
    cb_autoclose int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    cb_trace_begin(fd, cb_time_monotonic());
    run_threads(2);
    assert_int_equal(cb_trace_end(&err), -CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&err), "timeline"));
    cb_error_done(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_hostile),
        cmocka_unit_test(test_urls),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_apart),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_tracks_are_reused),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_full_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
