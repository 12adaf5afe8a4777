/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "registry/blob.h"
#include "oci/mediatype.h"
#include "util/alloc.h"

#define MAX_RESUMES 5
#define PROGRESS (1u << 20) /* that much more, and the count begins anew */
#define MAX_FOREIGN 4
#define MS INT64_C(1000000)

static const char *place(const struct remote *x)
{
    return x->at < x->all.n ? x->all.v[x->at].host : "foreign URL";
}

static int ask_endpoint(struct remote *x, const struct cb_strvec *headers, struct cb_error *err)
{
    const struct reg_endpoint *e = &x->all.v[x->at];
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autofree char *path = cb_asprintf("%s/blobs/%s", e->repo, cb_digest_text(&x->desc.digest, digest));
    struct cb_scope scope = { e->repo, "pull" };
    struct reg_request q = { .method = "GET", .path = path, .scopes = &scope, .n_scopes = 1, .headers = headers,
                             .no_retry = x->once };
    return reg_send(x->r, e, &q, &x->reply, err);
}

/* D1: https, no credentials, no private address. */
static int ask_url(struct remote *x, const struct cb_strvec *headers, struct cb_error *err)
{
    struct cb_http_request req = { .method = "GET", .url = x->desc.urls.v[x->at - x->all.n], .headers = headers,
                                   .cancel = x->cancel, .no_retry = x->once };
    return cb_http_send(x->r->o.http, &req, &x->reply, err);
}

/* Behind the last byte that is asked for. */
static uint64_t limit(const struct remote *x)
{
    return x->end ? x->end : x->desc.size;
}

static bool range_holds(const struct remote *x)
{
    cb_autofree char *expect = cb_asprintf("bytes %llu-", (unsigned long long)x->offset);
    const char *range = cb_http_header(x->reply, "Content-Range");
    return range && cb_starts_with(range, expect);
}

