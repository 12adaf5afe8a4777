/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util/fs.h"

#define STATUS_NOT_FOUND 127

void cb_trial_place_done(struct cb_trial_place *p)
{
    const int fds[] = { p->dir, p->upper, p->work, p->scratch };
    for (size_t i = 0; i < CB_COUNTOF(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    if (p->name[0] && cb_fs_remove_tree(p->parent, p->name, NULL) < 0)
        p->name[0] = '\0'; /* nothing to be done about it: it is a temporary name that the next gc takes */
}

static int subdir(const struct cb_trial_place *p, const char *name, int *fd, struct cb_error *err)
{
    if (mkdirat(p->dir, name, 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make a directory");
    *fd = openat(p->dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open a directory") : 0;
}

int cb_trial_place_make(struct cb_trial_place *p, int work_dir, struct cb_error *err)
{
    *p = (struct cb_trial_place){ .parent = work_dir, .dir = -1, .upper = -1, .work = -1, .scratch = -1 };
    int r = cb_fs_mkdtempat(work_dir, "probe-", p->name, 0755, &p->dir, err);
    if (r == 0)
        r = subdir(p, "upper", &p->upper, err);
    if (r == 0)
        r = subdir(p, "work", &p->work, err);
    return r < 0 ? r : subdir(p, "scratch", &p->scratch, err);
}

/* An empty root holds no program, so the right answer is 127. */
int cb_trial_run(const struct cb_isolation *by, int work_dir, enum cb_id_mode mode, struct cb_error *err)
{
    static const char *const argv[] = { "/probe", NULL };
    static const char *const env[] = { NULL };
    struct cb_trial_place p CB_CLEANUP(cb_trial_place_done);
    int status = 0, r = cb_trial_place_make(&p, work_dir, err);
    if (r < 0)
        return r;
    struct cb_exec_spec spec = { .isolation = by, .root = { .upper_fd = p.upper, .work_fd = p.work }, .id_mode = mode,
                                 .argv = argv, .env = env, .cwd = "/", .init = true, .stdin_fd = -1, .stdout_fd = -1,
                                 .stderr_fd = -1, .scratch_fd = p.scratch };
    r = cb_exec_run(&spec, &status, err);
    if (r < 0 || status == STATUS_NOT_FOUND)
        return r;
    return cb_error_set(err, CB_ELOCAL, "a step that cannot start ended with status %d", status);
}
