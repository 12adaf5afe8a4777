/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/cmd.h"
#include "exec/exec.h"
#include "util/fd.h"

int cb_process_prepare(struct cb_process *p, const struct cb_verb *v, struct cb_error *err)
{
    enum cb_id_mode mode = CB_ID_REAL_ROOT;
    int r = v->userns ? cb_userns_enter(&mode, err) : 0;
    p->id_mode = (int)mode;
    if (r < 0)
        return r;
    cb_fd_raise_limit();
    p->cancel = cb_cancel_new(NULL);
    return cb_cancel_on_signals(p->cancel, err);
}
