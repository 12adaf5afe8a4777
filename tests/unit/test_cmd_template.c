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
        { "{{range .Env}}{{.}};{{end}}", "PATH=/bin;A=b c;" },
        { "{{range .Config.Cmd}}{{println .}}{{end}}", "sh\n-c\n" },
        { "{{range $i, $e := .Env}}{{$i}}={{$e}},{{end}}{{range $e := .Env}}<{{$e}}>{{end}}",
          "0=PATH=/bin,1=A=b c,<PATH=/bin><A=b c>" },
        { "{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}", "a.b/c:2 html:<&> z:1 " },
        { "{{range .Empty}}x{{else}}none{{end}}{{range .No}}x{{end}}{{range .Config.None}}x{{end}}", "none" },
        { "{{range .Env}}{{$.Digest}}{{with $.Config}}{{range .Cmd}}{{.}}{{end}}{{end}} {{end}}",
          "sha256:absh-c sha256:absh-c " },
        { "{{if .Ok}}yes{{else}}no{{end}}{{if .No}}yes{{else if .Empty}}e{{else}}no{{end}}", "yesno" },
        { "{{if not .No}}a{{end}}{{if and .Ok .Size}}b{{end}}{{if or .No .Empty}}c{{end}}"
          "{{if eq .Digest \"sha256:ab\"}}d{{end}}", "abd" },
        { "{{if .No}}{{range .Env}}{{.x.y}}{{end}}{{index .Env 7}}{{else}}read only{{end}}", "read only" },
        { "{{with .Config.Deep}}{{.er.x}}{{end}}{{with .No}}x{{else}}y{{end}}"
          "{{with $x := .Digest}}{{$x}}{{end}}", "7ysha256:ab" },
        { "{{$x := .Config.Deep}}{{$x.er.x}}{{if $y := .Ok}}{{$y}}{{end}}", "7true" },
        { "{{.Config.Cmd | json}} {{json .Config.Deep.er | printf \"%s\"}} {{.Digest | printf \"%s %q\" .Ok}}",
          "[\"sh\",\"-c\"] {\"x\":7} true \"sha256:ab\"" },
        { "{{(index .Env 0)}} {{len (index .Config \"Cmd\")}} {{(index .Config \"Deep\").er.x}}", "PATH=/bin 2 7" },
        { "a  {{- .Ok -}}  b {{- /* no */ -}} c{{/* no */}} d {{- range .Env -}} x {{- end -}} e", "atruebc dxxe" },
        { "{{upper .Digest}} {{lower \"AbC\"}} {{slice .Digest 7 9}} "
          "{{index (split .Digest \":\") 1}} {{slice .Env 1}}",
          "SHA256:AB abc ab ab [A=b c]" },
        { "{{print .Ok .Half}}{{print .Digest \"x\"}}{{print}}", "true 0.5sha256:abx" },
        { "{{lt 1 2}}{{ge .Size -5}}{{gt \"a\" \"b\"}}{{ne .Ok false}}{{eq 1 2 1}}", "truetruefalsetruetrue" },
        { "{{json \"x\"}}{{true}}{{1}}", "\"x\"true1" },
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
        { "{{range .Env}}{{.}}", "no {{end}}" },
        { "{{if .Ok}}x{{else}}y", "no {{end}}" },
        { "x{{end}}", "nothing that it ends" },
        { "{{range .Digest}}x{{end}}", "neither" },
        { "{{range .Env}}{{.x}}{{end}}", "has no fields" },
        { "{{range $a, $b, $c := .Env}}{{end}}", "no variable $a" },
        { "{{$x}}", "no variable $x" },
        { "{{range $i, $e := .Env}}{{end}}{{$e}}", "no variable $e" },
        { "{{if $a, $b := .Ok}}{{end}}", "not done" },
        { "{{template \"x\"}}", "\"template\"" },
        { "{{block \"x\" .}}{{end}}", "\"block\"" },
        { "{{break}}", "\"break\"" },
        { "{{frob .Env}}", "frob" },
        { "{{if .No}}{{frob .Env}}{{end}}", "frob" },
        { "{{(index .Env 0}}", "( has no )" },
        { "{{.Env )}}", "\")\"" },
        { "{{/* x }}", "no end" },
        { "{{printf \"%x\" .Size}}", "printf" },
        { "{{printf \"%s\"}}", "fewer" },
        { "{{slice .Env 1 3}}", "there are 2" },
        { "{{slice \"\u00e9\" 1 2}}", "cuts a character" },
        { "{{lt .Ok 1}}", "two numbers or two strings" },
        { "{{range .Env}}{{range .}}{{end}}{{end}}", "neither" },
        { "{{.digest}}", "there is no field digest; there are Digest, Size" },
        { "{{.Digest.x}}", ".Digest has no fields" },
        { "{{.Digest", "no }}" },
        { "{{}}", "empty" },
        { "{{.Digest .Size}}", "several values" },
        { "{{.A..B}}", ".A..B" },
        { "{{..}}", ".." },
        { "{{.Digest\"x\"}}", "not done" },
        { "{{json}}", "json wants 1 value" },
        { "{{json .Env .Size}}", "json wants 1 value" },
        { "{{index .Env \"x\"}}", "does not fit" },
        { "{{index .Env 2}}", "has 2 entries" },
        { "{{index .Config 0}}", "does not fit" },
        { "{{index .Env .Size}}", "has 2 entries" },
        { "{{index .Env 99999999999999}}", "too large" },
        { "{{join .Env}}", "join wants 2 values" },
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
