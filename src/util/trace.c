/* SPDX-License-Identifier: Apache-2.0 */
#include "util/trace.h"

#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/timeutil.h"
#include "util/utf8.h"

#define BUFFER ((size_t)64 << 10)
#define MAX_TEXT ((size_t)300) /* bytes of a name or value */
#define TRACK_BITS 20

/* One line of the picture. Its number in Chrome's terms ("tid") is its place in the list, from 1. */
struct track {
    char name[16];
    bool busy;
};

/* Locks: lock for all but the writing, which write_lock keeps in order. Who takes both takes lock first, and lets go of
 * it before it writes. */
static struct {
    pthread_mutex_t lock, write_lock;
    int fd;
    int64_t since;
    struct cb_strbuf buf;
    struct track *tracks;
    size_t n_tracks, cap_tracks;
    uintptr_t run; /* counts the recordings of this process: tracks of an earlier one are not of this */
    int failed;    /* errno of the first write that did; write_lock */
} rec = { .lock = PTHREAD_MUTEX_INITIALIZER, .write_lock = PTHREAD_MUTEX_INITIALIZER, .buf = CB_STRBUF_INIT };

atomic_bool cb_trace_is_on;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t thread_track; /* run << TRACK_BITS | track */

/* ---- writing ---- */

/* Under both locks, and lets go of lock. */
static void write_out(void)
{
    cb_cleanup_strbuf struct cb_strbuf full = rec.buf;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int fd = rec.fd;
    rec.buf = (struct cb_strbuf)CB_STRBUF_INIT;
    pthread_mutex_unlock(&rec.lock);
    if (!rec.failed && cb_fd_write_all(fd, full.buf, full.len, &e) < 0)
        rec.failed = e.sys_errno ? e.sys_errno : EIO;
}

/* Under lock, and lets go of it. */
static void let_go(void)
{
    if (rec.buf.len < BUFFER) {
        pthread_mutex_unlock(&rec.lock);
        return;
    }
    pthread_mutex_lock(&rec.write_lock);
    write_out();
    pthread_mutex_unlock(&rec.write_lock);
}

void cb_strbuf_add_json_string(struct cb_strbuf *sb, const char *p, size_t n)
{
    cb_strbuf_addch(sb, '"');
    for (size_t i = 0, len; i < n; i += len) {
        uint32_t cp = 0;
        len = cb_utf8_decode(p + i, n - i, &cp);
        if (len == 0) {
            cb_strbuf_adds(sb, "\\ufffd");
            len = 1;
        } else if (cp == '"' || cp == '\\') {
            cb_strbuf_addf(sb, "\\%c", (char)cp);
        } else if (cp < 0x20 || cp == 0x7f) {
            cb_strbuf_addf(sb, "\\u%04x", (unsigned)cp);
        } else {
            cb_strbuf_add(sb, p + i, len);
        }
    }
    cb_strbuf_addch(sb, '"');
}

/* Cut between characters, and not before it is known what is secret. */
static void add_text(struct cb_strbuf *sb, const char *text)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (strstr(text, "://")) {
        cb_strbuf_add_text_redacted(&shown, text);
        text = shown.buf;
    }
    size_t n = strnlen(text, MAX_TEXT + 1);
    if (n > MAX_TEXT) {
        n = MAX_TEXT;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    cb_strbuf_add_json_string(sb, text, n);
}

/* Microseconds, as Chrome has them. */
static void add_time(struct cb_strbuf *sb, int64_t ns)
{
    ns = CB_MAX(ns, INT64_C(0));
    cb_strbuf_addf(sb, "%lld.%03d", (long long)(ns / 1000), (int)(ns % 1000));
}

/* Under lock. */
static void add_metadata(const char *what, size_t track, const char *name)
{
    cb_strbuf_addf(&rec.buf, "{\"ph\":\"M\",\"pid\":%d,\"tid\":%zu,\"name\":\"%s\",\"args\":{\"name\":", (int)getpid(),
                   track, what);
    add_text(&rec.buf, name);
    cb_strbuf_adds(&rec.buf, "}}");
}

/* ---- tracks ---- */

/* Under lock. */
static size_t new_track(const char *name)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t same = 1;
    for (size_t i = 0; i < rec.n_tracks; i++)
        same += !strcmp(rec.tracks[i].name, name);
    CB_GROW(rec.tracks, rec.n_tracks, rec.cap_tracks);
    struct track *t = &rec.tracks[rec.n_tracks++];
    *t = (struct track){ .busy = true };
    snprintf(t->name, sizeof t->name, "%s", name);
    cb_strbuf_adds(&shown, name);
    if (strcmp(name, "main"))
        cb_strbuf_addf(&shown, " %zu", same);
    cb_strbuf_adds(&rec.buf, ",\n");
    add_metadata("thread_name", rec.n_tracks, shown.buf);
    return rec.n_tracks;
}

/* Under lock. */
static size_t take_track(const char *name)
{
    for (size_t i = 0; i < rec.n_tracks; i++)
        if (!rec.tracks[i].busy && !strcmp(rec.tracks[i].name, name)) {
            rec.tracks[i].busy = true;
            return i + 1;
        }
    return new_track(name);
}

