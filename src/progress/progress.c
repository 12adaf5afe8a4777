/* SPDX-License-Identifier: Apache-2.0 */
/* The whole: its thread, its life, and what belongs to no step. */
#include <errno.h>
#include <locale.h>
#include <poll.h>

#include "progress/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/thread.h"
#include "util/timeutil.h"

#define KICK_AT (64u << 10)
#define MODES "auto, tty, plain, quiet, rawjson"

int cb_progress_mode_parse(const char *text, enum cb_progress_mode *out, struct cb_error *err)
{
    static const struct {
        const char *name;
        enum cb_progress_mode mode;
    } modes[] = {
        { "auto", CB_PROGRESS_AUTO },   { "tty", CB_PROGRESS_TTY },    { "plain", CB_PROGRESS_PLAIN },
        { "quiet", CB_PROGRESS_QUIET }, { "none", CB_PROGRESS_QUIET }, { "rawjson", CB_PROGRESS_RAWJSON },
    };
    for (size_t i = 0; i < CB_COUNTOF(modes); i++)
        if (cb_streq(text, modes[i].name)) {
            *out = modes[i].mode;
            return 0;
        }
    cb_cleanup_strbuf struct cb_strbuf shown = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&shown, text, strnlen(text, 100), false);
    return cb_error_set(err, CB_EUSAGE, "unknown progress mode \"%s\": " MODES, shown.buf);
}

static const char *environment(const char *name)
{
    return getenv(name);
}

static bool is_terminal(int fd)
{
    return isatty(fd) && !cb_streq(environment("TERM"), "dumb");
}

const char *cb_progress_wish(const char *text)
{
    const char *wish = environment("BUILDKIT_PROGRESS");
    enum cb_progress_mode mode;
    if (text && !cb_streq(text, "auto"))
        return text;
    return wish && cb_progress_mode_parse(wish, &mode, NULL) == 0 ? wish : "auto";
}

int cb_progress_mode_take(const char *text, enum cb_progress_mode *out, struct cb_error *err)
{
    const char *wish = environment("BUILDKIT_PROGRESS");
    int r = text ? cb_progress_mode_parse(text, out, err) : 0;
    if (r < 0 || (text && *out != CB_PROGRESS_AUTO) || !wish || !*wish || cb_progress_mode_parse(wish, out, NULL) == 0)
        return r;
    cb_cleanup_strbuf struct cb_strbuf shown = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&shown, wish, strnlen(wish, 100), false);
    return cb_error_set(err, CB_EUSAGE, "BUILDKIT_PROGRESS=%s: " MODES, shown.buf);
}

static const struct cb_progress_renderer *choose(enum cb_progress_mode mode, int fd)
{
    if (mode == CB_PROGRESS_AUTO)
        (void)!cb_progress_mode_parse(cb_progress_wish(NULL), &mode, NULL); /* which is a mode */
    switch (mode) {
    case CB_PROGRESS_PLAIN:
        return &cb_progress_plain;
    case CB_PROGRESS_QUIET:
        return &cb_progress_quiet;
    case CB_PROGRESS_RAWJSON:
        return &cb_progress_rawjson;
    case CB_PROGRESS_AUTO:
    case CB_PROGRESS_TTY:
        break;
    }
    return is_terminal(fd) ? &cb_progress_tty : &cb_progress_plain;
}

static unsigned number_from(const char *name, unsigned fallback, unsigned max)
{
    uint64_t v = 0;
    const char *text = environment(name);
    return text && cb_parse_u64(text, max, &v) ? (unsigned)v : fallback;
}

void cb_progress_added(struct cb_progress *p, size_t bytes)
{
    p->pending += bytes;
    if (p->pending > KICK_AT && !p->kick) {
        p->kick = true;
        pthread_cond_signal(&p->wake);
    }
}

void cb_progress_throttle(struct cb_progress *p)
{
    while (p->pending > CB_PROGRESS_PENDING_MAX && p->has_thread && !p->broken && !p->finished)
        pthread_cond_wait(&p->drained, &p->lock);
}

/* What write(2) says if nobody reads any more, else 0. */
static int write_out(int fd, const char *s, size_t n)
{
    while (n) {
        ssize_t w = write(fd, s, n);
        if (w > 0) {
            s += w;
            n -= (size_t)w;
        } else if (w < 0 && errno == EAGAIN) {
            /* Somebody who shares the terminal made it non-blocking. */
            struct pollfd pfd = { .fd = fd, .events = POLLOUT };
            poll(&pfd, 1, 1000);
        } else if (w == 0 || errno != EINTR) {
            return w == 0 ? EIO : errno;
        }
    }
    return 0;
}

/* Draws and writes once; entered and left with the lock held. */
static void turn(struct cb_progress *p, bool final)
{
    if (p->r->draw)
        p->r->draw(p, cb_time_monotonic(), final);
    struct cb_strbuf out = p->out;
    p->out = (struct cb_strbuf)CB_STRBUF_INIT;
    p->kick = false;
    int broken = p->broken;
    pthread_mutex_unlock(&p->lock);
    if (!broken)
        broken = write_out(p->fd, out.buf, out.len);
    pthread_mutex_lock(&p->lock);
    p->broken = broken;
    p->pending -= CB_MIN(p->pending, out.len);
    pthread_cond_broadcast(&p->drained);
    cb_strbuf_done(&out);
}

