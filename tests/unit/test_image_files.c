/* SPDX-License-Identifier: Apache-2.0 */
/* Images: committing, loading, single files, and the round trips out of and into the store. */
#include "store_fixture.h"
#include "layer_support.h"

#include "image/image.h"
#include "oci/json.h"
#include "util/proc.h"

/* ---- a small image of three layers ---- */

#define N_LAYERS 3
/* Number n of them, on those before it. */
static struct cb_layer layer_of_tar(struct fixture *f, struct cb_strbuf *tar, bool tree, const struct cb_layer *v,
                                    size_t n)
{
    struct cb_layer l = { 0 };
    struct cb_digest lower[N_LAYERS];
    struct cb_layer_encoding e = { .compression = CB_COMPRESSION_NONE, .size = tar->len };
    struct cb_layer_intake in = {
        .store = f->s, .want_tree = tree, .userxattr = geteuid() != 0, .single_id = geteuid() != 0
    };
    for (; in.n_lower < n; in.n_lower++)
        lower[in.n_lower] = v[in.n_lower].diff_id;
    in.lower = lower;
    ok(cb_store_blob_put(f->s, tar->buf, tar->len, &e.digest, &f->err));
    ok(cb_store_blob_source(f->s, &e.digest, &in.source, &f->err));
    ok(cb_image_intake(&in, &l.diff_id, &l.size, &f->err));
    e.media_type = (char *)(uintptr_t)CB_MT_OCI_LAYER;
    cb_layer_add_encoding(&l, &e);
    cb_strbuf_done(tar);
    return l;
}

static void three_layers(struct fixture *f, struct cb_layer v[N_LAYERS], bool trees)
{
    const struct file_spec base[] = { { "dir", NULL },
                                      { "dir/keep", "keep" },
                                      { "dir/old", "old" },
                                      { "etc", NULL },
                                      { "etc/passwd", "root:x:0:0::/root:/bin/sh\n" },
                                      { "gone", "gone" } };
    v[0] = make_layer(f, base, CB_COUNTOF(base));
    struct cb_strbuf t = CB_STRBUF_INIT;
    sup_file(&t, ".wh.gone", "");
    sup_add(&t, '5', "dir/", NULL);
    sup_file(&t, "dir/.wh..wh..opq", "");
    sup_file(&t, "dir/new", "new");
    sup_add(&t, '1', "dir/new2", "dir/new");
    sup_add(&t, '2', "link", "dir/new");
    sup_head(&t,
             &(struct sup_header){
                 .name = "owned", .type = '0', .mode = 0600, .uid = 7, .gid = 8, .mtime = 1500000000, .size = 2 });
    sup_body(&t, "me", 2);
    sup_end(&t);
    v[1] = layer_of_tar(f, &t, trees, v, 1);
    sup_file(&t, "dir/new", "newer");
    sup_file(&t, "empty", "");
    sup_end(&t);
    v[2] = layer_of_tar(f, &t, trees, v, 2);
}

static struct cb_image commit_three(struct fixture *f, bool docker)
{
    struct cb_layer v[N_LAYERS];
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    struct cb_image img = { 0 };
    three_layers(f, v, false);
    cb_platform_host(&c.platform);
    c.created = cb_strdup("2026-01-02T03:04:05Z");
    for (size_t i = 0; i < N_LAYERS; i++) {
        struct cb_history h = { .created_by = (char *)(uintptr_t) "step" };
        cb_image_config_add_diff_id(&c, &v[i].diff_id);
        cb_image_config_add_history(&c, &h);
    }
    struct cb_commit_options o = { .config = &c, .layers = v, .n_layers = N_LAYERS, .docker_types = docker };
    ok(cb_image_commit(f->s, &o, &img, &f->err));
    for (size_t i = 0; i < N_LAYERS; i++)
        cb_layer_done(&v[i]);
    return img;
}

/* ---- commit and load ---- */

static void commit_then_load(void **state)
{
    struct fixture *f = *state;
    for (int docker = 0; docker < 2; docker++) {
        struct cb_image img cb_cleanup_image = commit_three(f, docker), got cb_cleanup_image = { 0 };
        struct cb_image twin cb_cleanup_image = commit_three(f, docker);
        assert_true(cb_digest_eq(&img.desc.digest, &twin.desc.digest)); /* same input, same bytes */
        assert_string_equal(img.desc.media_type, docker ? CB_MT_DOCKER_MANIFEST : CB_MT_OCI_MANIFEST);
        assert_string_equal(img.manifest.layers[0].media_type,
                            docker ? CB_MT_DOCKER_LAYER_GZIP : CB_MT_OCI_LAYER_GZIP);
        assert_string_equal(img.manifest.layers[1].media_type, docker ? CB_MT_DOCKER_LAYER : CB_MT_OCI_LAYER);
        ok(cb_image_load(f->s, &img.desc, NULL, &got, &f->err));
        assert_int_equal(got.config.n_diff_ids, N_LAYERS);
        assert_int_equal(got.manifest.n_layers, N_LAYERS);
        assert_true(cb_digest_eq(&got.manifest.config.digest, &img.manifest.config.digest));
    }
}

