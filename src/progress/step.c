/* SPDX-License-Identifier: Apache-2.0 */
/* Events of steps. */
#include "progress/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* Locks and tells whether the event still counts. */
static bool enter(struct cb_step *s)
{
    if (!s)
        return false;
    pthread_mutex_lock(&s->p->lock);
    if (!s->p->finished)
        return true;
    pthread_mutex_unlock(&s->p->lock);
    return false;
}

static void leave(struct cb_step *s)
{
    s->p->dirty = true;
    pthread_mutex_unlock(&s->p->lock);
}

static char *clean_text(const char *text)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&sb, text, strlen(text), false);
    return cb_strbuf_detach(&sb, NULL);
}

bool cb_step_is_over(const struct cb_step *s)
{
    return s->state > CB_STEP_RUNNING;
}

int64_t cb_step_elapsed_at(const struct cb_step *s, int64_t now)
{
    if (!s->started)
        return 0;
    return (cb_step_is_over(s) ? s->ended : now) - s->started;
}

struct cb_step *cb_step_new(struct cb_progress *p, const char *name)
{
    if (!p)
        return NULL;
    struct cb_step *s = CB_NEW(struct cb_step);
    *s = (struct cb_step){
        .p = p, .name = clean_text(name), .pending = CB_STRBUF_INIT, .partial = { CB_STRBUF_INIT, CB_STRBUF_INIT }
    };
    pthread_mutex_lock(&p->lock);
    CB_GROW(p->steps, p->n_steps, p->cap_steps);
    p->steps[p->n_steps++] = s;
    pthread_mutex_unlock(&p->lock);
    return s;
}

void cb_step_free(struct cb_step *s)
{
    for (size_t i = 0; i < s->n_statuses; i++)
        free(s->statuses[i].id);
    for (size_t i = 0; i < CB_STEP_LAST_LINES; i++)
        free(s->last[i].text);
    cb_strbuf_done(&s->partial[0]);
    cb_strbuf_done(&s->partial[1]);
    cb_strbuf_done(&s->pending);
    free(s->statuses);
    free(s->name);
    free(s->error);
    free(s);
}

static void begin(struct cb_step *s, int64_t now)
{
    if (s->state != CB_STEP_NEW)
        return;
    s->index = ++s->p->last_index;
    s->state = CB_STEP_RUNNING;
    s->started = now;
    s->wall_offset = cb_time_now() - now;
    if (!s->pending_since)
        s->pending_since = now;
    if (s->p->r->step)
        s->p->r->step(s);
}

void cb_step_begin(struct cb_step *s)
{
    if (!enter(s))
        return;
    begin(s, cb_time_monotonic());
    leave(s);
}

static void end_statuses(struct cb_step *s, int64_t now)
{
    for (size_t i = 0; i < s->n_statuses; i++)
        if (!s->statuses[i].ended) {
            s->statuses[i].ended = now;
            s->statuses[i].dirty = true;
            if (s->p->r->status)
                s->p->r->status(s, &s->statuses[i]);
        }
}

/* Under the lock. */
static void end_at(struct cb_step *s, enum cb_step_state state, const char *message, int64_t now)
{
    begin(s, now);
    if (cb_step_is_over(s))
        return;
    cb_step_flush_partial(s, now);
    /* What an unfinished transfer of a failed step was at is worth seeing; that it ended would be a lie. */
    if (state == CB_STEP_DONE)
        end_statuses(s, now);
    s->state = state;
    s->ended = now;
    s->error = message ? clean_text(message) : NULL;
    if (s->p->r->step)
        s->p->r->step(s);
}

static void end(struct cb_step *s, enum cb_step_state state, const char *message)
{
    if (!enter(s))
        return;
    end_at(s, state, message, cb_time_monotonic());
    leave(s);
}

void cb_step_abandon(struct cb_step *s, int64_t now)
{
    if (s->state == CB_STEP_RUNNING)
        end_at(s, CB_STEP_CANCELED, NULL, now);
}

void cb_step_done(struct cb_step *s)
{
    end(s, CB_STEP_DONE, NULL);
}

void cb_step_cached(struct cb_step *s)
{
    end(s, CB_STEP_CACHED, NULL);
}

