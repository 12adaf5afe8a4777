/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>

#include "dockerfile_cases.h"
#include "dockerfile_dump.h"
#include "util/alloc.h"
#include "util/limits.h"

/* What the parser makes of text: the dump, or "error: …". */
static char *parse_to_text(const char *text, size_t len)
{
    struct cb_strbuf o = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("Dockerfile", text, len, &err);
    if (d) {
        dump_file(&o, d);
    } else {
        assert_int_equal(err.code, CB_ECONF);
        cb_strbuf_addf(&o, "error: %s\n", cb_error_text(&err));
    }
    return cb_strbuf_detach(&o, NULL);
}

static void one_case(const struct test_case *c, void *arg)
{
    size_t *n = arg;
    cb_autofree char *got = parse_to_text(c->input, c->input_len);
    if (strcmp(got, c->expected) != 0)
        fail_msg("%s: %s\n--- expected\n%s--- got\n%s", c->file, c->title, c->expected, got);
    ++*n;
}

static void test_cases(void **state)
{
    (void)state;
    size_t n = 0;
    each_case("dockerfile/parse", one_case, &n);
    assert_true(n >= 120);
}

static void test_null_error(void **state)
{
    (void)state;
    assert_null(cb_dockerfile_parse("x", "RNU x\n", 6, NULL));
    assert_null(cb_df_ignore_parse("x", "[\n", 2, NULL));
    struct cb_df_instruction i;
    assert_int_equal(cb_df_instruction_parse(&i, "RNU", "parent", NULL), -CB_ECONF);
}

static void expect_error(const char *text, size_t len, const char *message)
{
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    assert_null(cb_dockerfile_parse("D", text, len, &err));
    assert_string_equal(cb_error_text(&err), message);
}

static char *filled(const char *head, char c, size_t n, const char *tail, size_t *len)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, head);
    cb_strbuf_reserve(&sb, n);
    for (size_t i = 0; i < n; i++)
        cb_strbuf_addch(&sb, c);
    cb_strbuf_adds(&sb, tail);
    return cb_strbuf_detach(&sb, len);
}

static void test_line_limit(void **state)
{
    (void)state;
    size_t len;
    cb_autofree char *fits = filled("FROM x\nRUN ", 'a', CB_MAX_LINE - 4, "\n", &len);
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", fits, len, NULL);
    assert_non_null(d);
    assert_int_equal(strlen(d->stages[0].instructions[0].command.args.v[0]), CB_MAX_LINE - 4);
    cb_autofree char *more = filled("FROM x\nRUN ", 'a', CB_MAX_LINE - 3, "\n", &len);
    expect_error(more, len, "D:2: line of 65536 bytes: at most 65535 are read; break it with a continuation");
    cb_autofree char *comment = filled("FROM x\n#", 'a', CB_MAX_LINE, "\n", &len);
    expect_error(comment, len, "D:2: line of 65536 bytes: at most 65535 are read; break it with a continuation");
}

static void test_size_limit(void **state)
{
    (void)state;
    size_t len;
    cb_autofree char *big = filled("FROM x\n", '\n', CB_MAX_DOCKERFILE, "", &len);
    expect_error(big, len, "D:1: 1048583 bytes are too many: at most 1048576 are read");
    expect_error("FROM x\nRUN a\0b\n", 15, "D:2: NUL byte: this is no text file");
    expect_error("\xff\xfe" "F\0", 4, "D:1: the file is UTF-16: save it as UTF-8");
}

static void test_many(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, "FROM x\n");
    for (int i = 1; i < 10000; i++)
        cb_strbuf_adds(&sb, "ENV a b\n");
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", sb.buf, sb.len, NULL);
    assert_non_null(d);
    assert_int_equal(d->stages[0].n, 9999);
    cb_strbuf_adds(&sb, "ENV a b\n");
    expect_error(sb.buf, sb.len, "D:10001: more than 10000 instructions");
}

static void test_trigger(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } rows[] = {
        { "COPY . /src", "COPY 1 word=\".\" word=\"/src\"\n" },
        { "run make\n", "RUN 1 shell=\"make\"\n" },
        { "RUN <<EOF\na\nEOF", "RUN 1 shell=\"<<EOF\"\n  heredoc fd=0 expand name=\"EOF\" body=\"a\\n\"\n  script\n" },
        { "RUN <<EOF\na", "base image: unterminated heredoc: a line with only \"EOF\" is missing" },
        { "", "base image: there is no instruction in it" },
        { "RUN a\nRUN b", "base image: \"RUN b\": a trigger is one instruction" },
        { "FROM x", "base image: FROM cannot stand behind ONBUILD" },
        { "ONBUILD RUN x", "base image: ONBUILD cannot stand behind ONBUILD" },
        { "MAINTAINER x", "base image: MAINTAINER cannot stand behind ONBUILD" },
        { "ADDD a b", "base image: unknown instruction: \"ADDD\" (did you mean ADD?)" },
    };
    for (size_t k = 0; k < CB_COUNTOF(rows); k++) {
        cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
        cb_cleanup_strbuf struct cb_strbuf o = CB_STRBUF_INIT;
        struct cb_df_instruction i;
        if (cb_df_instruction_parse(&i, rows[k].text, "base image", &err) == 0)
            dump_instruction(&o, &i);
        else
            cb_strbuf_adds(&o, cb_error_text(&err));
        assert_string_equal(o.buf, rows[k].expected);
        cb_df_instruction_done(&i);
    }
}

