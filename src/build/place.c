/* SPDX-License-Identifier: Apache-2.0 */
#include "build/place.h"

#include "util/alloc.h"
#include "util/arena.h"
#include "util/index.h"
#include "util/limits.h"
#include "util/path.h"

/* There are as many of them as files: of an item only the path is ours. */
struct place {
    const char *path;               /* in the arena */
    union {
        const struct cb_item *item; /* what it is, but for the options; or: */
        struct cb_placed *own;      /* with its link and attributes */
    };
    uint32_t below : 31;            /* the first thing placed in it; or NONE */
    uint32_t is_own : 1;
    uint32_t next : 31;             /* the next one in the same directory; or NONE */
    uint32_t dead : 1;              /* replaced, with the directory that it was in */
};
#define NONE ((uint32_t)INT32_MAX)

struct cb_placer {
    struct cb_placer_options o;
    struct place *v;
    size_t n, cap, n_dead;
    struct cb_index *by_path;   /* of those that are not dead */
    struct cb_arena arena;
    uint32_t *order;            /* numbers of those that are not dead, by path; NULL: not now */
    enum cb_placing placing;
    struct cb_error failed;     /* what is below could not be read: nothing that came of it counts */
};

static const char *path_of(const void *arg, uint32_t i)
{
    const struct cb_placer *p = arg;
    return p->v[i].path;
}

struct cb_placer *cb_placer_new(const struct cb_placer_options *o)
{
    struct cb_placer *p = CB_NEW(struct cb_placer);
    p->o = *o;
    p->by_path = cb_index_new(path_of, p);
    p->failed = (struct cb_error)CB_ERROR_INIT;
    return p;
}

static void own_done(struct place *place)
{
    struct cb_placed *x = place->is_own ? CB_TAKE(place->own) : NULL;
    place->is_own = false;
    if (!x)
        return;
    free((void *)(uintptr_t)x->e.link);
    for (size_t i = 0; i < x->e.n_xattrs; i++) {
        free((void *)(uintptr_t)x->e.xattrs[i].name);
        free((void *)(uintptr_t)x->e.xattrs[i].value);
    }
    free((void *)(uintptr_t)x->e.xattrs);
    free(x);
}

void cb_placer_free(struct cb_placer *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        own_done(&p->v[i]);
    free(p->v);
    free(p->order);
    cb_index_free(p->by_path);
    cb_arena_done(&p->arena);
    cb_error_done(&p->failed);
    free(p);
}

static struct place *find_n(const struct cb_placer *p, const char *path, size_t n)
{
    uint32_t i = cb_index_find(p->by_path, path, n);
    return i == CB_INDEX_NONE ? NULL : &p->v[i];
}

static struct place *find(const struct cb_placer *p, const char *path)
{
    return find_n(p, path, strlen(path));
}

static enum cb_entry_type type_of(const struct place *x)
{
    return x->is_own ? x->own->e.type : x->item->type;
}

/* What is below at a path, or NULL. */
static const struct cb_stack_entry *find_below(struct cb_placer *p, const char *path)
{
    const struct cb_stack_entry *se = NULL;
    if (!p->o.base || p->failed.code || p->o.base->find(p->o.base->arg, path, &se, &p->failed) < 0)
        return NULL;
    return se;
}

int cb_placer_check(const struct cb_placer *p, struct cb_error *err)
{
    return p->failed.code ? cb_error_copy(err, &p->failed) : 0;
}

/* Of a function that has asked for what is below. */
static int outcome(const struct cb_placer *p, int r, struct cb_error *err)
{
    if (!p->failed.code)
        return r;
    cb_error_done(err);
    return cb_error_copy(err, &p->failed);
}

/* What stands at a path: placed, or below. 0: nothing. */
static enum cb_entry_type type_at(struct cb_placer *p, const char *path)
{
    if (!*path)
        return CB_ENTRY_DIR;
    const struct place *x = find(p, path);
    if (x)
        return type_of(x);
    const struct cb_stack_entry *se = find_below(p, path);
    return se ? se->e->type : 0;
}

static const char *link_at(struct cb_placer *p, const char *path)
{
    const struct place *x = find(p, path);
    if (x)
        return x->is_own ? x->own->e.link : x->item->link;
    const struct cb_stack_entry *se = find_below(p, path);
    return se ? se->e->link : "";
}

