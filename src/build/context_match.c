/* SPDX-License-Identifier: Apache-2.0 */
#include "build/context_match.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/path.h"

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Adds dir/name for each child of dir that one pattern component matches. */
static int match_children(int root, const char *dir, const char *pattern, struct cb_strvec *out, struct cb_error *err)
{
    int fd = cb_path_openat(root, dir, O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_IN_ROOT);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    int r = 0;
    if (!d)
        return fd == -ENOENT || fd == -ENOTDIR ? 0 : cb_error_sys(err, CB_ELOCAL, fd < 0 ? -fd : errno, "read directory %s", dir);
    for (struct dirent *de; r == 0 && (de = readdir(d));) {
        bool yes = false;
        if (!strcmp(de->d_name, ".") || !strcmp(de->d_name, ".."))
            continue;
        r = cb_df_match(pattern, de->d_name, &yes, err);
        if (r == 0 && yes)
            cb_strvec_pushf(out, "%s%s%s", *dir ? dir : "", *dir ? "/" : "", de->d_name);
    }
    closedir(d);
    return r;
}

static int expand_component(int root, const struct cb_strvec *dirs, const char *component, struct cb_strvec *out,
                            struct cb_error *err)
{
    int r = 0;
    bool wild = cb_df_has_wildcard(component);
    for (size_t i = 0; r == 0 && i < dirs->n; i++) {
        struct stat st;
        if (wild) {
            r = match_children(root, dirs->v[i], component, out, err);
            continue;
        }
        cb_autofree char *p = *dirs->v[i] ? cb_asprintf("%s/%s", dirs->v[i], component) : cb_strdup(component);
        if (cb_path_lstat(root, p, &st, CB_RESOLVE_IN_ROOT) == 0)
            cb_strvec_push(out, p);
    }
    return r;
}

static int expand_pattern(int root, const char *pattern, struct cb_strvec *out, struct cb_error *err)
{
    struct cb_strvec now cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_strvec_push(&now, "");
    for (const char *p = pattern; *p;) {
        struct cb_strvec next = CB_STRVEC_INIT;
        const char *end = strchrnul(p, '/');
        cb_autofree char *component = cb_strndup(p, (size_t)(end - p));
        int r = expand_component(root, &now, component, &next, err);
        cb_strvec_done(&now);
        now = next;
        if (r < 0)
            return r;
        p = *end ? end + 1 : end;
    }
    if (now.n)
        qsort(now.v, now.n, sizeof *now.v, by_name);
    cb_strvec_done(out);
    *out = now;
    now = (struct cb_strvec){ 0 };
    return 0;
}

static int not_there(int fd, const struct cb_df_ignore *ignore, const char *source, struct cb_error *err)
{
    struct stat st;
    if (cb_path_lstat(fd, source, &st, CB_RESOLVE_IN_ROOT) == 0 && cb_df_ignored(ignore, source))
        return cb_error_set(err, CB_ECONF, "\"/%s\": left out of the build context by .dockerignore", source);
    return cb_error_set(err, CB_ECONF, "\"/%s\": not found in the build context: paths are relative to it, and nothing outside can be copied",
                        source);
}

int cb_context_match(int fd, const struct cb_df_ignore *ignore, const char *source, struct cb_strvec *out, bool *wildcard,
                     struct cb_error *err)
{
    struct stat st;
    *wildcard = cb_df_has_wildcard(source);
    if (!*source || !strcmp(source, ".")) {
        cb_strvec_push(out, ".");
        return 0;
    }
    if (!*wildcard) {
        bool gone = cb_df_ignored(ignore, source);
        if (cb_path_lstat(fd, source, &st, CB_RESOLVE_IN_ROOT) < 0 ||
            (gone && !(S_ISDIR(st.st_mode) && cb_df_ignore_may_reinclude(ignore, source))))
            return not_there(fd, ignore, source, err);
        cb_strvec_push(out, source);
        return 0;
    }
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = expand_pattern(fd, source, &all, err);
    for (size_t i = 0; r == 0 && i < all.n; i++)
        if (!cb_df_ignored(ignore, all.v[i]))
            cb_strvec_push(out, all.v[i]);
    return r;
}
