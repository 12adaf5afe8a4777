/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/userns.h"
#include "util/alloc.h"
#include "util/thread.h"

void cb_sandbox_init(struct cb_sandbox *sb, const struct cb_exec_spec *spec, const struct cb_isolation_ops *ops)
{
    *sb = (struct cb_sandbox){ .spec = spec, .ops = ops, .stubs = -1,
                               .root = -1, .stage = -1, .dev = -1, .sys = -1, .go_write = -1,
                               .report_read = -1, .out_read = { -1, -1 }, .in_write = -1, .master = -1, .pidfd = -1 };
    sb->targets.root = sb->targets.upper = -1;
    sb->cgroup = (struct cb_cgroup)CB_CGROUP_INIT;
    sb->child = (struct cb_child){ .root = -1, .proc = -1, .cgroup = -1, .null = -1, .empty = -1, .go_read = -1,
                                   .go_write = -1, .report = -1, .std = { -1, -1, -1 }, .keep = { -1, -1, -1 } };
    sem_init(&sb->entered, 0, 0);
    sem_init(&sb->network, 0, 0);
    sem_init(&sb->ready, 0, 0);
    sem_init(&sb->finish, 0, 0);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(CB_TAKE_FD(*fd));
}

/* The clone has its copies: whoever reads an end here has to see it. */
static void close_childs_ends(struct cb_sandbox *sb)
{
    const struct cb_exec_spec *spec = sb->spec;
    const int given[3] = { spec->stdin_fd, spec->stdout_fd, spec->stderr_fd };
    struct cb_child *c = &sb->child;
    if (spec->tty && c->std[0] >= 0)
        close(c->std[0]);
    for (int i = 0; i < 3; i++) {
        if (!spec->tty && c->std[i] >= 0 && c->std[i] != given[i])
            close(c->std[i]);
        c->std[i] = -1;
    }
    close_fd(&c->report);
    close_fd(&c->go_read);
}

static void close_mounts(struct cb_sandbox *sb)
{
    close_fd(&sb->child.proc);
    close_fd(&sb->child.cgroup);
    close_fd(&sb->child.null);
    close_fd(&sb->child.empty);
    close_fd(&sb->sys);
    close_fd(&sb->dev);
    close_fd(&sb->stage);
    close_fd(&sb->root);
    close_fd(&sb->stubs);
    for (size_t i = 0; sb->binds && i < sb->spec->n_mounts; i++)
        close_fd(&sb->binds[i]);
    cb_trees_done(sb);
}

void cb_sandbox_done(struct cb_sandbox *sb)
{
    cb_sandbox_finish(sb);
    close_childs_ends(sb);
    if (sb->ops->done)
        sb->ops->done(sb);
    close_fd(&sb->go_write);
    close_fd(&sb->report_read);
    close_fd(&sb->out_read[0]);
    close_fd(&sb->out_read[1]);
    close_fd(&sb->in_write);
    close_fd(&sb->master);
    close_fd(&sb->pidfd);
    cb_notify_done(sb);
    cb_overlay_done(&sb->overlay);
    free(sb->binds);
    cb_strvec_done(&sb->argv);
    cb_strvec_wipe(&sb->env);
    cb_strvec_done(&sb->candidates);
    cb_strvec_done(&sb->start);
    free(sb->cwd);
    cb_error_done(&sb->err);
    sem_destroy(&sb->entered);
    sem_destroy(&sb->network);
    sem_destroy(&sb->ready);
    sem_destroy(&sb->finish);
}

/* ---- the thread ---- */

/* Its own working directory and umask first: what is made on the way must not depend on the user's. */
int cb_sandbox_own_directory(struct cb_sandbox *sb, struct cb_error *err)
{
    (void)sb;
    if (unshare(CLONE_FS) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "leave the shared working directory");
    umask(0);
    return 0;
}

