/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "image/helper_child.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/confine.h"

/* ---- the blob ---- */

#define LENT_MAX ((size_t)128 << 10) /* of the ring at a time: the rest is filled meanwhile */

struct ring_source {
    struct cb_blob_source base;
    struct cb_helper_self *h;
    uint64_t tail; /* bytes that were given back */
    size_t lent;
};

static bool wait_for_more(const struct cb_helper_self *h)
{
    struct pollfd p = { .fd = h->filled, .events = POLLIN };
    uint64_t n;
    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR)
            return false;
    return read(h->filled, &n, sizeof n) >= 0 || errno == EAGAIN || errno == EINTR;
}

/* How much is there in one piece; 0 only at the end. The end is looked at first: what is there then is all. */
static int ring_wait(const struct ring_source *s, size_t *n, struct cb_error *err)
{
    const struct cb_helper_ring *ring = s->h->ring;
    for (;;) {
        bool ended = atomic_load_explicit(&ring->ended, memory_order_acquire);
        uint64_t there = atomic_load_explicit(&ring->head, memory_order_acquire) - s->tail;
        *n = (size_t)CB_MIN(there, (uint64_t)CB_HELPER_RING - s->tail % CB_HELPER_RING);
        if (*n || ended)
            return 0;
        if (!wait_for_more(s->h))
            return cb_error_sys(err, CB_EINTERNAL, errno, "wait for bytes of the blob");
    }
}

static int ring_free(struct ring_source *s, struct cb_error *err)
{
    const uint64_t n = s->lent;
    s->lent = 0;
    s->tail += n;
    if (n == 0 || write(s->h->freed, &n, sizeof n) == (ssize_t)sizeof n)
        return 0;
    return cb_error_sys(err, CB_EINTERNAL, errno, "give back bytes of the blob");
}

/* Inflated where they are: nobody writes there meanwhile. */
static int ring_lend(struct cb_blob_source *b, const void **p, size_t *got, struct cb_error *err)
{
    struct ring_source *s = (struct ring_source *)b;
    int r = ring_free(s, err);
    if (r == 0)
        r = ring_wait(s, got, err);
    *got = s->lent = r < 0 ? 0 : CB_MIN(*got, LENT_MAX);
    *p = s->h->bytes + s->tail % CB_HELPER_RING;
    return r;
}

static int ring_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct ring_source *s = (struct ring_source *)b;
    const void *p = NULL;
    int r = ring_lend(b, &p, got, err);
    if (r < 0)
        return r;
    *got = s->lent = CB_MIN(n, *got);
    memcpy(buf, p, *got);
    return 0;
}

static void ring_close(struct cb_blob_source *b)
{
    free(b);
}

static struct cb_blob_source *ring_source(struct cb_helper_self *h)
{
    static const struct cb_blob_source_ops ops = { .read = ring_read, .close = ring_close, .lend = ring_lend };
    struct ring_source *s = CB_NEW(struct ring_source);
    s->base.ops = &ops;
    s->h = h;
    return &s->base;
}

/* ---- telling: where that fails cbpush is gone, or wants no more ---- */

void cb_helper_tell(const struct cb_helper_self *h, struct cb_helper_head head, const void *payload)
{
    if (cb_helper_send(h->sock, &head, payload, -1) < 0)
        _exit(1);
}

static void tell_path(const struct cb_helper_self *h, struct cb_helper_head head, const char *path)
{
    head.n = (uint32_t)strlen(path);
    cb_helper_tell(h, head, path);
}

static void tell_error(const struct cb_helper_self *h, const struct cb_error *e)
{
    const char *text = cb_error_text(e);
    struct cb_helper_head head = { .type = CB_HELPER_ERROR, .code = (int32_t)e->code, .sys_errno = e->sys_errno };
    head.n = (uint32_t)CB_MIN(strlen(text), (size_t)CB_HELPER_PAYLOAD);
    cb_helper_tell(h, head, text);
}

static void on_progress(void *arg, uint64_t bytes)
{
    cb_helper_tell(arg, (struct cb_helper_head){ .type = CB_HELPER_PROGRESS, .value = bytes }, NULL);
}

/* ---- what lower layers have ---- */

struct lower {
    struct cb_lower base;
    struct cb_helper_self *h;
};

int cb_helper_hear(struct cb_helper_self *h, enum cb_helper_type type, struct cb_error *err)
{
    int r = cb_helper_receive(h->sock, h->m, true, CB_HELPER_WAIT);
    if (r <= 0 || h->m->head.type != (uint32_t)type)
        _exit(1);
    const struct cb_helper_head *head = &h->m->head;
    if (head->code == 0)
        return 0;
    cb_error_set(err, (enum cb_code)head->code, "%s", h->m->payload);
    if (err)
        err->sys_errno = head->sys_errno;
    return -head->code;
}

