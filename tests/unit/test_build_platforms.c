/* SPDX-License-Identifier: Apache-2.0 */
/* Several platforms in one build, and annotations on each level of what comes out. */
#include "build_fixture.h"

#include <stdio.h>

#include "build/internal.h"

/* ---- the grammar of --annotation ---- */

static void annotations_text(struct cb_strbuf *o, const struct cb_annotations *a)
{
    static const char *const levels[] = { "manifest", "index", "manifest-descriptor", "index-descriptor" };
    for (size_t i = 0; i < a->n; i++) {
        cb_strbuf_addf(o, "%s%s", i ? " " : "", levels[a->v[i].level]);
        if (a->v[i].platform.os) {
            cb_strbuf_addch(o, '[');
            cb_strbuf_add_platform(o, &a->v[i].platform);
            cb_strbuf_addch(o, ']');
        }
        cb_strbuf_addf(o, ":%s=%s", a->v[i].key, a->v[i].value);
    }
}

static void test_grammar(void **state)
{
    (void)state;
    static const struct { const char *spec, *expected; } t[] = {
        { "a=b", "manifest:a=b" },
        { "a=", "manifest:a=" },
        { "a=b=c:d,e", "manifest:a=b=c:d,e" },
        { "manifest:a=b", "manifest:a=b" },
        { "index:org.x=http://y", "index:org.x=http://y" },
        { "index,manifest:a=b", "index:a=b manifest:a=b" },
        { "manifest-descriptor,index-descriptor:a=b", "manifest-descriptor:a=b index-descriptor:a=b" },
        { "manifest[linux/amd64]:a=b", "manifest[linux/amd64]:a=b" },
        { "manifest[linux/arm64/v8],manifest-descriptor[arm64]:a=b",
          "manifest[linux/arm64]:a=b manifest-descriptor[linux/arm64]:a=b" },
        { "index:manifest:a=b", "index:manifest:a=b" },
        { "", NULL },
        { "a", NULL },
        { "=b", NULL },
        { "manifest:=b", NULL },
        { ":a=b", NULL },
        { "nothing:a=b", NULL },
        { "manifest,:a=b", NULL },
        { ",manifest:a=b", NULL },
        { "Manifest:a=b", NULL },
        { "manifest[]:a=b", NULL },
        { "manifest[linux/amd64:a=b", NULL },
        { "manifest[linux/amd64]x:a=b", NULL },
        { "manifest[!]:a=b", NULL },
        { "index[linux/amd64]:a=b", NULL },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_annotations a = { 0 };
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
        int r = cb_annotation_parse(&a, t[i].spec, &err);
        annotations_text(&got, &a);
        if (r != (t[i].expected ? 0 : -CB_EUSAGE) || (t[i].expected && strcmp(got.buf, t[i].expected)))
            fail_msg("%s: %d, %s", t[i].spec, r, got.buf);
        cb_annotations_done(&a);
    }
}

static char *map_text(const struct cb_annotations *a, enum cb_annotation_level level, const struct cb_platform *p)
{
    struct cb_strmap m cb_cleanup_strmap = { 0 };
    struct cb_strbuf o = CB_STRBUF_INIT;
    cb_annotations_of(a, level, p, &m);
    for (size_t i = 0; i < m.n; i++)
        cb_strbuf_addf(&o, "%s=%s ", m.v[i].key, m.v[i].value);
    return cb_strbuf_detach(&o, NULL);
}

static void test_own_platform_wins(void **state)
{
    (void)state;
    static const char *const specs[] = { "manifest[linux/amd64]:a=own", "a=all", "b=all", "index:a=index",
                                         "manifest[linux/arm64]:b=other" };
    struct cb_annotations a = { 0 };
    struct cb_platform amd64 cb_cleanup_platform = { 0 }, arm64 cb_cleanup_platform = { 0 };
    assert_int_equal(cb_platform_parse(&amd64, "linux/amd64", NULL), 0);
    assert_int_equal(cb_platform_parse(&arm64, "linux/arm64", NULL), 0);
    for (size_t i = 0; i < CB_COUNTOF(specs); i++)
        assert_int_equal(cb_annotation_parse(&a, specs[i], NULL), 0);
    cb_autofree char *one = map_text(&a, CB_ANNOTATE_MANIFEST, &amd64);
    cb_autofree char *two = map_text(&a, CB_ANNOTATE_MANIFEST, &arm64);
    cb_autofree char *index = map_text(&a, CB_ANNOTATE_INDEX, NULL);
    assert_string_equal(one, "a=own b=all ");
    assert_string_equal(two, "a=all b=other ");
    assert_string_equal(index, "a=index ");
    cb_annotations_done(&a);
}

