/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/foreign_toc.h"
#include "layer/inflate.h"
#include "layer/layer.h"
#include "layer/toc_priv.h"
#include "util/alloc.h"

#define MAX_FILES 16               /* that are read apart */
#define MAX_SKIP (UINT64_C(8) << 20) /* of others' data before it */

/* ---- the text ---- */

static int check_digest(const struct cb_digest *want, const void *buf, size_t len, struct cb_error *err)
{
    struct cb_digest is;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(want->alg);
    cb_hasher_update(h, buf, len);
    cb_hasher_finish(h, &is);
    return cb_digest_eq(want, &is) ? 0 : cb_error_set(err, CB_EVERIFY, "it has another digest");
}

/* n bytes of what raw inflates to, behind the first skip ones. */
static int inflate_some(struct cb_slice raw, uint64_t skip, uint64_t n, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = cb_blob_source_from_mem(raw.ptr, raw.len);
    CB_AUTO(cb_inflate_free) struct cb_inflate *z = cb_inflate_new(src, false);
    cb_autofree char *buf = cb_malloc(65536);
    while (skip + n) {
        size_t got;
        int r = cb_inflate_read(z, buf, CB_MIN(65536u, skip ? skip : n), &got, err);
        if (r < 0)
            return r;
        if (!got)
            return cb_error_set(err, CB_EVERIFY, "it inflates to less than it should");
        if (skip) {
            skip -= got;
        } else {
            cb_strbuf_add(out, buf, got);
            n -= got;
        }
    }
    return 0;
}

static int chunked_text(const struct cb_foreign_place *p, struct cb_slice raw, struct cb_strbuf *out,
                        struct cb_error *err)
{
    int r = check_digest(&p->digest, raw.ptr, raw.len, err);
    return r < 0 ? r : inflate_some(raw, 0, p->text_length, out, err);
}

static bool is_plain(const struct cb_entry *e)
{
    return e && e->type == CB_ENTRY_FILE && cb_streq(e->path, CB_ESTARGZ_TOC) && !e->mode && !e->uid && !e->gid &&
           !e->mtime && !e->n_xattrs;
}

static int read_text(struct cb_layer_reader *reader, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autofree char *buf = cb_malloc(65536);
    for (size_t got = 1; got;) {
        int r = cb_layer_reader_read(reader, buf, 65536, &got, err);
        if (r < 0)
            return r;
        cb_strbuf_add(out, buf, got);
    }
    return 0;
}

/* The end of a tar, with one member. */
static int estargz_text(const struct cb_foreign_place *p, struct cb_slice raw, struct cb_strbuf *out,
                        struct cb_error *err)
{
    struct cb_layer_read_options ro = { .source = cb_blob_source_from_mem(raw.ptr, raw.len), .max_entries = 1,
                                        .max_size = CB_MAX_FOREIGN_TOC + 65536 };
    const struct cb_entry *e = NULL;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    if (!reader)
        return -CB_EVERIFY;
    int r = cb_layer_reader_next(reader, &e, err);
    if (r < 0)
        return r;
    if (!is_plain(e))
        return cb_error_set(err, CB_EVERIFY, "no " CB_ESTARGZ_TOC " as the format has it");
    r = read_text(reader, out, err);
    if (r == 0)
        r = cb_layer_reader_next(reader, &e, err);
    if (r == 0 && e)
        r = cb_error_set(err, CB_EVERIFY, "files behind " CB_ESTARGZ_TOC);
    if (r == 0)
        r = cb_layer_reader_finish(reader, NULL, NULL, NULL, NULL, err);
    return r < 0 ? r : check_digest(&p->digest, out->buf ? out->buf : "", out->len, err);
}

int cb_foreign_toc_load(const struct cb_foreign_place *place, const void *raw, size_t len, struct cb_foreign_toc **out,
                        struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_slice all = { raw, len };
    if (len != place->length)
        return cb_error_set(err, CB_EVERIFY, "not all of the table of contents");
    int r = place->kind == CB_FOREIGN_ESTARGZ ? estargz_text(place, all, &text, err)
                                              : chunked_text(place, all, &text, err);
    return r < 0 ? r : cb_foreign_toc_parse(place, text.buf ? text.buf : "", text.len, out, err);
}

/* ---- small files ---- */

static int read_part(const struct cb_foreign_reader *from, const struct cb_foreign_part *p, struct cb_strbuf *out,
                     struct cb_error *err)
{
    struct cb_strbuf raw cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (p->end - p->offset > CB_MAX_FOREIGN_PART || p->inner > MAX_SKIP)
        return cb_error_set(err, CB_EVERIFY, "it lies among too much else");
    int r = from->read(from->arg, p->offset, p->end - p->offset, &raw, err);
    return r < 0 ? r : inflate_some((struct cb_slice){ raw.buf, raw.len }, p->inner, p->size, out, err);
}

