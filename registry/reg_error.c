/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <stdarg.h>
#include <strings.h>

#include "oci/json.h"
#include "registry/private.h"
#include "util/alloc.h"

#define MAX_WORDS 300

static enum cb_code code_of(unsigned status)
{
    switch (status) {
    case 401:
    case 403:
        return CB_EAUTH;
    case 404:
        return CB_ENOTFOUND;
    default:
        return CB_ENET;
    }
}

static void add_capped(struct cb_strbuf *out, const char *text, size_t n)
{
    cb_strbuf_add_sanitized(out, text, CB_MIN(n, (size_t)MAX_WORDS), false);
}

/* Which blob it is that a manifest names and the repository lacks; what else registries put there is for themselves. */
static void add_digest(struct cb_strbuf *out, const json_t *detail)
{
    const char *text = json_string_value(detail);
    struct cb_digest d;
    if (text && cb_digest_parse(&d, text, NULL) == 0)
        cb_strbuf_addf(out, " (%s)", text);
}

static void add_error(struct cb_strbuf *out, const json_t *e)
{
    const char *code = json_string_value(json_object_get(e, "code"));
    const char *message = json_string_value(json_object_get(e, "message"));
    bool has_code = code && *code, has_message = message && *message;
    cb_strbuf_adds(out, out->len && (has_code || has_message) ? "; " : "");
    if (has_code)
        add_capped(out, code, CB_MIN(strlen(code), (size_t)64));
    cb_strbuf_adds(out, has_code && has_message ? ": " : "");
    if (has_message)
        add_capped(out, message, strlen(message));
    add_digest(out, json_object_get(e, "detail"));
}

/* distribution-spec "Error Codes": {"errors":[{"code","message","detail"}]} */
static void add_errors(struct cb_strbuf *out, const json_t *root)
{
    const json_t *list = json_object_get(root, "errors");
    for (size_t i = 0; i < json_array_size(list) && i < 3; i++)
        add_error(out, json_array_get(list, i));
}

/* Runs of blanks become one; of a page of HTML only what is between the tags stays. */
static void flatten(struct cb_strbuf *out, const char *p, size_t n, bool html)
{
    bool tag = false;
    for (size_t i = 0; i < n && out->len < MAX_WORDS; i++) {
        if (html && p[i] == '<')
            tag = true;
        bool blank = tag || isspace((unsigned char)p[i]);
        if (html && p[i] == '>')
            tag = false;
        if (!blank)
            cb_strbuf_addch(out, p[i]);
        else if (out->len && out->buf[out->len - 1] != ' ')
            cb_strbuf_addch(out, ' ');
    }
    while (out->len && out->buf[out->len - 1] == ' ')
        cb_strbuf_setlen(out, out->len - 1);
}

/* An error page says what it is in its title, and then at length. */
static void add_page(struct cb_strbuf *out, const struct cb_strbuf *body)
{
    struct cb_strbuf flat cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *title = strcasestr(body->buf, "<title>"), *end = title ? strcasestr(title, "</title>") : NULL;
    bool html = body->buf[strspn(body->buf, " \t\r\n")] == '<';
    if (html && end)
        flatten(&flat, title + 7, (size_t)(end - title) - 7, true);
    if (!flat.len)
        flatten(&flat, body->buf, body->len, html);
    add_capped(out, flat.buf, flat.len);
}

void reg_reply_words(struct cb_http_reply *reply, struct cb_strbuf *out)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_http_slurp(reply, &body, NULL) < 0 || !body.len)
        return;
    cb_http_scrub(reply, &body);
    cb_autojson json_t *root = cb_json_parse(body.buf, body.len, NULL);
    if (root)
        add_errors(out, root);
    if (!out->len)
        add_page(out, &body);
}

int reg_reply_error(struct cb_http_reply *reply, struct cb_error *err, const char *fmt, ...)
{
    struct cb_strbuf what cb_cleanup_strbuf = CB_STRBUF_INIT, said cb_cleanup_strbuf = CB_STRBUF_INIT;
    unsigned status = cb_http_status(reply);
    va_list ap;
    va_start(ap, fmt);
    cb_strbuf_vaddf(&what, fmt, ap);
    va_end(ap);
    reg_reply_words(reply, &said);
    int r = cb_error_set(err, code_of(status), "%s: status %u%s%s", what.buf, status, said.len ? ": " : "", said.buf);
    if (err)
        err->http_status = (int)status;
    return r;
}
