/* SPDX-License-Identifier: Apache-2.0 */
/* Who reads: this process, or what somebody put in its place. */
#include "layer/reader_priv.h"

static const struct cb_layer_elsewhere *elsewhere;

void cb_layer_read_elsewhere(const struct cb_layer_elsewhere *e)
{
    elsewhere = e;
}

const struct cb_layer_elsewhere *cb_layer_elsewhere(void)
{
    return elsewhere;
}

struct cb_layer_reader *cb_layer_reader_new(const struct cb_layer_read_options *o, struct cb_error *err)
{
    /* A copy of the bytes is what other processes do not give. */
    bool apart = elsewhere && o->plain_fd <= 0;
    struct cb_layer_reader *r = apart ? elsewhere->reader(o, err) : cb_layer_reader_here(o, err);
    if (!r)
        return NULL;
    r->span = cb_span_begin_apart("read", "read layer");
    cb_span_text(&r->span, "where", apart ? "in a process of its own" : "here");
    return r;
}

void cb_layer_reader_free(struct cb_layer_reader *r)
{
    if (!r)
        return;
    cb_span_end(&r->span);
    r->ops->free(r);
}

int cb_layer_reader_next(struct cb_layer_reader *r, const struct cb_entry **e, struct cb_error *err)
{
    return r->ops->next(r, e, err);
}

int cb_layer_reader_read(struct cb_layer_reader *r, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    return r->ops->read(r, buf, n, got, err);
}

int cb_layer_reader_finish(struct cb_layer_reader *r, const struct cb_digest *expect, struct cb_digest *diff_id,
                           uint64_t *size, struct cb_toc **toc, struct cb_error *err)
{
    struct cb_layer_read_result res = { .want_toc = toc != NULL };
    int code = r->ops->finish(r, expect, &res, err);
    if (code < 0)
        return code;
    cb_span_number(&r->span, "bytes", res.size);
    if (diff_id)
        *diff_id = res.diff_id;
    if (size)
        *size = res.size;
    if (toc)
        *toc = res.toc;
    return 0;
}

int cb_layer_check_diff_id(const struct cb_digest *expect, const struct cb_digest *is, struct cb_error *err)
{
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    if (!expect || cb_digest_eq(expect, is))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "unpacked layer is %s, not %s as promised", cb_digest_text(is, a),
                        cb_digest_text(expect, b));
}
