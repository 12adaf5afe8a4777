/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal form, on a pseudo-terminal, read by a small emulator. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <locale.h>
#include <signal.h>
#include <cmocka.h>

#include "progress/private.h"
#include "progress_capture.h"
#include "util/timeutil.h"

#define MAX_ROWS 400

struct screen {
    struct cb_strbuf rows[MAX_ROWS];
    size_t row, used;
    bool cursor_hidden;
    size_t widest; /* bytes without sequences */
    unsigned up;   /* how often the cursor went up */
    bool wrong;    /* a sequence that should not be there */
};

static void screen_done(struct screen *s)
{
    for (size_t i = 0; i < MAX_ROWS; i++)
        cb_strbuf_done(&s->rows[i]);
}

static void clear_from(struct screen *s, size_t row)
{
    for (; row < MAX_ROWS; row++)
        cb_strbuf_reset(&s->rows[row]);
}

/* Our display writes whole lines from the first column, so that a row is simply replaced. */
static const char *sequence(struct screen *s, const char *p)
{
    const char *start = p += 2;
    p += strspn(p, "0123456789;?");
    unsigned n = (unsigned)strtoul(start, NULL, 10);
    switch (*p) {
    case 'A':
        s->up++;
        s->wrong = s->wrong || n > s->row;
        s->row -= CB_MIN((size_t)n, s->row);
        break;
    case 'J':
        clear_from(s, s->row);
        break;
    case 'K':
    case 'm':
        break;
    case 'l':
    case 'h':
        s->cursor_hidden = *p == 'l';
        s->wrong = s->wrong || strncmp(start, "?25", 3) != 0;
        break;
    default:
        s->wrong = true;
    }
    return p + (*p != '\0');
}

static void show(struct screen *s, const char *text)
{
    bool fresh = true;
    for (size_t i = 0; i < MAX_ROWS; i++)
        s->rows[i] = (struct cb_strbuf)CB_STRBUF_INIT;
    for (const char *p = text; *p;) {
        if (p[0] == '\x1b' && p[1] == '[') {
            p = sequence(s, p);
            continue;
        }
        if (*p == '\n') {
            s->widest = CB_MAX(s->widest, s->rows[s->row].len);
            s->row++;
            assert_true(s->row < MAX_ROWS);
            s->used = CB_MAX(s->used, s->row);
            fresh = true;
        } else if (*p == '\r') {
            fresh = true;
        } else {
            if (fresh)
                cb_strbuf_reset(&s->rows[s->row]);
            fresh = false;
            cb_strbuf_addch(&s->rows[s->row], *p);
        }
        p++;
    }
}

static struct cb_progress *start(struct capture *c, unsigned short columns, unsigned short rows)
{
    capture_pty(c, columns, rows);
    return cb_progress_new(
        &(struct cb_progress_options){ .mode = CB_PROGRESS_AUTO, .fd = c->write_fd, .title = "Building" });
}

static void tick(struct cb_progress *p)
{
    pthread_mutex_lock(&p->lock);
    p->r->draw(p, cb_time_monotonic(), false);
    pthread_mutex_unlock(&p->lock);
}

static char *rows_text(struct screen *s)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    for (size_t i = 0; i < s->used; i++)
        if (s->rows[i].len)
            cb_strbuf_addf(&sb, "%s\n", s->rows[i].buf);
    cb_autofree char *raw = cb_strbuf_detach(&sb, NULL);
    return normalized(raw);
}

/* All that was written, whatever was drawn over it. */
static void test_stopping(void **state)
{
    struct capture c;
    (void)state;
    CB_AUTO(cb_cancel_free) struct cb_cancel *cancel = cb_cancel_new(NULL);
    capture_pty(&c, 80, 24);
    struct cb_progress *p = cb_progress_new(&(struct cb_progress_options){
        .mode = CB_PROGRESS_AUTO, .fd = c.write_fd, .title = "Building", .cancel = cancel });
    cb_step_begin(cb_step_new(p, "[1/1] RUN make"));
    tick(p);
    cb_cancel_trigger(cancel, SIGINT);
    tick(p);
    cb_progress_finish(p, true);
    cb_progress_free(p);
    const char *text = capture_end(&c);
    assert_non_null(strstr(text, "(0/1) stopping: Ctrl-C again ends it at once"));
    const char *end = strstr(text, "FINISHED");
    assert_non_null(end);
    assert_null(strstr(end, "stopping"));
    capture_done(&c);
}