static void commit_refuses_what_does_not_fit(void **state)
{
    struct fixture *f = *state;
    struct cb_layer v[N_LAYERS];
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    struct cb_image img = { 0 };
    three_layers(f, v, false);
    cb_platform_host(&c.platform);
    struct cb_commit_options o = { .config = &c, .layers = v, .n_layers = N_LAYERS };
    fails(cb_image_commit(f->s, &o, &img, &f->err), CB_EVERIFY); /* three layers, no diff ids */
    cb_image_config_add_diff_id(&c, &v[1].diff_id);
    cb_image_config_add_diff_id(&c, &v[0].diff_id);
    cb_image_config_add_diff_id(&c, &v[2].diff_id);
    fails(cb_image_commit(f->s, &o, &img, &f->err), CB_EINTERNAL); /* in another order */
    c.diff_ids[0] = v[0].diff_id;
    c.diff_ids[1] = v[1].diff_id;
    ok(cb_image_commit(f->s, &o, &img, &f->err));
    cb_image_done(&img);
    v[1].encodings[0].compression = CB_COMPRESSION_ZSTD;
    o.docker_types = true;
    fails(cb_image_commit(f->s, &o, &img, &f->err), CB_EUSAGE);
    for (size_t i = 0; i < N_LAYERS; i++)
        cb_layer_done(&v[i]);
}

static void put_index(struct fixture *f, const struct cb_descriptor *v, size_t n, struct cb_descriptor *out)
{
    struct cb_index idx cb_cleanup_index = { .media_type = cb_strdup(CB_MT_OCI_INDEX) };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    idx.manifests = cb_calloc(n, sizeof *idx.manifests);
    for (size_t i = 0; i < n; i++)
        cb_descriptor_copy(&idx.manifests[idx.n_manifests++], &v[i]);
    cb_index_print(&body, &idx);
    cb_descriptor_of(out, CB_MT_OCI_INDEX, body.buf, body.len);
    ok(cb_store_blob_put(f->s, body.buf, body.len, NULL, &f->err));
}

static void load_selects_by_platform(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false), got cb_cleanup_image = { 0 };
    struct cb_descriptor d[2] = { 0 }, top cb_cleanup_descriptor = { 0 };
    cb_descriptor_of(&d[0], CB_MT_OCI_MANIFEST, "absent", 6);
    d[0].platform = CB_NEW(struct cb_platform);
    ok(cb_platform_parse(d[0].platform, "linux/s390x", &f->err));
    cb_descriptor_copy(&d[1], &img.desc);
    put_index(f, d, 2, &top);
    ok(cb_image_load(f->s, &top, NULL, &got, &f->err));
    assert_true(cb_digest_eq(&got.desc.digest, &img.desc.digest));
    struct cb_platform p cb_cleanup_platform = { 0 };
    struct cb_image none = { 0 };
    ok(cb_platform_parse(&p, "linux/s390x", &f->err));
    fails(cb_image_load(f->s, &top, &p, &none, &f->err), CB_ENOTFOUND); /* listed, but not in the store */
    cb_platform_done(&p);
    ok(cb_platform_parse(&p, "windows/amd64", &f->err));
    fails(cb_image_load(f->s, &top, &p, &none, &f->err), CB_ENOTFOUND);
    assert_non_null(strstr(f->err.msg, "windows/amd64"));
    /* Indexes in one another: some, but not without end. */
    for (int i = 0; i < 8; i++) {
        struct cb_descriptor next = { 0 };
        struct cb_image deep cb_cleanup_image = { 0 };
        put_index(f, &top, 1, &next);
        cb_descriptor_done(&top);
        top = next;
        int r = cb_image_load(f->s, &top, NULL, &deep, &f->err);
        assert_int_equal(r, i < CB_MAX_INDEX_DEPTH ? 0 : -CB_EVERIFY);
    }
    cb_descriptor_done(&d[0]);
    cb_descriptor_done(&d[1]);
}

static void load_notices_wrong_sizes(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false), got = { 0 };
    img.desc.size++;
    fails(cb_image_load(f->s, &img.desc, NULL, &got, &f->err), CB_EVERIFY);
    img.desc.size -= 2;
    fails(cb_image_load(f->s, &img.desc, NULL, &got, &f->err), CB_EVERIFY);
    img.desc.size = 0;
    fails(cb_image_load(f->s, &img.desc, NULL, &got, &f->err), CB_EVERIFY);
}

/* ---- single files ---- */