static int open_once(struct remote *x, struct cb_error *err)
{
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    bool ranged = (x->offset || x->end) && !x->no_range;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autofree char *last = x->end ? cb_asprintf("%llu", (unsigned long long)x->end - 1) : cb_strdup("");
    if (ranged)
        cb_strvec_pushf(&headers, "Range: bytes=%llu-%s", (unsigned long long)x->offset, last);
    int s = x->at < x->all.n ? ask_endpoint(x, &headers, err) : ask_url(x, &headers, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(x->reply);
    free(x->coding);
    x->coding = cb_strdup_or_null(cb_http_header(x->reply, "Content-Encoding"));
    x->skip = status == 200 ? x->offset : 0; /* without a range, what we have is read again and dropped */
    x->whole = status == 200;
    if (x->whole && x->end && x->offset) { /* all again for each part would be without end */
        cb_http_reply_free(CB_TAKE(x->reply));
        return cb_error_set(err, CB_EVERIFY, "%s: a range was asked for, and all of the blob came", place(x));
    }
    if (x->whole || (status == 206 && ranged && range_holds(x)))
        return 0;
    x->no_range = x->no_range || (ranged && (status == 206 || status == 416));
    s = reg_reply_error(x->reply, err, "blob %.19s of %s/%s", cb_digest_text(&x->desc.digest, digest), place(x),
                        x->at < x->all.n ? x->all.v[x->at].repo : "");
    cb_http_reply_free(CB_TAKE(x->reply));
    return s;
}

static int open_here(struct remote *x, struct cb_error *err)
{
    bool before = x->no_range;
    int s = open_once(x, err);
    return s < 0 && x->no_range != before ? open_once(x, err) : s;
}

/* Leaves a place for the next one; false where there is none. Keeps what was wrong with this one. */
static bool go_on(struct remote *x, struct cb_error *e)
{
    reg_failures_add(&x->failures, place(x), e);
    if (x->at + 1 >= x->all.n + x->n_urls)
        return false;
    x->at++;
    x->resumes = 0;
    x->no_range = false;
    return true;
}

static int drop_known(struct remote *x, struct cb_error *err)
{
    char buf[16384];
    while (x->skip) {
        size_t got;
        int s = cb_http_read(x->reply, buf, CB_MIN(sizeof buf, x->skip), &got, err);
        if (s < 0)
            return s;
        if (got == 0)
            return cb_error_set(err, CB_ENET, "%s: the blob has become shorter", place(x));
        x->skip -= got;
    }
    return 0;
}

static int read_once(struct remote *x, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    int s = x->reply ? 0 : open_here(x, err);
    if (s == 0)
        s = drop_known(x, err);
    if (s == 0)
        s = cb_http_read(x->reply, buf, n, got, err);
    if (s == 0 && *got == 0 && x->offset < limit(x))
        s = cb_error_set(err, CB_ENET, "%s: the connection ended after %llu of %llu bytes", place(x),
                         (unsigned long long)x->offset, (unsigned long long)x->desc.size);
    /* Its Content-Length was too large: the digest says whether all of it is there. */
    if (s == -CB_ENET && x->reply && x->offset == x->desc.size) {
        cb_error_done(err);
        *got = 0;
        return 0;
    }
    return s;
}

static bool may_resume(struct remote *x, int s)
{
    if (x->offset >= x->resumed_at + PROGRESS)
        x->resumes = 0;
    x->resumed_at = x->offset;
    bool unwanted = x->stop && atomic_load(x->stop);
    return s == -CB_ENET && !unwanted && ++x->resumes <= MAX_RESUMES;
}

static void note_giver(struct remote *x, size_t got)
{
    if (got && x->at < x->all.n)
        x->gave |= x->at < 64 ? UINT64_C(1) << x->at : 0;
    else if (got)
        x->gave_foreign = true;
}

static int remote_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct remote *x = (struct remote *)b;
    for (;;) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int s = read_once(x, buf, n, got, &e);
        if (s == 0) {
            note_giver(x, *got);
            x->offset += *got;
            return 0;
        }
        cb_http_reply_free(CB_TAKE(x->reply));
        if (s == -CB_ECANCELED)
            return cb_error_move(err, &e);
        bool again = may_resume(x, s);
        if (!again && !go_on(x, &e))
            return reg_failures_tell(&x->failures, err);
        s = again ? reg_pause(x->r, x->cancel, 100 * MS * x->resumes, err) : 0;
        if (s < 0)
            return s;
    }
}

static void remote_close(struct cb_blob_source *b)
{
    struct remote *x = (struct remote *)b;
    cb_http_reply_free(x->reply);
    reg_endpoints_done(&x->all);
    reg_failures_done(&x->failures);
    cb_descriptor_done(&x->desc);
    free(x->coding);
    free(x);
}

static int remote_seek(struct cb_blob_source *b, uint64_t offset, struct cb_error *err CB_UNUSED)
{
    struct remote *x = (struct remote *)b;
    if (offset != x->offset)
        reg_remote_part(x, offset, 0);
    return 0;
}

bool reg_remote_ranges(const struct remote *x)
{
    const char *accepted = x->reply ? cb_http_header(x->reply, "Accept-Ranges") : NULL;
    return x->reply && (cb_http_status(x->reply) == 206 || (accepted && !strcmp(accepted, "bytes")));
}

void reg_remote_part(struct remote *x, uint64_t from, uint64_t end)
{
    cb_http_reply_free(CB_TAKE(x->reply));
    x->offset = x->resumed_at = from;
    x->end = end;
}

static const struct cb_blob_source_ops remote_ops = { remote_read, remote_close, remote_seek };

/* Connected at once, so that who asks hears of a blob that is nowhere before it begins. */
static int open_first(struct remote *x, struct cb_error *err)
{
    for (;;) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int s = open_here(x, &e);
        if (s == 0)
            return 0;
        if (s == -CB_ECANCELED)
            return cb_error_move(err, &e);
        if (!go_on(x, &e))
            return reg_failures_tell(&x->failures, err);
    }
}

