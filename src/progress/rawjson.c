/* SPDX-License-Identifier: Apache-2.0 */
/* BuildKit's SolveStatus, one JSON object a line: for programs. Each event is a line of its own. */
#include <jansson.h>

#include "progress/private.h"
#include "util/encode.h"
#include "util/timeutil.h"

#define DIGEST_MAX (7 + 64 + 1)

/* A vertex is known by a digest there, for which any unique text of that form does. */
static void vertex_id(char out[static DIGEST_MAX], unsigned index)
{
    snprintf(out, DIGEST_MAX, "sha256:%064x", index);
}

static json_t *time_value(const struct cb_step *s, int64_t monotonic)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_time_format(&sb, monotonic + s->wall_offset);
    return json_string(sb.buf);
}

static json_t *base64_value(const char *p, size_t n)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_base64_encode(&sb, p, n);
    return json_string(sb.buf);
}

static int append(const char *p, size_t n, void *arg)
{
    cb_strbuf_add(arg, p, n);
    return 0;
}

/* {"kind":[object]} and a line end; takes the object. */
static void emit(struct cb_progress *p, const char *kind, json_t *object)
{
    size_t before = p->out.len;
    json_t *line = json_pack("{s:[o]}", kind, object);
    if (line && json_dump_callback(line, append, &p->out, JSON_COMPACT) == 0)
        cb_strbuf_addch(&p->out, '\n');
    else
        cb_strbuf_setlen(&p->out, before);
    json_decref(line);
    cb_progress_added(p, p->out.len - before);
}

static void on_step(struct cb_step *s)
{
    char id[DIGEST_MAX];
    vertex_id(id, s->index);
    json_t *v = json_pack("{s:s,s:s,s:o}", "digest", id, "name", s->name, "started", time_value(s, s->started));
    if (cb_step_is_over(s))
        json_object_set_new(v, "completed", time_value(s, s->ended));
    if (s->state == CB_STEP_CACHED)
        json_object_set_new(v, "cached", json_true());
    if (s->state == CB_STEP_ERROR)
        json_object_set_new(v, "error", json_string(s->error ? s->error : "failed"));
    if (s->state == CB_STEP_CANCELED)
        json_object_set_new(v, "error", json_string("context canceled")); /* by which readers know it */
    emit(s->p, "vertexes", v);
}

static void on_status(struct cb_step *s, const struct cb_step_status *st)
{
    char id[DIGEST_MAX];
    vertex_id(id, s->index);
    json_t *v = json_pack("{s:s,s:s,s:s,s:I,s:o,s:o}", "id", st->id, "vertex", id, "name", st->id, "current",
                          (json_int_t)st->current, "timestamp", time_value(s, cb_time_monotonic()), "started",
                          time_value(s, st->started));
    if (st->total)
        json_object_set_new(v, "total", json_integer((json_int_t)st->total));
    if (st->ended)
        json_object_set_new(v, "completed", time_value(s, st->ended));
    emit(s->p, "statuses", v);
}

static void on_chunk(struct cb_step *s, int stream, const char *p, size_t n)
{
    char id[DIGEST_MAX];
    vertex_id(id, s->index);
    emit(s->p, "logs",
         json_pack("{s:s,s:i,s:o,s:o}", "vertex", id, "stream", stream, "data", base64_value(p, n), "timestamp",
                   time_value(s, cb_time_monotonic())));
}

static void on_warn(struct cb_step *s, const char *text)
{
    char id[DIGEST_MAX];
    vertex_id(id, s->index);
    emit(s->p, "warnings",
         json_pack("{s:s,s:i,s:o}", "vertex", id, "level", 1, "short", base64_value(text, strlen(text))));
}

static void on_note(struct cb_progress *p, const char *text, int level)
{
    emit(p, "warnings",
         json_pack("{s:s,s:i,s:o}", "vertex", "", "level", level, "short", base64_value(text, strlen(text))));
}

const struct cb_progress_renderer cb_progress_rawjson = {
    .interval_ms = 100,
    .step = on_step,
    .status = on_status,
    .chunk = on_chunk,
    .warn = on_warn,
    .note = on_note,
};
