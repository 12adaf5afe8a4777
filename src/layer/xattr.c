/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/xattr.h"

#include <errno.h>
#include <sys/xattr.h>

#include "util/alloc.h"

bool cb_xattr_allowed(const char *name)
{
    if (cb_streq(name, "security.capability"))
        return true;
    return cb_starts_with(name, "user.") && name[5] && !cb_starts_with(name, "user.overlay.") &&
           !cb_starts_with(name, "user.containers.") && !cb_starts_with(name, "user.fuseoverlayfs.");
}

void cb_xattrs_done(struct cb_xattrs *x)
{
    for (size_t i = 0; i < x->n; i++)
        free((void *)(uintptr_t)x->v[i].value);
    x->n = 0;
    cb_strbuf_done(&x->names);
}

static int cmp_names(const void *a, const void *b)
{
    return strcmp(((const struct cb_xattr *)a)->name, ((const struct cb_xattr *)b)->name);
}

static int get_value(struct cb_xattrs *x, int fd, const char *name)
{
    ssize_t size = fgetxattr(fd, name, NULL, 0);
    if (size < 0)
        return errno == ENODATA ? 0 : -1;
    if ((size_t)size > CB_MAX_XATTR_VALUE || x->n == CB_MAX_XATTRS) {
        errno = E2BIG;
        return -1;
    }
    void *value = cb_malloc((size_t)size + 1);
    ssize_t got = fgetxattr(fd, name, value, (size_t)size);
    if (got < 0) {
        free(value);
        return -1;
    }
    x->v[x->n++] = (struct cb_xattr){ name, value, (size_t)got };
    return 0;
}

int cb_xattrs_read(struct cb_xattrs *x, int fd)
{
    ssize_t size = flistxattr(fd, NULL, 0);
    if (size <= 0)
        return size == 0 || errno == ENOTSUP ? 0 : -1;
    cb_strbuf_reserve(&x->names, (size_t)size);
    size = flistxattr(fd, x->names.buf, (size_t)size);
    if (size < 0)
        return -1;
    cb_strbuf_setlen(&x->names, (size_t)size);
    for (const char *p = x->names.buf; p < x->names.buf + size; p += strlen(p) + 1)
        if (cb_xattr_allowed(p) && get_value(x, fd, p) < 0)
            return -1;
    qsort(x->v, x->n, sizeof *x->v, cmp_names);
    return 0;
}
