/* SPDX-License-Identifier: Apache-2.0 */
/* A live picture at the foot of a terminal: a header, a line a step, below it its transfers and last log lines. It is
 * made as a list of lines with a rank; when they are too many for the window, those of the highest rank go first. */
#include <signal.h>
#include <sys/ioctl.h>

#include "progress/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define SHOW_CURSOR "\x1b[?25h"

enum rank { RANK_HEADER, RANK_RUNNING, RANK_MOVING, RANK_LOG, RANK_MOVED, RANK_OVER, RANK_DETAIL, RANKS };

struct line {
    enum rank rank;
    struct cb_strbuf text; /* with colours */
    bool hidden;
};

struct picture {
    struct cb_progress *p;
    struct line *lines;
    size_t n, cap;
    size_t columns, rows;
    int64_t now;
    bool final;
};

static void measure(struct picture *pic)
{
    struct winsize ws = { 0 };
    bool known = ioctl(pic->p->fd, TIOCGWINSZ, &ws) == 0 && ws.ws_col && ws.ws_row;
    /* The last column stays free: a terminal that wraps there would spoil the count of lines. */
    pic->columns = known ? (size_t)ws.ws_col - 1 : 79;
    pic->rows = known ? ws.ws_row : 24;
}

/* One line: left part cut to fit, right part at the right edge. Tabs become blanks. */
static void add_line(struct picture *pic, enum rank rank, const char *color, const char *left, const char *right)
{
    CB_GROW(pic->lines, pic->n, pic->cap);
    struct line *l = &pic->lines[pic->n++];
    *l = (struct line){ .rank = rank, .text = CB_STRBUF_INIT };
    size_t right_width = cb_progress_width(right, strlen(right)), width = 0;
    if (right_width + 12 > pic->columns) /* too narrow for both */
        right_width = 0;
    size_t room = pic->columns - right_width - (right_width ? 1 : 0);
    size_t n = cb_progress_fit(left, room, &width);
    cb_strbuf_adds(&l->text, color);
    for (size_t i = 0; i < n; i++)
        cb_strbuf_addch(&l->text, left[i] == '\t' ? ' ' : left[i]);
    if (right_width)
        cb_strbuf_addf(&l->text, "%*s%s", (int)(pic->columns - width - right_width), "", right);
    if (*color)
        cb_strbuf_adds(&l->text, pic->p->colors.reset);
}

static void add_timed(struct picture *pic, enum rank rank, const char *color, const char *left, int64_t ns)
{
    char right[32];
    snprintf(right, sizeof right, "%.1fs", (double)ns / 1e9);
    add_line(pic, rank, color, left, right);
}

static void add_header(struct picture *pic)
{
    struct cb_progress *p = pic->p;
    size_t done = 0;
    for (size_t i = 0; i < p->n_steps; i++)
        done += cb_step_is_over(p->steps[i]);
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_addf(&sb, "[+] %s %.1fs (%zu/%zu)%s", p->title, (double)(pic->now - p->started) / 1e9, done, p->n_steps,
                   pic->final ? " FINISHED" : "");
    /* A step that does not end by itself gets some seconds. */
    bool stopping = !pic->final && p->cancel && cb_canceled(p->cancel);
    if (stopping)
        cb_strbuf_adds(&sb, cb_cancel_signal(p->cancel) == SIGINT ? " stopping: Ctrl-C again ends it at once"
                                                                  : " stopping");
    const char *color = stopping ? p->colors.cancel : !pic->final ? "" : p->failed ? p->colors.error : p->colors.run;
    add_line(pic, RANK_HEADER, color, sb.buf, "");
}

#define BAR_CELLS 20

static void add_bar(struct cb_strbuf *sb, uint64_t current, uint64_t total)
{
    double part = current < total ? (double)current / (double)total : 1;
    int cells = (int)(part * BAR_CELLS);
    char bar[BAR_CELLS + 1];
    for (int i = 0; i < BAR_CELLS; i++)
        bar[i] = i < cells ? '=' : i == cells ? '>' : ' ';
    bar[BAR_CELLS] = '\0';
    cb_strbuf_addf(sb, " [%s]", bar);
}

