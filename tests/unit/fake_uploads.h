/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The upload sessions of a fake registry, one at a time, with the quirks of reference §2.5 as switches and one kind of
 * fault that strikes at chosen chunks. It keeps what arrived of a broken chunk, as real ones do, and counts what it
 * was sent. */

#include "fake_registry.h"
#include "util/encode.h"

enum uploads_range { RANGE_RIGHT, RANGE_ABSENT, RANGE_ZERO, RANGE_STUCK, RANGE_LESS_ONCE, RANGE_MORE, RANGE_LONG };

struct uploads {
    /* switches */
    unsigned patch_status;   /* of a chunk that was taken; 0: 202 */
    enum uploads_range range;
    bool takes_less;         /* RANGE_LESS_ONCE is true: half of the chunk was dropped */
    unsigned status_refused; /* GET of a session: this status; 0: it is answered */
    bool strict;             /* a session whose Location says another offset than it has is unknown (Distribution) */
    unsigned no_patch;       /* this status for every PATCH */
    size_t max_body;         /* larger ones: max_status, before they are read */
    unsigned max_status;
    const char *max_words;
    size_t max_put;          /* the same for PUTs */
    size_t min_chunk;        /* said by OCI-Chunk-Min-Length */
    bool fixed_location;     /* no new Location after a chunk */
    bool absolute;           /* Locations are; else they are paths */
    /* the fault, at chunks number fault_at to fault_at + fault_times - 1, from 1 */
    const char *fault;
    unsigned fault_at, fault_times;
    size_t fault_byte; /* of the chunk */
    /* what came of it */
    pthread_mutex_t mu;
    struct cb_strbuf data;
    unsigned sessions, chunks, serial, canceled;
    size_t largest, smallest, previous; /* chunks; the last one is not among the smallest */
    uint64_t received;
    bool open, less_done;
    struct uploads *older;
};


/* Location and Range of the session as it is. offset: what Range says, 0: none. */
static void uploads_headers(struct fake *f, struct uploads *u, struct cb_strbuf *out, uint64_t end, bool location)
{
    if (location)
        cb_strbuf_addf(out, "Location: %s%s/v2/a/b/session/%u?_state=%u.%zu%%2F\r\n", u->absolute ? "http://" : "",
                       u->absolute ? f->host : "", u->sessions, ++u->serial, u->data.len);
    if (end)
        cb_strbuf_addf(out, "Range: 0-%llu\r\n", (unsigned long long)end - 1);
    if (u->min_chunk)
        cb_strbuf_addf(out, "OCI-Chunk-Min-Length: %zu\r\n", u->min_chunk);
}

static bool uploads_answer(struct fake *f, struct uploads *u, struct server_request *r, unsigned status, uint64_t end)
{
    struct cb_strbuf head cb_cleanup_strbuf = CB_STRBUF_INIT;
    uploads_headers(f, u, &head, end, status == 202 && (!u->fixed_location || !strcmp(r->method, "POST")));
    return server_reply(r, status, head.buf ? head.buf : "", "");
}

/* Reads up to n bytes of the body into the session. */
static size_t uploads_take(struct uploads *u, struct server_request *r, size_t n, bool keep)
{
    char buf[16384];
    size_t total = 0, got;
    while (total < n && (got = server_recv(r, buf, CB_MIN(sizeof buf, n - total)))) {
        if (keep)
            cb_strbuf_add(&u->data, buf, got);
        total += got;
        u->received += got;
    }
    return total;
}

/* A close with bytes that nobody read is a reset, which may overtake the answer. */
static void uploads_linger(struct server_request *r)
{
    char buf[16384];
    struct timeval limit = { .tv_sec = 5 };
    shutdown(r->fd, SHUT_WR);
    setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    while (recv(r->fd, buf, sizeof buf, 0) > 0)
        ;
}

static bool uploads_refuse(struct server_request *r, unsigned status, const char *words)
{
    cb_autofree char *body = cb_asprintf("{\"errors\":[{\"code\":\"REFUSED\",\"message\":\"%s\"}]}", words);
    server_reply(r, status, status == 429 ? "Retry-After: 1\r\n" : "", body);
    uploads_linger(r);
    return false; /* what is left of the body ends with the connection */
}

