/* SPDX-License-Identifier: Apache-2.0 */
/* A text with variables. */
#include "dockerfile/dockerfile.h"
#include "tests/fuzz/fuzz.h"

static const char *fuzz_lookup(void *arg, const char *name)
{
    (void)arg;
    static const char *const values[] = { NULL, "", "a b", "1.2.3", "*?\\[", "/usr/\xc3\xa9/x*" };
    return values[(unsigned char)name[0] % CB_COUNTOF(values)];
}

static void fuzz_seen(void *arg, const char *name, bool set)
{
    if (set != (fuzz_lookup(arg, name) != NULL))
        abort();
    ++*(size_t *)arg;
}

static void expand_text(const char *text, char escape)
{
    size_t seen = 0, again = 0;
    struct cb_df_scope scope = { .lookup = fuzz_lookup, .escape = escape };
    struct cb_df_scope watched = { .lookup = fuzz_lookup, .escape = escape, .seen = fuzz_seen, .arg = &seen };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT, same = CB_STRBUF_INIT, raw = CB_STRBUF_INIT;
    cb_cleanup_strvec struct cb_strvec words = CB_STRVEC_INIT;
    int r = cb_df_expand(&out, text, &scope, NULL), w = cb_df_expand(&same, text, &watched, NULL);
    if (r != w || out.len != same.len || (out.len && memcmp(out.buf, same.buf, out.len) != 0) || (r < 0 && out.len))
        abort(); /* who watches changes nothing */
    watched.arg = &again;
    (void)!cb_df_expand_raw(&raw, text, &watched, NULL);
    (void)!cb_df_expand_words(&words, text, &scope, NULL);
    for (size_t i = 0; i < words.n; i++)
        if (!*words.v[i])
            abort();
}

FUZZ_TARGET(expand)
{
    (void)len;
    expand_text(text, '\\');
    expand_text(text, '`');
}
