/* SPDX-License-Identifier: Apache-2.0 */
#include "build/context_match.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/limits.h"
#include "util/path.h"

/* ---- links ---- */

static int read_link(int root, const char *path, char *buf)
{
    cb_autoclose int fd = cb_path_openat(root, path, O_PATH | O_NOFOLLOW, 0, CB_RESOLVE_NOFOLLOW);
    ssize_t n = fd < 0 ? fd : readlinkat(fd, "", buf, CB_MAX_PATH);
    if (n < 0)
        return fd < 0 ? fd : -errno;
    buf[n] = '\0';
    return 0;
}

static void go_up(struct cb_strbuf *at)
{
    const char *slash = strrchr(at->buf, '/');
    cb_strbuf_setlen(at, slash ? (size_t)(slash - at->buf) : 0);
}

/* One component onto `at`, which has no links; what a link says goes in front of *rest. 1: a link was followed. */
static int step(int root, struct cb_strbuf *at, struct cb_strbuf *rest, const char *component)
{
    char target[CB_MAX_PATH + 1];
    struct stat st;
    size_t keep = at->len;
    if (!*component || !strcmp(component, "."))
        return 0;
    if (!strcmp(component, "..")) {
        go_up(at);
        return 0;
    }
    cb_strbuf_addf(at, "%s%s", at->len ? "/" : "", component);
    int r = cb_path_lstat(root, at->buf, &st, CB_RESOLVE_NOFOLLOW);
    if (r < 0 || !S_ISLNK(st.st_mode))
        return r;
    r = read_link(root, at->buf, target);
    if (r < 0)
        return r;
    cb_autofree char *left = cb_strdup(rest->buf);
    cb_strbuf_setlen(at, *target == '/' ? 0 : keep);
    cb_strbuf_reset(rest);
    cb_strbuf_addf(rest, "%s/%s", target, left);
    return 1;
}

int cb_context_real(int fd, const char *path, struct cb_strbuf *out)
{
    struct cb_strbuf rest cb_cleanup_strbuf = CB_STRBUF_INIT;
    unsigned links = 0;
    cb_strbuf_reset(out);
    cb_strbuf_adds(&rest, path);
    while (rest.len) {
        cb_autofree char *component = cb_path_shift(&rest);
        int r = step(fd, out, &rest, component);
        if (r < 0)
            return r;
        links += (unsigned)r;
        if (links > CB_MAX_SYMLINKS)
            return -ELOOP;
    }
    return 0;
}

/* Whether a link in a directory of so many components leads above the root, or begins at the machine's. */
static bool leads_out(const char *target, int depth)
{
    if (*target == '/')
        return true;
    for (const char *p = target; *p && depth >= 0;) {
        size_t n = strcspn(p, "/");
        if (n == 2 && !strncmp(p, "..", 2))
            depth--;
        else if (n && !(n == 1 && *p == '.'))
            depth++;
        p += n + (p[n] == '/');
    }
    return depth < 0;
}

static int components(const char *path)
{
    int n = *path != '\0';
    for (const char *p = path; (p = strchr(p, '/')); p++)
        n++;
    return n;
}

/* The first link on the way of path that leads out of the context: " …" for the message, or "". */
static void tell_link(int fd, const char *path, struct cb_strbuf *out)
{
    struct cb_strbuf at cb_cleanup_strbuf = CB_STRBUF_INIT, rest cb_cleanup_strbuf = CB_STRBUF_INIT;
    char target[CB_MAX_PATH + 1];
    int r = 0;
    cb_strbuf_adds(&rest, path);
    for (unsigned links = 0; rest.len && r >= 0 && links <= CB_MAX_SYMLINKS; links += r > 0) {
        cb_autofree char *component = cb_path_shift(&rest);
        cb_autofree char *whole = cb_asprintf("%s%s%s", at.buf, at.len ? "/" : "", component);
        int depth = components(at.buf);
        r = step(fd, &at, &rest, component);
        if (r == 1 && read_link(fd, whole, target) == 0 && leads_out(target, depth)) {
            cb_strbuf_addf(out, "the symbolic link /%s leads out of it, to %s", whole, target);
            return;
        }
    }
}

int cb_context_absent(int fd, const struct cb_df_ignore *ignore, const char *source, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT, rule cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct stat st;
    bool there = cb_context_real(fd, source, &real) == 0 &&
                 cb_path_lstat(fd, real.buf, &st, CB_RESOLVE_NOFOLLOW) == 0;
    if (there && (cb_df_ignore_why(ignore, source, &rule) || cb_df_ignore_why(ignore, real.buf, &rule)))
        return cb_error_set(err, CB_ECONF, "\"/%s\": not found: left out of the build context by %s", source, rule.buf);
    if (there)
        return cb_error_set(err, CB_ECONF, "\"/%s\": not found: --exclude leaves it out, or it is behind a symbolic "
                                           "link, which --parents does not follow", source);
    cb_strbuf_reset(&rule);
    tell_link(fd, source, &rule);
    if (rule.len)
        return cb_error_set(err, CB_ECONF, "\"/%s\": not found in the build context: %s (--build-context NAME=DIR and "
                                           "COPY --from=NAME copy from another directory)", source, rule.buf);
    return cb_error_set(err, CB_ECONF, "\"/%s\": not found in the build context: paths are relative to it, and nothing "
                                       "outside can be copied", source);
}

