/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "image/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/path.h"

/* umask(2) can only be read by setting it, which every thread would see. */
static mode_t read_umask(void)
{
    char buf[4096];
    uint32_t mask = 0;
    size_t n = 0;
    cb_autoclose int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || cb_fd_read_full(fd, buf, sizeof buf - 1, &n, NULL) < 0)
        return 0777;
    buf[n] = '\0';
    char *p = strstr(buf, "\nUmask:\t");
    if (!p)
        return 0777;
    p += 8;
    p[strcspn(p, "\n")] = '\0';
    return cb_parse_octal(p, 0777, &mask) ? (mode_t)mask : 0777;
}

int cb_unpack_init(struct cb_unpack *u, const struct cb_unpack_options *o, struct cb_error *err)
{
    *u = (struct cb_unpack){ .o = *o, .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    u->dirs = cb_hashmap_new();
    u->whiteouts = cb_hashmap_new();
    u->own = cb_hashmap_new();
    cb_unpack_marks_init(&u->marks);
    u->copies = cb_hashmap_new();
    u->buf = cb_malloc(CB_UNPACK_BUF);
    u->umask = read_umask();
    u->chown_all = geteuid() != 0 || getegid() != 0;
    u->at_fd = cb_path_openat(o->root_fd, "", O_PATH | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (u->at_fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -u->at_fd, "open the directory to unpack to");
    return 0;
}

static void free_dirs(struct cb_hashmap *m)
{
    size_t it = 0;
    const char *k;
    void *v;
    while (m && cb_hashmap_next(m, &it, &k, &v)) {
        struct cb_unpack_dir *d = v;
        free(d->path);
        free(d->xattrs);
        free(d);
    }
    cb_hashmap_free(m);
}

static void free_copies(struct cb_hashmap *m)
{
    size_t it = 0;
    const char *k;
    void *v;
    while (m && cb_hashmap_next(m, &it, &k, &v))
        free(v);
    cb_hashmap_free(m);
}

void cb_unpack_done(struct cb_unpack *u)
{
    free_dirs(u->dirs);
    free_copies(u->copies);
    cb_hashmap_free(u->whiteouts);
    cb_hashmap_free(u->own);
    cb_unpack_marks_done(&u->marks);
    cb_strbuf_done(&u->at);
    cb_strbuf_done(&u->at_real);
    cb_close_p(&u->at_fd);
    free(u->buf);
    *u = (struct cb_unpack){ .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
}

int cb_unpack_layer(struct cb_unpack *u, struct cb_layer_reader *reader, const struct cb_layer_intake *o,
                    struct cb_error *err)
{
    uint64_t done = 0, told = 0;
    const struct cb_entry *e = NULL;
    if (u && u->o.flat) {
        cb_hashmap_free(u->own);
        free_copies(u->copies);
        u->own = cb_hashmap_new();
        u->copies = cb_hashmap_new();
    }
    for (;;) {
        int r = cb_cancel_check(o->cancel, err);
        if (r < 0 || (r = cb_layer_reader_next(reader, &e, err)) < 0 || !e)
            return r;
        if (u && (r = cb_unpack_entry(u, e, reader, err)) < 0) {
            cb_error_wrap(err, "unpack %s", e->path);
            return r;
        }
        done += 512 + (e->type == CB_ENTRY_FILE ? e->size : 0);
        if (o->on_progress && done - told >= CB_UNPACK_BUF) {
            o->on_progress(o->arg, done);
            told = done;
        }
    }
}

/* ---- attributes of directories ---- */

static int deepest_first(const void *a, const void *b)
{
    const struct cb_unpack_dir *const *x = a, *const *y = b;
    return cb_entry_path_cmp((*y)->path, (*x)->path);
}

/* Whether what lower layers have there is hidden: by what this one says of it, or of a directory above. */
static bool is_hidden(const struct cb_unpack *u, const struct cb_unpack_dir *d)
{
    char path[CB_MAX_PATH + 1];
    snprintf(path, sizeof path, "%s", d->path);
    bool hidden = d->fresh;
    for (char *slash; !hidden && (slash = strrchr(path, '/')) != NULL;) {
        *slash = '\0';
        const struct cb_unpack_dir *above = cb_hashmap_get(u->dirs, path);
        hidden = above && (above->fresh || above->opaque);
    }
    return hidden;
}

static void inherit(struct cb_unpack *u, struct cb_unpack_dir *d)
{
    const struct cb_entry *e =
        d->listed || !u->o.lower || is_hidden(u, d) ? NULL : u->o.lower->ops->dir(u->o.lower, d->path);
    if (!e)
        return;
    d->mode = e->mode;
    d->uid = e->uid;
    d->gid = e->gid;
    d->mtime = CB_MIN(e->mtime, u->o.clamp_mtime);
}

static int finish_dir(struct cb_unpack *u, struct cb_unpack_dir *d, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_openat(u->o.root_fd, d->path, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open directory %s again", d->path);
    int r = 0;
    inherit(u, d);
    if (d->opaque && !u->o.flat)
        cb_strvec_push(&u->marks.opaque, d->path);
    if (d->path[0] == '\0' && !d->listed)
        return 0; /* the root, which layers seldom list */
    if (!u->o.single_id && (d->uid || d->gid || u->chown_all) && fchown(fd, d->uid, d->gid) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chown %s to %u:%u", d->path, d->uid, d->gid);
    if ((r = cb_unpack_xattrs(fd, d->xattrs, d->n_xattrs, err)) < 0)
        return r;
    if (fchmod(fd, d->mode & 07777) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "chmod %s", d->path);
    if (cb_unpack_times(fd, d->mtime) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "set the time of %s", d->path);
    return 0;
}

int cb_unpack_finish(struct cb_unpack *u, struct cb_error *err)
{
    size_t n = cb_hashmap_size(u->dirs), i = 0, it = 0;
    cb_autofree struct cb_unpack_dir **v = cb_reallocarray(NULL, n + 1, sizeof *v);
    const char *k;
    void *d;
    while (cb_hashmap_next(u->dirs, &it, &k, &d))
        v[i++] = d;
    if (n > 1)
        qsort(v, n, sizeof(struct cb_unpack_dir *), deepest_first);
    cb_unpack_forget_place(u);
    for (i = 0; i < n; i++) {
        int r = finish_dir(u, v[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}
