/* SPDX-License-Identifier: Apache-2.0 */
/* The plain, quiet and JSON forms, and the model behind them. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "progress/private.h"
#include "progress_capture.h"
#include "util/encode.h"
#include "util/timeutil.h"

static struct cb_progress *start(struct capture *c, enum cb_progress_mode mode)
{
    capture_pipe(c);
    return cb_progress_new(&(struct cb_progress_options){ .mode = mode, .fd = c->write_fd, .title = "Building" });
}

static void finish_and_compare(struct cb_progress *p, struct capture *c, const char *want)
{
    cb_progress_free(p);
    cb_autofree char *got = normalized(capture_end(c));
    assert_string_equal(got, want);
    capture_done(c);
}

/* What the render thread does now and then, at a time of our choice. */
static void tick(struct cb_progress *p, int64_t later)
{
    pthread_mutex_lock(&p->lock);
    p->r->draw(p, cb_time_monotonic() + later, false);
    pthread_mutex_unlock(&p->lock);
}

static void log_text(struct cb_step *s, const char *text)
{
    cb_step_log(s, 1, text, strlen(text));
}

static void test_plain_ends(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    (void)state;
    struct cb_step *never = cb_step_new(p, "never begun");
    struct cb_step *a = cb_step_new(p, "[internal] load build definition from Dockerfile");
    struct cb_step *b = cb_step_new(p, "[2/4] COPY a b"), *d = cb_step_new(p, "[3/4] RUN make");
    struct cb_step *e = cb_step_new(p, "[4/4] RUN x");
    cb_step_begin(a);
    cb_step_status(a, "transferring dockerfile:", 120, 0);
    cb_step_status_done(a, "transferring dockerfile:");
    cb_step_done(a);
    usleep(2000);
    cb_step_cached(b);
    usleep(2000);
    cb_step_begin(d);
    log_text(d, "cc -O2\n");
    cb_step_warn(d, "old %s", "flag");
    cb_step_error(d, "process \"/bin/sh -c make\" did not complete successfully: exit code: 2");
    usleep(2000);
    cb_step_canceled(e);
    cb_step_done(e); /* too late */
    assert_int_equal(cb_step_elapsed_ns(never), 0);
    assert_true(cb_step_elapsed_ns(a) > 0);
    assert_string_equal(cb_step_name(d), "[3/4] RUN make");
    finish_and_compare(p, &c,
                       "#1 [internal] load build definition from Dockerfile\n"
                       "#1 transferring dockerfile: 120B done\n"
                       "#1 DONE Ts\n"
                       "\n"
                       "#2 [2/4] COPY a b\n"
                       "#2 CACHED\n"
                       "\n"
                       "#3 [3/4] RUN make\n"
                       "#3 T cc -O2\n"
                       "#3 WARN: old flag\n"
                       "#3 ERROR: process \"/bin/sh -c make\" did not complete successfully: exit code: 2\n"
                       "\n"
                       "#4 [4/4] RUN x\n"
                       "#4 CANCELED\n");
}

static void test_plain_switch(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    (void)state;
    struct cb_step *a = cb_step_new(p, "a"), *b = cb_step_new(p, "b");
    cb_step_begin(a);
    log_text(a, "one\n");
    tick(p, 0); /* a has the floor */
    cb_step_begin(b);
    log_text(b, "two\n"); /* waits, */
    log_text(a, "three\n");
    tick(p, 0);
    cb_step_done(b); /* but an end is told at once */
    tick(p, 0);
    log_text(a, "four");
    cb_step_done(a);
    tick(p, 0);
    log_text(a, "late");
    finish_and_compare(p, &c,
                       "#1 a\n"
                       "#1 T one\n"
                       "#1 T three\n"
                       "#1 ...\n"
                       "\n"
                       "#2 b\n"
                       "#2 T two\n"
                       "#2 DONE Ts\n"
                       "\n"
                       "#1 a\n"
                       "#1 T four\n"
                       "#1 DONE Ts\n"
                       "\n"
                       "#1 a\n"
                       "#1 T late\n");
}

