/* SPDX-License-Identifier: Apache-2.0 */
/* Whole builds that need neither a registry nor a process: FROM scratch, or on an image that was built before. */
#include "build_fixture.h"

#include <stdio.h>
#include <unistd.h>

struct result {
    struct cb_build_result r;
    int code;
};

static char *ctx_path(struct build_fixture *b, const char *name)
{
    return cb_asprintf("%s/ctx%s%s", b->f.dir, *name ? "/" : "", name);
}

static void put(struct build_fixture *b, const char *name, const char *text)
{
    cb_autofree char *ctx = ctx_path(b, "");
    cb_autofree char *path = ctx_path(b, name);
    mkdir(ctx, 0755);
    write_at(path, text);
    assert_int_equal(chmod(path, 0644), 0);
}

struct how {
    const char *tag, *target, *file;
    const struct cb_output *output;
    bool no_cache, push;
};

static struct result build(struct build_fixture *b, const char *dockerfile, struct how how)
{
    struct fixture *f = &b->f;
    struct result x = { .code = 0 };
    cb_autofree char *ctx = ctx_path(b, "");
    struct cb_strvec tags cb_cleanup_strvec = CB_STRVEC_INIT;
    put(b, "Dockerfile", dockerfile);
    if (how.tag)
        cb_strvec_push(&tags, how.tag);
    struct cb_build_options o = { .context = ctx, .tags = &tags, .target = how.target, .no_cache = how.no_cache,
                                  .dockerfile = how.file, .outputs = how.output, .n_outputs = how.output ? 1 : 0,
                                  .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT }, .push = how.push,
                                  .pull = CB_PULL_NEVER };
    cb_error_done(&f->err);
    x.code = cb_build_run(&b->env, &o, &x.r, &f->err);
    return x;
}
#define BUILD(text, ...) build(b, text, (struct how){ __VA_ARGS__ })

static struct result built_at(struct build_fixture *b, struct result x, int line)
{
    if (x.code < 0)
        fail_msg("line %d: %s", line, cb_error_text(&b->f.err));
    return x;
}
#define BUILT(text, ...) built_at(b, BUILD(text, __VA_ARGS__), __LINE__)

static void done(struct result *x)
{
    cb_build_result_done(&x->r);
}

/* What the image holds, layer by layer. */
static char *image_text(struct build_fixture *b, const struct result *x)
{
    struct fixture *f = &b->f;
    struct cb_strbuf o = CB_STRBUF_INIT;
    const struct cb_image_config *c = &x->r.images[0].config;
    for (size_t i = 0; i < c->n_diff_ids; i++) {
        CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
        ok(cb_store_toc_get(f->s, &c->diff_ids[i], &toc, &f->err));
        cb_strbuf_addf(&o, "-- %zu\n", i);
        for (size_t k = 0; k < cb_toc_count(toc); k++)
            tree_line(&o, cb_toc_at(toc, k), cb_toc_at(toc, k)->path);
    }
    return cb_strbuf_detach(&o, NULL);
}

static void assert_image_at(struct build_fixture *b, const struct result *x, const char *expected, int line)
{
    cb_autofree char *got = image_text(b, x);
    if (strcmp(got, expected))
        fail_msg("line %d\n--- expected\n%s--- got\n%s", line, expected, got);
}
#define assert_image(x, text) assert_image_at(b, x, text, __LINE__)

static bool same_image(const struct result *x, const struct result *y)
{
    return cb_digest_eq(&x->r.desc.digest, &y->r.desc.digest);
}

static void assert_cached(const struct result *x, unsigned steps, unsigned cached)
{
    assert_int_equal(x->r.steps, steps);
    assert_int_equal(x->r.cached, cached);
}

/* ---- what is made ---- */

