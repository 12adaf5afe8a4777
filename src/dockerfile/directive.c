/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <ctype.h>

#include "util/alloc.h"

bool cb_df_directive_split(struct cb_slice comment, char *key, size_t keysz, struct cb_slice *value)
{
    struct cb_slice s = cb_slice_trim(comment);
    size_t n = 0;
    while (n < s.len && isalnum((unsigned char)s.ptr[n]))
        n++;
    if (n == 0 || n >= keysz || !isalpha((unsigned char)s.ptr[0]))
        return false;
    for (size_t i = 0; i < n; i++)
        key[i] = (char)tolower((unsigned char)s.ptr[i]);
    key[n] = '\0';
    while (n < s.len && cb_df_is_blank(s.ptr[n]))
        n++;
    if (n == s.len || s.ptr[n] != '=')
        return false;
    *value = cb_slice_trim((struct cb_slice){ s.ptr + n + 1, s.len - n - 1 });
    return value->len > 0;
}

char *cb_df_check_comment(const struct cb_strvec *comments)
{
    for (size_t i = 0; i < comments->n; i++) {
        char key[8];
        struct cb_slice value;
        if (!cb_df_directive_split(CB_SLICE(comments->v[i]), key, sizeof key, &value) || strcmp(key, "check") != 0)
            continue;
        const char *blank = memchr(value.ptr, ' ', value.len);
        return cb_strndup(value.ptr, blank ? (size_t)(blank - value.ptr) : value.len);
    }
    return NULL;
}

/* Two readers walk the top of the file, as in BuildKit: `escape` (and complaints) by one that allows blanks in front of
 * '#', `syntax` and `check` by one that wants '#' in the first column but overlooks a "#!" line. */
struct scan {
    struct cb_df_directives *out;
    bool main_done, pre_done;
    bool seen_escape, seen_syntax, seen_check;
};

static int main_directive(struct scan *s, const char *key, struct cb_slice value, struct cb_error *err)
{
    bool *seen = strcmp(key, "escape") == 0 ? &s->seen_escape
        : strcmp(key, "syntax") == 0 ? &s->seen_syntax : &s->seen_check;
    if (*seen)
        return cb_df_fail(err, "the parser directive %s stands here for the second time: keep one", key);
    *seen = true;
    if (strcmp(key, "escape") != 0)
        return 0;
    if (value.len != 1 || (value.ptr[0] != '\\' && value.ptr[0] != '`'))
        return cb_df_fail(err, "escape=%s: the escape character is \\ or `", CB_DF_SHOWN(value.ptr, value.len));
    s->out->escape = value.ptr[0];
    return 0;
}

static void pre_directive(struct scan *s, const char *key, struct cb_slice value)
{
    const char *blank = memchr(value.ptr, ' ', value.len);
    size_t n = blank ? (size_t)(blank - value.ptr) : value.len;
    if (strcmp(key, "check") == 0 && !s->out->check)
        s->out->check = cb_strndup(value.ptr, n);
    if (strcmp(key, "syntax") == 0 && !s->out->syntax) {
        s->out->syntax = cb_strndup(value.ptr, n);
        s->out->syntax_line = s->out->lines;
    }
}

static int one_line(struct scan *s, struct cb_slice line, struct cb_error *err)
{
    struct cb_slice t = line, value;
    while (t.len > 0 && cb_df_is_blank(t.ptr[0])) {
        t.ptr++;
        t.len--;
    }
    if (line.len == 0 || line.ptr[0] != '#')
        s->pre_done = true;
    char key[8];
    bool known = t.len > 0 && t.ptr[0] == '#' &&
        cb_df_directive_split((struct cb_slice){ t.ptr + 1, t.len - 1 }, key, sizeof key, &value) &&
        (strcmp(key, "escape") == 0 || strcmp(key, "syntax") == 0 || strcmp(key, "check") == 0);
    if (!known) {
        s->main_done = s->pre_done = true;
        return 0;
    }
    s->out->lines++;
    if (!s->pre_done)
        pre_directive(s, key, value);
    return s->main_done ? 0 : main_directive(s, key, value, err);
}

int cb_df_directives_read(struct cb_df_directives *out, const char *text, size_t len, struct cb_error *err)
{
    struct scan s = { .out = out };
    size_t pos = 0;
    *out = (struct cb_df_directives){ .escape = '\\' };
    while (pos < len && !(s.main_done && s.pre_done)) {
        const char *nl = memchr(text + pos, '\n', len - pos);
        size_t n = nl ? (size_t)(nl - text) - pos : len - pos;
        if (pos == 0 && n >= 2 && memcmp(text, "#!", 2) == 0) {
            s.main_done = true;
            out->lines++;
        } else {
            int r = one_line(&s, (struct cb_slice){ text + pos, n }, err);
            if (r < 0)
                return r;
        }
        pos += n + 1;
    }
    return 0;
}
