/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/columns.h"
#include "cmd/image_row.h"
#include "cmd/session.h"
#include "cmd/template_table.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* ---- images ---- */

struct images_options {
    struct cb_common common;
    struct cb_strvec filters, operands;
    const char *format;
    bool quiet, json, digests, no_trunc, all;
};
#define AT(field) offsetof(struct images_options, field)
static const struct cb_opt images_table[] = {
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "image IDs only", NULL },
    { "filter", 'f', CB_OPT_LIST, AT(filters), "KEY=VALUE",
      "only those of reference=NAME, label=K[=V], dangling=true|false", NULL,
      "reference=,label=,dangling=true|false" },
    { "format", 0, CB_OPT_STRING, AT(format), "TEMPLATE",
      "of Repository, Tag, ID, Digest, CreatedAt, CreatedSince, Size; table TEMPLATE: in columns; json", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "as JSON", NULL },
    { "digests", 0, CB_OPT_FLAG, AT(digests), NULL, "also the manifest digests; with -q these instead of IDs", NULL },
    { "no-trunc", 0, CB_OPT_FLAG, AT(no_trunc), NULL, "whole IDs", NULL },
    { "all", 'a', CB_OPT_FLAG, AT(all), NULL, NULL, NULL }, /* of intermediate images there are none */
    CB_OPT_COMMON_STORE(images_options),
    CB_OPT_END,
};

static int check_images(const struct images_options *o, struct cb_error *err)
{
    if (o->format && (o->quiet || o->json))
        return cb_error_set(err, CB_EUSAGE, "--format does not go with --%s", o->quiet ? "quiet" : "json");
    if (o->quiet && o->json)
        return cb_error_set(err, CB_EUSAGE, "--quiet does not go with --json");
    for (size_t i = 0; i < o->filters.n; i++) {
        const char *f = o->filters.v[i];
        if (!cb_starts_with(f, "reference=") && !cb_starts_with(f, "label=") && strcmp(f, "dangling=true") != 0 &&
            strcmp(f, "dangling=false") != 0)
            return cb_error_set(err, CB_EUSAGE, "--filter %s: write reference=NAME, label=K[=V], dangling=true or "
                                                "dangling=false", f);
    }
    return 0;
}

static bool has_label(const struct image_row *row, const char *text)
{
    const char *eq = strchrnul(text, '=');
    cb_autofree char *key = cb_strndup(text, (size_t)(eq - text));
    const char *value = cb_strmap_get(&row->labels, key);
    return value && (!*eq || !strcmp(value, eq + 1));
}