static void check_file(struct fixture *f, struct cb_files *files, const struct cb_stack *st, const char *path,
                       const char *text)
{
    const struct cb_stack_entry *e = cb_stack_find(st, path);
    assert_non_null(e);
    cb_autosource struct cb_blob_source *src = NULL;
    ok(cb_files_source(files, e, &src, &f->err));
    char buf[64];
    size_t got = 0, end = 1;
    ok(cb_blob_read_full(src, buf, sizeof buf - 1, &got, &f->err));
    buf[got] = '\0';
    assert_string_equal(buf, text);
    ok(cb_blob_read(src, buf, 1, &end, &f->err));
    assert_int_equal(end, 0);
}

/* A tree of the i-th that lacks what its table has. */
static void lose_files(struct fixture *f, const struct cb_layer *v, size_t i)
{
    static const char *const names[] = { "dir/new", "dir/new2", "owned" };
    cb_autoclose int tree = -1;
    struct cb_digest lower[N_LAYERS], below;
    for (size_t k = 0; k < i; k++)
        lower[k] = v[k].diff_id;
    cb_chain_id(&below, lower, i);
    ok(cb_store_tree_open(f->s, &(struct cb_tree_name){ &v[i].diff_id, &below }, &tree, &f->err));
    for (size_t k = 0; k < CB_COUNTOF(names); k++)
        unlinkat(tree, names[k], 0);
}

/* Without trees, with them, and with some that are not whole: those files come from the blobs. */
static void files_from_trees_and_blobs(void **state)
{
    struct fixture *f = *state;
    for (int trees = 0; trees < 3; trees++) {
        struct cb_layer v[N_LAYERS];
        struct cb_toc *tocs[N_LAYERS];
        three_layers(f, v, trees > 0);
        for (size_t i = 1; trees == 2 && i < N_LAYERS; i++) /* the lowest never has one */
            lose_files(f, v, i);
        for (size_t i = 0; i < N_LAYERS; i++)
            ok(cb_store_toc_get(f->s, &v[i].diff_id, &tocs[i], &f->err));
        CB_AUTO(cb_stack_unref) struct cb_stack *st = cb_stack_new(tocs, N_LAYERS);
        static const char *const paths[] = { "dir/new", "dir/new2", "owned", "empty", "etc/passwd" };
        const struct cb_stack_entry *wanted[CB_COUNTOF(paths)];
        for (size_t i = 0; i < CB_COUNTOF(paths); i++)
            assert_non_null(wanted[i] = cb_stack_find(st, paths[i]));
        assert_null(cb_stack_find(st, "dir/keep"));
        assert_null(cb_stack_find(st, "gone"));
        struct cb_files_options o = {
            .store = f->s, .stack = st, .layers = v, .wanted = wanted, .n_wanted = CB_COUNTOF(paths)
        };
        CB_AUTO(cb_files_free) struct cb_files *files = NULL;
        ok(cb_files_open(&o, &files, &f->err));
        check_file(f, files, st, "dir/new", "newer");
        check_file(f, files, st, "dir/new2", "new"); /* the inode of the layer below */
        check_file(f, files, st, "owned", "me");
        check_file(f, files, st, "empty", "");
        check_file(f, files, st, "etc/passwd", "root:x:0:0::/root:/bin/sh\n");
        struct cb_blob_source *src = NULL;
        fails(cb_files_source(files, cb_stack_find(st, "link"), &src, &f->err), CB_EVERIFY);
        for (size_t i = 0; i < N_LAYERS; i++) {
            cb_layer_done(&v[i]);
            cb_toc_unref(tocs[i]);
        }
    }
}

static void files_of_compressed_layers_are_spooled(void **state)
{
    struct fixture *f = *state;
    struct file_spec specs[200];
    char text[200][32];
    for (int i = 0; i < 200; i++) {
        snprintf(text[i], sizeof text[i], "f%03d", i);
        specs[i] = (struct file_spec){ text[i], text[i] };
    }
    struct cb_layer l cb_cleanup_layer = make_layer(f, specs, 200);
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    ok(cb_store_toc_get(f->s, &l.diff_id, &toc, &f->err));
    CB_AUTO(cb_stack_unref) struct cb_stack *st = cb_stack_new(&toc, 1);
    const struct cb_stack_entry *wanted[] = { cb_stack_find(st, "f199"), cb_stack_find(st, "f000"),
                                              cb_stack_find(st, "f100") };
    struct cb_files_options o = { .store = f->s, .stack = st, .layers = &l, .wanted = wanted, .n_wanted = 3 };
    CB_AUTO(cb_files_free) struct cb_files *files = NULL;
    ok(cb_files_open(&o, &files, &f->err));
    check_file(f, files, st, "f000", "f000");
    check_file(f, files, st, "f100", "f100");
    check_file(f, files, st, "f199", "f199");
    struct cb_blob_source *src = NULL;
    fails(cb_files_source(files, cb_stack_find(st, "f001"), &src, &f->err), CB_EINTERNAL);
    cb_autofree char *p = blob_file(f, &l.encodings[0].digest);
    assert_int_equal(unlink(p), 0);
    struct cb_files *none = NULL;
    fails(cb_files_open(&o, &none, &f->err), CB_ENOTFOUND);
}

