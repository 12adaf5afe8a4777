/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of store and image share: a store in a directory of its own, small blobs, small images. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "oci/config.h"
#include "oci/manifest.h"
#include "store/store.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/limits.h"

/* The name of a tree that takes nothing from layers below. */
#define ALONE(d) (&(const struct cb_tree_name){ (d), NULL })

struct fixture {
    char dir[256];  /* private temporary directory */
    char root[300]; /* of the store, below it */
    struct cb_store *s;
    struct cb_error err;
};

#define ok(call) ok_at(f, (call), #call, __FILE__, __LINE__)
static inline CB_UNUSED void ok_at(struct fixture *f, int r, const char *what, const char *file, int line)
{
    if (r < 0)
        print_error("%s: %s\n", what, cb_error_text(&f->err));
    _assert_int_equal((uint64_t)(int64_t)r, 0, file, line);
}
#define fails(call, code) assert_int_equal((call), -(code))

static inline CB_UNUSED void reopen(struct fixture *f)
{
    cb_store_close(f->s);
    f->s = NULL;
    struct cb_store_options o = { .root = f->root };
    ok(cb_store_open(&o, &f->s, &f->err));
}

/* Before a fork: the child has none of the store's threads, but the locks that they held, ASan's allocator's among
 * them. */
static inline CB_UNUSED void threads_end(struct fixture *f)
{
    reopen(f);
}

static inline CB_UNUSED int setup(void **state)
{
    struct fixture *f = CB_NEW(struct fixture);
    const char *tmp = getenv("TMPDIR");
    snprintf(f->dir, sizeof f->dir, "%s/cbpush-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(f->dir))
        return -1;
    snprintf(f->root, sizeof f->root, "%s/store", f->dir);
    *state = f;
    reopen(f);
    return 0;
}

static inline CB_UNUSED int teardown(void **state)
{
    struct fixture *f = *state;
    cb_store_close(f->s);
    char *base = strrchr(f->dir, '/');
    *base++ = '\0';
    cb_autoclose int dir = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = cb_fs_remove_tree(dir, base, &f->err);
    if (r < 0)
        print_error("%s\n", cb_error_text(&f->err));
    cb_error_done(&f->err);
    free(f);
    return r;
}

static inline CB_UNUSED struct cb_digest put_text(struct fixture *f, const char *text)
{
    struct cb_digest d;
    ok(cb_store_blob_put(f->s, text, strlen(text), &d, &f->err));
    ok(cb_store_settle(f->s, &f->err));
    return d;
}

static inline CB_UNUSED struct cb_digest digest_of(const char *text)
{
    struct cb_digest d;
    cb_digest_of(&d, text, strlen(text));
    return d;
}

static inline CB_UNUSED char *path_in(const struct fixture *f, const char *rel)
{
    return cb_asprintf("%s/%s", f->root, rel);
}

static inline CB_UNUSED char *blob_file(const struct fixture *f, const struct cb_digest *d)
{
    char hex[CB_DIGEST_TEXT_MAX];
    return cb_asprintf("%s/blobs/%s/%s", f->root, cb_digest_alg_name(d->alg), cb_digest_hex(d, hex));
}

static inline CB_UNUSED void write_at(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

static inline CB_UNUSED bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static inline CB_UNUSED size_t count_entries(const char *path)
{
    size_t n = 0;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    char buf[65536];
    struct linux_dirent64_ {
        uint64_t ino;
        int64_t off;
        unsigned short len;
        unsigned char type;
        char name[];
    };
    ssize_t got;
    while ((got = getdents64(fd, buf, sizeof buf)) > 0)
        for (ssize_t i = 0; i < got;) {
            const struct linux_dirent64_ *e = (const void *)(buf + i);
            n += strcmp(e->name, ".") != 0 && strcmp(e->name, "..") != 0;
            i += e->len;
        }
    close(fd);
    return n;
}

static inline CB_UNUSED size_t count_in(const struct fixture *f, const char *rel)
{
    cb_autofree char *p = path_in(f, rel);
    return count_entries(p);
}

/* ---- layers and images ---- */

struct file_spec {
    const char *path, *text; /* text NULL: a directory */
};

/* A gzip layer of these, in the store, with its table; not recorded in the index. */
static inline CB_UNUSED struct cb_layer make_layer(struct fixture *f, const struct file_spec *v, size_t n)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = NULL;
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    struct cb_layer l = { 0 };
    ok(cb_store_blob_sink(f->s, &sink, &f->err));
    struct cb_layer_write_options o = {
        .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT }, .clamp_mtime = INT64_MAX, .sink = sink
    };
    w = cb_layer_writer_new(&o, &f->err);
    assert_non_null(w);
    for (size_t i = 0; i < n; i++) {
        struct cb_entry e = { .path = v[i].path,
                              .type = v[i].text ? CB_ENTRY_FILE : CB_ENTRY_DIR,
                              .mode = v[i].text ? 0644 : 0755 };
        e.mtime = 1000000000;
        e.size = v[i].text ? strlen(v[i].text) : 0;
        cb_autosource struct cb_blob_source *src = v[i].text ? cb_blob_source_from_mem(v[i].text, e.size) : NULL;
        ok(cb_layer_writer_add(w, &e, src, &f->err));
    }
    ok(cb_layer_writer_finish(w, &l, &toc, &f->err));
    ok(cb_store_settle(f->s, &f->err));
    ok(cb_store_toc_put(f->s, &l.diff_id, toc, &f->err));
    return l;
}

