/* SPDX-License-Identifier: Apache-2.0 */
#include "store_fixture.h"

#include "util/timeutil.h"

/* ---- names ---- */

static void names_move_and_go(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    struct cb_descriptor b cb_cleanup_descriptor = simple_image(f, "b", NULL);
    struct cb_descriptor got cb_cleanup_descriptor = { 0 };
    fails(cb_store_name_get(f->s, "docker.io/library/x:1", &got, &f->err), CB_ENOTFOUND);
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", &a, &f->err));
    ok(cb_store_name_set(f->s, "docker.io/library/y:1", &a, &f->err));
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", &b, &f->err));
    ok(cb_store_name_get(f->s, "docker.io/library/x:1", &got, &f->err));
    assert_true(cb_digest_eq(&got.digest, &b.digest));
    assert_int_equal(got.annotations.n, 0); /* what is ours stays ours */
    reopen(f);
    struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
    ok(cb_store_name_list(f->s, &l, &f->err));
    assert_int_equal(l.n, 2);
    assert_string_equal(l.v[0].name, "docker.io/library/x:1"); /* newest first */
    assert_string_equal(l.v[1].name, "docker.io/library/y:1");
    assert_true(l.v[0].created >= l.v[1].created && l.v[1].created > 1000000000000000000LL);
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", NULL, &f->err));
    fails(cb_store_name_set(f->s, "docker.io/library/x:1", NULL, &f->err), CB_ENOTFOUND);
    fails(cb_store_name_get(f->s, "docker.io/library/x:1", &got, &f->err), CB_ENOTFOUND);
}