/* ---- out and in again ---- */

static const char *const names[] = { "docker.io/library/app:1.0", "registry.example:5000/team/app:latest" };

static struct cb_export_options options(struct fixture *f, const struct cb_image *img)
{
    return (struct cb_export_options){
        .store = f->s, .image = img, .names = names, .n_names = 2, .clamp_mtime = 1600000000
    };
}

static int create(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    return fd;
}

static int import_from(struct fixture *f, const char *path, struct cb_import_result *out)
{
    struct cb_import_options o = { .store = f->s, .path = path };
    return cb_image_import(&o, out, &f->err);
}

/* A second store next to the first becomes the fixture's own. */
static void other_store(struct fixture *f)
{
    snprintf(f->root, sizeof f->root, "%s/other", f->dir);
    reopen(f);
}

static void check_import(struct fixture *f, const char *path, const struct cb_image *want, bool same_manifest)
{
    struct cb_import_result r CB_CLEANUP(cb_import_result_done) = { 0 };
    ok(import_from(f, path, &r));
    assert_int_equal(r.n, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(r.names[i], names[i]);
        assert_int_equal(r.images[i].config.n_diff_ids, N_LAYERS);
        assert_true(cb_digest_eq(&r.images[i].manifest.config.digest, &want->manifest.config.digest));
        assert_true(!same_manifest || cb_digest_eq(&r.images[i].desc.digest, &want->desc.digest));
        for (size_t k = 0; k < N_LAYERS; k++) {
            struct cb_layer l cb_cleanup_layer = { 0 };
            assert_true(cb_store_blob_has(f->s, &want->manifest.layers[k].digest, NULL));
            ok(cb_store_layer_get(f->s, &want->config.diff_ids[k], &l, &f->err));
            assert_true(cb_digest_eq(&l.encodings[0].digest, &want->manifest.layers[k].digest));
        }
        ok(cb_store_name_set(f->s, r.names[i], &r.images[i].desc, &f->err));
    }
    struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
    ok(cb_store_name_list(f->s, &l, &f->err));
    assert_int_equal(l.n, 2); /* none but what we have named ourselves (C7) */
}

static void round_trips(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_export_options o = options(f, &img);
    cb_autofree char *oci = cb_asprintf("%s/oci.tar", f->dir), *docker = cb_asprintf("%s/docker.tar", f->dir);
    cb_autofree char *dir = cb_asprintf("%s/oci", f->dir), *again = cb_asprintf("%s/again.tar", f->dir);
    cb_autoclose int a = create(oci), b = create(docker), c = create(again);
    ok(cb_export_oci_tar(&o, a, &f->err));
    ok(cb_export_oci_tar(&o, c, &f->err));
    ok(cb_export_docker_tar(&o, b, &f->err));
    ok(cb_export_oci_dir(&o, dir, &f->err));
    ok(cb_export_oci_dir(&o, dir, &f->err)); /* nothing doubles */
    struct cb_strbuf x cb_cleanup_strbuf = CB_STRBUF_INIT, y cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_file_slurp(oci, 1 << 24, &x, &f->err));
    ok(cb_file_slurp(again, 1 << 24, &y, &f->err));
    assert_int_equal(x.len, y.len);
    assert_memory_equal(x.buf, y.buf, x.len);
    const char *const sources[] = { oci, docker, dir };
    for (size_t i = 0; i < CB_COUNTOF(sources); i++) {
        snprintf(f->root, sizeof f->root, "%s/in%zu", f->dir, i);
        reopen(f);
        check_import(f, sources[i], &img, true);
    }
}

static void a_layout_takes_more_images(void **state)
{
    struct fixture *f = *state;
    struct cb_image one cb_cleanup_image = commit_three(f, false), two cb_cleanup_image = commit_three(f, true);
    cb_autofree char *dir = cb_asprintf("%s/oci", f->dir);
    struct cb_export_options o = options(f, &one);
    ok(cb_export_oci_dir(&o, dir, &f->err));
    o.image = &two;
    o.n_names = 1;
    ok(cb_export_oci_dir(&o, dir, &f->err)); /* takes over the first name only */
    o.n_names = 0;
    ok(cb_export_oci_dir(&o, dir, &f->err));
    ok(cb_export_oci_dir(&o, dir, &f->err));
    other_store(f);
    struct cb_import_result r CB_CLEANUP(cb_import_result_done) = { 0 };
    ok(import_from(f, dir, &r));
    assert_int_equal(r.n, 3);
    for (size_t i = 0; i < r.n; i++) {
        const struct cb_image *want = cb_streq(r.names[i], names[1]) ? &one : &two;
        assert_true(cb_digest_eq(&r.images[i].desc.digest, &want->desc.digest));
    }
}

