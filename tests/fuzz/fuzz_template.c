/* SPDX-License-Identifier: Apache-2.0 */
/* --format: text alone comes out as it is, and what is refused says why. */
#include "cmd/template.h"
#include "oci/json.h"
#include "tests/fuzz/fuzz.h"

#define ROOT "{\"S\":\"text\",\"N\":7,\"L\":[\"a\",{\"k\":null}],\"M\":{\"k\":{\"k\":true}},\"Z\":null}"

FUZZ_TARGET(template)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autojson json_t *root = cb_json_parse(ROOT, strlen(ROOT), NULL);
    (void)len;
    int r = cb_template_print(&out, text, root, &e);
    if (r < 0 && (e.code != CB_EUSAGE || !cb_starts_with(cb_error_text(&e), "--format, at \"{{")))
        abort();
    if (!strstr(text, "{{") && !strchr(text, '\\') && (r < 0 || strcmp(out.buf, text) != 0))
        abort();
}