/* One component more onto the resolved directory `at`; a link restarts with its target in front of what is left. */
static bool step_into(struct cb_placer *p, struct cb_strbuf *at, struct cb_strbuf *rest, const char *component,
                      size_t n)
{
    size_t keep = at->len;
    if (n == 0 || (n == 1 && component[0] == '.'))
        return false;
    if (n == 2 && !strncmp(component, "..", 2)) {
        const char *slash = strrchr(at->buf, '/');
        cb_strbuf_setlen(at, slash ? (size_t)(slash - at->buf) : 0);
        return false;
    }
    if (at->len)
        cb_strbuf_addch(at, '/');
    cb_strbuf_add(at, component, n);
    if (type_at(p, at->buf) != CB_ENTRY_SYMLINK)
        return false;
    cb_autofree char *target = cb_strdup(link_at(p, at->buf));
    cb_autofree char *left = cb_strdup(rest->buf);
    cb_strbuf_setlen(at, *target == '/' ? 0 : keep);
    cb_strbuf_reset(rest);
    cb_strbuf_addf(rest, "%s/%s", target, left);
    return true;
}

int cb_placer_resolve(struct cb_placer *p, const char *path, struct cb_strbuf *out, bool *exists, bool *is_dir,
                      struct cb_error *err)
{
    struct cb_strbuf rest cb_cleanup_strbuf = CB_STRBUF_INIT;
    unsigned links = 0;
    cb_strbuf_reset(out);
    cb_strbuf_adds(&rest, path);
    while (rest.len) {
        cb_autofree char *component = cb_path_shift(&rest);
        if (step_into(p, out, &rest, component, strlen(component)) && ++links > CB_MAX_SYMLINKS)
            return outcome(p, cb_error_set(err, CB_ECONF, "%s: too many symbolic links", path), err);
    }
    enum cb_entry_type t = type_at(p, out->buf);
    *exists = t != 0;
    *is_dir = t == CB_ENTRY_DIR;
    return outcome(p, 0, err);
}

static const struct cb_xattr *copy_xattrs(const struct cb_entry *e)
{
    struct cb_xattr *to = e->n_xattrs ? cb_calloc(e->n_xattrs, sizeof *to) : NULL;
    for (size_t i = 0; i < e->n_xattrs; i++)
        to[i] = (struct cb_xattr){ cb_strdup(e->xattrs[i].name), cb_memdup(e->xattrs[i].value, e->xattrs[i].len),
                                   e->xattrs[i].len };
    return to;
}

static struct cb_placed *add_own(struct cb_placer *p, const char *path);

/* A directory of what is below, as it is. */
static struct cb_placed *list_dir(struct cb_placer *p, const char *path, const struct cb_stack_entry *se)
{
    struct cb_placed *x = add_own(p, path);
    const char *keep = x->e.path;
    x->e = *se->e;
    x->e.path = keep;
    x->e.link = NULL;
    x->e.xattrs = copy_xattrs(se->e);
    return x;
}

/* Directories below that get something are listed as they are: unpacked by itself, a layer must not change them. */
static void list_parents(struct cb_placer *p, const char *path)
{
    const char *slash = strrchr(path, '/');
    cb_autofree char *dir = cb_strndup(path, slash ? (size_t)(slash - path) : 0);
    const struct cb_stack_entry *se = *dir && !find(p, dir) ? find_below(p, dir) : NULL;
    if (se)
        (void)list_dir(p, dir, se);
}

/* A directory on the way is always placed too, but for the root. */
static void hang_below_parent(struct cb_placer *p, struct place *x)
{
    const char *slash = strrchr(x->path, '/');
    struct place *dir = slash ? find_n(p, x->path, (size_t)(slash - x->path)) : NULL;
    if (!dir)
        return;
    x->next = dir->below;
    dir->below = (uint32_t)(x - p->v) & NONE;
}

/* What was there is gone, but for what is below it. */
static struct place *add(struct cb_placer *p, const char *path)
{
    struct place *x = find(p, path);
    if (x) {
        own_done(x);
        return x;
    }
    list_parents(p, path);
    CB_GROW(p->v, p->n, p->cap);
    x = &p->v[p->n++];
    *x = (struct place){ .path = cb_arena_strndup(&p->arena, path, strlen(path)), .below = NONE, .next = NONE };
    cb_index_add(p->by_path, (uint32_t)(p->n - 1));
    hang_below_parent(p, x);
    free(CB_TAKE(p->order));
    return x;
}

static struct cb_placed *add_own(struct cb_placer *p, const char *path)
{
    struct place *x = add(p, path);
    x->own = CB_NEW(struct cb_placed);
    x->is_own = true;
    x->own->e.path = x->path;
    return x->own;
}

static void set_owner(const struct cb_placer *p, struct cb_entry *e)
{
    if (p->o.chown) {
        e->uid = p->o.uid;
        e->gid = p->o.gid;
    }
}

