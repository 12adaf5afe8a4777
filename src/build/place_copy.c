/* SPDX-License-Identifier: Apache-2.0 */
#include "build/place.h"

#include "util/alloc.h"

/* Where a COPY's destination is, once links are followed. */
struct dest {
    struct cb_strbuf path; /* normal form, "" = root */
    bool exists;
    bool is_dir;           /* names a directory: by its slash, or by what is there */
};

static int find_dest(struct cb_placer *p, const char *text, struct dest *d, struct cb_error *err)
{
    bool dir, slash = cb_ends_with(text, "/");
    int r = cb_placer_resolve(p, text, &d->path, &d->exists, &dir, err);
    if (r < 0)
        return r;
    d->is_dir = dir || slash;
    if (d->exists && !dir && slash)
        return cb_error_set(err, CB_ECONF, "destination %s is not a directory", text);
    return 0;
}

static void join(struct cb_strbuf *out, const char *dir, const char *name)
{
    cb_strbuf_reset(out);
    cb_strbuf_addf(out, "%s%s%s", dir, *dir && *name ? "/" : "", name);
}

static int put_item(struct cb_placer *p, const char *root, const char *rel, const struct cb_item *it,
                    struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT, link cb_cleanup_strbuf = CB_STRBUF_INIT;
    join(&path, root, rel);
    /* What only stands on the way to what is copied gives a directory that is there its mode, and no more. */
    if (it->on_the_way && cb_placer_dir_mode(p, path.buf, it->mode))
        return 0;
    if (it->type == CB_ENTRY_HARDLINK)
        join(&link, root, it->link);
    return cb_placer_put_item(p, path.buf, it, link.buf, err);
}

static int put_contents(struct cb_placer *p, const struct cb_match *m, const struct dest *d, struct cb_error *err)
{
    int r = cb_placer_mkdirs(p, d->path.buf, err);
    if (!d->exists && !m->items[0]->on_the_way) {
        struct cb_entry dir;
        cb_item_entry(m->items[0], &dir);
        cb_placer_dir_time(p, d->path.buf, dir.mtime);
    }
    for (size_t i = 1; r == 0 && i < m->n; i++)
        r = put_item(p, d->path.buf, m->items[i]->rel, m->items[i], err);
    return r;
}

/* The place of a file that is called `name`. */
static int file_place(struct cb_placer *p, const char *dest, const char *name, struct cb_strbuf *out,
                      struct cb_error *err)
{
    struct dest d = { .path = CB_STRBUF_INIT };
    int r = find_dest(p, dest, &d, err);
    if (r == 0 && d.is_dir && !*name)
        r = cb_error_set(err, CB_EINTERNAL, "a file without a name");
    if (r == 0 && d.is_dir)
        r = cb_placer_mkdirs(p, d.path.buf, err);
    if (r == 0 && !d.is_dir && cb_placer_find(p, d.path.buf, NULL))
        r = cb_error_set(err, CB_ECONF, "destination %s must end with '/': several files are copied", dest);
    join(out, d.path.buf, d.is_dir ? name : "");
    cb_strbuf_done(&d.path);
    return r;
}

static int put_match(struct cb_placer *p, const struct cb_match *m, const char *dest, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct dest d = { .path = CB_STRBUF_INIT };
    int r = m->is_dir ? find_dest(p, dest, &d, err) : file_place(p, dest, m->name, &path, err);
    if (r == 0)
        r = m->is_dir ? put_contents(p, m, &d, err) : put_item(p, path.buf, "", m->items[0], err);
    cb_strbuf_done(&d.path);
    return r;
}

int cb_placer_selection(struct cb_placer *p, const struct cb_selection *s, const char *dest, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n; i++)
        r = put_match(p, &s->v[i], dest, err);
    return r;
}

static int put_inline(struct cb_placer *p, const char *path, const char *body, struct cb_error *err)
{
    struct cb_entry e = { .type = CB_ENTRY_FILE, .mode = 0644, .size = strlen(body), .mtime = cb_placer_now(p) };
    struct cb_placed *x;
    cb_sum_of(&e.digest, body, e.size);
    int r = cb_placer_put(p, path, &e, &x, err);
    if (r == 0) {
        x->kind = CB_DATA_MEM;
        x->mem = body;
    }
    return r;
}

int cb_placer_inline(struct cb_placer *p, const struct cb_copy_op *op, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = 0;
    for (size_t i = 0; r == 0 && i < op->file_names.n; i++) {
        r = file_place(p, op->dest, op->file_names.v[i], &path, err);
        if (r == 0)
            r = put_inline(p, path.buf, op->file_bodies.v[i], err);
    }
    return r;
}
