/* SPDX-License-Identifier: Apache-2.0 */
/* Uploads that are begun before there is anything to send: when a layer is made its first byte goes at once. */
#include "registry/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define SPARE_NS (300 * INT64_C(1000000000)) /* a registry may forget what it hears nothing of */

/* 1: an upload is open. Whatever else the registry says is for the upload itself to find out. */
static int begin(struct cb_push *p, struct push_session *out, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    cb_autofree char *path = cb_asprintf("%s/blobs/uploads/", p->e.repo);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "POST", .path = path, .scopes = &scope, .n_scopes = 1, .repeatable = true };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    unsigned status = cb_http_status(reply);
    if (status == 401 || status == 403)
        return reg_reply_error(reply, err, "push to %s/%s", p->e.host, p->e.repo);
    return status == 202 && push_session_take(&p->e, reply, out, NULL) == 0;
}

static bool announce(struct cb_push *p)
{
    pthread_mutex_lock(&p->mu);
    bool wanted = p->n_spares + p->opening < PUSH_SPARES && !p->stop;
    p->opening += wanted;
    pthread_mutex_unlock(&p->mu);
    return wanted;
}

/* What was announced; session's url may be NULL, for none. */
static void give(struct cb_push *p, struct push_session *session, bool ahead)
{
    pthread_mutex_lock(&p->mu);
    if (session->url)
        p->spares[p->n_spares++] = (struct push_spare){ *session, cb_time_monotonic() };
    p->let_in = p->let_in || (session->url && ahead);
    p->opening--;
    pthread_cond_broadcast(&p->cond);
    pthread_mutex_unlock(&p->mu);
    *session = (struct push_session){ 0 };
}

/* What was begun ahead shows it too. Why that was refused is told by another try. */
static bool was_let_in(struct cb_push *p)
{
    pthread_mutex_lock(&p->mu);
    while (!p->let_in && p->opening && !p->stop)
        pthread_cond_wait(&p->cond, &p->mu);
    bool in = p->let_in;
    pthread_mutex_unlock(&p->mu);
    return in;
}

int cb_push_check(struct cb_push *p, struct cb_error *err)
{
    struct push_session session push_cleanup_session = { 0 };
    if (was_let_in(p))
        return 0;
    bool kept = announce(p);
    int s = begin(p, &session, err);
    if (kept)
        give(p, &session, false);
    else if (session.url)
        push_session_cancel(p, session.url);
    return s < 0 ? s : 0;
}

static void ahead(void *arg)
{
    struct cb_push *p = arg;
    struct push_session session push_cleanup_session = { 0 };
    if (!push_stopped(p))
        (void)!begin(p, &session, NULL);
    give(p, &session, true);
}

/* Under p->mu. */
static void fill_up(struct cb_push *p)
{
    while (p->n_spares + p->opening < CB_MIN(p->to_come, PUSH_SPARES) && !p->stop) {
        p->opening++;
        cb_pool_submit(p->openers, ahead, p);
    }
}

void cb_push_ahead(struct cb_push *p, unsigned n)
{
    pthread_mutex_lock(&p->mu);
    p->to_come = n;
    fill_up(p);
    pthread_mutex_unlock(&p->mu);
}

/* One that is there, or will be. Where as many wait as are being opened, another opens its own meanwhile. */
static struct push_spare take(struct cb_push *p)
{
    struct push_spare x = { .since = 0 };
    if (!p->n_spares && p->awaited < p->opening) {
        p->awaited++;
        while (!p->n_spares && p->opening && !p->stop)
            pthread_cond_wait(&p->cond, &p->mu);
        p->awaited--;
    }
    if (p->n_spares)
        x = p->spares[--p->n_spares];
    fill_up(p);
    return x;
}

void push_spare_take(struct cb_push *p, struct push_session *out)
{
    pthread_mutex_lock(&p->mu);
    struct push_spare x = take(p);
    pthread_mutex_unlock(&p->mu);
    if (!x.session.url)
        return;
    if (cb_time_monotonic() - x.since < SPARE_NS) {
        *out = x.session;
        return;
    }
    push_session_cancel(p, x.session.url);
    push_session_done(&x.session);
}

void push_spares_done(struct cb_push *p)
{
    bool dead = push_is_dead(p, &p->error);
    while (p->n_spares) {
        struct push_session *s = &p->spares[--p->n_spares].session;
        if (!dead)
            push_session_cancel(p, s->url);
        push_session_done(s);
    }
}
