/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of contents in manifests: doc/toc.md. What is pinned depends on the Dockerfile and its parents alone, never on
 * what the store happens to know, so that two machines make the same manifest. */
#include "build/internal.h"
#include "util/alloc.h"

/* Whether a step of the image looks at what is below it: then the tables of its parent's layers are known. */
static bool looks_below(const struct cb_plan_image *p)
{
    for (const struct cb_vertex *v = p->goal; v; v = v->base)
        if (v->kind == CB_VERTEX_COPY || v->kind == CB_VERTEX_MKDIR || v->kind == CB_VERTEX_RUN)
            return true;
    return false;
}

static bool is_pinned(const struct cb_strmap *annotations)
{
    struct cb_toc_pin pin;
    return cb_toc_pin_read(&pin, annotations);
}

/* Its manifest names it already, and whoever builds on that may know no other. */
bool cb_build_carries_table(const struct cb_strmap *annotations)
{
    cb_autofree char *pin = cb_foreign_pin(annotations);
    return pin != NULL;
}

/* A small one has to be at hand, too. */
static bool is_ready(struct cb_slot *s)
{
    struct cb_toc_pin pin;
    return cb_slot_pin(s, &pin) && (pin.size > CB_TOC_SMALL || cb_slot_small_table(s, &pin, NULL));
}

static void write_pin(struct cb_slot *s, struct cb_strmap *annotations)
{
    struct cb_strbuf table cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_toc_pin pin;
    if (cb_slot_pin(s, &pin))
        cb_toc_pin_write(&pin, cb_slot_small_table(s, &pin, &table) ? &table : NULL, annotations);
}

/* Tables that neither this build nor a record of an earlier one has left in the store are read again. */
static int need_tables(struct cb_build *b, struct cb_slot *const *v, size_t n, struct cb_error *err)
{
    struct cb_slot **missing = cb_calloc(n + 1, sizeof(struct cb_slot *));
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (!is_ready(v[i]))
            missing[k++] = v[i];
    int r = k ? cb_slots_need(b->slots, missing, k, CB_NEED_TOC, NULL, err) : 0;
    free(missing);
    return r < 0 ? cb_error_wrap(err, "tables of contents") : 0;
}

int cb_build_pin_tables(struct cb_build *b, size_t index, struct cb_strmap *v, struct cb_error *err)
{
    const struct cb_solved *made = &b->solver.images[index];
    struct cb_slot **pinned = cb_calloc(made->n + 1, sizeof(struct cb_slot *));
    size_t *of = cb_calloc(made->n + 1, sizeof *of), n = 0;
    bool parents = looks_below(&b->plan.images[index]);
    for (size_t i = 0; !cb_build_docker_types(b) && i < made->n; i++) {
        cb_slot_annotations(made->layers[i], &v[i]);
        if (b->o->no_tables)
            cb_toc_pin_remove(&v[i]);
        if (b->o->no_tables || is_pinned(&v[i]) ||
            (cb_slot_is_parent(made->layers[i]) && (!parents || cb_build_carries_table(&v[i]))))
            continue;
        of[n] = i;
        pinned[n++] = made->layers[i];
    }
    int r = need_tables(b, pinned, n, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        write_pin(pinned[i], &v[of[i]]);
    free(pinned);
    free(of);
    return r;
}
