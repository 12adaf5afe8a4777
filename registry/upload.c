/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>

#include "registry/private.h"
#include "util/alloc.h"
#include "util/encode.h"

#define MAX_TRIES 4

char *reg_location(const struct reg_endpoint *e, const struct cb_http_reply *reply, struct cb_error *err)
{
    struct cb_url from cb_cleanup_url = { 0 }, to cb_cleanup_url = { 0 };
    const char *location = cb_http_header(reply, "Location");
    if (!location || !*location) {
        cb_error_set(err, CB_ENET, "registry %s opened an upload without a Location", e->host);
        return NULL;
    }
    cb_autofree char *url = cb_url_resolve(cb_http_url(reply), location, err);
    if (!url || cb_url_parse(&from, cb_http_url(reply), err) < 0 || cb_url_parse(&to, url, err) < 0)
        return NULL;
    /* A TLS proxy that does not tell its registry so: http for the same host is https. */
    if (!strcmp(from.scheme, "https") && !strcmp(to.scheme, "http") && !strcmp(from.host, to.host) && (to.port == 80 || to.port == from.port))
        return cb_asprintf("https://%s:%u%s", to.host, from.port, to.path_query);
    return CB_TAKE(url);
}

static int open_session(struct push_blob *b, char **session, struct cb_error *err)
{
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    cb_autofree char *path = cb_asprintf("%s/blobs/uploads/", p->e.repo);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "POST", .path = path, .scopes = &scope, .n_scopes = 1, .repeatable = true };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    if (cb_http_status(reply) != 202)
        return reg_reply_error(reply, err, "open an upload to %s/%s", p->e.host, p->e.repo);
    *session = reg_location(&p->e, reply, err);
    return *session ? 0 : -CB_ENET;
}

/* ---- the bytes ---- */

struct body {
    struct push_blob *b;
    struct cb_blob_source *src;
};

static int open_source(struct push_blob *b, struct cb_blob_source **out, struct cb_error *err)
{
    int s = b->open ? b->open(b->arg, &b->desc.digest, out, err)
                    : cb_error_set(err, CB_ENOTFOUND, "its bytes are neither here nor in a known repository");
    for (size_t i = 0; s < 0 && s != -CB_ECANCELED && i < b->hosts.n; i++)
        s = cb_registry_blob(b->p->r, b->hosts.v[i], b->repos.v[i], &b->desc, out, err);
    return s;
}

static int pull_body(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct body *x = arg;
    int s = x->src ? 0 : open_source(x->b, &x->src, err);
    return s < 0 ? s : cb_blob_read(x->src, buf, n, got, err);
}

static int rewind_body(void *arg, struct cb_error *err CB_UNUSED)
{
    struct body *x = arg;
    if (x->src)
        x->src->ops->close(x->src);
    x->src = NULL;
    return 0;
}

static void sent(void *arg, uint64_t total)
{
    push_progress(arg, total);
}

static char *with_digest(const char *session, const struct cb_digest *d)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_text(d, text);
    cb_strbuf_addf(&sb, "%s%cdigest=", session, strchr(session, '?') ? '&' : '?');
    cb_percent_encode(&sb, text, strlen(text));
    return cb_strbuf_detach(&sb, NULL);
}

/* One PUT with everything. A session serves once: another try begins with another. */
static int put_all(struct push_blob *b, const char *session, struct cb_error *err)
{
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *url = with_digest(session, &b->desc.digest);
    struct body x = { .b = b };
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "PUT", .url = url, .scopes = &scope, .n_scopes = 1, .headers = &headers, .no_retry = true,
                             .body = { .pull = pull_body, .rewind = rewind_body, .arg = &x, .length = b->desc.size },
                             .on_sent = sent, .on_sent_arg = b };
    cb_strvec_push(&headers, "Content-Type: application/octet-stream");
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    rewind_body(&x, NULL);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(reply);
    if (status == 201 || status == 204 || status == 200) {
        b->result.sent += b->desc.size;
        return 0;
    }
    return reg_reply_error(reply, err, "upload to %s/%s", p->e.host, p->e.repo);
}

static bool worth_another(int s, const struct cb_error *e)
{
    if (s == -CB_ENOTFOUND)
        return e->http_status == 404; /* the session is gone */
    return s == -CB_ENET && e->http_status != 413 && e->http_status != 400 && e->http_status != 405;
}

int push_upload(struct push_blob *b, char *session, struct cb_error *err)
{
    int s = 0;
    for (unsigned i = 0; i < MAX_TRIES; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        s = session ? 0 : open_session(b, &session, &e);
        if (s == 0)
            s = put_all(b, session, &e);
        free(CB_TAKE(session));
        if (s == 0)
            return 0;
        bool again = worth_another(s, &e) && i + 1 < MAX_TRIES && !cb_canceled(b->p->r->o.cancel);
        s = cb_error_move(err, &e);
        if (!again)
            return s;
        nanosleep(&(struct timespec){ .tv_sec = (time_t)(1u << i) / 2, .tv_nsec = 500000000L }, NULL);
    }
    return s;
}