static void on_thread_end(void *value)
{
    size_t track = (uintptr_t)value & (((uintptr_t)1 << TRACK_BITS) - 1);
    pthread_mutex_lock(&rec.lock);
    if ((uintptr_t)value >> TRACK_BITS == rec.run && track <= rec.n_tracks)
        rec.tracks[track - 1].busy = false;
    pthread_mutex_unlock(&rec.lock);
}

static void make_key(void)
{
    if (pthread_key_create(&thread_track, on_thread_end) != 0)
        abort(); /* as where there is no memory */
}

/* Under lock. */
static size_t track_of_thread(void)
{
    uintptr_t value = (uintptr_t)pthread_getspecific(thread_track);
    if (value >> TRACK_BITS == rec.run)
        return value & (((uintptr_t)1 << TRACK_BITS) - 1);
    char name[16] = "main";
    if (gettid() != getpid() && pthread_getname_np(pthread_self(), name, sizeof name) != 0)
        snprintf(name, sizeof name, "thread");
    size_t track = take_track(name);
    (void)pthread_setspecific(thread_track, (void *)(rec.run << TRACK_BITS | track));
    return track;
}

/* ---- spans ---- */

/* A span that is on no track of a thread takes its own when it begins: it is not to be another's meanwhile. */
static struct cb_span CB_PRINTF(3, 0) begin(const char *kind, bool apart, const char *fmt, va_list ap)
{
    struct cb_span s = { .kind = kind, .args = CB_STRBUF_INIT };
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_vaddf(&name, fmt, ap);
    s.name = cb_strbuf_detach(&name, NULL);
    if (apart) {
        pthread_mutex_lock(&rec.lock);
        s.track = cb_trace_on() ? (unsigned)take_track(kind) : 0;
        let_go();
    }
    s.begin = cb_time_monotonic();
    return s;
}

struct cb_span cb_span_begin(const char *kind, const char *fmt, ...)
{
    struct cb_span s = CB_SPAN_INIT;
    va_list ap;
    if (!cb_trace_on())
        return s;
    va_start(ap, fmt);
    s = begin(kind, false, fmt, ap);
    va_end(ap);
    return s;
}

struct cb_span cb_span_begin_apart(const char *kind, const char *fmt, ...)
{
    struct cb_span s = CB_SPAN_INIT;
    va_list ap;
    if (!cb_trace_on())
        return s;
    va_start(ap, fmt);
    s = begin(kind, true, fmt, ap);
    va_end(ap);
    return s;
}

void cb_span_text(struct cb_span *s, const char *key, const char *text)
{
    if (!s->begin || !text)
        return;
    cb_strbuf_addf(&s->args, ",\"%s\":", key);
    add_text(&s->args, text);
}

void cb_span_number(struct cb_span *s, const char *key, uint64_t n)
{
    if (s->begin)
        cb_strbuf_addf(&s->args, ",\"%s\":%llu", key, (unsigned long long)n);
}

/* Under lock. */
static void add_event(const struct cb_span *s, int64_t end)
{
    struct cb_strbuf *b = &rec.buf;
    size_t track = s->track ? s->track : track_of_thread();
    cb_strbuf_addf(b, ",\n{\"ph\":\"X\",\"pid\":%d,\"tid\":%zu,\"ts\":", (int)getpid(), track);
    add_time(b, s->begin - rec.since);
    cb_strbuf_adds(b, ",\"dur\":");
    add_time(b, end - s->begin);
    cb_strbuf_addf(b, ",\"cat\":\"%s\",\"name\":", s->kind);
    add_text(b, *s->name ? s->name : s->kind);
    cb_strbuf_addf(b, ",\"args\":{%s}}", s->args.len ? s->args.buf + 1 : "");
    if (s->track && s->track <= rec.n_tracks)
        rec.tracks[s->track - 1].busy = false;
}

void cb_span_end_at(struct cb_span *s, int64_t monotonic)
{
    if (!s->begin)
        return;
    pthread_mutex_lock(&rec.lock);
    if (cb_trace_on())
        add_event(s, monotonic);
    let_go();
    free(s->name);
    cb_strbuf_done(&s->args);
    *s = (struct cb_span)CB_SPAN_INIT;
}

void cb_span_end(struct cb_span *s)
{
    if (s->begin)
        cb_span_end_at(s, cb_time_monotonic());
}

/* ---- the recording ---- */

void cb_trace_begin(int fd, int64_t since)
{
    (void)pthread_once(&once, make_key);
    pthread_mutex_lock(&rec.lock);
    rec.fd = fd;
    rec.since = since;
    rec.run++;
    rec.failed = 0;
    cb_strbuf_adds(&rec.buf, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    add_metadata("process_name", 0, "cbpush");
    atomic_store(&cb_trace_is_on, true);
    pthread_mutex_unlock(&rec.lock);
}

int cb_trace_end(struct cb_error *err)
{
    pthread_mutex_lock(&rec.lock);
    atomic_store(&cb_trace_is_on, false);
    cb_strbuf_adds(&rec.buf, "\n]}\n");
    free(CB_TAKE(rec.tracks));
    rec.n_tracks = rec.cap_tracks = 0;
    rec.run++;
    pthread_mutex_lock(&rec.write_lock);
    write_out();
    int failed = rec.failed;
    pthread_mutex_unlock(&rec.write_lock);
    return failed ? cb_error_sys(err, CB_ELOCAL, failed, "write the timeline") : 0;
}
