/* SPDX-License-Identifier: Apache-2.0 */
#include "build/provenance.h"
#include "util/alloc.h"
#include "util/path.h"

json_t *cb_provenance_digest(const struct cb_digest *d)
{
    char hex[CB_DIGEST_TEXT_MAX];
    json_t *o = json_object();
    json_object_set_new(o, cb_digest_alg_name(d->alg), json_string(cb_digest_hex(d, hex)));
    return o;
}

json_t *cb_provenance_commit(const char *commit)
{
    json_t *o = json_object();
    json_object_set_new(o, strlen(commit) == 40 ? "sha1" : "sha256", json_string(commit));
    return o;
}

/* Takes digest. One that is there already is not told twice. */
static void add(json_t *list, const char *uri, json_t *digest)
{
    cb_autojson json_t *o = json_object();
    cb_json_put(o, "uri", cb_json_string(uri));
    json_object_set_new(o, "digest", digest);
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), o))
            return;
    json_array_append(list, o);
}

static void add_context(const struct cb_provenance_work *w, json_t *list)
{
    const struct cb_main_context *c = w->b->origin.context;
    const struct cb_dockerfile *d = w->b->res->dockerfile;
    const char *file = w->b->o->dockerfile;
    if (c->uri && c->commit)
        add(list, c->uri, cb_provenance_commit(c->commit));
    else if (c->uri)
        add(list, c->uri, cb_provenance_digest(&c->digest));
    if (file && cb_url_is_http(file)) {
        cb_autofree char *uri = cb_url_told(file);
        struct cb_digest digest;
        cb_digest_of(&digest, d->text, d->text_len);
        add(list, uri, cb_provenance_digest(&digest));
    }
}

static void add_image(const struct cb_plan_source *s, json_t *list)
{
    const struct cb_digest *digest = cb_digest_is_set(&s->top) ? &s->top : &s->image.desc.digest;
    cb_autofree char *uri = NULL;
    if (s->layout) {
        cb_autofree char *path = cb_strdup(s->layout->path); /* of this machine: its last part will do */
        for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--)
            path[n - 1] = '\0';
        uri = cb_purl_oci(cb_path_base(path), digest, &s->platform);
    } else {
        uri = cb_purl_docker(&s->ref, &s->platform);
    }
    add(list, uri, cb_provenance_digest(digest));
}

static void add_vertex(const struct cb_vertex *v, json_t *list)
{
    cb_autofree char *uri = NULL;
    if (v->kind == CB_VERTEX_SOURCE)
        add_image(v->source, list);
    if (v->kind == CB_VERTEX_GIT) {
        uri = cb_git_told(&v->remote.git);
        add(list, uri, cb_provenance_commit(v->remote.commit));
    } else if (v->kind == CB_VERTEX_HTTP) {
        uri = cb_url_told(v->remote.url);
        add(list, uri, cb_provenance_digest(&v->remote.content));
    }
}

/* ---- what has no digest ---- */

static bool reads_context(const struct cb_vertex *v)
{
    bool reads = v->kind == CB_VERTEX_COPY && !v->from && !v->from_scratch && !v->local && v->copy.sources.n > 0;
    for (size_t i = 0; v->kind == CB_VERTEX_RUN && i < v->run.n_mounts; i++)
        reads = reads || v->run.mounts[i].from_kind == CB_MOUNT_FROM_CONTEXT;
    return reads;
}

bool cb_provenance_reads_context(const struct cb_provenance_work *w)
{
    bool reads = false;
    for (size_t i = 0; i < w->b->plan.n; i++)
        reads = reads || (w->used[i] && reads_context(w->b->plan.vertices[i]));
    return reads;
}

/* A directory, whatever came by the network into a RUN, what was on another host's disk. */
static bool has_no_digest(const struct cb_vertex *v)
{
    return v->local || (v->kind == CB_VERTEX_RUN && v->run.network != CB_NETWORK_NONE);
}

json_t *cb_provenance_dependencies(const struct cb_provenance_work *w, bool *complete)
{
    json_t *list = json_array();
    const struct cb_main_context *c = w->b->origin.context;
    *complete = c->uri || !cb_provenance_reads_context(w);
    add_context(w, list);
    for (size_t i = 0; i < w->b->plan.n; i++) {
        const struct cb_vertex *v = w->b->plan.vertices[i];
        if (!w->used[i])
            continue;
        *complete = *complete && !has_no_digest(v);
        add_vertex(v, list);
    }
    return list;
}