static bool uploads_strikes(const struct uploads *u)
{
    return u->fault && u->chunks >= u->fault_at && u->chunks < u->fault_at + u->fault_times;
}

static bool uploads_known(const struct uploads *u, const struct server_request *r)
{
    unsigned serial = u->fixed_location ? 1 : u->serial;
    cb_autofree char *want = cb_asprintf("/v2/a/b/session/%u?_state=%u.", u->sessions, serial);
    cb_autofree char *exact = cb_asprintf("%s%zu%%2F", want, u->data.len);
    bool newest = cb_starts_with(r->path, want) || u->status_refused || u->fixed_location;
    return u->open && newest && (!u->strict || cb_starts_with(r->path, exact));
}

static bool uploads_strike(struct fake *f, struct uploads *u, struct server_request *r, size_t n)
{
    if (!strcmp(u->fault, "reset") || !strcmp(u->fault, "dropped") || !strcmp(u->fault, "lost")) {
        size_t part = *u->fault == 'l' ? n : CB_MIN(u->fault_byte, n);
        server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
        uploads_take(u, r, part, *u->fault != 'd');
        server_reset(r);
        return false;
    }
    if (!strcmp(u->fault, "gone"))
        u->open = false;
    if (!strcmp(u->fault, "gone"))
        return uploads_refuse(r, 404, "BLOB_UPLOAD_UNKNOWN");
    if (!strcmp(u->fault, "late")) { /* refused after it was read; nothing was kept */
        server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
        uploads_take(u, r, n, false);
        return uploads_refuse(r, 500, "too late");
    }
    (void)f;
    return uploads_refuse(r, (unsigned)strtoul(u->fault, NULL, 10), "fake says so");
}

static uint64_t uploads_end(struct uploads *u, size_t before, size_t n)
{
    switch (u->range) {
    case RANGE_RIGHT:
        break;
    case RANGE_ABSENT:
        return 0;
    case RANGE_ZERO:
        return 1;
    case RANGE_STUCK:
        return before ? u->largest : n;
    case RANGE_LESS_ONCE:
        if (u->less_done || u->chunks < 2)
            break;
        u->less_done = true;
        if (u->takes_less)
            cb_strbuf_setlen(&u->data, before + n / 2);
        return before + n / 2;
    case RANGE_MORE:
        return u->data.len + 1000;
    case RANGE_LONG:
        return UINT64_MAX;
    }
    return u->data.len;
}

static bool uploads_patch(struct fake *f, struct uploads *u, struct server_request *r)
{
    cb_autofree char *length = server_header(r, "Content-Length"), *range = server_header(r, "Content-Range");
    cb_autofree char *expect = server_header(r, "Expect");
    size_t n = strtoul(length ? length : "0", NULL, 10), before = u->data.len;
    cb_autofree char *want = cb_asprintf("%zu-%zu", before, before + n - 1);
    u->chunks++;
    if (u->no_patch)
        return uploads_refuse(r, u->no_patch, "UNSUPPORTED");
    if (u->max_body && n > u->max_body)
        return uploads_refuse(r, u->max_status, u->max_words ? u->max_words : "too big");
    if (!uploads_known(u, r))
        return uploads_refuse(r, 404, "BLOB_UPLOAD_UNKNOWN");
    if (uploads_strikes(u))
        return uploads_strike(f, u, r, n);
    if (!range || strcmp(range, want) != 0)
        return uploads_refuse(r, 416, "not the offset");
    if (expect)
        server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
    if (uploads_take(u, r, n, true) < n)
        return false;
    u->largest = CB_MAX(u->largest, n);
    u->smallest = u->previous && (!u->smallest || u->previous < u->smallest) ? u->previous : u->smallest;
    u->previous = n;
    uint64_t end = uploads_end(u, before, n);
    return uploads_answer(f, u, r, u->patch_status ? u->patch_status : 202, end);
}

