/* SPDX-License-Identifier: Apache-2.0 */
/* Whether something that is compressed is an archive: found out by a helper, of as much of it as that takes. */
#include "image/helper.h"

static int take_message(struct cb_helper_link *l, bool *is_one, struct cb_error *err)
{
    const struct cb_helper_head *head = &l->m->head;
    if (head->type != CB_HELPER_VERDICT)
        return cb_helper_link_take(l, err);
    if (!l->ready || head->value > 1)
        return cb_helper_no_sense(err);
    *is_one = head->value == 1;
    l->done = true;
    return 0;
}

static int ask(struct cb_helper_link *l, bool *is_one, struct cb_error *err)
{
    static const int no_more[] = { -1 };
    int r = cb_helper_link_start(l, &(struct cb_helper_job){ .kind = CB_HELPER_PROBE }, no_more, err);
    while (r == 0 && !l->done) {
        r = cb_helper_link_hear(l, err);
        if (r > 0)
            r = take_message(l, is_one, err);
        else if (r == 0)
            r = l->gone ? cb_helper_blame(cb_helper_link_end(l), err) : cb_helper_link_step(l, -1, err);
    }
    return r;
}

int cb_helper_begins_archive(struct cb_blob_source *src, struct cb_error *err)
{
    struct cb_helper_link l CB_CLEANUP(cb_helper_link_done);
    bool is_one = false;
    cb_helper_link_init(&l, src, NULL);
    int r = ask(&l, &is_one, err);
    (void)cb_helper_link_end(&l);
    if (r < 0)
        cb_error_wrap(err, "find out whether it is an archive");
    return r < 0 ? r : is_one;
}
