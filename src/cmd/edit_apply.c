/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_apply.h"

#include "util/alloc.h"

void cb_edit_apply_done(struct cb_edit_apply *a)
{
    for (size_t i = 0; i < a->n_layers; i++)
        cb_edit_layer_done(&a->layers[i]);
    free(a->layers);
    free(a->used);
    cb_edit_config_done(&a->config);
    cb_annotations_done(&a->annotations);
}

int cb_edit_apply_annotation(struct cb_edit_apply *a, const char *text, struct cb_error *err)
{
    size_t before = a->annotations.n;
    int r = cb_annotation_parse(&a->annotations, text, err);
    for (size_t i = before; r == 0 && i < a->annotations.n; i++)
        if (a->annotations.v[i].level == CB_ANNOTATE_INDEX_DESCRIPTOR)
            r = cb_error_set(err, CB_EUSAGE, "%s: in a registry nothing describes an index", text);
    return r;
}

int cb_edit_apply_layers(struct cb_edit_apply *a, const struct cb_edit_env *env, const struct cb_strvec *paths,
                         struct cb_error *err)
{
    int r = 0;
    a->layers = cb_calloc(paths->n + 1, sizeof *a->layers);
    for (size_t i = 0; r == 0 && i < paths->n; i++) {
        r = cb_edit_layer_read(env, paths->v[i], &a->layers[i], err);
        a->n_layers += r == 0;
    }
    return r;
}

/* ---- callbacks ---- */

static int apply_image(void *arg, struct cb_edit_draft *d, struct cb_error *err)
{
    struct cb_edit_apply *a = arg;
    int r = 0;
    if (a->config.platform && a->images++)
        return cb_error_set(err, CB_EUSAGE, "--set-platform is for one image: --platform chooses it");
    for (size_t i = 0; r == 0 && i < a->n_layers; i++)
        r = cb_edit_append(d, &a->layers[i], a->created, err);
    if (r == 0 && !cb_edit_config_is_empty(&a->config)) {
        a->config.created = a->created;
        r = cb_edit_config_apply(&a->config, d->config, err);
    }
    return r;
}

static bool is_for(const struct cb_annotation *n, const struct cb_platform *p)
{
    struct cb_platform is cb_cleanup_platform = { 0 };
    if (!n->platform.os)
        return true;
    if (!p)
        return false;
    cb_platform_copy(&is, p);
    cb_platform_normalize(&is);
    return cb_platform_means(&n->platform, &is);
}

static void annotate(struct cb_edit_apply *a, enum cb_annotation_level level, json_t *o, const struct cb_platform *p)
{
    for (size_t i = 0; a->unset_annotations && i < a->unset_annotations->n; i++) {
        const char *key = a->unset_annotations->v[i];
        a->unset = a->unset || json_object_get(json_object_get(o, "annotations"), key);
        cb_edit_annotate(o, key, NULL);
    }
    for (size_t i = 0; i < a->annotations.n; i++) {
        const struct cb_annotation *n = &a->annotations.v[i];
        if (n->level != level || !is_for(n, p))
            continue;
        cb_edit_annotate(o, n->key, n->value);
        a->used[i] = true;
    }
}

static int apply_manifest(void *arg, json_t *o, const struct cb_platform *p, struct cb_error *err CB_UNUSED)
{
    annotate(arg, CB_ANNOTATE_MANIFEST, o, p);
    return 0;
}

/* What the entry says of the platform is what the configuration says now. */
static int apply_entry(void *arg, json_t *o, const struct cb_platform *p, struct cb_error *err CB_UNUSED)
{
    struct cb_edit_apply *a = arg;
    annotate(a, CB_ANNOTATE_MANIFEST_DESCRIPTOR, o, p);
    if (a->config.platform)
        cb_json_put(o, "platform", cb_platform_to_json(a->config.platform));
    return 0;
}

static int apply_index(void *arg, json_t *o, struct cb_edit_plan *plan CB_UNUSED, struct cb_error *err CB_UNUSED)
{
    annotate(arg, CB_ANNOTATE_INDEX, o, NULL);
    return 0;
}

/* ---- running ---- */

static bool has_level(const struct cb_edit_apply *a, enum cb_annotation_level level)
{
    bool has = a->unset_annotations && a->unset_annotations->n;
    for (size_t i = 0; i < a->annotations.n; i++)
        has = has || a->annotations.v[i].level == level;
    return has;
}

/* Only what is asked for is looked at: an annotation of the index alone reads no manifest. */
static void choose_callbacks(const struct cb_edit_apply *a, struct cb_edit_rewrite *w)
{
    if (a->n_layers || !cb_edit_config_is_empty(&a->config))
        w->image = apply_image;
    if (has_level(a, CB_ANNOTATE_MANIFEST))
        w->manifest = apply_manifest;
    if (has_level(a, CB_ANNOTATE_MANIFEST_DESCRIPTOR) || a->config.platform)
        w->entry = apply_entry;
    if (has_level(a, CB_ANNOTATE_INDEX))
        w->index = apply_index;
}

/* Nothing has been pushed yet when this fails. */
static int check_used(void *arg, struct cb_error *err)
{
    const struct cb_edit_apply *a = arg;
    for (size_t i = 0; i < a->annotations.n; i++)
        if (!a->used[i])
            return cb_error_set(err, CB_EUSAGE, "the annotation %s would go nowhere: there is no such %s",
                                a->annotations.v[i].key,
                                a->annotations.v[i].level == CB_ANNOTATE_MANIFEST ? "manifest" : "index");
    if (a->unset_annotations && a->unset_annotations->n && !a->unset)
        return cb_error_set(err, CB_EUSAGE, "there is no annotation %s to be taken away",
                            a->unset_annotations->v[0]);
    return 0;
}

int cb_edit_apply_run(struct cb_edit_apply *a, struct cb_edit_session *e, const struct cb_edit_request *q,
                      struct cb_error *err)
{
    struct cb_edit_rewrite w = { .oci = a->oci, .ready = check_used, .arg = a };
    a->used = cb_calloc(a->annotations.n + 1, sizeof *a->used);
    choose_callbacks(a, &w);
    return cb_edit_session_rewrite(e, q, &w, err);
}
