/* SPDX-License-Identifier: Apache-2.0 */
/* What is at a path is found from the root down. Of each directory on the way it is remembered which layers show
 * something below it: mostly few of them, and those alone are asked for what is in it. */
#include "layer/lookup.h"

#include "layer/toc_priv.h"
#include "util/alloc.h"
#include "util/limits.h"

struct source {
    struct cb_toc *toc;
    struct cb_toc_cursor *cursor;
};

/* A directory: layers that show something below it, topmost first. */
struct level {
    size_t path_len; /* of its path, a beginning of the chain's */
    size_t *layers;
    size_t n;
};
struct chain {
    struct cb_strbuf path; /* of the last level */
    struct level *v;       /* from the root */
    size_t n, cap;
    size_t top;            /* layers before this are looked at */
};

struct cb_lookup {
    struct source *v;
    size_t n;
    struct cb_arena arena; /* of all answers */
    struct chain chain;
};

static void chain_done(struct chain *c)
{
    while (c->n)
        free(c->v[--c->n].layers);
    free(c->v);
    cb_strbuf_done(&c->path);
}

struct cb_lookup *cb_lookup_new(const struct cb_lookup_layer *v, size_t n)
{
    struct cb_lookup *l = CB_NEW(struct cb_lookup);
    l->v = cb_calloc(n + 1, sizeof *l->v);
    l->n = n;
    for (size_t i = 0; i < n; i++) {
        l->v[i].toc = cb_toc_ref(v[i].toc);
        l->v[i].cursor = v[i].toc ? NULL : cb_toc_cursor_new(v[i].index);
    }
    l->chain = (struct chain){ .path = CB_STRBUF_INIT, .top = n };
    return l;
}

void cb_lookup_free(struct cb_lookup *l)
{
    if (!l)
        return;
    for (size_t i = 0; i < l->n; i++) {
        cb_toc_unref(l->v[i].toc);
        cb_toc_cursor_free(l->v[i].cursor);
    }
    free(l->v);
    chain_done(&l->chain);
    cb_arena_done(&l->arena);
    free(l);
}

/* ---- one layer ---- */

struct spot {
    bool whiteout, opaque;
    bool below;              /* something is listed below the path */
    enum cb_entry_type type; /* of what is at it; 0: nothing */
    const struct cb_entry *e; /* that, where it is wanted; valid as long as the lookup */
};

static int entry_at(const struct source *s, size_t i, const struct cb_entry **e, struct cb_error *err)
{
    if (s->cursor)
        return cb_toc_cursor_at(s->cursor, i, e, err);
    *e = cb_toc_at(s->toc, i);
    return 0;
}

static const struct cb_entry *keep(struct cb_lookup *l, const struct source *s, const struct cb_entry *e)
{
    if (!s->cursor)
        return e;
    struct cb_entry *own = cb_arena_alloc(&l->arena, sizeof *own);
    *own = cb_entry_copy(&l->arena, e);
    return own;
}

static int look(struct cb_lookup *l, size_t layer, const char *path, bool want, struct spot *out, struct cb_error *err)
{
    const struct source *s = &l->v[layer];
    const struct cb_entry *e = NULL;
    size_t i = s->cursor ? 0 : cb_toc_lower_bound(s->toc, path);
    int r = s->cursor ? cb_toc_cursor_bound(s->cursor, path, &i, err) : 0;
    *out = (struct spot){ 0 };
    for (; r == 0 && (r = entry_at(s, i, &e, err)) == 0 && e && cb_streq(e->path, path); i++) {
        out->whiteout |= e->type == CB_ENTRY_WHITEOUT;
        out->opaque |= e->type == CB_ENTRY_OPAQUE;
        if (cb_entry_is_mark(e))
            continue;
        out->type = e->type;
        out->e = want ? keep(l, s, e) : NULL;
    }
    out->below = r == 0 && e && cb_path_is_below(e->path, path, strlen(path));
    return r;
}

/* ---- one step down ---- */

struct found {
    const struct cb_entry *e; /* NULL: nothing, or a directory that no layer lists */
    size_t layer;
    bool decided, implied;
};

/* What a layer says of the path, those above it being known. True: the layers below it say nothing more. */
static bool apply(const struct spot *s, size_t layer, struct found *f, struct level *down, bool *shut)
{
    if (s->type && !f->decided) {
        f->decided = true;
        f->implied = f->implied && s->type != CB_ENTRY_DIR;
        f->e = f->implied ? NULL : s->e;
        f->layer = f->implied ? f->layer : layer;
    } else if (!f->decided && (s->below || s->opaque)) {
        f->implied = true;
        f->layer = layer;
    }
    if (s->below && !*shut)
        down->layers[down->n++] = layer;
    *shut |= s->opaque;
    return s->whiteout || (s->type && s->type != CB_ENTRY_DIR) || (*shut && f->decided);
}

static int step(struct cb_lookup *l, const struct level *in, const char *path, struct found *f, struct level *down,
                struct cb_error *err)
{
    bool shut = false;
    *f = (struct found){ 0 };
    *down = (struct level){ .path_len = strlen(path), .layers = cb_calloc(in->n + 1, sizeof(size_t)) };
    for (size_t i = 0; i < in->n; i++) {
        struct spot s;
        int r = look(l, in->layers[i], path, !f->decided, &s, err);
        if (r < 0)
            return r;
        if (apply(&s, in->layers[i], f, down, &shut))
            return 0;
    }
    return 0;
}

