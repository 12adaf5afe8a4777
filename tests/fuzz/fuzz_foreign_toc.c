/* SPDX-License-Identifier: Apache-2.0 */
/* A table of contents of eStargz, or behind a \x01 of zstd:chunked: no crash, and what is taken is inside the layer. */
#include "layer/foreign_toc.h"
#include "tests/fuzz/fuzz.h"

static void check_parts(const struct cb_foreign_toc *t, const struct cb_entry *e, uint64_t limit)
{
    size_t n;
    const struct cb_foreign_part *p = cb_foreign_toc_parts(t, e->path, &n);
    uint64_t at = 0;
    for (size_t i = 0; i < n; i++) {
        if (p[i].at != at || p[i].end <= p[i].offset || p[i].end > limit)
            abort();
        at += p[i].size;
    }
    if (n && at != e->size)
        abort();
}

FUZZ_TARGET(foreign_toc)
{
    bool chunked = len && *text == 1;
    struct cb_foreign_place place = { .kind = chunked ? CB_FOREIGN_ZSTD_CHUNKED : CB_FOREIGN_ESTARGZ,
                                      .offset = 1 << 24 };
    CB_AUTO(cb_foreign_toc_free) struct cb_foreign_toc *t = NULL;
    if (cb_foreign_toc_parse(&place, text + chunked, len - chunked, &t, NULL) < 0)
        return;
    struct cb_toc *table = cb_foreign_toc_table(t), *again = NULL;
    struct cb_strbuf s cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < cb_toc_count(table); i++)
        check_parts(t, cb_toc_at(table, i), place.offset);
    cb_toc_print(&s, table);
    if (cb_toc_parse(&again, s.buf, s.len, NULL) < 0)
        abort();
    cb_toc_unref(again);
}