static void unnamed_images_are_kept_by_digest(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    ok(cb_store_name_set(f->s, NULL, &a, &f->err));
    ok(cb_store_name_set(f->s, NULL, &a, &f->err));
    struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
    ok(cb_store_name_list(f->s, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_null(l.v[0].name);
    cb_store_names_done(&l);
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", &a, &f->err)); /* a name takes the place of none */
    ok(cb_store_name_list(f->s, &l, &f->err));
    assert_int_equal(l.n, 1);
    assert_string_equal(l.v[0].name, "docker.io/library/x:1");
    char text[CB_DIGEST_TEXT_MAX];
    fails(cb_store_name_set(f->s, cb_digest_text(&a.digest, text), NULL, &f->err), CB_ENOTFOUND);
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", NULL, &f->err));
    ok(cb_store_name_set(f->s, NULL, &a, &f->err));
    ok(cb_store_name_set(f->s, text, NULL, &f->err));
    fails(cb_store_name_set(f->s, NULL, NULL, &f->err), CB_EINTERNAL);
}

static void names_of_what_is_not_there_are_refused(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    struct cb_descriptor gone cb_cleanup_descriptor = { 0 };
    cb_descriptor_of(&gone, CB_MT_OCI_MANIFEST, "{}", 2);
    fails(cb_store_name_set(f->s, "docker.io/library/x:1", &gone, &f->err), CB_ENOTFOUND);
    a.size++;
    fails(cb_store_name_set(f->s, "docker.io/library/x:1", &a, &f->err), CB_EVERIFY);
    a.size--;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    ok(cb_store_blob_get(f->s, &a.digest, CB_MAX_MANIFEST, &body, &f->err));
    ok(cb_manifest_parse(&m, body.buf, body.len, NULL, &f->err));
    cb_autofree char *config = blob_file(f, &m.config.digest);
    assert_int_equal(unlink(config), 0);
    fails(cb_store_name_set(f->s, "docker.io/library/x:1", &a, &f->err), CB_ENOTFOUND);
    struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
    ok(cb_store_name_list(f->s, &l, &f->err));
    assert_int_equal(l.n, 0);
}

static void damaged_index_is_an_error_not_an_empty_store(void **state)
{
    struct fixture *f = *state;
    cb_autofree char *p = path_in(f, "index.json");
    write_at(p, "{\"schemaVersion\":2,\"manifests\":[");
    struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
    fails(cb_store_name_list(f->s, &l, &f->err), CB_EVERIFY);
    assert_non_null(strstr(f->err.msg, p));
}

static void concurrent_naming_loses_nothing(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", &a, &f->err));
    threads_end(f);
    for (int i = 0; i < 6; i++)
        if (fork() == 0) {
            struct cb_store *s = NULL;
            struct cb_store_options o = { .root = f->root };
            int bad = cb_store_open(&o, &s, NULL);
            for (int k = 0; k < 8 && bad == 0; k++) {
                char name[64];
                snprintf(name, sizeof name, "docker.io/library/p%d:%d", i, k);
                bad = cb_store_name_set(s, name, &a, NULL);
            }
            cb_store_close(s);
            _exit(bad ? 1 : 0);
        }
    for (int i = 0, st; i < 6; i++) {
        assert_true(wait(&st) > 0);
        assert_int_equal(st, 0);
    }
    struct cb_store_names l CB_CLEANUP(cb_store_names_done) = { 0 };
    ok(cb_store_name_list(f->s, &l, &f->err));
    assert_int_equal(l.n, 49);
}

/* ---- find ---- */

static void find_takes_names_and_digits(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    struct cb_descriptor b cb_cleanup_descriptor = simple_image(f, "b", NULL);
    ok(cb_store_name_set(f->s, "docker.io/library/busybox:latest", &a, &f->err));
    ok(cb_store_name_set(f->s, "docker.io/library/second:latest", &a, &f->err));
    ok(cb_store_name_set(f->s, NULL, &b, &f->err));
    char hex[CB_DIGEST_TEXT_MAX], text[CB_DIGEST_TEXT_MAX], at[300];
    cb_digest_hex(&a.digest, hex);
    cb_digest_text(&a.digest, text);
    snprintf(at, sizeof at, "busybox@%s", text);
    char shorter[16], with_alg[32];
    snprintf(shorter, sizeof shorter, "%.12s", hex);
    snprintf(with_alg, sizeof with_alg, "sha256:%.12s", hex);
    const char *const good[] = {
        "busybox", "docker.io/library/busybox:latest", "index.docker.io/busybox", hex, text, at, shorter, with_alg
    };
    for (size_t i = 0; i < CB_COUNTOF(good); i++) {
        struct cb_descriptor d cb_cleanup_descriptor = { 0 };
        cb_autofree char *name = NULL;
        ok(cb_store_find(f->s, good[i], &d, &name, &f->err));
        assert_true(cb_digest_eq(&d.digest, &a.digest));
        assert_non_null(name);
    }
    snprintf(at, sizeof at, "elsewhere@%s", text); /* another repository's copy is not that image (C4) */
    const char *const bad[] = { "nobody",  "busybox:2",        at,    "ab",    "",
                                "sha256:", "0000000000000000", "x y", "../..", "-v" };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct cb_descriptor d cb_cleanup_descriptor = { 0 };
        assert_int_equal(cb_store_find(f->s, bad[i], &d, NULL, &f->err), -CB_ENOTFOUND);
    }
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    cb_autofree char *name = NULL;
    ok(cb_store_find(f->s, cb_digest_hex(&b.digest, hex), &d, &name, &f->err));
    assert_null(name);
}

static void find_by_config_and_ambiguity(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    char prefix[5] = "";
    /* Among a few hundred images two begin with the same four digits sooner or later. */
    struct cb_strvec seen cb_cleanup_strvec = CB_STRVEC_INIT;
    for (int i = 0; i < 2000 && !prefix[0]; i++) {
        char text[32], hex[CB_DIGEST_TEXT_MAX];
        snprintf(text, sizeof text, "u%d", i);
        struct cb_descriptor d cb_cleanup_descriptor = make_image(f, NULL, 0, text);
        snprintf(hex, sizeof hex, "%.4s", cb_digest_hex(&d.digest, (char[CB_DIGEST_TEXT_MAX]){ 0 }));
        bool twice = cb_strvec_has(&seen, hex);
        if (i < 3 || twice)
            ok(cb_store_name_set(f->s, NULL, &d, &f->err));
        if (twice) {
            snprintf(prefix, sizeof prefix, "%.4s", hex);
            for (int k = 0; k < i; k++)
                if (cb_streq(seen.v[k], hex)) {
                    snprintf(text, sizeof text, "u%d", k);
                    struct cb_descriptor first cb_cleanup_descriptor = make_image(f, NULL, 0, text);
                    ok(cb_store_name_set(f->s, NULL, &first, &f->err));
                }
        }
        cb_strvec_push(&seen, hex);
        if (i == 0) {
            ok(cb_store_blob_get(f->s, &d.digest, CB_MAX_MANIFEST, &body, &f->err));
            ok(cb_manifest_parse(&m, body.buf, body.len, NULL, &f->err));
            struct cb_descriptor got cb_cleanup_descriptor = { 0 };
            ok(cb_store_find(f->s, cb_digest_hex(&m.config.digest, (char[CB_DIGEST_TEXT_MAX]){ 0 }), &got, NULL,
                             &f->err));
            assert_true(cb_digest_eq(&got.digest, &d.digest));
        }
    }
    assert_true(prefix[0] != '\0');
    struct cb_descriptor got cb_cleanup_descriptor = { 0 };
    fails(cb_store_find(f->s, prefix, &got, NULL, &f->err), CB_EUSAGE);
}

/* ---- cache records ---- */

static void cache_records_round_trip(void **state)
{
    struct fixture *f = *state;
    struct cb_digest key = digest_of("key"), layers[2] = { digest_of("l1"), digest_of("l2") };
    struct cb_cache_record r = { .whole = true, .layers = layers, .n_layers = 2, .created = 1234567890123456789LL };
    r.note = (char *)(uintptr_t) "RUN printf 'a\nb' && echo 100% \xff";
    struct cb_cache_record got cb_cleanup_cache_record = { 0 };
    fails(cb_store_cache_get(f->s, &key, &got, &f->err), CB_ENOTFOUND);
    ok(cb_store_cache_put(f->s, &key, &r, &f->err));
    ok(cb_store_cache_get(f->s, &key, &got, &f->err));
    assert_true(got.whole);
    assert_int_equal(got.n_layers, 2);
    assert_true(cb_digest_eq(&got.layers[0], &layers[0]) && cb_digest_eq(&got.layers[1], &layers[1]));
    assert_int_equal(got.created, r.created);
    assert_string_equal(got.note, r.note);
    cb_cache_record_done(&got);
    r = (struct cb_cache_record){ 0 };
    ok(cb_store_cache_put(f->s, &key, &r, &f->err));
    ok(cb_store_cache_get(f->s, &key, &got, &f->err));
    assert_false(got.whole);
    assert_int_equal(got.n_layers, 0);
}

static void torn_cache_records_are_misses(void **state)
{
    struct fixture *f = *state;
    struct cb_digest key = digest_of("key"), layer = digest_of("l");
    struct cb_cache_record r = { .layers = &layer, .n_layers = 1, .note = (char *)(uintptr_t) "n" };
    ok(cb_store_cache_put(f->s, &key, &r, &f->err));
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_hex(&key, hex);
    cb_autofree char *p = cb_asprintf("%s/cache/%.2s/%s", f->root, hex, hex);
    struct cb_strbuf whole cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_file_slurp(p, 1 << 20, &whole, &f->err));
    for (size_t n = 0; n < whole.len; n++) {
        assert_int_equal(truncate(p, 0), 0);
        int fd = open(p, O_WRONLY | O_CLOEXEC);
        assert_int_equal(write(fd, whole.buf, n), (ssize_t)n);
        close(fd);
        struct cb_cache_record got cb_cleanup_cache_record = { 0 };
        assert_int_equal(cb_store_cache_get(f->s, &key, &got, &f->err), -CB_ENOTFOUND);
        assert_int_equal(truncate(p, (off_t)whole.len), 0); /* zeros instead of the rest */
        assert_int_equal(cb_store_cache_get(f->s, &key, &got, &f->err), -CB_ENOTFOUND);
    }
    ok(cb_store_cache_put(f->s, &key, &r, &f->err));
    struct cb_cache_record got cb_cleanup_cache_record = { 0 };
    ok(cb_store_cache_get(f->s, &key, &got, &f->err));
}