static void wait_turn(struct cb_progress *p)
{
    int64_t when = cb_time_monotonic() + p->interval_ms * INT64_C(1000000);
    struct timespec ts = { .tv_sec = when / 1000000000, .tv_nsec = when % 1000000000 };
    while (!p->kick && !p->finished)
        if (pthread_cond_timedwait(&p->wake, &p->lock, &ts) == ETIMEDOUT)
            return;
}

static void *render_main(void *arg)
{
    struct cb_progress *p = arg;
    /* For wcwidth, whatever the process's locale is: the text that we write is UTF-8. */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    if (utf8)
        uselocale(utf8);
    pthread_mutex_lock(&p->lock);
    while (!p->finished) {
        wait_turn(p);
        if (!p->finished)
            turn(p, false);
    }
    turn(p, true);
    pthread_mutex_unlock(&p->lock);
    if (utf8) {
        uselocale(LC_GLOBAL_LOCALE);
        freelocale(utf8);
    }
    return NULL;
}

static void init_sync(struct cb_progress *p)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&p->wake, &attr);
    pthread_cond_init(&p->drained, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&p->lock, NULL);
}

struct cb_progress *cb_progress_new(const struct cb_progress_options *o)
{
    struct cb_progress *p = CB_NEW(struct cb_progress);
    init_sync(p);
    p->fd = o->fd;
    p->title = cb_strdup(o->title ? o->title : "Working");
    p->cancel = o->cancel;
    p->started = cb_time_monotonic();
    p->out = p->notes = (struct cb_strbuf)CB_STRBUF_INIT;
    p->r = choose(o->mode, o->fd);
    p->interval_ms = p->r->interval_ms;
    if (p->r == &cb_progress_tty)
        p->interval_ms = (int)CB_MAX(number_from("TTY_DISPLAY_RATE", (unsigned)p->interval_ms, 10000), 10u);
    p->tail_lines = number_from("BUILDKIT_TTY_LOG_LINES", 6, 100);
    p->cut_names = cb_streq(environment("PROGRESS_NO_TRUNC"), "0");
    cb_progress_colors_read(&p->colors, environment);
    /* Without a thread (no resources) all is kept and written at the end. */
    p->has_thread = cb_thread_start(&p->thread, "progress", render_main, p, NULL) == 0;
    return p;
}

void cb_progress_finish(struct cb_progress *p, bool failed)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    bool first = !p->finished;
    /* What waited for the rest of the work, such as a push, is over with it. */
    for (size_t i = 0; first && failed && i < p->n_steps; i++)
        cb_step_abandon(p->steps[i], cb_time_monotonic());
    p->finished = true;
    p->failed = p->failed || failed;
    pthread_cond_broadcast(&p->wake);
    pthread_cond_broadcast(&p->drained);
    if (first && !p->has_thread)
        turn(p, true);
    pthread_mutex_unlock(&p->lock);
    if (first && p->has_thread)
        pthread_join(p->thread, NULL);
}

int cb_progress_write_error(const struct cb_progress *p)
{
    return p && p->finished ? p->broken : 0;
}

void cb_progress_free(struct cb_progress *p)
{
    if (!p)
        return;
    cb_progress_finish(p, false);
    for (size_t i = 0; i < p->n_steps; i++)
        cb_step_free(p->steps[i]);
    free(p->steps);
    cb_strbuf_done(&p->out);
    cb_strbuf_done(&p->notes);
    free(p->title);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->drained);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

__attribute__((format(printf, 2, 0))) static void note(struct cb_progress *p, const char *fmt, va_list ap, int level)
{
    cb_cleanup_strbuf struct cb_strbuf clean = CB_STRBUF_INIT;
    cb_autofree char *text = cb_vasprintf(fmt, ap);
    size_t n = strlen(text);
    while (n && text[n - 1] == '\n')
        n--;
    cb_strbuf_add_sanitized(&clean, text, n, false); /* what a server says could else begin a line as if it was ours */
    if (p->r->note)
        p->r->note(p, clean.buf, level);
    p->dirty = true;
    p->kick = true;
    pthread_cond_signal(&p->wake);
}

void cb_progress_note(struct cb_progress *p, bool important, const char *fmt, ...)
{
    if (!p)
        return;
    va_list ap;
    va_start(ap, fmt);
    pthread_mutex_lock(&p->lock);
    if (!p->finished && (important || p->r != &cb_progress_quiet))
        note(p, fmt, ap, 1);
    pthread_mutex_unlock(&p->lock);
    va_end(ap);
}

void cb_progress_set_debug(struct cb_progress *p, bool on)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->debug = on;
    pthread_mutex_unlock(&p->lock);
}

void cb_progress_debug(struct cb_progress *p, const char *fmt, ...)
{
    if (!p)
        return;
    va_list ap;
    va_start(ap, fmt);
    pthread_mutex_lock(&p->lock);
    if (!p->finished && p->debug)
        note(p, fmt, ap, 2);
    pthread_mutex_unlock(&p->lock);
    va_end(ap);
}
