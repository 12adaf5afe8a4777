/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/session.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* ---- images ---- */

struct images_options {
    struct cb_common common;
    bool quiet, json, digests;
};
#define AT(field) offsetof(struct images_options, field)
static const struct cb_opt images_table[] = {
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "image IDs only", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "as JSON", NULL },
    { "digests", 0, CB_OPT_FLAG, AT(digests), NULL, "whole manifest digests instead of short IDs", NULL },
    CB_OPT_COMMON_STORE(images_options),
    CB_OPT_END,
};

struct image_row {
    char *name, *id, *size, *age;
    struct cb_digest digest, config;
    uint64_t bytes;
    struct cb_strvec platforms;   /* of an index */
};

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

static void make_row(struct image_row *row, const struct cb_store_name *n, const struct cb_image_tree *t, bool digests)
{
    const struct cb_image *i = cb_image_tree_pick(t, NULL);
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT, age cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_reference ref cb_cleanup_reference = { 0 };
    char id[16], text[CB_DIGEST_TEXT_MAX];
    int64_t created = 0;
    if (n->name && cb_reference_parse(&ref, n->name, NULL) == 0)
        cb_strbuf_add_familiar(&name, &ref);
    else
        cb_strbuf_adds(&name, n->name ? n->name : "<none>");
    row->bytes = tree_size(t);
    list_platforms(row, t);
    if (i->config.created && cb_time_parse(i->config.created, &created))
        cb_time_format_ago(&age, created, cb_time_now());
    cb_short_id(id, &i->manifest.config.digest);
    row->name = cb_strbuf_detach(&name, NULL);
    row->id = cb_strdup(digests ? cb_digest_text(&n->desc.digest, text) : id);
    row->size = cb_size_text(row->bytes);
    row->age = cb_strbuf_detach(&age, NULL);
    row->digest = n->desc.digest;
    row->config = i->manifest.config.digest;
}

static void row_done(struct image_row *row)
{
    free(row->name);
    free(row->id);
    free(row->size);
    free(row->age);
    cb_strvec_done(&row->platforms);
}

static json_t *row_json(const struct image_row *row)
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

/* Other tools leave out of an index what they did not copy: then the part that serves here stands for it. */
static int load_tree(struct cb_session *s, const struct cb_descriptor *desc, struct cb_image_tree *out)
{
    struct cb_image image cb_cleanup_image = { 0 };
    if (cb_image_tree_load(s->store, desc, out, NULL) == 0)
        return 0;
    int r = cb_image_load(s->store, desc, NULL, &image, NULL);
    return r < 0 ? r : cb_image_tree_load(s->store, &image.desc, out, NULL);
}

static int list(struct cb_session *s, const struct images_options *o, struct cb_error *err)
{
    struct cb_store_names names = { 0 };
    cb_autojson json_t *all = json_array();
    int r = cb_store_name_list(s->store, &names, err);
    if (r == 0 && !o->quiet && !o->json)
        printf("%-44s  %-12s  %-18s  %s\n", "NAME", "IMAGE ID", "CREATED", "SIZE");
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        struct cb_image_tree tree cb_cleanup_image_tree = { 0 };
        struct image_row row = { .platforms = CB_STRVEC_INIT };
        if (load_tree(s, &names.v[i].desc, &tree) < 0 || !cb_image_tree_pick(&tree, NULL))
            continue;
        make_row(&row, &names.v[i], &tree, o->digests);
        if (o->json)
            json_array_append_new(all, row_json(&row));
        else if (o->quiet)
            printf("%s\n", row.id);
        else
            printf("%-44s  %-12s  %-18s  %s\n", row.name, row.id, row.age, row.size);
        row_done(&row);
    }
    if (r == 0 && o->json) {
        struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_json_print_pretty(&sb, all);
        fputs(sb.buf, stdout);
    }
    cb_store_names_done(&names);
    return r;
}

static int run_images(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct images_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv };
    int r = cb_verb_args(&a, err);
    cb_strvec_done(&a.operands);
    if (r < 0 || a.done)
        return r;
    r = cb_session_store(&s, p, &o.common, err);
    return r < 0 ? r : list(&s, &o, err);
}

const struct cb_verb cb_verb_images = {
    .name = "images",
    .summary = "list the images of the store",
    .operands = "[OPTIONS]",
    .options = images_table,
    .run = run_images,
};

/* ---- tag ---- */

struct plain_options {
    struct cb_common common;
};
static const struct cb_opt plain_table[] = { CB_OPT_COMMON_STORE(plain_options), CB_OPT_END };

static int tag(struct cb_session *s, const char *from, const char *to, struct cb_error *err)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_reference ref cb_cleanup_reference = { 0 };
    int r = cb_store_find(s->store, from, &desc, NULL, err);
    if (r == 0)
        r = cb_reference_parse(&ref, to, err);
    if (r < 0)
        return r;
    if (cb_digest_is_set(&ref.digest))
        return cb_error_set(err, CB_EUSAGE, "%s: a name must not have a digest", to);
    cb_reference_default_tag(&ref);
    cb_autofree char *name = cb_reference_text(&ref);
    return cb_store_name_set(s->store, name, &desc, err);
}

static int run_tag(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
                   struct cb_error *err)
{
    struct plain_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 2, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = cb_session_store(&s, p, &o.common, err);
    if (r == 0 && !a.done)
        r = tag(&s, a.operands.v[0], a.operands.v[1], err);
    cb_strvec_done(&a.operands);
    return r;
}

const struct cb_verb cb_verb_tag = {
    .name = "tag",
    .summary = "give an image of the store another name",
    .operands = "IMAGE NAME[:TAG]",
    .options = plain_table,
    .run = run_tag,
};

/* ---- rmi ---- */

/* A name goes; an ID takes all names of its image along. The bytes go with `prune`. */
static int remove_image(struct cb_session *s, const char *what, struct cb_error *err)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_store_names names = { 0 };
    cb_autofree char *name = NULL;
    int r = cb_store_find(s->store, what, &desc, &name, err);
    if (r == 0 && name) {
        r = cb_store_name_set(s->store, name, NULL, err);
        if (r == 0)
            printf("%s\n", name);
        return r;
    }
    if (r == 0)
        r = cb_store_name_list(s->store, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        if (!names.v[i].name || !cb_digest_eq(&names.v[i].desc.digest, &desc.digest))
            continue;
        r = cb_store_name_set(s->store, names.v[i].name, NULL, err);
        if (r == 0)
            printf("%s\n", names.v[i].name);
    }
    cb_store_names_done(&names);
    return r;
}

static int run_rmi(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
                   struct cb_error *err)
{
    struct plain_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = cb_session_store(&s, p, &o.common, err);
    for (size_t i = 0; r == 0 && !a.done && i < a.operands.n; i++)
        r = remove_image(&s, a.operands.v[i], err);
    cb_strvec_done(&a.operands);
    return r;
}

const struct cb_verb cb_verb_rmi = {
    .name = "rmi", .summary = "remove names from the store", .operands = "IMAGE…",
    .details = "Takes the name away; `cbpush prune` frees what no name needs.", .options = plain_table, .run = run_rmi,
};
