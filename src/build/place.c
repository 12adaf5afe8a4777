/* SPDX-License-Identifier: Apache-2.0 */
#include "build/place.h"

#include "util/alloc.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/path.h"

struct cb_placer {
    struct cb_placer_options o;
    struct cb_placed **v;
    size_t n, cap, n_dead;
    struct cb_hashmap *by_path;
    bool sorted;
    enum cb_placing placing;
};

struct cb_placer *cb_placer_new(const struct cb_placer_options *o)
{
    struct cb_placer *p = CB_NEW(struct cb_placer);
    p->o = *o;
    p->by_path = cb_hashmap_new();
    return p;
}

static void placed_reset(struct cb_placed *x)
{
    free((void *)(uintptr_t)x->e.link);
    x->e.link = NULL;
    for (size_t i = 0; i < x->e.n_xattrs; i++) {
        free((void *)(uintptr_t)x->e.xattrs[i].name);
        free((void *)(uintptr_t)x->e.xattrs[i].value);
    }
    free((void *)(uintptr_t)x->e.xattrs);
    x->e.xattrs = NULL;
    x->e.n_xattrs = 0;
}

static void placed_free(struct cb_placed *x)
{
    placed_reset(x);
    free((void *)(uintptr_t)x->e.path);
    free(x);
}

void cb_placer_free(struct cb_placer *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++)
        placed_free(p->v[i]);
    free(p->v);
    cb_hashmap_free(p->by_path);
    free(p);
}

/* What stands at a path: placed, or below. 0: nothing. */
static enum cb_entry_type type_at(const struct cb_placer *p, const char *path)
{
    if (!*path)
        return CB_ENTRY_DIR;
    const struct cb_placed *x = cb_hashmap_get(p->by_path, path);
    if (x)
        return x->e.type;
    const struct cb_stack_entry *se = p->o.base ? cb_stack_find(p->o.base, path) : NULL;
    return se ? se->e->type : 0;
}

static const char *link_at(const struct cb_placer *p, const char *path)
{
    const struct cb_placed *x = cb_hashmap_get(p->by_path, path);
    if (x)
        return x->e.link;
    return cb_stack_find(p->o.base, path)->e->link;
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
        const char *slash = strchrnul(rest.buf, '/');
        cb_autofree char *component = cb_strndup(rest.buf, (size_t)(slash - rest.buf));
        cb_autofree char *left = cb_strdup(*slash ? slash + 1 : "");
        cb_strbuf_reset(&rest);
        cb_strbuf_adds(&rest, left);
        if (step_into(p, out, &rest, component, strlen(component)) && ++links > CB_MAX_SYMLINKS)
            return cb_error_set(err, CB_ECONF, "%s: too many symbolic links", path);
    }
    enum cb_entry_type t = type_at(p, out->buf);
    *exists = t != 0;
    *is_dir = t == CB_ENTRY_DIR;
    return 0;
}

static const struct cb_xattr *copy_xattrs(const struct cb_entry *e)
{
    struct cb_xattr *to = e->n_xattrs ? cb_calloc(e->n_xattrs, sizeof *to) : NULL;
    for (size_t i = 0; i < e->n_xattrs; i++)
        to[i] = (struct cb_xattr){ cb_strdup(e->xattrs[i].name), cb_memdup(e->xattrs[i].value, e->xattrs[i].len),
                                   e->xattrs[i].len };
    return to;
}

static struct cb_placed *add(struct cb_placer *p, const char *path);

/* A directory of what is below, as it is. */
static struct cb_placed *list_dir(struct cb_placer *p, const char *path, const struct cb_stack_entry *se)
{
    struct cb_placed *x = add(p, path);
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
    const struct cb_stack_entry *se = *dir && p->o.base ? cb_stack_find(p->o.base, dir) : NULL;
    if (se && !cb_hashmap_get(p->by_path, dir))
        (void)list_dir(p, dir, se);
}

/* A directory on the way is always placed too, but for the root. */
static void hang_below_parent(struct cb_placer *p, struct cb_placed *x)
{
    const char *slash = strrchr(x->e.path, '/');
    struct cb_placed *dir =
        slash ? cb_hashmap_getn(p->by_path, x->e.path, (size_t)(slash - x->e.path)) : NULL;
    if (!dir)
        return;
    x->next = dir->below;
    dir->below = x;
}

static struct cb_placed *add(struct cb_placer *p, const char *path)
{
    struct cb_placed *x = cb_hashmap_get(p->by_path, path);
    if (x) {
        placed_reset(x);
    } else {
        list_parents(p, path);
        x = CB_NEW(struct cb_placed);
        CB_GROW(p->v, p->n, p->cap);
        p->v[p->n++] = x;
        cb_hashmap_put(p->by_path, path, x);
        x->e.path = cb_strdup(path);
        hang_below_parent(p, x);
        p->sorted = false;
    }
    *x = (struct cb_placed){ .e.path = x->e.path, .below = x->below, .next = x->next };
    return x;
}

static void set_owner(const struct cb_placer *p, struct cb_entry *e)
{
    if (p->o.chown) {
        e->uid = p->o.uid;
        e->gid = p->o.gid;
    }
}

