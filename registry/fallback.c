/* SPDX-License-Identifier: Apache-2.0 */
/* distribution-spec "Referrers Tag Schema": where a registry keeps no list of referrers, its clients keep one under a
 * tag that is made of the subject's digest. */
#include <stdio.h>

#include "oci/mediatype.h"
#include "registry/private.h"
#include "util/alloc.h"
#include "util/random.h"

#define MAX_EDITS 8
#define PAUSE_NS INT64_C(50000000)
#define MAX_HEX 64 /* of the digest in the tag; the algorithms we know are shorter than their 32 */

/* ---- what a manifest refers to ---- */

void reg_referrer_done(struct reg_referrer *x)
{
    cb_descriptor_done(&x->subject);
    json_decref(x->entry);
    *x = (struct reg_referrer){ 0 };
}

/* The type of an artifact is its own or, of an image manifest, that of its config. */
static int artifact_type(const json_t *o, char **out, struct cb_error *err)
{
    const char *type = NULL;
    const json_t *config = NULL;
    int s = cb_json_get_string(o, "artifactType", &type, err);
    if (s == 0 && !(type && *type)) {
        s = cb_json_get_object(o, "config", &config, err);
        if (s == 0 && config)
            s = cb_json_get_string(config, "mediaType", &type, err);
    }
    if (s == 0)
        *out = cb_strdup_or_null(type && *type ? type : NULL);
    return s;
}

static int read_referrer(struct reg_referrer *x, const json_t *o, const struct cb_descriptor *desc,
                         struct cb_error *err)
{
    struct cb_descriptor entry cb_cleanup_descriptor = { 0 };
    const json_t *subject = NULL;
    int s = cb_json_get_object(o, "subject", &subject, err);
    if (s < 0 || !subject)
        return s;
    s = cb_descriptor_from_json(&x->subject, subject, err);
    if (s < 0) {
        cb_error_wrap(err, "subject");
        return s;
    }
    entry.media_type = cb_strdup(desc->media_type);
    entry.digest = desc->digest;
    entry.size = desc->size;
    if ((s = artifact_type(o, &entry.artifact_type, err)) < 0 ||
        (s = cb_json_get_strmap(o, "annotations", &entry.annotations, err)) < 0)
        return s;
    x->entry = cb_descriptor_to_json(&entry);
    return 0;
}

int reg_referrer_read(struct reg_referrer *x, const struct cb_descriptor *desc, struct cb_slice body,
                      struct cb_error *err)
{
    *x = (struct reg_referrer){ 0 };
    cb_autojson json_t *o = cb_json_parse(body.ptr, body.len, err);
    int s = o ? read_referrer(x, o, desc, err) : -CB_EVERIFY;
    if (s < 0) {
        reg_referrer_done(x);
        cb_error_wrap(err, "manifest");
    }
    return s;
}

/* ---- the tag ---- */

