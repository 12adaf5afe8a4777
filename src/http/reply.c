/* SPDX-License-Identifier: Apache-2.0 */
#include "http/private.h"

void cb_http_reply_free(struct cb_http_reply *r)
{
    if (!r)
        return;
    cb_http_transfer_drain(r->t);
    cb_http_transfer_drop(r->t);
    free(r->url);
    free(r->name);
    free(r);
}

unsigned cb_http_status(const struct cb_http_reply *r)
{
    return r->t->status;
}

const char *cb_http_header_nth(const struct cb_http_reply *r, const char *name, size_t n)
{
    return cb_http_headers_find(&r->t->headers, name, n);
}

const char *cb_http_header(const struct cb_http_reply *r, const char *name)
{
    return cb_http_header_nth(r, name, 0);
}

const char *cb_http_url(const struct cb_http_reply *r)
{
    return r->url;
}

bool cb_http_crossed_origin(const struct cb_http_reply *r)
{
    return r->crossed;
}

uint64_t cb_http_content_length(const struct cb_http_reply *r)
{
    return cb_http_headers_length(&r->t->headers);
}

static int end_of_body(struct cb_http_reply *r, struct cb_error *err)
{
    struct cb_http_failure f;
    if (r->t->result == CURLE_OK && !r->t->canceled)
        return 0;
    cb_http_failure_of(r->t, &f, err);
    int code = r->t->canceled ? -CB_ECANCELED : -CB_ENET;
    cb_error_wrap(err, "%s", r->name);
    return code;
}

int cb_http_read(struct cb_http_reply *r, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct cb_http_transfer *t = r->t;
    pthread_mutex_lock(&t->lock);
    while (!t->in.len && !t->finished)
        pthread_cond_wait(&t->changed, &t->lock);
    *got = t->canceled ? 0 : cb_http_ring_pop(&t->in, buf, n);
    bool resume = t->write_paused && !t->finished && t->in.len <= t->in.max / 2;
    bool ended = !*got && (t->canceled || !t->in.len);
    pthread_mutex_unlock(&t->lock);
    if (resume)
        cb_http_command(t->h, t, CB_HTTP_RESUME);
    return ended && n ? end_of_body(r, err) : 0;
}

static int too_long(const struct cb_http_reply *r, struct cb_error *err)
{
    return cb_error_set(err, CB_EVERIFY, "%s: reply is longer than %zu bytes", r->name, r->max_body);
}

int cb_http_slurp(struct cb_http_reply *r, struct cb_strbuf *out, struct cb_error *err)
{
    size_t got = 1, total = 0;
    uint64_t length = cb_http_content_length(r);
    if (!r->t->is_head && length != UINT64_MAX && length > r->max_body)
        return too_long(r, err);
    while (got) {
        cb_strbuf_reserve(out, 16u << 10);
        int code = cb_http_read(r, out->buf + out->len, 16u << 10, &got, err);
        if (code < 0)
            return code;
        total += got;
        if (total > r->max_body)
            return too_long(r, err);
        cb_strbuf_setlen(out, out->len + got);
    }
    return 0;
}
