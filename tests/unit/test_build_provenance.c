/* SPDX-License-Identifier: Apache-2.0 */
/* What is said of how an image was made, and what must not be said. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "build/provenance.h"
#include "util/alloc.h"

/* ---- names ---- */

static const struct {
    const char *url, *told;
} urls[] = {
    { "https://h/x", "https://h/x" },
    { "https://u:p@h:8/x?a=b#c", "https://h:8/x" },
    { "https://u@p@h/x", "https://h/x" },
    { "https://h?a@b", "https://h" },
    { "https://h/a@b", "https://h/a@b" },
    { "ssh://git@h/x.git", "ssh://h/x.git" },
};

static const struct {
    const char *text, *told;
} repositories[] = {
    { "https://h/x.git", "https://h/x.git" },
    { "https://h/x.git#main:sub", "https://h/x.git#main:sub" },
    { "https://h/x.git?tag=v1", "https://h/x.git#refs/tags/v1" },
    { "https://h/x.git#:sub", "https://h/x.git#:sub" },
    { "git@h:a/b.git#v1", "ssh://h/a/b.git#v1" },
    { "git@h:/a/b.git", "ssh://h/a/b.git" },
    { "ssh://me@h:22/a", "ssh://h:22/a" },
    { "github.com/a/b", "https://github.com/a/b" },
};

static const struct {
    const char *ref, *platform, *purl;
} images[] = {
    { "busybox", "linux/amd64", "pkg:docker/busybox?platform=linux%2Famd64" },
    { "busybox:1.36", "linux/arm/v7", "pkg:docker/busybox@1.36?platform=linux%2Farm%2Fv7" },
    { "a/b:1", "linux/amd64", "pkg:docker/a/b@1?platform=linux%2Famd64" },
    { "h.example:5000/a/b:1_2-x", "linux/amd64", "pkg:docker/h.example:5000/a/b@1_2-x?platform=linux%2Famd64" },
    { "h.example/a@sha256:0000000000000000000000000000000000000000000000000000000000000000", "linux/amd64",
      "pkg:docker/h.example/a?digest=sha256%3A0000000000000000000000000000000000000000000000000000000000000000"
      "&platform=linux%2Famd64" },
};

static void names_tell_no_credentials(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(urls); i++) {
        cb_autofree char *told = cb_url_told(urls[i].url);
        assert_string_equal(told, urls[i].told);
    }
    for (size_t i = 0; i < CB_COUNTOF(repositories); i++) {
        struct cb_git_ref g cb_cleanup_git_ref = { 0 };
        assert_int_equal(cb_git_ref_parse(&g, repositories[i].text, NULL), 0);
        cb_autofree char *told = cb_git_told(&g);
        assert_string_equal(told, repositories[i].told);
    }
}

static void images_are_package_urls(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(images); i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        struct cb_platform p cb_cleanup_platform = { 0 };
        assert_int_equal(cb_reference_parse(&ref, images[i].ref, NULL), 0);
        assert_int_equal(cb_platform_parse(&p, images[i].platform, NULL), 0);
        cb_autofree char *purl = cb_purl_docker(&ref, &p);
        assert_string_equal(purl, images[i].purl);
    }
}

static const struct {
    const char *text, *told;
} texts[] = {
    { "RUN curl https://u:p@h/x", "RUN curl https://xxxxx@h/x" },
    { "a=https://x/,b=https://u:p@y/", "a=https://x/,b=https://xxxxx@y/" },
    { "a \"https://u:p@h/\" b", "a \"https://xxxxx@h/\" b" },
    { "https://h/x?token=t&b=c d", "https://h/x?token=xxxxx&b=xxxxx d" },
    { "me@h.example :// x", "me@h.example :// x" },
};

static void texts_hide_what_urls_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(texts); i++) {
        cb_autojson json_t *told = cb_provenance_text(texts[i].text);
        assert_string_equal(json_string_value(told), texts[i].told);
    }
}

/* ---- a build ---- */

/* FROM busybox; ADD of a URL; COPY of the context; RUN. And a RUN that is of another image. */
struct rig {
    struct cb_build b;
    struct cb_build_options o;
    struct cb_build_result res;
    struct cb_dockerfile df;
    struct cb_main_context context;
    struct cb_plan_image image;
    struct cb_plan_source source;
    struct cb_vertex v[5], *vertices[5];
    struct cb_run_mount mounts[2];
    struct cb_image out;
    struct cb_strvec args;
    struct cb_strmap labels, contexts;
};

static struct cb_digest digest(const char *text)
{
    struct cb_digest d;
    cb_digest_of(&d, text, strlen(text));
    return d;
}

static char *fixed(const char *text)
{
    return (char *)(uintptr_t)text;
}

