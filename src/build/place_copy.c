/* SPDX-License-Identifier: Apache-2.0 */
#include "build/place.h"

#include "util/alloc.h"
#include "util/path.h"
#include "util/timeutil.h"

/* Where a COPY's destination is, once links are followed. */
struct dest {
    struct cb_strbuf path; /* normal form, "" = root */
    bool is_dir;           /* names a directory: by its slash, by what is there, or because several things go there */
    bool exists;
};

static int find_dest(struct cb_placer *p, const char *text, bool several, struct dest *d, struct cb_error *err)
{
    bool dir;
    int r = cb_placer_resolve(p, text, &d->path, &d->exists, &dir, err);
    d->is_dir = dir || several || cb_ends_with(text, "/");
    if (r == 0 && d->exists && !dir && d->is_dir)
        return cb_error_set(err, CB_ECONF, "destination %s is not a directory", text);
    return r;
}

static void join(struct cb_strbuf *out, const char *dir, const char *name)
{
    cb_strbuf_reset(out);
    cb_strbuf_addf(out, "%s%s%s", dir, *dir && *name ? "/" : "", name);
}

static int put_item(struct cb_placer *p, const char *root, const struct cb_item *it, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT, link cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_entry e = it->e;
    struct cb_placed *x;
    join(&path, root, it->rel);
    if (e.type == CB_ENTRY_HARDLINK) {
        join(&link, root, e.link);
        e.link = link.buf;
    }
    if (!path.len)
        return 0;
    int r = cb_placer_put(p, path.buf, &e, &x, err);
    if (r == 0 && x && e.type == CB_ENTRY_FILE)
        x->kind = CB_DATA_ITEM;
    if (r == 0 && x)
        x->item = it;
    return r;
}

/* The contents of a directory go into the destination; the destination itself is made with the directory's attributes only
 * where its name did not end in '/'. */
static int put_directory(struct cb_placer *p, const struct cb_match *m, const struct dest *d, struct cb_error *err)
{
    int r = d->is_dir ? cb_placer_mkdirs(p, d->path.buf, err) : put_item(p, d->path.buf, &m->items[0], err);
    for (size_t i = 1; r == 0 && i < m->n; i++)
        r = put_item(p, d->path.buf, &m->items[i], err);
    return r;
}

static int put_single(struct cb_placer *p, const struct cb_match *m, const struct dest *d, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    join(&path, d->path.buf, d->is_dir ? m->name : "");
    if (!path.len)
        return cb_error_set(err, CB_ECONF, "a file cannot become the root directory");
    int r = d->is_dir ? cb_placer_mkdirs(p, d->path.buf, err) : 0;
    return r < 0 ? r : put_item(p, path.buf, &m->items[0], err);
}

int cb_placer_selection(struct cb_placer *p, const struct cb_selection *s, const char *dest, bool several, struct cb_error *err)
{
    struct dest d = { .path = CB_STRBUF_INIT };
    int r = find_dest(p, dest, several, &d, err);
    for (size_t i = 0; r == 0 && i < s->n; i++)
        r = s->v[i].is_dir ? put_directory(p, &s->v[i], &d, err) : put_single(p, &s->v[i], &d, err);
    cb_strbuf_done(&d.path);
    return r;
}

int cb_placer_inline(struct cb_placer *p, const struct cb_copy_op *op, bool several, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct dest d = { .path = CB_STRBUF_INIT };
    int r = op->file_names.n ? find_dest(p, op->dest, several, &d, err) : 0;
    for (size_t i = 0; r == 0 && i < op->file_names.n; i++) {
        const char *body = op->file_bodies.v[i];
        struct cb_entry e = { .type = CB_ENTRY_FILE, .mode = 0644, .size = strlen(body),
                              .mtime = cb_time_now() / 1000000000 };
        struct cb_placed *x;
        cb_digest_of(&e.digest, body, e.size);
        join(&path, d.path.buf, d.is_dir ? op->file_names.v[i] : "");
        r = d.is_dir ? cb_placer_mkdirs(p, d.path.buf, err) : 0;
        if (r == 0)
            r = cb_placer_put(p, path.buf, &e, &x, err);
        if (r == 0) {
            x->kind = CB_DATA_MEM;
            x->mem = body;
        }
    }
    cb_strbuf_done(&d.path);
    return r;
}
