/* SPDX-License-Identifier: Apache-2.0 */
/* What may stand next on a command line, and whether what is told of values is what their parsers take. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "cache/cache.h"
#include "cmd/build_input.h"
#include "cmd/complete.h"
#include "exec/exec.h"
#include "util/alloc.h"
#include "util/strbuf.h"

#define WORDS_MAX 64
static char root[] = "/tmp/cbpush-complete-XXXXXX";

/* "words: one two", "files type=oci,dest=": kind and prefix, then the words without their help. '' in line is an
 * empty word. */
static char *answer(const char *line)
{
    static const char *const kinds[] = { "words", "open", "files", "dirs" };
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *copy = cb_strdup(line);
    char *argv[WORDS_MAX];
    int argc = 0;
    for (char *w = copy, *space; w; w = space) {
        space = strchr(w, ' ');
        if (space)
            *space++ = '\0';
        assert_true(argc < WORDS_MAX);
        argv[argc++] = strcmp(w, "''") ? w : w + 2;
    }
    struct completion c;
    complete_line(&c, argc, argv);
    cb_strbuf_adds(&out, kinds[c.kind]);
    if (c.kind == COMPLETE_FILES || c.kind == COMPLETE_DIRS)
        cb_strbuf_addf(&out, " %s", c.prefix);
    for (size_t i = 0; i < c.answer.n; i++) {
        assert_true(cb_starts_with(c.answer.v[i], c.word));
        cb_strbuf_addf(&out, "%s%.*s", i ? " " : ": ", (int)strcspn(c.answer.v[i], "\t"), c.answer.v[i]);
    }
    completion_done(&c);
    return cb_strbuf_detach(&out, NULL);
}

struct row {
    const char *line, *want;
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cb_autofree char *got = answer(rows[i].line);
        if (strcmp(got, rows[i].want))
            fail_msg("%s: \"%s\", not \"%s\"", rows[i].line, got, rows[i].want);
    }
}
#define CHECK(rows) check_rows(rows, CB_COUNTOF(rows))

static void test_verbs(void **state)
{
    static const struct row rows[] = {
        { "bui", "words: build build-using-dockerfile builder buildx" },
        { "-", "words: --help --version" },
        { "cp", "words: cp" },
        { "nosuch", "words" },
        { "nosuch ''", "words" },
        { "buildx ''", "words: b build imagetools" },
        { "buildx imagetools ''", "words: inspect create" },
        { "image h", "words: history" },
        { "manifest ''", "words: get head put delete" },
        { "manifest d", "words: delete" },
        { "index ''", "words: create append remove inspect" },
        { "mirror p", "words: plan" },
        { "auth ''", "words: explain" },
        { "help mani", "words: manifest" },
        { "completion ''", "words: bash zsh fish" },
    };
    (void)state;
    CHECK(rows);
    cb_autofree char *all = answer("''");
    for (const struct cb_verb *const *v = cb_verbs; *v; v++)
        assert_non_null(strstr(all, (*v)->name));
    assert_null(strstr(all, "buildx"));
}

static void check_offered(const char *verb, const struct cb_opt *t)
{
    cb_autofree char *line = cb_asprintf("%s --", verb), *all = answer(line);
    for (; t->name; t++) {
        cb_autofree char *one = cb_asprintf("%s --%s", verb, t->name), *only = answer(one);
        cb_autofree char *word = cb_asprintf(" --%s", t->name);
        if (t->help && (!strstr(all, word) || !strstr(only, word)))
            fail_msg("%s does not offer --%s", verb, t->name);
    }
    assert_non_null(strstr(all, " --help"));
}

static void check_verb(const struct cb_verb *v)
{
    for (const struct cb_verb *const *s = v->subs; s && *s; s++)
        check_verb(*s);
    if (v->subs)
        return;
    check_offered(v->name, v->options);
    for (const struct cb_opt_group *g = v->groups; g && g->heading; g++)
        check_offered(v->name, g->table);
}

static void test_options(void **state)
{
    static const struct row rows[] = {
        { "build --met", "words: --metadata-file" },
        { "buildx build --met", "words: --metadata-file" },
        { "build -t", "words: -t" },
        { "build --net", "words: --network" },
        { "build -t x --ii", "words: --iidfile --iidfile-raw" },
        { "build -t --ii", "words" },            /* the value of -t */
        { "build -- --ii", "dirs " },
        { "build . --exp", "words: --explain --expect-old --expect" },
        { "run image --ne", "words" },           /* the command's */
        { "run --net", "words: --network" },
        { "manifest get --pl", "words: --platform" },
        { "manifest --pl", "words: --platform" }, /* of the first of them */
        { "manifest put --pl", "words" },
    };
    (void)state;
    CHECK(rows);
    for (const struct cb_verb *const *v = cb_verbs; *v; v++)
        check_verb(*v);
}

