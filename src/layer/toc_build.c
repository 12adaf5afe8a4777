/* SPDX-License-Identifier: Apache-2.0 */
/* From entries in the order of a tar to a sorted table that holds what unpacking them in that order would leave. */
#include "layer/toc_priv.h"
#include "util/alloc.h"
#include "util/hashmap.h"
#include "util/index.h"
#include "util/limits.h"

struct item {
    struct cb_entry e;
    uint32_t seq;     /* when it was added: fewer than 2^31, as each costs two of CB_TOC_MAX_BYTES */
    uint32_t barrier; /* when this path last became something that is no directory: what was below it is gone */
};

struct cb_toc_builder {
    struct item *v;
    size_t n, cap;
    struct cb_index *index; /* of what is no whiteout, by path */
    struct cb_index *marks[2]; /* of whiteouts, of opaque marks */
    struct cb_hashmap *implied; /* directories on the way to the first n_implied of v; made for who asks */
    size_t n_implied;
    bool revived; /* something became no directory and then one again: what is below may be gone though it is in v */
    struct cb_arena arena;
    uint64_t n_inline;
    uint32_t seq;
};

static const char *path_of(const void *arg, uint32_t i)
{
    const struct cb_toc_builder *b = arg;
    return b->v[i].e.path;
}

static void make_indexes(struct cb_toc_builder *b)
{
    b->index = cb_index_new(path_of, b);
    for (size_t i = 0; i < CB_COUNTOF(b->marks); i++)
        b->marks[i] = cb_index_new(path_of, b);
}

static void free_indexes(struct cb_toc_builder *b)
{
    cb_index_free(b->index);
    for (size_t i = 0; i < CB_COUNTOF(b->marks); i++)
        cb_index_free(b->marks[i]);
}

struct cb_toc_builder *cb_toc_builder_new(void)
{
    struct cb_toc_builder *b = CB_NEW(struct cb_toc_builder);
    make_indexes(b);
    return b;
}

void cb_toc_builder_free(struct cb_toc_builder *b)
{
    if (!b)
        return;
    free(b->v);
    free_indexes(b);
    cb_hashmap_free(b->implied);
    cb_arena_done(&b->arena);
    free(b);
}

static struct cb_entry copy_entry(struct cb_toc_builder *b, const struct cb_entry *e)
{
    struct cb_entry from = *e;
    if (e->inline_data && b->n_inline + e->size > CB_TOC_MAX_INLINE)
        from.inline_data = NULL;
    else if (e->inline_data)
        b->n_inline += e->size;
    return cb_entry_copy(&b->arena, &from);
}

static struct item *find_item(const struct cb_toc_builder *b, const char *path, size_t len)
{
    uint32_t at = cb_index_find(b->index, path, len);
    return at == CB_INDEX_NONE ? NULL : &b->v[at];
}

static void add_item(struct cb_toc_builder *b, struct cb_index *index, const struct cb_entry *e)
{
    CB_GROW(b->v, b->n, b->cap);
    b->v[b->n++] = (struct item){ .e = copy_entry(b, e), .seq = ++b->seq };
    if (index)
        cb_index_add(index, (uint32_t)(b->n - 1));
}

/* May be there already: once is enough for the index. */
static void add_mark(struct cb_toc_builder *b, const struct cb_entry *e)
{
    struct cb_index *index = b->marks[e->type == CB_ENTRY_OPAQUE];
    bool known = cb_index_find(index, e->path, strlen(e->path)) != CB_INDEX_NONE;
    add_item(b, known ? NULL : index, e);
}

/* What was no directory has removed what lower layers have there: the directory in its place is a new one. */
static void add_again(struct cb_toc_builder *b, const struct cb_entry *e, uint32_t barrier)
{
    const struct cb_entry mark = { .path = e->path, .type = CB_ENTRY_OPAQUE };
    if (e->type != CB_ENTRY_DIR || !barrier || cb_toc_builder_hides(b, e->path, true))
        return;
    b->revived = true;
    add_mark(b, &mark);
}

int cb_toc_builder_add(struct cb_toc_builder *b, const struct cb_entry *e, struct cb_error *err)
{
    if (b->n >= CB_MAX_LAYER_ENTRIES)
        return cb_error_set(err, CB_EVERIFY, "more than %u entries", CB_MAX_LAYER_ENTRIES);
    if (b->arena.total > CB_TOC_MAX_BYTES)
        return cb_error_set(err, CB_EVERIFY, "names and attributes of more than 2 GiB");
    if (cb_entry_is_mark(e)) {
        add_mark(b, e);
        return 0;
    }
    struct item *it = find_item(b, e->path, strlen(e->path));
    if (it) {
        it->e = copy_entry(b, e);
        it->seq = ++b->seq;
    } else {
        add_item(b, b->index, e);
        it = &b->v[b->n - 1];
    }
    if (e->type != CB_ENTRY_DIR)
        it->barrier = it->seq;
    add_again(b, e, it->barrier);
    return 0;
}

/* Whether something above it became no directory behind it. */
static bool is_gone(const struct cb_toc_builder *b, const struct item *it)
{
    for (const char *p = strchr(it->e.path, '/'); p; p = strchr(p + 1, '/')) {
        const struct item *above = find_item(b, it->e.path, (size_t)(p - it->e.path));
        if (above && it->seq < above->barrier)
            return true;
    }
    return false;
}

