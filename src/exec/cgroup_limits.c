/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "exec/cgroup.h"
#include "util/alloc.h"
#include "util/fd.h"

#define OUR_PIDS 1 /* the step's PID 1 */
#define DEFAULT_PERIOD 100000 /* µs */

bool cb_cgroup_wants(const struct cb_limits *l, enum cb_cgroup_controller c)
{
    switch (c) {
    case CB_CGROUP_MEMORY:
        return l->memory || l->memory_swap;
    case CB_CGROUP_CPU:
        return l->cpu_period || l->cpu_quota || l->cpu_shares;
    case CB_CGROUP_CPUSET:
        return l->cpuset_cpus || l->cpuset_mems;
    case CB_CGROUP_PIDS:
        return l->pids;
    default:
        return false;
    }
}

int cb_cgroup_write(int dir, const char *name, const char *text)
{
    cb_autoclose int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/* v2: a controller's files are there only where the cgroup above hands it down. */
static bool is_v2(int dir)
{
    struct statfs fs;
    return fstatfs(dir, &fs) == 0 && (long)fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* option: as the user wrote it; what is wrong with a value is his to change. */
static int put(int dir, const char *option, const char *file, const char *text, struct cb_error *err)
{
    int r = cb_cgroup_write(dir, file, text);
    if (r == -EINVAL || r == -ERANGE || r == -ENODEV)
        return cb_error_set(err, CB_EUSAGE, "%s: the kernel refuses \"%s\" (%s)", option, text, file);
    if (r == -ENOENT && is_v2(dir))
        return cb_error_set(err, CB_ELOCAL, "%s: there is no %s in a cgroup beside ours: the controller is not handed "
                                            "down (a cgroup that has processes itself, as a container's, cannot); "
                                            CB_CGROUP_REMEDY, option, file);
    if (r == -ENOENT)
        return cb_error_set(err, CB_ELOCAL, "%s: this kernel has no %s: the limit cannot be set here", option, file);
    return r < 0 ? cb_error_sys(err, CB_ELOCAL, -r, "%s: not ours to set (%s); " CB_CGROUP_REMEDY, option, file) : 0;
}

static int put_number(int dir, const char *option, const char *file, uint64_t v, struct cb_error *err)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, v);
    return put(dir, option, file, text, err);
}

/* ---- memory ---- */

/* Swap counts too; where the kernel does not count it and nobody asked, there is none to limit. */
static int set_swap(int dir, bool v2, const struct cb_limits *l, struct cb_error *err)
{
    const char *file = v2 ? "memory.swap.max" : "memory.memsw.limit_in_bytes";
    char text[24];
    if (!l->memory_swap) {
        snprintf(text, sizeof text, "%" PRIu64, v2 ? 0 : l->memory);
        int r = cb_cgroup_write(dir, file, text);
        return r == -ENOENT ? 0 : r < 0 ? put(dir, "memory limit", file, text, err) : 0;
    }
    if (l->memory_swap < 0)
        return put(dir, "--memory-swap", file, v2 ? "max" : "-1", err);
    return put_number(dir, "--memory-swap", file, (uint64_t)l->memory_swap - (v2 ? l->memory : 0), err);
}

static int set_memory(int dir, bool v2, const struct cb_limits *l, struct cb_error *err)
{
    int r = put_number(dir, "memory limit", v2 ? "memory.max" : "memory.limit_in_bytes", l->memory, err);
    return r < 0 ? r : set_swap(dir, v2, l, err);
}

/* ---- processors ---- */

/* Docker's shares (2 to 262144, 1024 the usual) on v2's scale of weights (1 to 10000), as OCI runtimes convert them. */
static uint64_t weight_of_shares(uint64_t shares)
{
    uint64_t s = CB_MIN(CB_MAX(shares, (uint64_t)2), (uint64_t)262144);
    return 1 + (s - 2) * 9999 / 262142;
}

static int set_quota(int dir, bool v2, const struct cb_limits *l, struct cb_error *err)
{
    uint64_t period = l->cpu_period ? l->cpu_period : DEFAULT_PERIOD;
    char text[64];
    if (!l->cpu_period && !l->cpu_quota)
        return 0;
    if (v2) {
        if (l->cpu_quota)
            snprintf(text, sizeof text, "%" PRIu64 " %" PRIu64, l->cpu_quota, period);
        else
            snprintf(text, sizeof text, "max %" PRIu64, period);
        return put(dir, "processor limit", "cpu.max", text, err);
    }
    int r = put_number(dir, "--cpu-period", "cpu.cfs_period_us", period, err);
    if (r == 0 && l->cpu_quota)
        r = put_number(dir, "processor limit", "cpu.cfs_quota_us", l->cpu_quota, err);
    return r;
}

static int set_cpu(int dir, bool v2, const struct cb_limits *l, struct cb_error *err)
{
    int r = set_quota(dir, v2, l, err);
    if (r < 0 || !l->cpu_shares)
        return r;
    return v2 ? put_number(dir, "--cpu-shares", "cpu.weight", weight_of_shares(l->cpu_shares), err)
              : put_number(dir, "--cpu-shares", "cpu.shares", l->cpu_shares, err);
}

void cb_cgroup_inherit_cpuset(int above, int dir)
{
    static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };
    for (size_t i = 0; i < CB_COUNTOF(files); i++) {
        char text[4096];
        cb_autoclose int fd = openat(above, files[i], O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (n <= 0)
            continue;
        text[n] = '\0';
        (void)cb_cgroup_write(dir, files[i], text); /* told by the limit itself, or by the process that is moved in */
    }
}

static int set_cpuset(int dir, const struct cb_limits *l, struct cb_error *err)
{
    int r = l->cpuset_cpus ? put(dir, "--cpuset-cpus", "cpuset.cpus", l->cpuset_cpus, err) : 0;
    return r < 0 || !l->cpuset_mems ? r : put(dir, "--cpuset-mems", "cpuset.mems", l->cpuset_mems, err);
}

int cb_cgroup_set(int dir, bool v2, enum cb_cgroup_controller c, const struct cb_limits *l, struct cb_error *err)
{
    if (!cb_cgroup_wants(l, c))
        return 0;
    if (c == CB_CGROUP_MEMORY)
        return set_memory(dir, v2, l, err);
    if (c == CB_CGROUP_PIDS)
        return put_number(dir, "--pids-limit", "pids.max", l->pids + OUR_PIDS, err);
    return c == CB_CGROUP_CPU ? set_cpu(dir, v2, l, err) : set_cpuset(dir, l, err);
}
