/* SPDX-License-Identifier: Apache-2.0 */
/* Specifications, what their filters choose, and plans as files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "mirror/private.h"
#include "util/alloc.h"

static struct cb_mirror_spec *parse(const char *text)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_mirror_spec *s = NULL;
    if (cb_mirror_spec_parse("spec", text, strlen(text), &s, &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    return s;
}

static void every_key_is_read_and_defaults_fill_the_rest(void **state)
{
    (void)state;
    CB_AUTO(cb_mirror_spec_free) struct cb_mirror_spec *s = parse(
        "defaults: {platforms: [linux/amd64, linux/arm64], referrers: false}\n"
        "mirrors:\n"
        "- source: h.example/a\n"
        "  targets: [t.example/a, 'u.example:5000/b/a']\n"
        "- source: h.example/c\n"
        "  target: t.example/c\n"
        "  referrers: top\n"
        "- source: h.example/b\n"
        "  target: docker://t.example/b\n"
        "  platforms: linux/s390x\n"
        "  referrers: true\n"
        "  delete: true\n"
        "  tags:\n"
        "    exact: latest\n"
        "    glob: ['1.*', '2.*']\n"
        "    regex: v[0-9]+\n"
        "    semver: '>=1'\n"
        "    prerelease: true\n"
        "    newest: 3\n"
        "    by: created\n"
        "    exclude: {exact: '1.1', glob: '*-debug', regex: '.*rc.*'}\n");
    assert_int_equal(s->n, 3);
    assert_true(s->v[1].referrers && s->v[1].top_only);
    assert_int_equal(s->v[0].n_targets, 2);
    assert_string_equal(s->v[0].targets[1].ref.host, "u.example:5000");
    assert_int_equal(s->v[0].n_platforms, 2);
    assert_false(s->v[0].referrers);
    assert_false(s->v[0].deletes);
    assert_int_equal(s->v[2].n_platforms, 1);
    assert_true(s->v[2].referrers && !s->v[2].top_only);
    assert_true(s->v[2].deletes);
    const struct mirror_filter *f = &s->v[2].filter;
    assert_int_equal(f->in.globs.n, 2);
    assert_int_equal(f->in.n_regex, 1);
    assert_non_null(f->semver);
    assert_true(f->prerelease);
    assert_int_equal(f->newest, 3);
    assert_int_equal(f->by, MIRROR_BY_CREATED);
    assert_true(cb_strvec_has(&f->out.exact, "1.1"));
}

static void mistakes_are_told_with_their_line(void **state)
{
    (void)state;
#define M "mirrors:\n- source: h.example/a\n  target: t.example/a\n"
    static const struct { const char *text, *says; } t[] = {
        { "", "empty" },
        { "mirrors: []\n", "spec:1: no mirrors" },
        { "mirror: []\n", "spec:1: \"mirror\" is not known here; known are defaults, mirrors" },
        { "- a\n", "spec:1: keys and values" },
        { M "  tag: x\n", "spec:4: \"tag\" is not known" },
        { M "  source: h.example/b\n", "spec:4: \"source\" stands twice" },
        { M "  tags: {newest: 0}\n", "spec:4: write a number" },
        { M "  tags: {newest: many}\n", "spec:4: write a number" },
        { M "  tags: {by: name}\n", "spec:4: write semver or created" },
        { M "  tags: ['1.*']\n", "spec:4: \"1.*\" is no tag" },
        { M "  tags:\n    regex: ['a', '(']\n", "spec:5: \"(\"" },
        { M "  tags: {semver: latest}\n", "spec:4: \"latest\" is no range" },
        { M "  delete: yes\n", "spec:4: write true or false" },
        { M "  referrers: [top]\n", "spec:4: write true, false or top" },
        { M "  platforms: [a/b/c/d]\n", "spec:4:" },
        { M "  target: {a: b}\n", "spec:4: \"target\" stands twice" },
        { "mirrors:\n- source: oci:dir\n  target: t.example/a\n", "spec:2: oci:dir: mirrors are between registries" },
        { "mirrors:\n- source: h.example/a\n  target: h.example/a\n", "spec:2: source and target are one" },
        { "mirrors:\n- target: h.example/a\n", "spec:2: the mirror has no source" },
        { M "defaults: {delete: true}\n", "spec:4: defaults come before mirrors" },
        { M "---\n" M, "more than one document" },
        { "mirrors: [\n", "spec:2:" },
        { "a: \"\\0\"\n", "spec:1:" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct cb_mirror_spec *s = NULL;
        if (cb_mirror_spec_parse("spec", t[i].text, strlen(t[i].text), &s, &e) == 0)
            fail_msg("%s is taken", t[i].text);
        assert_int_equal(e.code, CB_ECONF);
        if (!strstr(cb_error_text(&e), t[i].says))
            fail_msg("%s: %s", t[i].text, cb_error_text(&e));
    }
}

/* ---- filters ---- */