/* Nobody is silent for ever behind one that talks. */
static void test_plain_fair(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    int64_t sec = 1000000000;
    (void)state;
    struct cb_step *a = cb_step_new(p, "a"), *b = cb_step_new(p, "b"), *d = cb_step_new(p, "c");
    log_text(a, "one\n");
    tick(p, 0);
    log_text(b, "two\n");
    tick(p, 4 * sec);
    assert_ptr_equal(p->current, a);
    tick(p, 6 * sec); /* a said nothing for a while */
    assert_ptr_equal(p->current, b);
    log_text(b, "three\n");
    log_text(d, "four\n");
    tick(p, 8 * sec);
    assert_ptr_equal(p->current, b);
    log_text(b, "five\n"); /* b goes on and on */
    tick(p, 20 * sec);
    assert_ptr_equal(p->current, d);
    cb_step_done(a);
    cb_step_done(b);
    cb_step_done(d);
    cb_progress_free(p);
    assert_non_null(strstr(capture_end(&c), "#2 ...\n\n#3 c\n#3 0."));
    capture_done(&c);
}

static void test_plain_status(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    (void)state;
    struct cb_step *s = cb_step_new(p, "pull");
    cb_step_status(s, "sha256:ab", 0, 29780000);
    tick(p, 0);
    cb_step_status(s, "sha256:ab", 1000000, 29780000); /* less than 5 % */
    tick(p, 0);
    cb_step_status(s, "sha256:ab", 3150000, 29780000);
    tick(p, 0);
    cb_step_status(s, "sha256:ab", 29000000, 29780000);
    cb_step_status_done(s, "sha256:ab");
    cb_step_done(s);
    cb_progress_free(p);
    const char *text = capture_end(&c);
    assert_non_null(strstr(text, "#1 sha256:ab 0B / 29.78MB"));
    assert_null(strstr(text, "1.00MB"));
    assert_non_null(strstr(text, "#1 sha256:ab 3.15MB / 29.78MB"));
    assert_non_null(strstr(text, "#1 sha256:ab 29.78MB / 29.78MB"));
    assert_non_null(strstr(text, " done\n#1 DONE 0."));
    capture_done(&c);
}

static void test_log_lines(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    (void)state;
    struct cb_step *s = cb_step_new(p, "s");
    log_text(s, "par");
    cb_step_log(s, 2, "err", 3);
    log_text(s, "tial\nand\n\nempty\r\n");
    cb_step_log(s, 2, "or\n", 3);
    log_text(s, "10%\r20%\r\r\n");
    cb_step_log(s, 1, "cut\r", 4);
    cb_step_log(s, 1, "\nhere\n", 6);
    cb_step_logf(s, "own %d", 7);
    log_text(s, "no end");
    cb_step_done(s);
    finish_and_compare(
        p, &c,
        "#1 s\n#1 T partial\n#1 T and\n#1 T \n#1 T empty\n#1 T error\n#1 T 10%\n#1 T 20%\n#1 T cut\n#1 T here\n"
        "#1 T own 7\n#1 T no end\n#1 DONE Ts\n");
}

static void test_hostile_text(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    (void)state;
    struct cb_step *s = cb_step_new(p, "[1/1] RUN a\nb \x1b]0;title\x07 \xe2\x80\xae");
    log_text(s, "\x1b[31mred\x1b[0m \x1b[2J\x1b]8;;http://x\x07link \xc2\x9b 5n\xff\x08 ok\ttab\n");
    log_text(s, "painted\rover\n");
    log_text(s, "\x1b[1;31m\x1b[K\n\x1b[3\n");
    cb_step_status(s, "id\x1b[2J\n", 1, 0);
    cb_step_warn(s, "w\x1b]52;c;x\x07\nfake");
    cb_progress_note(p, true, "note\x1b[2J\nline two");
    cb_step_error(s, "bad\x1b[2J\nfake #9 DONE");
    cb_progress_free(p);
    const char *text = capture_end(&c);
    assert_null(strpbrk(text, "\x1b\x07\x08\r\xff"));
    assert_null(strstr(text, "\xe2\x80\xae"));
    assert_non_null(strstr(text, "#1 [1/1] RUN a\\x0ab \\x1b]0;title\\x07 \\u{202e}\n"));
    assert_non_null(strstr(text, " red \\x1b[2J\\x1b]8;;http://x\\x07link "));
    assert_non_null(strstr(text, "ok\ttab\n"));
    assert_non_null(strstr(text, " painted\n#1 "));
    assert_non_null(strstr(text, "\\x1b[3\n"));
    assert_non_null(strstr(text, "#1 id\\x1b[2J\\x0a 1B"));
    assert_non_null(strstr(text, "#1 WARN: w\\x1b]52;c;x\\x07\\x0afake\n"));
    assert_non_null(strstr(text, "note\\x1b[2J\\x0aline two\n"));
    assert_non_null(strstr(text, "#1 ERROR: bad\\x1b[2J\\x0afake #9 DONE\n"));
    capture_done(&c);
}