/* ---- layers, facts, tables of contents ---- */

static struct cb_layer sample_layer(const char *name, const char *blob)
{
    struct cb_layer l = { .diff_id = digest_of(name), .size = UINT64_MAX };
    struct cb_layer_encoding e = { .digest = digest_of(blob), .size = 10, .compression = CB_COMPRESSION_ZSTD };
    e.media_type = (char *)(uintptr_t)CB_MT_OCI_LAYER_ZSTD;
    e.engine = (char *)(uintptr_t) "";
    cb_layer_add_encoding(&l, &e);
    return l;
}

static void layers_merge(void **state)
{
    struct fixture *f = *state;
    struct cb_layer a cb_cleanup_layer = sample_layer("d", "b1"), b cb_cleanup_layer = sample_layer("d", "b2");
    struct cb_layer got cb_cleanup_layer = { 0 };
    fails(cb_store_layer_get(f->s, &a.diff_id, &got, &f->err), CB_ENOTFOUND);
    ok(cb_store_layer_put(f->s, &a, &f->err));
    b.size = 77;
    free(b.encodings[0].engine);
    b.encodings[0].engine = cb_strdup("libdeflate-1.14/6");
    cb_strmap_set(&b.encodings[0].annotations, "containerd.io/snapshot/stargz/toc.digest", "sha256:00=");
    cb_strmap_set(&b.encodings[0].annotations, "org.example.other", "1");
    cb_layer_add_origin(&b, &b.encodings[0].digest, "docker.io", "library/x");
    ok(cb_store_layer_put(f->s, &b, &f->err));
    ok(cb_store_layer_put(f->s, &b, &f->err));
    ok(cb_store_layer_put(f->s, &a, &f->err)); /* knows less: takes nothing away */
    reopen(f);
    ok(cb_store_layer_get(f->s, &a.diff_id, &got, &f->err));
    assert_int_equal(got.size, 77);
    assert_int_equal(got.n_encodings, 2);
    assert_true(cb_digest_eq(&got.encodings[0].digest, &a.encodings[0].digest));
    assert_string_equal(got.encodings[1].engine, "libdeflate-1.14/6");
    assert_int_equal(got.encodings[1].compression, CB_COMPRESSION_ZSTD);
    assert_int_equal(got.encodings[0].annotations.n, 0);
    assert_int_equal(got.encodings[1].annotations.n, 1); /* those of tables */
    assert_string_equal(got.encodings[1].annotations.v[0].value, "sha256:00=");
    assert_int_equal(got.n_origins, 1);
    assert_string_equal(got.origins[0].repo, "library/x");
    struct cb_layer none = { 0 };
    fails(cb_store_layer_put(f->s, &none, &f->err), CB_EINTERNAL);
}

