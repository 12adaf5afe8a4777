/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/image_row.h"
#include "cmd/session.h"
#include "cmd/template_table.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/timeutil.h"

struct history_options {
    struct cb_common common;
    const char *platform, *format;
    bool no_trunc, quiet;
};
#define AT(field) offsetof(struct history_options, field)
static const struct cb_opt options[] = {
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    { "no-trunc", 0, CB_OPT_FLAG, AT(no_trunc), NULL, "whole lines and IDs", NULL },
    { "format", 0, CB_OPT_STRING, AT(format), "TEMPLATE",
      "of ID, CreatedAt, CreatedSince, CreatedBy, Size, Comment; table TEMPLATE: in columns; json", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "IDs only", NULL },
    CB_OPT_COMMON_STORE(history_options),
    CB_OPT_END,
};

struct entry {
    const struct cb_history *h;
    char *size;
    const char *id; /* of the image, for the last entry; of the others nobody knows it */
};

static const char *const headings[][2] = {
    { "ID", "IMAGE" }, { "CreatedAt", "CREATED AT" }, { "CreatedSince", "CREATED" }, { "CreatedBy", "CREATED BY" },
    { "Size", "SIZE" }, { "Comment", "COMMENT" },     { NULL, NULL },
};

static int add_formatted(struct cb_template_table *table, const struct entry *e, struct cb_error *err)
{
    cb_autojson json_t *j = json_object();
    int64_t created = 0;
    if (e->h->created && !cb_time_parse(e->h->created, &created))
        created = 0;
    cb_json_put_string(j, "ID", e->id);
    image_row_put_times(j, created);
    cb_json_put_string(j, "CreatedBy", e->h->created_by ? e->h->created_by : "");
    cb_json_put_string(j, "Size", e->size);
    cb_json_put_string(j, "Comment", e->h->comment ? e->h->comment : "");
    return cb_template_table_add(table, j, err);
}

static void print_row(const struct entry *e, bool whole)
{
    struct cb_strbuf age cb_cleanup_strbuf = CB_STRBUF_INIT, by cb_cleanup_strbuf = CB_STRBUF_INIT;
    int64_t created;
    const char *text = e->h->created_by ? e->h->created_by : "";
    if (e->h->created && cb_time_parse(e->h->created, &created))
        cb_time_format_ago(&age, created, cb_time_now());
    cb_strbuf_add_sanitized(&by, text, strlen(text), false);
    if (!whole && by.len > 60) {
        cb_strbuf_setlen(&by, 57);
        cb_strbuf_adds(&by, "...");
    }
    printf("%-22s  %-60s  %s\n", age.buf, by.buf, e->size);
}

static int print(const struct cb_image *i, const struct history_options *o, struct cb_error *err)
{
    char short_id[16], whole_id[CB_DIGEST_TEXT_MAX];
    size_t layer = i->manifest.n_layers;
    struct cb_template_table table cb_cleanup_template_table = { 0 };
    int r = o->format ? cb_template_table_begin(&table, o->format, headings, err) : 0;
    cb_short_id(short_id, &i->manifest.config.digest);
    cb_digest_text(&i->manifest.config.digest, whole_id);
    if (!o->quiet && !o->format)
        printf("%-22s  %-60s  %s\n", "CREATED", "CREATED BY", "SIZE");
    for (size_t k = i->config.n_history; r == 0 && k-- > 0;) {
        struct entry e = { .h = &i->config.history[k], .id = "<missing>" };
        bool has = !e.h->empty_layer && layer > 0;
        cb_autofree char *size = has ? cb_size_text(i->manifest.layers[--layer].size) : cb_strdup("0B");
        e.size = size;
        if (k + 1 == i->config.n_history)
            e.id = o->no_trunc ? whole_id : short_id;
        if (o->format)
            r = add_formatted(&table, &e, err);
        else if (o->quiet)
            printf("%s\n", e.id);
        else
            print_row(&e, o->no_trunc);
    }
    if (r == 0)
        cb_template_table_print(&table);
    return r;
}

static int history(struct cb_session *s, const char *what, const struct history_options *o, struct cb_error *err)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_image image cb_cleanup_image = { 0 };
    int r = o->platform ? cb_platform_parse(&p, o->platform, err) : 0;
    if (r == 0)
        r = cb_store_find(s->store, what, &desc, NULL, err);
    if (r < 0)
        return r;
    r = cb_image_load(s->store, &desc, o->platform ? &p : NULL, &image, err);
    if (r < 0)
        return o->platform ? r : cb_error_wrap(err, "%s (--platform chooses another)", what);
    return print(&image, o, err);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct history_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done && o.format && o.quiet)
        r = cb_error_set(err, CB_EUSAGE, "--format does not go with --quiet");
    if (cb_template_is_plain_table(o.format))
        o.format = NULL;
    if (r == 0 && !a.done)
        r = cb_session_store(&s, p, &o.common, err);
    if (r == 0 && !a.done)
        r = history(&s, a.operands.v[0], &o, err);
    cb_strvec_done(&a.operands);
    return r;
}

const struct cb_verb cb_verb_history = {
    .name = "history",
    .summary = "show how an image of the store came about",
    .operands = "[OPTIONS] IMAGE",
    .options = options,
    .run = run,
};
