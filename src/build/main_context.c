/* SPDX-License-Identifier: Apache-2.0 */
/* The main context and the named ones that are directories, as something that can be opened. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/failed.h"
#include "build/internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/path.h"

void cb_main_context_done(struct cb_main_context *c)
{
    cb_close_p(&c->fd);
    cb_strbuf_done(&c->dockerfile);
    cb_store_tmp_done(&c->tmp);
    free(c->uri);
    free(c->commit);
}

int cb_slurp_at(int dirfd, const char *path, size_t max, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_openat(dirfd, path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_IN_ROOT);
    struct stat st;
    if (fd < 0)
        return cb_error_sys(err, fd == -ENOENT ? CB_ENOTFOUND : CB_ECONF, -fd, "%s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_ECONF, "%s is not a regular file", path);
    if (cb_fd_slurp(fd, max, out, err) < 0) {
        if (err)
            err->code = CB_ECONF;
        cb_error_wrap(err, "%s", path);
        return -CB_ECONF;
    }
    return 0;
}

/* Looked at although nothing may take it: a path that is mistyped would be a base that is silently another one's. */
static int check_directory(const char *what, const char *path, struct cb_error *err)
{
    static const char *const schemes[] = { "docker-image:", "oci-layout:" };
    struct stat st;
    if (stat(path, &st) == 0)
        return S_ISDIR(st.st_mode) ? 0 : cb_error_set(err, CB_EUSAGE, "%s: %s is no directory", what, path);
    int r = cb_error_sys(err, CB_EUSAGE, errno, "%s: %s", what, path);
    for (size_t i = 0; i < CB_COUNTOF(schemes); i++)
        if (cb_starts_with(path, schemes[i]))
            cb_error_append(err, " (or is %s//%s meant?)", schemes[i], path + strlen(schemes[i]));
    return r;
}

int cb_context_check(const char *what, const char *value, bool named, struct cb_error *err)
{
    struct cb_git_ref g cb_cleanup_git_ref = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *scheme = cb_url_scheme(value);
    if (cb_git_is_ref(value, true))
        return cb_git_ref_parse(&g, value, &e) < 0 ? cb_error_set(err, CB_EUSAGE, "%s: %s", what, cb_error_text(&e))
                                                   : 0;
    if (!scheme && named)
        return check_directory(what, value, err);
    if (!scheme || cb_url_is_http(value) ||
        (named && (!strcmp(scheme, "docker-image") || !strcmp(scheme, "oci-layout"))))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "%s: %s:// is not known: a directory, http, https, git, ssh%s", what, scheme,
                        named ? ", docker-image or oci-layout" : "");
}

/* ---- fetching ---- */

/* A file without a name in ours. */
static int spool(const struct cb_main_context *c, int *fd, struct cb_error *err)
{
    struct cb_tmpfile t cb_cleanup_tmpfile = CB_TMPFILE_INIT;
    int r = cb_tmpfile_open(&t, c->tmp.fd, 0600, err);
    if (r < 0)
        return r;
    *fd = fcntl(t.fd, F_DUPFD_CLOEXEC, 3);
    return *fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor") : 0;
}