static void add_amount(struct cb_strbuf *sb, const struct cb_step_status *st)
{
    if (st->current || st->total) {
        cb_strbuf_addch(sb, ' ');
        cb_strbuf_add_size(sb, st->current);
    }
    if (st->total) {
        cb_strbuf_adds(sb, " / ");
        cb_strbuf_add_size(sb, st->total);
    }
}

/* The amount is worth more than the end of a long name. */
static void add_status(struct picture *pic, const struct cb_step *s, const struct cb_step_status *st)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT, amount = CB_STRBUF_INIT;
    bool moves = !st->ended && !cb_step_is_over(s);
    add_amount(&amount, st);
    size_t prefix = 7, time = 8, bar = BAR_CELLS + 3, width = 0;
    size_t rest = prefix + time + amount.len;
    bool with_bar = moves && st->total && pic->columns >= rest + bar + 20;
    size_t room = pic->columns > rest + (with_bar ? bar : 0) ? pic->columns - rest - (with_bar ? bar : 0) : 12;
    size_t n = cb_progress_fit(st->id, room, &width);
    cb_strbuf_addf(&sb, " => => %.*s", (int)n, st->id);
    if (with_bar)
        add_bar(&sb, st->current, st->total);
    cb_strbuf_add(&sb, amount.buf, amount.len);
    enum rank rank = cb_step_is_over(s) ? RANK_DETAIL : moves ? RANK_MOVING : RANK_MOVED;
    int64_t until = st->ended ? st->ended : cb_step_is_over(s) ? s->ended : pic->now;
    add_timed(pic, rank, moves ? "" : pic->p->colors.run, sb.buf, until - st->started);
}

static void add_log_text(struct picture *pic, const char *text)
{
    cb_autofree char *line = cb_asprintf(" => => # %s", text);
    add_line(pic, RANK_LOG, pic->p->colors.faint, line, "");
}

static void add_log_tail(struct picture *pic, const struct cb_step *s)
{
    size_t max = CB_MIN((size_t)pic->p->tail_lines, (size_t)CB_STEP_LAST_LINES);
    size_t n = CB_MIN(s->n_lines, max);
    for (size_t i = s->n_lines - n; i < s->n_lines; i++)
        add_log_text(pic, s->last[i % CB_STEP_LAST_LINES].text);
    /* A line without an end may be a question, or dots. */
    for (int i = 0; i < 2 && max; i++)
        if (s->partial[i].len) {
            cb_cleanup_strbuf struct cb_strbuf clean = CB_STRBUF_INIT;
            cb_progress_add_clean(&clean, s->partial[i].buf, CB_MIN(s->partial[i].len, (size_t)1024));
            add_log_text(pic, clean.buf);
        }
}

static const char *mark(const struct cb_step *s)
{
    switch (s->state) {
    case CB_STEP_CACHED:
        return "CACHED ";
    case CB_STEP_ERROR:
        return "ERROR ";
    case CB_STEP_CANCELED:
        return "CANCELED ";
    case CB_STEP_NEW:
    case CB_STEP_RUNNING:
    case CB_STEP_DONE:
        break;
    }
    return "";
}

static const char *color_of(const struct cb_progress_colors *c, const struct cb_step *s)
{
    if (s->state == CB_STEP_ERROR)
        return c->error;
    if (s->state == CB_STEP_CANCELED)
        return c->cancel;
    return cb_step_is_over(s) ? c->run : "";
}

static void add_step(struct picture *pic, const struct cb_step *s)
{
    cb_autofree char *left = cb_asprintf(" => %s%s", mark(s), s->name);
    bool over = cb_step_is_over(s);
    add_timed(pic, over ? RANK_OVER : RANK_RUNNING, color_of(&pic->p->colors, s), left,
              cb_step_elapsed_at(s, pic->now));
    for (size_t i = 0; i < s->n_statuses; i++)
        add_status(pic, s, &s->statuses[i]);
    if (!over && !pic->final)
        add_log_tail(pic, s);
}

