/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "dockerfile/dockerfile.h"
#include "util/alloc.h"

/* Set to nothing: EMPTY. Everything else that is not here is unset. */
static const struct {
    const char *name, *value;
} vars[] = {
    { "A", "alpha" }, { "B", "beta gamma" }, { "EMPTY", "" }, { "V", "1.2.3" }, { "P", "/usr/local/bin" },
    { "G", "a***yy*" }, { "S", "xxyy" }, { "PAT", "x*" }, { "Q", "it's \"$A\"" }, { "K", "한국어" }, { "X1", "one" },
    { "1", "first" }, { "12", "twelfth" }, { "@", "at" }, { "PORTS", " 80  443 " }, { "BS", "a\\b" },
    { "FILE", "/a/b.tar.gz" },
    { "_u", "under" }, { "größe", "size" }, { "名前2", "name" }, { "ESC", "\\*" }, { "STARS", "/foo*/*/*.txt" },
};

static const char *lookup(void *arg, const char *name)
{
    (void)arg;
    for (size_t i = 0; i < CB_COUNTOF(vars); i++) {
        if (strcmp(vars[i].name, name) == 0)
            return vars[i].value;
    }
    return NULL;
}

struct row {
    const char *in, *out; /* out NULL: it fails */
};

static const struct row rows[] = {
    { "", "" },
    { "plain text", "plain text" },
    { "  blanks\tstay ", "  blanks\tstay " },
    { "$A", "alpha" },
    { "${A}", "alpha" },
    { "x$A.y", "xalpha.y" },
    { "x${A}y", "xalphay" },
    { "$Ay", "" },
    { "$A$B", "alphabeta gamma" },
    { "$_u", "under" },
    { "$größe", "size" },
    { "${größe}x", "sizex" },
    { "[$名前2]", "[name]" },
    { "$Aé", "" }, /* one name, as in BuildKit */
    { "$A…$A→$A、$A\u00a0", "alpha…alpha→alpha、alpha\u00a0" },
    { "$A\u0301", "alpha\u0301" }, /* a mark is no letter */
    { "$X1", "one" },
    { "$1x", "firstx" },
    { "$12x", "twelfthx" },
    { "${12}", "twelfth" },
    { "$@x", "atx" },
    { "${@}", "at" },
    { "$-", "" },
    { "$UNSET", "" },
    { "a${UNSET}b", "ab" },
    { "$", "$" },
    { "$ A", "$ A" },
    { "$.", "$." },
    { "a$\"b\"", "a$b" },
    { "$K!", "한국어!" },
    { "é$A", "éalpha" },
    /* quotes */
    { "'$A'", "$A" },
    { "'a\\b'", "a\\b" },
    { "\"$A\"", "alpha" },
    { "\"a b\" c", "a b c" },
    { "\"it's\"", "it's" },
    { "'say \"hi\"'", "say \"hi\"" },
    { "\"\\\"\"", "\"" },
    { "\"\\$A\"", "$A" },
    { "\"\\\\\"", "\\" },
    { "\"\\n\"", "\\n" },
    { "\"\\'\"", "\\'" },
    { "''\"\"", "" },
    { "a''b", "ab" },
    { "$Q", "it's \"$A\"" },
    { "\"$Q\"", "it's \"$A\"" },
    { "'open", NULL },
    { "\"open", NULL },
    { "\"open $A", NULL },
    { "\"open\\", NULL },
    /* escapes */
    { "\\$A", "$A" },
    { "\\a", "a" },
    { "\\\\", "\\" },
    { "\\'", "'" },
    { "a\\ b", "a b" },
    { "end\\", "end" },
    { "\\é", "é" },
    { "$BS", "a\\b" },
    /* defaults */
    { "${A:-x}", "alpha" },
    { "${EMPTY:-x}", "x" },
    { "${UNSET:-x}", "x" },
    { "${A-x}", "alpha" },
    { "${EMPTY-x}", "" },
    { "${UNSET-x}", "x" },
    { "${UNSET:-}", "" },
    { "${UNSET:-$A}", "alpha" },
    { "${UNSET:-${UNSET:-${B}}}", "beta gamma" },
    { "${UNSET:-a b}", "a b" },
    { "${UNSET:-'$A'}", "$A" },
    { "${UNSET:-\"$A}\"}", "alpha}" },
    { "${UNSET:-\\}}", "}" },
    { "\"${UNSET:-'x'}\"", "x" },
    { "${A:-${UNSET:?never}}", "alpha" },
    /* alternatives */
    { "${A:+x}", "x" },
    { "${EMPTY:+x}", "" },
    { "${UNSET:+x}", "" },
    { "${A+x}", "x" },
    { "${EMPTY+x}", "x" },
    { "${UNSET+x}", "" },
    { "app-${V}${X1:+-${X1}}.tgz", "app-1.2.3-one.tgz" },
    { "${UNSET:+${UNSET:?never}}", "" },
    /* demands */
    { "${A:?m}", "alpha" },
    { "${EMPTY:?m}", NULL },
    { "${UNSET:?m}", NULL },
    { "${A?m}", "alpha" },
    { "${EMPTY?m}", "" },
    { "${UNSET?m}", NULL },
    { "${UNSET:?}", NULL },
    /* prefixes */
    { "${P#/}", "usr/local/bin" },
    { "${P#*/}", "usr/local/bin" },
    { "${P##*/}", "bin" },
    { "${P#x}", "/usr/local/bin" },
    { "${P#}", "/usr/local/bin" },
    { "${P##*}", "" },
    { "${P#*}", "/usr/local/bin" },
    { "${V#?.}", "2.3" },
    { "${V##*.}", "3" },
    { "${S#*x*y}", "y" },
    { "${S##*x}", "yy" },
    { "${S#$PAT}", "xyy" },
    { "${S##$PAT}", "" },
    { "${K#?}", "국어" },
    { "${K#??}", "어" },
    { "${K##????}", "한국어" },
    { "${UNSET#x}", "" },
    { "${UNSET#*}", "" },
    { "${STARS#/foo\\*}", "/*/*.txt" },
    /* suffixes */
    { "${V%.*}", "1.2" },
    { "${V%%.*}", "1" },
    { "${P%/*}", "/usr/local" },
    { "${P%%/*}", "" },
    { "${S%x}", "xxyy" },
    { "${S%}", "xxyy" },
    { "${S%%y*}", "xx" },
    { "${S%y*}", "xxy" },
    { "${S%?y}", "xx" },
    { "${G%%\\**}", "a" },
    { "${G%%\\**\\*}", "a" },
    { "${G%\\**}", "a***yy" },
    { "${K%?}", "한국" },
    { "${FILE%.tar.*}", "/a/b" },
    { "${FILE%%.*}.zip", "/a/b.zip" },
    { "${S%\\q}", NULL },
    { "${S#\\", NULL },
    /* replacements */
    { "${V/./-}", "1-2.3" },
    { "${V//./-}", "1-2-3" },
    { "${V//.}", NULL },
    { "${V/x/y}", "1.2.3" },
    { "${V//[.]/y}", "1.2.3" },
    { "${V///}", "1.2.3" },
    { "${S/$EMPTY/ww}", "wwxxyy" },
    { "${S//y/}", "xx" },
    { "${S//?/.}", "...." },
    { "${S/x*y/.}", "." },
    { "${S//*/-}", "-" },
    { "${S//$EMPTY/-}", "-x-x-y-y-" },
    { "${P//\\//:}", ":usr:local:bin" },
    { "${P//\\//\\/}", "\\/usr\\/local\\/bin" },
    { "${STARS/$ESC/.}", "/foo./*/*.txt" },
    { "${STARS//$ESC/.}", "/foo././..txt" },
    { "${V/./$A}", "1alpha2.3" },
    { "${UNSET/a/b}", "" },
    { "${K//?/x}", "xxx" },
    { "${K/국/-}", "한-어" },
    { "${S/x", NULL },
    { "${S/x/y", NULL },
    /* malformed */
    { "${", NULL },
    { "${}", NULL },
    { "${A", NULL },
    { "${A:", NULL },
    { "${A:}", NULL },
    { "${A:-", NULL },
    { "${A:-x", NULL },
    { "${:-x}", NULL },
    { "${{A}}", NULL },
    { "${A=x}", NULL },
    { "${A:=x}", NULL },
    { "${A:#x}", NULL },
    { "${A:%x}", NULL },
    { "${A!}", NULL },
    { "${A b}", NULL },
    { "${/x/y}", NULL },
    { "${#A}", NULL },
    { "${A^^}", NULL },
    { "${\xe2\x80\xa6}", NULL },
};