static void test_layers_and_history(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    struct result x = BUILT("FROM scratch\nWORKDIR /w\nCOPY a .\nENV A=1\nWORKDIR /w\n"
                            "COPY <<E /e\ntext\nE\nCMD [\"x\"]\n",
                            .tag = "app:1");
    assert_image(&x, "-- 0\nd w 755 0:0\n-- 1\nd w 755 0:0\nf w/a 644 0:0 3\n-- 2\nf e 644 0:0 5\n");
    const struct cb_image_config *c = &x.r.images[0].config;
    static const bool empty[] = { false, false, true, true, false, true };
    assert_int_equal(c->n_history, CB_COUNTOF(empty));
    for (size_t i = 0; i < c->n_history; i++) {
        assert_int_equal(c->history[i].empty_layer, empty[i]);
        assert_non_null(c->history[i].created);
    }
    assert_string_equal(c->history[1].created_by, "COPY a .");
    assert_non_null(c->created);
    assert_string_equal(c->working_dir, "/w");
    assert_cached(&x, 4, 0);
    assert_int_equal(x.r.n_tags, 1);
    assert_string_equal(x.r.tags[0].name, "docker.io/library/app:1");
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct fixture *f = &b->f;
    ok(cb_store_name_get(f->s, "docker.io/library/app:1", &d, &f->err));
    assert_true(cb_digest_eq(&d.digest, &x.r.desc.digest));
    done(&x);
}

static void test_nothing_at_all(void **state)
{
    struct build_fixture *b = *state;
    struct result x = BUILT("FROM scratch\nLABEL a=b\n");
    assert_int_equal(x.r.images[0].config.n_diff_ids, 0);
    assert_int_equal(x.r.images[0].config.n_history, 1);
    assert_true(x.r.images[0].config.history[0].empty_layer);
    assert_string_equal(cb_strmap_get(&x.r.images[0].config.labels, "a"), "b");
    done(&x);
}

static void test_stages(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    put(b, "b", "b");
    struct result x = BUILT("FROM scratch AS one\nCOPY a /d/a\nCOPY b /d/b\n"
                            "FROM scratch AS two\nCOPY --from=one /d /x\n"
                            "FROM two\nCOPY --from=one --chown=3:4 /d/a /y/\nCOPY --from=0 / /all/\n");
    assert_image(&x, "-- 0\nd x 755 0:0\nf x/a 644 0:0 3\nf x/b 644 0:0 1\n-- 1\nd y 755 3:4\nf y/a 644 3:4 3\n"
                     "-- 2\nd all 755 0:0\nd all/d 755 0:0\nf all/d/a 644 0:0 3\nf all/d/b 644 0:0 1\n");
    done(&x);
    x = BUILT("FROM scratch AS one\nCOPY a /d/a\nFROM scratch\nCOPY --from=one /nothing* /x/\n", .target = "one");
    assert_image(&x, "-- 0\nd d 755 0:0\nf d/a 644 0:0 3\n");
    done(&x);
}

/* An image of the store is a parent: its layers and history stay, its configuration is inherited. */
static void test_on_an_image_of_the_store(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    struct result base = BUILT("FROM scratch\nCOPY a /base/a\nENV A=1\nUSER 7:8\n", .tag = "base");
    struct result x = BUILT("FROM base\nWORKDIR /base/own\nCOPY a /base/\n");
    assert_image(&x, "-- 0\nd base 755 0:0\nf base/a 644 0:0 3\n-- 1\nd base 755 0:0\nd base/own 755 7:8\n"
                     "-- 2\nd base 755 0:0\nf base/a 644 0:0 3\n");
    assert_int_equal(x.r.images[0].config.n_history, 5);
    assert_string_equal(cb_env_get(&x.r.images[0].config.env, "A"), "1");
    assert_true(cb_digest_eq(&x.r.images[0].manifest.layers[0].digest, &base.r.images[0].manifest.layers[0].digest));
    done(&base);
    done(&x);
}

/* ---- the cache ---- */

static const char usual[] = "FROM scratch\nCOPY a /a\nCOPY b /b\nWORKDIR /w\nCOPY a b /w/\n";

static void test_second_time(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    put(b, "b", "b");
    struct result x = BUILT(usual), y = BUILT(usual), z = BUILT(usual, .no_cache = true);
    assert_cached(&x, 4, 0);
    assert_cached(&y, 4, 4);
    assert_cached(&z, 4, 0);
    assert_true(same_image(&x, &y));
    done(&x);
    done(&y);
    done(&z);
}

