/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/inspect_doc.h"

#include "oci/json.h"
#include "util/encode.h"

void cb_inspected_done(struct cb_inspected *x)
{
    free(x->name);
    cb_descriptor_done(&x->top);
    cb_descriptor_done(&x->desc);
    cb_strbuf_done(&x->index);
    cb_strbuf_done(&x->manifest);
    cb_strbuf_done(&x->config);
    cb_strvec_done(&x->repo_tags);
    cb_strvec_done(&x->repo_digests);
}

static void put_digest(json_t *o, const char *key, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_json_put_string(o, key, cb_digest_text(d, text));
}

/* Members of the configuration under the names that Docker has for them. */
static const struct {
    const char *name, *key;
} members[] = { { "Created", "created" },    { "DockerVersion", "docker_version" }, { "Author", "author" },
                { "Comment", "comment" },    { "Architecture", "architecture" },    { "Variant", "variant" },
                { "Os", "os" },              { "OsVersion", "os.version" } };

static void put_config(json_t *o, const json_t *config)
{
    for (size_t i = 0; i < CB_COUNTOF(members); i++)
        cb_json_put_string(o, members[i].name, json_string_value(json_object_get(config, members[i].key)));
}

static json_t *or_null(json_t *j)
{
    return j ? json_incref(j) : json_null();
}

/* Those of skopeo, which shows layers as the registry has them. */
static void put_layers(json_t *o, const struct cb_manifest *m)
{
    json_t *names = json_array(), *data = json_array();
    for (size_t i = 0; i < m->n_layers; i++) {
        const struct cb_descriptor *d = &m->layers[i];
        char text[CB_DIGEST_TEXT_MAX];
        json_t *layer = json_object();
        cb_json_put_string(layer, "MIMEType", d->media_type);
        put_digest(layer, "Digest", &d->digest);
        cb_json_put(layer, "Size", json_integer((json_int_t)d->size));
        cb_json_put(layer, "Annotations", d->annotations.n ? cb_json_from_strmap(&d->annotations) : json_null());
        json_array_append_new(data, layer);
        json_array_append_new(names, json_string(cb_digest_text(&d->digest, text)));
    }
    cb_json_put(o, "Layers", names);
    cb_json_put(o, "LayersData", data);
}

static void put_rootfs(json_t *o, const json_t *config)
{
    const json_t *from = json_object_get(config, "rootfs");
    json_t *rootfs = json_object();
    cb_json_put_string(rootfs, "Type", json_string_value(json_object_get(from, "type")));
    cb_json_put(rootfs, "Layers", or_null(json_object_get(from, "diff_ids")));
    cb_json_put(o, "RootFS", rootfs);
}

static uint64_t size_of(const struct cb_manifest *m)
{
    uint64_t size = m->config.size;
    for (size_t i = 0; i < m->n_layers; i++)
        if (cb_add_overflow(size, m->layers[i].size, &size))
            return (uint64_t)INT64_MAX;
    return CB_MIN(size, (uint64_t)INT64_MAX);
}

static json_t *list(const struct cb_strvec *v)
{
    json_t *a = json_array();
    for (size_t i = 0; i < v->n; i++)
        json_array_append_new(a, json_string(v->v[i]));
    return a;
}

static json_t *parse(const struct cb_strbuf *body, struct cb_error *err)
{
    return cb_json_parse(body->buf, body->len, err);
}

json_t *cb_inspect_json(const struct cb_inspected *x, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    cb_autojson json_t *manifest = parse(&x->manifest, err), *config = manifest ? parse(&x->config, err) : NULL;
    cb_autojson json_t *index = config && x->index.len ? parse(&x->index, err) : NULL;
    if (!config || (x->index.len && !index) ||
        cb_manifest_parse(&m, x->manifest.buf, x->manifest.len, x->desc.media_type, err) < 0)
        return NULL;
    json_t *o = json_object(), *inner = json_object_get(config, "config");
    cb_json_put_string(o, "Name", x->name);
    put_digest(o, "Digest", &x->top.digest);
    put_digest(o, "Id", &m.config.digest);
    if (x->local) {
        cb_json_put(o, "RepoTags", list(&x->repo_tags));
        cb_json_put(o, "RepoDigests", list(&x->repo_digests));
    }
    cb_json_put_string(o, "MediaType", x->top.media_type);
    cb_json_put(o, "Size", json_integer((json_int_t)size_of(&m)));
    put_config(o, config);
    cb_json_put(o, "Labels", or_null(json_object_get(inner, "Labels")));
    cb_json_put(o, "Env", or_null(json_object_get(inner, "Env")));
    cb_json_put(o, "Config", or_null(inner));
    put_rootfs(o, config);
    put_layers(o, &m);
    cb_json_put(o, "Manifest", json_incref(manifest));
    if (index)
        cb_json_put(o, "Index", json_incref(index));
    return o;
}

json_t *cb_inspect_more(const json_t *doc)
{
    json_t *o = json_object();
    for (size_t i = 0; i < CB_COUNTOF(members); i++)
        cb_json_put_string(o, members[i].name, "");
    cb_json_put(o, "Index", json_null());
    cb_json_put(o, "ID", json_incref(json_object_get(doc, "Id")));
    return o;
}
