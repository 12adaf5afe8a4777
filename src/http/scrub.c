/* SPDX-License-Identifier: Apache-2.0 */
/* Rule R17, the other way round: what we sent comes back in a body. */
#include <strings.h>

#include "http/private.h"
#include "util/encode.h"

#define SHORTEST 4 /* what is shorter is found everywhere, and hides nothing */

void cb_http_hide(struct cb_strbuf *text, const char *secret, size_t n)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *p = text->buf, *end = text->buf + text->len, *at;
    if (n < SHORTEST)
        return;
    while ((at = memmem(p, (size_t)(end - p), secret, n))) {
        cb_strbuf_add(&out, p, (size_t)(at - p));
        cb_strbuf_adds(&out, "xxxxx");
        p = at + n;
    }
    if (p == text->buf)
        return;
    cb_strbuf_add(&out, p, (size_t)(end - p));
    cb_strbuf_reset(text);
    cb_strbuf_add(text, out.buf, out.len);
}

void cb_http_hide_authorization(struct cb_strbuf *text, const char *value)
{
    struct cb_strbuf pair cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *space = strchr(value, ' '), *secret = space ? space + 1 : value;
    cb_http_hide(text, secret, strlen(secret));
    if (strncasecmp(value, "Basic ", 6) != 0 || !cb_base64_decode(&pair, secret, strlen(secret)))
        return;
    const char *colon = memchr(pair.buf, ':', pair.len);
    if (colon)
        cb_http_hide(text, colon + 1, pair.len - (size_t)(colon + 1 - pair.buf));
    explicit_bzero(pair.buf, pair.len);
}

/* What was given for this host alone may be a key as well. */
void cb_http_scrub(const struct cb_http_reply *r, struct cb_strbuf *text)
{
    static const char name[] = "Authorization: ";
    size_t i = 0;
    for (const struct curl_slist *s = r->t->header_list; s; s = s->next) {
        const char *colon = strchr(s->data, ':');
        if (strncasecmp(s->data, name, sizeof name - 1) == 0)
            cb_http_hide_authorization(text, s->data + sizeof name - 1);
        else if (i++ >= r->t->open_headers && colon && colon[1] == ' ')
            cb_http_hide(text, colon + 2, strlen(colon + 2));
    }
}
