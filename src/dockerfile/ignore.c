/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include "util/alloc.h"
#include "util/limits.h"

/* What most rules look like, `name`, `*.ext`, and both behind a double star, is compared piece by piece of the path in
 * place of running the automaton. */
struct piece {
    bool usable, deep, star;
    char *head, *tail; /* around the star; without one head is all */
    size_t head_len, tail_len;
};

struct rule {
    struct cb_df_glob glob;
    struct piece piece;
    bool include; /* `!` */
    unsigned line; /* 0: of no file */
    char *text;   /* cleaned, without `!` */
    bool all;     /* it leaves out whatever stands at the root */
};

struct cb_df_ignore {
    char *name;   /* of the file, or NULL */
    struct rule *v;
    size_t n, cap;
};

void cb_df_ignore_free(struct cb_df_ignore *i)
{
    if (!i)
        return;
    for (size_t k = 0; k < i->n; k++) {
        cb_df_glob_done(&i->v[k].glob);
        free(i->v[k].piece.head);
        free(i->v[k].piece.tail);
        free(i->v[k].text);
    }
    free(i->v);
    free(i->name);
    free(i);
}

/* Lexical cleaning of one component: "." goes, ".." takes the one before it along. */
static void clean_component(struct cb_strbuf *out, const char *p, size_t n, bool rooted)
{
    if (n == 0 || (n == 1 && p[0] == '.'))
        return;
    size_t slash = out->len;
    while (slash > 0 && out->buf[slash - 1] != '/')
        slash--;
    bool up = n == 2 && p[0] == '.' && p[1] == '.';
    if (up && out->len > 0 && strcmp(out->buf + slash, "..") != 0) {
        cb_strbuf_setlen(out, slash ? slash - 1 : 0);
        return;
    }
    if (up && rooted)
        return;
    if (out->len > 0)
        cb_strbuf_addch(out, '/');
    cb_strbuf_add(out, p, n);
}

/* As filepath.Clean, and without a slash in front. Empty: it names the root or nothing. */
static void clean(struct cb_strbuf *out, struct cb_slice s)
{
    bool rooted = s.len > 0 && s.ptr[0] == '/';
    for (size_t i = 0; i < s.len;) {
        const char *slash = memchr(s.ptr + i, '/', s.len - i);
        size_t end = slash ? (size_t)(slash - s.ptr) : s.len;
        clean_component(out, s.ptr + i, end - i, rooted);
        i = end + 1;
    }
}

static void find_piece(struct piece *p, const char *pattern)
{
    *p = (struct piece){ .deep = strncmp(pattern, "**/", 3) == 0 };
    const char *s = pattern + (p->deep ? 3 : 0), *star = strchr(s, '*');
    if (!*s || strpbrk(s, "/?[]\\") || (star && strchr(star + 1, '*')))
        return;
    p->usable = true;
    p->star = star != NULL;
    p->head_len = star ? (size_t)(star - s) : strlen(s);
    p->head = cb_strndup(s, p->head_len);
    p->tail = cb_strdup(star ? star + 1 : "");
    p->tail_len = strlen(p->tail);
}

static int add_rule(struct cb_df_ignore *ig, struct cb_slice s, unsigned line, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf pattern = CB_STRBUF_INIT;
    s = cb_df_trim(s);
    bool include = s.len > 0 && s.ptr[0] == '!';
    if (include) {
        s = cb_df_trim((struct cb_slice){ s.ptr + 1, s.len - 1 });
        if (s.len == 0)
            return cb_df_fail(err, "\"!\" names no pattern: write !pattern");
    }
    /* Long before it is cleaned: otherwise a line of a mebibyte would be shown as a short one. */
    if (s.len > CB_MAX_PATH)
        return cb_df_fail(err, "bad pattern %s: %zu bytes are too many, at most %d", CB_DF_SHOWN(s.ptr, s.len), s.len,
                          CB_MAX_PATH);
    clean(&pattern, s);
    if (pattern.len == 0)
        return 0; /* "/" and ".": nothing has that name */
    CB_GROW(ig->v, ig->n, ig->cap);
    struct rule *r = &ig->v[ig->n];
    *r = (struct rule){ .include = include, .line = line };
    int e = cb_df_glob_compile(&r->glob, pattern.buf, true, err);
    if (e < 0)
        return e;
    r->text = cb_strdup(pattern.buf);
    find_piece(&r->piece, pattern.buf);
    r->all = strcmp(pattern.buf, "*") == 0 || strcmp(pattern.buf, "**") == 0 || strcmp(pattern.buf, "**/*") == 0;
    ig->n++;
    return 0;
}