/* One of the names that were said, and all else of the filters. */
static bool is_wanted(const struct images_options *o, const struct image_row *row)
{
    bool asked = o->operands.n > 0, named = false, rest = true;
    for (size_t i = 0; i < o->operands.n; i++)
        named = named || image_row_is(row, o->operands.v[i]);
    for (size_t i = 0; i < o->filters.n; i++) {
        const char *f = o->filters.v[i];
        bool reference = cb_starts_with(f, "reference=");
        asked = asked || reference;
        named = named || (reference && image_row_is(row, f + strlen("reference=")));
        if (cb_starts_with(f, "label="))
            rest = rest && has_label(row, f + strlen("label="));
        else if (!reference)
            rest = rest && !strcmp(f, "dangling=true") == !row->canonical;
    }
    return rest && (named || !asked);
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

static const char *const headings[][2] = {
    { "Repository", "REPOSITORY" }, { "Tag", "TAG" },           { "ID", "IMAGE ID" },
    { "Digest", "DIGEST" },         { "CreatedAt", "CREATED AT" }, { "CreatedSince", "CREATED" },
    { "Size", "SIZE" },             { NULL, NULL },
};

/* Of --json and of tables, what is printed at the end. */
struct shown {
    json_t *all;
    struct cb_strvec lines;
    struct cb_template_table table;
};

static int print_row(const struct images_options *o, const struct image_row *row, struct shown *to,
                     struct cb_error *err)
{
    struct cb_strbuf age cb_cleanup_strbuf = CB_STRBUF_INIT;
    char id[CB_DIGEST_TEXT_MAX], digest[CB_DIGEST_TEXT_MAX];
    cb_autofree char *size = cb_size_text(row->bytes);
    cb_digest_text(&row->digest, digest);
    if (o->no_trunc)
        cb_digest_text(&row->config, id);
    else
        cb_short_id(id, &row->config);
    if (row->created)
        cb_time_format_ago(&age, row->created, cb_time_now());
    if (o->format) {
        cb_autojson json_t *j = image_row_docker(row, o->no_trunc);
        return cb_template_table_add(&to->table, j, err);
    }
    if (o->json)
        json_array_append_new(to->all, image_row_json(row));
    else if (o->quiet)
        printf("%s\n", o->digests ? digest : id);
    else
        cb_strvec_pushf(&to->lines, "%s\t%s%s%s\t%s\t%s", row->name, o->digests ? digest : "",
                        o->digests ? "\t" : "", id, age.len ? age.buf : "", size);
    return 0;
}

static int list(struct cb_session *s, const struct images_options *o, struct cb_error *err)
{
    struct cb_store_names names = { 0 };
    cb_autojson json_t *all = json_array();
    struct shown to = { .all = all, .lines = CB_STRVEC_INIT };
    int r = cb_store_name_list(s->store, &names, err);
    if (r == 0 && o->format)
        r = cb_template_table_begin(&to.table, o->format, headings, err);
    cb_strvec_push(&to.lines, o->digests ? "NAME\tDIGEST\tIMAGE ID\tCREATED\tSIZE" : "NAME\tIMAGE ID\tCREATED\tSIZE");
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        struct cb_image_tree tree cb_cleanup_image_tree = { 0 };
        struct image_row row = IMAGE_ROW_INIT;
        if (load_tree(s, &names.v[i].desc, &tree) < 0)
            continue;
        image_row_make(&row, &names.v[i], &tree);
        if (is_wanted(o, &row))
            r = print_row(o, &row, &to, err);
        image_row_done(&row);
    }
    if (r == 0 && o->json) {
        struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_json_print_pretty(&sb, all);
        fputs(sb.buf, stdout);
    }
    if (r == 0 && o->format)
        cb_template_table_print(&to.table);
    else if (r == 0 && !o->quiet && !o->json)
        cb_columns_print(&to.lines, 0, 2);
    cb_strvec_done(&to.lines);
    cb_template_table_done(&to.table);
    cb_store_names_done(&names);
    return r;
}

