/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/block_pipe.h"

#include "util/alloc.h"

#define PLAIN_BLOCK ((size_t)256 << 10)

struct slot {
    struct cb_block_pipe *pipe;
    uint8_t *in, *out;
    size_t n_in, n_out; /* n_out 0 when done: it failed */
    bool done;          /* under pipe->lock */
    bool marked;
    size_t n_marked;    /* bytes */
    struct cb_block_made made;
};

struct cb_block_pipe {
    struct cb_block_pipe_options o;
    size_t block_size;
    struct slot *slots;
    size_t n_slots;
    size_t head;       /* oldest under way */
    size_t under_way;
    struct cb_hasher *hasher;
    uint64_t size;
    pthread_mutex_t lock;
    pthread_cond_t one_done;
    void **idle; /* codec contexts, one for each block that is being compressed; under lock */
    size_t n_idle;
};

struct cb_block_pipe *cb_block_pipe_new(const struct cb_block_pipe_options *o)
{
    struct cb_block_pipe *p = CB_NEW(struct cb_block_pipe);
    p->o = *o;
    if (!o->sink)
        p->o.codec = NULL;
    p->block_size = !p->o.codec ? PLAIN_BLOCK : o->block_size ? o->block_size : p->o.codec->block_size;
    p->n_slots = p->o.codec && o->pool ? cb_pool_threads(o->pool) + 2u : 1;
    p->slots = cb_calloc(p->n_slots, sizeof *p->slots);
    p->idle = cb_calloc(p->n_slots, sizeof *p->idle);
    p->hasher = cb_hasher_new(CB_DIGEST_SHA256);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->one_done, NULL);
    return p;
}