void cb_step_error(struct cb_step *s, const char *message)
{
    end(s, CB_STEP_ERROR, message);
}

void cb_step_canceled(struct cb_step *s)
{
    end(s, CB_STEP_CANCELED, NULL);
}

void cb_step_end(struct cb_step *s, int r, const struct cb_error *err)
{
    if (r == -CB_ECANCELED)
        cb_step_canceled(s);
    else if (r < 0)
        cb_step_error(s, cb_error_text(err));
    else
        cb_step_done(s);
}

bool cb_progress_tells_streams(const struct cb_progress *p)
{
    return p->r->chunk != NULL;
}

void cb_step_log(struct cb_step *s, int stream, const char *buf, size_t n)
{
    if (!n || !enter(s))
        return;
    int64_t now = cb_time_monotonic();
    begin(s, now);
    if (s->p->r->chunk)
        s->p->r->chunk(s, stream, buf, n);
    cb_step_split(s, stream == 2, buf, n, now);
    /* What comes late from a finished step has nobody to end its last line. */
    if (cb_step_is_over(s))
        cb_step_flush_partial(s, now);
    cb_progress_throttle(s->p);
    leave(s);
}

void cb_step_logf(struct cb_step *s, const char *fmt, ...)
{
    if (!enter(s))
        return;
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *text = cb_vasprintf(fmt, ap);
    va_end(ap);
    int64_t now = cb_time_monotonic();
    begin(s, now);
    if (s->p->r->chunk) {
        cb_autofree char *line = cb_asprintf("%s\n", text);
        s->p->r->chunk(s, 1, line, strlen(line));
    }
    cb_step_add_line(s, text, CB_MIN(strlen(text), (size_t)CB_MAX_LOG_LINE), now);
    cb_progress_throttle(s->p);
    leave(s);
}

void cb_step_warn(struct cb_step *s, const char *fmt, ...)
{
    if (!enter(s))
        return;
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *text = cb_vasprintf(fmt, ap);
    va_end(ap);
    cb_autofree char *clean = clean_text(text);
    begin(s, cb_time_monotonic());
    if (s->p->r->warn)
        s->p->r->warn(s, clean);
    leave(s);
}

static struct cb_step_status *find_status(struct cb_step *s, const char *id, int64_t now)
{
    cb_autofree char *clean = clean_text(id);
    for (size_t i = 0; i < s->n_statuses; i++)
        if (strcmp(s->statuses[i].id, clean) == 0)
            return &s->statuses[i];
    CB_GROW(s->statuses, s->n_statuses, s->cap_statuses);
    s->statuses[s->n_statuses] = (struct cb_step_status){ .id = CB_TAKE(clean), .started = now, .dirty = true };
    return &s->statuses[s->n_statuses++];
}

void cb_step_status(struct cb_step *s, const char *id, uint64_t current, uint64_t total)
{
    if (!enter(s))
        return;
    int64_t now = cb_time_monotonic();
    begin(s, now);
    struct cb_step_status *st = find_status(s, id, now);
    st->current = current;
    st->total = total;
    st->ended = 0;
    st->dirty = true;
    if (!s->pending_since)
        s->pending_since = now;
    if (s->p->r->status)
        s->p->r->status(s, st);
    leave(s);
}

void cb_step_status_done(struct cb_step *s, const char *id)
{
    if (!enter(s))
        return;
    int64_t now = cb_time_monotonic();
    begin(s, now);
    struct cb_step_status *st = find_status(s, id, now);
    if (!st->ended) {
        st->ended = now;
        st->dirty = true;
        if (st->total)
            st->current = st->total;
        if (!s->pending_since)
            s->pending_since = now;
        if (s->p->r->status)
            s->p->r->status(s, st);
    }
    leave(s);
}

int64_t cb_step_elapsed_ns(const struct cb_step *s)
{
    if (!s)
        return 0;
    pthread_mutex_lock(&s->p->lock);
    int64_t ns = cb_step_elapsed_at(s, cb_time_monotonic());
    pthread_mutex_unlock(&s->p->lock);
    return ns;
}

const char *cb_step_name(const struct cb_step *s)
{
    return s ? s->name : "";
}
