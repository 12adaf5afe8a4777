/* SPDX-License-Identifier: Apache-2.0 */
/* From a table to the nodes of a file system. The order of a table puts what is in a directory right behind it, and a
 * mark right before the entry of its path: so only the last child of a directory can be met again. */
#include "layer/erofs_priv.h"
#include "util/alloc.h"
#include "util/limits.h"

#define MAX_ENTRIES (1u << 22) /* all is made in memory */

struct make {
    struct cb_erofs_tree *t;
    const struct cb_erofs_options *o;
    struct cb_strbuf path;  /* of the implied directory that is asked about */
};

void cb_erofs_tree_done(struct cb_erofs_tree *t)
{
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i].inherited);
    free(t->v);
    free(t->of_entry);
    *t = (struct cb_erofs_tree){ 0 };
}

static uint32_t add(struct cb_erofs_tree *t, uint32_t parent, struct cb_slice name)
{
    CB_GROW(t->v, t->n, t->cap);
    uint32_t i = (uint32_t)t->n++;
    t->v[i] = (struct cb_erofs_node){ .name = name, .parent = parent, .first = CB_EROFS_NONE, .last = CB_EROFS_NONE,
                                      .next = CB_EROFS_NONE, .same = CB_EROFS_NONE, .links = 1 };
    if (i == 0)
        return i;
    struct cb_erofs_node *p = &t->v[parent];
    if (p->last == CB_EROFS_NONE)
        p->first = i;
    else
        t->v[p->last].next = i;
    p->last = i;
    p->n_children++;
    return i;
}

/* The child of that name where there is one. */
static uint32_t last_child(const struct cb_erofs_tree *t, uint32_t parent, struct cb_slice name)
{
    uint32_t i = t->v[parent].last;
    if (i == CB_EROFS_NONE || t->v[i].name.len != name.len || memcmp(t->v[i].name.ptr, name.ptr, name.len) != 0)
        return CB_EROFS_NONE;
    return i;
}

static bool is_whiteout(const struct cb_erofs_node *n)
{
    return n->e && n->e->type == CB_ENTRY_WHITEOUT;
}

static void make_dir(struct cb_erofs_tree *t, uint32_t i)
{
    struct cb_erofs_node *n = &t->v[i];
    n->opaque = n->opaque || is_whiteout(n); /* what was removed below and is there again hides what was there */
    n->dir = true;
    n->e = NULL;
    n->links = 2;
    t->v[n->parent].links += i != 0;
}

/* Whether this layer hides what lower ones have there: marks come before what they hide. */
static bool is_hidden(const struct cb_erofs_tree *t, uint32_t i)
{
    bool hidden = t->v[i].opaque; /* it was a whiteout until now */
    while (!hidden && i != 0) {
        i = t->v[i].parent;
        hidden = t->v[i].opaque;
    }
    return hidden;
}

/* A directory that is there, or is implied by what comes. CB_EROFS_NONE where something else is. */
static uint32_t enter(struct make *m, uint32_t parent, struct cb_slice name, struct cb_slice path)
{
    uint32_t i = last_child(m->t, parent, name);
    if (i != CB_EROFS_NONE && m->t->v[i].dir)
        return i;
    if (i == CB_EROFS_NONE)
        i = add(m->t, parent, name);
    else if (!is_whiteout(&m->t->v[i]))
        return CB_EROFS_NONE;
    make_dir(m->t, i);
    if (!m->o->inherit || is_hidden(m->t, i))
        return i;
    cb_strbuf_reset(&m->path);
    cb_strbuf_add(&m->path, path.ptr, path.len);
    const struct cb_entry *e = m->o->inherit(m->o->arg, m->path.buf);
    if (e) {
        struct cb_entry *own = CB_NEW(struct cb_entry);
        *own = (struct cb_entry){ .mode = e->mode, .uid = e->uid, .gid = e->gid, .mtime = e->mtime };
        m->t->v[i].e = m->t->v[i].inherited = own;
    }
    return i;
}

