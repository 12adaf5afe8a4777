/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define MUCH (UINT64_C(64) << 20)
#define MAX_LOOKS 3
#define MAX_UPLOADS 2 /* of a blob that the registry says it took */
#define FIRST_LOOK_NS (100 * INT64_C(1000000))
#define LAST_NS (2 * INT64_C(1000000000)) /* for what is said when all else is given up */

int cb_push_begin(struct cb_registry *r, const struct cb_push_options *o, struct cb_push **out, struct cb_error *err)
{
    struct cb_push *p = CB_NEW(struct cb_push);
    r = r->client ? r->client : r;
    p->r = r;
    p->o = *o;
    pthread_mutex_init(&p->mu, NULL);
    pthread_cond_init(&p->cond, NULL);
    pthread_cond_init(&p->room, NULL);
    p->by_digest = cb_hashmap_new();
    p->cancel = cb_cancel_new((struct cb_cancel *)(uintptr_t)r->o.cancel);
    p->o.jobs = o->jobs ? o->jobs : CB_PUSH_JOBS;
    p->pool = cb_pool_new("push", cb_push_width(o->jobs));
    p->openers = cb_pool_new("push-open", cb_push_width(o->jobs));
    int s = reg_endpoint_push(r, o->target->host, o->target->repo, &p->e, err);
    if (s < 0) {
        cb_push_free(p);
        return s;
    }
    p->e.push = true;
    p->e.cancel = p->cancel;
    p->e.heard = &p->heard;
    *out = p;
    return 0;
}

/* Whoever waits for something of the push, but for the end of a blob. Under its lock. */
static void wake_all(struct cb_push *p)
{
    pthread_cond_broadcast(&p->cond);
    pthread_cond_broadcast(&p->room);
}

void cb_push_stop(struct cb_push *p)
{
    pthread_mutex_lock(&p->mu);
    if (!p->last)
        p->last = cb_cancel_new_for((struct cb_cancel *)(uintptr_t)p->r->o.cancel, LAST_NS);
    p->stop = true;
    wake_all(p);
    pthread_mutex_unlock(&p->mu);
    cb_cancel_trigger(p->cancel, 0);
}

void cb_push_free(struct cb_push *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->mu);
    p->stop = true;
    wake_all(p);
    pthread_mutex_unlock(&p->mu);
    cb_pool_free(p->pool);
    cb_pool_free(p->openers);
    push_spares_done(p);
    for (size_t i = 0; i < p->n; i++) {
        struct push_blob *b = p->v[i];
        cb_descriptor_done(&b->desc);
        cb_strvec_done(&b->hosts);
        cb_strvec_done(&b->repos);
        free(b->result.mounted_from);
        cb_error_done(&b->error);
        pthread_cond_destroy(&b->changed);
        free(b);
    }
    free(p->v);
    free(p->results);
    cb_hashmap_free(p->by_digest);
    reg_endpoint_done(&p->e);
    cb_cancel_free(p->last);
    cb_cancel_free(p->cancel);
    cb_error_done(&p->error);
    pthread_cond_destroy(&p->cond);
    pthread_cond_destroy(&p->room);
    pthread_mutex_destroy(&p->mu);
    free(p);
}

struct reg_endpoint push_last_words(struct cb_push *p)
{
    struct reg_endpoint e = p->e;
    e.heard = NULL;
    pthread_mutex_lock(&p->mu);
    e.cancel = p->last ? p->last : p->cancel;
    pthread_mutex_unlock(&p->mu);
    return e;
}

int64_t cb_push_heard(const struct cb_push *p)
{
    return atomic_load(&p->heard);
}

void push_progress(struct push_blob *b, uint64_t current)
{
    atomic_store(&b->p->heard, cb_time_monotonic());
    if (b->p->o.on_blob)
        b->p->o.on_blob(b->p->o.arg, &b->desc.digest, current, b->desc.size, NULL);
}

/* ---- one blob ---- */

bool push_stopped(struct cb_push *p)
{
    pthread_mutex_lock(&p->mu);
    bool stopped = p->stop || p->error.code;
    pthread_mutex_unlock(&p->mu);
    return stopped;
}

bool push_is_dead(const struct cb_push *p, const struct cb_error *why)
{
    return cb_canceled(p->r->o.cancel) || (why->code == CB_ENET && !why->http_status);
}

enum there { ABSENT, PRESENT, UNTOLD };

static int look(struct push_blob *b, struct cb_error *err)
{
    struct cb_push *p = b->p;
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autofree char *path = cb_asprintf("%s/blobs/%s", p->e.repo, cb_digest_text(&b->desc.digest, digest));
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "HEAD", .path = path, .scopes = &scope, .n_scopes = 1 };
    int s = reg_send(p->r, &p->e, &q, &reply, err);
    if (s < 0)
        return s;
    uint64_t size = cb_http_content_length(reply);
    unsigned status = cb_http_status(reply);
    if (status == 200)
        return size == b->desc.size || size == UINT64_MAX ? PRESENT : ABSENT;
    if (cb_http_status_is_retryable(status))
        return reg_reply_error(reply, err, "look for it in %s/%s", p->e.host, p->e.repo);
    return status == 404 ? ABSENT : UNTOLD;
}