/* docker save before version 25: no OCI layout, links between layers. */
static void old_docker_archives(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_strbuf tar cb_cleanup_strbuf = CB_STRBUF_INIT, config cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strbuf plain[N_LAYERS];
    ok(cb_store_blob_get(f->s, &img.manifest.config.digest, CB_MAX_MANIFEST, &config, &f->err));
    sup_head(&tar, &(struct sup_header){ .name = "config.json", .type = '0', .size = config.len });
    sup_body(&tar, config.buf, config.len);
    for (size_t i = 0; i < N_LAYERS; i++) {
        char name[32];
        plain[i] = (struct cb_strbuf)CB_STRBUF_INIT;
        ok(cb_store_blob_get(f->s, &img.manifest.layers[i].digest, 1 << 24, &plain[i], &f->err));
        snprintf(name, sizeof name, "l%zu/layer.tar", i);
        if (i == 1) {
            sup_add(&tar, '2', name, "../shared/layer.tar");
            snprintf(name, sizeof name, "shared/layer.tar");
        }
        sup_head(&tar, &(struct sup_header){ .name = name, .type = '0', .size = plain[i].len });
        sup_body(&tar, plain[i].buf, plain[i].len);
        cb_strbuf_done(&plain[i]);
    }
    size_t before_manifest = tar.len;
    sup_file(&tar, "manifest.json",
             "[{\"Config\":\"config.json\",\"RepoTags\":[\"app:1.0\",\"registry.example:5000/team/app:latest\"],"
             "\"Layers\":[\"l0/layer.tar\",\"l1/layer.tar\",\"l2/layer.tar\"]}]");
    sup_end(&tar);
    cb_autofree char *path = cb_asprintf("%s/old.tar", f->dir);
    cb_autoclose int fd = create(path);
    ok(cb_fd_write_all(fd, tar.buf, tar.len, &f->err));
    other_store(f);
    check_import(f, path, &img, true);
    /* Layers in another order have other diff ids. */
    static const char *const bad[] = {
        ("[{\"Config\":\"config.json\",\"RepoTags\":[],\"Layers\":[\"l1/layer.tar\",\"l0/layer.tar\",\"l2/"
         "layer.tar\"]}]"),
        "[{\"Config\":\"config.json\",\"RepoTags\":[],\"Layers\":[\"l0/layer.tar\",\"l1/layer.tar\"]}]",
        "[{\"Config\":\"none.json\",\"Layers\":[]}]",
        "[{\"Config\":\"../../config.json\",\"Layers\":[]}]",
        "[{\"Layers\":[]}]",
        "[{\"Config\":\"config.json\",\"config\":\"x\",\"Layers\":[]}]",
        "[{\"Config\":7,\"Layers\":[]}]",
        "[]",
        "{}",
        "[{",
        "[null]",
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        cb_strbuf_setlen(&tar, before_manifest);
        sup_file(&tar, "manifest.json", bad[i]);
        sup_end(&tar);
        cb_autoclose int w = create(path);
        ok(cb_fd_write_all(w, tar.buf, tar.len, &f->err));
        struct cb_import_result r CB_CLEANUP(cb_import_result_done) = { 0 };
        int k = import_from(f, path, &r);
        if (k != -CB_EVERIFY)
            print_error("%s: %d %s\n", bad[i], k, cb_error_text(&f->err));
        assert_int_equal(k, -CB_EVERIFY);
        assert_int_equal(r.n, 0);
    }
}

