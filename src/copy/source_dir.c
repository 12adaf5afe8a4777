/* SPDX-License-Identifier: Apache-2.0 */
/* skopeo's dir: (containers-transports(5)): one image, or index, as the files of one directory. */
#include "copy/private.h"
#include "util/alloc.h"

struct dir {
    struct cb_copy_source base;
    struct copy_files files;
};

char *copy_dir_name(char buf[static 256], const struct cb_digest *d, bool manifest)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, 256, "%s%s", cb_digest_hex(d, hex), manifest ? ".manifest.json" : "");
    return buf;
}

static int open_file(struct dir *x, const struct cb_descriptor *d, bool manifest, struct cb_blob_source **out,
                     struct cb_error *err)
{
    struct cb_blob_source *src = NULL;
    char name[256];
    int r = copy_files_source(&x->files, copy_dir_name(name, &d->digest, manifest), NULL, NULL, &src, err);
    if (r == 0)
        *out = cb_blob_source_verify(src, &d->digest, d->size);
    return r;
}

int copy_dir_check(const struct cb_strbuf *version, struct cb_error *err)
{
    if (cb_starts_with(version->buf, COPY_DIR_KNOWN))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "a directory of version \"%.40s\" is not known here", version->buf);
}

static int read_top(struct dir *x, struct cb_descriptor *found, struct cb_strbuf *body, struct cb_error *err)
{
    int r = copy_files_text(&x->files, COPY_DIR_TOP, body, err);
    if (r == 0)
        cb_digest_of(&found->digest, body->buf, body->len);
    return r;
}

/* The top has a name of its own, what an index lists is named by its digest. */
static int read_manifest(struct dir *x, const struct cb_digest *digest, struct cb_descriptor *found,
                         struct cb_strbuf *body, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (!cb_digest_is_set(digest))
        return read_top(x, found, body, err);
    found->digest = *digest;
    int r = open_file(x, found, true, &src, &e);
    if (r == 0)
        return cb_blob_read_all(src, CB_MAX_MANIFEST, body, err);
    if (r == -CB_ENOTFOUND && read_top(x, found, body, NULL) == 0 && cb_digest_eq(&found->digest, digest))
        return 0;
    return cb_error_move(err, &e);
}

static int get_manifest(struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                        struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    struct dir *x = (struct dir *)s;
    struct cb_descriptor found = { .size = UINT64_MAX };
    int r = tag ? cb_error_set(err, CB_ENOTFOUND, "there are no tags in a dir:")
                : read_manifest(x, digest, &found, body, err);
    if (r == 0)
        r = copy_describe(&found, body, desc, err);
    return r < 0 ? cb_error_wrap(err, "%s", s->place->path) : 0;
}

static int read_blob(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                     struct cb_error *err)
{
    int r = open_file((struct dir *)s, d, false, out, err);
    return r < 0 ? cb_error_wrap(err, "%s", s->place->path) : 0;
}

static void close_it(struct cb_copy_source *s)
{
    struct dir *x = (struct dir *)s;
    copy_files_close(&x->files);
    free(x);
}

static const struct cb_copy_source_ops ops = { .manifest = get_manifest, .blob = read_blob, .close = close_it };

static int check(const struct copy_files *f, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!f->dir)
        return cb_error_set(err, CB_EUSAGE, "is a file: write oci-archive:FILE or docker-archive:FILE");
    int r = copy_files_text(f, COPY_DIR_VERSION, &text, err);
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_EUSAGE, "no image as skopeo writes it, there is no file \"" COPY_DIR_VERSION
                                            "\": an OCI layout is oci:DIR");
    return r < 0 ? r : copy_dir_check(&text, err);
}

int copy_source_dir(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                    struct cb_error *err)
{
    struct dir *x = CB_NEW(struct dir);
    x->base = (struct cb_copy_source){ &ops, env, p, false };
    int r = copy_files_open(&x->files, env, p->path, err);
    if (r == 0 && (r = check(&x->files, err)) < 0)
        cb_error_wrap(err, "%s", p->path);
    if (r < 0)
        close_it(&x->base);
    else
        *out = &x->base;
    return r;
}
