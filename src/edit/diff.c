/* SPDX-License-Identifier: Apache-2.0 */
#include "edit/private.h"
#include "util/alloc.h"

/* ---- files ---- */

static bool same_xattrs(const struct cb_entry *a, const struct cb_entry *b)
{
    if (a->n_xattrs != b->n_xattrs)
        return false;
    for (size_t i = 0; i < a->n_xattrs; i++)
        if (strcmp(a->xattrs[i].name, b->xattrs[i].name) != 0 || a->xattrs[i].len != b->xattrs[i].len ||
            memcmp(a->xattrs[i].value, b->xattrs[i].value, a->xattrs[i].len) != 0)
            return false;
    return true;
}

/* A hard link is a file: which of its names the bytes came with says nothing about the tree. */
static enum cb_entry_type kind(const struct cb_stack_entry *e)
{
    return e->data ? CB_ENTRY_FILE : e->e->type;
}

static unsigned compare_bytes(const struct cb_stack_entry *a, const struct cb_stack_entry *b)
{
    if (!a->data || !b->data)
        return 0;
    if (a->data->size != b->data->size)
        return CB_DIFF_SIZE | CB_DIFF_CONTENT;
    return cb_sum_eq(&a->data->digest, &b->data->digest) ? 0 : CB_DIFF_CONTENT;
}

static unsigned compare_entries(const struct cb_stack_entry *a, const struct cb_stack_entry *b)
{
    const struct cb_entry *x = a->e, *y = b->e;
    unsigned what = compare_bytes(a, b);
    bool device = x->type == CB_ENTRY_CHAR || x->type == CB_ENTRY_BLOCK;
    if (kind(a) != kind(b))
        return CB_DIFF_TYPE | (x->mode != y->mode ? CB_DIFF_MODE : 0);
    if (x->mode != y->mode && x->type != CB_ENTRY_SYMLINK)
        what |= CB_DIFF_MODE;
    if (x->uid != y->uid || x->gid != y->gid)
        what |= CB_DIFF_OWNER;
    if (kind(a) == CB_ENTRY_SYMLINK && !cb_streq(x->link, y->link))
        what |= CB_DIFF_LINK;
    if (device && (x->dev_major != y->dev_major || x->dev_minor != y->dev_minor))
        what |= CB_DIFF_DEVICE;
    if (!same_xattrs(x, y))
        what |= CB_DIFF_XATTR;
    return what | (x->mtime != y->mtime ? CB_DIFF_MTIME : 0);
}

size_t cb_edit_diff_files(const struct cb_stack *old, const struct cb_stack *now, unsigned ignore,
                          void (*tell)(void *arg, const struct cb_edit_file_diff *d), void *arg)
{
    size_t i = 0, k = 0, n = 0;
    while (i < cb_stack_count(old) || k < cb_stack_count(now)) {
        const struct cb_stack_entry *a = cb_stack_at(old, i), *b = cb_stack_at(now, k);
        int c = !a ? 1 : !b ? -1 : cb_entry_path_cmp(a->e->path, b->e->path);
        struct cb_edit_file_diff d = { .kind = c < 0 ? CB_DIFF_REMOVED : c > 0 ? CB_DIFF_ADDED : CB_DIFF_CHANGED };
        d.old = c <= 0 ? a : NULL;
        d.now = c >= 0 ? b : NULL;
        d.what = c == 0 ? compare_entries(a, b) & ~ignore : 0;
        i += c <= 0;
        k += c >= 0;
        if (c == 0 && !d.what)
            continue;
        tell(arg, &d);
        n++;
    }
    return n;
}

/* ---- JSON ---- */

struct json_diff {
    void (*tell)(void *arg, const char *path, const json_t *old, const json_t *now);
    void *arg;
    struct cb_strbuf path;
};

static void compare(struct json_diff *d, const json_t *old, const json_t *now);

static bool is_plain(const char *key)
{
    for (const char *p = key; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || *p == '_'))
            return false;
    return *key != '\0';
}

static void push_key(struct json_diff *d, const char *key)
{
    if (is_plain(key))
        cb_strbuf_addf(&d->path, "%s%s", d->path.len ? "." : "", key);
    else
        cb_strbuf_addf(&d->path, "%s\"%s\"", d->path.len ? "." : "", key);
}

static void compare_member(struct json_diff *d, const char *key, const json_t *old, const json_t *now)
{
    size_t len = d->path.len;
    push_key(d, key);
    compare(d, old, now);
    cb_strbuf_setlen(&d->path, len);
}

static void compare_objects(struct json_diff *d, const json_t *old, const json_t *now, const char *skip)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)old, key, v) {
        if (!cb_streq(key, skip))
            compare_member(d, key, v, json_object_get(now, key));
    }
    json_object_foreach((json_t *)(uintptr_t)now, key, v) {
        if (!cb_streq(key, skip) && !json_object_get(old, key))
            compare_member(d, key, NULL, v);
    }
}

static void compare_arrays(struct json_diff *d, const json_t *old, const json_t *now)
{
    size_t n = CB_MAX(json_array_size(old), json_array_size(now)), len = d->path.len;
    for (size_t i = 0; i < n; i++) {
        cb_strbuf_addf(&d->path, "[%zu]", i);
        compare(d, json_array_get(old, i), json_array_get(now, i));
        cb_strbuf_setlen(&d->path, len);
    }
}

/* The last entry of a variable counts, as for execve. */
static json_t *variables(const json_t *env)
{
    json_t *o = json_object();
    size_t i;
    json_t *v;
    json_array_foreach(env, i, v) {
        const char *s = json_string_value(v), *eq = s ? strchr(s, '=') : NULL;
        cb_autofree char *key = eq ? cb_strndup(s, (size_t)(eq - s)) : NULL;
        if (key)
            cb_json_put(o, key, cb_json_string(eq + 1));
    }
    return o;
}

/* A command line is read as one thing. */
static bool is_words(const json_t *a)
{
    size_t i;
    json_t *v;
    json_array_foreach(a, i, v) {
        if (!json_is_string(v))
            return false;
    }
    return true;
}

static void compare(struct json_diff *d, const json_t *old, const json_t *now)
{
    if (json_is_object(old) && json_is_object(now)) {
        compare_objects(d, old, now, NULL);
    } else if (!strcmp(d->path.buf, "config.Env")) {
        cb_autojson json_t *a = variables(old), *b = variables(now);
        compare_objects(d, a, b, NULL);
    } else if (json_is_array(old) && json_is_array(now) && !(is_words(old) && is_words(now))) {
        compare_arrays(d, old, now);
    } else if (!json_equal(old, now)) {
        d->tell(d->arg, d->path.buf, old, now);
    }
}

void cb_edit_diff_json(const json_t *old, const json_t *now, const char *skip,
                       void (*tell)(void *arg, const char *path, const json_t *old, const json_t *now), void *arg)
{
    struct json_diff d = { .tell = tell, .arg = arg, .path = CB_STRBUF_INIT };
    compare_objects(&d, old, now, skip);
    cb_strbuf_done(&d.path);
}
