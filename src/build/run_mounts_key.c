/* SPDX-License-Identifier: Apache-2.0 */
#include "build/run_mounts.h"

#include "util/alloc.h"

int cb_run_mounts_prepare(struct cb_solver *s, struct cb_vertex *v, struct cb_digest *out, struct cb_error *err)
{
    const struct cb_run_op *op = &v->run;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    v->state->mounts = cb_calloc(op->n_mounts + 1, sizeof *v->state->mounts);
    cb_hasher_field(h, "cbpush-mounts/1");
    for (size_t i = 0; i < op->n_mounts; i++) {
        const struct cb_run_mount *m = &op->mounts[i];
        struct cb_selection *sel = &v->state->mounts[i];
        struct cb_digest d;
        if (m->from_kind == CB_MOUNT_FROM_VERTEX) {
            cb_hasher_field_digest(h, &m->from->state->key);
        } else if (m->from_kind == CB_MOUNT_FROM_CONTEXT) {
            int r = cb_context_select_path(s->context, m->source, s->env, sel, err);
            if (r < 0)
                return r;
            cb_selection_digest(sel, &d);
            cb_hasher_field_digest(h, &d);
        }
    }
    cb_hasher_finish(h, out);
    return 0;
}

static void hash_times(const struct cb_key_base *kb, const struct cb_selection *sel, struct cb_hasher *h)
{
    for (size_t i = 0; i < sel->n; i++)
        for (size_t j = 0; j < sel->v[i].n; j++) {
            struct cb_entry e;
            cb_item_entry(sel->v[i].items[j], &e);
            cb_hasher_field_u64(h, (uint64_t)cb_key_time(kb, e.mtime));
        }
}

static int hash_stage(struct cb_solver *s, struct cb_vertex *v, const struct cb_run_mount *m, struct cb_hasher *h,
                      struct cb_error *err)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = NULL;
    struct cb_selection sel = { 0 };
    struct cb_digest d;
    int r = cb_solver_stack(s, m->from, v->step, &stack, err);
    if (r == 0)
        r = cb_stage_select_path(stack, m->source, &sel, err);
    if (r == 0) {
        cb_selection_digest(&sel, &d);
        cb_hasher_field_digest(h, &d);
        if (cb_key_has_times(&s->kb))
            hash_times(&s->kb, &sel, h);
    }
    cb_selection_done(&sel);
    return r;
}

int cb_run_mounts_content(struct cb_solver *s, struct cb_vertex *v, struct cb_digest *out, struct cb_error *err)
{
    const struct cb_run_op *op = &v->run;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    int r = 0;
    cb_hasher_field(h, "cbpush-mounts-content/1");
    for (size_t i = 0; r == 0 && i < op->n_mounts; i++) {
        const struct cb_run_mount *m = &op->mounts[i];
        struct cb_digest d;
        if (m->from_kind == CB_MOUNT_FROM_VERTEX)
            r = hash_stage(s, v, m, h, err);
        if (m->from_kind != CB_MOUNT_FROM_CONTEXT)
            continue;
        cb_selection_digest(&v->state->mounts[i], &d);
        cb_hasher_field_digest(h, &d);
    }
    cb_hasher_finish(h, out);
    return r;
}
