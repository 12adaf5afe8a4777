/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "build/plan_note.h"
#include "util/alloc.h"

void plan_note_words(struct cb_strbuf *out, const struct cb_strvec *words)
{
    cb_strbuf_addch(out, '[');
    for (size_t i = 0; i < words->n; i++)
        cb_strbuf_addf(out, "%s%s", i ? " " : "", words->v[i]);
    cb_strbuf_addch(out, ']');
}

static void quoted_char(struct cb_strbuf *out, unsigned char c)
{
    static const char named[] = "\aa\bb\ff\nn\rr\tt\vv";
    const char *at = c ? memchr(named, c, sizeof named - 1) : NULL;
    if (c == '"' || c == '\\')
        cb_strbuf_addf(out, "\\%c", c);
    else if (at && c < ' ')
        cb_strbuf_addf(out, "\\%c", at[1]);
    else if (c < ' ' || c == 0x7f)
        cb_strbuf_addf(out, "\\x%02x", c);
    else
        cb_strbuf_addch(out, (char)c);
}

void plan_note_quoted(struct cb_strbuf *out, const struct cb_strvec *words)
{
    cb_strbuf_addch(out, '[');
    for (size_t i = 0; i < words->n; i++) {
        cb_strbuf_adds(out, i ? " \"" : "\"");
        for (const char *c = words->v[i]; *c; c++)
            quoted_char(out, (unsigned char)*c);
        cb_strbuf_addch(out, '"');
    }
    cb_strbuf_addch(out, ']');
}

#define NS_SECOND 1000000000LL

/* The fraction without the zeroes at its end. */
static void fraction(struct cb_strbuf *out, int64_t value, int64_t unit, const char *name)
{
    char digits[16];
    int width = unit == NS_SECOND ? 9 : unit == 1000000 ? 6 : 3;
    cb_strbuf_addf(out, "%" PRId64, value / unit);
    if (value % unit) {
        int n = snprintf(digits, sizeof digits, "%0*" PRId64, width, value % unit);
        while (n > 1 && digits[n - 1] == '0')
            n--;
        cb_strbuf_addf(out, ".%.*s", n, digits);
    }
    cb_strbuf_adds(out, name);
}

/* As Go: 1h0m5s, 1.5s, 20ms. */
static void duration(struct cb_strbuf *out, int64_t ns)
{
    int64_t minutes = ns / (60 * NS_SECOND);
    if (ns == 0) {
        cb_strbuf_adds(out, "0s");
        return;
    }
    if (ns < NS_SECOND) {
        fraction(out, ns, 1000000, "ms");
        return;
    }
    if (minutes >= 60)
        cb_strbuf_addf(out, "%" PRId64 "h", minutes / 60);
    if (minutes)
        cb_strbuf_addf(out, "%" PRId64 "m", minutes % 60);
    fraction(out, ns % (60 * NS_SECOND), NS_SECOND, "s");
}

void plan_note_healthcheck(struct cb_strbuf *out, const struct cb_healthcheck *h)
{
    const struct { const char *name; int64_t value; } times[] = {
        { "Interval", h->interval }, { "Timeout", h->timeout }, { "StartPeriod", h->start_period },
        { "StartInterval", h->start_interval },
    };
    cb_strbuf_adds(out, "{Test:");
    plan_note_words(out, &h->test);
    for (size_t i = 0; i < CB_COUNTOF(times); i++) {
        cb_strbuf_addf(out, " %s:", times[i].name);
        duration(out, times[i].value);
    }
    cb_strbuf_addf(out, " Retries:%" PRIu64 "}", h->retries);
}

/* ---- COPY, ADD ---- */

static int add_expanded(struct plan_stage *st, const char *before, const char *text, struct cb_strbuf *out,
                        struct cb_error *err)
{
    cb_autofree char *value = NULL;
    int r = plan_expand(st, text, &value, err);
    if (r == 0 && *value)
        cb_strbuf_addf(out, " %s%s", before, value);
    return r;
}

int plan_note_copy(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *out,
                   struct cb_error *err)
{
    int r = 0;
    if (i->parents)
        cb_strbuf_adds(out, " --parents");
    if (i->chown)
        r = add_expanded(st, "--chown=", i->chown, out, err);
    if (r == 0 && i->chmod)
        r = add_expanded(st, "--chmod=", i->chmod, out, err);
    for (size_t k = 0; r == 0 && k + 1 < i->words.n; k++)
        if (!cb_df_is_heredoc_word(i, k))
            r = add_expanded(st, "", i->words.v[k], out, err);
    for (size_t k = 0; k < i->n_heredocs; k++)
        cb_strbuf_addf(out, " <<%s", i->heredocs[k].name);
    return r < 0 ? r : add_expanded(st, "", i->words.v[i->words.n - 1], out, err);
}
