/* SPDX-License-Identifier: Apache-2.0 */
#include "build/provenance.h"
#include "util/alloc.h"

static json_t *step_id(const struct cb_vertex *v)
{
    cb_autofree char *id = cb_asprintf("step%u", v->id);
    return json_string(id);
}

static json_t *inputs(const struct cb_vertex *v)
{
    json_t *list = json_array();
    if (v->base)
        json_array_append_new(list, step_id(v->base));
    if (v->from)
        json_array_append_new(list, step_id(v->from));
    for (size_t i = 0; i < v->n_inputs; i++)
        json_array_append_new(list, step_id(v->inputs[i]));
    return list;
}

static json_t *step(const struct cb_vertex *v)
{
    static const char *const kinds[] = { "source", "run", "copy", "mkdir", "link", "http", "git" };
    struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    json_t *o = json_object();
    cb_strbuf_add_platform(&platform, &v->platform);
    json_object_set_new(o, "id", step_id(v));
    json_object_set_new(o, "kind", json_string(kinds[v->kind]));
    cb_json_put(o, "name", cb_provenance_text(v->note ? v->note : v->name ? v->name : ""));
    if (v->platform.os)
        cb_json_put(o, "platform", cb_json_string(platform.buf));
    if (v->stage)
        cb_json_put(o, "stage", cb_json_string(v->stage));
    if (v->span.first) {
        json_t *lines = json_array();
        json_array_append_new(lines, json_integer(v->span.first));
        json_array_append_new(lines, json_integer(v->span.last));
        json_object_set_new(o, "lines", lines);
    }
    if (v->kind == CB_VERTEX_RUN)
        json_object_set_new(o, "network", json_boolean(v->run.network != CB_NETWORK_NONE));
    json_object_set_new(o, "inputs", inputs(v));
    return o;
}

json_t *cb_provenance_steps(const struct cb_provenance_work *w)
{
    json_t *list = json_array();
    for (size_t i = 0; i < w->b->plan.n; i++)
        if (w->used[i])
            json_array_append_new(list, step(w->b->plan.vertices[i]));
    return list;
}

/* ---- layers ---- */

static void add_layer(json_t *o, const struct cb_vertex *v, const struct cb_descriptor *d)
{
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autojson json_t *id = step_id(v), *layer = json_object();
    json_t *list = json_object_get(o, json_string_value(id));
    if (!list) {
        list = json_array();
        json_object_set_new(o, json_string_value(id), list);
    }
    cb_json_put(layer, "mediaType", cb_json_string(d->media_type));
    json_object_set_new(layer, "digest", json_string(cb_digest_text(&d->digest, digest)));
    json_object_set_new(layer, "size", json_integer((json_int_t)d->size));
    json_array_append(list, layer);
}

/* As the history tells it; the parent's are below. A layer that others were merged into belongs to no step. */
json_t *cb_provenance_layers(const struct cb_provenance_work *w)
{
    const struct cb_manifest *m = &w->image->manifest;
    json_t *o = json_object();
    size_t own = 0, k = 0;
    bool merged = w->b->o->squash || w->b->o->squash_all;
    for (size_t i = 0; i < w->plan->n_history; i++)
        own += cb_build_made_layer(w->b, w->p->index, i);
    const struct cb_vertex *base = w->plan->base && !w->b->o->squash_all ? w->plan->base->vertex : NULL;
    for (; k + own < m->n_layers; k++)
        if (base)
            add_layer(o, base, &m->layers[k]);
    for (size_t i = 0; !merged && i < w->plan->n_history && k < m->n_layers; i++)
        if (cb_build_made_layer(w->b, w->p->index, i))
            add_layer(o, w->plan->history[i].vertex, &m->layers[k++]);
    return o;
}
