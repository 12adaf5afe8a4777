/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>

#include "build/failed.h"
#include "build/place.h"
#include "build/solve.h"

static int open_spool(const struct cb_layer_job *job, const struct cb_placed *x, struct cb_blob_source **out,
                      struct cb_error *err)
{
    int fd = fcntl(job->spool_fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    *out = cb_blob_source_from_fd(fd, x->spool_offset, x->e.size);
    return 0;
}

static int open_data(const struct cb_layer_job *job, const struct cb_placed *x, struct cb_blob_source **out,
                     struct cb_error *err)
{
    switch (x->kind) {
    case CB_DATA_NONE:
        break;
    case CB_DATA_MEM:
        *out = cb_blob_source_from_mem(x->mem, x->e.size);
        return 0;
    case CB_DATA_SPOOL:
        return open_spool(job, x, out, err);
    case CB_DATA_ITEM:
        return x->item->se ? cb_files_source(job->files, x->item->se, out, err)
                           : cb_context_source_in(job->in, x->item, out, err);
    }
    return cb_error_set(err, CB_EINTERNAL, "an entry without data");
}

static int add_one(struct cb_solver *s, const struct cb_layer_job *job, struct cb_layer_writer *w,
                   const struct cb_placed *x, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *data = NULL;
    int r = cb_cancel_check(s->cancel, err);
    if (r == 0 && x->e.type == CB_ENTRY_FILE)
        r = open_data(job, x, &data, err);
    if (r == 0)
        r = cb_layer_writer_add(w, &x->e, data, err);
    if (r < 0)
        cb_error_wrap(err, "/%s", x->e.path);
    return r;
}

/* Hard links come behind everything they may name. */
static int add_all(struct cb_solver *s, const struct cb_layer_job *job, struct cb_layer_writer *w, bool links,
                   struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cb_placer_count(job->placer); i++) {
        struct cb_placed x;
        cb_placer_at(job->placer, i, &x);
        if ((x.e.type == CB_ENTRY_HARDLINK) == links)
            r = add_one(s, job, w, &x, err);
    }
    return r;
}

static int differs(const struct cb_placed *x, struct cb_error *err)
{
    if (x->item && x->item->se)
        return cb_error_set(err, CB_EVERIFY,
                            "/%s: %s is not what its layer says that it is: the store is damaged (`cbpush prune --all` "
                            "empties it)",
                            x->e.path, x->item->se->e->path);
    return cb_error_set(err, CB_ELOCAL, "%s changed while it was being read",
                        x->item ? cb_item_path(x->item) : x->e.path);
}

/* What a file was when it was chosen; not known where nobody has looked at its bytes. */
static const struct cb_sum *expected(const struct cb_placed *x)
{
    const struct cb_stack_entry *se = x->kind == CB_DATA_ITEM ? x->item->se : NULL;
    return se && se->data ? &se->data->digest : &x->e.digest;
}

/* What was written must be what was hashed for the key: a file may have changed in between without changing size. */
static int check_digests(struct cb_placer *p, const struct cb_toc *toc, struct cb_error *err)
{
    for (size_t i = 0; i < cb_placer_count(p); i++) {
        struct cb_placed x;
        cb_placer_at(p, i, &x);
        const struct cb_sum *is = expected(&x);
        const struct cb_entry *e = x.e.type == CB_ENTRY_FILE && is->known ? cb_toc_find(toc, x.e.path) : NULL;
        if (e && !cb_sum_eq(&e->digest, is))
            return differs(&x, err);
    }
    return 0;
}

static int write_all(struct cb_solver *s, const struct cb_layer_job *job, struct cb_layer_writer *w,
                     struct cb_layer_made *made, struct cb_error *err)
{
    struct cb_path_cursor in cb_cleanup_path_cursor = cb_context_cursor(job->context);
    struct cb_layer_job j = *job;
    j.in = &in;
    int r = add_all(s, &j, w, false, err);
    if (r == 0)
        r = add_all(s, &j, w, true, err);
    if (r == 0)
        r = cb_layer_writer_finish(w, &made->layer, &made->toc, err);
    return r < 0 ? r : check_digests(job->placer, made->toc, err);
}

void cb_layer_made_done(struct cb_layer_made *m)
{
    cb_layer_done(&m->layer);
    cb_toc_unref(CB_TAKE(m->toc));
    cb_strbuf_done(&m->tar);
}

int cb_solver_write_layer(struct cb_solver *s, struct cb_vertex *v, const struct cb_layer_job *job,
                          struct cb_layer_made *made, struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    *made = (struct cb_layer_made){ .tar = CB_STRBUF_INIT };
    if (cb_placer_count(job->placer) == 0)
        return 0;
    int r = cb_store_blob_sink_known(s->env->store, &sink, err);
    if (r < 0)
        return r;
    struct cb_layer_write_options wo = cb_solver_write_options(s, v, sink);
    wo.tar = wo.format.chunked ? NULL : &made->tar; /* a chunked one may have files that steps must not see */
    wo.tar_max = CB_SLOT_TAR_MAX;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, err);
    if (!w)
        return cb_failed(err);
    struct cb_span span cb_cleanup_span = cb_span_begin("write", "layer of %s", v->name);
    r = write_all(s, job, w, made, err);
    cb_span_digest(&span, "diff_id", &made->layer.diff_id);
    cb_span_number(&span, "bytes", made->layer.size);
    cb_span_end(&span);
    return r;
}

static int record_now(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_solve_state *st = v->state;
    struct cb_layer layer cb_cleanup_layer = { 0 };
    int r = 0;
    if (st->changed) {
        cb_slot_layer(st->layers[st->n_layers - 1], &layer);
        r = cb_store_layer_put(s->env->store, &layer, err);
    }
    if (r == 0)
        cb_solver_record(s, v, cb_digest_is_set(&st->content) ? &st->content : NULL);
    return r;
}

int cb_solver_take_layer(struct cb_solver *s, struct cb_vertex *v, struct cb_layer_made *made,
                         const struct cb_digest *content, struct cb_error *err)
{
    struct cb_solve_state *st = v->state;
    int r = made->toc ? cb_store_toc_put(s->env->store, &made->layer.diff_id, made->toc, err) : 0;
    if (r < 0)
        return r;
    if (made->toc) {
        struct cb_slot *slot = cb_slots_made(s->slots, &made->layer, made->toc);
        cb_slot_keep_tar(slot, &made->tar);
        cb_state_push_layer(st, slot);
    }
    st->content = content ? *content : (struct cb_digest){ 0 };
    st->late = st->n_dependents == 0;
    return st->late ? 0 : record_now(s, v, err);
}

/* What the index has not taken is made again by the next build. */
void cb_solver_record_late(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (v->state->late && record_now(s, v, &e) < 0 && !cb_canceled(s->cancel))
        cb_step_warn(v->step, "not recorded in the build cache: %s", cb_error_text(&e));
}