static int mkdirs(struct cb_placer *p, const char *path, struct cb_error *err)
{
    for (const char *end = path; *path; end++) {
        end = strchrnul(end, '/');
        cb_autofree char *dir = cb_strndup(path, (size_t)(end - path));
        enum cb_entry_type t = type_at(p, dir);
        if (t && t != CB_ENTRY_DIR)
            return cb_error_set(err, CB_ECONF, "/%s is not a directory", dir);
        if (!t) {
            struct cb_placed *x = add_own(p, dir);
            x->e.type = CB_ENTRY_DIR;
            x->e.mode = p->placing == CB_PLACE_COPY ? cb_chmod_made(&p->o.chmod) : 0755;
            x->e.mtime = p->o.now;
            if (p->placing != CB_PLACE_ARCHIVE)
                set_owner(p, &x->e);
        }
        if (!*end)
            break;
    }
    return 0;
}

int cb_placer_mkdirs(struct cb_placer *p, const char *path, struct cb_error *err)
{
    return outcome(p, mkdirs(p, path, err), err);
}

/* e as it will be in the layer; strings borrowed. */
static struct cb_entry as_placed(const struct cb_placer *p, const struct cb_entry *e, enum cb_placing placing)
{
    struct cb_entry copy = *e;
    set_owner(p, &copy);
    if (placing == CB_PLACE_COPY && copy.type != CB_ENTRY_SYMLINK)
        copy.mode = cb_chmod_apply(&p->o.chmod, copy.mode, copy.type == CB_ENTRY_DIR);
    return copy;
}

static struct cb_placed *put_entry(struct cb_placer *p, const char *path, const struct cb_entry *e)
{
    struct cb_entry copy = as_placed(p, e, p->placing);
    copy.link = cb_strdup_or_null(e->link);
    copy.xattrs = copy_xattrs(e);
    copy.inline_data = NULL;
    struct cb_placed *x = add_own(p, path);
    copy.path = x->e.path;
    x->e = copy;
    x->archived = p->placing == CB_PLACE_ARCHIVE;
    return x;
}

static void show(const struct cb_placer *p, const struct place *x, struct cb_placed *out)
{
    if (x->is_own) {
        *out = *x->own;
        return;
    }
    struct cb_entry e;
    cb_item_entry(x->item, &e);
    *out = (struct cb_placed){ .e = as_placed(p, &e, CB_PLACE_COPY), .item = x->item };
    out->e.path = x->path;
    if (e.type == CB_ENTRY_FILE)
        out->kind = CB_DATA_ITEM;
}

/* For what is to be another than its item. */
static struct cb_placed *make_own(const struct cb_placer *p, struct place *x)
{
    if (x->is_own)
        return x->own;
    struct cb_placed *own = CB_NEW(struct cb_placed);
    show(p, x, own);
    own->e.link = cb_strdup_or_null(own->e.link);
    own->e.xattrs = copy_xattrs(&own->e);
    x->own = own;
    x->is_own = true;
    return own;
}

static int parent_is_dir(struct cb_placer *p, const char *path, struct cb_error *err)
{
    const char *slash = strrchr(path, '/');
    const struct place *x = slash ? find_n(p, path, (size_t)(slash - path)) : NULL;
    if (!slash || (x && type_of(x) == CB_ENTRY_DIR))
        return 0;
    cb_autofree char *dir = cb_strndup(path, (size_t)(slash - path));
    return mkdirs(p, dir, err);
}

/* Whether a directory that is there looks as e would make it: then the layer need not name it. */
static bool is_same_dir(struct cb_placer *p, const char *path, const struct cb_entry *e)
{
    struct cb_placed x;
    bool placed = cb_placer_find(p, path, &x);
    const struct cb_stack_entry *se = !placed ? find_below(p, path) : NULL;
    const struct cb_entry *have = placed ? &x.e : se ? se->e : NULL;
    struct cb_entry want = as_placed(p, e, p->placing);
    return have && have->mode == want.mode && have->uid == want.uid && have->gid == want.gid &&
           have->n_xattrs == 0 && want.n_xattrs == 0;
}

/* What was placed in a directory that becomes something else. As deep as the tree, which is bounded. */
static void drop_below(struct cb_placer *p, struct place *dir)
{
    uint32_t i = dir->below;
    dir->below = NONE;
    for (; i != NONE; i = p->v[i].next) {
        drop_below(p, &p->v[i]);
        cb_index_remove(p->by_path, i);
        p->v[i].dead = true;
        p->n_dead++;
        free(CB_TAKE(p->order));
    }
}

/* Makes room for an entry of another type. */
static int replace(struct cb_placer *p, const char *path, bool dir, struct cb_error *err)
{
    struct place *x = find(p, path);
    const struct cb_stack_entry *se = find_below(p, path);
    if (p->placing != CB_PLACE_ARCHIVE)
        return cb_error_set(err, CB_ECONF, dir ? "cannot copy a directory onto /%s, which is not a directory"
                                               : "cannot copy a file onto /%s, which is a directory", path);
    if (!*path)
        return cb_error_set(err, CB_ECONF, "cannot replace the root directory");
    if (dir && x && se && se->e->type == CB_ENTRY_DIR)
        return cb_error_set(err, CB_ECONF, "/%s, a directory, becomes a file and then a directory again: extract one "
                                           "after the other", path);
    if (x)
        drop_below(p, x);
    return 0;
}

