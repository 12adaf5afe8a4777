/* SPDX-License-Identifier: Apache-2.0 */
/* What --trace shows of a request. Never a query, user information or a header; nor where an upload goes on, nor where
 * a redirect to others leads: whoever knows these needs no credentials. */
#include "http/private.h"
#include "util/alloc.h"

#define SESSIONS "/blobs/uploads/"

static void add_path(struct cb_strbuf *sb, const struct cb_http_hop *hop)
{
    const char *path = hop->url.path_query, *session = strstr(path, SESSIONS);
    size_t n = strcspn(path, "?#");
    if (hop->foreign)
        n = 1;
    else if (session && session < path + n)
        n = (size_t)(session - path) + strlen(SESSIONS);
    cb_strbuf_add(sb, path, n);
    if (path[n] && path[n] != '?' && path[n] != '#')
        cb_strbuf_adds(sb, "…");
}

void cb_http_span_begin(struct cb_http_transfer *t, const struct cb_http_hop *hop, unsigned tries)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_trace_on())
        return;
    add_path(&path, hop);
    t->span = cb_span_begin_apart("http", "%s %s", hop->method, path.buf);
    path.len = 0;
    cb_strbuf_add_origin(&path, &hop->url);
    cb_span_text(&t->span, "host", path.buf);
    cb_span_text(&t->span, "redirected", hop->foreign ? "to another origin" : NULL);
    if (tries)
        cb_span_number(&t->span, "tries_before", tries);
}

/* What is dropped before it ended, ends now. */
void cb_http_span_end(struct cb_http_transfer *t)
{
    if (!t->span.begin)
        return;
    pthread_mutex_lock(&t->lock);
    int64_t ended = t->ended_at, header = t->header_at;
    unsigned status = t->status;
    uint64_t sent = t->body_taken, received = t->received;
    bool failed = !t->header_done || (t->finished && t->result != CURLE_OK);
    pthread_mutex_unlock(&t->lock);
    cb_span_number(&t->span, "status", status);
    cb_span_number(&t->span, "sent_bytes", sent);
    cb_span_number(&t->span, "received_bytes", received);
    if (header)
        cb_span_number(&t->span, "first_byte_us", (uint64_t)CB_MAX(header - t->span.begin, INT64_C(0)) / 1000);
    cb_span_text(&t->span, "outcome", failed ? "failed" : NULL);
    if (ended)
        cb_span_end_at(&t->span, ended);
    else
        cb_span_end(&t->span);
}
