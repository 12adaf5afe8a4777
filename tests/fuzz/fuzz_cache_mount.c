/* SPDX-License-Identifier: Apache-2.0 */
/* What a place gives of a cache mount: its config, or its index. What is read is printed as it was. */
#include "cache/mount_parts.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(cache_mount)
{
    struct cache_mount_index x cb_cleanup_mount_index = { 0 };
    struct cache_mount_head h cb_cleanup_mount_head = { 0 }, again cb_cleanup_mount_head = { 0 };
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cache_mount_index_parse(&x, text, len, NULL) == 0) {
        cache_mount_index_print(&out, &x);
        if (out.len != len || memcmp(out.buf, text, len) != 0)
            abort();
    } else if (cache_mount_head_parse(&h, text, len, NULL) == 0) {
        cache_mount_head_print(&out, &h);
        if (cache_mount_head_parse(&again, out.buf, out.len, NULL) < 0 || h.created != again.created)
            abort();
    }
}