/* A line without end is cut, never within a character, and nothing of it is lost. */
static void test_huge_line(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    (void)state;
    struct cb_step *s = cb_step_new(p, "s");
    size_t total = 3000001;
    cb_autofree char *big = cb_malloc(total);
    big[0] = 'x';
    for (size_t i = 1; i + 1 < total; i += 2)
        memcpy(big + i, "\xc3\xa9", 2);
    for (size_t i = 0; i < total; i += 7777)
        cb_step_log(s, 1, big + i, CB_MIN(total - i, (size_t)7777));
    cb_step_done(s);
    cb_progress_free(p);
    size_t letters = 0, longest = 0;
    for (const char *line = capture_end(&c); *line;) {
        size_t n = strcspn(line, "\n");
        longest = CB_MAX(longest, n);
        for (size_t i = 0; i < n; i++)
            letters += (unsigned char)line[i] == 0xc3;
        line += n + (line[n] == '\n');
    }
    assert_null(strstr(c.text.buf, "\\x"));
    assert_int_equal(letters, (total - 1) / 2);
    assert_in_range(longest, CB_MAX_LOG_LINE, CB_MAX_LOG_LINE + 32);
    capture_done(&c);
}

static void test_last_lines(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_QUIET);
    (void)state;
    struct cb_step *s = cb_step_new(p, "s");
    cb_autofree char *none = cb_step_last_lines(s);
    assert_string_equal(none, "");
    for (int i = 0; i < 15; i++)
        cb_step_logf(s, "line %d\x1b[2J", i);
    log_text(s, "partial");
    cb_step_error(s, "x");
    cb_progress_finish(p, true);
    log_text(s, "dropped\n");
    cb_autofree char *raw = cb_step_last_lines(s);
    cb_autofree char *got = normalized(raw);
    assert_string_equal(got,
                        "T line 6\\x1b[2J\nT line 7\\x1b[2J\nT line 8\\x1b[2J\nT line 9\\x1b[2J\nT line 10\\x1b[2J\n"
                        "T line 11\\x1b[2J\nT line 12\\x1b[2J\nT line 13\\x1b[2J\nT line 14\\x1b[2J\nT partial\n");
    finish_and_compare(p, &c, "");
}

static void test_quiet(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_QUIET);
    (void)state;
    struct cb_step *s = cb_step_new(p, "s");
    log_text(s, "x\n");
    cb_step_warn(s, "w");
    cb_step_done(s);
    cb_progress_note(p, false, "unimportant");
    cb_progress_note(p, true, "warning: %d", 5);
    cb_progress_debug(p, "debug 1");
    cb_progress_set_debug(p, true);
    cb_progress_debug(p, "debug 2");
    finish_and_compare(p, &c, "warning: 5\ndebug 2\n");
}

static void test_null(void **state)
{
    (void)state;
    struct cb_step *s = cb_step_new(NULL, "x");
    assert_null(s);
    cb_step_begin(s);
    cb_step_log(s, 1, "x", 1);
    cb_step_logf(s, "x");
    cb_step_warn(s, "x");
    cb_step_status(s, "x", 1, 2);
    cb_step_status_done(s, "x");
    cb_step_done(s);
    cb_step_cached(s);
    cb_step_canceled(s);
    cb_step_error(s, "x");
    assert_string_equal(cb_step_name(s), "");
    assert_int_equal(cb_step_elapsed_ns(s), 0);
    cb_autofree char *lines = cb_step_last_lines(s);
    assert_string_equal(lines, "");
    cb_progress_note(NULL, true, "x");
    cb_progress_debug(NULL, "x");
    cb_progress_set_debug(NULL, true);
    cb_progress_finish(NULL, true);
    cb_progress_free(NULL);
}