static void an_origin_is_forgotten(void **state)
{
    struct fixture *f = *state;
    struct cb_layer l cb_cleanup_layer = sample_layer("d", "b1"), other cb_cleanup_layer = sample_layer("e", "b1");
    struct cb_layer got cb_cleanup_layer = { 0 }, same cb_cleanup_layer = { 0 };
    cb_layer_add_origin(&l, &l.encodings[0].digest, "docker.io", "library/x");
    cb_layer_add_origin(&l, &l.encodings[0].digest, "docker.io", "library/y");
    cb_layer_add_origin(&other, &l.encodings[0].digest, "docker.io", "library/x");
    ok(cb_store_layer_put(f->s, &l, &f->err));
    ok(cb_store_layer_put(f->s, &other, &f->err));
    ok(cb_store_origin_forget(f->s, &l, 0, &f->err));
    ok(cb_store_origin_forget(f->s, &l, 0, &f->err));
    reopen(f);
    ok(cb_store_layer_get(f->s, &l.diff_id, &got, &f->err));
    assert_int_equal(got.n_encodings, 1);
    assert_int_equal(got.n_origins, 1);
    assert_string_equal(got.origins[0].repo, "library/y");
    ok(cb_store_layer_get(f->s, &other.diff_id, &same, &f->err));
    assert_int_equal(same.n_origins, 1);
}