static void check(const struct row *r, char escape, int (*fn)(struct cb_strbuf *, const char *,
                                                              const struct cb_df_scope *, struct cb_error *))
{
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_df_scope scope = { .lookup = lookup, .escape = escape };
    cb_strbuf_adds(&out, "<");
    int e = fn(&out, r->in, &scope, &err);
    if (r->out && (e != 0 || strcmp(out.buf + 1, r->out) != 0))
        fail_msg("%s: expected %s, got %s (%s)", r->in, r->out, out.buf + 1, e ? cb_error_text(&err) : "ok");
    if (!r->out && e != -CB_ECONF)
        fail_msg("%s: expected to fail, got %s", r->in, out.buf + 1);
    if (!r->out)
        assert_string_equal(out.buf, "<"); /* nothing half-done stays */
}

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++)
        check(&rows[i], '\\', cb_df_expand);
}

static void test_backtick(void **state)
{
    (void)state;
    static const struct row r[] = {
        { "`$A", "$A" }, { "c:\\dir\\$A", "c:\\dir\\alpha" }, { "\"`\"\"", "\"" }, { "``", "`" }, { "\\$A", "\\alpha" },
        { "${UNSET:-`}}", "}" }, { "${STARS#/foo`*}", "/*/*.txt" }, { "'`'", "`" },
    };
    for (size_t i = 0; i < CB_COUNTOF(r); i++)
        check(&r[i], '`', cb_df_expand);
}