/* ---- from the root down ---- */

static void push(struct chain *c, struct level l, const char *path)
{
    CB_GROW(c->v, c->n, c->cap);
    c->v[c->n++] = l;
    cb_strbuf_reset(&c->path);
    cb_strbuf_add(&c->path, path, l.path_len);
}

static void push_root(struct chain *c)
{
    struct level root = { .layers = cb_calloc(c->top + 1, sizeof(size_t)) };
    for (size_t i = c->top; i-- > 0;)
        root.layers[root.n++] = i;
    push(c, root, "");
}

/* Goes up to where path is below. */
static void go_up(struct chain *c, const char *path)
{
    while (c->n > 1 && !cb_path_is_below(path, c->path.buf, c->path.len)) {
        free(c->v[--c->n].layers);
        cb_strbuf_setlen(&c->path, c->v[c->n - 1].path_len);
    }
    if (!c->n)
        push_root(c);
}

/* The chain has it as its last then, also where nothing is below it or it is not there at all: what is asked next may
 * be below it, too. */
static int enter(struct cb_lookup *l, struct chain *c, const char *path, struct found *f, struct cb_error *err)
{
    struct level down;
    int r = step(l, &c->v[c->n - 1], path, f, &down, err);
    if (r < 0)
        free(down.layers);
    else
        push(c, down, path);
    return r;
}

static int find(struct cb_lookup *l, struct chain *c, const char *path, const struct cb_stack_entry **hit,
                struct cb_error *err);

/* A link's file may be in a layer below, whatever this one says of it. */
static int find_below(struct cb_lookup *l, size_t top, const char *path, const struct cb_stack_entry **hit,
                      struct cb_error *err)
{
    struct chain c = { .path = CB_STRBUF_INIT, .top = top };
    int r = find(l, &c, path, hit, err);
    chain_done(&c);
    return r;
}

static int find_data(struct cb_lookup *l, struct cb_stack_entry *se, struct cb_error *err)
{
    const struct cb_stack_entry *lower = NULL;
    struct spot s = { 0 };
    if (se->e->type == CB_ENTRY_FILE) {
        se->data = se->e;
        se->data_layer = se->layer;
    }
    if (se->e->type != CB_ENTRY_HARDLINK)
        return 0;
    /* Without a digest the layer had no such file when the link was made: what it has had since is another one. */
    int r = se->e->digest.known ? look(l, se->layer, se->e->link, true, &s, err) : 0;
    if (r < 0)
        return r;
    if (s.type == CB_ENTRY_FILE) {
        se->data = s.e;
        se->data_layer = se->layer;
    } else if (!s.type && (r = find_below(l, se->layer, se->e->link, &lower, err)) == 0 && lower &&
               (lower->data || cb_entry_is_node(lower->e))) {
        struct cb_entry *e = cb_arena_alloc(&l->arena, sizeof *e);
        *e = cb_entry_linked(lower->e, se->e);
        se->e = e;
        se->data = lower->data;
        se->data_layer = lower->data_layer;
    }
    return r;
}

static const struct cb_entry *imply_dir(struct cb_lookup *l, const char *path)
{
    struct cb_entry *e = cb_arena_alloc(&l->arena, sizeof *e);
    *e = (struct cb_entry){ .path = cb_arena_strndup(&l->arena, path, strlen(path)), .type = CB_ENTRY_DIR,
                            .mode = 0755 };
    return e;
}

static int answer(struct cb_lookup *l, const char *path, const struct found *f, const struct cb_stack_entry **hit,
                  struct cb_error *err)
{
    if (!f->e && !f->implied)
        return 0;
    struct cb_stack_entry *se = cb_arena_alloc(&l->arena, sizeof *se);
    *se = (struct cb_stack_entry){ .e = f->e ? f->e : imply_dir(l, path), .layer = f->layer };
    *hit = se;
    return find_data(l, se, err);
}

static int find(struct cb_lookup *l, struct chain *c, const char *path, const struct cb_stack_entry **hit,
                struct cb_error *err)
{
    char name[CB_MAX_PATH + 1];
    struct found f = { 0 };
    size_t len = strlen(path);
    *hit = NULL;
    if (!len || len > CB_MAX_PATH)
        return 0;
    memcpy(name, path, len + 1);
    go_up(c, path);
    size_t from = c->path.len ? c->path.len + 1 : 0;
    for (char *p = strchr(name + from, '/'); p; p = strchr(p + 1, '/')) {
        *p = '\0';
        int r = enter(l, c, name, &f, err);
        *p = '/';
        if (r < 0)
            return r;
    }
    int r = enter(l, c, path, &f, err);
    return r < 0 ? r : answer(l, path, &f, hit, err);
}

int cb_lookup_find(struct cb_lookup *l, const char *path, const struct cb_stack_entry **hit, struct cb_error *err)
{
    return find(l, &l->chain, path, hit, err);
}

static int find_by_lookup(void *arg, const char *path, const struct cb_stack_entry **hit, struct cb_error *err)
{
    return cb_lookup_find(arg, path, hit, err);
}

struct cb_finder cb_lookup_finder(struct cb_lookup *l)
{
    return (struct cb_finder){ find_by_lookup, l };
}