static void facts(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    fails(cb_store_fact_get(f->s, "k", "x", &sb, &f->err), CB_ENOTFOUND);
    ok(cb_store_fact_put(f->s, "k", "x", "'; DROP TABLE facts; --", &f->err));
    ok(cb_store_fact_put(f->s, "k", "y", "2", &f->err));
    ok(cb_store_fact_get(f->s, "k", "x", &sb, &f->err));
    assert_string_equal(sb.buf, "'; DROP TABLE facts; --");
    ok(cb_store_fact_put(f->s, "k", "x", "3", &f->err));
    cb_strbuf_reset(&sb);
    reopen(f);
    ok(cb_store_fact_get(f->s, "k", "x", &sb, &f->err));
    assert_string_equal(sb.buf, "3");
    fails(cb_store_fact_get(f->s, "other", "x", &sb, &f->err), CB_ENOTFOUND);
}

static void tocs_and_torn_ones(void **state)
{
    struct fixture *f = *state;
    const struct file_spec files[] = { { "a", NULL }, { "a/b", "text" } };
    struct cb_layer l cb_cleanup_layer = make_layer(f, files, 2);
    CB_AUTO(cb_toc_unref) struct cb_toc *t = NULL;
    ok(cb_store_toc_get(f->s, &l.diff_id, &t, &f->err));
    assert_int_equal(cb_toc_count(t), 2);
    char hex[CB_DIGEST_TEXT_MAX];
    cb_autofree char *p = cb_asprintf("%s/toc/sha256/%s", f->root, cb_digest_hex(&l.diff_id, hex));
    struct cb_strbuf whole cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_file_slurp(p, 1 << 20, &whole, &f->err));
    for (size_t n = 0; n < whole.len; n += 3) {
        struct cb_toc *torn = NULL;
        assert_int_equal(truncate(p, (off_t)n), 0);
        assert_int_equal(cb_store_toc_get(f->s, &l.diff_id, &torn, &f->err), -CB_ENOTFOUND);
        assert_int_equal(truncate(p, (off_t)whole.len), 0);
        assert_int_equal(cb_store_toc_get(f->s, &l.diff_id, &torn, &f->err), -CB_ENOTFOUND);
        int fd = open(p, O_WRONLY | O_CLOEXEC);
        assert_int_equal(write(fd, whole.buf, whole.len), (ssize_t)whole.len);
        close(fd);
    }
    ok(cb_store_toc_put(f->s, &l.diff_id, t, &f->err));
    struct cb_digest none = digest_of("none");
    struct cb_toc *missing = NULL;
    fails(cb_store_toc_get(f->s, &none, &missing, &f->err), CB_ENOTFOUND);
}

static struct cb_toc *toc_of(int entries)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    char path[32];
    for (int i = 0; i < entries; i++) {
        snprintf(path, sizeof path, "d/file%05d", i);
        struct cb_entry e = { .path = path, .type = CB_ENTRY_SYMLINK, .mode = 0777, .link = path };
        assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
    }
    return cb_toc_builder_finish(b);
}

static void opens(struct fixture *f, const struct cb_digest *id, bool index, const struct cb_toc *want)
{
    struct cb_lookup_layer l;
    struct cb_toc_pin a, b;
    const struct cb_stack_entry *hit;
    ok(cb_store_toc_open(f->s, id, &l, &f->err));
    assert_int_equal(l.index != NULL, index);
    assert_int_equal(l.toc == NULL, index);
    CB_AUTO(cb_lookup_free) struct cb_lookup *look = cb_lookup_new(&l, 1);
    ok(cb_lookup_find(look, "d/file00007", &hit, &f->err));
    assert_string_equal(hit->e->link, "d/file00007");
    cb_toc_unref(l.toc);
    cb_toc_index_unref(l.index);
    ok(cb_store_toc_pin(f->s, id, &a, &f->err));
    cb_toc_pin_of(&b, want);
    assert_true(cb_toc_pin_eq(&a, &b));
}

