/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/copy_report.h"

#include <stdio.h>

#include "oci/json.h"

void cb_copied_done(struct cb_copied *c)
{
    free(c->source);
    free(c->target);
    cb_copy_result_done(&c->result);
}

static void put_digest(json_t *o, const char *key, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_json_put(o, key, json_string(cb_digest_text(d, text)));
}

static json_t *image_json(const struct cb_copied *c)
{
    static const char *const words[] = { "copied", "current", "kept" };
    const struct cb_copy_result *r = &c->result;
    json_t *o = json_object();
    cb_json_put(o, "source", cb_json_string(c->source));
    cb_json_put(o, "target", cb_json_string(c->target));
    cb_json_put(o, "outcome", json_string(words[r->outcome]));
    put_digest(o, "digest", &r->to.digest);
    cb_json_put_string(o, "mediaType", r->to.media_type);
    if (!cb_digest_eq(&r->from.digest, &r->to.digest))
        put_digest(o, "sourceDigest", &r->from.digest);
    if (r->made && r->outcome != CB_COPY_KEPT)
        cb_json_put(o, "manifestMade", json_true());
    cb_json_put(o, "referrers", cb_json_from_strvec(&r->referrers));
    return o;
}

static json_t *blob_json(const struct cb_push_result *b)
{
    static const char *const words[] = { "present", "mounted", "uploaded", "copied" };
    json_t *o = json_object();
    put_digest(o, "digest", &b->digest);
    cb_json_put(o, "size", json_integer((json_int_t)b->size));
    cb_json_put(o, "outcome", json_string(words[b->outcome]));
    cb_json_put(o, "sent", json_integer((json_int_t)b->sent));
    cb_json_put_string(o, "mountedFrom", b->mounted_from);
    return o;
}

void cb_copy_print_json(const struct cb_copied *v, size_t n, struct cb_copy_target *t)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_push_result *blobs = NULL;
    cb_autojson json_t *o = json_object();
    json_t *images = json_array(), *list = json_array();
    uint64_t sent = 0;
    size_t n_blobs = cb_copy_target_blobs(t, &blobs);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(images, image_json(&v[i]));
    for (size_t i = 0; i < n_blobs; i++) {
        json_array_append_new(list, blob_json(&blobs[i]));
        sent += blobs[i].sent;
    }
    cb_json_put(o, "images", images);
    cb_json_put(o, "blobs", list);
    cb_json_put(o, "bytesSent", json_integer((json_int_t)sent));
    cb_json_print_pretty(&text, o);
    fputs(text.buf, stdout);
}
