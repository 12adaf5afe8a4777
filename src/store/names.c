/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "oci/manifest.h"
#include "store/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"
#include "util/timeutil.h"

#define REF_NAME "org.opencontainers.image.ref.name"
#define CREATED "io.cbpush.created"

int cb_store_index_read(struct cb_store *s, struct cb_index *out, struct cb_error *err)
{
    cb_autoclose int fd = openat(s->root_fd, "index.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/index.json", s->root);
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_fd_slurp(fd, CB_MAX_MANIFEST, &text, err);
    if (r == 0)
        r = cb_index_parse(out, text.buf, text.len, CB_MT_OCI_INDEX, err);
    if (r < 0)
        cb_error_wrap(err, "read %s/index.json", s->root);
    return r;
}

int cb_store_index_write(struct cb_store *s, const struct cb_index *idx, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_index_print(&text, idx);
    if (idx->n_manifests > CB_MAX_INDEX_MANIFESTS || text.len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_ELOCAL, "the store %s has too many names; remove some", s->root);
    return cb_store_put_file(s, "index.json", (struct cb_slice){ text.buf, text.len }, true, err);
}

/* The index refers only to what is there (R7): the manifest whole, and its configuration. Layers may be elsewhere. */
static int check_target(struct cb_store *s, const struct cb_descriptor *desc, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_store_blob_get(s, &desc->digest, CB_MAX_MANIFEST, &body, err);
    if (r < 0)
        return r;
    char text[CB_DIGEST_TEXT_MAX];
    if (body.len != desc->size)
        return cb_error_set(err, CB_EVERIFY, "manifest %s has %zu bytes instead of %llu",
                            cb_digest_text(&desc->digest, text), body.len, (unsigned long long)desc->size);
    if (cb_mt_is_index(desc->media_type))
        return 0;
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    if ((r = cb_manifest_parse(&m, body.buf, body.len, desc->media_type, err)) < 0)
        return r;
    if (!cb_store_blob_has(s, &m.config.digest, NULL))
        return cb_error_set(err, CB_ENOTFOUND, "config %s is not in the store",
                            cb_digest_text(&m.config.digest, text));
    return 0;
}

static const char *name_of(const struct cb_descriptor *d)
{
    return cb_strmap_get(&d->annotations, REF_NAME);
}

/* Takes out the entries of this name; with name NULL the unnamed ones of this digest. */
static size_t take_out(struct cb_index *idx, const char *name, const struct cb_digest *digest)
{
    size_t kept = 0;
    for (size_t i = 0; i < idx->n_manifests; i++) {
        struct cb_descriptor *d = &idx->manifests[i];
        const char *n = name_of(d);
        if (name ? cb_streq(n, name) : !n && cb_digest_eq(&d->digest, digest))
            cb_descriptor_done(d);
        else
            idx->manifests[kept++] = *d;
    }
    size_t gone = idx->n_manifests - kept;
    idx->n_manifests = kept;
    return gone;
}

static void put_in(struct cb_index *idx, const char *name, const struct cb_descriptor *desc)
{
    idx->manifests = cb_reallocarray(idx->manifests, idx->n_manifests + 1, sizeof *idx->manifests);
    struct cb_descriptor *d = &idx->manifests[idx->n_manifests++];
    memset(d, 0, sizeof *d);
    cb_descriptor_copy(d, desc);
    struct cb_strbuf now cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_time_format(&now, cb_time_now());
    cb_strmap_set(&d->annotations, CREATED, now.buf);
    if (name)
        cb_strmap_set(&d->annotations, REF_NAME, name);
    else
        cb_strmap_remove(&d->annotations, REF_NAME);
}

static int change_index(struct cb_store *s, const char *name, const struct cb_descriptor *desc, struct cb_error *err)
{
    cb_autoclose int lock = -1;
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_store_lock(s, true, &lock, err);
    if (r < 0 || (r = cb_store_index_read(s, &idx, err)) < 0)
        return r;
    size_t gone;
    if (desc) {
        gone = take_out(&idx, NULL, &desc->digest);
        if (name)
            gone += take_out(&idx, name, NULL);
        put_in(&idx, name, desc);
    } else {
        struct cb_digest d;
        bool by_digest = cb_digest_parse(&d, name, NULL) == 0;
        gone = take_out(&idx, by_digest ? NULL : name, &d);
        if (gone == 0)
            return cb_error_set(err, CB_ENOTFOUND, "no image is named %s", name);
    }
    return cb_store_index_write(s, &idx, err);
}

int cb_store_name_set(struct cb_store *s, const char *canonical, const struct cb_descriptor *desc,
                      struct cb_error *err)
{
    if (!canonical && !desc)
        return cb_error_set(err, CB_EINTERNAL, "neither a name nor an image");
    int r = desc ? check_target(s, desc, err) : 0;
    if (r == 0)
        r = cb_publish_settle(s, err);
    if (r == 0)
        r = change_index(s, canonical, desc, err);
    if (r < 0)
        cb_error_wrap(err, desc ? "name %s" : "remove the name %s", canonical ? canonical : "an image");
    return r;
}

static void copy_out(struct cb_store_name *out, const struct cb_descriptor *d)
{
    memset(out, 0, sizeof *out);
    cb_descriptor_copy(&out->desc, d);
    out->name = cb_strdup_or_null(name_of(d));
    const char *created = cb_strmap_get(&d->annotations, CREATED);
    if (!created || !cb_time_parse(created, &out->created))
        out->created = 0;
    cb_strmap_remove(&out->desc.annotations, REF_NAME);
    cb_strmap_remove(&out->desc.annotations, CREATED);
}

static void name_done(struct cb_store_name *n)
{
    free(n->name);
    cb_descriptor_done(&n->desc);
}

int cb_store_name_get(struct cb_store *s, const char *canonical, struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_store_index_read(s, &idx, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < idx.n_manifests; i++) {
        if (!cb_streq(name_of(&idx.manifests[i]), canonical))
            continue;
        struct cb_store_name n;
        copy_out(&n, &idx.manifests[i]);
        free(n.name);
        *out = n.desc;
        return 0;
    }
    return cb_error_set(err, CB_ENOTFOUND, "no image is named %s", canonical);
}

void cb_store_names_done(struct cb_store_names *l)
{
    for (size_t i = 0; i < l->n; i++)
        name_done(&l->v[i]);
    free(l->v);
    *l = (struct cb_store_names){ 0 };
}

static int newest_first(const void *a, const void *b)
{
    const struct cb_store_name *x = a, *y = b;
    if (x->created != y->created)
        return x->created > y->created ? -1 : 1;
    if (!x->name || !y->name)
        return (x->name ? 0 : 1) - (y->name ? 0 : 1);
    return strcmp(x->name, y->name);
}

int cb_store_name_list(struct cb_store *s, struct cb_store_names *out, struct cb_error *err)
{
    struct cb_index idx cb_cleanup_index = { 0 };
    int r = cb_store_index_read(s, &idx, err);
    if (r < 0)
        return r;
    *out = (struct cb_store_names){ 0 };
    for (size_t i = 0; i < idx.n_manifests; i++) {
        CB_GROW(out->v, out->n, out->cap);
        copy_out(&out->v[out->n++], &idx.manifests[i]);
    }
    if (out->n > 1)
        qsort(out->v, out->n, sizeof *out->v, newest_first);
    return 0;
}