static void wait_done(struct cb_block_pipe *p, struct slot *s)
{
    pthread_mutex_lock(&p->lock);
    while (!s->done)
        pthread_cond_wait(&p->one_done, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

static bool is_done(struct cb_block_pipe *p, struct slot *s)
{
    pthread_mutex_lock(&p->lock);
    bool done = s->done;
    pthread_mutex_unlock(&p->lock);
    return done;
}

void cb_block_pipe_free(struct cb_block_pipe *p)
{
    if (!p)
        return;
    for (; p->under_way; p->under_way--, p->head = (p->head + 1) % p->n_slots)
        wait_done(p, &p->slots[p->head]);
    while (p->n_idle)
        p->o.codec->context_free(p->idle[--p->n_idle]);
    free(p->idle);
    for (size_t i = 0; i < p->n_slots; i++) {
        free(p->slots[i].in);
        free(p->slots[i].out);
    }
    free(p->slots);
    cb_hasher_free(p->hasher);
    pthread_cond_destroy(&p->one_done);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

static void *take_context(struct cb_block_pipe *p)
{
    pthread_mutex_lock(&p->lock);
    void *ctx = p->n_idle ? p->idle[--p->n_idle] : NULL;
    pthread_mutex_unlock(&p->lock);
    return ctx ? ctx : p->o.codec->context_new(p->o.level);
}

static void compress_slot(void *arg)
{
    struct slot *s = arg;
    struct cb_block_pipe *p = s->pipe;
    const struct cb_codec *c = p->o.codec;
    void *ctx = take_context(p);
    struct cb_span span cb_cleanup_span = cb_span_begin("compress", "compress a block");
    size_t got = ctx ? c->compress(ctx, s->in, s->n_in, s->out, c->bound(p->block_size)) : 0;
    cb_span_number(&span, "bytes", s->n_in);
    cb_span_number(&span, "compressed_bytes", got);
    cb_span_end(&span);
    if (s->marked)
        cb_digest_of(&s->made.digest, s->in, CB_MIN(s->n_marked, s->n_in));
    pthread_mutex_lock(&p->lock);
    if (ctx)
        p->idle[p->n_idle++] = ctx;
    s->n_out = got;
    s->done = true;
    pthread_cond_signal(&p->one_done);
    pthread_mutex_unlock(&p->lock);
}

static int emit(struct cb_block_pipe *p, const uint8_t *buf, size_t n, struct cb_error *err)
{
    if (!p->o.sink)
        return 0;
    if (p->o.codec)
        cb_hasher_update(p->hasher, buf, n);
    p->size += n;
    return p->o.sink->ops->write(p->o.sink, buf, n, err);
}

static int retire(struct cb_block_pipe *p, struct cb_error *err)
{
    struct slot *s = &p->slots[p->head];
    wait_done(p, s);
    p->head = (p->head + 1) % p->n_slots;
    p->under_way--;
    s->n_in = 0;
    if (!s->n_out)
        return cb_error_set(err, CB_EINTERNAL, "%s at level %d failed", p->o.codec->name, p->o.level);
    s->made.offset = p->size;
    s->made.end = p->size + s->n_out;
    if (s->marked)
        p->o.on_block(p->o.arg, &s->made);
    s->marked = false;
    return emit(p, s->out, s->n_out, err);
}

static void prepare(struct cb_block_pipe *p, struct slot *s)
{
    if (s->in)
        return;
    s->pipe = p;
    s->in = cb_malloc(p->block_size);
    if (p->o.codec)
        s->out = cb_malloc(p->o.codec->bound(p->block_size));
}

static struct slot *filling(struct cb_block_pipe *p)
{
    return &p->slots[(p->head + p->under_way) % p->n_slots];
}

int cb_block_pipe_room(struct cb_block_pipe *p, uint8_t **buf, size_t *room, struct cb_error *err)
{
    int r = 0;
    while (r == 0 && p->under_way && (p->under_way == p->n_slots || is_done(p, &p->slots[p->head])))
        r = retire(p, err);
    if (r < 0)
        return r;
    struct slot *s = filling(p);
    prepare(p, s);
    *buf = s->in + s->n_in;
    *room = p->block_size - s->n_in;
    return 0;
}

static int send_off(struct cb_block_pipe *p, struct slot *s, struct cb_error *err)
{
    if (!p->o.codec) {
        size_t n = s->n_in;
        s->n_in = 0;
        return emit(p, s->in, n, err);
    }
    s->done = false;
    p->under_way++;
    if (p->o.pool) {
        cb_pool_submit(p->o.pool, compress_slot, s);
        return 0;
    }
    compress_slot(s);
    return retire(p, err);
}

int cb_block_pipe_commit(struct cb_block_pipe *p, size_t n, struct cb_error *err)
{
    struct slot *s = filling(p);
    s->n_in += n;
    return s->n_in == p->block_size ? send_off(p, s, err) : 0;
}

int cb_block_pipe_cut(struct cb_block_pipe *p, struct cb_error *err)
{
    uint8_t *buf;
    size_t room;
    int r = cb_block_pipe_room(p, &buf, &room, err);
    if (r == 0 && filling(p)->n_in && (r = send_off(p, filling(p), err)) == 0)
        r = cb_block_pipe_room(p, &buf, &room, err);
    return r;
}

void cb_block_pipe_mark(struct cb_block_pipe *p, size_t mark, size_t n)
{
    struct slot *s = filling(p);
    s->marked = true;
    s->n_marked = n;
    s->made.mark = mark;
}

int cb_block_pipe_drain(struct cb_block_pipe *p, uint64_t *size, struct cb_error *err)
{
    int r = cb_block_pipe_cut(p, err);
    while (r == 0 && p->under_way)
        r = retire(p, err);
    *size = p->size;
    return r;
}

int cb_block_pipe_raw(struct cb_block_pipe *p, const void *buf, size_t n, struct cb_error *err)
{
    return emit(p, buf, n, err);
}

int cb_block_pipe_finish(struct cb_block_pipe *p, struct cb_digest *digest, uint64_t *size, struct cb_error *err)
{
    int r = cb_block_pipe_drain(p, size, err);
    if (r < 0)
        return r;
    *digest = (struct cb_digest){ 0 };
    if (p->o.codec)
        cb_hasher_finish(p->hasher, digest);
    return 0;
}
