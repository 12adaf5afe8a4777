/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/edit_session.h"
#include "cmd/entry_print.h"
#include "util/alloc.h"

struct diff_options {
    struct cb_common common;
    const char *platform;
    bool json, exit_code, no_times;
};
#define AT(field) offsetof(struct diff_options, field)

struct side {
    struct cb_edit_source source;
    struct cb_edit_image image;
    struct cb_edit_tables tables;
};
struct diff {
    const struct diff_options *o;
    struct side old, now;
    size_t differences; /* told so far, of all kinds */
    size_t listed;      /* in the JSON array that is open */
};

static void diff_done(struct diff *d)
{
    cb_edit_tables_done(&d->old.tables);
    cb_edit_tables_done(&d->now.tables);
    cb_edit_image_done(&d->old.image);
    cb_edit_image_done(&d->now.image);
    cb_edit_source_done(&d->old.source);
    cb_edit_source_done(&d->now.source);
}

static void put_item(struct diff *d, json_t *o /* taken */)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&out, d->listed++ ? ",\n" : "\n");
    cb_json_print(&out, o);
    json_decref(o);
    fwrite(out.buf, 1, out.len, stdout);
}

static void put_line(const struct cb_strbuf *line)
{
    struct cb_strbuf clean cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&clean, line->buf, line->len, false);
    printf("%s\n", clean.buf);
}

/* ---- the configuration ---- */

static void add_value(struct cb_strbuf *line, const json_t *v)
{
    if (v)
        cb_json_print(line, v);
    else
        cb_strbuf_adds(line, "(none)");
}

static void tell_member(void *arg, const char *path, const json_t *old, const json_t *now)
{
    struct diff *d = arg;
    d->differences++;
    if (d->o->json) {
        json_t *o = json_object();
        cb_json_put_string(o, "path", path);
        cb_json_put(o, "old", old ? json_deep_copy(old) : json_null());
        cb_json_put(o, "new", now ? json_deep_copy(now) : json_null());
        put_item(d, o);
        return;
    }
    struct cb_strbuf line cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&line, "config %s: ", path);
    add_value(&line, old);
    cb_strbuf_adds(&line, " -> ");
    add_value(&line, now);
    put_line(&line);
}

static int diff_config(struct diff *d, struct cb_error *err)
{
    const struct cb_strbuf *a = &d->old.image.config_body, *b = &d->now.image.config_body;
    cb_autojson json_t *old = cb_json_parse(a->buf, a->len, err);
    cb_autojson json_t *now = cb_json_parse(b->buf, b->len, err);
    if (!old || !now)
        return -CB_EVERIFY;
    /* What is told of the layers says the same as rootfs. */
    cb_edit_diff_json(old, now, "rootfs", tell_member, d);
    return 0;
}

/* ---- layers ---- */

static size_t common_layers(const struct diff *d)
{
    const struct cb_image_config *a = &d->old.image.image.config, *b = &d->now.image.image.config;
    size_t n = 0;
    while (n < a->n_diff_ids && n < b->n_diff_ids && cb_digest_eq(&a->diff_ids[n], &b->diff_ids[n]))
        n++;
    return n;
}

static json_t *layers_json(const struct side *s, size_t from)
{
    json_t *a = json_array();
    char text[CB_DIGEST_TEXT_MAX];
    for (size_t i = from; i < s->image.image.manifest.n_layers; i++)
        json_array_append_new(a, cb_json_string(cb_digest_text(&s->image.image.manifest.layers[i].digest, text)));
    return a;
}

static void diff_layers(struct diff *d)
{
    size_t same = common_layers(d), a = d->old.image.image.config.n_diff_ids - same;
    size_t b = d->now.image.image.config.n_diff_ids - same;
    d->differences += a || b;
    if (d->o->json) {
        struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_autojson json_t *o = json_pack("{s:I,s:o,s:o}", "same", (json_int_t)same, "old",
                                          layers_json(&d->old, same), "new", layers_json(&d->now, same));
        cb_json_print(&out, o);
        printf("%s", out.buf);
    } else if (a || b) {
        printf("layers: the lowest %zu are the same, then %zu -> %zu\n", same, a, b);
    }
}

