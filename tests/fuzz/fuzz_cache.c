/* SPDX-License-Identifier: Apache-2.0 */
/* What a place of cache records gives: a manifest, or the records. What is printed of it is read as the same. */
#include "cache/cache.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(cache)
{
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_set s cb_cleanup_cache_set = { 0 }, again cb_cleanup_cache_set = { 0 };
    struct cb_strbuf one cb_cleanup_strbuf = CB_STRBUF_INIT, two cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_cache_artifact_parse(&a, text, len, NULL) == 0 && a.config.len) {
        text = a.config.buf;
        len = a.config.len;
    }
    if (cb_cache_set_parse(&s, text, len, NULL) < 0)
        return;
    cb_cache_set_print(&one, &s);
    if (cb_cache_set_parse(&again, one.buf, one.len, NULL) < 0)
        abort();
    cb_cache_set_print(&two, &again);
    if (strcmp(one.buf, two.buf) != 0)
        abort();
}
