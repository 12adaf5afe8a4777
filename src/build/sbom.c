/* SPDX-License-Identifier: Apache-2.0 */
/* What the scanner left: in-toto statements about the image, each a file of the layer that its step made. */
#include "build/sbom.h"

#include "build/failed.h"
#include "util/alloc.h"
#include "util/path.h"

struct found {
    const struct cb_build *b;
    size_t index;                /* of the image */
    json_t *subjects;
    struct cb_slot *slot;        /* the layer of the scanner's step */
    struct cb_stack *stack;      /* of it alone */
    struct cb_layer layer;
    const struct cb_stack_entry **v;
    size_t n;
    struct cb_files *files;
};

static void found_done(struct found *f)
{
    cb_files_free(f->files);
    cb_layer_done(&f->layer);
    cb_stack_unref(f->stack);
    free(f->v);
}

static int wrote_nothing(const struct found *f, struct cb_error *err)
{
    return cb_error_set(err, CB_EVERIFY, "%s wrote nothing to /" CB_SBOM_DIR "/",
                        f->b->plan.images[f->index].scan->note);
}

/* What it says of the image itself is what others show who show one document. */
static void put_core_first(struct found *f)
{
    size_t core = 0;
    while (core < f->n && strcmp(f->v[core]->e->path, CB_SBOM_DIR "/sbom.spdx.json") != 0)
        core++;
    if (core == f->n)
        return;
    const struct cb_stack_entry *se = f->v[core];
    memmove(f->v + 1, f->v, core * sizeof *f->v);
    f->v[0] = se;
}

/* Of the directory itself, and of nothing below it. */
static void list(struct found *f)
{
    size_t n = cb_stack_count(f->stack), len = strlen(CB_SBOM_DIR "/");
    f->v = cb_calloc(n + 1, sizeof *f->v);
    for (size_t i = cb_stack_lower_bound(f->stack, CB_SBOM_DIR "/"); i < n; i++) {
        const struct cb_stack_entry *se = cb_stack_at(f->stack, i);
        if (!cb_starts_with(se->e->path, CB_SBOM_DIR "/"))
            break;
        if (se->data && !strchr(se->e->path + len, '/'))
            f->v[f->n++] = se;
    }
    put_core_first(f);
}

static int open_all(struct found *f, struct cb_error *err)
{
    const struct cb_vertex *scan = f->b->plan.images[f->index].scan;
    if (!cb_solver_added_layer(scan))
        return wrote_nothing(f, err);
    f->slot = scan->state->layers[scan->state->n_layers - 1];
    int r = cb_slots_need(f->b->slots, &f->slot, 1, CB_NEED_TOC | CB_NEED_DATA, scan->step, err);
    if (r < 0)
        return r;
    f->stack = cb_slots_stack(f->b->slots, &f->slot, 1);
    cb_slot_layer(f->slot, &f->layer);
    list(f);
    if (!f->n)
        return wrote_nothing(f, err);
    struct cb_files_options o = { .store = f->b->env->store, .stack = f->stack, .layers = &f->layer, .wanted = f->v,
                                  .n_wanted = f->n, .cancel = f->b->cancel };
    return cb_files_open(&o, &f->files, err);
}

/* Also what others may say of it is kept: only what it is about is filled in where the scanner left that open. */
static int check(const struct found *f, json_t *o, struct cb_error *err)
{
    const char *type = NULL, *predicate = NULL;
    const json_t *subject = NULL;
    int r = cb_json_get_string(o, "_type", &type, err);
    if (r == 0)
        r = cb_json_get_string(o, "predicateType", &predicate, err);
    if (r == 0)
        r = cb_json_get_array(o, "subject", &subject, err);
    if (r < 0)
        return r;
    if (!type || !cb_starts_with(type, "https://in-toto.io/Statement/"))
        return cb_error_set(err, CB_EVERIFY, "it is no in-toto statement (_type is \"%s\")", type ? type : "");
    if (!predicate || strcmp(predicate, CB_SBOM_SPDX) != 0)
        return cb_error_set(err, CB_EVERIFY, "its predicateType is \"%s\", and not " CB_SBOM_SPDX,
                            predicate ? predicate : "");
    if (!json_is_object(json_object_get(o, "predicate")))
        return cb_error_set(err, CB_EVERIFY, "it has no predicate");
    if (!json_array_size(subject))
        json_object_set(o, "subject", f->subjects);
    return 0;
}

static int read_one(struct found *f, const struct cb_stack_entry *se, json_t *all, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autosource struct cb_blob_source *src = NULL;
    int r = cb_files_source(f->files, se, &src, err);
    if (r == 0)
        r = cb_blob_read_all(src, CB_MAX_ATTESTATION, &text, err);
    cb_autojson json_t *o = r == 0 ? cb_json_parse(text.buf, text.len, err) : NULL;
    r = o ? check(f, o, err) : cb_failed(err);
    if (r < 0)
        return cb_error_wrap(err, "%s: /%s", f->b->plan.images[f->index].scan->note, se->e->path);
    json_array_append(all, o);
    return 0;
}

int cb_sbom_statements(const struct cb_build *b, size_t index, json_t *subjects, json_t *all, struct cb_strvec *names,
                       struct cb_error *err)
{
    struct found f CB_CLEANUP(found_done) = { .b = b, .index = index, .subjects = subjects };
    if (!b->plan.images[index].scan)
        return 0;
    int r = open_all(&f, err);
    for (size_t i = 0; r == 0 && i < f.n; i++) {
        r = read_one(&f, f.v[i], all, err);
        if (names)
            cb_strvec_push(names, cb_path_base(f.v[i]->e->path));
    }
    return r;
}
