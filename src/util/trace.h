/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A timeline of what the process does, in Chrome's trace event format (a JSON object with "traceEvents"), which
 * chrome://tracing and Perfetto show. There is one recorder in a process, or none: then a span costs a look at a flag.
 * Thread-safe.
 *
 * A span is on the track of the thread that ends it (begun there too, so that spans of a track lie within one another),
 * or on a track of its own kind where it may begin and end anywhere: the lowest one of that name that is free. Tracks
 * of threads that have ended are used again by others of their name, so there are no more than run at a time. Events
 * are written as they end; no more than one buffer of them is kept.
 *
 * Names and texts are shown to people: no secrets. Of URLs in them user information and values of a query are
 * replaced. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"
#include "util/strbuf.h"

/* fd: borrowed, written from its start. since: monotonic, what the timeline counts from. */
void cb_trace_begin(int fd, int64_t since);
/* What is still open is left out. 0, or the first write that failed. */
int cb_trace_end(struct cb_error *err) CB_WUR;

extern atomic_bool cb_trace_is_on;
static inline CB_UNUSED bool cb_trace_on(void)
{
    return atomic_load_explicit(&cb_trace_is_on, memory_order_relaxed);
}

struct cb_span {
    int64_t begin;          /* monotonic; 0: nothing is recorded of it */
    const char *kind;       /* "http": Chrome's category; static */
    char *name;             /* NULL: kind */
    struct cb_strbuf args;  /* members of a JSON object, each behind a comma */
    unsigned track;         /* 0: the thread's */
};
#define CB_SPAN_INIT { 0 }
/* fmt: what is done, with what tells it from others; long texts are cut. */
struct cb_span cb_span_begin(const char *kind, const char *fmt, ...) CB_PRINTF(2, 3);
/* The same on a track of its own, named after the kind. */
struct cb_span cb_span_begin_apart(const char *kind, const char *fmt, ...) CB_PRINTF(2, 3);
/* What is told of it: nothing where nothing is recorded. text may be NULL: left out. key: [a-z_]. */
void cb_span_text(struct cb_span *s, const char *key, const char *text);
void cb_span_number(struct cb_span *s, const char *key, uint64_t n);
/* Records and empties it; one that is empty is left alone. */
void cb_span_end(struct cb_span *s);
void cb_span_end_at(struct cb_span *s, int64_t monotonic);
#define cb_cleanup_span CB_CLEANUP(cb_span_end) CB_UNUSED /* it is enough that it ends */

/* A JSON string with its quotes; what is no UTF-8 becomes U+FFFD. */
void cb_strbuf_add_json_string(struct cb_strbuf *sb, const char *p, size_t n);