static int by_index(const void *a, const void *b)
{
    const struct cb_step *x = *(struct cb_step *const *)a, *y = *(struct cb_step *const *)b;
    return x->index < y->index ? -1 : x->index > y->index;
}

static void add_steps(struct picture *pic)
{
    struct cb_progress *p = pic->p;
    size_t n = 0;
    cb_autofree struct cb_step **order = cb_calloc(p->n_steps + 1, sizeof *order);
    for (size_t i = 0; i < p->n_steps; i++)
        if (p->steps[i]->index)
            order[n++] = p->steps[i];
    qsort(order, n, sizeof *order, by_index);
    for (size_t i = 0; i < n; i++)
        add_step(pic, order[i]);
}

/* How many lines are shown. The last picture is shown whole: it scrolls. */
static size_t hide_to_fit(struct picture *pic)
{
    size_t shown = pic->n, most = pic->rows > 1 ? pic->rows - 1 : 1;
    if (pic->final)
        return shown;
    for (int rank = RANKS - 1; rank > RANK_HEADER; rank--)
        for (size_t i = 0; i < pic->n && shown > most; i++)
            if ((int)pic->lines[i].rank == rank) {
                pic->lines[i].hidden = true;
                shown--;
            }
    return shown;
}

static void erase(struct cb_progress *p)
{
    if (p->drawn_lines)
        cb_strbuf_addf(&p->out, "\x1b[%zuA", p->drawn_lines);
    cb_strbuf_adds(&p->out, "\r");
}

/* Notes are longer than a line at times and wrap as they like: the live area is gone while they are written. */
static void put_notes(struct cb_progress *p)
{
    if (!p->notes.len)
        return;
    cb_strbuf_adds(&p->out, "\x1b[J");
    cb_strbuf_add(&p->out, p->notes.buf, p->notes.len);
    cb_strbuf_done(&p->notes);
}

static void put(struct picture *pic)
{
    struct cb_progress *p = pic->p;
    size_t shown = hide_to_fit(pic);
    if (!p->cursor_hidden && !pic->final)
        cb_strbuf_adds(&p->out, "\x1b[?25l");
    erase(p);
    put_notes(p);
    for (size_t i = 0; i < pic->n; i++)
        if (!pic->lines[i].hidden)
            cb_strbuf_addf(&p->out, "%s\x1b[K\n", pic->lines[i].text.buf);
    cb_strbuf_adds(&p->out, "\x1b[J");
    if (p->cursor_hidden && pic->final)
        cb_strbuf_adds(&p->out, SHOW_CURSOR);
    p->cursor_hidden = !pic->final;
    cb_cancel_last_words(p->fd, p->cursor_hidden ? SHOW_CURSOR : NULL);
    p->drawn_lines = shown;
}

static bool anything_runs(const struct cb_progress *p)
{
    for (size_t i = 0; i < p->n_steps; i++)
        if (p->steps[i]->state == CB_STEP_RUNNING)
            return true;
    return false;
}

static void draw(struct cb_progress *p, int64_t now, bool final)
{
    struct picture pic = { .p = p, .now = now, .final = final };
    if (!p->last_index) { /* nothing but notes: no live area */
        cb_strbuf_add(&p->out, p->notes.buf, p->notes.len);
        cb_strbuf_done(&p->notes);
        return;
    }
    if (!final && !p->dirty && !anything_runs(p))
        return;
    p->dirty = false;
    measure(&pic);
    add_header(&pic);
    add_steps(&pic);
    put(&pic);
    for (size_t i = 0; i < pic.n; i++)
        cb_strbuf_done(&pic.lines[i].text);
    free(pic.lines);
}

static void on_warn(struct cb_step *s, const char *text)
{
    cb_strbuf_addf(&s->p->notes, "%sWARN: %s%s\n", s->p->colors.warning, text, s->p->colors.reset);
}

static void on_note(struct cb_progress *p, const char *text, int level)
{
    (void)level;
    cb_strbuf_addf(&p->notes, "%s\n", text);
}

const struct cb_progress_renderer cb_progress_tty = {
    .interval_ms = 100, .draw = draw, .warn = on_warn, .note = on_note
};