int cb_placer_mkdirs(struct cb_placer *p, const char *path, struct cb_error *err)
{
    for (const char *end = path; *path; end++) {
        end = strchrnul(end, '/');
        cb_autofree char *dir = cb_strndup(path, (size_t)(end - path));
        enum cb_entry_type t = type_at(p, dir);
        if (t && t != CB_ENTRY_DIR)
            return cb_error_set(err, CB_ECONF, "/%s is not a directory", dir);
        if (!t) {
            struct cb_placed *x = add(p, dir);
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

/* e as it will be in the layer; strings borrowed. */
static struct cb_entry as_placed(const struct cb_placer *p, const struct cb_entry *e)
{
    struct cb_entry copy = *e;
    set_owner(p, &copy);
    if (p->placing == CB_PLACE_COPY && copy.type != CB_ENTRY_SYMLINK)
        copy.mode = cb_chmod_apply(&p->o.chmod, copy.mode, copy.type == CB_ENTRY_DIR);
    return copy;
}

static struct cb_placed *put_entry(struct cb_placer *p, const char *path, const struct cb_entry *e)
{
    struct cb_entry copy = as_placed(p, e);
    copy.link = cb_strdup_or_null(e->link);
    copy.xattrs = copy_xattrs(e);
    copy.inline_data = NULL;
    struct cb_placed *x = add(p, path);
    copy.path = x->e.path;
    x->e = copy;
    return x;
}

static int parent_is_dir(struct cb_placer *p, const char *path, struct cb_error *err)
{
    const char *slash = strrchr(path, '/');
    cb_autofree char *dir = slash ? cb_strndup(path, (size_t)(slash - path)) : cb_strdup("");
    return cb_placer_mkdirs(p, dir, err);
}

/* Whether a directory that is there looks as e would make it: then the layer need not name it. */
static bool is_same_dir(const struct cb_placer *p, const char *path, const struct cb_entry *e)
{
    const struct cb_placed *x = cb_hashmap_get(p->by_path, path);
    const struct cb_stack_entry *se = !x && p->o.base ? cb_stack_find(p->o.base, path) : NULL;
    const struct cb_entry *have = x ? &x->e : se ? se->e : NULL;
    struct cb_entry want = as_placed(p, e);
    return have && have->mode == want.mode && have->uid == want.uid && have->gid == want.gid &&
           have->n_xattrs == 0 && want.n_xattrs == 0;
}

/* What was placed in a directory that becomes something else. As deep as the tree, which is bounded. */
static void drop_below(struct cb_placer *p, struct cb_placed *dir)
{
    for (struct cb_placed *x = CB_TAKE(dir->below); x; x = x->next) {
        drop_below(p, x);
        cb_hashmap_remove(p->by_path, x->e.path);
        x->dead = true;
        p->n_dead++;
    }
}

/* Makes room for an entry of another type. */
static int replace(struct cb_placer *p, const char *path, bool dir, struct cb_error *err)
{
    struct cb_placed *x = cb_hashmap_get(p->by_path, path);
    const struct cb_stack_entry *se = p->o.base ? cb_stack_find(p->o.base, path) : NULL;
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

int cb_placer_put(struct cb_placer *p, const char *path, const struct cb_entry *e, struct cb_placed **out,
                  struct cb_error *err)
{
    enum cb_entry_type t = type_at(p, path);
    bool dir = e->type == CB_ENTRY_DIR;
    int r = 0;
    *out = NULL;
    if (dir && t == CB_ENTRY_DIR && (!*path || is_same_dir(p, path, e)))
        return 0;
    if (t && dir != (t == CB_ENTRY_DIR))
        r = replace(p, path, dir, err);
    if (r == 0)
        r = parent_is_dir(p, path, err);
    if (r < 0)
        return r;
    *out = put_entry(p, path, e);
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
    struct cb_placed *x = cb_hashmap_get(p->by_path, path);
    const struct cb_stack_entry *se = p->o.base ? cb_stack_find(p->o.base, path) : NULL;
    if (!x && se && se->e->mode != mode)
        x = list_dir(p, path, se);
    if (x)
        x->e.mode = mode;
    return true;
}

void cb_placer_dir_time(struct cb_placer *p, const char *path, int64_t mtime)
{
    struct cb_placed *x = cb_hashmap_get(p->by_path, path);
    if (x)
        x->e.mtime = mtime;
}

const struct cb_placed *cb_placer_find(const struct cb_placer *p, const char *path)
{
    return cb_hashmap_get(p->by_path, path);
}

int64_t cb_placer_now(const struct cb_placer *p)
{
    return p->o.now;
}

static int by_path(const void *a, const void *b)
{
    const struct cb_placed *x = *(struct cb_placed *const *)a, *y = *(struct cb_placed *const *)b;
    return cb_entry_path_cmp(x->e.path, y->e.path);
}

size_t cb_placer_count(const struct cb_placer *p)
{
    return p->n - p->n_dead;
}

static void bury(struct cb_placer *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        if (p->v[i]->dead)
            placed_free(p->v[i]);
        else
            p->v[n++] = p->v[i];
    }
    p->n = n;
    p->n_dead = 0;
}

const struct cb_placed *cb_placer_at(struct cb_placer *p, size_t i)
{
    if (p->n_dead)
        bury(p);
    if (!p->sorted && p->n)
        qsort(p->v, p->n, sizeof *p->v, by_path);
    p->sorted = true;
    return p->v[i];
}

/* The link's file is there with the bytes that the link had when it was made. */
static bool names_its_file(const struct cb_placer *p, const struct cb_placed *x)
{
    const struct cb_placed *to = cb_hashmap_get(p->by_path, x->e.link);
    return to && to->e.type == CB_ENTRY_FILE && to->e.size == x->e.size && cb_sum_eq(&to->e.digest, &x->e.digest);
}

void cb_placer_settle(struct cb_placer *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct cb_placed *x = p->v[i];
        if (x->dead || x->e.type != CB_ENTRY_HARDLINK || x->kind == CB_DATA_NONE || names_its_file(p, x))
            continue;
        free((void *)(uintptr_t)x->e.link);
        x->e.link = NULL;
        x->e.type = CB_ENTRY_FILE;
    }
}