static void test_mode(void **state)
{
    static const struct {
        const char *text;
        int mode;
    } rows[] = { { "auto", CB_PROGRESS_AUTO },
                 { "tty", CB_PROGRESS_TTY },
                 { "plain", CB_PROGRESS_PLAIN },
                 { "quiet", CB_PROGRESS_QUIET },
                 { "none", CB_PROGRESS_QUIET },
                 { "rawjson", CB_PROGRESS_RAWJSON },
                 { "", -1 },
                 { "Plain", -1 },
                 { "\x1b[2J", -1 } };
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        enum cb_progress_mode mode = CB_PROGRESS_AUTO;
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        int r = cb_progress_mode_parse(rows[i].text, &mode, &err);
        assert_int_equal(r, rows[i].mode < 0 ? -CB_EUSAGE : 0);
        if (r == 0)
            assert_int_equal(mode, rows[i].mode);
        else
            assert_null(strchr(err.msg, '\x1b'));
    }
    /* A pipe is no terminal: plain, even where tty was asked for. */
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_TTY);
    cb_step_cached(cb_step_new(p, "x"));
    finish_and_compare(p, &c, "#1 x\n#1 CACHED\n");
    setenv("BUILDKIT_PROGRESS", "quiet", 1);
    p = start(&c, CB_PROGRESS_AUTO);
    cb_step_cached(cb_step_new(p, "x"));
    finish_and_compare(p, &c, "");
    p = start(&c, CB_PROGRESS_PLAIN);
    cb_step_cached(cb_step_new(p, "x"));
    finish_and_compare(p, &c, "#1 x\n#1 CACHED\n");
    unsetenv("BUILDKIT_PROGRESS");
}

static void test_mode_take(void **state)
{
    (void)state;
    static const struct { const char *text, *variable; int r; enum cb_progress_mode mode; } rows[] = {
        { NULL, NULL, 0, CB_PROGRESS_AUTO },      { NULL, "", 0, CB_PROGRESS_AUTO },
        { NULL, "quiet", 0, CB_PROGRESS_QUIET },  { "auto", "plain", 0, CB_PROGRESS_PLAIN },
        { "tty", "plain", 0, CB_PROGRESS_TTY },   { "tty", "fancy", 0, CB_PROGRESS_TTY },
        { NULL, "fancy", -CB_EUSAGE, 0 },         { "auto", "fancy\n", -CB_EUSAGE, 0 },
        { "fancy", "plain", -CB_EUSAGE, 0 },      { NULL, "auto", 0, CB_PROGRESS_AUTO },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        enum cb_progress_mode mode = CB_PROGRESS_AUTO;
        if (rows[i].variable)
            setenv("BUILDKIT_PROGRESS", rows[i].variable, 1);
        assert_int_equal(cb_progress_mode_take(rows[i].text, &mode, &err), rows[i].r);
        if (rows[i].r == 0)
            assert_int_equal(mode, rows[i].mode);
        else
            assert_non_null(strstr(cb_error_text(&err), "auto, tty, plain, quiet, rawjson"));
        assert_null(strchr(cb_error_text(&err), '\n'));
        unsetenv("BUILDKIT_PROGRESS");
    }
}

/* ---- rawjson */

static json_t *only(json_t *line, const char *kind)
{
    json_t *list = json_object_get(line, kind);
    assert_int_equal(json_object_size(line), 1);
    assert_int_equal(json_array_size(list), 1);
    return json_array_get(list, 0);
}

static const char *str(json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "(none)";
}

