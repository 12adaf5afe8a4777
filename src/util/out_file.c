/* SPDX-License-Identifier: Apache-2.0 */
#include "util/out_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/path.h"

static int open_as_it_is(struct cb_out_file *f, const char *path, struct cb_error *err)
{
    f->fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC | O_NOCTTY);
    return f->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open %s", path) : 0;
}

static int open_standard_output(struct cb_out_file *f, struct cb_error *err)
{
    if (isatty(STDOUT_FILENO))
        return cb_error_set(err, CB_EUSAGE, "not writing that to a terminal: name a file or redirect");
    f->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    return f->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "standard output") : 0;
}

int cb_out_file_open(struct cb_out_file *f, const char *path, struct cb_error *err)
{
    struct stat st, to;
    *f = (struct cb_out_file)CB_OUT_FILE_INIT;
    if (!strcmp(path, "-"))
        return open_standard_output(f, err);
    bool there = lstat(path, &st) == 0 && stat(path, &to) == 0;
    const char *base = cb_path_base(path);
    if (!*base || (there && S_ISDIR(to.st_mode)))
        return cb_error_set(err, CB_EUSAGE, "%s is a directory", path);
    if (there && !S_ISREG(st.st_mode))
        return open_as_it_is(f, path, err);
    cb_autofree char *dir = base == path ? cb_strdup(".") : cb_strndup(path, (size_t)(base - path));
    f->name = cb_strdup(base);
    f->dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->dirfd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s", path);
    int r = cb_tmpfile_open(&f->tmp, f->dirfd, 0644, err);
    f->fd = f->tmp.fd;
    return r;
}

int cb_out_file_close(struct cb_out_file *f, int r, struct cb_error *err)
{
    if (r == 0 && f->name)
        r = cb_tmpfile_replace(&f->tmp, f->dirfd, f->name, err);
    if (f->name)
        cb_tmpfile_done(&f->tmp);
    else if (f->fd >= 0 && close(f->fd) < 0 && r == 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "write the file");
    cb_close_p(&f->dirfd);
    free(f->name);
    *f = (struct cb_out_file)CB_OUT_FILE_INIT;
    return r;
}

bool cb_out_file_is_stdout(const char *path)
{
    struct stat there, out;
    return !strcmp(path, "-") || (stat(path, &there) == 0 && fstat(STDOUT_FILENO, &out) == 0 &&
                                  there.st_dev == out.st_dev && there.st_ino == out.st_ino);
}
