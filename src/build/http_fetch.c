/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <strings.h>
#include <unistd.h>

#include "build/fetch.h"
#include "http/http.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"
#include "util/timeutil.h"

#define COPY_BUF ((size_t)256 << 10)
#define TRIES 3 /* of a body that is cut short; up to its header the client has tried again by itself */

void cb_http_fetched_done(struct cb_http_fetched *f)
{
    free(f->etag);
    free(f->last_modified);
    *f = (struct cb_http_fetched){ 0 };
}

int64_t cb_http_mtime(const char *last_modified)
{
    int64_t sec = 0;
    return last_modified && cb_time_parse_http(last_modified, &sec) && sec > 0 ? sec : 0;
}

/* A header that goes into a request or a record as it came. */
static char *plain_header(const struct cb_http_reply *reply, const char *name)
{
    const char *v = cb_http_header(reply, name);
    if (!v || !*v || strlen(v) > 1024)
        return NULL;
    for (const char *p = v; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return NULL;
    return cb_strdup(v);
}

/* RFC 9110 8.8.2.2: a file may change again in the second that it was last changed in, so a time as young as the answer
 * says nothing. Neither does a tag then: common servers make it of time and size. */
static bool is_young(const struct cb_http_reply *reply)
{
    const char *date = cb_http_header(reply, "Date"), *modified = cb_http_header(reply, "Last-Modified");
    int64_t answered, changed;
    return modified && !(date && cb_time_parse_http(date, &answered) && cb_time_parse_http(modified, &changed) &&
                         changed < answered);
}

static void conditions(const struct cb_http_fetch *o, struct cb_strvec *headers)
{
    cb_strvec_push(headers, "Accept: */*");
    if (o->etag)
        cb_strvec_pushf(headers, "If-None-Match: %s", o->etag);
    else if (o->last_modified)
        cb_strvec_pushf(headers, "If-Modified-Since: %s", o->last_modified);
}

/* Some servers give the tag and ignore the condition. A weak tag says no less than it said the first time. */
static bool is_unchanged(const struct cb_http_fetch *o, const struct cb_http_reply *reply)
{
    unsigned status = cb_http_status(reply);
    if (!o->etag && !o->last_modified)
        return false;
    return status == 304 || (status == 200 && o->etag && cb_streq(cb_http_header(reply, "ETag"), o->etag));
}

static int refused(const struct cb_http_reply *reply, const struct cb_remote_auth *auth, struct cb_error *err)
{
    struct cb_strbuf advice cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_http_crossed_origin(reply))
        cb_strbuf_adds(&advice, "it redirects to another host, where no credentials go");
    else
        cb_remote_auth_advise(auth, "HTTP_AUTH_TOKEN_", &advice);
    return cb_error_set(err, CB_EAUTH, "HTTP status %u: %s", cb_http_status(reply), advice.buf);
}

static int check_status(const struct cb_http_reply *reply, const struct cb_remote_auth *auth, struct cb_error *err)
{
    unsigned status = cb_http_status(reply);
    if (status >= 200 && status < 300 && status != 206)
        return 0;
    int r = status == 401 || status == 403
                ? refused(reply, auth, err)
                : cb_error_set(err, CB_ENET, "HTTP status %u%s", status, status == 404 ? ": no such file" : "");
    if (err)
        err->http_status = (int)status;
    return r;
}

static int write_body(const struct cb_build_env *env, const struct cb_http_fetch *o, struct cb_http_reply *reply,
                      struct cb_http_fetched *out, struct cb_error *err)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(o->alg ? o->alg : CB_DIGEST_SHA256);
    cb_autofree char *buf = cb_malloc(COPY_BUF);
    uint64_t total = cb_http_content_length(reply), told = 0;
    size_t got = 1;
    int r = 0;
    if (total != UINT64_MAX && total > CB_MAX_DOWNLOAD)
        return cb_error_set(err, CB_EVERIFY, "%llu bytes are too many", (unsigned long long)total);
    for (out->size = 0; r == 0 && got;) {
        r = cb_cancel_check(env->cancel, err);
        if (r == 0)
            r = cb_http_read(reply, buf, COPY_BUF, &got, err);
        if (r == 0 && (out->size += got) > CB_MAX_DOWNLOAD)
            r = cb_error_set(err, CB_EVERIFY, "it is larger than %llu bytes", (unsigned long long)CB_MAX_DOWNLOAD);
        if (r < 0 || got == 0)
            break;
        cb_hasher_update(h, buf, got);
        r = cb_fd_write_all(o->fd, buf, got, err);
        if (out->size - told >= COPY_BUF) {
            told = out->size;
            cb_step_status(o->step, "download", told, total == UINT64_MAX ? 0 : total);
        }
    }
    cb_hasher_finish(h, &out->digest);
    return r;
}

static int keep_body(const struct cb_build_env *env, const struct cb_http_fetch *o, struct cb_http_reply *reply,
                     struct cb_http_fetched *out, struct cb_error *err)
{
    if (ftruncate(o->fd, 0) < 0 || lseek(o->fd, 0, SEEK_SET) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "empty a file");
    int r = write_body(env, o, reply, out, err);
    if (r < 0)
        return r;
    out->etag = plain_header(reply, "ETag");
    out->last_modified = plain_header(reply, "Last-Modified");
    out->young = is_young(reply);
    cb_step_status(o->step, "download", out->size, out->size);
    cb_step_status_done(o->step, "download");
    return 0;
}

/* began: whether the answer did. */
static int fetch_once(const struct cb_fetcher *f, const struct cb_http_fetch *o, struct cb_http_fetched *out,
                      bool *began, struct cb_error *err)
{
    const struct cb_build_env *env = f->env;
    struct cb_remote_auth auth cb_cleanup_remote_auth = { 0 };
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    *began = false;
    int r = cb_http_auth(f, o->url, &auth, err);
    if (r < 0)
        return r;
    conditions(o, &headers);
    /* Whoever wrote the Dockerfile named this host, so it may be a private one; where redirects lead, nobody wrote. */
    struct cb_http_request req = { .cancel = env->cancel, .method = "GET", .url = o->url, .headers = &headers,
                                   .private_ok = true, .authorization = auth.value,
                                   .plain_http = !strncasecmp(o->url, "http:", 5) };
    r = cb_http_send(env->http, &req, &reply, err);
    *began = r == 0;
    if (r < 0)
        return r;
    out->unchanged = is_unchanged(o, reply);
    if (out->unchanged)
        return 0;
    r = check_status(reply, &auth, err);
    return r < 0 || o->probe ? r : keep_body(env, o, reply, out, err);
}

int cb_http_fetch(const struct cb_fetcher *f, const struct cb_http_fetch *o, struct cb_http_fetched *out,
                  struct cb_error *err)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    bool began = true;
    int r = -CB_ENET;
    for (unsigned i = 0; i < TRIES && r == -CB_ENET && began && !e.http_status; i++) {
        *out = (struct cb_http_fetched){ 0 };
        r = fetch_once(f, o, out, &began, &e);
    }
    if (r == 0)
        return 0;
    cb_http_fetched_done(out);
    cb_strbuf_add_url_redacted(&shown, o->url);
    if (!strstr(cb_error_text(&e), shown.buf))
        cb_error_wrap(&e, "%s", shown.buf);
    return cb_error_move(err, &e);
}