static void test_rawjson(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_RAWJSON);
    (void)state;
    struct cb_step *a = cb_step_new(p, "a \"quoted\""), *b = cb_step_new(p, "b");
    cb_step_begin(a);
    cb_step_log(a, 2, "raw\x1b\xff", 5);
    cb_step_status(a, "blob", 5, 10);
    cb_step_warn(a, "careful");
    cb_step_error(a, "oh\nno");
    cb_step_cached(b);
    cb_progress_note(p, false, "hello");
    cb_progress_free(p);
    json_t *lines[16] = { 0 };
    size_t n = 0;
    for (const char *line = capture_end(&c); *line;) {
        size_t len = strcspn(line, "\n");
        assert_true(n < CB_COUNTOF(lines));
        assert_non_null(lines[n++] = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL));
        line += len + 1;
    }
    assert_int_equal(n, 8);
    json_t *v = only(lines[0], "vertexes");
    const char *id = str(v, "digest");
    assert_int_equal(strlen(id), 71);
    assert_string_equal(str(v, "name"), "a \"quoted\"");
    assert_string_not_equal(str(v, "started"), "(none)");
    assert_null(json_object_get(v, "completed"));
    v = only(lines[1], "logs");
    assert_string_equal(str(v, "vertex"), id);
    assert_int_equal(json_integer_value(json_object_get(v, "stream")), 2);
    assert_string_equal(str(v, "data"), "cmF3G/8=");
    v = only(lines[2], "statuses");
    assert_string_equal(str(v, "id"), "blob");
    assert_int_equal(json_integer_value(json_object_get(v, "current")), 5);
    assert_int_equal(json_integer_value(json_object_get(v, "total")), 10);
    v = only(lines[3], "warnings");
    assert_string_equal(str(v, "short"), "Y2FyZWZ1bA==");
    v = only(lines[4], "vertexes");
    assert_string_equal(str(v, "digest"), id);
    assert_string_equal(str(v, "error"), "oh\\x0ano");
    assert_string_not_equal(str(v, "completed"), "(none)");
    v = only(lines[5], "vertexes");
    assert_string_not_equal(str(v, "digest"), id);
    assert_null(json_object_get(v, "cached"));
    v = only(lines[6], "vertexes");
    assert_true(json_is_true(json_object_get(v, "cached")));
    v = only(lines[7], "warnings");
    assert_string_equal(str(v, "short"), "aGVsbG8=");
    for (size_t i = 0; i < n; i++)
        json_decref(lines[i]);
    capture_done(&c);
}

/* ---- many threads, a slow reader, a reader that is gone */

struct writer {
    struct cb_step *s;
    int lines;
};

static void *write_lines(void *arg)
{
    struct writer *w = arg;
    for (int i = 0; i < w->lines; i++)
        cb_step_logf(w->s, "%0100d", i);
    cb_step_done(w->s);
    return NULL;
}

static void run_writers(struct cb_progress *p, int lines)
{
    struct writer w[4];
    pthread_t t[4];
    for (int i = 0; i < 4; i++) {
        w[i] = (struct writer){ .s = cb_step_new(p, "w"), .lines = lines };
        assert_int_equal(pthread_create(&t[i], NULL, write_lines, &w[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
}

static void test_threads(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, CB_PROGRESS_PLAIN);
    (void)state;
    run_writers(p, 30000); /* 12 MB: more than is kept in memory */
    cb_progress_free(p);
    size_t lines = 0, done = 0;
    for (const char *q = capture_end(&c); (q = strchr(q, '\n')); q++)
        lines++;
    for (const char *q = c.text.buf; (q = strstr(q, " DONE ")); q++)
        done++;
    assert_int_equal(done, 4);
    assert_true(lines >= 4 * 30000 + 8);
    capture_done(&c);
}

static void test_reader_gone(void **state)
{
    int fds[2];
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    struct cb_progress *p = cb_progress_new(&(struct cb_progress_options){ .mode = CB_PROGRESS_PLAIN, .fd = fds[1] });
    close(fds[0]);
    run_writers(p, 30000); /* must not wait for somebody who will never read */
    cb_progress_free(p);
    close(fds[1]);
}

int main(void)
{
    unsetenv("BUILDKIT_PROGRESS");
    unsetenv("PROGRESS_NO_TRUNC");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain_ends),   cmocka_unit_test(test_plain_switch), cmocka_unit_test(test_plain_fair),
        cmocka_unit_test(test_plain_status), cmocka_unit_test(test_log_lines),    cmocka_unit_test(test_hostile_text),
        cmocka_unit_test(test_huge_line),    cmocka_unit_test(test_last_lines),   cmocka_unit_test(test_quiet),
        cmocka_unit_test(test_null),         cmocka_unit_test(test_mode),         cmocka_unit_test(test_rawjson),
        cmocka_unit_test(test_mode_take),
        cmocka_unit_test(test_threads),      cmocka_unit_test(test_reader_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
