/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "image/private.h"
#include "oci/reference.h"
#include "util/alloc.h"

void cb_layout_ref_free(struct cb_layout_ref *l)
{
    if (!l)
        return;
    free(l->path);
    free(l->tag);
    free(l);
}

struct cb_layout_ref *cb_layout_ref_new(const char *text, struct cb_error *err)
{
    cb_autofree char *path = cb_strdup(text);
    struct cb_digest digest = { 0 };
    char *at = strrchr(path, '@'), *tag = NULL;
    if (at) {
        *at = '\0';
        if (cb_digest_parse(&digest, at + 1, err) < 0) {
            cb_error_set(err, CB_EUSAGE, "oci-layout://%s: %s", text, cb_error_text(err));
            return NULL;
        }
    }
    char *colon = strrchr(path, ':');
    if (colon && !strchr(colon, '/')) {
        *colon = '\0';
        tag = colon + 1;
    }
    if (!*path || (tag && !cb_reference_valid_tag(tag))) {
        cb_error_set(err, CB_EUSAGE, "oci-layout://%s: write oci-layout://PATH[:TAG][@DIGEST]", text);
        return NULL;
    }
    struct cb_layout_ref *l = CB_NEW(struct cb_layout_ref);
    *l = (struct cb_layout_ref){ .path = cb_strdup(path), .tag = cb_strdup_or_null(tag), .digest = digest };
    return l;
}

static bool has_tag(const struct cb_descriptor *d, const char *tag)
{
    return cb_streq(cb_strmap_get(&d->annotations, CB_ANN_REF_NAME), tag);
}

/* Without a tag, "latest", or the only one there is. */
static const struct cb_descriptor *choose(const struct cb_index *idx, const struct cb_layout_ref *l)
{
    bool digest = cb_digest_is_set(&l->digest);
    for (size_t i = 0; i < idx->n_manifests; i++) {
        const struct cb_descriptor *d = &idx->manifests[i];
        if (digest ? cb_digest_eq(&d->digest, &l->digest) : has_tag(d, l->tag ? l->tag : "latest"))
            return d;
    }
    return !digest && !l->tag && idx->n_manifests == 1 ? &idx->manifests[0] : NULL;
}

static int take(struct cb_importer *m, const struct cb_layout_ref *l, const struct cb_platform *platform,
                struct cb_image *out, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    int r = cb_import_oci_index(m, &idx, err);
    if (r < 0)
        return r;
    const struct cb_descriptor *d = choose(&idx, l);
    if (!d && cb_digest_is_set(&l->digest))
        return cb_error_set(err, CB_ENOTFOUND, "its index.json has no %s", cb_digest_text(&l->digest, text));
    if (!d)
        return cb_error_set(err, CB_ENOTFOUND, "its index.json has no tag \"%s\"", l->tag ? l->tag : "latest");
    r = cb_import_oci_one(m, d, err);
    return r < 0 ? r : cb_image_load(m->store, d, platform, out, err);
}

int cb_image_from_layout(struct cb_store *s, const struct cb_layout_ref *l, const struct cb_platform *platform,
                         struct cb_image *out, struct cb_error *err)
{
    cb_autoclose int fd = open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct cb_import_result none = { 0 };
    struct cb_importer m = { .store = s, .dirfd = fd, .out = &none };
    int r = fd < 0 ? cb_error_sys(err, CB_EUSAGE, errno, "open it") : take(&m, l, platform, out, err);
    if (r < 0)
        cb_error_wrap(err, "OCI layout %s", l->path);
    return r;
}