char *reg_fallback_tag(const struct cb_digest *subject)
{
    char hex[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s-%.*s", cb_digest_alg_name(subject->alg), MAX_HEX, cb_digest_hex(subject, hex));
}

int reg_fallback_fetch(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *subject,
                       struct cb_fetched *out, struct cb_error *err)
{
    cb_autofree char *tag = reg_fallback_tag(subject);
    struct cb_reference ref = { .host = e->host, .repo = e->repo, .tag = tag };
    int s = reg_manifest_fetch(r, e, &ref, out, err);
    if (s == 0 && !cb_mt_is_index(out->desc.media_type))
        s = cb_error_set(err, CB_EVERIFY, "%s/%s:%s is no list of referrers, as its name says, but %s", e->host,
                         e->repo, tag, out->desc.media_type);
    return s;
}

/* One change of the list. entry is added; where it is NULL, what has the digest is removed. */
struct edit {
    struct cb_registry *r;
    const struct reg_endpoint *e;
    const struct cb_digest *subject;
    const json_t *entry;
    char digest[CB_DIGEST_TEXT_MAX];
};

/* The list as JSON, so that members which we do not know stay in it. *etag: NULL where it says none. */
static int read_list(const struct edit *x, json_t **out, char **etag, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_index index cb_cleanup_index = { 0 };
    int s = reg_fallback_fetch(x->r, x->e, x->subject, &f, &e);
    if (s == -CB_ENOTFOUND && x->entry)
        cb_index_print(&f.body, &index);
    else if (s == 0)
        s = cb_index_parse(&index, f.body.buf, f.body.len, NULL, &e);
    if (s < 0 && (s != -CB_ENOTFOUND || !x->entry))
        return cb_error_move(err, &e);
    *out = cb_json_parse(f.body.buf, f.body.len, err);
    *etag = CB_TAKE(f.etag);
    return *out ? 0 : -CB_EVERIFY;
}

/* Whether that changed anything. */
static bool change(const struct edit *x, json_t *list)
{
    bool removed = false;
    for (size_t i = json_array_size(list); i-- > 0;) {
        if (!cb_streq(json_string_value(json_object_get(json_array_get(list, i), "digest")), x->digest))
            continue;
        if (x->entry)
            return false;
        json_array_remove(list, i);
        removed = true;
    }
    if (x->entry && json_array_append_new(list, json_deep_copy(x->entry)) < 0)
        abort();
    return x->entry || removed;
}

static int write_list(const struct edit *x, const json_t *index, const char *etag, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *tag = reg_fallback_tag(x->subject);
    cb_json_print(&body, index);
    cb_autofree char *condition = etag ? cb_asprintf("If-Match: %s", etag) : NULL;
    struct reg_put put = { .name = tag, .media_type = CB_MT_OCI_INDEX, .condition = condition };
    put.body = (struct cb_slice){ body.buf, body.len };
    return reg_manifest_put(x->r, x->e, &put, NULL, err);
}

/* 0: the list is as it shall be; 1: it was written, or another came first: look again. */
static int edit_once(const struct edit *x, struct cb_error *err)
{
    cb_autojson json_t *index = NULL;
    cb_autofree char *etag = NULL;
    int s = read_list(x, &index, &etag, err);
    if (s == -CB_ENOTFOUND)
        return 0;
    if (s < 0 || !change(x, json_object_get(index, "manifests")))
        return s;
    s = write_list(x, index, etag, err);
    return s < 0 ? s : 1;
}

static int pause_a_while(const struct edit *x, unsigned tries, struct cb_error *err)
{
    unsigned char jitter;
    cb_random_bytes(&jitter, 1);
    return reg_pause(x->r, x->e->cancel, PAUSE_NS * (tries - 1) * (256 + jitter) / 256, err);
}

/* Each write is read again: where registries know no If-Match, that is how a lost one is noticed. Threads of this
 * process do not race one another. */
static int edit(struct edit *x, struct cb_error *err)
{
    int s = cb_turn_take(&x->r->known->fallback, x->e->cancel ? x->e->cancel : x->r->o.cancel, err);
    if (s < 0)
        return s;
    s = 1;
    for (unsigned i = 0; s == 1 && i < MAX_EDITS; i++) {
        s = i > 1 ? pause_a_while(x, i, err) : 0;
        if (s == 0)
            s = edit_once(x, err);
    }
    cb_turn_give(&x->r->known->fallback);
    if (s == 1)
        s = cb_error_set(err, CB_ENET, "%s/%s: what is written does not stay: others write it too", x->e->host,
                         x->e->repo);
    if (s < 0)
        cb_error_wrap(err, "list of referrers");
    return s;
}

int reg_fallback_add(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_referrer *referrer,
                     struct cb_error *err)
{
    struct edit x = { .r = r, .e = e, .subject = &referrer->subject.digest, .entry = referrer->entry };
    const char *digest = json_string_value(json_object_get(referrer->entry, "digest"));
    snprintf(x.digest, sizeof x.digest, "%s", digest ? digest : "");
    return edit(&x, err);
}

int reg_fallback_remove(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *subject,
                        const struct cb_digest *referrer, struct cb_error *err)
{
    struct edit x = { .r = r, .e = e, .subject = subject };
    cb_digest_text(referrer, x.digest);
    return edit(&x, err);
}
