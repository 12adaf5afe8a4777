/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A layer taken in several times: to a directory, and to images in stores of their own, where the kernel mounts one,
 * with its digests in the same pass and behind it. Whoever looks at them must not be able to tell them apart. */
#include "store_fixture.h"
#include "layer_support.h"

#include <sys/xattr.h>

#include "image/image.h"

struct take {
    struct cb_digest diff_id;
    uint64_t size;
    const struct cb_digest *lower;
    size_t n_lower;
    bool single_id;
};

/* As it is named where it takes from the layers below; one that does not is found by that, too. */
static inline struct cb_tree_name take_name(const struct take *t, struct cb_digest *below)
{
    cb_chain_id(below, t->lower, t->n_lower);
    return (struct cb_tree_name){ &t->diff_id, below };
}

/* "ROOT/trees/NAME/fs/PATH", owned. */
static inline CB_UNUSED char *take_path(const char *root, const struct take *t, const char *path)
{
    char hex[CB_DIGEST_TEXT_MAX], on[CB_DIGEST_TEXT_MAX] = "";
    struct cb_digest below;
    take_name(t, &below);
    cb_autofree char *alone = cb_asprintf("%s/trees/%s", root, cb_digest_hex(&t->diff_id, hex));
    if (t->n_lower)
        cb_digest_hex(&below, on);
    return exists(alone) ? cb_asprintf("%s/%s", alone, path) : cb_asprintf("%s+%s/%s", alone, on, path);
}

static inline int twin_intake(struct cb_store *s, const struct cb_strbuf *tar, struct take *t, struct cb_error *err)
{
    struct cb_layer_intake o = {
        .store = s,
        .source = sup_source(tar->buf, tar->len, 7000),
        .want_tree = true,
        .userxattr = geteuid() != 0,
        .single_id = geteuid() != 0 || t->single_id,
        .lower = t->lower,
        .n_lower = t->n_lower,
    };
    return cb_image_intake(&o, &t->diff_id, &t->size, err);
}

static inline int twin_by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static inline bool twin_counts(const char *name)
{
    return cb_xattr_allowed(name) || strstr(name, "overlay.") != NULL;
}

/* The attributes as text, sorted by name. */
static inline void twin_xattrs(const char *path, struct cb_strbuf *out)
{
    char names[8192], value[65536];
    struct cb_strvec v cb_cleanup_strvec = CB_STRVEC_INIT;
    ssize_t n = llistxattr(path, names, sizeof names);
    for (ssize_t i = 0; i < n; i += (ssize_t)strlen(names + i) + 1)
        if (twin_counts(names + i))
            cb_strvec_push(&v, names + i);
    for (size_t i = 1; i < v.n; i++)
        for (size_t k = i; k > 0 && strcmp(v.v[k - 1], v.v[k]) > 0; k--) {
            char *x = v.v[k];
            v.v[k] = v.v[k - 1];
            v.v[k - 1] = x;
        }
    for (size_t i = 0; i < v.n; i++) {
        ssize_t len = lgetxattr(path, v.v[i], value, sizeof value);
        assert_true(len >= 0);
        cb_strbuf_addf(out, " %s=", v.v[i]);
        for (ssize_t k = 0; k < len; k++)
            cb_strbuf_addf(out, "%02x", (unsigned char)value[k]);
    }
}

/* All that stat, readlink, read and the attributes tell. Directories' sizes and counts of links are the file system's
 * own, and so is the time of whiteouts and
 * of a root, which layers do not list. */
static inline void twin_describe(const char *path, bool root, struct cb_strbuf *out)
{
    struct stat st;
    char link[8192] = "";
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest d = { 0 };
    char hex[CB_DIGEST_TEXT_MAX] = "";
    assert_int_equal(lstat(path, &st), 0);
    bool dir = S_ISDIR(st.st_mode), timeless = root || (S_ISCHR(st.st_mode) && st.st_rdev == 0);
    if (S_ISLNK(st.st_mode))
        assert_true(readlink(path, link, sizeof link - 1) >= 0);
    if (S_ISREG(st.st_mode)) {
        assert_int_equal(cb_file_slurp(path, 1 << 26, &text, NULL), 0);
        cb_digest_of(&d, text.buf, text.len);
        cb_digest_hex(&d, hex);
    }
    cb_strbuf_addf(out, "%o %u:%u dev %llx size %lld links %lu time %lld.%09ld '%s' %s", st.st_mode, st.st_uid,
                   st.st_gid,
                   S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode) ? (unsigned long long)st.st_rdev : 0,
                   dir ? 0LL : (long long)st.st_size, dir ? 0UL : (unsigned long)st.st_nlink,
                   timeless ? 0LL : (long long)st.st_mtim.tv_sec, timeless ? 0L : st.st_mtim.tv_nsec, link, hex);
    twin_xattrs(path, out);
}

static inline void twin_list(const char *top, const char *rel, struct cb_strbuf *out)
{
    cb_autofree char *path = *rel ? cb_asprintf("%s/%s", top, rel) : cb_asprintf("%s/.", top);
    cb_strbuf_addf(out, "/%s ", rel);
    twin_describe(path, !*rel, out);
    cb_strbuf_addch(out, '\n');
    struct dirent **v = NULL;
    struct stat st;
    int n = lstat(path, &st) == 0 && S_ISDIR(st.st_mode) ? scandir(path, &v, NULL, twin_by_name) : 0;
    for (int i = 0; i < n; i++) {
        cb_autofree char *below = *rel ? cb_asprintf("%s/%s", rel, v[i]->d_name) : cb_strdup(v[i]->d_name);
        if (strcmp(v[i]->d_name, ".") != 0 && strcmp(v[i]->d_name, "..") != 0)
            twin_list(top, below, out);
        free(v[i]);
    }
    free(v);
}