static void hostile_archives(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_export_options o = options(f, &img);
    cb_autofree char *dir = cb_asprintf("%s/oci", f->dir), *tarpath = cb_asprintf("%s/x.tar", f->dir);
    ok(cb_export_oci_dir(&o, dir, &f->err));
    other_store(f);
    char hex[CB_DIGEST_TEXT_MAX];
    cb_autofree char *layer =
        cb_asprintf("%s/blobs/sha256/%s", dir, cb_digest_hex(&img.manifest.layers[1].digest, hex));
    cb_autofree char *kept = cb_asprintf("%s/kept", f->dir);
    struct cb_import_result r = { 0 };
    assert_int_equal(rename(layer, kept), 0);
    fails(import_from(f, dir, &r), CB_ENOTFOUND);
    write_at(layer, "other bytes");
    fails(import_from(f, dir, &r), CB_EVERIFY);
    assert_int_equal(unlink(layer), 0);
    assert_int_equal(symlink(kept, layer), 0); /* leads out of the layout */
    assert_true(import_from(f, dir, &r) < 0);
    assert_int_equal(unlink(layer), 0);
    assert_int_equal(mkfifo(layer, 0600), 0); /* would block for ever */
    fails(import_from(f, dir, &r), CB_EVERIFY);
    assert_int_equal(unlink(layer), 0);
    assert_int_equal(rename(kept, layer), 0);
    ok(import_from(f, dir, &r));
    cb_import_result_done(&r);
    static const char *const indexes[] = {
        "",
        "{}",
        "[]",
        "{\"schemaVersion\":2}",
        "{\"schemaVersion\":2,\"manifests\":[]}",
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
        "\"digest\":\"sha256:../../../../etc/passwd\",\"size\":7}]}",
        "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\","
        "\"digest\":\"md5:d41d8cd98f00b204e9800998ecf8427e\",\"size\":7}]}",
        "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[],\"config\":{}}",
    };
    cb_autofree char *index = cb_asprintf("%s/index.json", dir), *version = cb_asprintf("%s/oci-layout", dir);
    for (size_t i = 0; i < CB_COUNTOF(indexes); i++) {
        write_at(index, indexes[i]);
        int k = import_from(f, dir, &r);
        if (k != -CB_EVERIFY)
            print_error("%s: %d %s\n", indexes[i], k, cb_error_text(&f->err));
        assert_int_equal(k, -CB_EVERIFY);
    }
    write_at(version, "{\"imageLayoutVersion\":\"2.0.0\"}");
    fails(import_from(f, dir, &r), CB_EVERIFY);
    static const char *const junk[] = { "", "hello", "\x1f\x8b junk" };
    for (size_t i = 0; i < CB_COUNTOF(junk); i++) {
        write_at(tarpath, junk[i]);
        fails(import_from(f, tarpath, &r), CB_EVERIFY);
    }
    struct cb_strbuf t cb_cleanup_strbuf = CB_STRBUF_INIT;
    static const char *const escapes[] = { "../index.json", "blobs/../../index.json" };
    for (size_t i = 0; i < CB_COUNTOF(escapes); i++) {
        cb_strbuf_reset(&t);
        sup_file(&t, escapes[i], "{}");
        sup_end(&t);
        cb_autoclose int w = create(tarpath);
        ok(cb_fd_write_all(w, t.buf, t.len, &f->err));
        fails(import_from(f, tarpath, &r), CB_EVERIFY);
    }
    cb_strbuf_reset(&t);
    sup_add(&t, '2', "index.json", "oci-layout");
    sup_add(&t, '2', "oci-layout", "index.json");
    sup_end(&t);
    cb_autoclose int w = create(tarpath);
    ok(cb_fd_write_all(w, t.buf, t.len, &f->err));
    fails(import_from(f, tarpath, &r), CB_EVERIFY);
    fails(import_from(f, "/nonexistent/x.tar", &r), CB_EUSAGE);
}

static void an_index_is_imported_whole(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_descriptor d[2] = { 0 }, top cb_cleanup_descriptor = { 0 };
    cb_descriptor_copy(&d[0], &img.desc);
    cb_descriptor_of(&d[1], CB_MT_OCI_MANIFEST, "elsewhere", 9); /* a platform that was not copied */
    d[1].platform = CB_NEW(struct cb_platform);
    ok(cb_platform_parse(d[1].platform, "linux/s390x", &f->err));
    put_index(f, d, 2, &top);
    struct cb_export_options o = options(f, &img);
    cb_autofree char *dir = cb_asprintf("%s/oci", f->dir);
    ok(cb_export_oci_dir(&o, dir, &f->err));
    /* The layout's index is rewritten to name the image index. */
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX], hex[CB_DIGEST_TEXT_MAX];
    ok(cb_store_blob_get(f->s, &top.digest, CB_MAX_MANIFEST, &body, &f->err));
    cb_autofree char *blob = cb_asprintf("%s/blobs/sha256/%s", dir, cb_digest_hex(&top.digest, hex));
    write_at(blob, body.buf);
    cb_autofree char *json =
        cb_asprintf("{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"digest\":\"%s\","
                    "\"size\":%llu,\"annotations\":{\"org.opencontainers.image.ref.name\":\"1.0\"}}]}",
                    cb_digest_text(&top.digest, text), (unsigned long long)top.size);
    cb_autofree char *index = cb_asprintf("%s/index.json", dir);
    write_at(index, json);
    other_store(f);
    struct cb_import_result r CB_CLEANUP(cb_import_result_done) = { 0 };
    ok(import_from(f, dir, &r));
    assert_int_equal(r.n, 1);
    assert_null(r.names[0]); /* "1.0" alone must not become docker.io/library/1.0 */
    assert_true(cb_digest_eq(&r.images[0].desc.digest, &top.digest));
    assert_int_equal(r.images[0].config.n_diff_ids, N_LAYERS);
    cb_descriptor_done(&d[0]);
    cb_descriptor_done(&d[1]);
}

/* ---- files out ---- */

static void check_out(const char *dir, const char *path, const char *text)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *p = cb_asprintf("%s/%s", dir, path);
    assert_int_equal(cb_file_slurp(p, 1000, &sb, NULL), 0);
    assert_string_equal(sb.buf, text);
}

