/* SPDX-License-Identifier: Apache-2.0 */
/* Cases in tests/data/dockerfile/lint: a Dockerfile, and "LINES Rule: message" as BuildKit gives them. In front of the
 * file: `@arg K=V` (--build-arg), `@target STAGE` (no other is looked at), `@ignore PATTERN`, `@check TEXT`
 * (BUILDKIT_DOCKERFILE_CHECK), `@trigger TEXT` (of every base image), `@unknown` (nothing is known of base images; else
 * they set PATH and FROMBASE, and `arm…` is for linux/arm64). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "dockerfile/dockerfile.h"
#include "dockerfile_cases.h"
#include "oci/platform.h"
#include "oci/reference.h"

static bool reference_ok(const char *name)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    return cb_reference_parse(&ref, name, NULL) == 0;
}

static bool platform(const char *text, char **os, char **arch)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    if (cb_platform_parse(&p, text, NULL) < 0)
        return false;
    *os = CB_TAKE(p.os);
    *arch = CB_TAKE(p.arch);
    return true;
}

struct given {
    struct cb_strvec args, patterns, env, triggers;
    char *target, *check;
    bool unknown;
    struct cb_df_parent parent;
    const struct cb_dockerfile *d;
};

static const struct cb_df_parent *parent(void *arg, size_t stage)
{
    struct given *g = arg;
    const struct cb_df_instruction *from = &g->d->stages[stage].from;
    bool foreign = cb_starts_with(from->base, "arm") && !from->platform;
    g->parent = (struct cb_df_parent){ .env = &g->env, .on_build = &g->triggers, .foreign = foreign,
                                       .wanted = (char *)"linux/amd64", .is = (char *)"linux/arm64" };
    return g->unknown ? NULL : &g->parent;
}

/* Takes the lines with '@'; returns what is behind them. */
static const char *read_options(struct given *g, const char *text)
{
    while (*text == '@') {
        size_t n = strcspn(text, "\n"), key = strcspn(text, " \n");
        cb_autofree char *value = key < n ? cb_strndup(text + key + 1, n - key - 1) : cb_strdup("");
        if (cb_starts_with(text, "@arg "))
            cb_strvec_push(&g->args, value);
        else if (cb_starts_with(text, "@ignore "))
            cb_strvec_push(&g->patterns, value);
        else if (cb_starts_with(text, "@target "))
            g->target = CB_TAKE(value);
        else if (cb_starts_with(text, "@check "))
            g->check = CB_TAKE(value);
        else if (cb_starts_with(text, "@unknown"))
            g->unknown = true;
        else if (cb_starts_with(text, "@trigger "))
            cb_strvec_push(&g->triggers, value);
        else
            fail_msg("unknown option in a case: %.*s", (int)n, text);
        text += n + (text[n] == '\n');
    }
    return text;
}

static void done(struct given *g)
{
    cb_strvec_done(&g->args);
    cb_strvec_done(&g->patterns);
    cb_strvec_done(&g->env);
    cb_strvec_done(&g->triggers);
    free(g->target);
    free(g->check);
}

static void dump(struct cb_strbuf *o, const struct cb_dockerfile *d)
{
    for (size_t i = 0; i < d->n_warnings; i++) {
        const struct cb_df_warning *w = &d->warnings[i];
        cb_strbuf_addf(o, w->span.first == w->span.last ? "%u" : "%u-%u", w->span.first, w->span.last);
        cb_strbuf_addf(o, " %s: %s\n", w->rule, w->text);
    }
}

static void run_lint(struct given *g, const char *text, struct cb_strbuf *out)
{
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("Dockerfile", text, strlen(text), &err);
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ignore = NULL;
    struct cb_df_lint_options o = { .check = g->check, .build_args = &g->args, .target = g->target,
                                    .all_stages = !g->target, .build_platform = "linux/amd64",
                                    .target_platform = "linux/amd64", .reference_ok = reference_ok,
                                    .platform = platform, .parent = parent, .arg = g };
    int r = -CB_ECONF;
    if (g->patterns.n)
        o.ignore = ignore = cb_df_ignore_from_patterns(&g->patterns, NULL);
    g->d = d;
    if (d) {
        r = cb_df_lint(d, &o, &err);
        dump(out, d);
    }
    if (r < 0)
        cb_strbuf_addf(out, "error: %s\n", cb_error_text(&err));
}

static void check_case(const struct test_case *c, void *arg)
{
    struct given g = { 0 };
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strvec_push(&g.env, "PATH=/bin");
    cb_strvec_push(&g.env, "FROMBASE=x");
    run_lint(&g, read_options(&g, c->input), &out);
    if (strcmp(out.buf ? out.buf : "", c->expected) != 0) {
        fprintf(stderr, "%s: %s\n--- expected\n%s--- got\n%s\n", c->file, c->title, c->expected, out.buf);
        ++*(size_t *)arg;
    }
    done(&g);
}

static void test_cases(void **state)
{
    size_t wrong = 0;
    (void)state;
    each_case("dockerfile/lint", check_case, &wrong);
    assert_int_equal(wrong, 0);
}