static void test_values(void **state)
{
    static const struct row rows[] = {
        { "build --progress ''", "words: auto tty plain quiet rawjson" },
        { "build --progress=p", "words: --progress=plain" },
        { "build --progress=x", "words" },
        { "build --no-cache=", "words: --no-cache=true --no-cache=false" },
        { "build --nosuch=", "words" },
        { "build --tag ''", "words" },
        { "build -qf ''", "files " },
        { "build -fq ''", "dirs " },
        { "build --file=D", "files --file=" },
        { "build --cdi-config-dir ''", "dirs " },
        { "build --platform linux/amd64,linux/arm6", "words: linux/amd64,linux/arm64" },
        { "build --pull=n", "words: --pull=newer --pull=never" },
        { "build --pull ''", "dirs " },
        { "build --push n ''", "dirs " },
        { "run --net n", "words: none" },
        { "save --format o", "words: oci-archive oci-dir" },
        { "build -o t", "open: type= tar=" },
        { "build -o x", "dirs " },
        { "build -o type=lo", "open: type=local" },
        { "build -o type=oci,t", "open: type=oci,tar=" },
        { "build --output=type=oci,dest=", "files --output=type=oci,dest=" },
        { "build -o type=oci,compression=zstd:", "open: type=oci,compression=zstd:chunked" },
        { "build -o type=oci,nosuch=", "words" },
        { "build --secret id=a,src=", "files id=a,src=" },
        { "build --build-context a=", "dirs a=" },
        { "build --cache-from type=local,src=", "dirs type=local,src=" },
        { "images -f dangling=t", "open: dangling=true" },
    };
    (void)state;
    CHECK(rows);
}

static void test_operands(void **state)
{
    static const struct row rows[] = {
        { "build ''", "dirs " },
        { "build x ''", "words" },
        { "lint ''", "files " },
        { "lint x ''", "files " },
        { "rollback ''", "files " },
        { "append ref ''", "files " },
        { "append ref a ''", "files " },
        { "mirror plan ''", "files " },
        { "export image ''", "files " },
        { "blob put repo ''", "files " },
        { "cache ls ''", "dirs " },
        { "version ''", "words" },
        { "run ''", "words: here:5000/app:1 one:2" },
        { "run here:5", "words: here:5000/app:1" },
        { "run one:2 ''", "words" },
        { "run docker.io/l", "words: docker.io/library/one:2" },
        { "image rm one:2 o", "words: one:2" },
        { "tag one:2 h", "words: here:5000/app:1" },
        { "push -D one:2 ''", "words: here:5000/app:1 one:2" },
        { "images on", "words: one:2" },
        { "run --root /nonexistent ''", "words" },
        { "run --root=/nonexistent o", "words" },
        { "ls ''", "open: store:" },
        { "ls store:", "words: store:here:5000/app:1 store:one:2" },
        { "diff store:one:2 store:o", "words: store:one:2" },
        { "copy oci", "open: oci: oci-archive:" },
        { "copy oci:x", "dirs oci:" },
        { "copy dir:x", "dirs dir:" },
        { "copy docker://x", "open" },
        { "copy x docker-archive:", "files docker-archive:" },
        { "copy store:o", "words: store:one:2" },
    };
    (void)state;
    assert_int_equal(setenv("CBPUSH_ROOT", root, 1), 0);
    CHECK(rows);
    /* Nothing was made of it. */
    assert_int_equal(setenv("CBPUSH_ROOT", "/tmp/cbpush-complete-none", 1), 0);
    cb_autofree char *none = answer("run ''");
    assert_string_equal(none, "words");
    assert_int_equal(access("/tmp/cbpush-complete-none", F_OK), -1);
}

/* ---- what parsers take ---- */

static const char *values_of(const struct cb_opt *t, const char *name)
{
    for (; t->name; t++)
        if (!strcmp(t->name, name) && t->values)
            return t->values;
    fail_msg("--%s has no list of values", name);
    return "";
}

typedef int (*take_fn)(const char *word, struct cb_error *err);

static void check_list(const char *values, take_fn take)
{
    cb_autofree char *copy = cb_strdup(values);
    for (char *w = copy, *next; w; w = next) {
        struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
        next = strchr(w, '|');
        if (next)
            *next++ = '\0';
        if (take(w, &err) < 0)
            fail_msg("%s: %s", w, cb_error_text(&err));
    }
}