static void tocs_of_older_stores(void **state)
{
    struct fixture *f = *state;
    CB_AUTO(cb_toc_unref) struct cb_toc *large = toc_of(3000), *small = toc_of(100), *got = NULL;
    struct cb_digest id = digest_of("large"), few = digest_of("small"), sum;
    struct cb_strbuf old cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_lookup_layer l;
    char hex[CB_DIGEST_TEXT_MAX];
    ok(cb_store_toc_put(f->s, &few, small, &f->err));
    opens(f, &few, false, small);
    ok(cb_store_toc_put(f->s, &id, large, &f->err));
    opens(f, &id, true, large);
    cb_toc_print(&old, large);
    cb_digest_of(&sum, old.buf, old.len);
    cb_strbuf_add(&old, sum.raw, 32);
    cb_autofree char *p = cb_asprintf("%s/toc/sha256/%s", f->root, cb_digest_hex(&id, hex));
    ok(cb_fs_write_file(AT_FDCWD, p, old.buf, old.len, 0600, &f->err));
    ok(cb_store_toc_get(f->s, &id, &got, &f->err));
    assert_int_equal(cb_toc_count(got), 3000);
    opens(f, &id, false, large); /* read whole, and written with an index */
    opens(f, &id, true, large);
    old.buf[old.len / 2] ^= 1;
    ok(cb_fs_write_file(AT_FDCWD, p, old.buf, old.len, 0600, &f->err));
    fails(cb_store_toc_open(f->s, &id, &l, &f->err), CB_ENOTFOUND);
    struct cb_digest none = digest_of("none");
    fails(cb_store_toc_open(f->s, &none, &l, &f->err), CB_ENOTFOUND);
}

static void tocs_that_rot(void **state)
{
    struct fixture *f = *state;
    CB_AUTO(cb_toc_unref) struct cb_toc *large = toc_of(3000), *other = toc_of(2999);
    struct cb_digest id = digest_of("large");
    struct cb_strbuf file cb_cleanup_strbuf = CB_STRBUF_INIT, got cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_toc_pin pin, wrong;
    char hex[CB_DIGEST_TEXT_MAX];
    ok(cb_store_toc_put(f->s, &id, large, &f->err));
    ok(cb_store_toc_pin(f->s, &id, &pin, &f->err));
    cb_toc_pin_of(&wrong, other);
    fails(cb_store_toc_source(f->s, &id, &wrong, &src, &f->err), CB_ENOTFOUND); /* that is no damage */
    ok(cb_store_toc_source(f->s, &id, &pin, &src, &f->err));
    ok(cb_blob_read_all(src, 1 << 20, &got, &f->err));
    assert_int_equal(got.len, pin.size);
    cb_autofree char *p = cb_asprintf("%s/toc/sha256/%s", f->root, cb_digest_hex(&id, hex));
    ok(cb_file_slurp(p, 1 << 20, &file, &f->err));
    file.buf[pin.size / 2] ^= 1;
    ok(cb_fs_write_file(AT_FDCWD, p, file.buf, file.len, 0600, &f->err));
    ok(cb_store_toc_pin(f->s, &id, &wrong, &f->err)); /* what it should be is still known */
    assert_true(cb_toc_pin_eq(&pin, &wrong));
    struct cb_blob_source *none = NULL;
    fails(cb_store_toc_source(f->s, &id, &pin, &none, &f->err), CB_ENOTFOUND);
    fails(cb_store_toc_pin(f->s, &id, &wrong, &f->err), CB_ENOTFOUND);
}

/* ---- the index can be lost ---- */

static void spoil(const char *path, int how)
{
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    char junk[4096];
    memset(junk, 0x5a, sizeof junk);
    if (how == 0)
        assert_int_equal(ftruncate(fd, 100), 0);
    else if (how == 1)
        assert_int_equal(pwrite(fd, junk, 64, 0), 64);
    else
        for (off_t o = 4096; o < st.st_size; o += 4096)
            assert_int_equal(pwrite(fd, junk, sizeof junk, o), (ssize_t)sizeof junk);
    close(fd);
}

