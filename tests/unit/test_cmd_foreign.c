/* SPDX-License-Identifier: Apache-2.0 */
/* Words of other programs: what is said of each, and that none is one of ours. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "cmd/cmd.h"
#include "cmd/opt_foreign.h"
#include "util/macros.h"

static void test_options_are_not_ours(void **state CB_UNUSED)
{
    const char *verb, *name;
    char letter;
    size_t n = 0;
    for (; (verb = cb_foreign_option_at(n, &name, &letter)) != NULL; n++) {
        const struct cb_verb *v = *verb ? cb_verb_find(verb) : NULL;
        if (*verb && !v)
            fail_msg("there is no verb %s", verb);
        if (v && cb_opt_find(v->options, v->groups, name, strlen(name)))
            fail_msg("%s has --%s", verb, name);
        if (v && letter && cb_opt_find_letter(v->options, v->groups, letter))
            fail_msg("%s has -%c", verb, letter);
        assert_non_null(cb_foreign_option(verb, name, strlen(name), 0));
    }
    assert_true(n > 50);
    assert_null(cb_foreign_option("build", "volum", 5, 0));
    assert_null(cb_foreign_option("tag", "volume", 6, 0));
    assert_null(cb_foreign_option("tag", NULL, 0, 'v'));
    assert_non_null(cb_foreign_option("build", NULL, 0, 'v'));
    assert_non_null(cb_foreign_option("tag", "insecure", 8, 0));
}

/* Whoever puts cbpush in the place of Kaniko, skopeo or Buildah and keeps the flags is told of each what to write. */
static void test_flags_of_others(void **state CB_UNUSED)
{
    static const struct { const char *verb, *name, *want; } rows[] = {
        { "build", "context", "cbpush build DIR" }, { "build", "destination", "-t NAME" },
        { "build", "dockerfile", "-f FILE" }, { "build", "tarPath", "type=docker" },
        { "build", "cache-repo", "--cache-to" }, { "build", "single-snapshot", "--squash" },
        { "build", "skip-tls-verify", "--tls-verify=false" }, { "build", "snapshot-mode", "leave it out" },
        { "build", "signature-policy", "leave it out" }, { "build", "source-policy-file", "--build-context" },
        { "copy", "src-no-creds", "--src-authfile" }, { "copy", "dest-username", "--dest-creds" },
        { "copy", "dest-decompress", "stay as they are" }, { "tags", "username", "--creds" },
        { "pull", "arch", "--platform" }, { "inspect", "type", "leave it out" }, { "push", "all", "whole" },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        const char *hint = cb_foreign_option(rows[i].verb, rows[i].name, strlen(rows[i].name), 0);
        assert_non_null(hint);
        assert_non_null(strstr(hint, rows[i].want));
    }
}

static void test_verbs(void **state CB_UNUSED)
{
#define AS(word, rest) "there is no verb \"" word "\": " rest
    static const struct { const char *argv[3], *want; } rows[] = {
        { { NULL }, "name a verb: `cbpush help` lists them" },
        { { "buidl", "." }, "there is no verb \"buidl\" (did you mean build?): `cbpush help` lists them" },
        { { "nosuchverb" }, AS("nosuchverb", "`cbpush help` lists them") },
        { { "--insecure", "digest" }, "--insecure: options stand behind the verb: cbpush VERB --insecure … "
                                      "(`cbpush help` lists the verbs)" },
        { { "docker", "build", "." }, "leave out \"docker\": cbpush build …" },
        { { "docker", "nosuch" }, "leave out \"docker\": cbpush VERB …" },
        { { "kaniko", "--context", "." }, AS("kaniko", "under the name executor (ln -s cbpush executor) it takes "
                                                       "Kaniko's command line; cbpush build has its own") },
        { { "create", "x" }, AS("create", "for the files of an image: cbpush export IMAGE | tar -xC DIR PATH; no "
                                          "container outlives its `cbpush run`") },
        { { "skopeo" }, "leave out \"skopeo\": cbpush VERB …" },
        { { "buildx", "create", "--use" }, AS("buildx create", "there are no builders to choose from: cbpush builds by "
                                                               "itself, so leave this out") },
        { { "buildx", "nosuch" }, "buildx: \"nosuch\" is none of b, build, imagetools" },
        { { "buildx" }, "buildx: what shall be done? b, build, imagetools" },
        { { "system", "df" }, AS("system df", "cbpush prune --all --dry-run says what could be freed") },
        { { "ps", "-a" }, AS("ps", "no container outlives its `cbpush run`, and there is nothing to ask for later") },
        { { "index", "add", "x" }, AS("index add", "write cbpush index append REF IMAGE…") },
        { { "registry", "serve" }, AS("registry serve", "cbpush is no registry: docker-registry is one") },
        { { "repo", "rm" }, "repo: \"rm\" is none of ls" },
        { { "image", "exists", "x" }, AS("image exists", "cbpush inspect NAME >/dev/null ends with 0 where "
                                                                   "it is there") },
    };
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        char *argv[4] = { 0 };
        int argc = 0;
        for (; argc < 3 && rows[i].argv[argc]; argc++)
            argv[argc] = (char *)(uintptr_t)rows[i].argv[argc];
        assert_int_equal(cb_foreign_verb(argc, argv, &err), -CB_EUSAGE);
        assert_string_equal(cb_error_text(&err), rows[i].want);
    }
}

static void test_words_of_ours_are_not_hidden(void **state CB_UNUSED)
{
    const char *noun, *word;
    for (size_t i = 0; cb_verbs[i]; i++)
        if (!cb_verbs[i]->subs)
            assert_null(cb_foreign_words(cb_verbs[i]->name, NULL));
    for (size_t i = 0; cb_verb_spelling(i, &noun, &word); i++)
        if (word && cb_foreign_words(noun, word) && strcmp(noun, "container"))
            fail_msg("%s %s is a spelling", noun, word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_are_not_ours),
        cmocka_unit_test(test_flags_of_others),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_words_of_ours_are_not_hidden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
