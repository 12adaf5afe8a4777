/* SPDX-License-Identifier: Apache-2.0 */
#include "build/entry_hash.h"
#include "build/op_add.h"
#include "build/place.h"
#include "build/solve.h"
#include "util/alloc.h"
#include "util/timeutil.h"

struct copy_run {
    struct cb_solver *s;
    struct cb_vertex *v;
    struct cb_lookup *lookup;
    struct cb_finder base;
    struct cb_selection other;       /* from another result */
    const struct cb_selection *sel;
    struct cb_placer *placer;
    struct cb_spool spool;
    struct cb_layer *layers;         /* of the other result, as files reads them */
    size_t n_layers;
    struct cb_files *files;
};

static int make_placer(struct copy_run *c, struct cb_error *err)
{
    const struct cb_copy_op *op = &c->v->copy;
    struct cb_user user cb_cleanup_user = { 0 };
    struct cb_placer_options o = { .base = &c->base, .now = cb_time_now() / CB_SECOND };
    if (op->chown) {
        int r = cb_finder_user(&c->base, op->chown, true, &user, err);
        if (r < 0)
            return cb_error_wrap(err, "--chown=%s", op->chown);
        o.chown = true;
        o.uid = user.uid;
        o.gid = user.gid;
    }
    int r = cb_chmod_parse(&o.chmod, op->chmod, err);
    if (r == 0)
        c->placer = cb_placer_new(&o);
    return r;
}

static int select_other(struct copy_run *c, struct cb_error *err)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = NULL;
    int r = cb_solver_stack(c->s, c->v->from, c->v->step, &stack, err);
    if (r == 0)
        r = cb_stage_select(stack, &c->v->copy, &c->other, err);
    c->sel = &c->other;
    return r;
}

static bool extracts(const struct copy_run *c)
{
    return c->v->copy.add && c->v->copy.unpack != 0 && c->sel != &c->other;
}

static int place_all(struct copy_run *c, struct cb_error *err)
{
    const struct cb_copy_op *op = &c->v->copy;
    int r = extracts(c) ? cb_add_place(c->s, c->v, c->sel, c->placer, &c->spool, err)
                        : cb_placer_selection(c->placer, c->sel, op->dest, err);
    if (r == 0)
        r = cb_placer_inline(c->placer, op, err);
    cb_placer_settle(c->placer);
    return r < 0 ? r : cb_placer_check(c->placer, err);
}

/* A server's and a commit's times are content as much as the bytes are; a context's are not. With SOURCE_DATE_EPOCH
 * those of other results are, too. */
static bool times_count(const struct cb_vertex *v)
{
    return v->kind == CB_VERTEX_HTTP || (v->kind == CB_VERTEX_GIT && !v->remote.git.mtime_checkout) ||
           (v->from && v->kind == CB_VERTEX_COPY && times_count(v->from));
}

/* What the layer will hold, but for times that say nothing. Equal ones are interchangeable whatever is below. */
static void content_key(struct copy_run *c, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, "cbpush-copy-content/3");
    cb_hasher_field_u64(h, (uint64_t)c->s->kb.clamp_mtime);
    cb_hasher_field_u64(h, c->s->kb.exact_mtime);
    bool times = times_count(c->v) || (c->v->from && cb_key_has_times(&c->s->kb));
    cb_hasher_field_u64(h, times);
    for (size_t i = 0; i < cb_placer_count(c->placer); i++) {
        struct cb_placed x;
        cb_placer_at(c->placer, i, &x);
        cb_hash_entry(h, &x.e);
        if (x.archived || (times && (x.item || x.dated)))
            cb_hasher_field_u64(h, (uint64_t)cb_key_time(&c->s->kb, x.e.mtime));
    }
    cb_hasher_finish(h, out);
}

/* ---- bytes of another result ---- */