int cb_sandbox_enter(struct cb_sandbox *sb, struct cb_error *err)
{
    int flags = CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS;
    flags |= sb->spec->network == CB_NETWORK_HOST ? 0 : CLONE_NEWNET;
    int r = unshare(flags) < 0 ? -errno : cb_mnt_private();
    if (r < 0) {
        cb_autofree char *remedy = cb_privilege_remedy();
        return cb_error_sys(err, CB_ELOCAL, -r, "cannot make namespaces (%s)", remedy);
    }
    sb->tid = (pid_t)syscall(SYS_gettid);
    sem_post(&sb->entered);
    return 0;
}

int cb_sandbox_wait_network(struct cb_sandbox *sb, struct cb_error *err)
{
    if (sb->spec->network != CB_NETWORK_PRIVATE)
        return 0;
    while (sem_wait(&sb->network) < 0 && errno == EINTR)
        ;
    return sb->network_failed ? cb_error_set(err, CB_ELOCAL, "no network") : 0;
}

int cb_sandbox_make_cgroup(struct cb_sandbox *sb, struct cb_error *err)
{
    return cb_cgroup_make(&sb->cgroup, sb->spec->limits, err);
}

static void abandon_step(struct cb_sandbox *sb)
{
    siginfo_t info;
    syscall(SYS_pidfd_send_signal, sb->pidfd, SIGKILL, NULL, 0);
    while (waitid(P_PIDFD, (id_t)sb->pidfd, &info, WEXITED) < 0 && errno == EINTR)
        ;
}

int cb_sandbox_clone(struct cb_sandbox *sb, struct cb_error *err)
{
    sb->child.root = sb->root;
    long pid = syscall(SYS_clone, sb->ops->clone_flags | CLONE_PIDFD | SIGCHLD, 0, &sb->pidfd, 0, 0);
    if (pid == 0)
        sb->ops->child(&sb->child);
    if (pid < 0) {
        int e = errno;
        sb->pidfd = -1;
        return cb_error_sys(err, CB_ELOCAL, e, "start the step's first process");
    }
    sb->pid = (pid_t)pid;
    int r = cb_cgroup_add(&sb->cgroup, sb->pid, err);
    close_childs_ends(sb);
    if (r == 0 && write(sb->go_write, "", 1) != 1)
        r = cb_error_sys(err, CB_ELOCAL, errno, "start the step");
    if (r < 0)
        abandon_step(sb);
    return r;
}

static int run_steps(struct cb_sandbox *sb)
{
    for (const cb_sandbox_step *step = sb->ops->steps; *step; step++) {
        int r = (*step)(sb, &sb->err);
        if (r < 0)
            return r;
    }
    return 0;
}

static void *thread_main(void *arg)
{
    struct cb_sandbox *sb = arg;
    sb->code = run_steps(sb);
    if (sb->code < 0)
        sem_post(&sb->entered);
    sem_post(&sb->ready);
    if (sb->code == 0)
        cb_notify_serve(sb);
    while (sem_wait(&sb->finish) < 0 && errno == EINTR)
        ;
    return NULL;
}

int cb_sandbox_start(struct cb_sandbox *sb, struct cb_error *err)
{
    int r = cb_thread_start(&sb->thread, "sandbox", thread_main, sb, err);
    sb->running = r == 0;
    return r;
}

int cb_sandbox_wait_ready(struct cb_sandbox *sb, struct cb_error *err)
{
    while (sem_wait(&sb->ready) < 0 && errno == EINTR)
        ;
    return sb->code < 0 ? cb_error_move(err, &sb->err) : 0;
}

void cb_sandbox_finish(struct cb_sandbox *sb)
{
    if (!sb->running)
        return;
    sem_post(&sb->finish);
    pthread_join(sb->thread, NULL);
    sb->running = false;
    close_mounts(sb);
    cb_devices_done(sb);
    cb_targets_remove(&sb->targets);
    cb_targets_done(&sb->targets);
    cb_cgroup_done(&sb->cgroup);
}
