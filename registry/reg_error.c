/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "oci/json.h"
#include "registry/private.h"
#include "util/alloc.h"
#include "util/limits.h"

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

/* distribution-spec "Error Codes": {"errors":[{"code","message","detail"}]} */
static void add_errors(struct cb_strbuf *out, const json_t *root)
{
    const json_t *list = json_object_get(root, "errors");
    for (size_t i = 0; i < json_array_size(list) && i < 3; i++) {
        const json_t *e = json_array_get(list, i);
        const char *code = json_string_value(json_object_get(e, "code"));
        const char *message = json_string_value(json_object_get(e, "message"));
        cb_strbuf_adds(out, out->len ? "; " : "");
        if (code)
            cb_strbuf_add_sanitized(out, code, CB_MIN(strlen(code), (size_t)64), false);
        if (message && *message) {
            cb_strbuf_adds(out, code ? ": " : "");
            cb_strbuf_add_sanitized(out, message, CB_MIN(strlen(message), (size_t)400), false);
        }
    }
}

static void describe(struct cb_http_reply *reply, struct cb_strbuf *out)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_http_slurp(reply, &body, NULL) < 0 || !body.len)
        return;
    cb_autojson json_t *root = cb_json_parse(body.buf, body.len, NULL);
    if (root)
        add_errors(out, root);
    if (!out->len)
        cb_strbuf_add_sanitized(out, body.buf, CB_MIN(body.len, (size_t)200), false);
}

int reg_reply_error(struct cb_http_reply *reply, struct cb_error *err, const char *fmt, ...)
{
    struct cb_strbuf what cb_cleanup_strbuf = CB_STRBUF_INIT, said cb_cleanup_strbuf = CB_STRBUF_INIT;
    unsigned status = cb_http_status(reply);
    va_list ap;
    va_start(ap, fmt);
    cb_strbuf_vaddf(&what, fmt, ap);
    va_end(ap);
    describe(reply, &said);
    int r = cb_error_set(err, code_of(status), "%s: status %u%s%s", what.buf, status, said.len ? ": " : "", said.buf);
    if (err)
        err->http_status = (int)status;
    return r;
}