/* An ONBUILD trigger must survive the way through the image's configuration. */
static void test_trigger_round_trip(void **state)
{
    (void)state;
    const char *text = "FROM x\nONBUILD RUN --network=none cat <<-A <<\"B\" >f\n\ta\n\tA\n$b\nB\n";
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", text, strlen(text), NULL);
    assert_non_null(d);
    cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT, run = CB_STRBUF_INIT, again = CB_STRBUF_INIT;
    cb_df_onbuild_text(&t, &d->stages[0].instructions[0]);
    CB_CLEANUP(cb_df_instruction_done) struct cb_df_instruction i;
    assert_int_equal(cb_df_instruction_parse(&i, t.buf, "t", NULL), 0);
    cb_df_run_text(&run, d->stages[0].instructions[0].onbuild);
    cb_df_run_text(&again, &i);
    assert_string_equal(run.buf, "cat <<-A <<\"B\" >f\na\nA\n$b\nB");
    assert_string_equal(run.buf, again.buf);
    assert_string_equal(i.network, "none");
    assert_false(i.heredocs[1].expand);
}

static void test_original(void **state)
{
    (void)state;
    const char *text = "FROM x\n  run a \\\n # c\n   b <<E \nbody\nE\nonbuild  copy a b\n";
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", text, strlen(text), NULL);
    assert_non_null(d);
    assert_string_equal(d->stages[0].from.original, "FROM x");
    assert_string_equal(d->stages[0].instructions[0].original, "run a    b <<E");
    assert_string_equal(d->stages[0].instructions[1].original, "onbuild  copy a b");
    assert_string_equal(d->stages[0].instructions[1].onbuild->original, "copy a b");
    assert_string_equal(d->name, "D");
    assert_int_equal(d->text_len, strlen(text));
}

static void test_excerpt(void **state)
{
    (void)state;
    const char *text = "\xef\xbb\xbf# a\nFROM x\n\nRUN \x1b[31m\\\n  b\nRUN c\nRUN d\nRUN e\n";
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", text, strlen(text), NULL);
    assert_non_null(d);
    cb_cleanup_strbuf struct cb_strbuf o = CB_STRBUF_INIT;
    cb_df_excerpt(&o, d, d->stages[0].instructions[0].span, NULL);
    assert_string_equal(o.buf, "--------------------\n"
                               "   2 |     FROM x\n"
                               "   3 | \n"
                               "   4 | >>> RUN \\x1b[31m\\\n"
                               "   5 | >>>   b\n"
                               "   6 |     RUN c\n"
                               "   7 |     RUN d\n"
                               "--------------------\n");
    cb_strbuf_reset(&o);
    cb_df_excerpt(&o, d, (struct cb_df_span){ 8, 8 }, "ONBUILD of x: RUN <<E\nf\x1b\nE");
    assert_string_equal(o.buf, "--------------------\n   6 |     RUN c\n   7 |     RUN d\n   8 | >>> RUN e\n"
                               "     | >>> ONBUILD of x: RUN <<E\n     | >>> f\\x1b\n     | >>> E\n"
                               "--------------------\n");
}

static void test_secret_excerpt(void **state)
{
    (void)state;
    static const char text[] = "FROM scratch\nADD --chmod=0644 https://me:hush@h.example/f?signature=hush /\n";
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", text, strlen(text), NULL);
    assert_non_null(d);
    cb_cleanup_strbuf struct cb_strbuf o = CB_STRBUF_INIT;
    cb_df_excerpt(&o, d, d->stages[0].instructions[0].span, NULL);
    assert_null(strstr(o.buf, "hush"));
    assert_non_null(strstr(o.buf, "@h.example/f?signature="));
}

static void test_long_excerpt(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT, o = CB_STRBUF_INIT;
    cb_strbuf_adds(&text, "FROM x\nRUN <<E\n");
    for (int i = 0; i < 100; i++)
        cb_strbuf_addf(&text, "line %d\n", i);
    cb_strbuf_adds(&text, "E\n");
    CB_AUTO(cb_dockerfile_free) struct cb_dockerfile *d = cb_dockerfile_parse("D", text.buf, text.len, NULL);
    assert_non_null(d);
    cb_df_excerpt(&o, d, d->stages[0].instructions[0].span, NULL);
    assert_non_null(strstr(o.buf, "   7 | >>> line 4\n     | …\n  98 | >>> line 95\n"));
    assert_non_null(strstr(o.buf, " 103 | >>> E\n----"));
}

static void test_suggest(void **state)
{
    (void)state;
    static const char *const names[] = { "RUN", "COPY", "ENTRYPOINT", "CMD", NULL };
    assert_string_equal(cb_df_suggest("RNU", names), "RUN");
    assert_string_equal(cb_df_suggest("run", names), "RUN");
    assert_string_equal(cb_df_suggest("ENTRYPONT", names), "ENTRYPOINT");
    assert_string_equal(cb_df_suggest("ENTRIPIONT", names), "ENTRYPOINT");
    assert_null(cb_df_suggest("X", names));
    assert_null(cb_df_suggest("", names));
    assert_null(cb_df_suggest("FROMAGE", names));
    cb_autofree char *longword = cb_malloc(100001);
    memset(longword, 'R', 100000);
    longword[100000] = '\0';
    assert_null(cb_df_suggest(longword, names));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases), cmocka_unit_test(test_null_error), cmocka_unit_test(test_line_limit),
        cmocka_unit_test(test_size_limit), cmocka_unit_test(test_many), cmocka_unit_test(test_trigger),
        cmocka_unit_test(test_trigger_round_trip), cmocka_unit_test(test_original), cmocka_unit_test(test_excerpt),
        cmocka_unit_test(test_secret_excerpt),
        cmocka_unit_test(test_long_excerpt),
        cmocka_unit_test(test_suggest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