static void set_up_steps(struct rig *r)
{
    static const enum cb_vertex_kind kinds[] = { CB_VERTEX_SOURCE, CB_VERTEX_HTTP, CB_VERTEX_COPY, CB_VERTEX_RUN,
                                                 CB_VERTEX_RUN };
    for (unsigned i = 0; i < 5; i++) {
        r->v[i] = (struct cb_vertex){ .kind = kinds[i], .id = i, .base = i > 1 ? &r->v[i - 1] : NULL };
        r->vertices[i] = &r->v[i];
    }
    r->v[0].source = &r->source;
    r->v[1].remote.url = fixed("https://u:canary@h/f?canary=canary");
    r->v[1].remote.content = digest("f");
    r->v[2].base = &r->v[0];
    r->v[2].from = &r->v[1];
    r->v[3].run.network = CB_NETWORK_NONE;
    r->v[3].run.mounts = r->mounts;
    r->v[3].run.n_mounts = 2;
    r->v[3].note = fixed("RUN wget https://u:canary@h/");
    r->mounts[0] = (struct cb_run_mount){ .type = CB_DF_MOUNT_SECRET, .id = fixed("tok") };
    r->mounts[1] = (struct cb_run_mount){ .type = CB_DF_MOUNT_SECRET, .id = fixed("tok"), .required = true };
    r->source.ref = (struct cb_reference){ .host = fixed("docker.io"), .repo = fixed("library/busybox"),
                                           .tag = fixed("1") };
    r->source.top = digest("busybox");
}

static void set_up(struct rig *r)
{
    *r = (struct rig){ .context = CB_MAIN_CONTEXT_INIT };
    set_up_steps(r);
    r->source.platform = (struct cb_platform){ .os = fixed("linux"), .arch = fixed("amd64") };
    r->image = (struct cb_plan_image){ .platform = r->source.platform, .goal = &r->v[3] };
    r->df.text = fixed("FROM busybox:1\n");
    r->df.text_len = strlen(r->df.text);
    r->out.desc.digest = digest("image");
    r->res = (struct cb_build_result){ .dockerfile = &r->df, .images = &r->out, .n_images = 1 };
    cb_strvec_push(&r->args, "A=canary");
    cb_strvec_push(&r->args, "https_proxy=http://canary");
    cb_strmap_set(&r->labels, "l", "v");
    cb_strmap_set(&r->contexts, "dir", "/home/canary");
    cb_strmap_set(&r->contexts, "lay", "oci-layout:///home/canary");
    cb_strmap_set(&r->contexts, "img", "docker-image://busybox");
    r->o = (struct cb_build_options){ .build_args = &r->args, .labels = &r->labels, .contexts = &r->contexts,
                                      .target = "t", .format = { CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT } };
    r->b = (struct cb_build){ .o = &r->o, .res = &r->res, .epoch = 0, .format = r->o.format,
                              .origin = { &r->context, "/home/canary/Dockerfile", false } };
    r->b.plan.vertices = r->vertices;
    r->b.plan.n = 5;
    r->b.plan.images = &r->image;
    r->b.plan.n_images = 1;
}

static void tear_down(struct rig *r)
{
    cb_strvec_done(&r->args);
    cb_strmap_done(&r->labels);
    cb_strmap_done(&r->contexts);
}

/* "a.b.c", or the whole. */
static char *at(const json_t *o, const char *path)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (const char *p = path; *p; p += strspn(p, ".")) {
        cb_autofree char *key = cb_strndup(p, strcspn(p, "."));
        o = json_object_get(o, key);
        assert_non_null(o);
        p += strlen(key);
    }
    cb_json_print(&text, o);
    return cb_strbuf_detach(&text, NULL);
}

static void is(const json_t *o, const char *path, const char *wanted)
{
    cb_autofree char *text = at(o, path);
    assert_string_equal(text, wanted);
}

static json_t *predicate(struct rig *r, enum cb_provenance_mode mode)
{
    return cb_provenance_predicate(&(struct cb_provenance){ &r->b, 0, mode });
}

#define REQUEST "buildDefinition.externalParameters.request."

static void mode_min_has_names_and_digests(void **state)
{
    (void)state;
    struct rig r;
    set_up(&r);
    cb_autojson json_t *p = predicate(&r, CB_PROVENANCE_MIN);
    cb_autofree char *all = at(p, "");
    assert_null(strstr(all, "canary"));
    assert_null(strstr(all, "step3"));
    is(p, REQUEST "args", "{\"platform\":\"linux/amd64\",\"target\":\"t\",\"source-date-epoch\":0,\"label:l\":\"v\","
                          "\"context:dir\":\"local\",\"context:img\":\"docker-image://busybox\","
                          "\"context:lay\":\"oci-layout\"}");
    is(p, REQUEST "buildArgNames", "[\"A\"]");
    is(p, REQUEST "locals", "[{\"name\":\"dockerfile\"}]");
    is(p, "buildDefinition.externalParameters.configSource", "{\"path\":\"Dockerfile\"}");
    cb_autofree char *dependencies = at(p, "buildDefinition.resolvedDependencies");
    assert_non_null(strstr(dependencies, "\"pkg:docker/busybox@1?platform=linux%2Famd64\""));
    assert_non_null(strstr(dependencies, "\"https://h/f\""));
    is(p, "runDetails.metadata.startedOn", "\"1970-01-01T00:00:00Z\"");
    is(p, "runDetails.metadata.cbpush_hermetic", "true");
    is(p, "runDetails.metadata.cbpush_completeness", "{\"request\":false,\"resolvedDependencies\":true}");
    tear_down(&r);
}

