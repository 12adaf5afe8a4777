/* SPDX-License-Identifier: Apache-2.0 */
/* An entry as a helper sends it, which a hostile layer may have taken over: what is taken is in normal form, within all
 * limits, and has no other form. One parser is used again, as a reader does. */
#include "tests/fuzz/entry_check.h"

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