/* ---- builds ---- */

struct built {
    struct cb_platform *platforms;
    size_t n;
    struct cb_annotations annotations;
    struct cb_build_result r;
    int code;
};

struct how {
    const char *platforms, *annotation;
    const struct cb_output *output;
};

static struct built build(struct build_fixture *b, const char *dockerfile, struct how how)
{
    struct fixture *f = &b->f;
    struct built x = { .code = 0 };
    cb_autofree char *ctx = cb_asprintf("%s/ctx", f->dir), *path = cb_asprintf("%s/ctx/Dockerfile", f->dir);
    cb_autofree char *file = cb_asprintf("%s/ctx/file", f->dir);
    struct cb_strvec lists cb_cleanup_strvec = CB_STRVEC_INIT, tags cb_cleanup_strvec = CB_STRVEC_INIT;
    mkdir(ctx, 0755);
    write_at(path, dockerfile);
    write_at(file, "text");
    cb_strvec_push(&lists, how.platforms);
    cb_strvec_push(&tags, "app");
    ok(cb_platforms_parse(&lists, &x.platforms, &x.n, &f->err));
    if (how.annotation)
        ok(cb_annotation_parse(&x.annotations, how.annotation, &f->err));
    struct cb_build_options o = { .context = ctx, .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT },
                                  .pull = CB_PULL_NEVER, .platforms = x.platforms, .n_platforms = x.n, .tags = &tags,
                                  .annotations = &x.annotations, .outputs = how.output,
                                  .n_outputs = how.output ? 1 : 0 };
    cb_error_done(&f->err);
    x.code = cb_build_run(&b->env, &o, &x.r, &f->err);
    return x;
}
#define BUILD(text, ...) build(b, text, (struct how){ __VA_ARGS__ })

static void done(struct built *x)
{
    cb_build_result_done(&x->r);
    cb_platforms_free(x->platforms, x->n);
    cb_annotations_done(&x->annotations);
}

static void load_index(struct build_fixture *b, const struct built *x, struct cb_index *out)
{
    struct fixture *f = &b->f;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(cb_store_blob_get(f->s, &x->r.desc.digest, CB_MAX_MANIFEST, &body, &f->err));
    assert_int_equal(body.len, x->r.desc.size);
    ok(cb_index_parse(out, body.buf, body.len, x->r.desc.media_type, &f->err));
}

static void test_index(void **state)
{
    struct build_fixture *b = *state;
    struct cb_index idx cb_cleanup_index = { 0 };
    struct cb_image_tree tree cb_cleanup_image_tree = { 0 };
    struct cb_descriptor named cb_cleanup_descriptor = { 0 };
    struct fixture *f = &b->f;
    struct built x = BUILD("FROM scratch\nARG TARGETARCH\nCOPY file /same\nCOPY file /$TARGETARCH\n",
                           .platforms = "linux/arm64,linux/amd64", .annotation = "index,manifest-descriptor:a=b");
    if (x.code < 0)
        fail_msg("%s", cb_error_text(&f->err));
    load_index(b, &x, &idx);
    assert_int_equal(idx.n_manifests, 2);
    assert_string_equal(idx.manifests[0].platform->arch, "arm64");
    assert_string_equal(idx.manifests[1].platform->arch, "amd64");
    assert_string_equal(cb_strmap_get(&idx.annotations, "a"), "b");
    assert_string_equal(cb_strmap_get(&idx.manifests[1].annotations, "a"), "b");
    assert_int_equal(x.r.n_images, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_true(cb_digest_eq(&idx.manifests[i].digest, &x.r.images[i].desc.digest));
        assert_int_equal(x.r.images[i].manifest.annotations.n, 0);
        assert_string_equal(x.r.images[i].config.platform.arch, idx.manifests[i].platform->arch);
    }
    /* The first layer is one step of both. */
    assert_int_equal(x.r.steps, 3);
    assert_true(cb_digest_eq(&x.r.images[0].config.diff_ids[0], &x.r.images[1].config.diff_ids[0]));
    assert_false(cb_digest_eq(&x.r.images[0].config.diff_ids[1], &x.r.images[1].config.diff_ids[1]));
    ok(cb_store_name_get(f->s, "docker.io/library/app:latest", &named, &f->err));
    assert_true(cb_digest_eq(&named.digest, &x.r.desc.digest));
    ok(cb_image_tree_load(f->s, &named, &tree, &f->err));
    assert_int_equal(tree.n, 3);
    assert_true(tree.v[2].is_index && tree.v[0].is_image);
    struct cb_platform arm cb_cleanup_platform = { 0 };
    assert_int_equal(cb_platform_parse(&arm, "linux/arm64", NULL), 0);
    assert_string_equal(cb_image_tree_pick(&tree, &arm)->config.platform.arch, "arm64");
    done(&x);
}

