/* SPDX-License-Identifier: Apache-2.0 */
/* `native`: namespaces of our own making. */
#include <sched.h>
#include <signal.h>

#include "exec/sandbox.h"

static const cb_sandbox_step steps[] = {
    cb_sandbox_own_directory, cb_rootfs_stage,         cb_rootfs_overlay,   cb_mounts_clone,   cb_devices_pin,
    cb_sandbox_enter,         cb_rootfs_attach,        cb_rootfs_check,     cb_sysmounts_dev,  cb_sysmounts_sys,
    cb_network_files,         cb_network_loopback,     cb_devices_attach,   cb_mounts_attach,  cb_pty_open,
    cb_rootfs_seal,           cb_sandbox_make_cgroup,  cb_sandbox_wait_network, cb_notify_prepare, cb_sandbox_clone,
    NULL,
};

const struct cb_isolation_ops cb_isolation_native = {
    .name = "native", .steps = steps, .child = cb_child_native_main, .clone_flags = CLONE_NEWPID,
    .kill_signal = SIGKILL,
};