/* Config and manifest over these layers; not named. */
static inline CB_UNUSED struct cb_descriptor make_image(struct fixture *f, const struct cb_layer *v, size_t n,
                                                        const char *user)
{
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    struct cb_manifest m cb_cleanup_manifest = { .media_type = cb_strdup(CB_MT_OCI_MANIFEST) };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor d = { 0 };
    c.user = cb_strdup(user);
    cb_platform_host(&c.platform);
    m.layers = cb_calloc(n + 1, sizeof *m.layers);
    for (size_t i = 0; i < n; i++) {
        struct cb_history h = { .created_by = (char *)(uintptr_t) "test" };
        cb_image_config_add_diff_id(&c, &v[i].diff_id);
        cb_image_config_add_history(&c, &h);
        struct cb_descriptor *l = &m.layers[m.n_layers++];
        l->media_type = cb_strdup(v[i].encodings[0].media_type);
        l->digest = v[i].encodings[0].digest;
        l->size = v[i].encodings[0].size;
    }
    cb_image_config_print(&body, &c);
    cb_descriptor_of(&m.config, CB_MT_OCI_CONFIG, body.buf, body.len);
    ok(cb_store_blob_put(f->s, body.buf, body.len, NULL, &f->err));
    cb_strbuf_reset(&body);
    cb_manifest_print(&body, &m);
    cb_descriptor_of(&d, CB_MT_OCI_MANIFEST, body.buf, body.len);
    ok(cb_store_blob_put(f->s, body.buf, body.len, NULL, &f->err));
    ok(cb_store_settle(f->s, &f->err));
    return d;
}

static inline CB_UNUSED struct cb_descriptor simple_image(struct fixture *f, const char *text, struct cb_layer *layer)
{
    const struct file_spec files[] = { { "dir", NULL }, { "dir/file", text } };
    struct cb_layer l = make_layer(f, files, 2);
    struct cb_descriptor d = make_image(f, &l, 1, text);
    if (layer)
        *layer = l;
    else
        cb_layer_done(&l);
    return d;
}

/* An unpacked layer with one file. */
static inline CB_UNUSED int make_tree(struct fixture *f, const struct cb_digest *diff_id, const char *text)
{
    struct cb_store_tmp t cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    int r = cb_store_tmp_new(f->s, "test", &t, &f->err);
    if (r < 0)
        return r;
    cb_autoclose int fd = openat(t.fd, "fs/file", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        return -CB_ELOCAL;
    return cb_store_tree_publish(f->s, &t, "fs", ALONE(diff_id), &f->err);
}
