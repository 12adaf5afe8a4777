/* SPDX-License-Identifier: Apache-2.0 */
#include "util/strbuf.h"

#include <assert.h>
#include <stdint.h>

#include "util/alloc.h"

/* Shared by every empty buffer and by all threads: read only, though typed char * for the users' convenience. */
char cb_strbuf_empty[1];

bool cb_slice_eq(struct cb_slice a, const char *b)
{
    return strlen(b) == a.len && memcmp(a.ptr, b, a.len) == 0;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct cb_slice cb_slice_trim(struct cb_slice s)
{
    while (s.len && is_blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

void cb_strbuf_done(struct cb_strbuf *sb)
{
    if (sb->cap)
        free(sb->buf);
    *sb = (struct cb_strbuf)CB_STRBUF_INIT;
}

void cb_strbuf_reserve(struct cb_strbuf *sb, size_t more)
{
    size_t need = SIZE_MAX;
    /* An overflow leaves SIZE_MAX, which no allocator grants: it ends as out of memory. */
    if (__builtin_add_overflow(sb->len, more, &need) || __builtin_add_overflow(need, 1, &need))
        need = SIZE_MAX;
    if (need <= sb->cap)
        return;
    size_t cap = CB_MAX(need, (size_t)32);
    if (sb->cap < SIZE_MAX / 2)
        cap = CB_MAX(cap, sb->cap + sb->cap / 2);
    sb->buf = cb_realloc(sb->cap ? sb->buf : NULL, cap);
    sb->cap = cap;
    sb->buf[sb->len] = '\0';
}

void cb_strbuf_setlen(struct cb_strbuf *sb, size_t len)
{
    if (!sb->cap) {
        assert(len == 0);
        return;
    }
    assert(len < sb->cap);
    sb->len = len;
    sb->buf[len] = '\0';
}

void cb_strbuf_add(struct cb_strbuf *sb, const void *p, size_t n)
{
    if (!n)
        return;
    cb_strbuf_reserve(sb, n);
    memcpy(sb->buf + sb->len, p, n);
    cb_strbuf_setlen(sb, sb->len + n);
}

void cb_strbuf_adds(struct cb_strbuf *sb, const char *s)
{
    cb_strbuf_add(sb, s, strlen(s));
}

void cb_strbuf_addch(struct cb_strbuf *sb, char c)
{
    cb_strbuf_reserve(sb, 1);
    sb->buf[sb->len++] = c;
    sb->buf[sb->len] = '\0';
}

void cb_strbuf_addf(struct cb_strbuf *sb, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cb_strbuf_vaddf(sb, fmt, ap);
    va_end(ap);
}

void cb_strbuf_vaddf(struct cb_strbuf *sb, const char *fmt, va_list ap)
{
    va_list again;
    va_copy(again, ap);
    cb_strbuf_reserve(sb, 64);
    size_t room = sb->cap - sb->len;
    int n = vsnprintf(sb->buf + sb->len, room, fmt, ap);
    assert(n >= 0);
    if ((size_t)n >= room) {
        cb_strbuf_reserve(sb, (size_t)n);
        n = vsnprintf(sb->buf + sb->len, (size_t)n + 1, fmt, again);
    }
    va_end(again);
    sb->len += (size_t)n;
}

char *cb_strbuf_detach(struct cb_strbuf *sb, size_t *len)
{
    if (len)
        *len = sb->len;
    char *s = sb->cap ? sb->buf : cb_strdup("");
    *sb = (struct cb_strbuf)CB_STRBUF_INIT;
    return s;
}

bool cb_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool cb_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

bool cb_streq(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}