static void test_what_changed(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    put(b, "b", "b");
    struct result x = BUILT(usual);
    /* Only the time: nothing. */
    cb_autofree char *path = ctx_path(b, "b");
    struct timespec t[2] = { { 5, 0 }, { 5, 0 } };
    assert_int_equal(utimensat(AT_FDCWD, path, t, 0), 0);
    struct result y = BUILT(usual);
    assert_cached(&y, 4, 4);
    assert_true(same_image(&x, &y));
    done(&y);
    /* A file of the second step: that, and what holds it later. The rest is asked again and came out the same. */
    put(b, "b", "B");
    y = BUILT(usual);
    assert_int_equal(y.r.cached, 1);
    assert_false(same_image(&x, &y));
    assert_true(cb_digest_eq(&x.r.images[0].config.diff_ids[0], &y.r.images[0].config.diff_ids[0]));
    done(&y);
    /* Its mode. */
    put(b, "b", "b");
    assert_int_equal(chmod(path, 0755), 0);
    y = BUILT(usual);
    assert_int_equal(y.r.cached, 1);
    done(&y);
    /* As it was. */
    assert_int_equal(chmod(path, 0644), 0);
    y = BUILT(usual);
    assert_cached(&y, 4, 4);
    assert_true(same_image(&x, &y));
    done(&y);
    done(&x);
}

/* The same files by another instruction, on another base: the layer is there already. */
static void test_content_hits(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    struct result x = BUILT("FROM scratch\nCOPY a /x/\n");
    struct result y = BUILT("FROM scratch\nCOPY <<E /first\n1\nE\nCOPY a /x/a\n");
    assert_true(cb_digest_eq(&x.r.images[0].config.diff_ids[0], &y.r.images[0].config.diff_ids[1]));
    assert_cached(&y, 2, 1);
    done(&x);
    done(&y);
}

/* A stage that is made again and comes out the same does not make what copies from it run. */
static void test_stage_that_comes_out_the_same(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    put(b, "noise", "1");
    static const char text[] = "FROM scratch AS s\nCOPY noise /noise\nCOPY a /a\nFROM scratch\nCOPY --from=s /a /a\n";
    struct result x = BUILT(text);
    put(b, "noise", "2");
    struct result y = BUILT(text);
    assert_cached(&y, 3, 2);
    assert_true(cb_digest_eq(&x.r.images[0].config.diff_ids[0], &y.r.images[0].config.diff_ids[0]));
    done(&x);
    done(&y);
}

static void test_bytes_that_are_gone(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    put(b, "b", "b");
    struct result x = BUILT(usual, .tag = "x");
    cb_autofree char *blob = blob_file(&b->f, &x.r.images[0].manifest.layers[1].digest);
    assert_int_equal(unlink(blob), 0);
    struct result y = BUILT(usual);
    assert_true(y.r.cached < 4);
    assert_int_equal(access(blob, F_OK), 0);
    for (size_t i = 0; i < 2; i++)
        assert_true(cb_digest_eq(&x.r.images[0].config.diff_ids[i], &y.r.images[0].config.diff_ids[i]));
    done(&x);
    done(&y);
}

/* The record of a step and those of the steps below it must fit together, whoever wrote them. */
static void test_records_that_do_not_fit(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    put(b, "a", "aaa");
    put(b, "b", "b");
    struct result x = BUILT("FROM scratch\nCOPY a /a\nCOPY b /b\n");
    /* The first step's record is replaced by one that made nothing: then the second adds two layers. */
    cb_autofree char *cache = path_in(f, "cache");
    size_t replaced = 0;
    DIR *top = opendir(cache);
    assert_non_null(top);
    for (struct dirent *d; (d = readdir(top));) {
        cb_autofree char *sub = cb_asprintf("%s/%s", cache, d->d_name);
        DIR *in = d->d_name[0] == '.' ? NULL : opendir(sub);
        for (struct dirent *e; in && (e = readdir(in));) {
            struct cb_digest key;
            struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
            cb_autofree char *text = cb_asprintf("sha256:%s", e->d_name);
            if (cb_digest_parse(&key, text, NULL) < 0 || cb_store_cache_get(f->s, &key, &rec, NULL) < 0 ||
                !rec.whole || rec.n_layers != 1)
                continue;
            struct cb_cache_record none = { .whole = true, .created = 1, .note = (char *)(uintptr_t) "forged" };
            cb_autofree char *path = cb_asprintf("%s/%s", sub, e->d_name);
            assert_int_equal(unlink(path), 0);
            ok(cb_store_cache_put(f->s, &key, &none, &f->err));
            replaced++;
        }
        if (in)
            closedir(in);
    }
    closedir(top);
    assert_int_equal(replaced, 1);
    struct result y = BUILT("FROM scratch\nCOPY a /a\nCOPY b /b\n");
    assert_int_equal(y.r.images[0].config.n_diff_ids, 1); /* what the records say, but one layer a step */
    size_t layers = 0;
    for (size_t i = 0; i < y.r.images[0].config.n_history; i++)
        layers += !y.r.images[0].config.history[i].empty_layer;
    assert_int_equal(layers, y.r.images[0].config.n_diff_ids);
    done(&x);
    done(&y);
}

