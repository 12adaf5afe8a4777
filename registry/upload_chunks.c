/* SPDX-License-Identifier: Apache-2.0 */
#include <strings.h>

#include "registry/upload.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define MAX_FAULTS 5 /* without a byte of progress */

static bool says(const struct cb_error *e, const char *words)
{
    return strcasestr(cb_error_text(e), words) != NULL;
}

static bool is_first(const struct upload *u)
{
    return u->reached == u->body.length && !u->offset && !upload_knows(u, UPLOAD_CHUNKS_WORK);
}

/* What a refused chunk means. e has its status and the registry's words. */
static int step_of(struct upload *u, const struct cb_error *e)
{
    int fail = -(int)e->code;
    switch (e->http_status) {
    case 400:
        return says(e, "UPLOAD_UNKNOWN") ? UPLOAD_LOST : fail;
    case 401: /* the question how far it is gets a new token; that one must do */
        return u->renewed ? fail : UPLOAD_ASK;
    case 404:
        return is_first(u) ? UPLOAD_WHOLE : UPLOAD_LOST;
    case 405:
    case 501:
        return UPLOAD_WHOLE;
    case 410:
        return UPLOAD_LOST;
    case 413:
        return UPLOAD_SMALLER;
    case 416: /* GHCR has a limit of 4 MiB and says so with this */
        if (says(e, "permissible limit") || says(e, "too large"))
            return UPLOAD_SMALLER;
        return u->doubtful ? UPLOAD_LOST : UPLOAD_ASK;
    default:
        return upload_is_transient((unsigned)e->http_status) ? UPLOAD_ASK : fail;
    }
}

static int refused(struct upload *u, struct cb_http_reply *reply, struct cb_error *err)
{
    struct cb_push *p = u->b->p;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    upload_note_wait(u->b, reply);
    int s = reg_reply_error(reply, &e, "chunk of an upload to %s/%s", p->e.host, p->e.repo);
    if (e.http_status == 401 && u->renewed)
        cb_error_wrap(&e, "with a new token for repository:%s:pull,push", p->e.repo);
    int step = step_of(u, &e);
    u->renewed = e.http_status == 401;
    return upload_failed(u, s, step, &e, err);
}

/* A 2xx may come with a Range: right, less than was sent, more, "0-0", or always the first one (ECR). */
static int accepted(struct upload *u, const struct cb_http_reply *reply, struct cb_error *err)
{
    uint64_t have = upload_range(cb_http_header(reply, "Range")), want = u->offset + u->body.length;
    int s = upload_follow(u, reply, err);
    if (s < 0)
        return s;
    bool silent = have == UINT64_MAX || have == 1 || have == want;
    if (!silent && u->offset && have <= u->offset) {
        upload_learn(u, UPLOAD_RANGE_STUCK);
        silent = true;
    }
    upload_learn(u, UPLOAD_CHUNKS_WORK);
    u->renewed = false;
    if (silent || upload_knows(u, UPLOAD_RANGE_STUCK)) {
        u->doubtful = false;
        u->offset = want;
        return UPLOAD_ON;
    }
    cb_error_set(&u->why, CB_ENET, "registry %s says that it has %llu bytes of %llu", u->b->p->e.host,
                 (unsigned long long)have, (unsigned long long)want);
    u->offset = CB_MIN(have, want);
    return UPLOAD_ASK;
}

static int send_chunk(struct upload *u, struct cb_error *err)
{
    struct push_blob *b = u->b;
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    uint64_t chunk = upload_chunk_size(u); /* once: other uploads change it */
    uint64_t n = CB_MIN(chunk, b->desc.size - u->offset);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "PATCH", .url = u->at.url, .scopes = &scope, .n_scopes = 1,
                             .headers = &headers, .no_retry = true, .keep_401 = true };
    cb_strvec_push(&headers, "Content-Type: application/octet-stream");
    cb_strvec_pushf(&headers, "Content-Range: %llu-%llu", (unsigned long long)u->offset,
                    (unsigned long long)(u->offset + n - 1));
    upload_body_part(&u->body, u->offset, n);
    upload_body_fill(&u->body, &q);
    int64_t since = cb_time_monotonic();
    int s = reg_send(p->r, &p->e, &q, &reply, &e);
    u->reached = CB_MAX(u->reached, u->offset + (s < 0 ? u->body.sent : n));
    if (s < 0)
        return upload_failed(u, s, UPLOAD_ASK, &e, err);
    unsigned status = cb_http_status(reply);
    if (status < 200 || status >= 300)
        return refused(u, reply, err);
    s = accepted(u, reply, err);
    if (s == UPLOAD_ON)
        upload_chunk_taken(u, n, cb_time_monotonic() - since);
    return s;
}

