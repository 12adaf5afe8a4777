/* SPDX-License-Identifier: Apache-2.0 */
/* OCI layouts, as a directory or in a tar (image-spec image-layout.md); and Docker archives that are one as well. */
#include "copy/private.h"
#include "oci/json.h"
#include "util/alloc.h"

/* What an entry of the index refers to. */
struct entry {
    struct cb_digest subject; /* or NONE */
    char *artifact_type;
};

struct layout {
    struct cb_copy_source base;
    struct copy_files files;
    struct cb_index index;
    pthread_mutex_t mu;
    struct entry *entries; /* parallel to the index; NULL before anybody asked */
};

static int read_blob(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                     struct cb_error *err)
{
    struct layout *l = (struct layout *)s;
    struct cb_blob_source *src = NULL;
    char path[256];
    int r = copy_files_source(&l->files, copy_blob_path(path, &d->digest), NULL, NULL, &src, err);
    if (r < 0)
        return cb_error_wrap(err, "%s", s->place->path);
    *out = cb_blob_source_verify(src, &d->digest, d->size);
    return 0;
}

static const char *tag_of(const struct cb_descriptor *d)
{
    return cb_strmap_get(&d->annotations, CB_ANN_REF_NAME);
}

/* A tag, a full name, or the tag of a full name. */
static bool is_named(const struct cb_descriptor *d, const char *name)
{
    const char *tag = tag_of(d), *full = cb_strmap_get(&d->annotations, CB_ANN_IMAGE_NAME);
    return cb_streq(tag, name) || cb_streq(full, name);
}

/* By name; without one "latest", or the only one that has a tag, or the only one. */
static const struct cb_descriptor *choose(const struct layout *l, const char *name)
{
    const struct cb_descriptor *only = NULL;
    size_t tagged = 0;
    for (size_t i = 0; i < l->index.n_manifests; i++) {
        const struct cb_descriptor *d = &l->index.manifests[i];
        if (is_named(d, name ? name : "latest"))
            return d;
        if (tag_of(d)) {
            tagged++;
            only = d;
        }
    }
    if (name)
        return NULL;
    return tagged == 1 ? only : !tagged && l->index.n_manifests == 1 ? &l->index.manifests[0] : NULL;
}

static int not_named(const struct layout *l, const char *name, struct cb_error *err)
{
    struct cb_strbuf all cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < l->index.n_manifests && all.len < 300; i++)
        if (tag_of(&l->index.manifests[i]))
            cb_strbuf_addf(&all, "%s%s", all.len ? ", " : "", tag_of(&l->index.manifests[i]));
    return cb_error_set(err, CB_ENOTFOUND, "%s has no image \"%s\"%s%s", l->base.place->path, name ? name : "latest",
                        all.len ? "; it has " : "", all.buf);
}

static int get_manifest(struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                        struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    struct layout *l = (struct layout *)s;
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_descriptor by_digest = { .digest = *digest, .size = UINT64_MAX };
    const struct cb_descriptor *d = &by_digest;
    if (!cb_digest_is_set(digest) && cb_digest_is_set(&s->place->digest) && !tag)
        by_digest.digest = s->place->digest;
    else if (!cb_digest_is_set(digest))
        d = choose(l, tag ? tag : s->place->name);
    if (!d)
        return not_named(l, tag ? tag : s->place->name, err);
    int r = read_blob(s, d, &src, err);
    if (r == 0)
        r = cb_blob_read_all(src, CB_MAX_MANIFEST, body, err);
    return r < 0 ? r : copy_describe(d, body, desc, err);
}

static int get_tags(struct cb_copy_source *s, struct cb_strvec *out, struct cb_error *err CB_UNUSED)
{
    struct layout *l = (struct layout *)s;
    for (size_t i = 0; i < l->index.n_manifests; i++) {
        const char *tag = tag_of(&l->index.manifests[i]);
        if (tag && !cb_strvec_has(out, tag))
            cb_strvec_push(out, tag);
    }
    return 0;
}

/* A layout has no list of referrers: every entry of its index says by itself what it refers to. They are read once. */
static int read_entry(struct layout *l, size_t i, struct entry *out, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    const struct cb_descriptor *listed = &l->index.manifests[i];
    if (!cb_mt_is_manifest(listed->media_type))
        return 0;
    int r = get_manifest(&l->base, NULL, &listed->digest, &d, &body, err);
    if (r == 0)
        r = cb_manifest_parse(&m, body.buf, body.len, d.media_type, err);
    if (r < 0 || !m.subject)
        return r;
    const char *type = listed->artifact_type ? listed->artifact_type
                       : m.artifact_type     ? m.artifact_type
                                             : m.config.media_type;
    *out = (struct entry){ m.subject->digest, cb_strdup_or_null(type) };
    return 0;
}