/* The layers of the other result's view, in its numbering, and the entries whose bytes are wanted. */
static size_t list_wanted(struct copy_run *c, const struct cb_stack_entry **wanted, bool *used)
{
    size_t n = 0;
    for (size_t i = 0; i < cb_placer_count(c->placer); i++) {
        struct cb_placed x;
        cb_placer_at(c->placer, i, &x);
        if (x.e.type != CB_ENTRY_FILE || x.kind != CB_DATA_ITEM || !x.item->se->data)
            continue;
        wanted[n++] = x.item->se;
        used[x.item->se->data_layer] = true;
    }
    return n;
}

static int need_layers(struct copy_run *c, const bool *used, struct cb_error *err)
{
    struct cb_solve_state *from = c->v->from->state;
    struct cb_slot **need = cb_calloc(from->n_layers + 1, sizeof(struct cb_slot *));
    size_t n = 0, view = 0;
    for (size_t i = 0; i < from->n_layers; i++)
        if (cb_slot_toc(from->layers[i]) && used[view++])
            need[n++] = from->layers[i];
    int r = cb_slots_need(c->s->slots, need, n, CB_NEED_DATA, c->v->step, err);
    free(need);
    return r;
}

static int open_files(struct copy_run *c, struct cb_error *err)
{
    struct cb_solve_state *from = c->v->from->state;
    const struct cb_stack_entry **wanted = cb_calloc(cb_placer_count(c->placer) + 1, sizeof *wanted);
    bool *used = cb_calloc(from->n_layers + 1, sizeof *used);
    size_t n = list_wanted(c, wanted, used);
    int r = need_layers(c, used, err);
    c->layers = cb_calloc(from->n_layers + 1, sizeof *c->layers);
    for (size_t i = 0; i < from->n_layers; i++)
        if (cb_slot_toc(from->layers[i]))
            cb_slot_layer(from->layers[i], &c->layers[c->n_layers++]);
    struct cb_files_options fo = { .store = c->s->env->store, .stack = c->other.stack, .layers = c->layers,
                                   .wanted = wanted, .n_wanted = n, .cancel = c->s->cancel,
                                   .unverified = true }; /* layer_job.c does */
    if (r == 0)
        r = cb_files_open(&fo, &c->files, err);
    free(used);
    free(wanted);
    return r;
}

/* ---- the step ---- */

/* All that was needed to write the layer. */
static void forget(struct copy_run *c)
{
    cb_files_free(CB_TAKE(c->files));
    for (size_t i = 0; i < c->n_layers; i++)
        cb_layer_done(&c->layers[i]);
    c->n_layers = 0;
    free(CB_TAKE(c->layers));
    cb_placer_free(CB_TAKE(c->placer));
    cb_selection_done(&c->other);
    cb_lookup_free(CB_TAKE(c->lookup));
    cb_close_p(&c->spool.fd);
    c->spool.size = 0;
}

static int write_new(struct copy_run *c, const struct cb_digest *content, struct cb_error *err)
{
    struct cb_layer_made made cb_cleanup_layer_made = { 0 };
    struct cb_layer_job job = { .placer = c->placer, .spool_fd = c->spool.fd, .context = c->sel->context };
    int r = c->sel == &c->other && c->v->from ? open_files(c, err) : 0;
    job.files = c->files;
    c->v->state->executed = true;
    c->v->state->created = cb_time_now();
    if (r == 0)
        r = cb_solver_write_layer(c->s, c->v, &job, &made, err);
    if (r < 0)
        return r;
    forget(c);
    cb_solve_forget_files_of(c->s, c->v);
    return cb_solver_take_layer(c->s, c->v, &made, content, err);
}

/* needs: LOOKUP, or whole tables of what is below. */
static int place_by(struct copy_run *c, unsigned needs, struct cb_error *err)
{
    int r = cb_solver_below(c->s, c->v, needs, &c->lookup, err);
    if (r < 0)
        return r;
    c->base = cb_lookup_finder(c->lookup);
    c->sel = &c->v->state->selection;
    r = make_placer(c, err);
    if (r == 0 && (c->v->from || c->v->from_scratch))
        r = select_other(c, err);
    return r < 0 ? r : place_all(c, err);
}

