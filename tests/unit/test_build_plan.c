/* SPDX-License-Identifier: Apache-2.0 */
/* Cases stand in tests/data/build/plan; what does not fit there is below. */
#include "build_plan_dump.h"

#include <limits.h>
#include <stdio.h>

#include "dockerfile_cases.h"

struct planned {
    struct cb_build_options o;
    struct cb_strvec args, devices, platforms;
    struct cb_strmap labels, contexts, params;
    struct cb_platform *parsed;
    char *target, *scanner;
    char show[8];
    struct fake_resolver resolver;
    struct cb_dockerfile *df;
    struct cb_plan plan;
    struct cb_df_span failed;
    struct cb_error err;
    int r;
};

static void planned_done(struct planned *p)
{
    cb_plan_done(&p->plan);
    cb_dockerfile_free(p->df);
    cb_strvec_done(&p->args);
    cb_strmap_done(&p->labels);
    cb_strmap_done(&p->contexts);
    cb_strmap_done(&p->params);
    free(p->scanner);
    cb_platforms_free(p->parsed, p->o.n_platforms);
    cb_strvec_done(&p->platforms);
    cb_error_done(&p->err);
    free(p->target);
    cb_strvec_done(&p->devices);
}

static void take_word(struct planned *p, const char *word)
{
    const char *v = strchr(word, '=') + 1;
    if (cb_starts_with(word, "show=")) {
        snprintf(p->show, sizeof p->show, "%s", v);
    } else if (cb_starts_with(word, "target=")) {
        p->target = cb_strdup(v);
    } else if (cb_starts_with(word, "arg=")) {
        cb_strvec_push(&p->args, v);
    } else if (cb_starts_with(word, "label=")) {
        const char *eq = strchr(v, '=');
        cb_autofree char *key = cb_strndup(v, (size_t)(eq - v));
        cb_strmap_set(&p->labels, key, eq + 1);
    } else if (cb_starts_with(word, "allow=device=")) {
        cb_strvec_push(&p->devices, strchr(v, '=') + 1);
        p->o.allow.devices = &p->devices;
    } else if (cb_starts_with(word, "allow=")) {
        p->o.allow.host_network = p->o.allow.host_network || !strcmp(v, "network.host");
        p->o.allow.insecure = p->o.allow.insecure || !strcmp(v, "security.insecure");
    } else if (cb_starts_with(word, "context=")) {
        const char *eq = strchr(v, '=');
        cb_autofree char *key = cb_strndup(v, (size_t)(eq - v));
        cb_strmap_set(&p->contexts, key, eq + 1);
    } else if (cb_starts_with(word, "sbom=")) {
        p->scanner = cb_strdup(v);
    } else if (cb_starts_with(word, "param=")) {
        const char *eq = strchr(v, '=');
        cb_autofree char *key = cb_strndup(v, (size_t)(eq - v));
        cb_strmap_set(&p->params, key, eq + 1);
    } else if (cb_starts_with(word, "network=")) {
        assert_int_equal(cb_network_parse(v, &p->o.network, NULL), 0);
    } else if (cb_starts_with(word, "platform=")) {
        cb_strvec_done(&p->platforms);
        cb_strvec_push(&p->platforms, v);
    } else {
        fail_msg("what is %s?", word);
    }
}

static void take_options(struct planned *p, const char *text)
{
    for (; cb_starts_with(text, "#> "); text = strchr(text, '\n') + 1) {
        const char *end = strchr(text, '\n');
        for (const char *w = text + 3; w < end; w++) {
            size_t n = strcspn(w, " \n");
            cb_autofree char *word = cb_strndup(w, n);
            take_word(p, word);
            w += n;
        }
    }
}