/* ---- files ---- */

static const struct { unsigned bit; const char *name; } whats[] = {
    { CB_DIFF_TYPE, "type" },     { CB_DIFF_MODE, "mode" }, { CB_DIFF_OWNER, "owner" },
    { CB_DIFF_SIZE, "size" },     { CB_DIFF_CONTENT, "content" }, { CB_DIFF_LINK, "link" },
    { CB_DIFF_DEVICE, "device" }, { CB_DIFF_XATTR, "xattrs" }, { CB_DIFF_MTIME, "mtime" },
};

static void put_file_json(struct diff *d, const struct cb_edit_file_diff *f)
{
    json_t *o = json_object(), *changed = json_array();
    cb_json_put_string(o, "path", f->now ? f->now->e->path : f->old->e->path);
    cb_json_put_string(o, "kind", f->kind == CB_DIFF_ADDED     ? "added"
                                  : f->kind == CB_DIFF_REMOVED ? "removed"
                                                               : "changed");
    for (size_t i = 0; i < CB_COUNTOF(whats); i++)
        if (f->what & whats[i].bit)
            json_array_append_new(changed, json_string(whats[i].name));
    if (f->what)
        json_object_set(o, "changed", changed);
    json_decref(changed);
    if (f->old)
        cb_json_put(o, "old", cb_entry_to_json(f->old->e, f->old->data));
    if (f->now)
        cb_json_put(o, "new", cb_entry_to_json(f->now->e, f->now->data));
    put_item(d, o);
}

static void add_change(struct cb_strbuf *line, const struct cb_edit_file_diff *f, unsigned bit)
{
    const struct cb_entry *a = f->old->e, *b = f->now->e;
    if (bit == CB_DIFF_MODE)
        cb_strbuf_addf(line, " %04o -> %04o", a->mode, b->mode);
    else if (bit == CB_DIFF_OWNER)
        cb_strbuf_addf(line, " %u/%u -> %u/%u", a->uid, a->gid, b->uid, b->gid);
    else if (bit == CB_DIFF_SIZE)
        cb_strbuf_addf(line, " %llu -> %llu", (unsigned long long)f->old->data->size,
                       (unsigned long long)f->now->data->size);
    else if (bit == CB_DIFF_LINK)
        cb_strbuf_addf(line, " %s -> %s", a->link, b->link);
    else if (bit == CB_DIFF_TYPE)
        cb_strbuf_addf(line, " %s -> %s", cb_entry_type_name(a->type), cb_entry_type_name(b->type));
}

static void tell_file(void *arg, const struct cb_edit_file_diff *f)
{
    struct diff *d = arg;
    struct cb_strbuf line cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *comma = ":";
    d->differences++;
    if (d->o->json) {
        put_file_json(d, f);
        return;
    }
    cb_strbuf_addf(&line, "%c ", (char)f->kind);
    if (f->kind != CB_DIFF_CHANGED) {
        const struct cb_stack_entry *e = f->now ? f->now : f->old;
        cb_strbuf_add_entry(&line, e->e, e->data);
        printf("%s\n", line.buf);
        return;
    }
    cb_strbuf_adds(&line, f->now->e->path);
    for (size_t i = 0; i < CB_COUNTOF(whats); i++) {
        if (!(f->what & whats[i].bit))
            continue;
        cb_strbuf_addf(&line, "%s %s", comma, whats[i].name);
        add_change(&line, f, whats[i].bit);
        comma = ",";
    }
    put_line(&line);
}