int push_is_there(struct push_blob *b, struct cb_error *err)
{
    int s = look(b, err);
    return s < 0 ? s : s == PRESENT;
}

/* R24: nothing refers to a blob that the registry only says it took. Some need a moment; some do not tell. */
static int is_kept(struct push_blob *b, struct cb_error *err)
{
    for (unsigned i = 0;; i++) {
        int s = look(b, err);
        if (s != ABSENT || i == MAX_LOOKS - 1)
            return s < 0 ? s : s != ABSENT;
        s = reg_pause(b->p->r, b->p->cancel, FIRST_LOOK_NS << (2 * i), err);
        if (s < 0)
            return s;
    }
}

/* Whether more bodies than jobs may be on their way: small ones wait for round trips more than for the line, large ones
 * are not sooner there when there are more of them. */
static bool has_room(const struct push_blob *b)
{
    const struct cb_push *p = b->p;
    return p->bodies < p->o.jobs || p->body_bytes + b->desc.size <= MUCH;
}

static void body_enter(struct push_blob *b)
{
    struct cb_push *p = b->p;
    pthread_mutex_lock(&p->mu);
    while (!has_room(b) && !p->stop && !p->error.code)
        pthread_cond_wait(&p->room, &p->mu);
    p->bodies++;
    p->body_bytes += b->desc.size;
    pthread_mutex_unlock(&p->mu);
}

static void body_leave(struct push_blob *b)
{
    struct cb_push *p = b->p;
    pthread_mutex_lock(&p->mu);
    p->bodies--;
    p->body_bytes -= b->desc.size;
    pthread_cond_broadcast(&p->room);
    pthread_mutex_unlock(&p->mu);
}

int push_send(struct push_blob *b, struct push_session *session, struct cb_error *err)
{
    for (unsigned i = 0; i < MAX_UPLOADS; i++) {
        body_enter(b);
        struct cb_span span cb_cleanup_span = cb_span_begin("upload", "send blob");
        cb_span_digest(&span, "digest", &b->desc.digest);
        cb_span_number(&span, "bytes", b->desc.size);
        int s = push_stopped(b->p) ? cb_error_set(err, CB_ECANCELED, "stopped") : push_upload(b, session, err);
        body_leave(b);
        cb_span_end(&span);
        if (s == 0)
            s = is_kept(b, err);
        if (s != 0)
            return s < 0 ? s : 0;
    }
    return cb_error_set(err, CB_ENET, "%s took it %d times, and does not have it", b->p->e.host, MAX_UPLOADS);
}

/* 1: it is there already. */
static int present(struct push_blob *b, struct cb_error *err)
{
    int s = push_is_there(b, err);
    if (s == 1 && !b->done)
        b->result.outcome = CB_BLOB_PRESENT;
    return s;
}

/* 1: it is there now. */
static int mount(struct push_blob *b, struct push_session *session, struct cb_error *err)
{
    int s = push_mount(b, session, err);
    if (s == 1 && (s = is_kept(b, err)) == 1)
        b->result.outcome = CB_BLOB_MOUNTED;
    return s;
}

static int transfer(struct push_blob *b, struct cb_error *err)
{
    struct push_session session push_cleanup_session = { 0 };
    bool fresh = push_is_fresh(b);
    bool mount_first = fresh || (b->p->o.mount_first && !b->done);
    int s = mount_first ? mount(b, &session, err) : present(b, err);
    if (s == 0 && b->resent)
        return cb_error_set(err, CB_ENET, "%s has lost it, was sent again, and has lost that too", b->p->e.host);
    b->resent = b->resent || (s == 0 && b->done);
    if (s == 0 && !fresh)
        s = mount_first ? present(b, err) : mount(b, &session, err);
    if (s == 1 && session.url)
        push_session_cancel(b->p, session.url);
    if (s != 0)
        return s < 0 ? s : 0;
    free(CB_TAKE(b->result.mounted_from));
    b->result.outcome = b->open ? CB_BLOB_UPLOADED : CB_BLOB_COPIED;
    if (!session.url && !b->optional)
        push_spare_take(b->p, &session);
    return fresh ? push_send_fresh(b, &session, err) : push_send(b, &session, err);
}

static void blob_job(void *arg)
{
    static const char *const words[] = { "present", "mounted", "uploaded", "copied" };
    struct push_blob *b = arg;
    struct cb_push *p = b->p;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    char id[CB_DIGEST_TEXT_MAX];
    struct cb_span span cb_cleanup_span = cb_span_begin("upload", "push blob to %s/%s", p->e.host, p->e.repo);
    cb_span_digest(&span, "digest", &b->desc.digest);
    cb_span_number(&span, "bytes", b->desc.size);
    int s = push_stopped(p) ? cb_error_set(&e, CB_ECANCELED, "stopped") : transfer(b, &e);
    if (s < 0 && s != -CB_ECANCELED)
        cb_error_wrap(&e, "blob %.19s", cb_digest_text(&b->desc.digest, id));
    cb_span_text(&span, "outcome", s < 0 ? "failed" : words[b->result.outcome]);
    cb_span_end(&span);
    if (s == 0 && p->o.on_blob)
        p->o.on_blob(p->o.arg, &b->desc.digest, b->desc.size, b->desc.size, &b->result);
    pthread_mutex_lock(&p->mu);
    b->done = b->done || s == 0;
    b->ended = true;
    if (s < 0)
        cb_error_copy(&b->error, &e);
    if (s < 0 && !p->o.keep_going && !b->optional && !p->error.code)
        cb_error_move(&p->error, &e);
    if (!b->optional)
        p->open--;
    pthread_cond_broadcast(&b->changed);
    if (!p->open || p->error.code)
        wake_all(p);
    pthread_mutex_unlock(&p->mu);
}

