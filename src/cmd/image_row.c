/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/image_row.h"

#include <fnmatch.h>

#include "cmd/session.h"
#include "oci/json.h"
#include "oci/reference.h"
#include "util/alloc.h"
#include "util/timeutil.h"

static bool seen(const struct cb_image_tree *t, size_t part, const struct cb_digest *d)
{
    for (size_t i = 0; i < part; i++)
        for (size_t k = 0; k < t->v[i].image.manifest.n_layers; k++)
            if (cb_digest_eq(&t->v[i].image.manifest.layers[k].digest, d))
                return true;
    return false;
}

/* Of all that is below the name, each layer once. */
static uint64_t tree_size(const struct cb_image_tree *t)
{
    uint64_t n = 0;
    for (size_t i = 0; i < t->n; i++) {
        const struct cb_manifest *m = &t->v[i].image.manifest;
        n += m->config.size;
        for (size_t k = 0; k < m->n_layers; k++)
            n += seen(t, i, &m->layers[k].digest) ? 0 : m->layers[k].size;
    }
    return n;
}

static void list_platforms(struct image_row *row, const struct cb_image_tree *t)
{
    for (size_t i = 0; t->v[t->n - 1].is_index && i < t->n; i++) {
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        const struct cb_image *image = &t->v[i].image;
        if (!t->v[i].is_image)
            continue;
        cb_strbuf_add_platform(&text, image->desc.platform ? image->desc.platform : &image->config.platform);
        cb_strvec_push(&row->platforms, text.buf);
    }
}

static void take_names(struct image_row *row, const char *canonical)
{
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT, repo cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (canonical && cb_reference_parse(&ref, canonical, NULL) == 0) {
        const struct cb_reference bare = { .host = ref.host, .repo = ref.repo };
        cb_strbuf_add_familiar(&name, &ref);
        cb_strbuf_add_familiar(&repo, &bare);
    } else {
        cb_strbuf_adds(&name, canonical ? canonical : "<none>");
        cb_strbuf_adds(&repo, name.buf);
    }
    row->canonical = cb_strdup_or_null(canonical);
    row->name = cb_strbuf_detach(&name, NULL);
    row->repo = cb_strbuf_detach(&repo, NULL);
    row->tag = cb_strdup(ref.tag ? ref.tag : "<none>");
}

void image_row_make(struct image_row *row, const struct cb_store_name *n, const struct cb_image_tree *t)
{
    const struct cb_image *i = cb_image_tree_pick(t, NULL), *top = &t->v[t->n - 1].image;
    i = i ? i : top; /* an artifact has a name as well */
    take_names(row, n->name);
    row->bytes = tree_size(t);
    list_platforms(row, t);
    if (i->config.created && !cb_time_parse(i->config.created, &row->created))
        row->created = 0;
    row->digest = n->desc.digest;
    row->config = cb_digest_is_set(&i->manifest.config.digest) ? i->manifest.config.digest : n->desc.digest;
    cb_strmap_copy(&row->labels, &i->config.labels);
}

void image_row_done(struct image_row *row)
{
    free(row->name);
    free(row->repo);
    free(row->tag);
    free(row->canonical);
    cb_strvec_done(&row->platforms);
    cb_strmap_done(&row->labels);
}

json_t *image_row_json(const struct image_row *row)
{
    char text[CB_DIGEST_TEXT_MAX];
    json_t *o = json_object();
    json_object_set_new(o, "name", json_string(row->name));
    json_object_set_new(o, "digest", json_string(cb_digest_text(&row->digest, text)));
    json_object_set_new(o, "id", json_string(cb_digest_text(&row->config, text)));
    json_object_set_new(o, "size", json_integer((json_int_t)row->bytes));
    json_t *platforms = json_array();
    for (size_t i = 0; i < row->platforms.n; i++)
        json_array_append_new(platforms, json_string(row->platforms.v[i]));
    if (row->platforms.n)
        json_object_set(o, "platforms", platforms);
    json_decref(platforms);
    return o;
}

/* "2026-11-26 22:20:35 +0000 UTC", as Go prints it. */
void image_row_put_times(json_t *o, int64_t created)
{
    struct cb_strbuf when cb_cleanup_strbuf = CB_STRBUF_INIT, since cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (created) {
        cb_time_format(&when, created);
        cb_time_format_ago(&since, created, cb_time_now());
    }
    cb_autofree char *at = when.len > 19 ? cb_asprintf("%.10s %.8s +0000 UTC", when.buf, when.buf + 11) : cb_strdup("");
    cb_json_put_string(o, "CreatedAt", at);
    cb_json_put_string(o, "CreatedSince", since.len ? since.buf : "N/A");
}

json_t *image_row_docker(const struct image_row *row, bool whole)
{
    char text[CB_DIGEST_TEXT_MAX], id[16];
    cb_autofree char *size = cb_size_text(row->bytes);
    json_t *o = json_object();
    cb_short_id(id, &row->config);
    cb_json_put_string(o, "Repository", row->repo);
    cb_json_put_string(o, "Tag", row->tag);
    cb_json_put_string(o, "ID", whole ? cb_digest_text(&row->config, text) : id);
    cb_json_put_string(o, "Digest", cb_digest_text(&row->digest, text));
    image_row_put_times(o, row->created);
    cb_json_put_string(o, "Size", size);
    return o;
}

bool image_row_is(const struct image_row *row, const char *pattern)
{
    const char *end = row->canonical ? strrchr(row->canonical, ':') : NULL;
    cb_autofree char *bare = end ? cb_strndup(row->canonical, (size_t)(end - row->canonical)) : NULL;
    const char *const names[] = { row->name, row->repo, row->canonical, bare };
    for (size_t i = 0; row->canonical && i < CB_COUNTOF(names); i++)
        if (names[i] && fnmatch(pattern, names[i], FNM_PATHNAME) == 0)
            return true;
    return false;
}
