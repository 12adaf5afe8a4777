/* SPDX-License-Identifier: Apache-2.0 */
#include "util/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <sys/statvfs.h>

#include "util/alloc.h"
#include "util/strbuf.h"

#define ROOM ((uint64_t)1 << 20) /* less is none: writes are of some size, and some blocks are the file system's own */

static atomic_int room_fd = -1;

static const char *code_text(enum cb_code code)
{
    switch (code) {
    case CB_OK:
        return "no error";
    case CB_ESTEP:
        return "a build step failed";
    case CB_EUSAGE:
        return "wrong usage";
    case CB_EAUTH:
        return "authentication failed or access denied";
    case CB_ENET:
        return "network or registry failure";
    case CB_ECONF:
        return "wrong configuration";
    case CB_ELOCAL:
        return "local resource failure";
    case CB_EVERIFY:
        return "verification failed";
    case CB_ENOTFOUND:
        return "not found";
    case CB_ECANCELED:
        return "interrupted";
    case CB_EINTERNAL:
        break;
    }
    return "internal error";
}

/* The new text may quote the old one, so the old one goes last. */
static void replace_message(struct cb_error *err, char *msg)
{
    free(err->msg);
    err->msg = msg;
}

static bool is_resource_errno(int e)
{
    return e == ENOSPC || e == EDQUOT || e == EMFILE || e == ENFILE || e == ENOMEM;
}

void cb_error_watch_room(int dirfd)
{
    atomic_store(&room_fd, dirfd);
}

void cb_error_forget_room(int dirfd)
{
    atomic_compare_exchange_strong(&room_fd, &dirfd, -1);
}

static bool has_no_room(int sys_errno)
{
    struct statvfs st;
    int fd = atomic_load(&room_fd);
    if ((sys_errno != ENOSPC && sys_errno != EDQUOT) || fd < 0 || fstatvfs(fd, &st) < 0)
        return false;
    return (uint64_t)st.f_bavail * st.f_frsize < ROOM || (st.f_files && !st.f_favail);
}

/* Of what no path or name of the message has to do with. */
static const char *remedy(int e)
{
    return e == EMFILE ? " (more are allowed by `ulimit -n`)" : e == ENOSYS ? " (Linux 5.12 or newer is needed)" : "";
}

void cb_error_done(struct cb_error *err)
{
    free(err->msg);
    *err = (struct cb_error)CB_ERROR_INIT;
}

int cb_error_set(struct cb_error *err, enum cb_code code, const char *fmt, ...)
{
    if (!err)
        return -(int)code;
    va_list ap;
    va_start(ap, fmt);
    char *msg = cb_vasprintf(fmt, ap);
    va_end(ap);
    replace_message(err, msg);
    err->code = code;
    err->sys_errno = err->http_status = err->exit_status = 0;
    err->no_room = false;
    return -(int)code;
}

void cb_error_note_errno(struct cb_error *err, int sys_errno)
{
    if (!err)
        return;
    err->sys_errno = sys_errno;
    err->no_room = has_no_room(sys_errno);
}

int cb_error_sys(struct cb_error *err, enum cb_code code, int sys_errno, const char *fmt, ...)
{
    if (is_resource_errno(sys_errno))
        code = CB_ELOCAL;
    if (!err)
        return -(int)code;
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *what = cb_vasprintf(fmt, ap);
    va_end(ap);
    char text[128];
    replace_message(err, cb_asprintf("%s: %s%s", what, strerror_r(sys_errno, text, sizeof text), remedy(sys_errno)));
    err->code = code;
    err->http_status = err->exit_status = 0;
    cb_error_note_errno(err, sys_errno);
    return -(int)code;
}

int cb_error_wrap(struct cb_error *err, const char *fmt, ...)
{
    if (!err || err->code == CB_OK)
        return -(int)CB_EINTERNAL;
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *context = cb_vasprintf(fmt, ap);
    va_end(ap);
    replace_message(err, cb_asprintf("%s: %s", context, cb_error_text(err)));
    return -(int)err->code;
}

void cb_error_append(struct cb_error *err, const char *fmt, ...)
{
    if (!err || err->code == CB_OK)
        return;
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *more = cb_vasprintf(fmt, ap);
    va_end(ap);
    replace_message(err, cb_asprintf("%s%s", cb_error_text(err), more));
}

int cb_error_move(struct cb_error *dst, struct cb_error *src)
{
    int r = -(int)src->code;
    if (!dst) {
        cb_error_done(src);
        return r;
    }
    if (dst == src)
        return r;
    free(dst->msg);
    *dst = *src;
    *src = (struct cb_error)CB_ERROR_INIT;
    return r;
}

int cb_error_copy(struct cb_error *dst, const struct cb_error *src)
{
    if (dst && dst != src) {
        free(dst->msg);
        *dst = *src;
        dst->msg = cb_strdup_or_null(src->msg);
    }
    return -(int)src->code;
}

const char *cb_error_text(const struct cb_error *err)
{
    return err->msg ? err->msg : code_text(err->code);
}

int cb_error_exit_code(const struct cb_error *err)
{
    switch (err->code) {
    case CB_ENOTFOUND:
        return err->http_status ? (int)CB_ENET : (int)CB_ECONF;
    case CB_ECANCELED:
        return 130;
    case CB_EINTERNAL:
        return 70;
    default:
        return (int)err->code;
    }
}
