/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes of a process made into lines. */
#include "progress/private.h"
#include "util/alloc.h"

void cb_progress_add_seconds(struct cb_strbuf *sb, int64_t ns)
{
    double seconds = (double)ns / 1e9;
    cb_strbuf_addf(sb, "%.*f", seconds < 10 ? 3 : seconds < 100 ? 2 : 1, seconds);
}

/* Colours are part of the text of many tools and harmless to leave out; all else is for the sanitizer to show. */
static size_t color_length(const char *p, size_t n)
{
    size_t i = 2;
    if (n < 3 || p[0] != '\x1b' || p[1] != '[')
        return 0;
    while (i < n && i < 32 && ((p[i] >= '0' && p[i] <= '9') || p[i] == ';'))
        i++;
    return i < n && (p[i] == 'm' || p[i] == 'K') ? i + 1 : 0;
}

void cb_progress_add_clean(struct cb_strbuf *sb, const char *p, size_t n)
{
    size_t start = 0;
    for (size_t i = 0; i < n;) {
        size_t color = color_length(p + i, n - i);
        if (!color) {
            i++;
            continue;
        }
        cb_strbuf_add_sanitized(sb, p + start, i - start, false);
        i += color;
        start = i;
    }
    cb_strbuf_add_sanitized(sb, p + start, n - start, false);
}

void cb_step_add_line(struct cb_step *s, const char *text, size_t n, int64_t now)
{
    struct cb_strbuf clean = CB_STRBUF_INIT;
    struct cb_step_line *line = &s->last[s->n_lines++ % CB_STEP_LAST_LINES];
    cb_progress_add_clean(&clean, text, n);
    free(line->text);
    line->text = cb_strbuf_detach(&clean, NULL);
    line->at = s->started && now > s->started ? now - s->started : 0;
    s->p->dirty = true;
    if (s->p->r->line)
        s->p->r->line(s, line);
}

static void end_line(struct cb_step *s, int stream, int64_t now)
{
    struct cb_strbuf *part = &s->partial[stream];
    cb_step_add_line(s, part->buf, part->len, now);
    cb_strbuf_reset(part);
}

/* Where to cut a line that is too long: not within a character. */
static size_t cut_point(const struct cb_strbuf *part)
{
    size_t n = part->len;
    for (size_t back = 1; back <= 3 && back < n; back++) {
        unsigned char c = (unsigned char)part->buf[n - back];
        if (c < 0x80)
            return n;
        if (c >= 0xc0) {
            size_t need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
            return need > back ? n - back : n;
        }
    }
    return n;
}

static void add_text(struct cb_step *s, int stream, const char *p, size_t n, int64_t now)
{
    struct cb_strbuf *part = &s->partial[stream];
    while (n) {
        size_t room = CB_MAX_LOG_LINE - part->len, take = CB_MIN(n, room);
        cb_strbuf_add(part, p, take);
        p += take;
        n -= take;
        if (part->len < CB_MAX_LOG_LINE)
            continue;
        char rest[4];
        size_t cut = cut_point(part), left = part->len - cut;
        memcpy(rest, part->buf + cut, left);
        cb_strbuf_setlen(part, cut);
        end_line(s, stream, now);
        cb_strbuf_add(part, rest, left);
    }
}

void cb_step_split(struct cb_step *s, int stream, const char *buf, size_t n, int64_t now)
{
    size_t start = 0;
    for (size_t i = 0; i < n; i++) {
        bool after_cr = s->after_cr[stream];
        s->after_cr[stream] = buf[i] == '\r';
        if (buf[i] != '\n' && buf[i] != '\r')
            continue;
        add_text(s, stream, buf + start, i - start, now);
        start = i + 1;
        /* A bare return ends a line too: shown is everything, and nothing can be painted over. "\r\n" is one end. */
        bool empty = !s->partial[stream].len;
        if (!(empty && (buf[i] == '\r' || after_cr)))
            end_line(s, stream, now);
    }
    add_text(s, stream, buf + start, n - start, now);
}

void cb_step_flush_partial(struct cb_step *s, int64_t now)
{
    for (int i = 0; i < 2; i++)
        if (s->partial[i].len)
            end_line(s, i, now);
}

char *cb_step_last_lines(struct cb_step *s)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    if (!s)
        return cb_strdup("");
    pthread_mutex_lock(&s->p->lock);
    size_t n = CB_MIN(s->n_lines, (size_t)CB_STEP_LAST_LINES);
    for (size_t i = s->n_lines - n; i < s->n_lines; i++) {
        const struct cb_step_line *line = &s->last[i % CB_STEP_LAST_LINES];
        cb_progress_add_seconds(&sb, line->at);
        cb_strbuf_addf(&sb, " %s\n", line->text);
    }
    pthread_mutex_unlock(&s->p->lock);
    return cb_strbuf_detach(&sb, NULL);
}