static bool uploads_put(struct fake *f, struct uploads *u, struct server_request *r)
{
    cb_autofree char *length = server_header(r, "Content-Length"), *want = fake_param(r->path, "digest");
    cb_autofree char *expect = server_header(r, "Expect");
    size_t n = strtoul(length ? length : "0", NULL, 10);
    struct cb_digest d;
    char text[CB_DIGEST_TEXT_MAX];
    if (u->max_put && n > u->max_put)
        return uploads_refuse(r, 413, "too big");
    if (!uploads_known(u, r))
        return uploads_refuse(r, 404, "BLOB_UPLOAD_UNKNOWN");
    if (expect)
        server_puts(r, "HTTP/1.1 100 Continue\r\n\r\n");
    if (uploads_take(u, r, n, true) < n)
        return false;
    u->open = false;
    cb_digest_of(&d, u->data.buf ? u->data.buf : "", u->data.len);
    if (!want || strcmp(want, cb_digest_text(&d, text)) != 0)
        return uploads_refuse(r, 400, "DIGEST_INVALID");
    cb_autofree char *key = cb_asprintf("a/b/blobs/%s", text);
    fake_put(f, key, "", u->data.buf, u->data.len);
    return server_reply(r, 201, "", "");
}

static bool uploads_dispatch(struct fake *f, struct uploads *u, struct server_request *r)
{
    if (!strcmp(r->method, "POST")) {
        cb_strbuf_reset(&u->data);
        u->sessions++;
        u->serial = 0;
        u->open = true;
        return uploads_answer(f, u, r, 202, 1);
    }
    if (!strcmp(r->method, "PATCH"))
        return uploads_patch(f, u, r);
    if (!strcmp(r->method, "PUT"))
        return uploads_put(f, u, r);
    if (!strcmp(r->method, "DELETE")) {
        u->canceled += u->open;
        u->open = false;
        return server_reply(r, 204, "", "");
    }
    if (u->status_refused)
        return uploads_refuse(r, u->status_refused, "no status here");
    if (!u->open || (u->strict && !uploads_known(u, r)))
        return uploads_refuse(r, 404, "BLOB_UPLOAD_UNKNOWN");
    struct cb_strbuf head cb_cleanup_strbuf = CB_STRBUF_INIT;
    uint64_t end = u->range == RANGE_STUCK ? u->largest : CB_MAX(u->data.len, (size_t)1);
    uploads_headers(f, u, &head, u->range == RANGE_ABSENT ? 0 : end, true);
    return server_reply(r, 204, head.buf, "");
}

/* To be a fake's hook; its arg is the struct uploads. */
static CB_UNUSED bool uploads_hook(struct fake *f, struct server_request *r, bool *keep)
{
    struct uploads *u = f->arg;
    bool post = !strcmp(r->method, "POST") && strstr(r->path, "/blobs/uploads/");
    if (!post && !strstr(r->path, "/session/"))
        return false;
    pthread_mutex_lock(&u->mu);
    if (u->fault && !strcmp(u->fault, "expire") && !strcmp(r->method, "PATCH") && u->chunks + 1 >= u->fault_at &&
        u->chunks + 1 < u->fault_at + u->fault_times) {
        u->chunks++;
        f->serial++;
        u->fault_at++;
        u->fault_times--;
    }
    *keep = fake_may(f, r) ? uploads_dispatch(f, u, r) : fake_challenge(f, r) && false;
    pthread_mutex_unlock(&u->mu);
    return true;
}

static void uploads_free(void *arg)
{
    struct uploads *u = arg;
    if (!u)
        return;
    uploads_free(u->older);
    pthread_mutex_destroy(&u->mu);
    cb_strbuf_done(&u->data);
    free(u);
}

/* Takes the place of what f did before. how: copied; NULL for no quirk. It is the fake's and lives as long: a thread of
 * the server may still be in the hook when the client has its answer. */
static CB_UNUSED struct uploads *uploads_new(struct fake *f, const struct uploads *how)
{
    struct uploads *u = CB_NEW(struct uploads);
    if (how)
        *u = *how;
    pthread_mutex_init(&u->mu, NULL);
    u->data = (struct cb_strbuf)CB_STRBUF_INIT;
    u->older = f->arg;
    f->hook = uploads_hook;
    f->arg = u;
    f->arg_free = uploads_free;
    return u;
}