/* Under p->mu. True where it has to be tried again: it is wanted now, and was only hoped for before. */
static bool promote(struct push_blob *b, const struct cb_push_blob *from)
{
    if (!b->optional || from->optional)
        return false;
    b->optional = false;
    bool again = b->ended && !b->done;
    if (!b->ended || again)
        b->p->open++;
    if (again) {
        b->ended = false;
        cb_error_done(&b->error);
    }
    return again;
}

int cb_push_add(struct cb_push *p, const struct cb_push_blob *from, struct cb_error *err CB_UNUSED)
{
    char digest[CB_DIGEST_TEXT_MAX];
    cb_digest_text(&from->desc.digest, digest);
    pthread_mutex_lock(&p->mu);
    struct push_blob *b = cb_hashmap_get(p->by_digest, digest);
    if (b) {
        bool again = promote(b, from);
        pthread_mutex_unlock(&p->mu);
        if (again)
            cb_pool_submit(p->pool, blob_job, b);
        return 0;
    }
    b = CB_NEW(struct push_blob);
    b->p = p;
    pthread_cond_init(&b->changed, NULL);
    cb_descriptor_copy(&b->desc, &from->desc);
    b->open = from->open;
    b->arg = from->arg;
    b->optional = from->optional;
    b->fresh = from->fresh && from->open && !from->n_origins;
    b->result.digest = from->desc.digest;
    b->result.size = from->desc.size;
    for (size_t i = 0; i < from->n_origins; i++) {
        cb_strvec_push(&b->hosts, from->origin_hosts[i]);
        cb_strvec_push(&b->repos, from->origin_repos[i]);
    }
    CB_GROW(p->v, p->n, p->cap);
    p->v[p->n++] = b;
    cb_hashmap_put(p->by_digest, digest, b);
    p->open += !b->optional;
    if (b->fresh && !b->optional && p->to_come)
        p->to_come--;
    pthread_mutex_unlock(&p->mu);
    cb_pool_submit(p->pool, blob_job, b);
    return 0;
}

int cb_push_wait(struct cb_push *p, struct cb_error *err)
{
    pthread_mutex_lock(&p->mu);
    while (p->open)
        pthread_cond_wait(&p->cond, &p->mu);
    int s = p->error.code ? cb_error_copy(err, &p->error) : 0;
    pthread_mutex_unlock(&p->mu);
    return s;
}

int push_look_again(struct cb_push *p, unsigned looks, struct cb_error *err)
{
    int s = reg_pause(p->r, p->cancel, cb_http_backoff_base(p->r->o.http) << looks, err);
    if (s < 0)
        return s;
    pthread_mutex_lock(&p->mu);
    for (size_t i = 0; i < p->n; i++)
        if (!p->v[i]->optional) {
            p->open++;
            cb_pool_submit(p->pool, blob_job, p->v[i]);
        }
    pthread_mutex_unlock(&p->mu);
    return cb_push_wait(p, err);
}

int cb_push_wait_blob(struct cb_push *p, const struct cb_digest *d, struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&p->mu);
    struct push_blob *b = cb_hashmap_get(p->by_digest, cb_digest_text(d, digest));
    while (b && !b->ended)
        pthread_cond_wait(&b->changed, &p->mu);
    int s = 0;
    if (!b)
        s = cb_error_set(err, CB_EINTERNAL, "blob %s was not added", digest);
    else if (!b->done)
        s = cb_error_copy(err, p->error.code ? &p->error : &b->error);
    pthread_mutex_unlock(&p->mu);
    return s;
}

bool push_brings_new(struct cb_push *p)
{
    bool any = false;
    pthread_mutex_lock(&p->mu);
    for (size_t i = 0; i < p->n && !any; i++)
        any = p->v[i]->fresh || (p->v[i]->done && p->v[i]->result.outcome != CB_BLOB_PRESENT);
    pthread_mutex_unlock(&p->mu);
    return any;
}

size_t cb_push_results(const struct cb_push *cp, const struct cb_push_result **out)
{
    struct cb_push *p = (struct cb_push *)(uintptr_t)cp;
    size_t n = 0;
    pthread_mutex_lock(&p->mu);
    free(p->results);
    p->results = cb_calloc(p->n + 1, sizeof *p->results);
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i]->done && !p->v[i]->optional)
            p->results[n++] = p->v[i]->result;
    *out = p->results;
    pthread_mutex_unlock(&p->mu);
    return n;
}