static void corrupt_index_is_set_aside_and_rebuilt(void **state)
{
    struct fixture *f = *state;
    struct cb_layer l cb_cleanup_layer = { 0 };
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", &l);
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", &a, &f->err));
    cb_autofree char *db = path_in(f, "index.sqlite"), *bak = path_in(f, "index.sqlite.bak");
    for (int how = 0; how < 4; how++) {
        ok(cb_store_layer_put(f->s, &l, &f->err));
        cb_store_close(CB_TAKE(f->s));
        if (how < 3)
            spoil(db, how);
        else
            assert_int_equal(unlink(db), 0);
        reopen(f);
        struct cb_layer got cb_cleanup_layer = { 0 };
        ok(cb_store_layer_get(f->s, &l.diff_id, &got, &f->err));
        assert_int_equal(got.n_encodings, 1);
        assert_true(cb_digest_eq(&got.encodings[0].digest, &l.encodings[0].digest));
        assert_int_equal(got.encodings[0].size, l.encodings[0].size);
        assert_int_equal(got.encodings[0].compression, CB_COMPRESSION_GZIP);
        assert_int_equal(got.size, l.size);
        assert_true(how == 3 || exists(bak));
        unlink(bak);
        struct cb_store_names names CB_CLEANUP(cb_store_names_done) = { 0 };
        ok(cb_store_name_list(f->s, &names, &f->err)); /* I5 */
        assert_int_equal(names.n, 1);
    }
}

/* A manifest that claims another layer's diff id must not be believed when the table is rebuilt. */
static void rebuilding_believes_no_false_claim(void **state)
{
    struct fixture *f = *state;
    const struct file_spec one[] = { { "one", "1" } }, two[] = { { "two", "2" } };
    struct cb_layer a cb_cleanup_layer = make_layer(f, one, 1), b cb_cleanup_layer = make_layer(f, two, 1);
    struct cb_layer liar cb_cleanup_layer = { 0 };
    cb_layer_copy(&liar, &b);
    liar.diff_id = a.diff_id;
    struct cb_descriptor d cb_cleanup_descriptor = make_image(f, &liar, 1, "liar");
    ok(cb_store_name_set(f->s, "docker.io/library/liar:1", &d, &f->err));
    struct cb_layer got cb_cleanup_layer = { 0 };
    fails(cb_store_layer_get(f->s, &a.diff_id, &got, &f->err), CB_ENOTFOUND);
    cb_store_close(CB_TAKE(f->s));
    cb_autofree char *db = path_in(f, "index.sqlite");
    assert_int_equal(unlink(db), 0);
    reopen(f);
    fails(cb_store_layer_get(f->s, &a.diff_id, &got, &f->err), CB_ENOTFOUND);
}

static void index_across_a_fork_is_refused(void **state)
{
    struct fixture *f = *state;
    ok(cb_store_fact_put(f->s, "k", "x", "1", &f->err));
    pid_t pid = fork();
    if (pid == 0)
        _exit(cb_store_fact_put(f->s, "k", "x", "2", NULL) == -CB_EINTERNAL ? 0 : 1);
    int st = 0;
    waitpid(pid, &st, 0);
    assert_int_equal(st, 0);
    ok(cb_store_fact_put(f->s, "k", "x", "3", &f->err));
}

static void usage_counts(void **state)
{
    struct fixture *f = *state;
    struct cb_descriptor a cb_cleanup_descriptor = simple_image(f, "a", NULL);
    ok(cb_store_name_set(f->s, "docker.io/library/x:1", &a, &f->err));
    struct cb_digest key = digest_of("key");
    struct cb_cache_record r = { 0 };
    ok(cb_store_cache_put(f->s, &key, &r, &f->err));
    ok(make_tree(f, &key, "content"));
    struct cb_store_usage u = { 0 };
    ok(cb_store_usage_get(f->s, &u, &f->err));
    assert_int_equal(u.blobs, 3);
    assert_true(u.blob_bytes > 300);
    assert_int_equal(u.trees, 1);
    assert_true(u.tree_bytes >= 4096);
    assert_int_equal(u.records, 1);
    assert_int_equal(u.names, 1);
}

