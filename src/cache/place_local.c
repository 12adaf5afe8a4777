/* SPDX-License-Identifier: Apache-2.0 */
/* A directory: an OCI layout whose index.json names the artifacts. */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cache/private.h"
#include "image/image.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/hashmap.h"
#include "util/limits.h"

#define GRACE (60 * 60) /* s: a blob that nothing names may be of a writer that has not come to its manifest */

struct local {
    struct cb_cache_place base;
    const struct cb_cancel *cancel;
    char *path;
    int root;                 /* -1: there is no such directory yet */
    struct cb_layout_out out; /* where it is written */
    pthread_mutex_t mu;
    bool read;                /* index holds what was there when it was asked for, and what we put there since */
    struct stat seen;         /* index.json then: each change makes another file */
    struct cb_index index;
};

/* ---- reading ---- */

static const char *name_of(const struct cb_descriptor *d)
{
    return cb_strmap_get(&d->annotations, CB_ANN_REF_NAME);
}

/* Under mu. Another build may make the directory at any time: this one may wait for that one. */
static int open_root(struct local *l, struct cb_error *err)
{
    if (l->root < 0)
        l->root = open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return l->root < 0 && errno != ENOENT ? cb_error_sys(err, CB_ELOCAL, errno, "open %s", l->path) : 0;
}

/* Under mu. */
static int read_index(struct local *l, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = l->read ? 0 : open_root(l, err);
    if (l->read || l->root < 0)
        return r;
    cb_autoclose int fd = openat(l->root, "index.json", O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return 0;
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open index.json");
    r = fstat(fd, &l->seen) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "stat index.json") : 0;
    if (r == 0)
        r = cb_fd_slurp(fd, 4 * CB_MAX_MANIFEST, &text, err);
    if (r == 0)
        r = cb_index_parse(&l->index, text.buf, text.len, CB_MT_OCI_INDEX, err);
    l->read = r == 0;
    return r < 0 ? cb_error_wrap(err, "index.json") : 0;
}

static const struct cb_descriptor *find(const struct cb_index *index, const char *name)
{
    for (size_t i = 0; i < index->n_manifests; i++)
        if (cb_streq(name_of(&index->manifests[i]), name))
            return &index->manifests[i];
    return NULL;
}

/* Under mu. */
static bool is_changed(const struct local *l)
{
    struct stat st;
    return l->read && fstatat(l->root, "index.json", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           (st.st_ino != l->seen.st_ino || st.st_mtim.tv_sec != l->seen.st_mtim.tv_sec ||
            st.st_mtim.tv_nsec != l->seen.st_mtim.tv_nsec);
}

/* Under mu. */
static void forget_index(struct local *l)
{
    cb_index_done(&l->index);
    l->read = false;
}

static int look(struct local *l, const char *name, struct cb_descriptor *out, struct cb_error *err)
{
    pthread_mutex_lock(&l->mu);
    if (is_changed(l)) /* somebody else may have put it there since, or another in its place */
        forget_index(l);
    int r = read_index(l, err);
    const struct cb_descriptor *d = r == 0 ? find(&l->index, name) : NULL;
    if (d)
        cb_descriptor_copy(out, d);
    else if (r == 0)
        r = cb_error_set(err, CB_ENOTFOUND, "index.json has no %s", name);
    pthread_mutex_unlock(&l->mu);
    return r;
}

static void blob_path(char out[256], const struct cb_digest *d)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(out, 256, "blobs/%s/%s", cb_digest_alg_name(d->alg), cb_digest_hex(d, hex));
}