static void free_entries(struct layout *l)
{
    for (size_t i = 0; l->entries && i < l->index.n_manifests; i++)
        free(l->entries[i].artifact_type);
    free(CB_TAKE(l->entries));
}

static int read_entries(struct layout *l, struct cb_error *err)
{
    int r = 0;
    if (l->entries)
        return 0;
    l->entries = cb_calloc(l->index.n_manifests + 1, sizeof *l->entries);
    for (size_t i = 0; r == 0 && i < l->index.n_manifests; i++)
        r = read_entry(l, i, &l->entries[i], err);
    if (r < 0)
        free_entries(l);
    return r;
}

static int get_referrers(struct cb_copy_source *s, const struct cb_digest *subject, struct cb_index *out,
                         struct cb_error *err)
{
    struct layout *l = (struct layout *)s;
    *out = (struct cb_index){ .media_type = cb_strdup(CB_MT_OCI_INDEX) };
    pthread_mutex_lock(&l->mu);
    int r = read_entries(l, err);
    pthread_mutex_unlock(&l->mu);
    for (size_t i = 0; r == 0 && i < l->index.n_manifests; i++) {
        if (!cb_digest_eq(&l->entries[i].subject, subject))
            continue;
        out->manifests = cb_reallocarray(out->manifests, out->n_manifests + 1, sizeof *out->manifests);
        struct cb_descriptor *d = &out->manifests[out->n_manifests++];
        *d = (struct cb_descriptor){ 0 };
        cb_descriptor_copy(d, &l->index.manifests[i]);
        free(d->artifact_type);
        d->artifact_type = cb_strdup_or_null(l->entries[i].artifact_type);
    }
    return r;
}

static void close_it(struct cb_copy_source *s)
{
    struct layout *l = (struct layout *)s;
    free_entries(l);
    copy_files_close(&l->files);
    cb_index_done(&l->index);
    pthread_mutex_destroy(&l->mu);
    free(l);
}

static const struct cb_copy_source_ops ops = { get_manifest, read_blob, get_tags, get_referrers,
                                               NULL,         false,     close_it };

static int read_version(const struct copy_files *f, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *version = NULL;
    int r = copy_files_text(f, "oci-layout", &text, err);
    if (r < 0)
        return r;
    cb_autojson json_t *o = cb_json_parse(text.buf, text.len, err);
    r = o ? cb_json_get_string(o, "imageLayoutVersion", &version, err) : -CB_EVERIFY;
    if (r < 0)
        return cb_error_wrap(err, "oci-layout");
    if (!version || !cb_starts_with(version, "1."))
        return cb_error_set(err, CB_EVERIFY, "an OCI layout of version %s is not known here",
                            version ? version : "(none)");
    return 0;
}

static int read_index(struct layout *l, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = read_version(&l->files, err);
    if (r == 0)
        r = copy_files_text(&l->files, "index.json", &text, err);
    if (r == 0 && (r = cb_index_parse(&l->index, text.buf, text.len, CB_MT_OCI_INDEX, err)) < 0)
        cb_error_wrap(err, "index.json");
    return r;
}

static int check_kind(const struct copy_files *f, const struct cb_place *p, struct cb_error *err)
{
    if (f->dir && p->transport != CB_AT_OCI_DIR)
        return cb_error_set(err, CB_EUSAGE, "%s is a directory: write oci:%s", p->path, p->path);
    if (!f->dir && p->transport == CB_AT_OCI_DIR)
        return cb_error_set(err, CB_EUSAGE, "%s is a file: write oci-archive:%s or docker-archive:%s", p->path,
                            p->path, p->path);
    return 0;
}

int copy_source_layout(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                       struct cb_error *err)
{
    struct layout *l = CB_NEW(struct layout);
    pthread_mutex_init(&l->mu, NULL);
    l->base = (struct cb_copy_source){ &ops, env, p, false };
    int r = copy_files_open(&l->files, env, p->path, err);
    if (r == 0)
        r = check_kind(&l->files, p, err);
    if (r == 0 && (r = read_index(l, err)) < 0)
        cb_error_wrap(err, "OCI layout %s", p->path);
    if (r < 0)
        close_it(&l->base);
    else
        *out = &l->base;
    return r;
}
