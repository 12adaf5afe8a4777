/* SPDX-License-Identifier: Apache-2.0 */
#include "build/materialize.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"

static char *place_of(const struct cb_materialize *o, const char *rel)
{
    if (!*rel)
        return cb_strdup(*o->name ? o->name : ".");
    return *o->name ? cb_asprintf("%s/%s", o->name, rel) : cb_strdup(rel);
}

static int copy_file(const struct cb_materialize *o, const struct cb_item *it, uint64_t size, const char *to,
                     struct cb_error *err)
{
    cb_autoclose int in = -1;
    uint64_t copied = 0;
    cb_autoclose int out = openat(o->dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s", to);
    int r = o->open(o->arg, it, &in, err);
    if (r == 0)
        r = cb_fd_copy(in, out, UINT64_MAX, &copied, err);
    if (r == 0 && copied != size)
        r = cb_error_set(err, CB_ELOCAL, "%s changed while it was being read", it->rel);
    return r;
}

static int make_node(const struct cb_materialize *o, const struct cb_entry *e, const char *to, bool *made)
{
    int r = 0;
    switch (e->type) {
    case CB_ENTRY_DIR:
        r = *o->name || strcmp(to, ".") ? mkdirat(o->dir, to, 0700) : 0;
        break;
    case CB_ENTRY_SYMLINK:
        r = symlinkat(e->link, o->dir, to);
        break;
    case CB_ENTRY_FIFO:
        r = mkfifoat(o->dir, to, 0600);
        break;
    case CB_ENTRY_CHAR:
    case CB_ENTRY_BLOCK:
        r = mknodat(o->dir, to, e->type == CB_ENTRY_CHAR ? S_IFCHR : S_IFBLK, makedev(e->dev_major, e->dev_minor));
        if (r < 0 && errno == EPERM) {
            *made = false;
            return 0;
        }
        break;
    default:
        *made = false;
    }
    return r < 0 ? -errno : 0;
}

static int set_attributes(const struct cb_materialize *o, const struct cb_entry *e, const char *to,
                          struct cb_error *err)
{
    const struct timespec times[2] = { { .tv_sec = e->mtime }, { .tv_sec = e->mtime } };
    if (o->owners && fchownat(o->dir, to, e->uid, e->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "owner %u:%u of %s", e->uid, e->gid, to);
    if (e->type != CB_ENTRY_SYMLINK && fchmodat(o->dir, to, e->mode, 0) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "mode of %s", to);
    if (utimensat(o->dir, to, times, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "time of %s", to);
    return 0;
}

static int make_item(const struct cb_materialize *o, const struct cb_item *it, struct cb_error *err)
{
    cb_autofree char *to = place_of(o, it->rel);
    struct cb_entry e;
    bool made = true;
    cb_item_entry(it, &e);
    if (e.type == CB_ENTRY_FILE) {
        int r = copy_file(o, it, e.size, to, err);
        return r < 0 ? r : set_attributes(o, &e, to, err);
    }
    int r = make_node(o, &e, to, &made);
    if (r < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "create %s", to);
    return made && e.type != CB_ENTRY_DIR ? set_attributes(o, &e, to, err) : 0;
}

static int link_item(const struct cb_materialize *o, const struct cb_item *it, struct cb_error *err)
{
    cb_autofree char *to = place_of(o, it->rel), *from = place_of(o, it->link);
    return linkat(o->dir, from, o->dir, to, 0) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "link %s", to) : 0;
}

/* Links name what is there already; the attributes of a directory come when nothing is made in it any more. */
int cb_materialize(const struct cb_materialize *o, struct cb_error *err)
{
    const struct cb_match *m = o->match;
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n; i++) {
        r = cb_cancel_check(o->cancel, err);
        if (r == 0)
            r = make_item(o, m->items[i], err);
    }
    for (size_t i = 0; r == 0 && i < m->n; i++)
        if (m->items[i]->type == CB_ENTRY_HARDLINK)
            r = link_item(o, m->items[i], err);
    for (size_t i = m->n; r == 0 && i-- > 0;) {
        cb_autofree char *to = place_of(o, m->items[i]->rel);
        struct cb_entry e;
        cb_item_entry(m->items[i], &e);
        if (e.type == CB_ENTRY_DIR)
            r = set_attributes(o, &e, to, err);
    }
    return r;
}