static void test_again(void **state)
{
    struct build_fixture *b = *state;
    static const char text[] = "FROM --platform=linux/s390x scratch AS a\nCOPY file /a\n"
                               "FROM scratch\nCOPY --from=a / /\nFROM scratch\nCOPY --from=1 / /\nCOPY --from=a / /\n";
    struct built x = BUILD(text, .platforms = "linux/arm64,linux/amd64,linux/386");
    struct built y = BUILD(text, .platforms = "linux/arm64,linux/amd64,linux/386");
    assert_int_equal(x.code, 0);
    assert_int_equal(y.code, 0);
    assert_true(cb_digest_eq(&x.r.desc.digest, &y.r.desc.digest));
    /* Nothing of it depends on the platform. */
    assert_int_equal(x.r.steps, 4);
    assert_int_equal(y.r.cached, 4);
    done(&x);
    done(&y);
}

static void test_one_is_no_index(void **state)
{
    struct build_fixture *b = *state;
    struct built x = BUILD("FROM scratch\nCOPY file /\n", .platforms = "linux/arm64,linux/arm64/v8");
    assert_int_equal(x.code, 0);
    assert_string_equal(x.r.desc.media_type, CB_MT_OCI_MANIFEST);
    assert_true(cb_digest_eq(&x.r.desc.digest, &x.r.images[0].desc.digest));
    done(&x);
}

static void test_refused(void **state)
{
    struct build_fixture *b = *state;
    char dest[] = "/nonexistent/x";
    const struct cb_output docker = { .type = CB_OUTPUT_DOCKER, .dest = dest, .format.level = CB_LEVEL_DEFAULT,
                                      .platform_split = -1 };
    const struct cb_output merged = { .type = CB_OUTPUT_LOCAL, .dest = dest, .format.level = CB_LEVEL_DEFAULT,
                                      .platform_split = 0 };
    const struct { struct how how; const char *dockerfile, *error; int code; } t[] = {
        { { "linux/amd64,linux/arm64", NULL, &docker }, "FROM scratch\n", "docker archive", -CB_EUSAGE },
        { { "linux/amd64,linux/arm64", NULL, &merged }, "FROM scratch\n", "platform-split", -CB_EUSAGE },
        { { "linux/amd64", "index:a=b", NULL }, "FROM scratch\n", "makes no index", -CB_EUSAGE },
        { { "linux/amd64", "index-descriptor:a=b", NULL }, "FROM scratch\n", "makes no index", -CB_EUSAGE },
        { { "linux/amd64", "manifest[linux/arm64]:a=b", NULL }, "FROM scratch\n", "linux/arm64 is not built",
          -CB_EUSAGE },
        { { "linux/amd64,linux/arm64", NULL, NULL },
          "FROM scratch\nARG TARGETARCH\nCOPY file /\nCOPY x-$TARGETARCH /\n",
          "Dockerfile:4: linux/amd64: ", -CB_ECONF },
        { { "linux/amd64,windows/amd64", NULL, NULL },
          "FROM scratch AS linux\nFROM scratch AS windows\nCOPY file /\nRUN [\"/file\"]\nFROM scratch\n"
          "ARG TARGETOS\nCOPY --from=windows / /$TARGETOS\n", "Dockerfile:4: ", -CB_ELOCAL },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct built x = build(b, t[i].dockerfile, t[i].how);
        assert_int_equal(x.code, t[i].code);
        if (!strstr(cb_error_text(&b->f.err), t[i].error))
            fail_msg("%s is not in: %s", t[i].error, cb_error_text(&b->f.err));
        done(&x);
    }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, build_setup, build_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammar), cmocka_unit_test(test_own_platform_wins), T(test_index), T(test_again),
        T(test_one_is_no_index), T(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