static void test_reproducible(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    put(b, "b", "b");
    assert_int_equal(setenv("SOURCE_DATE_EPOCH", "1000000", 1), 0);
    struct result x = BUILT(usual, .no_cache = true);
    usleep(1100000);
    cb_autofree char *path = ctx_path(b, "a");
    assert_int_equal(utimensat(AT_FDCWD, path, NULL, 0), 0);
    struct result y = BUILT(usual, .no_cache = true);
    assert_true(same_image(&x, &y));
    assert_string_equal(x.r.images[0].config.created, "1970-01-12T13:46:40Z");
    done(&x);
    done(&y);
    assert_int_equal(setenv("SOURCE_DATE_EPOCH", "soon", 1), 0);
    x = BUILD(usual);
    assert_int_equal(x.code, -CB_EUSAGE);
    done(&x);
    assert_int_equal(setenv("SOURCE_DATE_EPOCH", "99999999999999999", 1), 0);
    x = BUILD(usual);
    assert_int_equal(x.code, -CB_EUSAGE);
    done(&x);
    unsetenv("SOURCE_DATE_EPOCH");
}

/* ---- failures ---- */

static void assert_failed(struct build_fixture *b, struct result x, int code, unsigned line, const char *text)
{
    if (x.code != -code || !strstr(cb_error_text(&b->f.err), text))
        fail_msg("%d \"%s\", and not %d \"%s\"", x.code, cb_error_text(&b->f.err), -code, text);
    assert_int_equal(b->f.err.code, code);
    assert_int_equal(x.r.failed.first, line);
    done(&x);
}

static void test_failures(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    assert_failed(b, BUILD("FROM scratch\nCOPY a /a\nCOPY none /b\n"), CB_ECONF, 3,
                  "Dockerfile:3: \"/none\": not found");
    assert_failed(b, BUILD("FROM scratch\nCOPY a /a\nCOPY a /a/b\n"), CB_ECONF, 3,
                  "Dockerfile:3: /a is not a directory");
    assert_failed(b, BUILD("FROM scratch\nCOPY --chown=ghost a /a\n"), CB_ECONF, 2, "Dockerfile:2: --chown=ghost: ");
    assert_failed(b, BUILD("FROM scratch\nUSER ghost\nWORKDIR /x\n"), CB_ECONF, 3, "ghost");
    assert_failed(b, BUILD("FROM scratch AS s\nFROM scratch\nCOPY --from=s /a /b\n"), CB_ECONF, 3, "/a");
    assert_failed(b, BUILD("FROM nothing\n"), CB_ENOTFOUND, 1, "--pull=never");
    assert_failed(b, BUILD("RNU x\n"), CB_ECONF, 0, "Dockerfile:1: ");
    assert_failed(b, BUILD("FROM scratch\n", .tag = "Bad Name"), CB_EUSAGE, 0, "tag: ");
    assert_failed(b, BUILD("FROM scratch\n", .push = true), CB_EUSAGE, 0, "--push needs a name");
    assert_failed(b, BUILD("FROM scratch\n", .target = "x"), CB_EUSAGE, 0, "--target x");
    assert_failed(b, BUILD("FROM scratch\n", .file = "nofile"), CB_ECONF, 0, "nofile: no such Dockerfile");
    /* The caller may not care why. */
    struct cb_build_options o = { .context = "/nonexistent" };
    struct cb_build_result r = { 0 };
    assert_int_equal(cb_build_run(&b->env, &o, &r, NULL), -CB_EUSAGE);
    cb_build_result_done(&r);
}

