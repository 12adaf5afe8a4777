/* SPDX-License-Identifier: Apache-2.0 */
/* cbpush's side of a helper that unpacks: what comes out is checked. */
#include <errno.h>

#include "image/helper.h"
#include "util/path.h"
#include "util/thread.h"

struct helper {
    struct cb_helper_link link;
    const struct cb_unpack_job *job;
    struct cb_unpack_result *res;
};

/* ---- what it says: hostile until shown otherwise ---- */

static bool is_path(const struct cb_helper_message *m, bool root_too)
{
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = m->head.n;
    if (n == 0)
        return root_too;
    return n <= CB_MAX_PATH && strlen(m->payload) == n && cb_path_normalize(&normal, m->payload, n) &&
           cb_streq(normal.buf, m->payload);
}

/* A failure to look is told to the helper, which makes of it what it is: maybe nothing. */
static int answer_lower(struct helper *h, const struct cb_helper_message *m, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const struct cb_entry *entry = NULL;
    cb_autoclose int fd = -1;
    struct cb_lower *l = h->job->lower;
    if (!l || !is_path(m, false))
        return cb_helper_no_sense(err);
    int r = 0;
    if (m->head.type == CB_HELPER_LOWER_DIR)
        entry = l->ops->dir(l, m->payload);
    else
        r = l->ops->file(l, m->payload, &entry, &fd, &e);
    if (r == -CB_ECANCELED)
        return cb_error_move(err, &e);
    if (r < 0)
        return cb_helper_link_answer_error(&h->link, &e, err);
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    if (entry && (r = cb_toc_builder_add(b, entry, err)) < 0)
        return r;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_builder_finish(b);
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_toc_print(&text, t);
    return cb_helper_link_answer(&h->link, &text, fd, err);
}

static int take_device(struct helper *h, const struct cb_helper_message *m, struct cb_error *err)
{
    struct cb_unpack_device d = m->head.device;
    if (!is_path(m, false) || (!S_ISCHR(d.mode) && !S_ISBLK(d.mode)) || d.uid == UINT32_MAX || d.gid == UINT32_MAX)
        return cb_helper_no_sense(err);
    cb_unpack_marks_add(&h->res->marks, m->payload, &d);
    return 0;
}

/* The table is checked as one from the disk; the rest is what was promised, or the layer is not taken. */
static int take_done(struct helper *h, struct cb_error *err)
{
    struct cb_layer_read_result res = { .want_toc = !h->job->raw, .deferred = h->job->defer_digests };
    const struct cb_digest *expect = cb_digest_is_set(&h->job->diff_id) ? &h->job->diff_id : NULL;
    int r = cb_helper_link_take_done(&h->link, expect, &res, err);
    h->res->diff_id = res.diff_id;
    h->res->size = res.size;
    h->res->toc = res.toc;
    return r;
}

static int take_message(struct helper *h, const struct cb_helper_message *m, struct cb_error *err)
{
    switch ((enum cb_helper_type)m->head.type) {
    case CB_HELPER_PROGRESS:
        if (h->job->on_progress)
            h->job->on_progress(h->job->arg, m->head.value);
        return 0;
    case CB_HELPER_LOWER_DIR:
    case CB_HELPER_LOWER_FILE:
        return answer_lower(h, m, err);
    case CB_HELPER_OPAQUE:
        if (!is_path(m, true))
            return cb_helper_no_sense(err);
        cb_strvec_push(&h->res->marks.opaque, m->payload);
        return 0;
    case CB_HELPER_DEVICE:
        return take_device(h, m, err);
    case CB_HELPER_DONE:
        return take_done(h, err);
    default:
        return cb_helper_link_take(&h->link, err);
    }
}

static int converse(struct helper *h, struct cb_error *err)
{
    struct cb_helper_link *l = &h->link;
    for (;;) {
        int r = 1;
        while (!l->done && (r = cb_helper_link_hear(l, err)) > 0)
            if ((r = take_message(h, l->m, err)) < 0)
                return r;
        if (r < 0 || l->done || l->gone)
            return r < 0 ? r : 0;
        if ((r = cb_helper_link_step(l, -1, err)) < 0)
            return r;
    }
}

static int run(struct helper *h, const struct cb_helper_job *job, struct cb_error *err)
{
    const int tree[] = { job->kind == CB_HELPER_TO_FILE ? h->job->plain_fd : h->job->root_fd, -1 };
    struct cb_helper_link *l = &h->link;
    int r = cb_helper_link_start(l, job, tree, err);
    if (r < 0)
        return r;
    r = converse(h, err);
    /* After this nothing of it is there: the tree can be trusted to stay as it is. */
    struct cb_helper_end end = cb_helper_link_end(l);
    if (r < 0)
        return r;
    return l->done || (job->kind == CB_HELPER_TRIAL && l->ready) ? 0 : cb_helper_blame(end, err);
}

static void helper_done(struct helper *h)
{
    cb_helper_link_done(&h->link);
}

int cb_helper_read(const struct cb_unpack_job *j, struct cb_unpack_result *res, struct cb_error *err)
{
    struct helper h CB_CLEANUP(helper_done) = { .job = j, .res = res };
    struct cb_helper_job job = { .kind = j->plain_fd > 0 ? CB_HELPER_TO_FILE : CB_HELPER_UNPACK,
                                 .single_id = j->single_id, .raw = j->raw, .progress = j->on_progress != NULL,
                                 .defer_digests = j->defer_digests, .threads = cb_cpu_count(),
                                 .lower = j->lower != NULL, .diff_id = j->diff_id, .max_size = j->max_size };
    cb_helper_link_init(&h.link, j->source, j->cancel);
    cb_unpack_marks_init(&res->marks);
    int r = run(&h, &job, err);
    j->source->ops->close(j->source);
    return r;
}

static int no_bytes(CB_UNUSED struct cb_blob_source *s, CB_UNUSED void *buf, CB_UNUSED size_t n, size_t *got,
                    CB_UNUSED struct cb_error *err)
{
    *got = 0;
    return 0;
}

int cb_helpers_try(int root_fd, unsigned *held, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { .read = no_bytes };
    struct cb_blob_source empty = { &ops };
    struct cb_unpack_job j = { .source = &empty, .root_fd = root_fd };
    struct cb_unpack_result res CB_CLEANUP(cb_unpack_result_done) = { 0 };
    struct helper h CB_CLEANUP(helper_done) = { .job = &j, .res = &res };
    cb_helper_link_init(&h.link, &empty, NULL);
    *held = 0;
    if (!cb_helper_is_there())
        return cb_error_set(err, CB_ELOCAL, "no process could be started");
    cb_unpack_marks_init(&res.marks);
    int r = run(&h, &(struct cb_helper_job){ .kind = CB_HELPER_TRIAL }, err);
    *held = h.link.held;
    return r;
}
