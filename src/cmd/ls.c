/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/edit_session.h"
#include "cmd/entry_print.h"
#include "util/alloc.h"
#include "util/path.h"

struct ls_options {
    struct cb_common common;
    const char *platform, *layer;
    bool json;
};
#define AT(field) offsetof(struct ls_options, field)

struct listing {
    const struct ls_options *o;
    const struct cb_edit_image *image;
    bool any;
};

static void print_entry(struct listing *l, const struct cb_entry *e, const struct cb_entry *data, size_t layer)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    if (l->o->json) {
        cb_autojson json_t *o = cb_entry_to_json(e, data);
        cb_json_put_string(o, "layer", cb_digest_text(&l->image->image.manifest.layers[layer].digest, digest));
        cb_strbuf_adds(&out, l->any ? ",\n" : "[\n");
        cb_json_print(&out, o);
    } else {
        cb_strbuf_add_entry(&out, e, data);
        cb_strbuf_addch(&out, '\n');
    }
    l->any = true;
    fwrite(out.buf, 1, out.len, stdout);
}

static void end_listing(const struct listing *l)
{
    if (l->o->json)
        puts(l->any ? "\n]" : "[]");
}

/* ---- the merged file system ---- */

static int not_there(const char *path, struct cb_error *err)
{
    return cb_error_set(err, CB_ECONF, "there is no /%s in the image", path);
}

static int list_stack(struct listing *l, const struct cb_stack *s, const char *path, struct cb_error *err)
{
    struct cb_strbuf at cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_stack_entry *hit = NULL;
    bool follow = cb_ends_with(path, "/");
    int r = cb_stack_resolve(s, path, follow ? CB_FOLLOW_ALL : CB_FOLLOW_PARENTS, &at, &hit, err);
    if (r < 0)
        return r;
    if (at.len && !hit)
        return not_there(at.buf, err);
    size_t i = at.len ? cb_stack_lower_bound(s, at.buf) : 0;
    size_t end = at.len ? cb_stack_subtree_end(s, i) : cb_stack_count(s);
    for (; i < end; i++) {
        const struct cb_stack_entry *e = cb_stack_at(s, i);
        print_entry(l, e->e, e->data, e->layer);
    }
    return 0;
}

/* ---- one layer, as it is ---- */

/* At or below it; everything is below "". */
static bool is_at(const char *path, const char *dir, size_t len)
{
    return len == 0 || (strncmp(path, dir, len) == 0 && (path[len] == '/' || path[len] == '\0'));
}

static int list_layer(struct listing *l, const struct cb_toc *toc, size_t layer, const char *path,
                      struct cb_error *err)
{
    struct cb_strbuf at cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_path_normalize(&at, path, strlen(path)))
        return cb_error_set(err, CB_EUSAGE, "\"%s\" is no path in a layer", path);
    for (size_t i = cb_toc_lower_bound(toc, at.buf); i < cb_toc_count(toc); i++) {
        const struct cb_entry *e = cb_toc_at(toc, i);
        bool has_data = e->type == CB_ENTRY_FILE || e->type == CB_ENTRY_HARDLINK;
        if (!is_at(e->path, at.buf, at.len))
            break;
        print_entry(l, e, has_data ? e : NULL, layer);
    }
    return l->any || !at.len ? 0 : cb_error_set(err, CB_ECONF, "there is no /%s in the layer", at.buf);
}

static int list(struct listing l, const struct cb_edit_source *s, const char *path, struct cb_progress *progress,
                struct cb_error *err)
{
    const struct ls_options *o = l.o;
    const struct cb_edit_image *image = l.image;
    struct cb_edit_tables t cb_cleanup_edit_tables = { 0 };
    size_t layer = SIZE_MAX;
    int r = o->layer ? cb_edit_layer_find(image, o->layer, &layer, err) : 0;
    if (r == 0)
        r = cb_edit_tables_read(&t, s, image, layer, false, err);
    if (r < 0)
        return r;
    cb_progress_finish(progress, false);
    if (o->layer) {
        r = list_layer(&l, t.tocs[layer], layer, path, err);
    } else {
        CB_AUTO(cb_stack_unref) struct cb_stack *stack = cb_edit_tables_stack(&t);
        r = list_stack(&l, stack, path, err);
    }
    if (r == 0)
        end_listing(&l);
    return r;
}

static int ls(const struct cb_process *p, const struct ls_options *o, const struct cb_strvec *operands,
              struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_edit_image image cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    struct cb_platform platform cb_cleanup_platform = { 0 };
    int r = o->platform ? cb_platform_parse(&platform, o->platform, err) : 0;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Looking", err);
    if (r == 0)
        r = cb_edit_session_source(&e, operands->v[0], &source, err);
    if (r == 0)
        r = cb_edit_image_open(&source, o->platform ? &platform : NULL, &image, err);
    struct listing l = { .o = o, .image = &image };
    return r < 0 ? r : list(l, &source, operands->n > 1 ? operands->v[1] : "", e.s.progress, err);
}

static int run_ls(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
                  struct cb_error *err)
{
    struct ls_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = ls(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt ls_table[] = {
    { "layer", 0, CB_OPT_STRING, AT(layer), "N|DIGEST",
      "one layer as it is, whiteouts too: a number (0 is the lowest, -1 the topmost) or a digest", NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "an array of objects, one a line", NULL },
    CB_OPT_EDIT(ls_options),
};

const struct cb_verb cb_verb_ls = {
    .name = "ls",
    .registry_names = true,
    .summary = "list the files of an image",
    .operands = "[OPTIONS] IMAGE [PATH]",
    .details = "IMAGE is one of a registry, or store:NAME, one of the local store. Tables of contents are kept: an\n"
               "image that was listed once is not read again.",
    .options = ls_table,
    .run = run_ls,
};
