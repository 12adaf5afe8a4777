/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upload.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define NS INT64_C(1000000000)
#define MAX_LOST 3 /* sessions of one blob */
#define MAX_PAUSE_NS (30 * NS)

bool upload_is_transient(unsigned status)
{
    return status >= 500 || status == 408 || status == 429 || status == 499;
}

/* What the registry wants us to wait; requests of an upload are not repeated in http. */
void upload_note_wait(struct push_blob *b, const struct cb_http_reply *reply)
{
    const char *value = cb_http_header(reply, "Retry-After");
    int64_t seconds = value ? cb_http_retry_after(value, cb_time_now() / NS) : -1;
    b->wait_ns = seconds > 0 ? seconds * NS : 0;
}

int upload_pause(struct upload *u, unsigned tries, struct cb_error *err)
{
    struct push_blob *b = u->b;
    int64_t wait = b->wait_ns;
    b->wait_ns = 0;
    int64_t limit = cb_http_max_wait(b->p->r->o.http);
    if (wait > limit)
        return cb_error_set(err, CB_ENET, "%s (it asks to wait %lld s, which is over the limit of %lld s)",
                            cb_error_text(&u->why), (long long)(wait / NS), (long long)(limit / NS));
    /* A broken connection is not a busy host: less than the pause between requests of one kind. */
    int64_t base = CB_MIN(cb_http_backoff_base(b->p->r->o.http) / 4, MAX_PAUSE_NS);
    int64_t own = CB_MIN(base << CB_MIN(tries, 10u), MAX_PAUSE_NS);
    return reg_pause(b->p->r, b->p->e.cancel, CB_MAX(own, wait), err);
}

/* Who has only lost a source that was far away may get it again; wrong bytes from there are asked for again. */
static bool is_worth(struct upload *u, int s, const struct cb_error *e)
{
    const struct push_blob *b = u->b;
    if (b->source_failed)
        return s == -CB_ENET ||
               (s == -CB_EVERIFY && u->body.remote && cb_registry_blob_again(b->p->r, &b->desc.digest));
    return s == -CB_ENET || e->http_status;
}

int upload_failed(struct upload *u, int s, int step, struct cb_error *e, struct cb_error *err)
{
    if (step < 0 || !is_worth(u, s, e) || push_stopped(u->b->p))
        return cb_error_move(err, e);
    bool anew = s == -CB_EVERIFY && step == UPLOAD_ASK;
    u->gone = u->gone || (step == UPLOAD_LOST && (e->http_status == 404 || e->http_status == 410));
    cb_error_done(&u->why);
    (void)cb_error_move(&u->why, e);
    return anew ? UPLOAD_LOST : step;
}

static void tell_user(const struct push_blob *b, const struct cb_error *why)
{
    const struct cb_registry_options *o = &b->p->r->o;
    char id[CB_DIGEST_TEXT_MAX];
    if (!o->notice)
        return;
    cb_autofree char *line = cb_asprintf("blob %.19s is sent again: %s", cb_digest_text(&b->desc.digest, id),
                                         cb_error_text(why));
    o->notice(o->notice_arg, line);
}

/* Another try of a whole body may go into the same session where nothing of it has arrived. Half a body is nowhere
 * taken up again. Registries say 0-0 of none and of one byte: a digest that is refused shows which. */
static int is_untouched(struct upload *u, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (u->gone || !u->at.url)
        return 0;
    int s = upload_ask(u, false, &e);
    if (s == -CB_ECANCELED)
        return cb_error_move(err, &e);
    return s == UPLOAD_ON && (u->said == 1 || (u->said == UINT64_MAX && !u->body.sent));
}

static void give_up_session(struct upload *u)
{
    if (u->at.url && !u->gone)
        push_session_cancel(u->b->p, u->at.url);
    upload_session_drop(u);
}

/* From the beginning of the blob. Perhaps it is there all the same, and only the answer was lost. A session is left
 * behind only where nobody told us of it, or the registry does not let it be canceled. */
static int begin_anew(struct upload *u, bool whole, struct cb_error *err)
{
    if (++u->lost > MAX_LOST)
        return cb_error_move(err, &u->why);
    tell_user(u->b, &u->why);
    int s = upload_pause(u, u->lost, err);
    if (s == 0)
        s = push_is_there(u->b, err);
    if (s != 0)
        return s < 0 ? s : UPLOAD_DONE;
    s = whole ? is_untouched(u, err) : 0;
    if (s == 0)
        give_up_session(u);
    u->spliced = s == 1;
    return s < 0 ? s : UPLOAD_ON;
}

static int go(struct upload *u, struct cb_error *err)
{
    bool chunks = upload_wants_chunks(u);
    int s = chunks ? upload_journal_take(u, err) : 0;
    if (s == 0 && !u->offset)
        upload_body_ahead(&u->body);
    if (s == 0)
        s = u->at.url ? UPLOAD_ON : upload_open(u, err);
    if (s == UPLOAD_ON)
        push_look_beside(u->b);
    if (s == UPLOAD_ON)
        s = chunks ? upload_chunks(u, err) : upload_whole(u, err);
    switch (s) {
    case UPLOAD_LOST:
        return begin_anew(u, !chunks, err);
    case UPLOAD_WHOLE:
        u->whole = true;
        give_up_session(u);
        return UPLOAD_ON;
    case UPLOAD_CHUNKED:
        give_up_session(u);
        return UPLOAD_ON;
    default:
        return s;
    }
}

/* What a journal has is for the next push. */
static bool is_left_behind(const struct upload *u, const struct cb_error *e)
{
    struct cb_push *p = u->b->p;
    pthread_mutex_lock(&p->mu);
    bool dead = push_is_dead(p, p->error.code ? &p->error : e);
    pthread_mutex_unlock(&p->mu);
    return u->entry || dead;
}

int push_upload(struct push_blob *b, struct push_session *session, struct cb_error *err)
{
    struct upload u = { .b = b, .body = { .b = b }, .at = *session };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    *session = (struct push_session){ 0 };
    int s;
    do
        s = go(&u, &e);
    while (s == UPLOAD_ON);
    bool found = s < 0 && atomic_load(&b->found);
    if (found || (s < 0 && !is_left_behind(&u, &e)))
        give_up_session(&u);
    upload_journal_close(&u, s >= 0 || found);
    push_session_done(&u.at);
    upload_body_done(&u.body);
    cb_error_done(&u.why);
    return s < 0 ? cb_error_move(err, &e) : 0;
}
