/* SPDX-License-Identifier: Apache-2.0 */
/* SOURCE_DATE_EPOCH: a number of seconds, or `context`: the time of the commit that the context is a checkout of, else
 * of the newest file in it that is not ignored. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/internal.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/proc.h"
#include "util/timeutil.h"

static int parse(const char *text, int64_t *out, struct cb_error *err)
{
    uint64_t v = 0;
    if (!cb_parse_u64(text, INT64_MAX / CB_SECOND, &v))
        return cb_error_set(err, CB_EUSAGE, "SOURCE_DATE_EPOCH=%s is neither a number of seconds nor `context`", text);
    *out = (int64_t)v;
    return 0;
}

static int commit_time(const char *context, const struct cb_cancel *cancel, int64_t *out, struct cb_error *err)
{
    const char *const argv[] = { "git", "-C", context, "-c", "core.fsmonitor=false", "-c", "safe.directory=*", "log",
                                 "-1", "--no-show-signature", "--format=%ct", NULL };
    struct cb_proc_spec spec = { .argv = argv, .cancel = cancel };
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    int r = cb_proc_run(&spec, &res, err);
    if (r < 0)
        return cb_error_wrap(err, "SOURCE_DATE_EPOCH=context: %s is a git checkout", context);
    struct cb_slice line = cb_slice_trim((struct cb_slice){ res.out.buf, res.out.len });
    cb_autofree char *text = cb_strndup(line.ptr, line.len);
    if (res.status)
        return cb_error_set(err, CB_ELOCAL, "SOURCE_DATE_EPOCH=context: git log in %s fails with status %d", context,
                            res.status);
    return parse(text, out, err);
}

/* ---- the newest file ---- */

struct walk {
    const struct cb_df_ignore *ignore;
    struct cb_strbuf path;
    int64_t newest;
    unsigned depth;
};

static int walk_dir(struct walk *w, int fd, struct cb_error *err);

static int walk_entry(struct walk *w, int dirfd, const char *name, struct cb_error *err)
{
    struct stat st;
    bool ignored = cb_df_ignored(w->ignore, w->path.buf);
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", w->path.buf);
    if (!ignored)
        w->newest = CB_MAX(w->newest, (int64_t)st.st_mtime);
    if (!S_ISDIR(st.st_mode) || (ignored && !cb_df_ignore_may_reinclude(w->ignore, w->path.buf)))
        return 0;
    int fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "%s", w->path.buf) : walk_dir(w, fd, err);
}

static int walk_dir(struct walk *w, int fd, struct cb_error *err)
{
    size_t len = w->path.len;
    DIR *d = ++w->depth > CB_MAX_TREE_DEPTH ? NULL : fdopendir(fd);
    int r = 0;
    if (!d) {
        close(fd);
        return cb_error_set(err, CB_ELOCAL, "%s: too deep", w->path.buf);
    }
    for (struct dirent *e; r == 0 && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        cb_strbuf_addf(&w->path, "%s%s", len ? "/" : "", e->d_name);
        r = walk_entry(w, dirfd(d), e->d_name, err);
        cb_strbuf_setlen(&w->path, len);
    }
    closedir(d);
    w->depth--;
    return r;
}

static int newest_time(int context_fd, const struct cb_df_ignore *ignore, int64_t *out, struct cb_error *err)
{
    struct walk w = { .ignore = ignore, .path = CB_STRBUF_INIT };
    int fd = openat(context_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read the build context");
    int r = walk_dir(&w, fd, err);
    cb_strbuf_done(&w.path);
    *out = w.newest;
    return r;
}

/* A repository that was fetched has the times of its commit on its files. */
static int context_time(const struct cb_build *b, int context_fd, const struct cb_df_ignore *ignore, int64_t *out,
                        struct cb_error *err)
{
    struct stat st;
    bool checkout = !cb_build_fetches(b->o) && fstatat(context_fd, ".git", &st, AT_SYMLINK_NOFOLLOW) == 0;
    return checkout ? commit_time(b->o->context, b->env->cancel, out, err)
                    : newest_time(context_fd, ignore, out, err);
}

/* An option, then --build-arg, then the environment. */
static const char *epoch_text(const struct cb_build_options *o)
{
    const char *text = o->epoch;
    if (!text && o->build_args)
        text = cb_env_get(o->build_args, "SOURCE_DATE_EPOCH");
    if (!text)
        text = getenv("SOURCE_DATE_EPOCH");
    return text && *text ? text : NULL;
}

int cb_build_check_epoch(struct cb_build *b, struct cb_error *err)
{
    const char *text = epoch_text(b->o);
    return !text || !strcmp(text, "context") ? 0 : parse(text, &b->epoch, err);
}

int cb_build_context_epoch(struct cb_build *b, int context_fd, const struct cb_df_ignore *ignore, struct cb_error *err)
{
    const char *text = epoch_text(b->o);
    return text && !strcmp(text, "context") ? context_time(b, context_fd, ignore, &b->epoch, err) : 0;
}