/* ---- patterns ---- */

struct expand {
    int root;
    const struct cb_df_ignore *ignore;
    struct cb_strvec now;  /* paths that match the components so far */
};

static bool is_left_out(const struct cb_df_ignore *ignore, const char *path, bool is_dir)
{
    return cb_df_ignored(ignore, path) && !(is_dir && cb_df_ignore_may_reinclude(ignore, path));
}

/* Adds dir/name for each child of dir that one pattern component matches. Links are no directories here. */
static int match_children(const struct expand *x, const char *dir, const char *pattern, struct cb_strvec *out,
                          struct cb_error *err)
{
    int fd = cb_path_openat(x->root, dir, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
        return 0;
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d) {
        int r = cb_error_sys(err, CB_ELOCAL, fd < 0 ? -fd : errno, "read directory %s", *dir ? dir : ".");
        cb_close_p(&fd);
        return r;
    }
    int r = 0;
    for (struct dirent *de; r == 0 && (de = readdir(d));) {
        bool yes = false;
        if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        r = cb_df_match(pattern, de->d_name, &yes, err);
        if (r == 0 && yes)
            cb_strvec_pushf(out, "%s%s%s", dir, *dir ? "/" : "", de->d_name);
    }
    closedir(d);
    return r;
}

static int expand_component(struct expand *x, const char *component, struct cb_strvec *out, struct cb_error *err)
{
    int r = 0;
    bool wild = cb_df_has_wildcard(component) || strchr(component, '\\');
    for (size_t i = 0; r == 0 && i < x->now.n; i++) {
        const char *dir = x->now.v[i];
        struct stat st;
        if (*dir && is_left_out(x->ignore, dir, true))
            continue;
        if (wild) {
            r = match_children(x, dir, component, out, err);
            continue;
        }
        cb_autofree char *p = cb_asprintf("%s%s%s", dir, *dir ? "/" : "", component);
        if (cb_path_lstat(x->root, p, &st, CB_RESOLVE_NOFOLLOW) == 0)
            cb_strvec_push(out, p);
    }
    return r;
}

static int expand_all(struct expand *x, const char *pattern, struct cb_error *err)
{
    int r = 0;
    for (const char *p = pattern; r == 0 && *p;) {
        struct cb_strvec next cb_cleanup_strvec = CB_STRVEC_INIT;
        const char *end = strchrnul(p, '/');
        cb_autofree char *component = cb_strndup(p, (size_t)(end - p));
        r = expand_component(x, component, &next, err);
        struct cb_strvec old = x->now;
        x->now = next;
        next = old;
        p = *end ? end + 1 : end;
    }
    return r;
}

static int match_pattern(struct expand *x, const char *source, struct cb_strvec *out, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = cb_copy_plain_prefix(source);
    cb_autofree char *prefix = cb_strndup(source, n ? n - 1 : 0);
    struct stat st;
    if (cb_context_real(x->root, prefix, &real) < 0 || (n && is_left_out(x->ignore, prefix, true)))
        return cb_context_absent(x->root, x->ignore, prefix, err);
    cb_strvec_push(&x->now, real.buf);
    int r = expand_all(x, source + n, err);
    cb_strvec_sort(&x->now);
    for (size_t i = 0; r == 0 && i < x->now.n; i++) {
        const char *path = x->now.v[i];
        bool dir = cb_path_lstat(x->root, path, &st, CB_RESOLVE_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
        if (!is_left_out(x->ignore, path, dir))
            cb_strvec_push(out, path);
    }
    return r;
}

/* ---- plain sources ---- */

int cb_context_match(int fd, const struct cb_df_ignore *ignore, const char *source, struct cb_strvec *out,
                     struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct stat st;
    int r;
    if (!strcmp(source, "."))
        source = "";
    if (cb_df_has_wildcard(source)) {
        struct expand x = { .root = fd, .ignore = ignore };
        r = match_pattern(&x, source, out, err);
        cb_strvec_done(&x.now);
        return r;
    }
    r = cb_context_real(fd, source, &real);
    if (r == 0)
        r = cb_path_lstat(fd, real.buf, &st, CB_RESOLVE_NOFOLLOW);
    if (r < 0 && r != -ENOENT && r != -ENOTDIR)
        return cb_error_sys(err, CB_ECONF, -r, "\"/%s\"", source);
    if (r < 0 || (*source && is_left_out(ignore, source, S_ISDIR(st.st_mode))) ||
        (real.len && is_left_out(ignore, real.buf, S_ISDIR(st.st_mode))))
        return cb_context_absent(fd, ignore, source, err);
    cb_strvec_push(out, source);
    return 0;
}