static int take_progress(const char *word, struct cb_error *err)
{
    enum cb_progress_mode mode;
    return cb_progress_mode_parse(word, &mode, err);
}

static int take_isolation(const char *word, struct cb_error *err)
{
    enum cb_isolation_kind kind;
    return cb_isolation_parse(word, &kind, err);
}

static int take_network(const char *word, struct cb_error *err)
{
    enum cb_network network;
    return cb_network_parse(word, &network, err);
}

static int take_pull(const char *word, struct cb_error *err)
{
    enum cb_pull_policy policy;
    return cb_pull_policy_parse(word, &policy, err);
}

static int take_format(const char *word, struct cb_error *err)
{
    struct cb_format f = { 0 };
    return cb_format_parse(&f, word, err);
}

static void test_closed_lists(void **state)
{
    (void)state;
    check_list(values_of(build_opts, "progress"), take_progress);
    check_list(values_of(build_opts, "isolation"), take_isolation);
    check_list(values_of(build_opts, "network"), take_network);
    check_list(values_of(build_opts, "pull"), take_pull);
    check_list(CB_FORMAT_VALUES, take_format);
}

/* What a parser says of a key or a value that it does not know, and not of one that only lacks another. */
static bool is_unknown(const struct cb_error *err)
{
    static const char *const texts[] = { "is not supported", "unknown", "neither", "not KEY=VALUE" };
    for (size_t i = 0; i < CB_COUNTOF(texts); i++)
        if (strstr(cb_error_text(err), texts[i]))
            return true;
    return false;
}

static int take_output(const char *spec, struct cb_error *err)
{
    struct cb_output o = { 0 };
    int r = cb_output_parse(&o, spec, err);
    cb_output_done(&o);
    return r;
}

static int take_cache_to(const char *spec, struct cb_error *err)
{
    struct cb_cache_spec s = { 0 };
    int r = cb_cache_spec_parse(&s, spec, true, err);
    cb_cache_spec_done(&s);
    return r;
}

static int take_cache_from(const char *spec, struct cb_error *err)
{
    struct cb_cache_spec s = { 0 };
    int r = cb_cache_spec_parse(&s, spec, false, err);
    cb_cache_spec_done(&s);
    return r;
}

/* Each key with each of its values, paths and free ones as "a". */
static void check_fields(const char *values, take_fn take)
{
    cb_autofree char *copy = cb_strdup(values);
    for (char *field = copy, *next; field; field = next) {
        next = strchr(field, ',');
        if (next)
            *next++ = '\0';
        char *v = strchr(field, '=');
        if (!v)
            continue;
        *v++ = '\0';
        for (char *bar; v; v = bar) {
            struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
            bar = strchr(v, '|');
            if (bar)
                *bar++ = '\0';
            cb_autofree char *spec = cb_asprintf("%s=%s", field, *v && *v != 'F' && *v != 'D' ? v : "1");
            if (take(spec, &err) < 0 && is_unknown(&err))
                fail_msg("%s: %s", spec, cb_error_text(&err));
        }
    }
}

static void test_fields(void **state)
{
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    (void)state;
    check_fields(values_of(build_opts, "output"), take_output);
    check_fields(values_of(cache_opts, "cache-to"), take_cache_to);
    check_fields(values_of(cache_opts, "cache-from"), take_cache_from);
    assert_true(take_output("nosuch=1", &err) < 0 && is_unknown(&err));
    assert_true(take_cache_to("nosuch=1", &err) < 0 && is_unknown(&err));
}

#define ENTRY(digit, name)                                                                                         \
    "{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"size\":2,\"digest\":\"sha256:" digit digit      \
    digit digit digit digit digit digit "\",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" name "\"}}"
static int make_store(void **state)
{
    (void)state;
    if (!mkdtemp(root))
        return -1;
    cb_autofree char *path = cb_asprintf("%s/index.json", root);
    FILE *f = fopen(path, "we");
    if (!f)
        return -1;
    fprintf(f, "{\"schemaVersion\":2,\"manifests\":[%s,%s]}", ENTRY("0000000a", "here:5000/app:1"),
            ENTRY("0000000b", "docker.io/library/one:2"));
    return fclose(f);
}

static int remove_store(void **state)
{
    (void)state;
    cb_autofree char *path = cb_asprintf("%s/index.json", root);
    return unlink(path) == 0 ? rmdir(root) : -1; /* nothing else is there */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verbs),    cmocka_unit_test(test_options),      cmocka_unit_test(test_values),
        cmocka_unit_test(test_operands), cmocka_unit_test(test_closed_lists), cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, make_store, remove_store);
}