/* One stage fails while others still work: all of them end. */
static void test_failure_among_many(void **state)
{
    struct build_fixture *b = *state;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    put(b, "a", "aaa");
    for (int i = 0; i < 30; i++)
        cb_strbuf_addf(&text, "FROM scratch AS s%d\nCOPY a /a%d\n%s", i, i,
                       i == 17 ? "COPY a /a17/x\n" : "COPY a /b\n");
    cb_strbuf_adds(&text, "FROM scratch\n");
    for (int i = 0; i < 30; i++)
        cb_strbuf_addf(&text, "COPY --from=s%d / /\n", i);
    assert_failed(b, BUILD(text.buf), CB_ECONF, 3 * 17 + 3, "/a17 is not a directory");
}

static void test_cancelled(void **state)
{
    struct build_fixture *b = *state;
    put(b, "a", "aaa");
    cb_cancel_trigger(b->cancel, 0);
    struct result x = BUILD("FROM scratch\nCOPY <<E /x\n1\nE\nCOPY a /a\n");
    assert_int_equal(x.code, -CB_ECANCELED);
    assert_int_equal(x.r.failed.first, 0);
    done(&x);
}

static void test_too_many_layers(void **state)
{
    struct build_fixture *b = *state;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&text, "FROM scratch\n");
    for (int i = 0; i < CB_MAX_LAYERS + 1; i++)
        cb_strbuf_addf(&text, "COPY <<E /f%d\n%d\nE\n", i, i);
    assert_failed(b, BUILD(text.buf), CB_ECONF, 0, "more than 512");
}

/* Records of many steps, each with the layers of all those below. */
static void test_long_chain(void **state)
{
    struct build_fixture *b = *state;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    put(b, "a", "aaa");
    cb_strbuf_adds(&text, "FROM scratch\n");
    for (int i = 0; i < 250; i++)
        cb_strbuf_addf(&text, "COPY a /d%d/f\nWORKDIR /d%d\n", i, i);
    struct result x = BUILT(text.buf), y = BUILT(text.buf);
    assert_cached(&x, 500, 0);
    assert_cached(&y, 500, 500);
    assert_true(same_image(&x, &y));
    assert_int_equal(y.r.images[0].config.n_diff_ids, 250);
    /* Only the last step is asked again where only that changed. */
    cb_strbuf_adds(&text, "COPY a /last\n");
    struct result z = BUILT(text.buf);
    assert_int_equal(z.r.steps, 501);
    assert_true(z.r.cached >= 500);
    done(&x);
    done(&y);
    done(&z);
}

/* ---- outputs ---- */

static void test_outputs(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *f = &b->f;
    put(b, "a", "aaa");
    static const char *const specs[] = { "type=oci,dest=%s/out", "type=docker,dest=%s/out", "type=tar,dest=%s/out",
                                         "type=oci,dest=%s/out.d,tar=false", "type=local,dest=%s/tree" };
    static const char *const made[] = { "out", "out", "out", "out.d/index.json", "tree/x/a" };
    for (size_t i = 0; i < CB_COUNTOF(specs); i++) {
        struct cb_output out;
        struct cb_strbuf spec cb_cleanup_strbuf = CB_STRBUF_INIT;
        const char *at = strstr(specs[i], "%s");
        cb_strbuf_addf(&spec, "%.*s%s%s", (int)(at - specs[i]), specs[i], f->dir, at + 2);
        cb_autofree char *path = cb_asprintf("%s/%s", f->dir, made[i]);
        unlink(path);
        ok(cb_output_parse(&out, spec.buf, &f->err));
        struct result x = BUILT("FROM scratch\nCOPY a /x/\n", .output = &out);
        assert_true(exists(path));
        done(&x);
        cb_output_done(&out);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, build_setup, build_teardown)
    const struct CMUnitTest tests[] = {
        T(test_layers_and_history), T(test_nothing_at_all), T(test_stages), T(test_on_an_image_of_the_store),
        T(test_second_time), T(test_what_changed), T(test_content_hits), T(test_stage_that_comes_out_the_same),
        T(test_bytes_that_are_gone), T(test_records_that_do_not_fit), T(test_reproducible), T(test_failures),
        T(test_failure_among_many), T(test_cancelled), T(test_too_many_layers), T(test_long_chain), T(test_outputs),
    };
    umask(022);
    unsetenv("SOURCE_DATE_EPOCH");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
