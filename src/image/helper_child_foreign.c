/* SPDX-License-Identifier: Apache-2.0 */
/* A helper that reads a table of another format: what it inflates to, JSON, and the user databases that it names. */
#include "image/helper_child.h"

static int ask_range(void *arg, uint64_t offset, uint64_t len, struct cb_strbuf *out, struct cb_error *err)
{
    struct cb_helper_self *h = arg;
    const struct cb_helper_range range = { offset, len };
    cb_autoclose int fd = -1;
    cb_helper_tell(h, (struct cb_helper_head){ .type = CB_HELPER_RANGE, .n = sizeof range }, &range);
    return cb_helper_hear_answer(h, out, &fd, err);
}

int cb_helper_tell_foreign(struct cb_helper_self *h, struct cb_blob_source *source, struct cb_error *err)
{
    struct cb_strbuf raw = CB_STRBUF_INIT;
    const struct cb_foreign_reader users = { ask_range, h };
    struct cb_foreign_work w = { .place = h->job->place, .users = h->job->users ? &users : NULL };
    struct cb_unpack_result res = { 0 };
    int r = cb_blob_read_all(source, CB_MAX_FOREIGN_TOC, &raw, err);
    if (r < 0)
        return r;
    w.raw = (struct cb_slice){ raw.buf, raw.len };
    res.size = raw.len;
    cb_digest_of(&res.diff_id, raw.buf ? raw.buf : "", raw.len);
    r = cb_foreign_table_here(&w, &res.toc, err);
    if (r == 0)
        cb_helper_tell_result(h, &res);
    return r;
}
