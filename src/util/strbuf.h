/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A growing byte string, always NUL-terminated (buf is never NULL: it points to "" at first), and a slice, which
 * borrows. Use these; there is no other string building in cbpush. */

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "util/macros.h"

struct cb_slice {
    const char *ptr;
    size_t len;
};

#define CB_SLICE(s) ((struct cb_slice){ (s), strlen(s) })
bool cb_slice_eq(struct cb_slice a, const char *b);
struct cb_slice cb_slice_trim(struct cb_slice s); /* blanks, tabs, CR, LF at both ends */

struct cb_strbuf {
    char *buf;
    size_t len;
    size_t cap;
};

extern char cb_strbuf_empty[];
#define CB_STRBUF_INIT { .buf = cb_strbuf_empty }
void cb_strbuf_done(struct cb_strbuf *sb); /* frees and makes it empty again */
#define cb_cleanup_strbuf CB_CLEANUP(cb_strbuf_done)

void cb_strbuf_add(struct cb_strbuf *sb, const void *p, size_t n);
void cb_strbuf_adds(struct cb_strbuf *sb, const char *s);
void cb_strbuf_addch(struct cb_strbuf *sb, char c);
void cb_strbuf_addf(struct cb_strbuf *sb, const char *fmt, ...) CB_PRINTF(2, 3);
void cb_strbuf_vaddf(struct cb_strbuf *sb, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void cb_strbuf_reserve(struct cb_strbuf *sb, size_t more); /* room for `more` bytes and the NUL behind len */
void cb_strbuf_setlen(struct cb_strbuf *sb, size_t len);   /* len ≤ what was reserved or is there */
static inline CB_UNUSED void cb_strbuf_reset(struct cb_strbuf *sb)
{
    if (sb->len)
        cb_strbuf_setlen(sb, 0);
}
char *cb_strbuf_detach(struct cb_strbuf *sb, size_t *len); /* owned by the caller; len may be NULL */

bool cb_starts_with(const char *s, const char *prefix);
bool cb_ends_with(const char *s, const char *suffix);
bool cb_streq(const char *a, const char *b); /* NULL equals only NULL */
/* The next field of a CSV record, which may be in double quotes, replaces what is in out. Returns the rest; NULL where
 * a quote does not end. */
const char *cb_csv_next(const char *p, struct cb_strbuf *out);

/* "12.3MB" in decimal units with two digits, as docker prints sizes: 0B 512B 3.15MB 29.78MB. */
void cb_strbuf_add_size(struct cb_strbuf *sb, unsigned long long bytes);
/* Text from outside made safe for a terminal: controls, ESC, C1, bidi overrides and invalid UTF-8 become \xNN or
 * \u{NNNN}; '\t' stays, '\n' stays only if keep_newline. Rule R18. */
void cb_strbuf_add_sanitized(struct cb_strbuf *sb, const char *p, size_t n, bool keep_newline);
/* For every message, log and trace: user information and values of the query are replaced (R17). */
void cb_strbuf_add_url_redacted(struct cb_strbuf *sb, const char *url);
/* The same for every URL that stands in a text as a word of its own or at the end of one. */
void cb_strbuf_add_text_redacted(struct cb_strbuf *sb, const char *text);
