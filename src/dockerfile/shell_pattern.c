/* SPDX-License-Identifier: Apache-2.0 */
/* The patterns of ${v#p}, ${v%p} and ${v/p/r}. A pattern is cut at its stars into segments of fixed shape. What comes
 * between two stars may always be taken at its first (or last) occurrence, so nothing is ever tried twice. */
#include "dockerfile/internal.h"

#include "util/alloc.h"
#include "util/utf8.h"

struct unit {
    char c;
    bool any; /* `?`: one character, whatever its length */
};

struct segment {
    size_t from, to; /* units */
};

struct cb_df_shell_pattern {
    struct unit *units;
    size_t n_units;
    struct segment *seg; /* one more than there are stars */
    size_t n_seg;
};

size_t cb_df_char_len(const char *p, size_t n)
{
    uint32_t cp;
    size_t len = (unsigned char)p[0] < 0x80 ? 1 : cb_utf8_decode(p, n, &cp);
    return len ? len : 1;
}

/* Where the character that ends at `end` begins. */
static size_t char_before(struct cb_slice v, size_t end)
{
    for (size_t back = 2; back <= 4 && back <= end; back++) {
        if (cb_df_char_len(v.ptr + end - back, back) == back)
            return end - back;
    }
    return end - 1;
}

void cb_df_shell_pattern_free(struct cb_df_shell_pattern *p)
{
    if (!p)
        return;
    free(p->units);
    free(p->seg);
    free(p);
}

static int escaped(struct cb_df_shell_pattern *p, const char *s, char escape, struct cb_error *err)
{
    if (!*s || !strchr("*?}/", *s)) {
        if (*s != escape)
            return cb_df_fail(err, "pattern: %c in front of %s is no escape; only *, ?, }, / and %c can be escaped",
                              escape, CB_DF_SHOWN(s, *s ? cb_df_char_len(s, strnlen(s, 4)) : 0), escape);
    }
    p->units[p->n_units++] = (struct unit){ .c = *s };
    return 0;
}

static int compile(struct cb_df_shell_pattern *p, const char *s, char escape, struct cb_error *err)
{
    for (; *s; s++) {
        if (*s == '*') {
            p->seg[p->n_seg++].to = p->n_units;
            p->seg[p->n_seg].from = p->n_units;
        } else if (*s == escape) {
            int r = escaped(p, ++s, escape, err);
            if (r < 0)
                return r;
        } else {
            p->units[p->n_units++] = (struct unit){ .c = *s, .any = *s == '?' };
        }
    }
    p->seg[p->n_seg++].to = p->n_units;
    return 0;
}

struct cb_df_shell_pattern *cb_df_shell_pattern_new(const char *text, char escape, struct cb_error *err)
{
    CB_AUTO(cb_df_shell_pattern_free) struct cb_df_shell_pattern *p = CB_NEW(struct cb_df_shell_pattern);
    size_t n = strlen(text);
    if (n > CB_DF_MAX_SHELL_PATTERN) {
        (void)cb_df_fail(err, "pattern of %zu bytes: at most %d", n, CB_DF_MAX_SHELL_PATTERN);
        return NULL;
    }
    p->units = cb_calloc(n + 1, sizeof *p->units);
    p->seg = cb_calloc(n + 1, sizeof *p->seg);
    return compile(p, text, escape, err) < 0 ? NULL : CB_TAKE(p);
}

/* Behind segment k if it stands at pos. */
static size_t at(const struct cb_df_shell_pattern *p, size_t k, struct cb_slice v, size_t pos)
{
    for (size_t u = p->seg[k].from; u < p->seg[k].to; u++) {
        if (pos >= v.len || (!p->units[u].any && p->units[u].c != v.ptr[pos]))
            return CB_DF_NO_MATCH;
        pos += p->units[u].any ? cb_df_char_len(v.ptr + pos, v.len - pos) : 1;
    }
    return pos;
}

/* In front of segment k if it ends at `end`. */
static size_t at_back(const struct cb_df_shell_pattern *p, size_t k, struct cb_slice v, size_t end)
{
    for (size_t u = p->seg[k].to; u-- > p->seg[k].from;) {
        if (end == 0 || (!p->units[u].any && p->units[u].c != v.ptr[end - 1]))
            return CB_DF_NO_MATCH;
        end = p->units[u].any ? char_before(v, end) : end - 1;
    }
    return end;
}

static size_t first(const struct cb_df_shell_pattern *p, size_t k, struct cb_slice v, size_t pos, size_t *end)
{
    for (; (*end = at(p, k, v, pos)) == CB_DF_NO_MATCH; pos += cb_df_char_len(v.ptr + pos, v.len - pos)) {
        if (pos >= v.len)
            return CB_DF_NO_MATCH;
    }
    return pos;
}

/* The last occurrence of segment k between from and end; *stop is behind it. */
static size_t last(const struct cb_df_shell_pattern *p, size_t k, struct cb_slice v, size_t from, size_t *stop)
{
    for (size_t end = *stop; end >= from; end = char_before(v, end)) {
        size_t start = at_back(p, k, v, end);
        if (start != CB_DF_NO_MATCH && start >= from) {
            *stop = end;
            return start;
        }
        if (end == 0)
            break;
    }
    return CB_DF_NO_MATCH;
}

/* Segments k … to-1 one behind the other, each at its first place. */
static size_t chain(const struct cb_df_shell_pattern *p, size_t k, size_t to, struct cb_slice v, size_t pos)
{
    for (; k < to; k++) {
        if (first(p, k, v, pos, &pos) == CB_DF_NO_MATCH)
            return CB_DF_NO_MATCH;
    }
    return pos;
}

/* What follows segment 0, which ended at pos, as far to the right as it can end. */
static size_t longest_tail(const struct cb_df_shell_pattern *p, struct cb_slice v, size_t pos)
{
    size_t stop = v.len;
    if (p->n_seg == 1)
        return pos;
    pos = chain(p, 1, p->n_seg - 1, v, pos);
    if (pos == CB_DF_NO_MATCH || last(p, p->n_seg - 1, v, pos, &stop) == CB_DF_NO_MATCH)
        return CB_DF_NO_MATCH;
    return stop;
}

size_t cb_df_shell_prefix(const struct cb_df_shell_pattern *p, struct cb_slice v, bool longest)
{
    size_t end = at(p, 0, v, 0);
    if (end == CB_DF_NO_MATCH)
        return end;
    return longest ? longest_tail(p, v, end) : chain(p, 1, p->n_seg, v, end);
}

size_t cb_df_shell_suffix(const struct cb_df_shell_pattern *p, struct cb_slice v, bool longest)
{
    size_t start = at_back(p, p->n_seg - 1, v, v.len), end;
    if (start == CB_DF_NO_MATCH || p->n_seg == 1)
        return start;
    for (size_t k = p->n_seg - 1; k-- > (longest ? 1 : 0);) {
        size_t stop = start;
        if ((start = last(p, k, v, 0, &stop)) == CB_DF_NO_MATCH)
            return start;
    }
    if (!longest)
        return start;
    size_t begin = first(p, 0, v, 0, &end);
    return begin != CB_DF_NO_MATCH && end <= start ? begin : CB_DF_NO_MATCH;
}

bool cb_df_shell_find(const struct cb_df_shell_pattern *p, struct cb_slice v, size_t from, struct cb_slice *match)
{
    size_t end, begin = first(p, 0, v, from, &end);
    if (begin == CB_DF_NO_MATCH || (end = longest_tail(p, v, end)) == CB_DF_NO_MATCH)
        return false;
    *match = (struct cb_slice){ v.ptr + begin, end - begin };
    return true;
}
