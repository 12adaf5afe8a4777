/* SPDX-License-Identifier: Apache-2.0 */
#include "edit/private.h"
#include "oci/json.h"
#include "util/encode.h"

static bool is_content(const struct cb_descriptor *d, const json_t *data)
{
    struct cb_strbuf bytes cb_cleanup_strbuf = CB_STRBUF_INIT;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(d->digest.alg);
    struct cb_digest is;
    if (!json_is_string(data) || !cb_base64_decode(&bytes, json_string_value(data), json_string_length(data)))
        return false;
    cb_hasher_update(h, bytes.buf, bytes.len);
    cb_hasher_finish(h, &is);
    return bytes.len == d->size && cb_digest_eq(&is, &d->digest);
}

static int check_one(const json_t *o, const char *member, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    const json_t *data = json_object_get(o, "data");
    int r = data ? cb_descriptor_from_json(&d, o, err) : 0;
    if (r == 0 && data && !is_content(&d, data))
        r = cb_error_set(err, CB_EVERIFY, "the data of %s %s is not what digest and size say", member,
                         cb_digest_text(&d.digest, text));
    return r;
}

int cb_edit_check_data(const struct cb_strbuf *body, struct cb_error *err)
{
    static const char *const members[] = { "config", "subject", "layers", "manifests" };
    cb_autojson json_t *o = cb_json_parse(body->buf, body->len, err);
    int r = o ? 0 : -CB_EVERIFY;
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(members); i++) {
        const json_t *v = json_object_get(o, members[i]);
        for (size_t k = 0; r == 0 && k < json_array_size(v); k++)
            r = check_one(json_array_get(v, k), members[i], err);
        if (r == 0 && json_is_object(v))
            r = check_one(v, members[i], err);
    }
    return r;
}