const struct cb_entry *cb_toc_builder_find(const struct cb_toc_builder *b, const char *path)
{
    const struct item *it = find_item(b, path, strlen(path));
    return it && !(b->revived && is_gone(b, it)) ? &it->e : NULL;
}

bool cb_toc_builder_hides(const struct cb_toc_builder *b, const char *path, bool below)
{
    size_t len = strlen(path);
    if (cb_index_find(b->marks[below], path, len) != CB_INDEX_NONE)
        return true;
    for (const char *p = strchr(path, '/'); p && !below; p = strchr(p + 1, '/'))
        for (size_t i = 0; i < CB_COUNTOF(b->marks); i++)
            if (cb_index_find(b->marks[i], path, (size_t)(p - path)) != CB_INDEX_NONE)
                return true;
    return false;
}

/* A mark in it makes it one, too. */
static void imply_parents(struct cb_toc_builder *b, const struct cb_entry *e)
{
    char path[CB_MAX_PATH + 1];
    snprintf(path, sizeof path, "%s", e->path);
    if (e->type == CB_ENTRY_OPAQUE)
        cb_hashmap_put(b->implied, path, b);
    for (char *slash; (slash = strrchr(path, '/')) != NULL;) {
        *slash = '\0';
        if (cb_hashmap_put(b->implied, path, b))
            return;
    }
}

bool cb_toc_builder_implies(struct cb_toc_builder *b, const char *path)
{
    if (!b->implied)
        b->implied = cb_hashmap_new();
    for (; b->n_implied < b->n; b->n_implied++)
        imply_parents(b, &b->v[b->n_implied].e);
    return cb_hashmap_get(b->implied, path) != NULL;
}

static int cmp_items(const void *pa, const void *pb)
{
    const struct item *a = pa, *b = pb;
    int c = cb_entry_cmp(&a->e, &b->e);
    return c ? c : a->seq < b->seq ? -1 : a->seq > b->seq;
}

static void sort_items(struct cb_toc_builder *b)
{
    for (size_t i = 1; i < b->n; i++)
        if (cmp_items(&b->v[i - 1], &b->v[i]) > 0) {
            qsort(b->v, b->n, sizeof *b->v, cmp_items);
            return;
        }
}

struct frame {
    const char *path;
    size_t len;
    uint32_t barrier; /* what is below and older than this is gone */
};
struct frames {
    struct frame *v;
    size_t n, cap;
};

static uint32_t barrier_over(struct frames *f, const char *path)
{
    while (f->n && !cb_path_is_below(path, f->v[f->n - 1].path, f->v[f->n - 1].len))
        f->n--;
    return f->n ? f->v[f->n - 1].barrier : 0;
}

static void push_frame(struct frames *f, const struct item *it, uint32_t above)
{
    CB_GROW(f->v, f->n, f->cap);
    f->v[f->n++] = (struct frame){
        .path = it->e.path,
        .len = strlen(it->e.path),
        .barrier = it->e.type != CB_ENTRY_DIR ? UINT32_MAX : CB_MAX(above, it->barrier),
    };
}

/* Leaves out what a later entry above it removed, and all but the last whiteout of a path. The entries end up in the
 * room of the items, each of which is larger: a table is not held twice. */
static struct cb_entry *drop_dead(const struct cb_toc_builder *b, size_t *n_out)
{
    struct cb_entry *out = (struct cb_entry *)(void *)b->v;
    struct frames f = { 0 };
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct item copy = b->v[i], *it = &copy;
        uint32_t above = barrier_over(&f, it->e.path);
        bool mark = cb_entry_is_mark(&it->e);
        if (mark && i + 1 < b->n && cb_entry_cmp(&it->e, &b->v[i + 1].e) == 0)
            continue;
        if (it->seq < above)
            continue;
        if (!mark)
            push_frame(&f, it, above);
        out[n++] = it->e;
    }
    free(f.v);
    *n_out = n;
    return n ? cb_reallocarray(out, n, sizeof *out) : out;
}

static void make_file(struct cb_entry *e)
{
    e->type = CB_ENTRY_FILE;
    e->link = NULL;
}

/* A link whose target was replaced by a later entry still means the old bytes, which are in the tar: it becomes a
 * file, and so does one that others were linked to since. */
static void settle_links(struct cb_toc *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct cb_entry *e = &t->v[i];
        if (e->type != CB_ENTRY_HARDLINK || !e->digest.known)
            continue;
        const struct cb_entry *to = cb_toc_find(t, e->link);
        if (!to || !cb_entry_same_file(to, e))
            make_file(e);
        else if (to->type == CB_ENTRY_HARDLINK)
            make_file(&t->v[to - t->v]);
    }
}

struct cb_toc *cb_toc_builder_finish(struct cb_toc_builder *b)
{
    sort_items(b);
    free_indexes(b);
    size_t n;
    struct cb_entry *v = drop_dead(b, &n);
    struct cb_toc *t = cb_toc_take(v, n, &b->arena);
    settle_links(t);
    cb_hashmap_free(b->implied);
    *b = (struct cb_toc_builder){ 0 };
    make_indexes(b);
    return t;
}
