/* SPDX-License-Identifier: Apache-2.0 */
/* An entry as a helper sends it, which a hostile layer may have taken over: what is taken is in normal form, within all
 * limits, and has no other form. One parser is used again, as a reader does. */
#include "layer/toc.h"
#include "tests/fuzz/fuzz.h"
#include "util/limits.h"
#include "util/path.h"

static void check_entry(const struct cb_entry *e)
{
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = strlen(e->path);
    if (n == 0 || n > CB_MAX_PATH || !cb_path_normalize(&normal, e->path, n) || strcmp(normal.buf, e->path) != 0)
        abort();
    if (e->mode > 07777 || e->size > INT64_MAX || e->n_xattrs > CB_MAX_XATTRS)
        abort();
    bool links = e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_HARDLINK;
    if (links != (e->link != NULL) || (links && strlen(e->link) > CB_MAX_PATH))
        abort();
}

FUZZ_TARGET(entry)
{
    CB_AUTO(cb_entry_parser_free) struct cb_entry_parser *p = cb_entry_parser_new();
    for (int again = 0; again < 2; again++) {
        struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
        const struct cb_entry *e = NULL;
        if (cb_entry_parse(p, text, len, &e, NULL) < 0)
            continue;
        check_entry(e);
        cb_entry_print(&out, e);
        if (out.len != len || memcmp(out.buf, text, len) != 0)
            abort();
    }
}
