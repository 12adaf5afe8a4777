/* SPDX-License-Identifier: Apache-2.0 */
/* Whether something that is compressed is an archive: found out by a helper, of as much of it as that takes. */
#include "image/helper.h"

static int ask(struct cb_helper_link *l, bool *is_one)
{
    static const int no_more[] = { -1 };
    int r = cb_helper_link_start(l, &(struct cb_helper_job){ .kind = CB_HELPER_PROBE }, no_more, NULL);
    while (r == 0 && !l->gone) {
        r = cb_helper_link_hear(l, NULL);
        if (r > 0 && l->m->head.type == CB_HELPER_VERDICT) {
            *is_one = l->ready && l->m->head.value == 1;
            return 0;
        }
        if (r != 0)
            r = r < 0 ? r : cb_helper_link_take(l, NULL);
        else if (!l->gone)
            r = cb_helper_link_step(l, -1, NULL);
    }
    return r;
}

bool cb_helper_begins_archive(struct cb_blob_source *src)
{
    struct cb_helper_link l CB_CLEANUP(cb_helper_link_done);
    bool is_one = false;
    cb_helper_link_init(&l, src, NULL);
    bool found = ask(&l, &is_one) == 0 && is_one;
    (void)cb_helper_link_end(&l);
    return found;
}
