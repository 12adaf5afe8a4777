/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tries, from inside a RUN, what a step must not be able to do. A probe is one function; it knows nothing of the
 * machine but what the environment says:
 *
 *   PROBE_CANARY, PROBE_SECRET   values that must be readable nowhere, written backwards, so that what is searched for
 *                                lies in no memory but the probe's own
 *   PROBE_HOSTDIR                a directory of the host that holds a file `canary`
 *   PROBE_ABSTRACT, PROBE_PORT   an abstract unix socket, and a TCP port of its 127.0.0.1, where somebody listens
 *   PROBE_NETNS                  the inode of its network namespace */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum where {
    IN_STEP, /* this program finds out alone */
    IN_NET,  /* the same, in a step whose network is not the host's */
    OUTSIDE, /* the test that starts the builds sees it: tests/system/62-probes.bats */
};

struct verdict {
    bool failed, skipped;
    char text[400];
};
/* Adds what was seen. */
void bad(struct verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void skip(struct verdict *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* r is what a system call returned that has to be refused: EPERM, EACCES, EROFS or ENOSYS. */
void denied(struct verdict *v, const char *what, long r);
/* The same; any error is as good. */
void fails(struct verdict *v, const char *what, long r);
/* open(2) of that path is denied, or there is no such file. */
void closed(struct verdict *v, const char *path, int flags);

struct probe {
    const char *id;
    enum where where;
    bool alone; /* must run in the first process, since it kills all others */
    void (*run)(struct verdict *v);
    const char *title, *expected;
};
extern const struct probe probes[];
extern const size_t n_probes;

/* ---- what probes share (main.c) ---- */
const char *told(const char *name);               /* "" if not */
bool told_backwards(const char *name, char *out, size_t n);
/* The first n - 1 bytes, without waiting; -1 if it cannot be read. */
ssize_t slurp(const char *path, char *buf, size_t n);
/* Calls `each` for every name but . and .. */
void each_entry(const char *dir, void (*each)(const char *path, void *arg), void *arg);
/* A call by the 32-bit and x32 entries of x86-64; ENOSYS elsewhere. Pointers have to be below 4 GiB. */
long call32(long nr, long a, long b, long c);
long call_x32(long nr, long a, long b, long c);
/* Some memory that a 32-bit call can name. */
void *low_memory(void);
/* A process that does that: its exit status, or -signal. */
int in_child(int (*what)(void *arg), void *arg);

#define COUNT(a) (sizeof(a) / sizeof *(a))

/* ---- the probes ---- */
void p_descriptors(struct verdict *v);
void p_init(struct verdict *v);
void p_processes(struct verdict *v);
void p_canaries(struct verdict *v);
void p_proc_writes(struct verdict *v);
void p_masks(struct verdict *v);
void p_masks_stay(struct verdict *v);
void p_own_program(struct verdict *v);
void p_mountinfo(struct verdict *v);
void p_mount_calls(struct verdict *v);
void p_namespaces(struct verdict *v);
void p_devices(struct verdict *v);
void p_kernel_calls(struct verdict *v);
void p_other_calls(struct verdict *v);
void p_families(struct verdict *v);
void p_sockets(struct verdict *v);
void p_abstract(struct verdict *v);
void p_loopback(struct verdict *v);
void p_metadata(struct verdict *v);
void p_terminal(struct verdict *v);
void p_cgroup(struct verdict *v);
void p_capabilities(struct verdict *v);
void p_seccomp(struct verdict *v);
void p_groups(struct verdict *v);
void p_core(struct verdict *v);
void p_inherited(struct verdict *v);
void p_readonly_bind(struct verdict *v);
void p_secret(struct verdict *v);
void p_scratch(struct verdict *v);
void p_stage_root(struct verdict *v);
void p_dotdot(struct verdict *v);
void p_system_dirs(struct verdict *v);
void p_limits(struct verdict *v);

/* ---- work.c: not probes, but what tests need done ---- */
int work_prepare(int argc, char **argv);
int work_flip(int argc, char **argv);
int work_exchange(int argc, char **argv);
int work_daemon(int argc, char **argv);
int work_stubborn(int argc, char **argv);
int work_line(int argc, char **argv);
int work_fill(int argc, char **argv);