static void test_picture(void **state)
{
    struct capture c;
    CB_CLEANUP(screen_done) struct screen s = { 0 };
    struct cb_progress *p = start(&c, 80, 24);
    (void)state;
    struct cb_step *a = cb_step_new(p, "[1/4] FROM docker.io/library/x:1"), *b = cb_step_new(p, "[2/4] COPY a b");
    struct cb_step *d = cb_step_new(p, "[3/4] RUN make"), *e = cb_step_new(p, "[4/4] RUN x");
    cb_step_new(p, "never");
    cb_step_status(a, "sha256:0123", 3150000, 29780000);
    tick(p);
    cb_step_status_done(a, "sha256:0123");
    cb_step_done(a);
    cb_step_cached(b);
    cb_step_logf(d, "cc");
    tick(p);
    cb_progress_note(p, false, "warning: x");
    cb_step_warn(d, "old");
    tick(p);
    cb_step_error(d, "exit code: 2");
    cb_step_canceled(e);
    cb_progress_finish(p, true);
    cb_step_log(e, 1, "late", 4);
    cb_progress_free(p);
    show(&s, capture_end(&c));
    cb_autofree char *got = rows_text(&s);
    assert_string_equal(got, "warning: x\n"
                             "WARN: old\n"
                             "[+] Building Ts (4/5) FINISHED\n"
                             " => [1/4] FROM docker.io/library/x:1                                       Ts\n"
                             " => => sha256:0123 29.78MB / 29.78MB                                       Ts\n"
                             " => CACHED [2/4] COPY a b                                                  Ts\n"
                             " => ERROR [3/4] RUN make                                                   Ts\n"
                             " => CANCELED [4/4] RUN x                                                   Ts\n");
    assert_false(s.cursor_hidden);
    assert_false(s.wrong);
    assert_int_equal(s.widest, 79);
    assert_non_null(strstr(c.text.buf, "\x1b[?25l"));
    assert_non_null(strstr(c.text.buf, " => => # cc"));
    assert_non_null(strstr(c.text.buf, "[==>                 ] 3.15MB / 29.78MB"));
    assert_non_null(strstr(c.text.buf, "\x1b[31m => ERROR"));
    assert_non_null(strstr(c.text.buf, "\x1b[33m => CANCELED"));
    assert_non_null(strstr(c.text.buf, "\x1b[34m => CACHED"));
    assert_non_null(strstr(c.text.buf, "\x1b[2m => => # cc"));
    capture_done(&c);
}

/* A push waits for layers: where they do not come it is over too. */
static void test_failure_cancels(void **state)
{
    struct capture c;
    CB_CLEANUP(screen_done) struct screen s = { 0 };
    struct cb_progress *p = start(&c, 80, 24);
    (void)state;
    struct cb_step *a = cb_step_new(p, "pushing to x"), *b = cb_step_new(p, "[1/1] RUN make");
    struct cb_step *d = cb_step_new(p, "done before");
    cb_step_new(p, "never begun");
    cb_step_begin(a);
    cb_step_error(b, "exit code: 2");
    cb_step_done(d);
    cb_progress_finish(p, true);
    cb_progress_free(p);
    show(&s, capture_end(&c));
    cb_autofree char *got = rows_text(&s);
    assert_string_equal(got, "[+] Building Ts (3/4) FINISHED\n"
                             " => CANCELED pushing to x                                                  Ts\n"
                             " => ERROR [1/1] RUN make                                                   Ts\n"
                             " => done before                                                            Ts\n");
    capture_done(&c);
}

static void test_small_window(void **state)
{
    struct capture c;
    CB_CLEANUP(screen_done) struct screen s = { 0 };
    struct cb_progress *p = start(&c, 40, 8);
    struct cb_step *steps[12];
    char name[64];
    (void)state;
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "step %d with a name that is longer than the window", i);
        steps[i] = cb_step_new(p, name);
        cb_step_begin(steps[i]);
        for (int k = 0; k < 9; k++)
            cb_step_logf(steps[i], "log %d of %d, also longer than the window is wide", k, i);
        if (i < 10)
            cb_step_done(steps[i]);
        tick(p);
    }
    pthread_mutex_lock(&p->lock);
    size_t drawn = p->drawn_lines;
    pthread_mutex_unlock(&p->lock);
    assert_int_equal(drawn, 7);
    cb_progress_free(p);
    const char *text = capture_end(&c);
    show(&s, text);
    assert_false(s.wrong);
    assert_false(s.cursor_hidden);
    assert_true(s.widest <= 39);
    /* While they ran, the running ones were there in spite of the height; at the end all of them. */
    assert_non_null(strstr(text, " => step 11"));
    assert_non_null(strstr(text, " => => # log 8 of 11"));
    assert_null(strstr(text, "log 2 of 11")); /* six lines of log at most */
    assert_int_equal(s.used, 13);
    capture_done(&c);
}