static int use_index_once(struct fixture *f)
{
    struct cb_store_options o = { .root = f->root };
    struct cb_store *s = NULL;
    int r = cb_store_open(&o, &s, &f->err);
    if (r == 0)
        r = cb_store_fact_put(s, "test", "key", "value", &f->err);
    cb_store_close(s);
    if (r < 0)
        dprintf(2, "%s\n", cb_error_text(&f->err));
    return r < 0;
}

/* Only one of them can change the journal to a write-ahead log, and SQLite does not wait for that by itself. In memory,
 * where it costs little to try often. */
static void processes_make_the_index_at_once(void **state)
{
    struct fixture *f = *state;
    enum { WORKERS = 6, ROUNDS = 80 };
    char dir[] = "/dev/shm/cbpush-test-XXXXXX";
    int failed = 0;
    assert_non_null(mkdtemp(dir));
    for (int round = 0; round < ROUNDS; round++) {
        pid_t pids[WORKERS];
        snprintf(f->root, sizeof f->root, "%s/store%d", dir, round);
        for (int i = 0; i < WORKERS; i++)
            if ((pids[i] = fork()) == 0)
                _exit(use_index_once(f));
        for (int i = 0, st; i < WORKERS; i++) {
            waitpid(pids[i], &st, 0);
            failed += st != 0;
        }
    }
    cb_autoclose int shm = open("/dev/shm", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ok(cb_fs_remove_tree(shm, strrchr(dir, '/') + 1, &f->err));
    assert_int_equal(failed, 0);
}

static void stats_are_a_few_dozen(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_digest none = digest_of("none");
    fails(cb_store_stats_get(f->s, &none, &text, &f->err), CB_ENOTFOUND);
    for (int i = 0; i < 70; i++) {
        char name[8];
        snprintf(name, sizeof name, "%d", i);
        const struct cb_digest key = digest_of(name);
        cb_strbuf_reset(&text);
        cb_strbuf_adds(&text, name);
        ok(cb_store_stats_put(f->s, &key, &text, &f->err));
        cb_strbuf_reset(&text);
        ok(cb_store_stats_get(f->s, &key, &text, &f->err)); /* never the one that goes */
        assert_string_equal(text.buf, name);
    }
    assert_int_equal(count_in(f, "stats"), 64);
}

/* In the file itself, not only in the log before it that closing would bring over. Another process looks: the locks of
 * SQLite would go with any descriptor of ours. */
static bool index_file_has(const struct fixture *f, const char *text)
{
    int status = -1;
    pid_t pid = fork();
    if (pid == 0) {
        struct cb_strbuf b = CB_STRBUF_INIT;
        char path[512];
        snprintf(path, sizeof path, "%s/index.sqlite", f->root);
        int r = cb_file_slurp(path, 16u << 20, &b, NULL);
        _exit(r < 0 ? 2 : !memmem(b.buf, b.len, text, strlen(text)));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0;
}

static void settled_index(void **state)
{
    struct fixture *f = *state;
    cb_store_settle_index(f->s); /* it was not even opened */
    ok(cb_store_fact_put(f->s, "kind", "key", "value-of-mine", &f->err));
    assert_false(index_file_has(f, "value-of-mine"));
    cb_store_settle_index(f->s);
    assert_true(index_file_has(f, "value-of-mine"));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(names_move_and_go),
        T(unnamed_images_are_kept_by_digest),
        T(names_of_what_is_not_there_are_refused),
        T(damaged_index_is_an_error_not_an_empty_store),
        T(concurrent_naming_loses_nothing),
        T(find_takes_names_and_digits),
        T(find_by_config_and_ambiguity),
        T(cache_records_round_trip),
        T(torn_cache_records_are_misses),
        T(layers_merge),
        T(an_origin_is_forgotten),
        T(facts),
        T(settled_index),
        T(tocs_and_torn_ones),
        T(tocs_of_older_stores),
        T(tocs_that_rot),
        T(corrupt_index_is_set_aside_and_rebuilt),
        T(rebuilding_believes_no_false_claim),
        T(index_across_a_fork_is_refused),
        T(stats_are_a_few_dozen),
        T(usage_counts),
        T(processes_make_the_index_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
