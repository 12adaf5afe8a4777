/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest with its Content-Type (behind a \\x01): what is printed of it is read as the same. */
#include "oci/manifest.h"
#include "util/limits.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(manifest)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 }, again cb_cleanup_manifest = { 0 };
    struct cb_strbuf one cb_cleanup_strbuf = CB_STRBUF_INIT, two cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *type = fuzz_second(text, &len, NULL);
    if (cb_manifest_parse(&m, text, len, type, NULL) < 0)
        return;
    if (m.n_layers > CB_MAX_LAYERS || !cb_manifest_detect(text, len, type, NULL))
        abort();
    cb_manifest_print(&one, &m);
    if (cb_manifest_parse(&again, one.buf, one.len, NULL, NULL) < 0)
        abort();
    cb_manifest_print(&two, &again);
    if (strcmp(one.buf, two.buf) != 0)
        abort();
}