static void what_has_no_digest_is_admitted(void **state)
{
    (void)state;
    struct rig r;
    set_up(&r);
    r.v[2].from = NULL;
    cb_strvec_push(&r.v[2].copy.sources, "x");
    r.v[3].run.network = CB_NETWORK_PRIVATE;
    cb_autojson json_t *p = predicate(&r, CB_PROVENANCE_MIN);
    is(p, REQUEST "locals", "[{\"name\":\"context\"},{\"name\":\"dockerfile\"}]");
    is(p, "runDetails.metadata.cbpush_hermetic", "false");
    is(p, "runDetails.metadata.cbpush_completeness.resolvedDependencies", "false");
    cb_autofree char *dependencies = at(p, "buildDefinition.resolvedDependencies");
    assert_null(strstr(dependencies, "https://h/f")); /* nothing is made of it now */
    cb_strvec_done(&r.v[2].copy.sources);
    tear_down(&r);
}

static void mode_max_has_values_and_steps_and_no_credentials(void **state)
{
    (void)state;
    struct rig r;
    set_up(&r);
    cb_autojson json_t *p = predicate(&r, CB_PROVENANCE_MAX);
    is(p, REQUEST "args.build-arg:A", "\"canary\"");
    is(p, REQUEST "secrets", "[{\"id\":\"tok\",\"optional\":false}]");
    cb_autofree char *steps = at(p, "buildDefinition.internalParameters.buildConfig.steps");
    assert_null(strstr(steps, "canary"));
    assert_non_null(strstr(steps, "{\"id\":\"step3\",\"kind\":\"run\",\"name\":\"RUN wget https://xxxxx@h/\""));
    assert_null(strstr(steps, "step4"));
    is(p, "runDetails.metadata.cbpush_metadata.source.text", "\"FROM busybox:1\\n\"");
    tear_down(&r);
}

static void the_same_is_said_in_the_same_bytes(void **state)
{
    (void)state;
    struct rig r;
    set_up(&r);
    for (int old = 0; old < 2; old++) {
        r.o.provenance.v02 = old;
        cb_autojson json_t *one = predicate(&r, CB_PROVENANCE_MAX), *two = predicate(&r, CB_PROVENANCE_MAX);
        cb_autofree char *a = at(one, ""), *b = at(two, "");
        assert_string_equal(a, b);
        const char *id = old ? "metadata.buildInvocationID" : "runDetails.metadata.invocationId";
        cb_autofree char *first = at(one, id);
        assert_int_equal(strlen(first), 66);
        r.o.target = old ? "t" : "other";
        cb_autojson json_t *three = predicate(&r, CB_PROVENANCE_MAX);
        cb_autofree char *other = at(three, id);
        assert_string_not_equal(first, other);
    }
    tear_down(&r);
}

static json_t *statement_of(const struct rig *r)
{
    cb_autojson json_t *subjects = cb_provenance_subjects(&r->b, 0);
    return cb_provenance_statement(&(struct cb_provenance){ &r->b, 0, CB_PROVENANCE_MIN }, subjects);
}

static void the_statement_names_what_it_is_about(void **state)
{
    (void)state;
    struct rig r;
    set_up(&r);
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_hex(&r.out.desc.digest, hex);
    cb_autojson json_t *nameless = statement_of(&r);
    cb_autofree char *wanted = cb_asprintf("[{\"name\":\"_\",\"digest\":{\"sha256\":\"%s\"}}]", hex);
    is(nameless, "subject", wanted);
    struct cb_reference tags[] = { { .host = fixed("h:1"), .repo = fixed("a"), .tag = fixed("1") },
                                   { .host = fixed("h:1"), .repo = fixed("b") } };
    r.b.tags = tags;
    r.b.n_tags = 2;
    r.o.provenance.v02 = true;
    r.o.provenance.builder_id = "https://ci/7";
    cb_autojson json_t *named = statement_of(&r);
    cb_autofree char *subject = at(named, "subject");
    assert_non_null(strstr(subject, "\"pkg:docker/h:1/a@1?platform=linux%2Famd64\""));
    assert_non_null(strstr(subject, "\"pkg:docker/h:1/b?platform=linux%2Famd64\""));
    is(named, "_type", "\"https://in-toto.io/Statement/v0.1\"");
    is(named, "predicate.builder", "{\"id\":\"https://ci/7\"}");
    tear_down(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_tell_no_credentials),
        cmocka_unit_test(images_are_package_urls),
        cmocka_unit_test(texts_hide_what_urls_hold),
        cmocka_unit_test(mode_min_has_names_and_digests),
        cmocka_unit_test(what_has_no_digest_is_admitted),
        cmocka_unit_test(mode_max_has_values_and_steps_and_no_credentials),
        cmocka_unit_test(the_same_is_said_in_the_same_bytes),
        cmocka_unit_test(the_statement_names_what_it_is_about),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