/* Each rule has a name of its own, and a page that is named after it. */
static void test_rules(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_DF_N_RULES; i++) {
        const struct cb_df_rule *r = &cb_df_rules[i];
        assert_non_null(r->name);
        assert_non_null(r->description);
        assert_ptr_equal(cb_df_rule_find(r->name), r);
        for (const char *p = r->page, *n = r->name; p && *p; p++) {
            if (*p == '-')
                continue;
            assert_int_equal(*p | 32, *n | 32);
            n++;
        }
    }
    assert_null(cb_df_rule_find("NoSuchRule"));
}

/* ---- the outline ---- */

static void dump_params(struct cb_strbuf *o, const char *what, const struct cb_df_params *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct cb_df_param *x = &p->v[i];
        cb_strbuf_addf(o, "%s %u %s%s%s%s%s%s\n", what, x->span.first, x->name, x->required ? " required" : "",
                       x->value ? " = " : "", x->value ? x->value : "", x->description ? " # " : "",
                       x->description ? x->description : "");
    }
}

static void outline_is(const char *text, const char *target, const char *expected)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_df_outline o;
    struct given g = { 0 };
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", text, strlen(text), NULL);
    struct cb_df_lint_options lo = { .build_args = &g.args, .target = target, .reference_ok = reference_ok,
                                     .platform = platform, .build_platform = "linux/amd64",
                                     .target_platform = "linux/amd64" };
    assert_non_null(d);
    cb_strvec_push(&g.args, "GIVEN=7");
    assert_int_equal(cb_df_outline(&o, d, &lo, NULL), 0);
    cb_strbuf_addf(&out, "%s # %s\n", o.name ? o.name : "-", o.description ? o.description : "-");
    dump_params(&out, "arg", &o.args);
    dump_params(&out, "secret", &o.secrets);
    dump_params(&out, "ssh", &o.ssh);
    dump_params(&out, "cache", &o.caches);
    cb_df_outline_done(&o);
    done(&g);
    assert_string_equal(out.buf, expected);
    assert_int_equal(d->n_warnings, 0);
}

static const char outline_file[] =
    "# syntax=docker/dockerfile:1\n"
    "# GV the go version\n"
    "ARG GV=1.2\n"
    "ARG IMG=golang:$GV GIVEN\n"
    "# src the source stage\n"
    "FROM $IMG AS src\n"
    "# FOO is foo\n"
    "ARG FOO=a BAR TARGETARCH\n"
    "ARG GV GIVEN\n"
    "RUN --mount=type=secret,id=tok,required=true --mount=type=ssh --mount=type=cache,target=/root/.cache x\n"
    "RUN --mount=type=secret,target=/a/npmrc --mount=type=cache,id=zz,target=/c y\n"
    "FROM alpine\n"
    "ARG UNUSED\n"
    "FROM scratch AS out\n"
    "ARG OUTARG\n"
    "COPY --from=src / /\n"
    "RUN --mount=type=secret,id=last z\n";

static void test_outline(void **state)
{
    (void)state;
    outline_is(outline_file, NULL, "out # -\n"
                                   "arg 3 GV = 1.2 # the go version\narg 4 IMG = golang:1.2\n"
                                   "arg 8 BAR\narg 8 FOO = a # is foo\narg 9 GIVEN = 7\narg 15 OUTARG\n"
                                   "secret 10 tok required\nsecret 11 npmrc\nsecret 17 last\nssh 10 default\n"
                                   "cache 10 /root/.cache\ncache 11 zz\n");
    outline_is(outline_file, "src", "src # the source stage\n"
                                    "arg 3 GV = 1.2 # the go version\narg 4 IMG = golang:1.2\n"
                                    "arg 8 BAR\narg 8 FOO = a # is foo\narg 9 GIVEN = 7\n"
                                    "secret 10 tok required\nsecret 11 npmrc\nssh 10 default\n"
                                    "cache 10 /root/.cache\ncache 11 zz\n");
    outline_is(outline_file, "1", "- # -\narg 13 UNUSED\n");
}

static void test_no_target(void **state)
{
    struct cb_df_outline o;
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", "FROM scratch\n", 13, NULL);
    struct cb_df_lint_options lo = { .target = "nothing", .reference_ok = reference_ok, .platform = platform };
    (void)state;
    assert_int_equal(cb_df_outline(&o, d, &lo, &err), -CB_EUSAGE);
    assert_string_equal(cb_error_text(&err), "--target nothing: D has no such stage");
}

/* A file of nothing but faults is not answered with a book. */
static void test_many(void **state)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    (void)state;
    cb_strbuf_adds(&text, "FROM x\n");
    for (int i = 1; i < 10000; i++)
        cb_strbuf_adds(&text, "ENV a b\n");
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", text.buf, text.len, NULL);
    struct cb_df_lint_options lo = { .all_stages = true, .reference_ok = reference_ok, .platform = platform };
    assert_non_null(d);
    assert_int_equal(cb_df_lint(d, &lo, NULL), 0);
    assert_int_equal(d->n_warnings, 501);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_outline),
        cmocka_unit_test(test_no_target),
        cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
