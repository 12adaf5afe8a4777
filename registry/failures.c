/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

void reg_failures_add(struct reg_failures *f, const char *host, struct cb_error *e)
{
    if (f->n++ == 0) {
        f->first_host = cb_strdup(host);
        (void)cb_error_copy(&f->first, e);
    }
    (void)cb_error_move(&f->last, e);
}

int reg_failures_tell(const struct reg_failures *f, struct cb_error *err)
{
    if (f->n == 0)
        return cb_error_set(err, CB_EINTERNAL, "no registry to ask");
    int s = cb_error_copy(err, &f->last);
    if (f->n == 1 || !err)
        return s;
    struct cb_error both cb_cleanup_error = CB_ERROR_INIT;
    cb_error_set(&both, f->last.code, "%s (before that, %s: %s)", cb_error_text(&f->last), f->first_host,
                 cb_error_text(&f->first));
    both.http_status = f->last.http_status;
    both.sys_errno = f->last.sys_errno;
    return cb_error_move(err, &both);
}

void reg_failures_done(struct reg_failures *f)
{
    cb_error_done(&f->first);
    cb_error_done(&f->last);
    free(f->first_host);
    *f = (struct reg_failures){ 0 };
}
