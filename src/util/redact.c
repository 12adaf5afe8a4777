/* SPDX-License-Identifier: Apache-2.0 */
/* Rule R17: a URL may hold credentials as user information and, presigned, in any value of its query. */
#include "util/alloc.h"
#include "util/strbuf.h"

#define HIDDEN "xxxxx"

static void add_query_redacted(struct cb_strbuf *sb, const char *q, size_t n)
{
    for (size_t i = 0; i < n;) {
        const char *end = memchr(q + i, '&', n - i);
        size_t len = end ? (size_t)(end - q) - i : n - i;
        const char *eq = memchr(q + i, '=', len);
        /* A part without '=' has no name that could be told from a value. */
        size_t name = eq ? (size_t)(eq - q) - i + 1 : 0;
        cb_strbuf_add_sanitized(sb, q + i, name, false);
        if (len > name)
            cb_strbuf_adds(sb, HIDDEN);
        i += len;
        if (i < n) {
            cb_strbuf_addch(sb, '&');
            i++;
        }
    }
}

void cb_strbuf_add_url_redacted(struct cb_strbuf *sb, const char *url)
{
    const char *authority = strstr(url, "://");
    authority = authority ? authority + 3 : cb_starts_with(url, "//") ? url + 2 : NULL;
    const char *rest = url;
    if (authority && strcspn(url, "?#") > (size_t)(authority - url)) {
        size_t n = strcspn(authority, "/?#");
        const char *at = memrchr(authority, '@', n);
        cb_strbuf_add_sanitized(sb, url, (size_t)(authority - url), false);
        if (at)
            cb_strbuf_adds(sb, HIDDEN "@");
        rest = at ? at + 1 : authority;
    }
    size_t path = strcspn(rest, "?#");
    cb_strbuf_add_sanitized(sb, rest, path, false);
    if (rest[path] == '?') {
        cb_strbuf_addch(sb, '?');
        add_query_redacted(sb, rest + path + 1, strcspn(rest + path + 1, "#"));
    }
}

void cb_strbuf_add_text_redacted(struct cb_strbuf *sb, const char *text)
{
    static const char blanks[] = " \t\r\n";
    while (*text) {
        size_t gap = strspn(text, blanks), n = strcspn(text + gap, blanks);
        cb_autofree char *word = cb_strndup(text + gap, n);
        cb_strbuf_add(sb, text, gap);
        const char *fragment = strchr(word, '#'); /* a revision of a repository */
        if (strstr(word, "://")) {
            cb_strbuf_add_url_redacted(sb, word);
            cb_strbuf_add_sanitized(sb, fragment ? fragment : "", fragment ? strlen(fragment) : 0, false);
        } else {
            cb_strbuf_add(sb, word, n);
        }
        text += gap + n;
    }
}