static void check_rootfs(const char *dir)
{
    struct stat st, st2;
    check_out(dir, "dir/new", "newer");
    check_out(dir, "dir/new2", "new");
    check_out(dir, "etc/passwd", "root:x:0:0::/root:/bin/sh\n");
    check_out(dir, "owned", "me");
    static const char *const absent[] = { "gone", "dir/keep", "dir/old", "dir/.wh..wh..opq", ".wh.gone" };
    for (size_t i = 0; i < CB_COUNTOF(absent); i++) {
        cb_autofree char *p = cb_asprintf("%s/%s", dir, absent[i]);
        assert_false(exists(p));
    }
    cb_autofree char *owned = cb_asprintf("%s/owned", dir), *new2 = cb_asprintf("%s/dir/new2", dir);
    assert_int_equal(lstat(owned, &st), 0);
    assert_int_equal(st.st_mode, S_IFREG | 0600);
    assert_int_equal(st.st_mtim.tv_sec, 1400000000); /* clamped */
    assert_int_equal(st.st_uid, geteuid() == 0 ? 7 : geteuid());
    assert_int_equal(lstat(new2, &st2), 0);
    assert_int_equal(st2.st_nlink, 1);
}

static void files_to_a_directory(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_export_options o = options(f, &img);
    cb_autofree char *dir = cb_asprintf("%s/rootfs", f->dir);
    o.clamp_mtime = 1400000000;
    ok(cb_export_local(&o, dir, &f->err));
    check_rootfs(dir);
    ok(cb_export_local(&o, dir, &f->err)); /* onto itself */
    check_rootfs(dir);
}

static int run(struct fixture *f, const char *const *argv, struct cb_proc_result *res)
{
    struct cb_proc_spec spec = { .argv = argv, .timeout_ms = 60000 };
    ok(cb_proc_run(&spec, res, &f->err));
    if (res->status != 0)
        print_error("%s: %s%s\n", argv[0], res->out.buf, res->err.buf);
    return res->status;
}

static void files_to_a_tar(void **state)
{
    struct fixture *f = *state;
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_export_options o = options(f, &img);
    cb_autofree char *path = cb_asprintf("%s/rootfs.tar", f->dir), *dir = cb_asprintf("%s/rootfs", f->dir);
    cb_autoclose int fd = create(path);
    o.clamp_mtime = 1400000000;
    ok(cb_export_tar(&o, fd, &f->err));
    assert_int_equal(mkdir(dir, 0755), 0);
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    assert_int_equal(run(f, (const char *[]){ "tar", "--numeric-owner", "-xpf", path, "-C", dir, NULL }, &res), 0);
    check_rootfs(dir);
}

/* Whiteouts and replaced kinds across layers, against what the merged table says. */
static void flattening_agrees_with_the_table(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t = CB_STRBUF_INIT;
    struct cb_layer v[3];
    sup_file(&t, "a/x", "1");
    sup_file(&t, "a/y/z", "1");
    sup_file(&t, "b", "1");
    sup_add(&t, '2', "c", "a");
    sup_add(&t, '5', "d/", NULL);
    sup_file(&t, "d/e/f", "1");
    sup_file(&t, "s/t", "1");
    sup_add(&t, '1', "s/u", "s/t");
    sup_end(&t);
    v[0] = layer_of_tar(f, &t, false, v, 0);
    sup_file(&t, "a/new-before", "2");
    sup_file(&t, ".wh.a", "");
    sup_file(&t, "b/now-a-directory", "2");
    sup_file(&t, "c/now-a-directory", "2");
    sup_file(&t, "d/e", "2: a file");
    sup_file(&t, "s/.wh.t", "");
    sup_end(&t);
    v[1] = layer_of_tar(f, &t, false, v, 1);
    sup_file(&t, "a/y/z", "3");
    sup_file(&t, "d/.wh..wh..opq", "");
    sup_file(&t, "d/g/h", "3");
    sup_file(&t, ".wh.nothing", "");
    sup_add(&t, '2', "s", "d");
    sup_end(&t);
    v[2] = layer_of_tar(f, &t, false, v, 2);
    struct cb_descriptor d cb_cleanup_descriptor = make_image(f, v, 3, "x");
    struct cb_image img cb_cleanup_image = { 0 };
    ok(cb_image_load(f->s, &d, NULL, &img, &f->err));
    struct cb_export_options o = { .store = f->s, .image = &img, .clamp_mtime = INT64_MAX };
    cb_autofree char *dir = cb_asprintf("%s/rootfs", f->dir), *tarred = cb_asprintf("%s/tarred", f->dir);
    cb_autofree char *path = cb_asprintf("%s/rootfs.tar", f->dir);
    ok(cb_export_local(&o, dir, &f->err));
    cb_autoclose int fd = create(path);
    ok(cb_export_tar(&o, fd, &f->err));
    assert_int_equal(mkdir(tarred, 0755), 0);
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    assert_int_equal(run(f, (const char *[]){ "tar", "-xpf", path, "-C", tarred, NULL }, &res), 0);
    cb_proc_result_done(&res);
    assert_int_equal(run(f, (const char *[]){ "diff", "-r", "--no-dereference", dir, tarred, NULL }, &res), 0);
    check_out(dir, "a/new-before", "2");
    check_out(dir, "a/y/z", "3");
    check_out(dir, "b/now-a-directory", "2");
    check_out(dir, "c/now-a-directory", "2");
    check_out(dir, "d/g/h", "3");
    static const char *const absent[] = { "a/x", "d/e", "nothing" };
    for (size_t i = 0; i < CB_COUNTOF(absent); i++) {
        cb_autofree char *p = cb_asprintf("%s/%s", dir, absent[i]);
        assert_false(exists(p));
    }
    for (size_t i = 0; i < 3; i++)
        cb_layer_done(&v[i]);
}

