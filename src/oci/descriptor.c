/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/descriptor.h"

#include "oci/json.h"
#include "oci/mediatype.h"
#include "util/alloc.h"

void cb_descriptor_done(struct cb_descriptor *d)
{
    free(d->media_type);
    free(d->artifact_type);
    if (d->platform) {
        cb_platform_done(d->platform);
        free(d->platform);
    }
    cb_strmap_done(&d->annotations);
    cb_strvec_done(&d->urls);
    *d = (struct cb_descriptor){ 0 };
}

void cb_descriptor_copy(struct cb_descriptor *dst, const struct cb_descriptor *src)
{
    if (dst == src)
        return;
    cb_descriptor_done(dst);
    dst->media_type = cb_strdup_or_null(src->media_type);
    dst->digest = src->digest;
    dst->size = src->size;
    dst->artifact_type = cb_strdup_or_null(src->artifact_type);
    if (src->platform) {
        dst->platform = CB_NEW(struct cb_platform);
        cb_platform_copy(dst->platform, src->platform);
    }
    cb_strmap_copy(&dst->annotations, &src->annotations);
    cb_strvec_copy(&dst->urls, &src->urls);
}

void cb_descriptor_of(struct cb_descriptor *out, const char *media_type, const void *buf, size_t n)
{
    struct cb_descriptor d = { .media_type = cb_strdup(media_type), .size = n };
    cb_digest_of(&d.digest, buf, n);
    cb_descriptor_done(out);
    *out = d;
}

static int get_owned(const json_t *o, const char *key, char **out, struct cb_error *err)
{
    const char *s = NULL;
    int r = cb_json_get_string(o, key, &s, err);
    if (r == 0 && s && *s)
        *out = cb_strdup(s);
    return r;
}

int cb_platform_from_json(struct cb_platform *out, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "architecture", "os", "os.version", "variant", NULL };
    cb_cleanup_platform struct cb_platform p = { 0 };
    int r;
    if ((r = cb_json_check_keys(o, known, err)) < 0 || (r = get_owned(o, "architecture", &p.arch, err)) < 0 ||
        (r = get_owned(o, "os", &p.os, err)) < 0 || (r = get_owned(o, "os.version", &p.os_version, err)) < 0 ||
        (r = get_owned(o, "variant", &p.variant, err)) < 0)
        return r;
    cb_platform_done(out);
    *out = p;
    p = (struct cb_platform){ 0 };
    return 0;
}

json_t *cb_platform_to_json(const struct cb_platform *p)
{
    json_t *o = json_object();
    cb_json_put_string(o, "architecture", p->arch ? p->arch : "");
    cb_json_put_string(o, "os", p->os ? p->os : "");
    cb_json_put_string(o, "os.version", p->os_version);
    cb_json_put_string(o, "variant", p->variant);
    return o;
}

/* Checked, because media types end up in HTTP headers. */
static int get_media_type(const json_t *o, const char *key, char **out, struct cb_error *err)
{
    int r = get_owned(o, key, out, err);
    if (r == 0 && *out && !cb_mt_is_valid(*out))
        return cb_error_set(err, CB_EVERIFY, "\"%s\" is no media type", key);
    return r;
}

static int get_digest(const json_t *o, struct cb_digest *out, struct cb_error *err)
{
    const char *text = NULL;
    int r = cb_json_get_string(o, "digest", &text, err);
    if (r < 0)
        return r;
    return cb_digest_parse(out, text, err);
}

static int get_size(const json_t *o, uint64_t *out, struct cb_error *err)
{
    uint64_t size = UINT64_MAX;
    int r = cb_json_get_u64(o, "size", &size, err);
    if (r < 0)
        return r;
    if (size == UINT64_MAX)
        return cb_error_set(err, CB_EVERIFY, "it has no \"size\"");
    *out = size;
    return 0;
}

static int get_platform(const json_t *o, struct cb_platform **out, struct cb_error *err)
{
    const json_t *p = NULL;
    int r = cb_json_get_object(o, "platform", &p, err);
    if (r < 0 || !p)
        return r;
    *out = CB_NEW(struct cb_platform);
    return cb_platform_from_json(*out, p, err);
}

static int read_members(struct cb_descriptor *d, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "mediaType", "digest",   "size",         "urls", "annotations",
                                         "data",      "platform", "artifactType", NULL };
    int r;
    if ((r = cb_json_check_keys(o, known, err)) < 0 || (r = get_media_type(o, "mediaType", &d->media_type, err)) < 0)
        return r;
    if (!d->media_type)
        return cb_error_set(err, CB_EVERIFY, "it has no \"mediaType\"");
    if ((r = get_digest(o, &d->digest, err)) < 0 || (r = get_size(o, &d->size, err)) < 0 ||
        (r = get_media_type(o, "artifactType", &d->artifact_type, err)) < 0 ||
        (r = get_platform(o, &d->platform, err)) < 0 ||
        (r = cb_json_get_strmap(o, "annotations", &d->annotations, err)) < 0)
        return r;
    return cb_json_get_strvec(o, "urls", &d->urls, err);
}

int cb_descriptor_from_json(struct cb_descriptor *out, const json_t *o, struct cb_error *err)
{
    cb_cleanup_descriptor struct cb_descriptor d = { 0 };
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "descriptor: it is not a JSON object");
    int r = read_members(&d, o, err);
    if (r < 0) {
        cb_error_wrap(err, "descriptor");
        return r;
    }
    cb_descriptor_done(out);
    *out = d;
    d = (struct cb_descriptor){ 0 };
    return 0;
}

json_t *cb_descriptor_to_json(const struct cb_descriptor *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    json_t *o = json_object();
    cb_json_put_string(o, "mediaType", d->media_type);
    cb_json_put_string(o, "digest", cb_digest_text(&d->digest, text));
    cb_json_put(o, "size", json_integer((json_int_t)d->size));
    if (d->urls.n)
        cb_json_put(o, "urls", cb_json_from_strvec(&d->urls));
    if (d->annotations.n)
        cb_json_put(o, "annotations", cb_json_from_strmap(&d->annotations));
    if (d->platform)
        cb_json_put(o, "platform", cb_platform_to_json(d->platform));
    cb_json_put_string(o, "artifactType", d->artifact_type);
    return o;
}
