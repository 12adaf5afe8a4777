/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/private.h"
#include "util/alloc.h"
#include "util/encode.h"

/* base64url of RFC 4648, without padding. */
static json_t *decode_part(const char *text, size_t n)
{
    struct cb_strbuf bytes cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *b64 = cb_strndup(text, n);
    for (char *p = b64; *p; p++)
        *p = *p == '-' ? '+' : *p == '_' ? '/' : *p;
    return cb_base64_decode(&bytes, b64, n) ? cb_json_parse(bytes.buf, bytes.len, NULL) : NULL;
}

static json_t *scope_of(const json_t *one)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *type = json_string_value(json_object_get(one, "type")),
               *name = json_string_value(json_object_get(one, "name"));
    const json_t *actions = json_object_get(one, "actions");
    if (!type || !name || !json_is_array(actions))
        return NULL;
    cb_strbuf_addf(&sb, "%s:%s:", type, name);
    for (size_t i = 0; i < json_array_size(actions); i++) {
        const char *action = json_string_value(json_array_get(actions, i));
        if (action)
            cb_strbuf_addf(&sb, "%s%s", i ? "," : "", action);
    }
    return cb_json_string(sb.buf);
}

json_t *auth_jwt_access(const char *token)
{
    const char *first = strchr(token, '.'), *second = first ? strchr(first + 1, '.') : NULL;
    if (!second || strchr(second + 1, '.'))
        return NULL;
    cb_autojson json_t *claims = decode_part(first + 1, (size_t)(second - first - 1));
    const json_t *access = json_object_get(claims, "access");
    if (!json_is_array(access))
        return NULL;
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(access); i++) {
        json_t *scope = scope_of(json_array_get(access, i));
        if (scope)
            json_array_append_new(out, scope);
    }
    return out;
}