static int open_remote(struct remote *x, const char *host, const char *repo, struct cb_error *err)
{
    struct reg_wanted w = { .host = host, .repo = repo, .digest = &x->desc.digest, .blob = true };
    bool foreign = x->desc.urls.n && cb_mt_is_foreign_layer(x->desc.media_type);
    x->n_urls = foreign && x->r->o.allow_foreign_urls ? CB_MIN(x->desc.urls.n, (size_t)MAX_FOREIGN) : 0;
    int s = reg_endpoints_pull(x->r, &w, &x->all, err);
    if (s < 0)
        return s;
    for (size_t i = 0; i < x->all.n; i++)
        x->all.v[i].cancel = x->cancel;
    reg_doubt_order(x->r, &x->all, &x->desc.digest);
    s = open_first(x, err);
    if (s == -CB_ENOTFOUND && foreign && !x->n_urls)
        cb_error_wrap(err, "a foreign layer, which is not fetched from elsewhere");
    return s;
}

int reg_remote_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                    struct remote **out, struct cb_error *err)
{
    struct remote *x = CB_NEW(struct remote);
    x->base.ops = &remote_ops;
    x->r = r;
    x->cancel = at->cancel ? at->cancel : reg_until(r);
    x->offset = x->resumed_at = at->offset;
    x->end = at->end;
    x->once = at->once;
    cb_descriptor_copy(&x->desc, desc);
    int s = open_remote(x, at->host, at->repo, err);
    x->once = false;
    if (s < 0) {
        remote_close(&x->base);
        return s;
    }
    *out = x;
    return 0;
}

static void givers(const struct cb_blob_source *b, struct reg_givers *out)
{
    reg_givers_add(out, (const struct remote *)b);
}

int reg_blob_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                  struct cb_blob_source **out, struct cb_error *err)
{
    struct remote *x = NULL;
    int s = reg_remote_open(r, at, desc, &x, err);
    if (s < 0)
        return s;
    struct reg_judged_source j = { &x->base, givers };
    *out = reg_judged(r, desc, &j);
    return at->offset ? cb_blob_seek(*out, at->offset, err) : 0;
}

int reg_blob_any(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                 struct cb_blob_source **out, struct cb_error *err)
{
    return desc->size < REG_RANGES_FROM ? reg_blob_open(r, at, desc, out, err)
                                        : reg_ranges_open(r, at, desc, out, err);
}

int cb_registry_blob(struct cb_registry *r, const char *host, const char *repo, const struct cb_descriptor *desc,
                     struct cb_blob_source **out, struct cb_error *err)
{
    struct reg_blob_place at = { .host = host, .repo = repo };
    int s = reg_ahead_take(r, &at, desc, out, err);
    return s == 1 ? reg_blob_any(r, &at, desc, out, err) : s;
}

static int read_exactly(struct cb_blob_source *src, uint64_t len, struct cb_strbuf *out, struct cb_error *err)
{
    char buf[16384];
    for (size_t got = 1; len; len -= got) {
        int s = cb_blob_read(src, buf, CB_MIN(sizeof buf, len), &got, err);
        if (s < 0)
            return s;
        if (!got)
            return cb_error_set(err, CB_ENET, "a part of a blob ended early");
        cb_strbuf_add(out, buf, got);
    }
    return 0;
}

int cb_registry_blob_part(struct cb_registry *r, const struct cb_blob_part *part, struct cb_strbuf *out,
                          struct cb_error *err)
{
    struct reg_blob_place at = { .host = part->host, .repo = part->repo, .offset = part->from,
                                 .end = part->from + part->len };
    struct remote *x = NULL;
    if (!part->from || !part->len || part->len > part->desc->size || part->from > part->desc->size - part->len)
        return cb_error_set(err, CB_EINTERNAL, "no part of a blob");
    int s = reg_remote_open(r, &at, part->desc, &x, err);
    if (s == 0) {
        s = read_exactly(&x->base, part->len, out, err);
        remote_close(&x->base);
    }
    return s;
}
