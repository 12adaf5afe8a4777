/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <stdio.h>

#include "util/alloc.h"
#include "util/utf8.h"

/* Room for the closing quote and an ellipsis stays behind this. */
#define SHOWN_MAX 120

const char *cb_df_show(struct cb_df_shown *to, const char *s, size_t n)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&sb, s, CB_MIN(n, (size_t)SHOWN_MAX), false);
    bool cut = n > SHOWN_MAX || sb.len > SHOWN_MAX;
    size_t len = CB_MIN(sb.len, (size_t)SHOWN_MAX);
    while (cut && len > 0 && ((unsigned char)sb.buf[len] & 0xc0) == 0x80)
        len--;
    snprintf(to->text, sizeof to->text, "\"%.*s%s\"", (int)len, sb.buf, cut ? "…" : "");
    return to->text;
}

int cb_df_fail(struct cb_error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *text = cb_vasprintf(fmt, ap);
    va_end(ap);
    (void)cb_error_set(err, CB_ECONF, "%s", text);
    return -CB_ECONF;
}

int cb_df_fail_suggest(struct cb_error *err, char *what, const char *word, const char *const *candidates)
{
    cb_autofree char *owned = what;
    const char *best = cb_df_suggest(word, candidates);
    if (best)
        return cb_df_fail(err, "%s (did you mean %s?)", owned, best);
    cb_cleanup_strbuf struct cb_strbuf list = CB_STRBUF_INIT;
    for (size_t i = 0; candidates[i]; i++) {
        if (i > 0)
            cb_strbuf_adds(&list, candidates[i + 1] ? ", " : " or ");
        cb_strbuf_adds(&list, candidates[i]);
    }
    return cb_df_fail(err, "%s: use %s", owned, list.buf);
}

void cb_df_warn(struct cb_df_warnings *w, struct cb_df_span span, const char *rule, const char *fmt, ...)
{
    if (!w || w->n > CB_DF_MAX_WARNINGS)
        return;
    CB_GROW(w->v, w->n, w->cap);
    struct cb_df_warning *x = &w->v[w->n++];
    *x = (struct cb_df_warning){ .span = span };
    if (w->n > CB_DF_MAX_WARNINGS) {
        x->rule = cb_strdup("");
        x->text = cb_strdup("there are more warnings than are listed here");
        return;
    }
    va_list ap;
    va_start(ap, fmt);
    x->rule = cb_strdup(rule);
    x->text = cb_vasprintf(fmt, ap);
    va_end(ap);
}

char *cb_df_warning_text(const struct cb_df_warning *w)
{
    return cb_asprintf("%s%s%s (line %u)", w->rule, *w->rule ? ": " : "", w->text, w->span.first);
}