static void test_raw(void **state)
{
    (void)state;
    static const struct row r[] = {
        { "a 'b' \"$A\" c", "a 'b' \"alpha\" c" }, { "'$A'", "'alpha'" }, { "\\$A", "$A" }, { "it's", "it's" },
        { "a\\nb", "anb" }, { "a\\\\nb", "a\\nb" }, { "x\n${UNSET:-\"d\"}\n", "x\n\"d\"\n" }, { "\"", "\"" },
        { "${V//./-}", "1-2-3" }, { "${", NULL }, { "$Q", "it's \"$A\"" },
    };
    for (size_t i = 0; i < CB_COUNTOF(r); i++)
        check(&r[i], '`', cb_df_expand_raw);
}

static void test_words(void **state)
{
    (void)state;
    static const struct row r[] = {
        { "", "" }, { " a  b\tc ", "a|b|c" }, { "'a b' c", "a b|c" }, { "\"a b\"c d", "a bc|d" },
        { "a\\ b c", "a b|c" },
        { "$B", "beta|gamma" }, { "\"$B\"", "beta gamma" }, { "x$PORTS", "x|80|443" }, { "x${PORTS}y", "x|80|443|y" },
        { "$UNSET", "" }, { "'' \"\" a", "a" }, { "${UNSET:-1 2}", "1|2" }, { "${UNSET:-\"1 2\"}", "1|2" },
        { "\"${UNSET:-1 2}\"", "1 2" }, { "$A$A", "alphaalpha" }, { "a\nb", "a|b" },
    };
    for (size_t i = 0; i < CB_COUNTOF(r); i++) {
        cb_cleanup_strvec struct cb_strvec v = CB_STRVEC_INIT;
        cb_cleanup_strbuf struct cb_strbuf joined = CB_STRBUF_INIT;
        struct cb_df_scope scope = { .lookup = lookup, .escape = '\\' };
        cb_strvec_push(&v, "0");
        assert_int_equal(cb_df_expand_words(&v, r[i].in, &scope, NULL), 0);
        assert_string_equal(v.v[0], "0");
        for (size_t k = 1; k < v.n; k++)
            cb_strbuf_addf(&joined, k > 1 ? "|%s" : "%s", v.v[k]);
        if (strcmp(joined.buf, r[i].out) != 0)
            fail_msg("%s: expected %s, got %s", r[i].in, r[i].out, joined.buf);
        size_t before = v.n;
        assert_int_equal(cb_df_expand_words(&v, "a b 'c", &scope, NULL), -CB_ECONF);
        assert_int_equal(v.n, before);
    }
}

static void note(void *arg, const char *name)
{
    cb_strbuf_addf(arg, "%s ", name);
}

static const char *lookup_nothing(void *arg, const char *name)
{
    (void)arg;
    return strcmp(name, "SET") == 0 ? "" : NULL;
}

