/* SPDX-License-Identifier: Apache-2.0 */
/* One line after the other, for logs: the lines of one step stay together for a while. */
#include "progress/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define SEC INT64_C(1000000000)
#define HOLD (5 * SEC)      /* a step that prints keeps the floor so long */
#define MAX_WAIT (10 * SEC) /* but another waits no longer than this */
#define STATUS_EVERY (5 * SEC)
#define NAME_MAX_CUT 72

static void add(struct cb_step *s, const char *text)
{
    size_t before = s->pending.len;
    cb_strbuf_addf(&s->pending, "#%u %s\n", s->index, text);
    cb_progress_added(s->p, s->pending.len - before);
}

static void on_line(struct cb_step *s, const struct cb_step_line *line)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_progress_add_seconds(&sb, line->at);
    cb_strbuf_addf(&sb, " %s", line->text);
    add(s, sb.buf);
    if (!s->pending_since)
        s->pending_since = s->started + line->at;
}

static void on_warn(struct cb_step *s, const char *text)
{
    cb_autofree char *line = cb_asprintf("WARN: %s", text);
    add(s, line);
    if (!s->pending_since)
        s->pending_since = cb_time_monotonic();
}

static void on_note(struct cb_progress *p, const char *text, int level)
{
    (void)level;
    size_t before = p->out.len;
    cb_strbuf_addf(&p->out, "%s\n", text);
    cb_progress_added(p, p->out.len - before);
}

/* Worth a line again? */
static bool is_due(const struct cb_step_status *st, int64_t now)
{
    uint64_t moved = st->current > st->shown_current ? st->current - st->shown_current : 0;
    if (!st->dirty)
        return false;
    if (!st->shown || st->ended)
        return true;
    return now - st->shown_at >= STATUS_EVERY || (st->total && (double)moved >= 0.05 * (double)st->total);
}

static void print_status(struct cb_step *s, struct cb_step_status *st, int64_t now)
{
    struct cb_strbuf *out = &s->p->out;
    double seconds = (double)((st->ended ? st->ended : now) - st->started) / 1e9;
    cb_strbuf_addf(out, "#%u %s", s->index, st->id);
    if (st->current || st->total) {
        cb_strbuf_addch(out, ' ');
        cb_strbuf_add_size(out, st->current);
    }
    if (st->total) {
        cb_strbuf_adds(out, " / ");
        cb_strbuf_add_size(out, st->total);
    }
    if (seconds > 0.01)
        cb_strbuf_addf(out, " %.1fs", seconds);
    cb_strbuf_adds(out, st->ended ? " done\n" : "\n");
    st->dirty = false;
    st->shown = true;
    st->shown_current = st->current;
    st->shown_at = now;
}

static bool has_news(const struct cb_step *s, int64_t now)
{
    if (s->pending.len || (cb_step_is_over(s) && !s->end_shown))
        return true;
    for (size_t i = 0; i < s->n_statuses; i++)
        if (is_due(&s->statuses[i], now))
            return true;
    return false;
}

static void print_name(struct cb_step *s)
{
    struct cb_strbuf *out = &s->p->out;
    size_t width, n = strlen(s->name);
    size_t cut = s->p->cut_names ? cb_progress_fit(s->name, NAME_MAX_CUT, &width) : n;
    cb_strbuf_addf(out, "#%u %.*s%s\n", s->index, (int)cut, s->name, cut < n ? "..." : "");
}

static void print_end(struct cb_step *s)
{
    struct cb_strbuf *out = &s->p->out;
    switch (s->state) {
    case CB_STEP_DONE:
        cb_strbuf_addf(out, "#%u DONE %.1fs\n", s->index, (double)cb_step_elapsed_at(s, s->ended) / 1e9);
        break;
    case CB_STEP_CACHED:
        cb_strbuf_addf(out, "#%u CACHED\n", s->index);
        break;
    case CB_STEP_CANCELED:
        cb_strbuf_addf(out, "#%u CANCELED\n", s->index);
        break;
    case CB_STEP_ERROR:
        cb_strbuf_addf(out, "#%u ERROR: %s\n", s->index, s->error ? s->error : "failed");
        break;
    case CB_STEP_NEW:
    case CB_STEP_RUNNING:
        return;
    }
    s->end_shown = true;
}

static void switch_to(struct cb_step *s, int64_t now)
{
    struct cb_progress *p = s->p;
    if (p->current == s)
        return;
    if (p->current)
        cb_strbuf_addf(&p->out, "#%u ...\n", p->current->index);
    if (p->printed_any)
        cb_strbuf_addch(&p->out, '\n');
    p->printed_any = true;
    print_name(s);
    s->introduced = true;
    p->current = s;
    p->current_since = now;
}

static void print_step(struct cb_step *s, int64_t now)
{
    struct cb_progress *p = s->p;
    size_t before = p->out.len;
    switch_to(s, now);
    p->pending -= s->pending.len;
    cb_strbuf_add(&p->out, s->pending.buf, s->pending.len);
    cb_strbuf_done(&s->pending);
    for (size_t i = 0; i < s->n_statuses; i++)
        if (is_due(&s->statuses[i], now))
            print_status(s, &s->statuses[i], now);
    s->pending_since = 0;
    if (cb_step_is_over(s)) {
        if (!s->end_shown)
            print_end(s);
        p->current = NULL;
    }
    cb_progress_added(p, p->out.len - before);
}

/* The finished ones, in the order in which they ended. */
static void print_finished(struct cb_progress *p, int64_t now)
{
    for (;;) {
        struct cb_step *next = NULL;
        for (size_t i = 0; i < p->n_steps; i++) {
            struct cb_step *s = p->steps[i];
            if (cb_step_is_over(s) && has_news(s, now) && (s == p->current || !next || s->ended < next->ended))
                next = s;
            if (next && next == p->current)
                break;
        }
        if (!next)
            return;
        print_step(next, now);
    }
}

/* Who has waited longest to say something, other than the current one. */
static struct cb_step *longest_waiting(struct cb_progress *p, int64_t now)
{
    struct cb_step *best = NULL;
    for (size_t i = 0; i < p->n_steps; i++) {
        struct cb_step *s = p->steps[i];
        if (s == p->current || s->state != CB_STEP_RUNNING || (s->introduced && !has_news(s, now)))
            continue;
        if (!best || s->pending_since < best->pending_since)
            best = s;
    }
    return best;
}

static void draw(struct cb_progress *p, int64_t now, bool final)
{
    print_finished(p, now);
    struct cb_step *current = p->current, *other = longest_waiting(p, now);
    bool talks = current && has_news(current, now);
    if (talks)
        print_step(current, now);
    if (final || p->pending > CB_PROGRESS_PENDING_MAX / 2) {
        for (; other; other = longest_waiting(p, now))
            print_step(other, now);
        return;
    }
    if (!other)
        return;
    int64_t waited = now - other->pending_since, held = now - p->current_since;
    if (!current || waited > MAX_WAIT || (!talks && held > HOLD))
        print_step(other, now);
}

const struct cb_progress_renderer cb_progress_plain = {
    .interval_ms = 150,
    .draw = draw,
    .line = on_line,
    .warn = on_warn,
    .note = on_note,
};

const struct cb_progress_renderer cb_progress_quiet = { .interval_ms = 1000, .note = on_note };