static int open_blob(struct cb_cache_place *p, const struct cb_descriptor *d, struct cb_blob_source **out,
                     struct cb_error *err)
{
    const struct local *l = (const struct local *)p;
    char path[256];
    struct stat st;
    blob_path(path, &d->digest);
    int fd = openat(l->root, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return cb_error_sys(err, errno == ENOENT ? CB_ENOTFOUND : CB_ELOCAL, errno, "open %s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        cb_close_p(&fd);
        return cb_error_set(err, CB_EVERIFY, "%s is no file", path);
    }
    *out = cb_blob_source_verify(cb_blob_source_from_fd(fd, 0, UINT64_MAX), &d->digest, d->size);
    return 0;
}

static int has(struct cb_cache_place *p, const struct cb_descriptor *d, struct cb_error *err CB_UNUSED)
{
    char path[256];
    struct stat st;
    blob_path(path, &d->digest);
    return fstatat(((struct local *)p)->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == d->size;
}

static int get(struct cb_cache_place *p, const char *name, struct cb_strbuf *out, struct cb_error *err)
{
    struct local *l = (struct local *)p;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int r = look(l, name, &d, err);
    return r < 0 ? r : cache_slurp(p, &d, CB_MAX_MANIFEST, out, err);
}

static int list(struct cb_cache_place *p, struct cb_strvec *out, struct cb_error *err)
{
    struct local *l = (struct local *)p;
    pthread_mutex_lock(&l->mu);
    int r = read_index(l, err);
    for (size_t i = 0; i < l->index.n_manifests; i++)
        if (name_of(&l->index.manifests[i]))
            cb_strvec_push(out, name_of(&l->index.manifests[i]));
    pthread_mutex_unlock(&l->mu);
    return r;
}

/* ---- writing ---- */

static int exists(struct cb_cache_place *p, const char *name, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int r = look((struct local *)p, name, &d, err);
    return r == -CB_ENOTFOUND ? 0 : r < 0 ? r : has(p, &d, err);
}

/* It is there, and as young as one that was just written: nothing may name it yet, and somebody sweep. */
static bool is_kept(const struct local *l, const struct cb_descriptor *d)
{
    char path[256];
    blob_path(path, &d->digest);
    return cb_layout_out_has(&l->out, d) && utimensat(l->root, path, NULL, AT_SYMLINK_NOFOLLOW) == 0;
}

static int add(struct cb_cache_place *p, const struct cb_push_blob *b, struct cb_error *err)
{
    const struct local *l = (const struct local *)p;
    cb_autosource struct cb_blob_source *src = NULL;
    if (is_kept(l, &b->desc))
        return 0;
    if (!b->open)
        return cb_error_set(err, CB_ENOTFOUND, "its bytes are not here");
    int r = b->open(b->arg, &b->desc.digest, &src, err);
    if (r < 0)
        return r;
    cb_autosource struct cb_blob_source *checked = cb_blob_source_verify(CB_TAKE(src), &b->desc.digest, b->desc.size);
    return cb_layout_out_blob(&l->out, &b->desc, checked, l->cancel, err);
}

static int put_bytes(const struct local *l, const struct cb_descriptor *d, const char *buf, size_t n,
                     struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = cb_blob_source_from_mem(buf, n);
    return is_kept(l, d) ? 0 : cb_layout_out_blob(&l->out, d, src, l->cancel, err);
}

/* A change of index.json: a name gets this descriptor (replace, or only where it is free), or goes (desc NULL). */
struct change {
    const char *name;
    const struct cb_descriptor *desc;
    bool replace;
};

static void apply(void *arg, const struct cb_index *onto, struct cb_strbuf *out)
{
    const struct change *c = arg;
    struct cb_index made = { .media_type = (char *)(uintptr_t)CB_MT_OCI_INDEX };
    bool keep = onto && c->desc && !c->replace && find(onto, c->name);
    made.manifests = cb_calloc((onto ? onto->n_manifests : 0) + 1, sizeof *made.manifests);
    for (size_t i = 0; onto && i < onto->n_manifests; i++)
        if (keep || !cb_streq(name_of(&onto->manifests[i]), c->name))
            made.manifests[made.n_manifests++] = onto->manifests[i];
    if (c->desc && !keep)
        made.manifests[made.n_manifests++] = *c->desc;
    if (onto)
        made.annotations = onto->annotations;
    cb_index_print(out, &made);
    free(made.manifests);
}

static int change_index(struct local *l, struct change *c, struct cb_error *err)
{
    struct cb_layout_index index = { apply, c };
    int r = cb_layout_out_index(&l->out, &index, err);
    pthread_mutex_lock(&l->mu);
    forget_index(l);
    pthread_mutex_unlock(&l->mu);
    return r;
}

static int put(struct cb_cache_place *p, const char *name, const struct cb_cache_artifact *a, bool replace,
               struct cb_error *err)
{
    struct local *l = (struct local *)p;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int r = put_bytes(l, &a->manifest.config, a->config.buf, a->config.len, err);
    if (r == 0 && !strcmp(a->manifest.layers[0].media_type, CB_MT_OCI_EMPTY))
        r = put_bytes(l, &a->manifest.layers[0], "{}", 2, err);
    if (r == 0)
        r = put_bytes(l, &a->desc, a->body.buf, a->body.len, err);
    cb_descriptor_copy(&d, &a->desc);
    d.artifact_type = cb_strdup(a->manifest.artifact_type);
    cb_strmap_set(&d.annotations, CB_ANN_REF_NAME, name);
    return r < 0 ? r : change_index(l, &(struct change){ name, &d, replace }, err);
}

static int remove_name(struct cb_cache_place *p, const char *name, bool ours CB_UNUSED, struct cb_error *err)
{
    return change_index((struct local *)p, &(struct change){ .name = name }, err);
}

/* ---- claims ---- */

static int lock(struct cb_cache_place *p, const char *name, int *fd, struct cb_error *err)
{
    cb_autofree char *file = cb_asprintf(".%s", name);
    return cb_fs_lock_file(((struct local *)p)->root, file, O_RDWR | O_CREAT, fd, err);
}

static void unlock(struct cb_cache_place *p, const char *name, int *fd)
{
    cb_autofree char *file = cb_asprintf(".%s", name);
    unlinkat(((struct local *)p)->root, file, 0);
    close(CB_TAKE_FD(*fd));
}

/* ---- what nothing names ---- */

static void keep(struct cb_hashmap *kept, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_hashmap_put(kept, cb_digest_text(d, text), kept);
}

static int keep_below(struct local *l, const struct cb_descriptor *d, struct cb_hashmap *kept, unsigned depth,
                      struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_index index cb_cleanup_index = { 0 };
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    keep(kept, &d->digest);
    if (depth > CB_MAX_INDEX_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "indexes in one another, too deep");
    int r = cache_slurp(&l->base, d, CB_MAX_MANIFEST, &body, err);
    if (r == -CB_ENOTFOUND) { /* and keeps nothing */
        if (err)
            cb_error_done(err);
        return 0;
    }
    if (r == 0 && cb_mt_is_index(d->media_type)) {
        r = cb_index_parse(&index, body.buf, body.len, d->media_type, err);
        for (size_t i = 0; r == 0 && i < index.n_manifests; i++)
            r = keep_below(l, &index.manifests[i], kept, depth + 1, err);
        return r;
    }
    if (r == 0)
        r = cb_manifest_parse(&m, body.buf, body.len, d->media_type, err);
    keep(kept, &m.config.digest);
    for (size_t i = 0; i < m.n_layers; i++)
        keep(kept, &m.layers[i].digest);
    return r;
}

static void remove_others(int dirfd, const char *alg, const struct cb_hashmap *kept)
{
    int fd = openat(dirfd, alg, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    struct stat st;
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        cb_autofree char *text = cb_asprintf("%s:%s", alg, e->d_name);
        struct cb_digest digest;
        if (cb_digest_parse(&digest, text, NULL) == 0 && !cb_hashmap_get(kept, text) &&
            fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_mtime + GRACE < time(NULL))
            unlinkat(fd, e->d_name, 0);
    }
    closedir(d);
}

static int sweep(struct cb_cache_place *p, struct cb_error *err)
{
    struct local *l = (struct local *)p;
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *kept = cb_hashmap_new();
    pthread_mutex_lock(&l->mu);
    int r = read_index(l, err);
    for (size_t i = 0; r == 0 && i < l->index.n_manifests; i++)
        r = keep_below(l, &l->index.manifests[i], kept, 0, err);
    pthread_mutex_unlock(&l->mu);
    if (r == 0) {
        remove_others(l->out.blobs, "sha256", kept);
        remove_others(l->out.blobs, "sha512", kept);
    }
    return r;
}

/* ---- opening ---- */

static void close_it(struct cb_cache_place *p)
{
    struct local *l = (struct local *)p;
    cb_index_done(&l->index);
    cb_layout_out_done(&l->out);
    cb_close_p(&l->root);
    pthread_mutex_destroy(&l->mu);
    free(l->path);
    free(l);
}

static const struct cb_cache_place_ops ops = {
    .get = get, .blob = open_blob, .has = has, .list = list, .remove = remove_name, .sweep = sweep, .exists = exists,
    .add = add, .put = put, .lock = lock, .unlock = unlock, .close = close_it,
};

int cache_local_open(const struct cb_cache_place_options *o, struct cb_cache_place **out, struct cb_error *err)
{
    struct local *l = CB_NEW(struct local);
    l->base.ops = &ops;
    l->base.text = cb_asprintf("directory %s", o->spec->path);
    l->path = cb_strdup(o->spec->path);
    l->root = -1;
    l->cancel = o->cancel;
    l->out = (struct cb_layout_out)CB_LAYOUT_OUT_INIT;
    pthread_mutex_init(&l->mu, NULL);
    int r = o->write ? cb_layout_out_open(&l->out, o->spec->path, err) : 0;
    if (r == 0)
        r = open_root(l, err);
    if (r < 0) {
        cb_cache_place_close(&l->base);
        return r;
    }
    *out = &l->base;
    return 0;
}
