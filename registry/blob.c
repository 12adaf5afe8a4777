/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <time.h>

#include "registry/private.h"
#include "oci/mediatype.h"
#include "util/alloc.h"
#include "util/encode.h"

#define MAX_RESUMES 5

/* The bytes of one blob at one endpoint; a broken connection is resumed where it broke. */
struct remote {
    struct cb_blob_source base;
    struct cb_registry *r;
    struct reg_endpoint e;
    struct cb_descriptor desc;
    struct cb_http_reply *reply;
    uint64_t offset, skip;
    unsigned resumes;
};

static int open_at(struct remote *x, struct cb_error *err)
{
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autofree char *path = cb_asprintf("%s/blobs/%s", x->e.repo, cb_digest_text(&x->desc.digest, digest));
    struct cb_scope scope = { x->e.repo, "pull" };
    struct reg_request q = { .method = "GET", .path = path, .scopes = &scope, .n_scopes = 1, .headers = &headers };
    if (x->offset)
        cb_strvec_pushf(&headers, "Range: bytes=%llu-", (unsigned long long)x->offset);
    int s = reg_send(x->r, &x->e, &q, &x->reply, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(x->reply);
    x->skip = 0;
    if (status == 200) {
        x->skip = x->offset; /* Range was not honoured: what we have is read again and dropped */
        return 0;
    }
    cb_autofree char *expect = cb_asprintf("bytes %llu-", (unsigned long long)x->offset);
    const char *range = cb_http_header(x->reply, "Content-Range");
    if (status == 206 && x->offset && range && cb_starts_with(range, expect))
        return 0;
    s = reg_reply_error(x->reply, err, "%s/%s", x->e.host, path);
    cb_http_reply_free(CB_TAKE(x->reply));
    return s;
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
            return cb_error_set(err, CB_ENET, "the blob became shorter");
        x->skip -= got;
    }
    return 0;
}

static int read_once(struct remote *x, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    int s = x->reply ? 0 : open_at(x, err);
    if (s == 0)
        s = drop_known(x, err);
    if (s == 0)
        s = cb_http_read(x->reply, buf, n, got, err);
    if (s == 0 && *got == 0 && x->offset < x->desc.size)
        s = cb_error_set(err, CB_ENET, "the connection ended after %llu of %llu bytes", (unsigned long long)x->offset,
                         (unsigned long long)x->desc.size);
    return s;
}

static int remote_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct remote *x = (struct remote *)b;
    for (;;) {
        int s = read_once(x, buf, n, got, err);
        if (s == 0) {
            x->offset += *got;
            return 0;
        }
        cb_http_reply_free(CB_TAKE(x->reply));
        if (s != -CB_ENET || ++x->resumes > MAX_RESUMES || cb_canceled(x->r->o.cancel))
            return s;
        nanosleep(&(struct timespec){ .tv_nsec = 100000000L * (long)x->resumes }, NULL);
    }
}

static void remote_close(struct cb_blob_source *b)
{
    struct remote *x = (struct remote *)b;
    cb_http_reply_free(x->reply);
    reg_endpoint_done(&x->e);
    cb_descriptor_done(&x->desc);
    free(x);
}

static const struct cb_blob_source_ops remote_ops = { remote_read, remote_close };

/* Connected at once, so that another mirror can be tried where this one has it not. */
static int open_remote(struct cb_registry *r, struct reg_endpoint *e, const struct cb_descriptor *desc, struct cb_blob_source **out,
                       struct cb_error *err)
{
    struct remote *x = CB_NEW(struct remote);
    x->base.ops = &remote_ops;
    x->r = r;
    x->e = *e;
    *e = (struct reg_endpoint){ 0 };
    cb_descriptor_copy(&x->desc, desc);
    int s = open_at(x, err);
    if (s < 0) {
        remote_close(&x->base);
        return s;
    }
    *out = cb_blob_source_verify(&x->base, &desc->digest, desc->size);
    return 0;
}

int cb_registry_blob(struct cb_registry *r, const char *host, const char *repo, const struct cb_descriptor *desc,
                     struct cb_blob_source **out, struct cb_error *err)
{
    struct reg_endpoints all = { 0 };
    int s = reg_endpoints_pull(r, host, repo, NULL, true, &all, err);
    if (s == 0 && desc->urls.n && !r->o.allow_foreign_urls && cb_mt_is_foreign_layer(desc->media_type))
        s = cb_error_set(err, CB_EVERIFY, "a foreign layer, which its registry does not serve, is not fetched from elsewhere");
    else if (s == 0)
        s = cb_error_set(err, CB_ENOTFOUND, "%s: no registry serves it", host);
    for (size_t i = 0; i < all.n && s < 0 && s != -CB_ECANCELED; i++)
        s = open_remote(r, &all.v[i], desc, out, err);
    reg_endpoints_done(&all);
    return s;
}