int cb_helper_hear_answer(struct cb_helper_self *h, struct cb_strbuf *out, int *fd, struct cb_error *err)
{
    int r = cb_helper_hear(h, CB_HELPER_ANSWER, err);
    cb_autoclose int got = h->m->fd;
    if (r < 0)
        return r;
    uint64_t left = h->m->head.value;
    while (left) {
        if ((r = cb_helper_hear(h, CB_HELPER_PART, err)) < 0)
            return r;
        cb_close_p(&h->m->fd);
        cb_strbuf_add(out, h->m->payload, h->m->head.n);
        left -= CB_MIN(left, (uint64_t)h->m->head.n);
    }
    *fd = CB_TAKE_FD(got);
    return 0;
}

static int ask(struct cb_helper_self *h, enum cb_helper_type what, const char *path, int *fd, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_toc_unref(h->answer);
    h->answer = NULL;
    tell_path(h, (struct cb_helper_head){ .type = what }, path);
    int r = cb_helper_hear_answer(h, &text, fd, err);
    return r < 0 ? r : cb_toc_parse(&h->answer, text.buf, text.len, err);
}

static const struct cb_entry *lower_dir(struct cb_lower *l, const char *path)
{
    struct cb_helper_self *h = ((struct lower *)l)->h;
    cb_autoclose int fd = -1;
    if (*path == '\0' || ask(h, CB_HELPER_LOWER_DIR, path, &fd, NULL) < 0)
        return NULL;
    return cb_toc_count(h->answer) ? cb_toc_at(h->answer, 0) : NULL;
}

static int lower_file(struct cb_lower *l, const char *path, const struct cb_entry **e, int *fd, struct cb_error *err)
{
    struct cb_helper_self *h = ((struct lower *)l)->h;
    int r = ask(h, CB_HELPER_LOWER_FILE, path, fd, err);
    if (r == 0 && cb_toc_count(h->answer) == 0)
        r = cb_error_set(err, CB_EINTERNAL, "an empty answer about %s", path);
    if (r == 0)
        *e = cb_toc_at(h->answer, 0);
    return r;
}

/* ---- the work ---- */

static void tell_marks(const struct cb_helper_self *h, const struct cb_unpack_marks *m)
{
    size_t it = 0;
    const char *path;
    void *d;
    for (size_t i = 0; i < m->opaque.n; i++)
        tell_path(h, (struct cb_helper_head){ .type = CB_HELPER_OPAQUE }, m->opaque.v[i]);
    while (m->devices && cb_hashmap_next(m->devices, &it, &path, &d))
        tell_path(h, (struct cb_helper_head){ .type = CB_HELPER_DEVICE, .device = *(const struct cb_unpack_device *)d },
                  path);
}

void cb_helper_tell_result(const struct cb_helper_self *h, const struct cb_unpack_result *res)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    tell_marks(h, &res->marks);
    if (res->toc)
        cb_toc_print(&text, res->toc);
    if (cb_helper_send_parts(h->sock, CB_HELPER_TOC, text.buf, text.len) < 0)
        _exit(1);
    const struct cb_helper_head done = { .type = CB_HELPER_DONE, .value = res->size, .digest = res->diff_id };
    cb_helper_tell(h, done, NULL);
}

/* What needs files of the system (/proc) comes before the door is shut. */
static int prepare(struct cb_helper_self *h, const struct cb_unpack_job *j, struct cb_unpack *u, struct cb_error *err)
{
    struct cb_unpack_options uo = cb_unpack_options_of(j);
    struct cb_confine_options co = { .root_fd = h->root };
    unsigned held = 0;
    int r = h->root >= 0 ? cb_unpack_init(u, &uo, err) : 0;
    if (r == 0)
        r = cb_confine(&co, &held, err);
    if (r == 0)
        cb_helper_tell(h, (struct cb_helper_head){ .type = CB_HELPER_READY, .value = held }, NULL);
    return r;
}

static int probe(const struct cb_helper_self *h, struct cb_blob_source *source)
{
    struct cb_helper_head head = { .type = CB_HELPER_VERDICT, .value = cb_layer_begins_archive(source) };
    cb_helper_tell(h, head, NULL);
    return 0;
}