static int fill_one(struct cb_foreign_toc *t, struct cb_entry *e, const struct cb_foreign_reader *from,
                    struct cb_error *err)
{
    struct cb_strbuf data cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n;
    const struct cb_foreign_part *parts = cb_foreign_toc_parts(t, e->path, &n);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = read_part(from, &parts[i], &data, err);
    const char *text = data.buf ? data.buf : "";
    const struct cb_digest want = cb_sum_digest(&e->digest);
    if (r == 0)
        r = check_digest(&want, text, data.len, err);
    if (r == 0)
        e->inline_data = cb_arena_strndup(&cb_foreign_toc_table(t)->arena, text, data.len);
    return r;
}

int cb_foreign_toc_fill(struct cb_foreign_toc *t, const struct cb_foreign_reader *from, struct cb_error *err)
{
    struct cb_toc *table = cb_foreign_toc_table(t);
    size_t files = 0;
    for (size_t i = 0; i < table->n; i++) {
        struct cb_entry *e = &table->v[i];
        if (e->type != CB_ENTRY_FILE || !cb_toc_wants_inline(e->path, e->size))
            continue;
        int r = ++files > MAX_FILES ? cb_error_set(err, CB_EVERIFY, "too many files of users")
                                    : fill_one(t, e, from, err);
        if (r < 0) {
            cb_error_wrap(err, "%s", e->path);
            return r;
        }
    }
    return 0;
}

/* ---- both ---- */

int cb_foreign_table_here(const struct cb_foreign_work *w, struct cb_toc **out, struct cb_error *err)
{
    CB_AUTO(cb_foreign_toc_free) struct cb_foreign_toc *t = NULL;
    int r = cb_foreign_toc_load(&w->place, w->raw.ptr, w->raw.len, &t, err);
    if (r == 0 && w->users)
        r = cb_foreign_toc_fill(t, w->users, err);
    if (r == 0)
        *out = cb_toc_ref(cb_foreign_toc_table(t));
    return r;
}

/* What can be compared before anything is inflated is compared here. */
int cb_foreign_table(const struct cb_foreign_work *w, struct cb_toc **out, struct cb_error *err)
{
    const struct cb_layer_elsewhere *elsewhere = cb_layer_elsewhere();
    if (!elsewhere)
        return cb_foreign_table_here(w, out, err);
    bool of_raw = w->place.kind == CB_FOREIGN_ZSTD_CHUNKED;
    int r = of_raw ? check_digest(&w->place.digest, w->raw.ptr, w->raw.len, err) : 0;
    return r < 0 ? r : elsewhere->foreign_table(w, out, err);
}

/* ---- against what the layer holds ---- */

static bool same_xattrs(const struct cb_entry *a, const struct cb_entry *b)
{
    if (a->n_xattrs != b->n_xattrs)
        return false;
    for (size_t i = 0; i < a->n_xattrs; i++) {
        const struct cb_xattr *x = &a->xattrs[i], *y = &b->xattrs[i];
        if (!cb_streq(x->name, y->name) || x->len != y->len || (x->len && memcmp(x->value, y->value, x->len) != 0))
            return false;
    }
    return true;
}

static bool same_data(const struct cb_sum *a, const struct cb_sum *b)
{
    return a->known ? cb_sum_eq(a, b) : !b->known;
}

static bool same(enum cb_foreign_toc_kind kind, const struct cb_entry *told, const struct cb_entry *real)
{
    if (cb_entry_is_mark(told))
        return true; /* its path is all of it */
    bool rounded = kind == CB_FOREIGN_ESTARGZ && told->mtime == real->mtime + 1;
    return told->type == real->type && told->mode == real->mode && told->uid == real->uid && told->gid == real->gid &&
           (told->mtime == real->mtime || rounded) && told->size == real->size &&
           told->dev_major == real->dev_major && told->dev_minor == real->dev_minor &&
           cb_streq(told->link ? told->link : "", real->link ? real->link : "") &&
           same_data(&told->digest, &real->digest) && same_xattrs(told, real);
}

const char *cb_foreign_toc_differs(enum cb_foreign_toc_kind kind, const struct cb_toc *told, const struct cb_toc *real)
{
    for (size_t i = 0; i < told->n || i < real->n; i++) {
        const struct cb_entry *a = cb_toc_at(told, i), *b = cb_toc_at(real, i);
        if (!a || !b)
            return a ? a->path : b->path;
        int c = cb_entry_cmp(a, b);
        if (c)
            return c < 0 ? a->path : b->path;
        if (!same(kind, a, b))
            return a->path;
    }
    return NULL;
}
