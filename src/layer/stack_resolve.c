/* SPDX-License-Identifier: Apache-2.0 */
/* Symbolic links of a stack followed as chroot(2) would: absolute ones start at its root, and `..` stops there. */
#include "layer/stack.h"
#include "util/limits.h"

struct walk {
    const struct cb_finder *f;
    enum cb_follow follow;
    struct cb_strbuf *at;      /* where we are, normal form */
    struct cb_strbuf todo;     /* what is left to walk */
    size_t pos;                /* in todo */
    unsigned links;
    const struct cb_stack_entry *hit; /* what is at `at`; NULL: nothing, or the root */
};

static struct cb_slice next_name(struct walk *w)
{
    const char *p = w->todo.buf;
    while (p[w->pos] == '/')
        w->pos++;
    size_t start = w->pos;
    w->pos += strcspn(p + w->pos, "/");
    return (struct cb_slice){ p + start, w->pos - start };
}

static bool is_last(const struct walk *w)
{
    return strspn(w->todo.buf + w->pos, "/") == strlen(w->todo.buf + w->pos);
}

static int look(struct walk *w, struct cb_error *err)
{
    return w->f->find(w->f->arg, w->at->buf, &w->hit, err);
}

static int go_up(struct walk *w, struct cb_error *err)
{
    const char *slash = memrchr(w->at->buf, '/', w->at->len);
    cb_strbuf_setlen(w->at, slash ? (size_t)(slash - w->at->buf) : 0);
    w->hit = NULL;
    return w->at->len ? look(w, err) : 0;
}

static int follow_link(struct walk *w, const char *text, struct cb_error *err)
{
    if (++w->links > CB_MAX_SYMLINKS)
        return cb_error_set(err, CB_ECONF, "too many symbolic links at /%s", w->at->buf);
    cb_cleanup_strbuf struct cb_strbuf rest = CB_STRBUF_INIT;
    cb_strbuf_adds(&rest, text);
    cb_strbuf_adds(&rest, w->todo.buf + w->pos);
    int r = go_up(w, err);
    if (r < 0)
        return r;
    if (*text == '/') {
        cb_strbuf_setlen(w->at, 0);
        w->hit = NULL;
    }
    cb_strbuf_reset(&w->todo);
    cb_strbuf_add(&w->todo, rest.buf, rest.len);
    w->pos = 0;
    return 0;
}

static int enter(struct walk *w, struct cb_slice name, struct cb_error *err)
{
    if (name.len > CB_MAX_NAME || w->at->len + 1 + name.len > CB_MAX_PATH)
        return cb_error_set(err, CB_ECONF, "name is too long below /%s", w->at->buf);
    bool last = is_last(w);
    if (w->at->len)
        cb_strbuf_addch(w->at, '/');
    cb_strbuf_add(w->at, name.ptr, name.len);
    int r = look(w, err);
    if (r < 0)
        return r;
    if (!w->hit || w->hit->e->type == CB_ENTRY_DIR)
        return 0;
    if (w->hit->e->type == CB_ENTRY_SYMLINK && (!last || w->follow == CB_FOLLOW_ALL))
        return follow_link(w, w->hit->e->link, err);
    if (!last)
        return cb_error_set(err, CB_ECONF, "/%s is not a directory", w->at->buf);
    return 0;
}

static int walk_all(struct walk *w, struct cb_error *err)
{
    for (;;) {
        struct cb_slice name = next_name(w);
        int r = 0;
        if (!name.len)
            return 0;
        if (cb_slice_eq(name, ".."))
            r = go_up(w, err);
        else if (!cb_slice_eq(name, "."))
            r = enter(w, name, err);
        if (r < 0)
            return r;
    }
}

int cb_finder_resolve(const struct cb_finder *f, const char *path, enum cb_follow follow, struct cb_strbuf *resolved,
                      const struct cb_stack_entry **hit, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf at = CB_STRBUF_INIT;
    struct walk w = { .f = f, .follow = follow, .at = &at, .todo = CB_STRBUF_INIT };
    cb_strbuf_adds(&w.todo, path);
    int r = walk_all(&w, err);
    cb_strbuf_done(&w.todo);
    if (r < 0)
        return cb_error_wrap(err, "resolve %s", path), r;
    if (resolved) {
        cb_strbuf_reset(resolved);
        cb_strbuf_add(resolved, at.buf, at.len);
    }
    if (hit)
        *hit = w.hit;
    return 0;
}

int cb_stack_resolve(const struct cb_stack *s, const char *path, enum cb_follow follow, struct cb_strbuf *resolved,
                     const struct cb_stack_entry **hit, struct cb_error *err)
{
    struct cb_finder f = cb_stack_finder(s);
    return cb_finder_resolve(&f, path, follow, resolved, hit, err);
}