/* *base: the last component. */
static uint32_t enter_parent(struct make *m, const char *path, struct cb_slice *base)
{
    uint32_t at = 0;
    const char *p = path;
    for (const char *slash; at != CB_EROFS_NONE && (slash = strchr(p, '/')) != NULL; p = slash + 1)
        at = enter(m, at, (struct cb_slice){ p, (size_t)(slash - p) },
                   (struct cb_slice){ path, (size_t)(slash - path) });
    *base = (struct cb_slice){ p, strlen(p) };
    return at;
}

static int put_dir(struct make *m, const struct cb_entry *e, uint32_t i)
{
    struct cb_erofs_node *n = &m->t->v[i];
    if (!n->dir && n->e && !is_whiteout(n))
        return 1;
    if (!n->dir)
        make_dir(m->t, i);
    n = &m->t->v[i];
    n->e = e;
    return 0;
}

/* Names are those of a checked table; a name that ends early or has a '/' cannot be. */
static bool is_name(struct cb_slice name)
{
    return name.len > 0 && name.len <= CB_MAX_NAME && !cb_slice_eq(name, ".") && !cb_slice_eq(name, "..");
}

static int put(struct make *m, size_t at)
{
    const struct cb_entry *e = cb_toc_at(m->o->toc, at);
    struct cb_slice name;
    uint32_t parent = enter_parent(m, e->path, &name);
    if (parent == CB_EROFS_NONE || !is_name(name))
        return 1;
    if (e->type == CB_ENTRY_OPAQUE) {
        uint32_t i = enter(m, parent, name, (struct cb_slice){ e->path, strlen(e->path) });
        if (i == CB_EROFS_NONE)
            return 1;
        m->t->v[i].opaque = true;
        return 0;
    }
    uint32_t i = last_child(m->t, parent, name);
    if (i == CB_EROFS_NONE)
        i = add(m->t, parent, name);
    else if (e->type == CB_ENTRY_WHITEOUT)
        return 1;
    m->t->of_entry[at] = i;
    if (e->type == CB_ENTRY_DIR)
        return put_dir(m, e, i);
    struct cb_erofs_node *n = &m->t->v[i];
    if (n->dir || (n->e && !is_whiteout(n)))
        return 1;
    n->e = e;
    if (e->type == CB_ENTRY_CHAR && e->dev_major == 0 && e->dev_minor == 0)
        return 1; /* an image must not make a whiteout so (A6) */
    if (e->type != CB_ENTRY_FILE)
        return 0;
    n->data = e->offset;
    n->size = e->size;
    return e->offset % 512 != 0 || e->offset > m->o->tar_size || e->size > m->o->tar_size - e->offset;
}

/* Links to files that the layer had before, which may stand behind them in the table. What it had later, or what a
 * lower layer has, is not known where the link is: there is no digest. */
static int tie(struct make *m, size_t at)
{
    const struct cb_entry *e = cb_toc_at(m->o->toc, at), *first = cb_toc_at(m->o->toc, 0);
    if (e->type != CB_ENTRY_HARDLINK)
        return 0;
    const struct cb_entry *to = e->link ? cb_toc_find(m->o->toc, e->link) : NULL;
    if (!to || to->type != CB_ENTRY_FILE || !e->digest.known)
        return 1;
    uint32_t target = m->t->of_entry[to - first];
    m->t->v[m->t->of_entry[at]].same = target;
    m->t->v[target].links++;
    return 0;
}

int cb_erofs_tree_make(struct cb_erofs_tree *t, const struct cb_erofs_options *o)
{
    struct make m = { .t = t, .o = o, .path = CB_STRBUF_INIT };
    size_t n = cb_toc_count(o->toc);
    int r = n > MAX_ENTRIES;
    *t = (struct cb_erofs_tree){ .of_entry = cb_calloc(n + 1, sizeof *t->of_entry) };
    make_dir(t, add(t, 0, (struct cb_slice){ "", 0 }));
    for (size_t i = 0; r == 0 && i < n; i++)
        r = put(&m, i);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = tie(&m, i);
    cb_strbuf_done(&m.path);
    return r;
}