/* 1: there is nothing to do. */
static int make_room(struct cb_placer *p, const char *path, const struct cb_entry *e, struct cb_error *err)
{
    enum cb_entry_type t = type_at(p, path);
    bool dir = e->type == CB_ENTRY_DIR;
    int r = 0;
    if (dir && t == CB_ENTRY_DIR && (!*path || is_same_dir(p, path, e)))
        return 1;
    if (t && dir != (t == CB_ENTRY_DIR))
        r = replace(p, path, dir, err);
    if (r == 0)
        r = parent_is_dir(p, path, err);
    return outcome(p, r, err);
}

int cb_placer_put(struct cb_placer *p, const char *path, const struct cb_entry *e, struct cb_placed **out,
                  struct cb_error *err)
{
    int r = make_room(p, path, e, err);
    *out = r == 0 ? put_entry(p, path, e) : NULL;
    return r < 0 ? r : 0;
}

int cb_placer_put_item(struct cb_placer *p, const char *path, const struct cb_item *it, const char *link,
                       struct cb_error *err)
{
    struct cb_entry e;
    cb_item_entry(it, &e);
    int r = make_room(p, path, &e, err);
    if (r != 0)
        return r < 0 ? r : 0;
    if (e.type != CB_ENTRY_HARDLINK) {
        add(p, path)->item = it;
        return 0;
    }
    e.link = link;
    struct cb_placed *x = put_entry(p, path, &e);
    x->item = it;
    x->kind = CB_DATA_ITEM;
    return 0;
}

void cb_placer_set(struct cb_placer *p, enum cb_placing what)
{
    p->placing = what;
}

bool cb_placer_dir_mode(struct cb_placer *p, const char *path, uint32_t mode)
{
    if (type_at(p, path) != CB_ENTRY_DIR)
        return false;
    struct place *x = find(p, path);
    const struct cb_stack_entry *se = find_below(p, path);
    struct cb_placed *own = x ? make_own(p, x) : se && se->e->mode != mode ? list_dir(p, path, se) : NULL;
    if (own)
        own->e.mode = mode;
    return true;
}

void cb_placer_dir_time(struct cb_placer *p, const char *path, int64_t mtime)
{
    struct place *x = find(p, path);
    if (x) {
        struct cb_placed *own = make_own(p, x);
        own->e.mtime = mtime;
        own->dated = true;
    }
}

bool cb_placer_find(const struct cb_placer *p, const char *path, struct cb_placed *out)
{
    const struct place *x = find(p, path);
    if (x && out)
        show(p, x, out);
    return x;
}

int64_t cb_placer_now(const struct cb_placer *p)
{
    return p->o.now;
}

static int by_path(const void *a, const void *b, void *arg)
{
    const struct cb_placer *p = arg;
    return cb_entry_path_cmp(p->v[*(const uint32_t *)a].path, p->v[*(const uint32_t *)b].path);
}

size_t cb_placer_count(const struct cb_placer *p)
{
    return p->n - p->n_dead;
}

static void put_in_order(struct cb_placer *p)
{
    size_t n = 0;
    bool sorted = true;
    p->order = cb_calloc(p->n + 1, sizeof *p->order);
    for (size_t i = 0; i < p->n; i++) {
        if (p->v[i].dead)
            continue;
        p->order[n++] = (uint32_t)i;
        sorted = sorted && (n < 2 || by_path(&p->order[n - 2], &p->order[n - 1], p) < 0);
    }
    if (!sorted)
        qsort_r(p->order, n, sizeof *p->order, by_path, p);
}

void cb_placer_at(struct cb_placer *p, size_t i, struct cb_placed *out)
{
    if (!p->order)
        put_in_order(p);
    show(p, &p->v[p->order[i]], out);
}

/* The link's file is there with the bytes that the link had when it was made. */
static bool names_its_file(const struct cb_placer *p, const struct cb_placed *x)
{
    struct cb_placed to;
    return cb_placer_find(p, x->e.link, &to) && to.e.type == CB_ENTRY_FILE && to.e.size == x->e.size &&
           cb_sum_eq(&to.e.digest, &x->e.digest);
}

void cb_placer_settle(struct cb_placer *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct cb_placed *x = p->v[i].is_own ? p->v[i].own : NULL;
        if (!x || p->v[i].dead || x->e.type != CB_ENTRY_HARDLINK || x->kind == CB_DATA_NONE || names_its_file(p, x))
            continue;
        free((void *)(uintptr_t)x->e.link);
        x->e.link = NULL;
        x->e.type = CB_ENTRY_FILE;
    }
    cb_index_free(CB_TAKE(p->by_path));
}