/* And not an archive, or another source: there is no placer yet, or it says so. */
static bool failed_below(const struct copy_run *c)
{
    return !c->placer || cb_placer_check(c->placer, NULL) < 0;
}

/* What is damaged below is found by reading it, and whole tables are checked, and made again. */
static int place(struct copy_run *c, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = place_by(c, CB_NEED_SKETCH, &e);
    if (r == -CB_EVERIFY && failed_below(c)) {
        cb_error_done(&e);
        forget(c);
        r = place_by(c, CB_NEED_TOC, &e);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

static int copy(struct copy_run *c, struct cb_error *err)
{
    struct cb_digest content;
    int r = place(c, err);
    if (r < 0)
        return r;
    content_key(c, &content);
    return cb_solver_recall(c->s, c->v, &content) ? 0 : write_new(c, &content, err);
}

static int execute_copy(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct copy_run c = { .s = s, .v = v, .spool = { .fd = -1 } };
    int r = copy(&c, err);
    forget(&c);
    return r;
}

const struct cb_op cb_op_copy = { execute_copy };

/* ---- --link ---- */

/* The base's layers are there already; nothing of them is looked at. */
static int execute_link(struct cb_solver *s, struct cb_vertex *v, CB_UNUSED struct cb_error *err)
{
    const struct cb_solve_state *copy = v->from->state;
    for (size_t i = 0; i < copy->n_layers; i++)
        cb_state_push_layer(v->state, copy->layers[i]);
    v->state->created = copy->created;
    cb_solver_record(s, v, NULL);
    return 0;
}

const struct cb_op cb_op_link = { execute_link };

/* ---- WORKDIR ---- */

static int make_dirs(struct cb_placer *p, const char *path, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool exists, dir;
    int r = cb_placer_resolve(p, path, &real, &exists, &dir, err);
    return r < 0 ? r : cb_placer_mkdirs(p, real.buf, err);
}

struct mkdir_run {
    struct cb_lookup *lookup;
    struct cb_finder base;
    struct cb_placer *placer;
};

static void mkdir_done(struct mkdir_run *m)
{
    cb_placer_free(CB_TAKE(m->placer));
    cb_lookup_free(CB_TAKE(m->lookup));
}

static int mkdir_by(struct cb_solver *s, struct cb_vertex *v, unsigned needs, struct mkdir_run *m,
                    struct cb_error *err)
{
    struct cb_user user cb_cleanup_user = { 0 };
    int r = cb_solver_below(s, v, needs, &m->lookup, err);
    if (r < 0)
        return r;
    m->base = cb_lookup_finder(m->lookup);
    if (v->mkdir.user && (r = cb_finder_user(&m->base, v->mkdir.user, true, &user, err)) < 0)
        return r;
    m->placer = cb_placer_new(&(struct cb_placer_options){
        .base = &m->base, .chown = true, .uid = user.uid, .gid = user.gid, .now = cb_time_now() / CB_SECOND });
    return make_dirs(m->placer, v->mkdir.path, err);
}

static int mkdir_below(struct cb_solver *s, struct cb_vertex *v, struct mkdir_run *m, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = mkdir_by(s, v, CB_NEED_SKETCH, m, &e);
    if (r == -CB_EVERIFY) {
        cb_error_done(&e);
        mkdir_done(m);
        r = mkdir_by(s, v, CB_NEED_TOC, m, &e);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

static int execute_mkdir(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct mkdir_run m CB_CLEANUP(mkdir_done) = { 0 };
    struct cb_layer_made made cb_cleanup_layer_made = { 0 };
    int64_t now = cb_time_now();
    int r = mkdir_below(s, v, &m, err);
    if (r < 0)
        return r;
    struct cb_layer_job job = { .placer = m.placer, .spool_fd = -1 };
    v->state->executed = true;
    if (cb_placer_count(m.placer))
        v->state->created = now;
    r = cb_solver_write_layer(s, v, &job, &made, err);
    return r < 0 ? r : cb_solver_take_layer(s, v, &made, NULL, err);
}

const struct cb_op cb_op_mkdir = { execute_mkdir };
