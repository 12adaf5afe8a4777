/* SPDX-License-Identifier: Apache-2.0 */
/* An index: what is printed of it is read as the same. */
#include "oci/manifest.h"
#include "util/limits.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(index)
{
    struct cb_index x cb_cleanup_index = { 0 }, again cb_cleanup_index = { 0 };
    struct cb_strbuf one cb_cleanup_strbuf = CB_STRBUF_INIT, two cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *type = fuzz_second(text, &len, NULL);
    if (cb_index_parse(&x, text, len, type, NULL) < 0)
        return;
    struct cb_platform host cb_cleanup_platform = { 0 };
    if (cb_platform_parse(&host, "linux/amd64", NULL) < 0)
        abort();
    (void)cb_index_select(&x, &host);
    cb_index_print(&one, &x);
    if (cb_index_parse(&again, one.buf, one.len, NULL, NULL) < 0)
        abort();
    cb_index_print(&two, &again);
    if (strcmp(one.buf, two.buf) != 0)
        abort();
}