static int add_lines(struct cb_df_ignore *ig, const char *text, size_t len, unsigned *line, struct cb_error *err)
{
    int r = cb_df_text_check(text, len, CB_MAX_DOCKERIGNORE, line, err);
    size_t pos = len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    for (*line = r < 0 ? *line : 0; r == 0 && pos < len;) {
        const char *nl = memchr(text + pos, '\n', len - pos);
        struct cb_slice s = { text + pos, nl ? (size_t)(nl - text) - pos : len - pos };
        pos += s.len + 1;
        ++*line;
        if (s.len > 0 && s.ptr[0] == '#')
            continue;
        r = cb_df_trim(s).len ? add_rule(ig, s, *line, err) : 0;
    }
    return r;
}

struct cb_df_ignore *cb_df_ignore_parse(const char *name, const char *text, size_t len, struct cb_error *err)
{
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = CB_NEW(struct cb_df_ignore);
    unsigned line;
    ig->name = cb_strdup(name);
    if (add_lines(ig, text, len, &line, err) == 0)
        return CB_TAKE(ig);
    (void)cb_error_wrap(err, "%s:%u", name, line);
    return NULL;
}

struct cb_df_ignore *cb_df_ignore_from_patterns(const struct cb_strvec *patterns, struct cb_error *err)
{
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ig = CB_NEW(struct cb_df_ignore);
    for (size_t i = 0; i < patterns->n; i++) {
        const char *p = patterns->v[i] + strspn(patterns->v[i], " \t");
        /* Only a file's reader takes a leading slash away: as it stands it is in front of no relative path. */
        if (p[*p == '!'] == '/')
            continue;
        if (cb_df_trim(CB_SLICE(patterns->v[i])).len > 0 && add_rule(ig, CB_SLICE(patterns->v[i]), 0, err) < 0)
            return NULL;
    }
    return CB_TAKE(ig);
}

static bool piece_matches(const struct piece *p, const char *s, size_t n)
{
    if (n < p->head_len + p->tail_len || (!p->star && n != p->head_len))
        return false;
    return memcmp(s, p->head, p->head_len) == 0 && memcmp(s + n - p->tail_len, p->tail, p->tail_len) == 0;
}

static bool rule_matches(const struct rule *r, const char *path, size_t n)
{
    if (!r->piece.usable)
        return cb_df_glob_run(&r->glob, path, n, CB_DF_GLOB_PARENT);
    for (size_t i = 0; i < n;) {
        const char *slash = memchr(path + i, '/', n - i);
        size_t end = slash ? (size_t)(slash - path) : n;
        if (piece_matches(&r->piece, path + i, end - i))
            return true;
        if (!r->piece.deep)
            return false;
        i = end + 1;
    }
    return false;
}

/* The number behind the last rule that matches; 0: none does. */
static size_t last_match(const struct cb_df_ignore *i, const char *path, size_t n)
{
    for (size_t k = i->n; k > 0; k--) {
        if (rule_matches(&i->v[k - 1], path, n))
            return k;
    }
    return 0;
}

static size_t path_len(const char *path)
{
    size_t n = strlen(path);
    while (n > 0 && path[n - 1] == '/')
        n--;
    return n == 1 && path[0] == '.' ? 0 : n;
}

bool cb_df_ignored(const struct cb_df_ignore *i, const char *path)
{
    size_t k = i ? last_match(i, path, path_len(path)) : 0;
    return k > 0 && !i->v[k - 1].include;
}

bool cb_df_ignore_why(const struct cb_df_ignore *i, const char *path, struct cb_strbuf *out)
{
    size_t k = i ? last_match(i, path, path_len(path)) : 0;
    if (k == 0 || i->v[k - 1].include)
        return false;
    const struct rule *r = &i->v[k - 1];
    if (i->name)
        cb_strbuf_addf(out, "%s:%u ", i->name, r->line);
    cb_strbuf_addf(out, "(\"%s\")", r->text);
    return true;
}

bool cb_df_ignore_simple(const struct cb_df_ignore *i)
{
    for (size_t k = 0; i && k < i->n; k++)
        if (i->v[k].include)
            return false;
    return i != NULL;
}

bool cb_df_ignore_all(const struct cb_df_ignore *i)
{
    for (size_t k = 0; i && k < i->n; k++)
        if (i->v[k].all && !i->v[k].include)
            return true;
    return false;
}

bool cb_df_ignore_may_reinclude(const struct cb_df_ignore *i, const char *dir)
{
    size_t n = path_len(dir);
    if (!i)
        return false;
    cb_autofree char *below = cb_asprintf("%.*s%s", (int)CB_MIN(n, (size_t)CB_MAX_PATH), dir, n ? "/" : "");
    /* A rule in front of the last one that matches the directory has lost for all below it. */
    for (size_t k = last_match(i, dir, n); k < i->n; k++) {
        if (i->v[k].include && cb_df_glob_run(&i->v[k].glob, below, strlen(below), CB_DF_GLOB_ALIVE))
            return true;
    }
    return false;
}
