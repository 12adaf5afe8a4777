/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/trace.h"
#include "exec/exec.h"
#include "image/image.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/timeutil.h"

bool cb_process_serves(const char *name)
{
    /* It does not return where we have started it. */
    return !strcmp(name, CB_HELPERS_NAME) && cb_helpers_main(&(struct cb_helper_options){ 0 }) < 0;
}

/* Whoever starts us without HOME (env -i, a service) means the one of the password file, as a login would set it.
 * Before the user namespace, in which everybody is root. */
static void find_home(void)
{
    const char *home = getenv("HOME");
    struct passwd *pw = home && *home ? NULL : getpwuid(geteuid());
    if (!home || !*home)
        setenv("HOME", pw && pw->pw_dir && *pw->pw_dir ? pw->pw_dir : geteuid() ? "/" : "/root", 1);
}

/* Trees are touched by it alone. Filters of containers that were made before it answer EPERM. */
static int need_openat2(struct cb_error *err)
{
    int fd = cb_path_openat(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0, CB_RESOLVE_IN_ROOT);
    if (fd == -EPERM)
        return cb_error_sys(err, CB_ELOCAL, EPERM,
                            "openat2(2) is refused by the filter of this container (Docker 20.10 with libseccomp 2.5 "
                            "knows it; or --security-opt seccomp=unconfined)");
    if (fd == -ENOSYS)
        return cb_error_sys(err, CB_ELOCAL, ENOSYS, "openat2(2)");
    cb_close_p(&fd);
    return 0;
}

int cb_process_prepare(struct cb_process *p, const struct cb_verb *v, struct cb_error *err)
{
    enum cb_id_mode mode = CB_ID_REAL_ROOT;
    p->started = cb_time_monotonic();
    find_home();
    int r = v->userns ? need_openat2(err) : 0;
    if (r < 0)
        return r;
    r = v->userns ? cb_userns_enter(&mode, &p->no_userns) : 0;
    if (r < 0 && !(mode == CB_ID_NONE && v->userns_to_run))
        return cb_error_move(err, &p->no_userns);
    p->id_mode = (int)(mode == CB_ID_NONE ? CB_ID_SINGLE : mode);
    cb_helpers_start(&(struct cb_helper_options){ .program = "/proc/self/exe", .argv = p->argv });
    cb_fd_raise_limit();
    p->trace = cb_trace_file_new();
    p->cancel = cb_cancel_new(NULL);
    return cb_cancel_on_signals(p->cancel, err);
}

int cb_process_end(struct cb_process *p, struct cb_error *err)
{
    return cb_trace_file_end(p->trace, err);
}

void cb_process_done(struct cb_process *p)
{
    cb_helpers_stop();
    cb_cancel_free(p->cancel);
    p->cancel = NULL;
    cb_trace_file_free(CB_TAKE(p->trace));
    cb_error_done(&p->no_userns);
}