static int run_images(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct images_options o = { .common = CB_COMMON_INIT, .filters = CB_STRVEC_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    o.operands = a.operands;
    if (r == 0 && !a.done)
        r = check_images(&o, err);
    if (cb_template_is_plain_table(o.format))
        o.format = NULL;
    if (r == 0 && !a.done)
        r = cb_session_store(&s, p, &o.common, err);
    if (r == 0 && !a.done)
        r = list(&s, &o, err);
    cb_strvec_done(&o.operands);
    cb_strvec_done(&o.filters);
    return r;
}

const struct cb_verb cb_verb_images = {
    .name = "images",
    .summary = "list the images of the store",
    .operands = "[OPTIONS] [NAME[:TAG]…]",
    .details = "A NAME may have the wildcards *, ? and [ ], which stay within one part between slashes.",
    .options = images_table,
    .run = run_images,
};

/* ---- tag ---- */

struct plain_options {
    struct cb_common common;
};
static const struct cb_opt plain_table[] = { CB_OPT_COMMON_STORE(plain_options), CB_OPT_END };

/* regctl has tags of registries there. */
static const char *tag_hint(const char *from)
{
    if (!strcmp(from, "ls") || !strcmp(from, "list"))
        return "cbpush tags REPO lists those of a registry";
    if (!strcmp(from, "delete") || !strcmp(from, "rm"))
        return "cbpush delete REF takes one away from a registry, cbpush rmi NAME from the store";
    return "cbpush copy gives one of a registry another name";
}

static int tag(struct cb_session *s, const char *from, const char *to, struct cb_error *err)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_reference ref cb_cleanup_reference = { 0 };
    int r = cb_reference_parse_word(&ref, to, err);
    if (r < 0)
        return r;
    if (cb_digest_is_set(&ref.digest))
        return cb_error_set(err, CB_EUSAGE, "%s: a name must not have a digest", to);
    if (cb_starts_with(to, "sha256:") || cb_starts_with(to, "sha512:")) /* nobody would find it by that; docker, too */
        return cb_error_set(err, CB_EUSAGE, "%s reads as an image ID: choose another name", to);
    if ((r = cb_store_find(s->store, from, &desc, NULL, err)) == -CB_ENOTFOUND)
        cb_error_append(err, " in the store (%s)", tag_hint(from));
    if (r < 0)
        return r;
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

struct rmi_options {
    struct cb_common common;
    bool force;
};
#undef AT
#define AT(field) offsetof(struct rmi_options, field)
static const struct cb_opt rmi_table[] = {
    { "force", 'f', CB_OPT_FLAG, AT(force), NULL, "all names of an ID; one that is not there is no failure", NULL },
    CB_OPT_COMMON_STORE(rmi_options),
    CB_OPT_END,
};

/* An ID with several names is most likely not meant to lose all of them: docker and podman refuse, too. */
static int refuse_several(const char *id, const struct cb_strvec *names, struct cb_error *err)
{
    struct cb_strbuf list cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < names->n; i++)
        cb_strbuf_addf(&list, "%s%s", i ? ", " : "", names->v[i]);
    return cb_error_set(err, CB_EUSAGE, "%s has several names (%s): rmi -f %s takes all of them away, rmi NAME one", id,
                        list.buf, id);
}

/* The bytes go with `prune`. */
static int remove_image(struct cb_session *s, const char *what, bool force, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = cb_store_find_names(s->store, what, &names, err);
    if (r == 0 && names.n > 1 && !force)
        return refuse_several(what, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        r = cb_store_name_set(s->store, names.v[i], NULL, err);
        if (r == 0)
            printf("%s\n", names.v[i]);
    }
    return r;
}

/* All that can go goes; what could not is told, and the last failure is the result. */
static int remove_all(struct cb_session *s, const struct cb_strvec *names, bool force, struct cb_error *err)
{
    struct cb_error last cb_cleanup_error = CB_ERROR_INIT;
    int result = 0;
    for (size_t i = 0; i < names->n; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int r = remove_image(s, names->v[i], force, &e);
        if (r == 0)
            continue;
        if (r == -CB_ENOTFOUND && force) {
            fprintf(stderr, "cbpush: %s\n", cb_error_text(&e));
            continue;
        }
        if (result < 0)
            fprintf(stderr, "cbpush: %s\n", cb_error_text(&last));
        result = cb_error_move(&last, &e);
    }
    return result < 0 ? cb_error_move(err, &last) : 0;
}

static int run_rmi(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
                   struct cb_error *err)
{
    struct rmi_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = cb_session_store(&s, p, &o.common, err);
    if (r == 0 && !a.done)
        r = remove_all(&s, &a.operands, o.force, err);
    cb_strvec_done(&a.operands);
    return r;
}

const struct cb_verb cb_verb_rmi = {
    .name = "rmi", .summary = "remove names from the store", .operands = "[OPTIONS] IMAGE…",
    .details = "Takes the name away. An image ID goes where its image has one name; with -f all of them do.\n"
               "`cbpush prune` frees what no name needs.",
    .options = rmi_table, .run = run_rmi,
};
