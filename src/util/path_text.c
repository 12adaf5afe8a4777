/* SPDX-License-Identifier: Apache-2.0 */
/* The lexical half of path.h: no system calls. */
#include "util/alloc.h"
#include "util/limits.h"
#include "util/path.h"

bool cb_path_normalize(struct cb_strbuf *out, const char *path, size_t len)
{
    cb_strbuf_reset(out);
    if (memchr(path, '\0', len))
        return false;
    for (const char *p = path, *end = path + len; p < end;) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        size_t n = (size_t)((slash ? slash : end) - p);
        bool up = n == 2 && p[0] == '.' && p[1] == '.';
        if (up || n > CB_MAX_NAME || out->len + 1 + n > CB_MAX_PATH)
            return false;
        if (n > 0 && !(n == 1 && p[0] == '.')) {
            if (out->len)
                cb_strbuf_addch(out, '/');
            cb_strbuf_add(out, p, n);
        }
        p += n + (slash ? 1 : 0);
    }
    return true;
}

/* Takes the last component of out away; false where there is none that could be: it is empty, "/" or ends in "..". */
static bool drop_last(struct cb_strbuf *out, bool rooted)
{
    const char *last = cb_path_base(out->buf);
    if (*last == '\0' || strcmp(last, "..") == 0)
        return false;
    size_t keep = (size_t)(last - out->buf);
    /* The slash goes with it, unless it is the root's. */
    cb_strbuf_setlen(out, keep > (rooted ? 1u : 0u) ? keep - 1 : keep);
    return true;
}

static void add_component(struct cb_strbuf *out, const char *p, size_t n, bool rooted)
{
    if (n == 0 || (n == 1 && p[0] == '.'))
        return;
    if (n == 2 && p[0] == '.' && p[1] == '.' && (drop_last(out, rooted) || rooted))
        return;
    if (out->len > (rooted ? 1u : 0u))
        cb_strbuf_addch(out, '/');
    cb_strbuf_add(out, p, n);
}

static void add_cleaned(struct cb_strbuf *out, const char *path, bool rooted)
{
    while (*path) {
        size_t n = strcspn(path, "/");
        add_component(out, path, n, rooted);
        path += n + (path[n] ? 1 : 0);
    }
}

void cb_path_clean(struct cb_strbuf *out, const char *path)
{
    cb_path_join(out, "", path);
}

void cb_path_join(struct cb_strbuf *out, const char *base, const char *rel)
{
    /* Built apart: either may point into out. */
    struct cb_strbuf fresh = CB_STRBUF_INIT;
    if (*rel == '/')
        base = "";
    bool rooted = *base ? *base == '/' : *rel == '/';
    if (rooted)
        cb_strbuf_addch(&fresh, '/');
    add_cleaned(&fresh, base, rooted);
    add_cleaned(&fresh, rel, rooted);
    if (!fresh.len)
        cb_strbuf_addch(&fresh, '.');
    cb_strbuf_done(out);
    *out = fresh;
}

char *cb_path_shift(struct cb_strbuf *path)
{
    const char *slash = strchrnul(path->buf, '/');
    char *first = cb_strndup(path->buf, (size_t)(slash - path->buf));
    size_t taken = (size_t)(slash - path->buf) + (*slash != '\0');
    memmove(path->buf, path->buf + taken, path->len - taken);
    cb_strbuf_setlen(path, path->len - taken);
    return first;
}

bool cb_path_is_within(const char *path, const char *outer)
{
    size_t n = strlen(outer);
    return n == 0 || (!strncmp(path, outer, n) && (path[n] == '/' || path[n] == '\0'));
}

const char *cb_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