static int created_of(void *arg, const char *tag, int64_t *when, struct cb_error *err)
{
    (void)arg;
    (void)err;
    *when = (int64_t)(unsigned char)tag[strlen(tag) - 1]; /* the last letter is the time */
    return 0;
}

static char *choose(const char *tags, const char *all)
{
    struct mirror_chooser c = { created_of, NULL };
    struct cb_strvec list cb_cleanup_strvec = CB_STRVEC_INIT, out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_strbuf text = CB_STRBUF_INIT;
    cb_autofree char *spec = cb_asprintf(M "  tags: %s\n", tags), *copy = cb_strdup(all);
    CB_AUTO(cb_mirror_spec_free) struct cb_mirror_spec *s = parse(spec);
    for (char *p = copy, *next; p && *p; p = next) {
        next = strchr(p, ' ');
        if (next)
            *next++ = '\0';
        cb_strvec_push(&list, p);
    }
    assert_int_equal(mirror_filter_choose(&s->v[0].filter, &list, &c, &out, NULL), 0);
    for (size_t i = 0; i < out.n; i++)
        cb_strbuf_addf(&text, "%s%s", i ? " " : "", out.v[i]);
    return cb_strbuf_detach(&text, NULL);
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void filters_choose_by_any_of_their_rules(void **state)
{
    (void)state;
    static const char all[] = "latest 1.0.0 1.1.0 1.1.0-debug 2.0.0 2.1.0-rc.1 v3 nightly sha256-" HEX " sha256-" HEX
                              ".sig";
    static const struct { const char *tags, *want; } t[] = {
        { "{}", "1.0.0 1.1.0 1.1.0-debug 2.0.0 2.1.0-rc.1 latest nightly v3" },
        { "[latest, gone]", "gone latest" },
        { "{glob: '1.*'}", "1.0.0 1.1.0 1.1.0-debug" },
        { "{regex: 'v[0-9]'}", "v3" },
        { "{regex: '.'}", "" }, /* of the whole tag */
        { "{regex: 'v3|latest'}", "latest v3" },
        { "{semver: '>=1.1'}", "1.1.0 2.0.0 v3" },
        { "{semver: '>=1.1', prerelease: true}", "1.1.0 2.0.0 2.1.0-rc.1 v3" },
        { "{semver: '>=1.1', exact: nightly, exclude: {glob: '2.*'}}", "1.1.0 nightly v3" },
        { "{newest: 2}", "2.1.0-rc.1 v3" },
        { "{newest: 2, glob: '1.*', exact: latest}", "1.1.0 1.1.0-debug latest" },
        { "{newest: 1, by: created, glob: ['1.*', 'l*']}", "latest" },
        { "{glob: 'sha256-*'}", "" }, /* they come with what they belong to */
        { "[sha256-" HEX "]", "sha256-" HEX },
        { "{exclude: {regex: '.*[0-9].*'}}", "latest nightly" },
    };
    for (size_t i = 0; i < CB_COUNTOF(t); i++) {
        cb_autofree char *have = choose(t[i].tags, all);
        if (strcmp(have, t[i].want) != 0)
            fail_msg("%s: %s", t[i].tags, have);
    }
}

static void tags_that_stand_for_digests_are_known(void **state)
{
    (void)state;
    assert_true(mirror_is_digest_tag("sha256-" HEX));
    assert_true(mirror_is_digest_tag("sha256-" HEX ".sig"));
    assert_true(mirror_is_digest_tag("sha256-" HEX ".sbom"));
    assert_false(mirror_is_digest_tag("sha256-12.sig"));
    assert_false(mirror_is_digest_tag("1.0"));
}

/* ---- plans ---- */

#define D "sha256:" HEX

static void a_plan_reads_back_as_it_was_written(void **state)
{
    (void)state;
    static const char text[] =
        "{\"version\":1,\"mirrors\":[{\"source\":\"h.example/a\",\"target\":\"t.example/a\","
        "\"platforms\":[\"linux/amd64\"],\"referrers\":true,\"tags\":["
        "{\"tag\":\"1\",\"action\":\"copy\",\"reason\":\"new\",\"source\":\"" D "\",\"target\":null,"
        "\"result\":\"" D "\",\"referrers\":\"" D "\"},"
        "{\"tag\":\"2\",\"action\":\"delete\",\"reason\":\"gone from the source\","
        "\"source\":null,\"target\":\"" D "\"},"
        "{\"tag\":\"3\",\"action\":\"skip\",\"reason\":\"same\","
        "\"source\":\"" D "\",\"target\":\"" D "\",\"result\":\"" D "\"},"
        "{\"tag\":\"4\",\"action\":\"skip\",\"error\":\"the line broke\"}]}]}";
    struct cb_mirror_plan p cb_cleanup_mirror_plan = { 0 }, again cb_cleanup_mirror_plan = { 0 };
    struct cb_strbuf one cb_cleanup_strbuf = CB_STRBUF_INIT, two cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (cb_mirror_plan_read(&p, text, strlen(text), &e) < 0)
        fail_msg("%s", cb_error_text(&e));
    assert_int_equal(p.v[0].n, 4);
    assert_int_equal(p.v[0].n_platforms, 1);
    assert_true(p.v[0].referrers);
    assert_int_equal(p.v[0].v[0].action, CB_MIRROR_COPY);
    assert_true(cb_digest_is_set(&p.v[0].v[0].referrers));
    assert_int_equal(cb_mirror_plan_count(&p, CB_MIRROR_DELETE), 1);
    assert_int_equal(cb_mirror_plan_count(&p, CB_MIRROR_SKIP), 1); /* what failed does not count */
    assert_int_equal(cb_mirror_worst(&p, &e), -CB_ECONF);
    assert_non_null(strstr(cb_error_text(&e), "1 of 4 failed"));
    p.v[0].n = 3; /* the failed one says so in other words the second time */
    cb_error_done(&p.v[0].v[3].error);
    free(p.v[0].v[3].tag);
    cb_mirror_plan_print(&p, &one);
    assert_int_equal(cb_mirror_plan_read(&again, one.buf, one.len, &e), 0);
    cb_mirror_plan_print(&again, &two);
    assert_string_equal(one.buf, two.buf);
}

static void a_plan_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
#define P(tag)                                                                                                       \
    "{\"version\":1,\"mirrors\":[{\"source\":\"h.example/a\",\"target\":\"t.example/a\",\"tags\":[" tag "]}]}"
    static const char *const bad[] = {
        "", "[]", "{}", "{\"version\":2,\"mirrors\":[]}", "{\"version\":1}",
        "{\"version\":1,\"mirrors\":[{\"source\":\"h.example/a\"}]}",
        "{\"version\":1,\"mirrors\":[{\"source\":\"oci:x\",\"target\":\"t.example/a\"}]}",
        "{\"version\":1,\"mirrors\":[{\"source\":\"h.example/a:1\",\"target\":\"t.example/a\"}]}",
        P("{\"action\":\"skip\"}"), P("{\"tag\":\"a b\",\"action\":\"skip\"}"), P("{\"tag\":\"a\"}"),
        P("{\"tag\":\"a\",\"action\":\"move\"}"), P("{\"tag\":\"a\",\"action\":\"copy\"}"),
        P("{\"tag\":\"a\",\"action\":\"copy\",\"source\":\"" D "\"}"), P("{\"tag\":\"a\",\"action\":\"delete\"}"),
        P("{\"tag\":\"a\",\"action\":\"skip\",\"source\":\"sha256:12\"}"),
    };
    for (size_t i = 0; i < CB_COUNTOF(bad); i++) {
        struct cb_mirror_plan p cb_cleanup_mirror_plan = { 0 };
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (cb_mirror_plan_read(&p, bad[i], strlen(bad[i]), &e) == 0)
            fail_msg("%s is taken", bad[i]);
        assert_true(e.code != 0);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_is_read_and_defaults_fill_the_rest),
        cmocka_unit_test(mistakes_are_told_with_their_line),
        cmocka_unit_test(filters_choose_by_any_of_their_rules),
        cmocka_unit_test(tags_that_stand_for_digests_are_known),
        cmocka_unit_test(a_plan_reads_back_as_it_was_written),
        cmocka_unit_test(a_plan_that_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