/* The same layers are the same files: then no table is read, and both sides are empty. */
static int read_tables(struct diff *d, struct cb_error *err)
{
    size_t same = common_layers(d);
    if (same == d->old.image.image.config.n_diff_ids && same == d->now.image.image.config.n_diff_ids)
        return 0;
    int r = cb_edit_tables_read(&d->old.tables, &d->old.source, &d->old.image, SIZE_MAX, false, err);
    return r < 0 ? r : cb_edit_tables_read(&d->now.tables, &d->now.source, &d->now.image, SIZE_MAX, false, err);
}

static void diff_files(struct diff *d)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *old = cb_edit_tables_stack(&d->old.tables);
    CB_AUTO(cb_stack_unref) struct cb_stack *now = cb_edit_tables_stack(&d->now.tables);
    cb_edit_diff_files(old, now, d->o->no_times ? CB_DIFF_MTIME : 0, tell_file, d);
}

/* ---- all ---- */

static void print_head(const struct diff *d)
{
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    if (d->o->json)
        printf("{\"old\":\"%s\",\"new\":\"%s\",\"config\":[", cb_digest_text(&d->old.image.doc.desc.digest, a),
               cb_digest_text(&d->now.image.doc.desc.digest, b));
}

static int compare(struct diff *d, struct cb_error *err)
{
    print_head(d);
    int r = diff_config(d, err);
    if (r < 0)
        return r;
    if (d->o->json)
        printf("],\n\"layers\":");
    diff_layers(d);
    d->listed = 0;
    if (d->o->json)
        printf(",\n\"files\":[");
    diff_files(d);
    if (d->o->json)
        printf("]}\n");
    return 0;
}

static int open_side(struct cb_edit_session *e, struct side *s, const char *text, const struct cb_platform *p,
                     struct cb_error *err)
{
    int r = cb_edit_session_source(e, text, &s->source, err);
    return r < 0 ? r : cb_edit_image_open(&s->source, p, &s->image, err);
}

static int diff(const struct cb_process *p, const struct diff_options *o, const struct cb_strvec *operands,
                int *status, struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_platform platform cb_cleanup_platform = { 0 };
    struct diff d CB_CLEANUP(diff_done) = { .o = o, .old.image = CB_EDIT_IMAGE_INIT, .now.image = CB_EDIT_IMAGE_INIT };
    int r = o->platform ? cb_platform_parse(&platform, o->platform, err) : 0;
    const struct cb_platform *want = o->platform ? &platform : NULL;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Comparing", err);
    if (r == 0)
        r = open_side(&e, &d.old, operands->v[0], want, err);
    if (r == 0)
        r = open_side(&e, &d.now, operands->v[1], want, err);
    if (r == 0)
        r = read_tables(&d, err);
    cb_progress_finish(e.s.progress, r < 0);
    if (r == 0)
        r = compare(&d, err);
    if (r == 0 && o->exit_code && d.differences)
        *status = 1;
    return r;
}

static int run_diff(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status,
                    struct cb_error *err)
{
    struct diff_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 2, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = diff(p, &o, &a.operands, status, err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt diff_table[] = {
    { "exit-code", 0, CB_OPT_FLAG, AT(exit_code), NULL, "end with status 1 where they differ, as git diff does", NULL },
    { "no-times", 0, CB_OPT_FLAG, AT(no_times), NULL, "files that differ in nothing but their times are the same",
      NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "an object: config, layers, files", NULL },
    CB_OPT_EDIT(diff_options),
};

const struct cb_verb cb_verb_diff = {
    .name = "diff",
    .registry_names = true,
    .summary = "tell how two images differ: configuration, layers, files",
    .operands = "[OPTIONS] IMAGE1 IMAGE2",
    .details = "A line a difference: \"config MEMBER: OLD -> NEW\", then files: + added, - removed, ! changed.\n"
               "IMAGE is one of a registry, or store:NAME, one of the local store. Files are compared by the tables\n"
               "of contents of the layers; where all layers are the same none is read.",
    .options = diff_table,
    .run = run_diff,
};