/* All memory goes with the process. */
static int serve(struct cb_helper_self *h, const struct cb_helper_options *o, struct cb_error *err)
{
    static const struct cb_lower_ops ops = { lower_dir, lower_file };
    struct lower l = { .base = { &ops }, .h = h };
    const struct cb_helper_job *job = h->job;
    struct cb_unpack_job j = {
        .source = ring_source(h), .root_fd = h->root, .plain_fd = h->plain,
        .single_id = job->single_id, .raw = job->raw, .defer_digests = job->defer_digests,
        .threads = job->threads, .diff_id = job->diff_id, .max_size = job->max_size,
        .lower = job->lower ? &l.base : NULL, .on_progress = job->progress ? on_progress : NULL, .arg = h,
    };
    struct cb_unpack u = { .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    struct cb_unpack_result res = { 0 };
    int r = prepare(h, &j, &u, err);
    if (r < 0 || job->kind == CB_HELPER_TRIAL)
        return r;
    const char *why = o->hook ? o->hook(h->root) : NULL;
    if (why && *why)
        return cb_error_set(err, CB_EVERIFY, "%s", why);
    if (job->kind == CB_HELPER_PROBE)
        return probe(h, j.source);
    if (job->kind == CB_HELPER_FOREIGN)
        return cb_helper_tell_foreign(h, j.source, err);
    if (job->kind == CB_HELPER_READ)
        return cb_helper_give(h, j.source, err);
    r = cb_unpack_read(&j, h->root >= 0 ? &u : NULL, &res, err);
    if (r == 0)
        cb_helper_tell_result(h, &res);
    return r;
}

static void keep_only(const int fds[CB_HELPER_FDS])
{
    int from = STDERR_FILENO + 1;
    /* In order of their numbers: what lies between them goes. */
    for (;;) {
        int next = -1;
        for (int i = 0; i < CB_HELPER_FDS; i++)
            if (fds[i] >= from && (next < 0 || fds[i] < next))
                next = fds[i];
        (void)close_range((unsigned)from, next < 0 ? ~0u : (unsigned)next - 1, 0);
        if (next < 0)
            return;
        from = next + 1;
    }
}

static void *open_memory(int fd, size_t size, int prot)
{
    void *p = mmap(NULL, size, prot, MAP_SHARED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

static int open_memories(struct cb_helper_self *h, const int fds[CB_HELPER_FDS], struct cb_error *err)
{
    bool read = h->job->kind == CB_HELPER_READ;
    h->ring = open_memory(fds[CB_HELPER_MEMORY], CB_HELPER_PAGE + CB_HELPER_RING, PROT_READ);
    if (h->ring)
        h->bytes = (const uint8_t *)h->ring + CB_HELPER_PAGE;
    if (read)
        h->out = open_memory(fds[CB_HELPER_OUT], CB_HELPER_RING, PROT_READ | PROT_WRITE);
    return h->ring && (h->out || !read) ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "map the memory of the blob");
}

void cb_helper_main(const struct cb_helper_job *job, const int fds[CB_HELPER_FDS], const struct cb_helper_options *o)
{
    struct cb_error err = CB_ERROR_INIT;
    struct cb_helper_self h = { .job = job, .sock = fds[CB_HELPER_SOCK], .filled = fds[CB_HELPER_FILLED],
                                .freed = fds[CB_HELPER_FREED], .root = -1 };
    if (job->kind == CB_HELPER_UNPACK || job->kind == CB_HELPER_TRIAL)
        h.root = fds[CB_HELPER_TREE];
    else if (job->kind == CB_HELPER_TO_FILE)
        h.plain = fds[CB_HELPER_TREE];
    h.out_filled = fds[CB_HELPER_OUT_FILLED];
    h.out_freed = fds[CB_HELPER_OUT_FREED];
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NAME, "cbpush-layer");
    signal(SIGXFSZ, SIG_IGN);
    keep_only(fds);
    h.m = cb_malloc(sizeof *h.m);
    if (open_memories(&h, fds, &err) == 0 && serve(&h, o, &err) == 0)
        _exit(0);
    tell_error(&h, &err);
    _exit(0);
}

/* ---- before that, in the server ---- */

/* Providers of hashes read a configuration when they are first used. */
void cb_helper_warm_up(void)
{
    static bool warm;
    struct cb_digest d;
    if (warm)
        return;
    warm = true;
    /* A reader tells why it is not there. */
    (void)!cb_layer_load(NULL);
    json_decref(json_object()); /* seeds its hashes */
    cb_digest_of(&d, "", 0);
    cb_hasher_free(cb_hasher_new(CB_DIGEST_SHA256));
}