/* Bytes that are an archive of the context, or else the Dockerfile. */
static int take_file(const struct cb_build_env *env, struct cb_main_context *c, int file, struct cb_error *err)
{
    c->fd = cb_path_openat(c->tmp.fd, "fs", O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (c->fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -c->fd, "open the directory of the context");
    int archive = cb_layer_is_archive(file, err);
    if (archive < 0)
        return archive;
    if (archive) {
        int fd = fcntl(file, F_DUPFD_CLOEXEC, 3);
        if (fd < 0)
            return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
        return cb_image_unpack_tar(cb_blob_source_from_fd(fd, 0, UINT64_MAX), c->fd, env->cancel, err);
    }
    c->is_dockerfile = true;
    if (lseek(file, 0, SEEK_SET) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "read it again");
    if (cb_fd_slurp(file, CB_MAX_DOCKERFILE, &c->dockerfile, err) == 0)
        return 0;
    return cb_error_set(err, CB_ECONF, "it is no tar archive, and as a Dockerfile too large");
}

static int from_stdin(const struct cb_build_env *env, struct cb_main_context *c, struct cb_error *err)
{
    struct cb_input input = { STDIN_FILENO, env->cancel };
    cb_autoclose int file = -1;
    uint64_t n = 0;
    int r = spool(c, &file, err);
    if (r == 0)
        r = cb_input_copy(&input, file, CB_MAX_DOWNLOAD, &n, err);
    if (r == 0 && n == CB_MAX_DOWNLOAD)
        r = cb_error_set(err, CB_EVERIFY, "it is too large");
    if (r == 0 && n == 0)
        r = cb_error_set(err, CB_ECONF, "it is empty");
    return r < 0 ? r : take_file(env, c, file, err);
}

static int from_http(const struct cb_fetcher *f, const char *url, struct cb_step *step, struct cb_main_context *c,
                     struct cb_error *err)
{
    struct cb_http_fetched got cb_cleanup_http_fetched = { 0 };
    cb_autoclose int file = -1;
    cb_autofree char *bare = cb_strndup(url, strcspn(url, "#"));
    int r = spool(c, &file, err);
    struct cb_http_fetch o = { .url = bare, .step = step, .fd = file };
    if (r == 0)
        r = cb_http_fetch(f, &o, &got, err);
    if (r < 0)
        return r;
    c->uri = cb_url_told(bare);
    c->digest = got.digest;
    return take_file(f->env, c, file, err);
}

static int from_git(const struct cb_fetcher *f, const struct cb_build_options *o, struct cb_step *step,
                    struct cb_main_context *c, struct cb_error *err)
{
    struct cb_git_ref g cb_cleanup_git_ref = { 0 };
    struct cb_git_tree tree = { .fd = -1 };
    int r = cb_git_ref_parse(&g, o->context, err);
    if (r < 0)
        return r;
    g.keep_git_dir = g.keep_git_dir || o->keep_git_dir;
    cb_autofree char *commit = cb_git_resolve(f, &g, step, NULL, err);
    r = commit ? cb_git_checkout(f, &g, commit, &c->tmp, &tree, err) : cb_failed(err);
    c->fd = tree.fd;
    if (r == 0 && tree.left_out)
        cb_step_warn(step, "%s has submodules, which are not fetched: add ?submodules=true", g.url);
    c->uri = cb_git_told(&g);
    c->commit = CB_TAKE(commit);
    return r;
}

static int fetch(const struct cb_fetcher *f, const struct cb_build_options *o, struct cb_step *step,
                 struct cb_main_context *c, struct cb_error *err)
{
    const char *context = o->context;
    int r = cb_store_tmp_new(f->env->store, "context", &c->tmp, err);
    if (r < 0)
        return r;
    if (!strcmp(context, "-")) {
        r = from_stdin(f->env, c, err);
        return r < 0 ? cb_error_wrap(err, "the context on standard input") : 0;
    }
    return cb_git_is_ref(context, true) ? from_git(f, o, step, c, err)
                                        : from_http(f, context, step, c, err);
}

/* github.com/owner/repo may be a directory too, which then is meant. */
static bool is_remote(const char *context)
{
    struct stat st;
    if (!strcmp(context, "-") || cb_url_is_http(context))
        return true;
    return cb_git_is_ref(context, true) && (strstr(context, "://") || stat(context, &st) < 0);
}

bool cb_build_fetches(const struct cb_build_options *o)
{
    return is_remote(o->context) || (o->dockerfile && cb_url_is_http(o->dockerfile));
}

int cb_main_context_open(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_main_context *out,
                         struct cb_error *err)
{
    if (!is_remote(o->context)) {
        out->fd = open(o->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        return out->fd < 0 ? cb_error_sys(err, CB_EUSAGE, errno, "build context %s", o->context) : 0;
    }
    if (!env)
        return cb_error_set(err, CB_EUSAGE, "%s: only files and directories of this machine are looked at", o->context);
    struct cb_fetcher f = cb_fetcher_of(env, o);
    struct cb_step *step = cb_step_new(env->progress, "[internal] load remote build context");
    out->remote = true;
    cb_step_begin(step);
    int r = fetch(&f, o, step, out, err);
    if (r == 0 && out->is_dockerfile && o->dockerfile)
        r = cb_error_set(err, CB_EUSAGE, "the context is a Dockerfile itself, and -f names another one");
    if (r < 0)
        cb_step_error(step, cb_error_text(err));
    else
        cb_step_done(step);
    return r;
}

int cb_dockerfile_fetch(const struct cb_fetcher *f, const char *url, struct cb_strbuf *out, struct cb_error *err)
{
    struct cb_main_context c = CB_MAIN_CONTEXT_INIT;
    struct cb_http_fetched got cb_cleanup_http_fetched = { 0 };
    cb_autoclose int file = -1;
    int r = cb_store_tmp_new(f->env->store, "dockerfile", &c.tmp, err);
    if (r == 0)
        r = spool(&c, &file, err);
    struct cb_http_fetch o = { .url = url, .fd = file };
    if (r == 0)
        r = cb_http_fetch(f, &o, &got, err);
    if (r == 0 && (got.size > CB_MAX_DOCKERFILE || lseek(file, 0, SEEK_SET) < 0))
        r = cb_error_set(err, CB_ECONF, "-f: it is larger than %u bytes", CB_MAX_DOCKERFILE);
    if (r == 0)
        r = cb_fd_slurp(file, CB_MAX_DOCKERFILE, out, err);
    cb_main_context_done(&c);
    return r;
}

/* ---- named contexts ---- */

static int open_local(struct cb_plan_local *l, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autoclose int fd = open(l->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_EUSAGE, errno, "%s", l->path);
    int r = cb_slurp_at(fd, ".dockerignore", CB_MAX_DOCKERIGNORE, &text, err);
    if (r < 0 && r != -CB_ENOTFOUND)
        return r;
    if (r == 0 && !(l->ignore = cb_df_ignore_parse(".dockerignore", text.buf, text.len, err)))
        return cb_failed(err);
    l->context = cb_context_from_fd(CB_TAKE_FD(fd), l->ignore);
    return 0;
}

int cb_named_contexts_open(struct cb_plan *plan, struct cb_store *store, bool stats, struct cb_error *err)
{
    for (size_t i = 0; i < plan->n_locals; i++) {
        int r = open_local(plan->locals[i], err);
        if (r < 0) {
            cb_error_wrap(err, "--build-context %s", plan->locals[i]->name);
            return r;
        }
        cb_context_leave_out(plan->locals[i]->context, store);
        if (stats)
            cb_context_remember(plan->locals[i]->context, store);
    }
    return 0;
}