static void test_wide_characters(void **state)
{
    struct capture c;
    CB_CLEANUP(screen_done) struct screen s = { 0 };
    setenv("NO_COLOR", "1", 1);
    struct cb_progress *p = start(&c, 30, 10);
    (void)state;
    /* Ten characters of two columns each, and a combining one of none. */
    struct cb_step *a = cb_step_new(
        p, "\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6\xbc\xa2\xe6"
           "\xbc\xa2\xe6\xbc\xa2"
           "e\xcc\x81 end");
    cb_step_done(a);
    struct cb_step *b = cb_step_new(p, "esc\x1b[2J\ttab");
    cb_step_done(b);
    cb_progress_free(p);
    const char *text = capture_end(&c);
    show(&s, text);
    assert_null(strstr(text, "\x1b[3"));
    assert_null(strstr(text, "\x1b[2J"));
    assert_null(strchr(text, '\t'));
    assert_non_null(strstr(s.rows[2].buf, "esc\\x1b[2J tab"));
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t old = uselocale(utf8);
    size_t width = cb_progress_width(s.rows[1].buf, s.rows[1].len);
    uselocale(old);
    freelocale(utf8);
    assert_int_equal(width, 29);
    unsetenv("NO_COLOR");
    capture_done(&c);
}

static void test_nothing_drawn(void **state)
{
    struct capture c;
    struct cb_progress *p = start(&c, 80, 24);
    (void)state;
    cb_step_new(p, "never begun");
    cb_progress_note(p, false, "only a note\x1b[2J");
    cb_progress_free(p);
    assert_string_equal(capture_end(&c), "only a note\\x1b[2J\r\n");
    capture_done(&c);
    setenv("TERM", "dumb", 1);
    p = start(&c, 80, 24);
    cb_step_cached(cb_step_new(p, "x"));
    cb_progress_free(p);
    assert_string_equal(capture_end(&c), "#1 x\r\n#1 CACHED\r\n");
    capture_done(&c);
    setenv("TERM", "xterm", 1);
}

static void test_settings(void **state)
{
    struct capture c;
    (void)state;
    setenv("BUILDKIT_TTY_LOG_LINES", "2", 1);
    setenv("BUILDKIT_COLORS", "run=1,2,3:error=magenta:cancel=bogus:nonsense:warning=300,0,0", 1);
    struct cb_progress *p = start(&c, 80, 24);
    struct cb_step *s = cb_step_new(p, "s"), *e = cb_step_new(p, "e"), *x = cb_step_new(p, "x");
    for (int i = 0; i < 5; i++)
        cb_step_logf(s, "line%d", i);
    cb_step_log(s, 1, "question? ", 10);
    tick(p);
    cb_step_done(s);
    cb_step_error(e, "x");
    cb_step_canceled(x);
    cb_progress_finish(p, false);
    cb_progress_finish(p, true); /* again: nothing */
    cb_progress_free(p);
    const char *text = capture_end(&c);
    assert_null(strstr(text, "line2"));
    assert_non_null(strstr(text, "# line3"));
    assert_non_null(strstr(text, "# question? "));
    assert_non_null(strstr(text, "\x1b[38;2;1;2;3m => s"));
    assert_non_null(strstr(text, "\x1b[35m => ERROR e"));
    assert_non_null(strstr(text, "\x1b[33m => CANCELED x"));
    capture_done(&c);
    unsetenv("BUILDKIT_TTY_LOG_LINES");
    unsetenv("BUILDKIT_COLORS");
}

/* The render thread alone keeps the picture moving. */
static void test_redraws(void **state)
{
    struct capture c;
    CB_CLEANUP(screen_done) struct screen s = { 0 };
    struct cb_progress *p = start(&c, 80, 24);
    (void)state;
    struct cb_step *a = cb_step_new(p, "slow");
    cb_step_begin(a);
    usleep(600000);
    cb_step_done(a);
    cb_progress_free(p);
    show(&s, capture_end(&c));
    assert_in_range(s.up, 2, 8);
    capture_done(&c);
}

int main(void)
{
    static const char *const unset[] = { "BUILDKIT_PROGRESS", "NO_COLOR", "BUILDKIT_COLORS", "BUILDKIT_TTY_LOG_LINES",
                                         "TTY_DISPLAY_RATE" };
    for (size_t i = 0; i < CB_COUNTOF(unset); i++)
        unsetenv(unset[i]);
    setenv("TERM", "xterm", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture),
        cmocka_unit_test(test_stopping),         cmocka_unit_test(test_failure_cancels),
        cmocka_unit_test(test_small_window),
        cmocka_unit_test(test_wide_characters), cmocka_unit_test(test_nothing_drawn),
        cmocka_unit_test(test_settings),        cmocka_unit_test(test_redraws),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
