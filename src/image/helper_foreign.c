/* SPDX-License-Identifier: Apache-2.0 */
/* cbpush's side of a helper that reads a table of another format: it may ask for some pieces of the blob. */
#include "image/helper.h"

#define MAX_RANGES 256 /* each is a request over the network */

struct foreign {
    struct cb_helper_link link;
    const struct cb_foreign_work *w;
    unsigned ranges;
};

static int answer_range(struct foreign *f, struct cb_error *err)
{
    const struct cb_helper_message *m = f->link.m;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_strbuf bytes cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_helper_range range;
    if (!f->w->users || m->head.n != sizeof range || ++f->ranges > MAX_RANGES)
        return cb_helper_no_sense(err);
    memcpy(&range, m->payload, sizeof range);
    if (range.len == 0 || range.len > CB_MAX_FOREIGN_PART)
        return cb_helper_no_sense(err);
    int r = f->w->users->read(f->w->users->arg, range.offset, range.len, &bytes, &e);
    if (r == -CB_ECANCELED)
        return cb_error_move(err, &e);
    return r < 0 ? cb_helper_link_answer_error(&f->link, &e, err) : cb_helper_link_answer(&f->link, &bytes, -1, err);
}

static int take_message(struct foreign *f, struct cb_layer_read_result *res, struct cb_error *err)
{
    switch ((enum cb_helper_type)f->link.m->head.type) {
    case CB_HELPER_RANGE:
        return answer_range(f, err);
    case CB_HELPER_DONE:
        return cb_helper_link_take_done(&f->link, NULL, res, err);
    default:
        return cb_helper_link_take(&f->link, err);
    }
}

static int converse(struct foreign *f, struct cb_layer_read_result *res, struct cb_error *err)
{
    struct cb_helper_link *l = &f->link;
    int r = 0;
    while (r == 0 && !l->done) {
        r = cb_helper_link_hear(l, err);
        if (r > 0)
            r = take_message(f, res, err);
        else if (r == 0)
            r = l->gone ? cb_helper_blame(cb_helper_link_end(l), err) : cb_helper_link_step(l, -1, err);
    }
    return r;
}

int cb_helper_foreign_table(const struct cb_foreign_work *w, struct cb_toc **out, struct cb_error *err)
{
    static const int no_more[] = { -1 };
    const struct cb_helper_job job = { .kind = CB_HELPER_FOREIGN, .place = w->place, .users = w->users != NULL };
    cb_autosource struct cb_blob_source *raw = cb_blob_source_from_mem(w->raw.ptr, w->raw.len);
    struct foreign f = { .w = w };
    struct cb_layer_read_result res = { .want_toc = true };
    cb_helper_link_init(&f.link, raw, w->cancel);
    int r = cb_helper_link_start(&f.link, &job, no_more, err);
    if (r == 0)
        r = converse(&f, &res, err);
    (void)cb_helper_link_end(&f.link);
    cb_helper_link_done(&f.link);
    *out = res.toc;
    return r;
}