static inline void twin_of_tree(struct cb_store *s, const struct take *t, struct cb_strbuf *out)
{
    struct cb_digest below;
    const struct cb_tree_name name = take_name(t, &below);
    cb_autoclose int fd = -1;
    assert_int_equal(cb_store_tree_open(s, &name, &fd, NULL), 0);
    cb_autofree char *top = cb_asprintf("/proc/self/fd/%d", fd);
    twin_list(top, "", out);
}

/* How many layers became images in this process. */
static CB_UNUSED size_t twin_images;
static CB_UNUSED char *twin_refused; /* why there can be none */

static inline void twin_compare(struct fixture *f, struct cb_store *twin, const struct take *t)
{
    struct cb_strbuf a cb_cleanup_strbuf = CB_STRBUF_INIT, b cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *root = cb_asprintf("%s/twin", f->root), *image = take_path(root, t, "image");
    twin_images += exists(image);
    twin_of_tree(f->s, t, &a);
    twin_of_tree(twin, t, &b);
    assert_string_equal(a.buf, b.buf);
}

/* Where it is not to be an image all is done at once, and it comes out the same. */
static inline int early_intake(struct cb_store *s, const struct cb_strbuf *tar, const struct take *t,
                               struct cb_toc **toc, struct cb_error *err)
{
    CB_AUTO(cb_layer_early_free) struct cb_layer_early *early = NULL;
    struct cb_layer_intake o = {
        .store = s, .source = sup_source(tar->buf, tar->len, 7000), .want_tree = true, .diff_id = t->diff_id,
        .lower = t->lower, .n_lower = t->n_lower, .toc = toc, .early = &early,
    };
    struct cb_digest below;
    const struct cb_tree_name name = take_name(t, &below);
    int r = cb_image_intake(&o, NULL, NULL, err), fd = -1;
    if (r < 0 || !early)
        return r;
    assert_true(cb_layer_early_tree(early) >= 0);
    assert_int_equal(cb_store_tree_open(s, &name, &fd, NULL), -CB_ENOTFOUND);
    cb_toc_unref(CB_TAKE(*toc));
    for (unsigned part = CB_LAYER_EARLY_PARTS; r == 0 && part-- > 0;)
        r = cb_layer_early_hash(early, part, NULL, err);
    return r < 0 ? r : cb_layer_early_finish(early, toc, err);
}

static inline struct cb_store *early_store(struct fixture *f)
{
    cb_autofree char *root = cb_asprintf("%s/early", f->root);
    const struct cb_store_options o = { .root = root, .images = CB_STORE_IMAGES_ALL };
    struct cb_store *s = NULL;
    assert_int_equal(cb_store_open(&o, &s, NULL), 0);
    return s;
}

/* What is refused is so before any digest is known. */
static inline void early_refuses(struct fixture *f, const struct cb_strbuf *tar, const struct take *t, int why)
{
    CB_AUTO(cb_store_close) struct cb_store *s = early_store(f);
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    struct take any = *t;
    cb_digest_of(&any.diff_id, "any", 3);
    assert_int_equal(early_intake(s, tar, &any, &toc, NULL), why);
}

static inline void early_compare(struct fixture *f, struct cb_store *twin, const struct cb_strbuf *tar,
                                 const struct take *t)
{
    struct cb_strbuf a cb_cleanup_strbuf = CB_STRBUF_INIT, b cb_cleanup_strbuf = CB_STRBUF_INIT;
    CB_AUTO(cb_store_close) struct cb_store *s = early_store(f);
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL, *other = NULL;
    struct take wrong = *t;
    int fd = -1;
    struct cb_digest below;
    const struct cb_tree_name name = take_name(&wrong, &below);
    wrong.diff_id.raw[0] ^= 1;
    assert_int_equal(early_intake(s, tar, &wrong, &toc, NULL), -CB_EVERIFY);
    assert_int_equal(cb_store_tree_open(s, &name, &fd, NULL), -CB_ENOTFOUND);
    assert_int_equal(cb_store_toc_get(s, &wrong.diff_id, &other, NULL), -CB_ENOTFOUND);
    cb_toc_unref(CB_TAKE(toc));
    assert_int_equal(early_intake(s, tar, t, &toc, NULL), 0);
    twin_of_tree(twin, t, &a);
    twin_of_tree(s, t, &b);
    assert_string_equal(a.buf, b.buf);
    assert_int_equal(cb_store_toc_get(twin, &t->diff_id, &other, NULL), 0);
    cb_strbuf_reset(&a);
    cb_strbuf_reset(&b);
    cb_toc_print(&a, other);
    cb_toc_print(&b, toc);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.buf, b.buf, a.len);
}

static inline int take_in(struct fixture *f, const struct cb_strbuf *tar, struct take *t)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct take other = *t;
    int r = twin_intake(f->s, tar, t, &f->err);
    if (geteuid() != 0 || t->single_id)
        return r;
    cb_autofree char *root = cb_asprintf("%s/twin", f->root);
    CB_AUTO(cb_store_close) struct cb_store *twin = NULL;
    const struct cb_store_options o = { .root = root, .images = CB_STORE_IMAGES_ALL };
    assert_int_equal(cb_store_open(&o, &twin, NULL), 0);
    const char *why = cb_store_images_refused(twin);
    if (why) {
        free(twin_refused);
        twin_refused = cb_strdup(why);
        return r;
    }
    assert_int_equal(twin_intake(twin, tar, &other, &e), r);
    if (r < 0) {
        assert_string_equal(cb_error_text(&e), cb_error_text(&f->err));
        early_refuses(f, tar, t, r);
    } else {
        twin_compare(f, twin, t);
        early_compare(f, twin, tar, t);
    }
    return r;
}
