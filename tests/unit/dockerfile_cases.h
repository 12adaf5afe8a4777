/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Reads $CB_TEST_DATA/<dir>/<any>.test. A file holds cases:
 *
 *     === title
 *     input
 *     ---
 *     what is expected
 *
 * Where the title ends with [esc], \r \n \t \\ and \xNN in the input are decoded and the input's last line end is
 * dropped. */

#include <dirent.h>
#include <stdio.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/strvec.h"

struct test_case {
    const char *file, *title;
    const char *input, *expected;
    size_t input_len;
};
typedef void test_case_fn(const struct test_case *c, void *arg);

static inline unsigned hex_digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10) & 15;
}

static inline size_t decode_escapes(char *s)
{
    char *o = s;
    for (const char *p = s; *p; p++) {
        if (*p != '\\' || !p[1]) {
            *o++ = *p;
            continue;
        }
        p++;
        if (*p == 'x' && p[1] && p[2]) {
            *o++ = (char)(hex_digit(p[1]) * 16 + hex_digit(p[2]));
            p += 2;
        } else {
            *o++ = *p == 'n' ? '\n' : *p == 'r' ? '\r' : *p == 't' ? '\t' : *p;
        }
    }
    if (o > s && o[-1] == '\n')
        o--;
    *o = '\0';
    return (size_t)(o - s);
}

/* s begins behind "=== ". Returns the next case or NULL. */
static inline char *run_case(const char *file, char *s, test_case_fn *fn, void *arg)
{
    char *next = strstr(s, "\n=== "), *nl = strchr(s, '\n'), *sep = strstr(s, "\n---\n");
    if (next)
        *next = '\0';
    if (!nl || !sep || (next && sep > next)) {
        fprintf(stderr, "%s: a case has no ---: %.60s\n", file, s);
        abort();
    }
    bool nothing = next == sep + 4; /* is expected: its line end is that of --- */
    cb_autofree char *expected = nothing ? cb_strdup("") : cb_asprintf("%s%s", sep + 5, next ? "\n" : "");
    *nl = '\0';
    sep[sep > nl] = '\0';
    char *input = sep == nl ? sep : nl + 1;
    bool esc = cb_ends_with(s, " [esc]");
    size_t len = esc ? decode_escapes(input) : strlen(input);
    struct test_case c = { file, s, input, expected, len };
    fn(&c, arg);
    return next ? next + 5 : NULL;
}

static inline void each_case(const char *dir, test_case_fn *fn, void *arg)
{
    cb_autofree char *path = cb_asprintf("%s/%s", getenv("CB_TEST_DATA") ? getenv("CB_TEST_DATA") : "tests/data", dir);
    cb_cleanup_strvec struct cb_strvec names = CB_STRVEC_INIT;
    DIR *d = opendir(path);
    if (!d)
        abort();
    for (struct dirent *e; (e = readdir(d));) {
        if (cb_ends_with(e->d_name, ".test"))
            cb_strvec_push(&names, e->d_name);
    }
    closedir(d);
    cb_strvec_sort(&names);
    for (size_t i = 0; i < names.n; i++) {
        cb_autofree char *file = cb_asprintf("%s/%s", path, names.v[i]);
        cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
        if (cb_file_slurp(file, 1 << 24, &text, NULL) < 0 || strncmp(text.buf, "=== ", 4) != 0)
            abort();
        for (char *s = text.buf + 4; s;)
            s = run_case(names.v[i], s, fn, arg);
    }
}
