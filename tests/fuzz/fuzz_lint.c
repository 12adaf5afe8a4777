/* SPDX-License-Identifier: Apache-2.0 */
/* A Dockerfile is checked, for all stages and for the last one, with a parent that is known and one that is not. */
#include "dockerfile/dockerfile.h"
#include "oci/platform.h"
#include "oci/reference.h"
#include "tests/fuzz/fuzz.h"

static bool lint_reference_ok(const char *name)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    return cb_reference_parse(&ref, name, NULL) == 0;
}

static bool lint_platform(const char *text, char **os, char **arch)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    if (cb_platform_parse(&p, text, NULL) < 0)
        return false;
    *os = CB_TAKE(p.os);
    *arch = CB_TAKE(p.arch);
    return true;
}

static const struct cb_df_parent *lint_parent(void *arg, size_t stage)
{
    return stage % 2 ? arg : NULL;
}

static void check_warnings(const struct cb_dockerfile *d)
{
    unsigned lines = 1, last = 0;
    for (size_t i = 0; i < d->text_len; i++)
        lines += d->text[i] == '\n';
    for (size_t i = 0; i < d->n_warnings; i++) {
        const struct cb_df_warning *w = &d->warnings[i];
        if (w->span.first < last || w->span.first == 0 || w->span.last < w->span.first || w->span.last > lines)
            abort();
        if (*w->rule && !cb_df_rule_find(w->rule))
            abort();
        last = w->span.first;
    }
}

FUZZ_TARGET(lint)
{
    cb_cleanup_strvec struct cb_strvec env = CB_STRVEC_INIT, triggers = CB_STRVEC_INIT;
    struct cb_df_parent parent = { .env = &env, .on_build = &triggers };
    struct cb_df_lint_options o = { .all_stages = true, .reference_ok = lint_reference_ok, .platform = lint_platform,
                                    .parent = lint_parent, .arg = &parent, .build_platform = "linux/amd64",
                                    .target_platform = "linux/arm/v7" };
    struct cb_df_outline outline;
    cb_strvec_push(&env, "PATH=/bin");
    cb_strvec_push(&triggers, "COPY $a /");
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("Dockerfile", text, len, NULL);
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *ignore = cb_df_ignore_parse("i", "a\n", 2, NULL);
    if (!d)
        return;
    o.ignore = ignore;
    (void)!cb_df_lint(d, &o, NULL);
    check_warnings(d);
    o.all_stages = false;
    o.check = "experimental=all";
    if (cb_df_lint(d, &o, NULL) < 0)
        abort(); /* nothing is an error here */
    check_warnings(d);
    if (cb_df_outline(&outline, d, &o, NULL) < 0)
        abort(); /* there is a last stage */
    cb_df_outline_done(&outline);
}