/* ---- the end ---- */

static int close_refused(struct upload *u, struct cb_http_reply *reply, struct cb_error *err)
{
    struct cb_push *p = u->b->p;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    upload_note_wait(u->b, reply);
    int s = reg_reply_error(reply, &e, "end of an upload to %s/%s", p->e.host, p->e.repo);
    unsigned status = cb_http_status(reply);
    int step = s;
    if (status == 404 || status == 410 || (status == 400 && (u->spliced || says(&e, "UPLOAD_UNKNOWN"))))
        step = UPLOAD_LOST;
    else if (status == 416)
        step = u->doubtful ? UPLOAD_LOST : UPLOAD_ASK;
    else if (upload_is_transient(status))
        step = UPLOAD_LOST;
    return upload_failed(u, s, step, &e, err);
}

/* PUT with the digest and no bytes; may be repeated in http, as a session that is closed already is then unknown. */
static int close_session(struct upload *u, struct cb_error *err)
{
    struct cb_push *p = u->b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *url = upload_url_with_digest(u->at.url, &u->b->desc.digest);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "PUT", .url = url, .scopes = &scope, .n_scopes = 1 };
    u->b->source_failed = false;
    int s = reg_send(p->r, &p->e, &q, &reply, &e);
    if (s < 0)
        return upload_failed(u, s, s == -CB_EAUTH ? s : UPLOAD_LOST, &e, err);
    unsigned status = cb_http_status(reply);
    return status == 200 || status == 201 || status == 204 ? UPLOAD_DONE : close_refused(u, reply, err);
}

/* ---- faults ---- */

static void say_resumed(const struct upload *u)
{
    const struct cb_registry_options *o = &u->b->p->r->o;
    char id[CB_DIGEST_TEXT_MAX];
    if (!o->debug)
        return;
    cb_autofree char *line = cb_asprintf("blob %.19s goes on at byte %llu: %s",
                                         cb_digest_text(&u->b->desc.digest, id), (unsigned long long)u->offset,
                                         cb_error_text(&u->why));
    o->debug(o->debug_arg, line);
}

/* The registry says how far it is; from there it goes on. Nothing before it is sent again. */
static int recover(struct upload *u, struct cb_error *err)
{
    if (u->offset > u->mark) {
        u->mark = u->offset;
        u->faults = 0;
    }
    if (++u->faults > MAX_FAULTS)
        return cb_error_move(err, &u->why);
    u->spliced = true;
    int s = u->renewed ? 0 : upload_pause(u, u->faults - 1, err);
    if (s == 0)
        s = upload_ask(u, u->why.http_status != 0, err);
    if (s == UPLOAD_ON)
        say_resumed(u);
    return s;
}

static int shrink(struct upload *u, struct cb_error *err)
{
    int s = upload_chunk_refused(u, u->body.length, err);
    if (s < 0)
        return s;
    /* Refused by its header alone, as it should be: nobody has any of it. */
    return u->body.sent ? recover(u, err) : UPLOAD_ON;
}

static int no_chunks(struct upload *u, struct cb_error *err)
{
    bool refuses = upload_knows(u, UPLOAD_CHUNKS_WORK);
    if (!refuses)
        upload_learn(u, UPLOAD_NO_CHUNKS);
    return u->whole ? cb_error_move(err, &u->why) : UPLOAD_WHOLE;
}

int upload_chunks(struct upload *u, struct cb_error *err)
{
    for (;;) {
        upload_journal_note(u);
        int s = u->offset < u->b->desc.size ? send_chunk(u, err) : close_session(u, err);
        if (s == UPLOAD_ASK)
            s = recover(u, err);
        else if (s == UPLOAD_SMALLER)
            s = shrink(u, err);
        else if (s == UPLOAD_WHOLE)
            s = no_chunks(u, err);
        if (s != UPLOAD_ON)
            return s;
    }
}
