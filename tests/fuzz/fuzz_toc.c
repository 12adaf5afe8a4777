/* SPDX-License-Identifier: Apache-2.0 */
/* A table of contents, from a registry: what follows the magic, its checksum made right. One table has one form. */
#include "layer/toc.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(toc)
{
    struct cb_strbuf in cb_cleanup_strbuf = CB_STRBUF_INIT, out cb_cleanup_strbuf = CB_STRBUF_INIT;
    CB_AUTO(cb_toc_unref) struct cb_toc *t = NULL;
    struct cb_digest sum;
    cb_strbuf_add(&in, "cbtoc\0\0\1", 8);
    cb_strbuf_add(&in, text, len);
    cb_digest_of(&sum, in.buf, in.len);
    cb_strbuf_add(&in, sum.raw, 32);
    if (cb_toc_parse(&t, in.buf, in.len, NULL) < 0)
        return;
    cb_toc_print(&out, t);
    if (out.len != in.len || memcmp(out.buf, in.buf, in.len) != 0)
        abort();
}