/* ---- judges that share no code with us ---- */

static bool missing(const char *program)
{
    cb_autofree char *p = cb_proc_which(program);
    if (!p)
        print_message("skipped: %s is not installed\n", program);
    return !p;
}

static void skopeo_reads_what_we_write(void **state)
{
    struct fixture *f = *state;
    if (missing("skopeo"))
        skip();
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_export_options o = options(f, &img);
    cb_autofree char *oci = cb_asprintf("%s/oci.tar", f->dir), *docker = cb_asprintf("%s/docker.tar", f->dir);
    cb_autofree char *dir = cb_asprintf("%s/oci", f->dir);
    cb_autoclose int a = create(oci), b = create(docker);
    ok(cb_export_oci_tar(&o, a, &f->err));
    ok(cb_export_docker_tar(&o, b, &f->err));
    ok(cb_export_oci_dir(&o, dir, &f->err));
    cb_autofree char *refs[] = { cb_asprintf("oci-archive:%s:1.0", oci),
                                 cb_asprintf("docker-archive:%s:app:1.0", docker), cb_asprintf("oci:%s:latest", dir),
                                 cb_asprintf("docker-archive:%s", docker) };
    cb_autofree char *back = cb_asprintf("%s/back.tar", f->dir), *to = cb_asprintf("docker-archive:%s:app:1.0", back);
    for (size_t i = 0; i < 3; i++) {
        struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
        assert_int_equal(
            run(f, (const char *[]){ "skopeo", "--override-os", "linux", "inspect", refs[i], NULL }, &res), 0);
        assert_non_null(strstr(res.out.buf, "2026-01-02T03:04:05Z"));
    }
    /* Its own docker archive: layers uncompressed, other paths. */
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    assert_int_equal(run(f, (const char *[]){ "skopeo", "--insecure-policy", "copy", refs[1], to, NULL }, &res), 0);
    other_store(f);
    struct cb_import_result r CB_CLEANUP(cb_import_result_done) = { 0 };
    ok(import_from(f, back, &r));
    assert_int_equal(r.n, 1);
    assert_string_equal(r.names[0], names[0]);
    assert_true(cb_digest_eq(&r.images[0].manifest.config.digest, &img.manifest.config.digest));
    for (size_t i = 1; i < CB_COUNTOF(refs); i++)
        free(refs[i]);
}

static void umoci_unpacks_what_we_write(void **state)
{
    struct fixture *f = *state;
    if (missing("umoci"))
        skip();
    struct cb_image img cb_cleanup_image = commit_three(f, false);
    struct cb_export_options o = options(f, &img);
    cb_autofree char *dir = cb_asprintf("%s/oci", f->dir), *ref = cb_asprintf("%s/oci:1.0", f->dir);
    cb_autofree char *bundle = cb_asprintf("%s/bundle", f->dir), *rootfs = cb_asprintf("%s/bundle/rootfs", f->dir);
    ok(cb_export_oci_dir(&o, dir, &f->err));
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    const char *const as_root[] = { "umoci", "unpack", "--image", ref, bundle, NULL };
    const char *const rootless[] = { "umoci", "unpack", "--rootless", "--image", ref, bundle, NULL };
    assert_int_equal(run(f, geteuid() == 0 ? as_root : rootless, &res), 0);
    check_out(rootfs, "dir/new", "newer");
    check_out(rootfs, "dir/new2", "new");
    cb_autofree char *gone = cb_asprintf("%s/gone", rootfs), *keep = cb_asprintf("%s/dir/keep", rootfs);
    assert_false(exists(gone));
    assert_false(exists(keep));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(commit_then_load),
        T(commit_refuses_what_does_not_fit),
        T(load_selects_by_platform),
        T(load_notices_wrong_sizes),
        T(files_from_trees_and_blobs),
        T(files_of_compressed_layers_are_spooled),
        T(round_trips),
        T(a_layout_takes_more_images),
        T(old_docker_archives),
        T(hostile_archives),
        T(an_index_is_imported_whole),
        T(files_to_a_directory),
        T(files_to_a_tar),
        T(flattening_agrees_with_the_table),
        T(skopeo_reads_what_we_write),
        T(umoci_unpacks_what_we_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
