/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upload.h"
#include "util/alloc.h"

/* 400, 403: it will not like the same any better. */
static int judge(struct upload *u, struct cb_http_reply *reply, struct cb_error *err)
{
    struct cb_push *p = u->b->p;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    unsigned status = cb_http_status(reply);
    if (status == 200 || status == 201 || status == 204)
        return UPLOAD_DONE;
    upload_note_wait(u->b, reply);
    int s = reg_reply_error(reply, &e, "upload to %s/%s", p->e.host, p->e.repo);
    bool chunks = !u->whole && p->r->o.chunk_size != UINT64_MAX && !upload_knows(u, UPLOAD_NO_CHUNKS);
    if (status == 413 && chunks) {
        upload_whole_refused(u, u->b->desc.size);
        return upload_failed(u, s, UPLOAD_CHUNKED, &e, err);
    }
    bool again = status == 404 || status == 410 || (status == 400 && u->spliced) || upload_is_transient(status);
    return upload_failed(u, s, again ? UPLOAD_LOST : s, &e, err);
}

#define PROMPT (UINT64_C(64) << 20) /* more is sent only to who has asked for it */

/* The session was opened by the same right, so the registry will want the body, and is not asked whether it does (a
 * round trip): if not, it says so in the middle. Where that did not work out the next try asks.
 *
 * Another try is of the whole body again, in another session where anything of it may have arrived. */
int upload_whole(struct upload *u, struct cb_error *err)
{
    struct push_blob *b = u->b;
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *url = upload_url_with_digest(u->at.url, &b->desc.digest);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = {
        .method = "PUT", .url = url, .scopes = &scope, .n_scopes = 1, .headers = &headers, .no_retry = true,
        .prompt = b->desc.size <= PROMPT && !u->lost
    };
    cb_strvec_push(&headers, "Content-Type: application/octet-stream");
    upload_body_part(&u->body, 0, b->desc.size);
    upload_body_fill(&u->body, &q);
    int s = reg_send(p->r, &p->e, &q, &reply, &e);
    return s < 0 ? upload_failed(u, s, s == -CB_EAUTH ? s : UPLOAD_LOST, &e, err) : judge(u, reply, err);
}