static void test_undefined(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT, told = CB_STRBUF_INIT;
    struct cb_df_scope scope = { .lookup = lookup_nothing, .arg = &told, .escape = '\\', .undefined = note };
    const char *text = "$U1 ${U2} ${U3:-d$U4} ${U5+$U6} ${SET-$U7} ${U8#x} ${U9/a/b} $SET ${SET:-$U10} '$U11'";
    assert_int_equal(cb_df_expand(&out, text, &scope, NULL), 0);
    assert_string_equal(told.buf, "U1 U2 U4 U8 U9 U10 ");
}

static void expect_error(const char *text, const char *message)
{
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_cleanup_error struct cb_error err = CB_ERROR_INIT;
    struct cb_df_scope scope = { .lookup = lookup, .escape = '\\' };
    assert_int_equal(cb_df_expand(&out, text, &scope, &err), -CB_ECONF);
    assert_string_equal(cb_error_text(&err), message);
}

static void test_messages(void **state)
{
    (void)state;
    expect_error("${UNSET:?give $A, please}", "cannot expand \"${UNSET:?give $A, please}\": UNSET: give alpha, please");
    expect_error("${UNSET?}", "cannot expand \"${UNSET?}\": UNSET: it must be set");
    expect_error("${EMPTY:?}", "cannot expand \"${EMPTY:?}\": EMPTY: it must not be empty");
    expect_error("${A", "cannot expand \"${A\": } is missing behind ${");
    expect_error("${A^^}", "cannot expand \"${A^^}\": ${A…}: unknown modifier \"^\"; there are :- :+ :? - + ? # ## "
                           "% %% / and //");
    expect_error("${A:\x1b}", "cannot expand \"${A:\\x1b}\": ${A…}: unknown modifier \":\\x1b\"; there are :- :+ "
                              ":? - + ? # ## % %% / and //");
    expect_error("${V/.}", "cannot expand \"${V/.}\": the second / of ${…/…/…} is missing");
    expect_error("'a", "cannot expand \"'a\": the quote ' is not closed");
}

static char *repeat(const char *s, size_t n, const char *tail)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    for (size_t i = 0; i < n; i++)
        cb_strbuf_adds(&sb, s);
    cb_strbuf_adds(&sb, tail);
    return cb_strbuf_detach(&sb, NULL);
}

static const char *lookup_big(void *arg, const char *name)
{
    (void)name;
    return arg;
}

/* Depth, growth and patterns made to be slow end soon, one way or the other. */
static void test_hostile(void **state)
{
    (void)state;
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    cb_autofree char *deep = repeat("${U:-", 200000, "");
    cb_autofree char *deep_ok = repeat("${U:-", 64, "x");
    cb_autofree char *closed = repeat("}", 64, "");
    cb_autofree char *nested = cb_asprintf("%s%s", deep_ok, closed);
    struct cb_df_scope scope = { .lookup = lookup, .escape = '\\' };
    assert_int_equal(cb_df_expand(&out, deep, &scope, NULL), -CB_ECONF);
    assert_int_equal(cb_df_expand(&out, nested, &scope, NULL), 0);
    assert_string_equal(out.buf, "x");

    cb_autofree char *big = repeat("a", 1 << 20, "");
    cb_autofree char *many = repeat("$X", 100000, "");
    struct cb_df_scope grown = { .lookup = lookup_big, .arg = big, .escape = '\\' };
    assert_int_equal(cb_df_expand(&out, many, &grown, NULL), -CB_ECONF);

    cb_autofree char *stars = repeat("*a", 400, "b");
    static const char *const forms[][2] = {
        { "${X#", "}" }, { "${X##", "}" }, { "${X%", "}" }, { "${X%%", "}" }, { "${X/", "/y}" }, { "${X//", "/y}" },
    };
    for (size_t i = 0; i < CB_COUNTOF(forms); i++) {
        cb_autofree char *text = cb_asprintf("%s%s%s", forms[i][0], stars, forms[i][1]);
        cb_strbuf_reset(&out);
        assert_int_equal(cb_df_expand(&out, text, &grown, NULL), 0);
        assert_int_equal(out.len, 1 << 20); /* no b in it: nothing matches */
    }
    cb_autofree char *pattern = repeat("a", 2000, "");
    cb_autofree char *too_long = cb_asprintf("${X#%s}", pattern);
    assert_int_equal(cb_df_expand(&out, too_long, &grown, NULL), -CB_ECONF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_backtick), cmocka_unit_test(test_raw),
        cmocka_unit_test(test_words), cmocka_unit_test(test_undefined), cmocka_unit_test(test_messages),
        cmocka_unit_test(test_hostile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
