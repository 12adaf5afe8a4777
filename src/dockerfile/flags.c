/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <strings.h>

#include "util/alloc.h"

#define MAX_FLAGS 16 /* in one table */

/* One word with quotes and escapes resolved. */
static int flag_word(const char **ps, char escape, struct cb_strbuf *word, struct cb_error *err)
{
    const char *s = *ps;
    char quote = 0;
    for (; *s && (quote || !cb_df_is_blank(*s)); s++) {
        if (quote ? *s == quote : *s == '\'' || *s == '"')
            quote = quote ? 0 : *s;
        else if (*s != escape)
            cb_strbuf_addch(word, *s);
        else if (s[1])
            cb_strbuf_addch(word, *++s);
    }
    if (quote)
        return cb_df_fail(err, "%s: the quote %c is not closed", CB_DF_SHOW(*ps), quote);
    *ps = s;
    return 0;
}

int cb_df_flags_extract(const char **rest, char escape, struct cb_strvec *flags, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf word = CB_STRBUF_INIT;
    for (;;) {
        while (cb_df_is_blank(**rest))
            (*rest)++;
        if (strncmp(*rest, "--", 2) != 0)
            return 0;
        cb_strbuf_reset(&word);
        int r = flag_word(rest, escape, &word, err);
        if (r < 0)
            return r;
        if (strcmp(word.buf, "--") != 0) {
            cb_strvec_push(flags, word.buf);
            continue;
        }
        while (cb_df_is_blank(**rest))
            (*rest)++;
        return 0;
    }
}

static int unknown_flag(const char *kind, const struct cb_df_flag *table, const char *flag, size_t n,
                        struct cb_error *err)
{
    const char *names[MAX_FLAGS + 1] = { NULL };
    if (!table)
        return cb_df_fail(err, "%s takes no flags, but %s looks like one: put -- in front of the arguments", kind,
                          CB_DF_SHOWN(flag, n));
    cb_cleanup_strvec struct cb_strvec dashed = CB_STRVEC_INIT;
    for (size_t i = 0; table[i].name && i < MAX_FLAGS; i++)
        cb_strvec_pushf(&dashed, "--%s", table[i].name);
    for (size_t i = 0; i < dashed.n; i++)
        names[i] = dashed.v[i];
    cb_autofree char *word = cb_strndup(flag, n);
    return cb_df_fail_suggest(err, cb_asprintf("unknown flag %s for %s", CB_DF_SHOW(word), kind), word, names);
}

static int apply_bool(struct cb_df_instruction *i, const struct cb_df_flag *f, const char *value, struct cb_error *err)
{
    if (!value || strcasecmp(value, "true") == 0)
        return f->set(i, "true", err);
    if (strcasecmp(value, "false") == 0)
        return f->set(i, "false", err);
    return cb_df_fail(err, "flag --%s is true or false, not %s", f->name, CB_DF_SHOW(value));
}

static int apply(struct cb_df_instruction *i, const struct cb_df_flag *table, const char *flag, unsigned *seen,
                 struct cb_error *err)
{
    size_t n = 2 + strcspn(flag + 2, "=");
    const char *value = flag[n] ? flag + n + 1 : NULL;
    const char *kind = cb_df_kind_name(i->kind);
    const struct cb_df_flag *f = table;
    while (f && f->name && (strlen(f->name) != n - 2 || memcmp(f->name, flag + 2, n - 2) != 0))
        f++;
    if (!f || !f->name)
        return unknown_flag(kind, table, flag, n, err);
    unsigned bit = 1u << (f - table);
    if ((*seen & bit) && f->type != CB_DF_FLAG_LIST)
        return cb_df_fail(err, "flag --%s is given twice for %s: keep one", f->name, kind);
    *seen |= bit;
    if (f->type == CB_DF_FLAG_BOOL)
        return apply_bool(i, f, value, err);
    if (!value)
        return cb_df_fail(err, "flag --%s needs a value: --%s=…", f->name, f->name);
    return f->set(i, value, err);
}

int cb_df_flags_apply(struct cb_df_instruction *i, const struct cb_df_flag *table, const struct cb_strvec *flags,
                      struct cb_error *err)
{
    unsigned seen = 0;
    for (size_t k = 0; k < flags->n; k++) {
        int r = apply(i, table, flags->v[k], &seen, err);
        if (r < 0)
            return r;
    }
    return 0;
}