static void plan(struct planned *p, const char *text)
{
    *p = (struct planned){ .show = "vc" };
    cb_strvec_push(&p->platforms, "linux/amd64");
    take_options(p, text);
    assert_int_equal(cb_platforms_parse(&p->platforms, &p->parsed, &p->o.n_platforms, NULL), 0);
    p->o.build_args = &p->args;
    p->o.labels = &p->labels;
    p->o.contexts = &p->contexts;
    p->o.platforms = p->parsed;
    p->o.target = p->target;
    p->o.sbom = (struct cb_sbom_options){ p->scanner, &p->params };
    p->df = cb_dockerfile_parse("Dockerfile", text, strlen(text), &p->err);
    if (!p->df)
        fail_msg("%s", cb_error_text(&p->err));
    struct cb_plan_options po = { .build = &p->o, .dockerfile = p->df, .resolve = fake_resolve,
                                  .resolve_arg = &p->resolver };
    p->r = cb_plan_make(&po, &p->plan, &p->failed, &p->err);
    if (p->r < 0)
        assert_int_equal(p->r, -(int)p->err.code);
}

static void one_case(const struct test_case *c, void *arg)
{
    size_t *n = arg;
    struct planned p;
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    plan(&p, c->input);
    if (p.r < 0)
        cb_strbuf_addf(&got, "error %d at %u-%u: %s\n", p.r, p.failed.first, p.failed.last, cb_error_text(&p.err));
    else
        dump_plan(&got, &p.plan, p.show);
    planned_done(&p);
    if (strcmp(got.buf, c->expected) != 0)
        fail_msg("%s: %s\n--- expected\n%s--- got\n%s", c->file, c->title, c->expected, got.buf);
    ++*n;
}

static void test_cases(void **state)
{
    (void)state;
    size_t n = 0;
    each_case("build/plan", one_case, &n);
    assert_true(n >= 60);
}

/* Inputs have smaller numbers than what they are inputs of: the solver goes through them in order. */
static void test_topological(void **state)
{
    (void)state;
    struct planned p;
    plan(&p, "FROM busybox AS a\nRUN a\nFROM a AS b\nRUN b\nFROM rich AS c\nCOPY --from=b / /\nCOPY --from=a / /\n"
             "FROM scratch\nCOPY --from=c / /\nCOPY --from=busybox / /x\n");
    assert_int_equal(p.r, 0);
    for (size_t i = 0; i < p.plan.n; i++) {
        const struct cb_vertex *v = p.plan.vertices[i];
        assert_int_equal(v->id, i);
        if (v->base)
            assert_true(v->base->id < v->id);
        if (v->from)
            assert_true(v->from->id < v->id);
        assert_null(v->state);
    }
    planned_done(&p);
}

/* Each parent is asked for once, however often it is named; those of stages that are not needed never. */
static void test_resolves_once(void **state)
{
    (void)state;
    struct planned p;
    plan(&p, "FROM busybox AS a\nFROM docker.io/library/busybox:latest AS b\nCOPY --from=busybox / /\n"
             "FROM missing AS unused\nFROM b\nCOPY --from=a / /\n");
    assert_int_equal(p.r, 0);
    assert_int_equal(p.resolver.calls, 1);
    assert_int_equal(p.plan.n_sources, 1);
    planned_done(&p);
}

static void test_many_parents(void **state)
{
    (void)state;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct planned p;
    for (int i = 0; i < 100; i++)
        cb_strbuf_addf(&text, "FROM busybox:%d AS s%d\n", i, i);
    cb_strbuf_adds(&text, "FROM scratch\n");
    for (int i = 0; i < 100; i++)
        cb_strbuf_addf(&text, "COPY --from=s%d / /%d/\n", i, i);
    plan(&p, text.buf);
    assert_int_equal(p.r, 0);
    assert_int_equal(p.resolver.calls, 100);
    assert_int_equal(p.plan.n, 200);
    planned_done(&p);
}

/* A range is neither quadratic nor kept twice. */
static void test_expose_all(void **state)
{
    (void)state;
    struct planned p;
    plan(&p, "FROM busybox\nEXPOSE 1-65535 80 80/udp 1-65535/udp\n");
    assert_int_equal(p.r, 0);
    assert_int_equal(p.plan.images[0].config.exposed_ports.n, 2 * 65535);
    const struct cb_strvec *ports = &p.plan.images[0].config.exposed_ports;
    for (size_t i = 1; i < ports->n; i++)
        assert_true(strcmp(ports->v[i - 1], ports->v[i]) < 0);
    planned_done(&p);
}

