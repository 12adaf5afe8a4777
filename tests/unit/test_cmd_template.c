/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cmd/template.h"
#include "oci/json.h"
#include "util/alloc.h"

#define ROOT                                                                                                         \
    "{\"Digest\":\"sha256:ab\",\"Size\":123456789012,\"Ok\":true,\"No\":null,\"Half\":0.5,\"Empty\":[],"             \
    "\"Env\":[\"PATH=/bin\",\"A=b c\"],\"Config\":{\"Cmd\":[\"sh\",\"-c\"],\"Labels\":{\"z\":\"1\",\"a.b/c\":\"2\","   \
    "\"html\":\"<&>\"},\"Deep\":{\"er\":{\"x\":7}}}}"

static int print(const char *format, struct cb_strbuf *out, struct cb_error *e)
{
    cb_autojson json_t *root = cb_json_parse(ROOT, strlen(ROOT), NULL);
    assert_non_null(root);
    return cb_template_print(out, format, root, e);
}

/* What Go's text/template prints for the same. */
static void test_values(void **state CB_UNUSED)
{
    static const struct {
        const char *format, *text;
    } cases[] = {
        { "", "" },
        { "plain { text } }}", "plain { text } }}" },
        { "a\\tb\\n\\x", "a\tb\n\\x" },
        { "{{.Digest}}", "sha256:ab" },
        { "{{ .Digest }} {{.Size}}", "sha256:ab 123456789012" },
        { "{{.Ok}} {{.Half}} {{.No}}", "true 0.5 <no value>" },
        { "{{.Env}} {{.Empty}}", "[PATH=/bin A=b c] []" },
        { "{{.Config.Labels}}", "map[a.b/c:2 html:<&> z:1]" },
        { "{{.Config.Deep.er.x}}", "7" },
        { "{{.Config.Labels.none}}{{.Config.None.further}}", "<no value><no value>" },
        { "{{json .Config.Labels}}", "{\"z\":\"1\",\"a.b/c\":\"2\",\"html\":\"<&>\"}" },
        { "{{json .Digest}} {{json .No}} {{json .Config.None}}", "\"sha256:ab\" null null" },
        { "{{index .Config.Labels \"a.b/c\"}}", "2" },
        { "[{{index .Config.Labels \"none\"}}]", "[]" },
        { "{{index .Config \"Deep\" `er` \"x\"}}", "7" },
        { "{{index .Env 1}}", "A=b c" },
        { "{{index .No \"x\"}}", "" },
        { "{{join .Env \"\\n\"}}", "PATH=/bin\nA=b c" },
        { "{{join .Empty \",\"}}", "" },
        { "{{len .Env}}{{len .Digest}}{{len .Config}}{{len .No}}", "2930" },
        { "{{\"{{\"}}{{`\\n`}}{{\"\\u00e9\"}}", "{{\\n\xc3\xa9" },
        { "{{.\n}}x", NULL }, /* the whole, see below */
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (print(cases[i].format, &out, &e) < 0)
            fail_msg("%s: %s", cases[i].format, cb_error_text(&e));
        if (cases[i].text && strcmp(out.buf, cases[i].text) != 0)
            fail_msg("%s: %s instead of %s", cases[i].format, out.buf, cases[i].text);
        if (!cases[i].text)
            assert_true(cb_starts_with(out.buf, "map[Config:map[Cmd:[sh -c] Deep:"));
    }
}

static void test_refused(void **state CB_UNUSED)
{
    static const struct {
        const char *format, *says;
    } cases[] = {
        { "{{range .Env}}{{.}}{{end}}", "range" },
        { "{{if .Ok}}x{{end}}", "\"if\"" },
        { "{{.Env | json}}", "\"|\"" },
        { "{{- .Digest -}}", "\"-\"" },
        { "{{$x := .Env}}", "$x" },
        { "{{(index .Env 0)}}", "(index" },
        { "{{println .Env}}", "println" },
        { "{{.digest}}", "there is no field digest; there are Digest, Size" },
        { "{{.Digest.x}}", ".Digest has no fields" },
        { "{{.Digest", "no }}" },
        { "{{}}", "empty" },
        { "{{.Digest .Size}}", "several values" },
        { "{{.A..B}}", ".A..B" },
        { "{{..}}", ".." },
        { "{{.Digest\"x\"}}", "not done" },
        { "{{json}}", "wants a field" },
        { "{{json \"x\"}}", "wants a field" },
        { "{{json .Env .Size}}", "json .Field" },
        { "{{index .Env \"x\"}}", "does not fit" },
        { "{{index .Env 2}}", "has 2 entries" },
        { "{{index .Config 0}}", "does not fit" },
        { "{{index .Env .Size}}", "does not fit" },
        { "{{index .Env 99999999999999}}", "too large" },
        { "{{join .Env}}", "separator" },
        { "{{join .Digest \",\"}}", "no list" },
        { "{{\"x}}", "no end" },
        { "{{\"\\q\"}}", "no string" },
        { "{{index .Env 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0}}", "more than" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (print(cases[i].format, &out, &e) != -CB_EUSAGE)
            fail_msg("%s: it went through", cases[i].format);
        if (!strstr(cb_error_text(&e), cases[i].says) || !cb_starts_with(cb_error_text(&e), "--format"))
            fail_msg("%s: %s", cases[i].format, cb_error_text(&e));
    }
}

/* Fields of Go where JSON has other names for them; what is written as in the JSON comes first. */
static void test_go_names(void **state CB_UNUSED)
{
    static const struct { const char *format, *text; } cases[] = {
        { "{{.MANIFEST.MediaType}} {{.Manifest.digest}}", "m D" },
        { "{{.Manifest.Digest}} {{json .Manifest.Platform.OS}}", "d \"o\"" },
        { "{{json .}}", NULL },
        { "{{.Nosuch}}", NULL },
    };
    cb_autojson json_t *root = json_pack("{s:{s:s,s:s,s:s,s:{s:s}}}", "manifest", "mediaType", "m", "digest", "D",
                                         "Digest", "d", "platform", "os", "o");
    cb_autofree char *all = json_dumps(root, JSON_COMPACT);
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
        bool good = cb_template_print_go(&out, cases[i].format, root, NULL) == 0;
        assert_int_equal(good, i != 3);
        if (good)
            assert_string_equal(out.buf, cases[i].text ? cases[i].text : all);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_go_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
