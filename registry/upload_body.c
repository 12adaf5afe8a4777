/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upload.h"

static void await_opening(struct upload_body *x)
{
    struct cb_push *p = x->b->p;
    pthread_mutex_lock(&p->mu);
    while (x->opening)
        pthread_cond_wait(&x->b->changed, &p->mu);
    pthread_mutex_unlock(&p->mu);
}

static void close_source(struct upload_body *x)
{
    await_opening(x);
    if (x->src)
        x->src->ops->close(x->src);
    x->src = NULL;
    x->at = 0;
}

static int open_source(struct upload_body *x, uint64_t offset, struct cb_error *err)
{
    struct push_blob *b = x->b;
    int s = b->open ? b->open(b->arg, &b->desc.digest, &x->src, err)
                    : cb_error_set(err, CB_ENOTFOUND, "its bytes are neither here nor in a known repository");
    x->at = 0;
    x->remote = false;
    for (size_t i = 0; s < 0 && s != -CB_ECANCELED && i < b->hosts.n; i++) {
        struct reg_blob_place place = { .host = b->hosts.v[i], .repo = b->repos.v[i], .offset = offset,
                                        .cancel = b->p->e.cancel };
        s = reg_blob_open(b->p->r, &place, &b->desc, &x->src, err);
        x->at = offset;
        x->remote = true;
    }
    return s;
}

/* A failure is found again by whoever needs the bytes. */
static void open_job(void *arg)
{
    struct upload_body *x = arg;
    struct cb_push *p = x->b->p;
    if (!push_stopped(p) && open_source(x, 0, NULL) < 0)
        x->src = NULL;
    pthread_mutex_lock(&p->mu);
    x->opening = false;
    pthread_cond_broadcast(&x->b->changed);
    pthread_mutex_unlock(&p->mu);
}

void upload_body_ahead(struct upload_body *x)
{
    if (x->b->open || !x->b->hosts.n || x->src)
        return;
    x->opening = true;
    cb_pool_submit(x->b->p->openers, open_job, x);
}

static int skip(struct upload_body *x, uint64_t n, struct cb_error *err)
{
    char buf[16384];
    while (n) {
        size_t got;
        int s = cb_blob_read(x->src, buf, (size_t)CB_MIN(n, sizeof buf), &got, err);
        if (s == 0 && !got)
            s = cb_error_set(err, CB_EVERIFY, "the blob ends %llu bytes early", (unsigned long long)n);
        if (s < 0)
            return s;
        n -= got;
        x->at += got;
    }
    return 0;
}

/* A source that cannot seek is opened anew to go back, and read to go forward. */
static int place_source(struct upload_body *x, uint64_t offset, struct cb_error *err)
{
    if (x->src && x->at != offset && x->src->ops->seek) {
        int s = cb_blob_seek(x->src, offset, err);
        x->at = s == 0 ? offset : x->at;
        return s;
    }
    if (x->src && x->at > offset)
        close_source(x);
    int s = x->src ? 0 : open_source(x, offset, err);
    if (s == 0 && x->at != offset && x->src->ops->seek)
        return place_source(x, offset, err);
    return s == 0 ? skip(x, offset - x->at, err) : s;
}

/* The end is looked at before the last bytes go: what does not have its digest never arrives whole. */
static int see_end(struct upload_body *x, struct cb_error *err)
{
    char more;
    size_t got;
    int s = cb_blob_read(x->src, &more, 1, &got, err);
    return s == 0 && got ? cb_error_set(err, CB_EVERIFY, "the blob is longer than it should be") : s;
}

static int read_source(struct upload_body *x, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    uint64_t offset = x->from + x->pos;
    await_opening(x);
    int s = x->src && x->at == offset ? 0 : place_source(x, offset, err);
    if (s == 0)
        s = cb_blob_read(x->src, buf, (size_t)CB_MIN((uint64_t)n, x->length - x->pos), got, err);
    if (s < 0)
        return s;
    x->at += *got;
    x->pos += *got;
    return x->at == x->b->desc.size ? see_end(x, err) : 0;
}

static int pull(void *arg, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct upload_body *x = arg;
    *got = 0;
    if (push_stopped(x->b->p))
        return cb_error_set(err, CB_ECANCELED, "stopped");
    if (atomic_load(&x->b->found))
        return cb_error_set(err, CB_ELOCAL, "it is there already");
    if (x->pos == x->length)
        return 0;
    int s = read_source(x, buf, n, got, err);
    if (s < 0)
        close_source(x);
    x->b->source_failed = s < 0;
    return s;
}

static int rewind_part(void *arg, struct cb_error *err CB_UNUSED)
{
    ((struct upload_body *)arg)->pos = 0;
    return 0;
}

/* total begins anew where a 401 or a redirect made the body go twice. */
static void on_sent(void *arg, uint64_t total)
{
    struct upload_body *x = arg;
    x->b->result.sent += total >= x->sent ? total - x->sent : total;
    x->sent = total;
    push_progress(x->b, x->from + total);
}

void upload_body_part(struct upload_body *x, uint64_t from, uint64_t length)
{
    x->from = from;
    x->length = length;
    x->pos = 0;
    x->sent = 0;
    x->b->source_failed = false;
}

void upload_body_fill(struct upload_body *x, struct reg_request *q)
{
    q->body = (struct cb_http_body){ .pull = pull, .rewind = rewind_part, .arg = x, .length = x->length };
    q->on_sent = on_sent;
    q->on_sent_arg = x;
}

void upload_body_done(struct upload_body *x)
{
    close_source(x);
}