/* A long chain of stages: what each inherits is not copied for each. */
static void test_long_chain(void **state)
{
    (void)state;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct planned p;
    cb_strbuf_adds(&text, "FROM busybox AS s0\n");
    for (int i = 1; i < 3000; i++)
        cb_strbuf_addf(&text, "FROM s%d AS s%d\nRUN %d\n", i - 1, i, i);
    plan(&p, text.buf);
    assert_int_equal(p.r, 0);
    assert_int_equal(p.plan.n, 3000);
    assert_int_equal(p.plan.images[0].n_history, 2999);
    assert_string_equal(p.plan.images[0].history[2998].created_by, "RUN /bin/sh -c 2999");
    assert_ptr_equal(p.plan.images[0].history[2998].vertex, p.plan.images[0].goal);
    planned_done(&p);
}

static void test_platform_args(void **state)
{
    (void)state;
    struct planned p;
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_platform_host(&host);
    cb_strbuf_add_platform(&text, &host);
    plan(&p, "#> platform=linux/arm/v7 target=x\nFROM --platform=$BUILDPLATFORM busybox AS x\n"
             "ARG BUILDPLATFORM\nARG BUILDARCH\nARG TARGETVARIANT\nARG TARGETSTAGE\nRUN x\n");
    assert_int_equal(p.r, 0);
    const struct cb_strvec *env = &p.plan.images[0].goal->run.env;
    assert_string_equal(cb_env_get(env, "BUILDPLATFORM"), text.buf);
    assert_string_equal(cb_env_get(env, "BUILDARCH"), host.arch);
    assert_string_equal(cb_env_get(env, "TARGETVARIANT"), "v7");
    assert_string_equal(cb_env_get(env, "TARGETSTAGE"), "x");
    assert_true(cb_platform_eq(&p.plan.sources[0]->platform, &host));
    planned_done(&p);
}

static void test_parent_is_kept(void **state)
{
    (void)state;
    struct planned p;
    plan(&p, "FROM rich AS a\nFROM a\nRUN x\n");
    assert_int_equal(p.r, 0);
    assert_non_null(p.plan.images[0].base);
    assert_string_equal(p.plan.images[0].base->repo, "library/rich");
    assert_int_equal(p.plan.images[0].base->image.config.n_diff_ids, 2);
    /* What the solver and the commit fill in. */
    assert_int_equal(p.plan.images[0].config.n_diff_ids, 0);
    assert_int_equal(p.plan.images[0].config.n_history, 0);
    assert_string_equal(p.plan.images[0].config.created, "2020-01-01T00:00:00Z");
    planned_done(&p);
    plan(&p, "FROM scratch\nLABEL a=b\n");
    assert_int_equal(p.r, 0);
    assert_null(p.plan.images[0].goal);
    assert_null(p.plan.images[0].base);
    planned_done(&p);
}

static void test_null_error(void **state)
{
    (void)state;
    static const char *const texts[] = { "FROM missing\n", "FROM busybox\nRUN --mount=type=cache,target=.. x\n",
                                         "FROM busybox AS a\nCOPY --from=missing / /\n", "FROM ${x:?no}\n" };
    struct cb_platform platform cb_cleanup_platform = { 0 };
    assert_int_equal(cb_platform_parse(&platform, "linux/amd64", NULL), 0);
    struct cb_build_options o = { .platforms = &platform, .n_platforms = 1 };
    for (size_t i = 0; i < CB_COUNTOF(texts); i++) {
        struct fake_resolver resolver = { 0 };
        struct cb_plan out = { 0 };
        CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *df =
            cb_dockerfile_parse("Dockerfile", texts[i], strlen(texts[i]), NULL);
        assert_non_null(df);
        struct cb_plan_options po = { .build = &o, .dockerfile = df, .resolve = fake_resolve,
                                      .resolve_arg = &resolver };
        assert_true(cb_plan_make(&po, &out, NULL, NULL) < 0);
        cb_plan_done(&out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),          cmocka_unit_test(test_topological),
        cmocka_unit_test(test_resolves_once),  cmocka_unit_test(test_many_parents),
        cmocka_unit_test(test_expose_all),     cmocka_unit_test(test_long_chain),
        cmocka_unit_test(test_platform_args),  cmocka_unit_test(test_parent_is_kept),
        cmocka_unit_test(test_null_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
