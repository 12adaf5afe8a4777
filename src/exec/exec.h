/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One process on a root file system. It is given directories and mounts, not layers. Rules R16, R19–R22; DESIGN §7.
 *
 * `native` isolation, the default: a child in new mount, pid, ipc, uts and cgroup (and, if asked, net) namespaces;
 * overlayfs over the given lower directories; private /proc, tmpfs /dev with Docker's device nodes, read-only /sys,
 * masked and read-only paths; Docker's default capabilities and seccomp profile; no inherited descriptors; a PID 1 of
 * ours that reaps and forwards signals. As an ordinary user the whole program has entered a user namespace before
 * (cb_userns_enter), so everything below is the same. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "exec/cdi.h"
#include "exec/limits.h"
#include "util/cancel.h"
#include "util/error.h"
#include "util/owner_table.h"
#include "util/strvec.h"

/* ---- being root in a user namespace ---- */
enum cb_id_mode {
    CB_ID_REAL_ROOT,   /* no user namespace of ours */
    CB_ID_RANGE,       /* uid 0 = the user, 1… = its subuid range */
    CB_ID_SINGLE,      /* uid 0 = the user, nothing else: ownership cannot be on the disk; notify.h */
    CB_ID_CONTAINER_ROOT, /* no user namespace of ours and no CAP_SYS_ADMIN: trees are marked as for the others */
    CB_ID_NONE,        /* of a cb_userns_enter that failed and changed nothing: nothing can run */
};
/* Called by main once, before any thread exists. As root: REAL_ROOT or CONTAINER_ROOT, nothing happens; as root of a
 * user namespace that others made: a mount namespace that belongs to it, where that can be had. As an ordinary user:
 * enters a new user and mount namespace, mapped through newuidmap/newgidmap from /etc/subuid and /etc/subgid, or one
 * id. -CB_ELOCAL with the one change that would help where user namespaces are forbidden, and CB_ID_NONE. */
int cb_userns_enter(enum cb_id_mode *mode, struct cb_error *err) CB_WUR;

/* ---- how a step is kept apart ---- */
enum cb_isolation_kind {
    CB_ISOLATION_AUTO,   /* the first that works here, in this order: */
    CB_ISOLATION_NATIVE, /* namespaces of our own making */
    CB_ISOLATION_OCI,    /* the same by an OCI runtime, on the root that we mount */
    CB_ISOLATION_CHROOT, /* neither namespaces nor mount(2): a default container. It keeps steps from files of the
                          * container by mistake, not by malice, and has no /proc */
};
/* auto native rootless (= native) oci chroot; else -CB_EUSAGE */
int cb_isolation_parse(const char *text, enum cb_isolation_kind *out, struct cb_error *err) CB_WUR;

/* What was chosen. */
struct cb_isolation {
    enum cb_isolation_kind kind; /* not AUTO */
    char *text;                  /* for people: "native", "oci (runc 1.1.5)" */
    char *refused;               /* AUTO: why a better one is not taken, or NULL */
    char *runtime;               /* OCI: absolute path */
    int flavour;                 /* OCI: which program that is */
};
void cb_isolation_done(struct cb_isolation *i);

struct cb_isolation_wish {
    enum cb_isolation_kind kind;
    const char *runtime;         /* path, or name in PATH, of the OCI runtime; NULL: crun, runc, runsc. With AUTO it
                                  * means OCI */
    int work_dir_fd;             /* where roots would be */
    enum cb_id_mode id_mode;
};
/* Tries for real where there is a choice. -CB_ELOCAL with the reasons of all where none works, -CB_EUSAGE for a
 * runtime that would not be used. */
int cb_isolation_choose(const struct cb_isolation_wish *w, struct cb_isolation *out, struct cb_error *err) CB_WUR;

/* ---- a step ---- */
enum cb_network { CB_NETWORK_HOST, CB_NETWORK_NONE, CB_NETWORK_PRIVATE /* pasta */ };
/* host none private, default (= host); else -CB_EUSAGE */
int cb_network_parse(const char *text, enum cb_network *out, struct cb_error *err) CB_WUR;

enum cb_mount_kind {
    CB_MOUNT_BIND,
    CB_MOUNT_TMPFS,
    CB_MOUNT_DATA,         /* a file with bytes of ours, on a ramfs: never on a disk, not even in swap (R16: secrets) */
    CB_MOUNT_TREE,         /* a file or directory of an overlay of its own */
    CB_MOUNT_OWN,          /* the root's own directory there, which stays writable where the root is not */
};
/* Each list stands for what the host's resolv.conf says of it, unless it is empty. */
struct cb_dns {
    const struct cb_strvec *servers, *search, *options; /* or NULL; search ".": none */
};

/* The root: overlay of lower directories (lowest first) with upper and work, both empty directories of one file
 * system. Where there is no overlayfs (chroot) it is a copy made in work, and what changed is moved to upper. */
struct cb_rootfs {
    const int *lower_fds;  /* O_PATH or O_DIRECTORY; borrowed. n_lower = 0: the upper alone is the root */
    size_t n_lower;
    int upper_fd;          /* borrowed; receives what changed, in overlay form (userxattr when not REAL_ROOT). Its own
                            * mode and owner are those of `/` in the step: 0755, or only root sees anything */
    int work_fd;
};
/* Of a mount that is shown as a copy (chroot): what the step has there when it has ended, also by failing, takes the
 * place of its source, a directory. A step that was cancelled, or did not begin, leaves the source as it was. */
struct cb_mount_keep {
    int dir;               /* holds the source under this name; on the root's file system, and nobody else uses it */
    const char *name;
    struct cb_error error; /* out: why the source is as it was, where it is */
};
struct cb_mount {
    enum cb_mount_kind kind;
    int source_fd;         /* BIND: O_PATH, pinned by the caller (R20); borrowed */
    const char *target;    /* absolute in the root, resolved inside it; made (and taken away again) if absent */
    const struct cb_rootfs *tree; /* TREE: what is changed in it lands in its upper directory */
    const char *sub;       /* TREE: what is shown of it, links resolved inside; "" = all */
    bool readonly;
    bool scratch;          /* BIND, TREE: what is written there may be dropped, so a copy will do */
    struct cb_mount_keep *keep; /* BIND: or NULL; borrowed */
    uint64_t size;         /* TMPFS: bytes, 0 = half the memory */
    uint32_t mode;         /* TMPFS: 0 = 01777; DATA: 0 = 0400, S_IFREG = none; executable only where it says so */
    const void *data;      /* DATA: borrowed; always read-only in the step */
    size_t data_len;
    uint32_t uid, gid;     /* DATA: of the file; with CB_ID_SINGLE it is 0:0 */
};

struct cb_port {           /* -p [ip:]host:container[/tcp] */
    char *host_ip;         /* or NULL: all */
    uint16_t host, container;
};

struct cb_exec_spec {
    const struct cb_isolation *isolation; /* NULL: native */
    struct cb_rootfs root;
    enum cb_id_mode id_mode;
    const char *const *argv;   /* argv[0] looked up in env's PATH inside the root unless it has a '/' */
    const char *const *env;    /* complete; nothing of ours is inherited */
    const char *cwd;           /* absolute, inside the root; made, root's and 0755, where it is not there */
    uint32_t uid, gid;         /* with CB_ID_SINGLE all are 0:0 in truth, and groups are left as they are */
    const uint32_t *groups;
    size_t n_groups;
    const char *hostname;      /* NULL: "buildkitsandbox" */
    enum cb_network network;
    const struct cb_port *ports; /* PRIVATE only */
    size_t n_ports;
    const struct cb_strvec *extra_hosts; /* "name ip" lines for /etc/hosts, or NULL; ip may be host-gateway */
    const struct cb_dns *dns;  /* or NULL: the host's */
    const struct cb_mount *mounts;
    size_t n_mounts;
    bool readonly_root;
    bool init;                 /* PID 1 of ours, which reaps and forwards; always true for build steps. false: the
                                * process itself is PID 1 (run without --init) */
    /* Standard streams: -1 = /dev/null for stdin, and output goes to on_output through pipes (drained in the calling
     * thread); or descriptors to hand over as they are (run -it). tty: a new pty whose master is copied to/from these
     * descriptors. */
    int stdin_fd, stdout_fd, stderr_fd;
    bool tty;
    /* Not handed over, but copied through pipes of the step's own: its user may open /dev/stdout whoever owns what is
     * behind ours, and sees no terminal. Its input too, unless that user is root. Nothing where there is a tty. */
    bool relay;
    bool one_stream;           /* output and errors go through one pipe, as 1: so what is written last stands last */
    void (*on_output)(void *arg, int stream /* 1, 2 */, const char *buf, size_t n);
    void *on_output_arg;
    const struct cb_cancel *cancel;  /* TERM to the process, KILL to all of them after 9 s: over within 10 */
    bool pass_signal;          /* the signal that cancelled it, instead of TERM */
    int scratch_fd;            /* a directory of this step's for our private files; emptied by the caller */
    const struct cb_limits *limits; /* or NULL: none */
    /* All capabilities, no seccomp filter, nothing hidden or read-only in /proc and /sys, the machine's loop, fuse, kvm
     * and tun devices. Only ever on the word of whoever runs cbpush. */
    bool insecure;
    struct cb_owner_table *owners; /* CB_ID_SINGLE, native: receives the owners that the step gave; or NULL */
    const struct cb_cdi *cdi;  /* devices and mounts of the machine, or NULL; its environment is the caller's to add */
};
/* Runs to the end. *status: exit code, or 128 + signal. Every process of the step is gone on return (P35). Start-up
 * failures (no such program: status 127 and not executable: 126 as shells do, with text in *err_text via on_output)
 * are reported as a status, failures of the sandbox itself as an error with the remedy. Mount points that had to be
 * made are gone from upper. */
int cb_exec_run(const struct cb_exec_spec *spec, int *status, struct cb_error *err) CB_WUR;
/* Makes what the first run would have to make first (the list of system calls, which takes longer than a step), for
 * who has a thread to spare until then. */
void cb_exec_warm_up(void);

/* ---- ssh ---- */
/* A socket for a step that leads to an ssh agent of the user's; several connections at once. What comes through lists
 * keys and signs; adding, removing, locking and extensions are refused, as BuildKit does. */
struct cb_ssh_forward_spec {
    const char *agent;     /* path of the agent's socket; connected to when the step first asks */
    int dir_fd;            /* where our socket is made, under this name; removed by the caller */
    const char *name;
    uint32_t mode, uid, gid;
};
struct cb_ssh_forward;
int cb_ssh_forward_start(const struct cb_ssh_forward_spec *spec, struct cb_ssh_forward **out,
                         struct cb_error *err) CB_WUR;
int cb_ssh_forward_fd(const struct cb_ssh_forward *f); /* O_PATH, to be bound into the step; borrowed */
void cb_ssh_forward_free(struct cb_ssh_forward *f);
CB_DEFINE_CLEANUP(struct cb_ssh_forward *, cb_ssh_forward_free)
/* An agent of our own that holds the private keys in these files, until it is freed or the calling thread ends. dir_fd:
 * an empty directory that only we can enter. -CB_EUSAGE for what is no key, or one with a passphrase. */
struct cb_ssh_agent;
int cb_ssh_agent_start(int dir_fd, const struct cb_strvec *keys, struct cb_ssh_agent **out,
                       struct cb_error *err) CB_WUR;
const char *cb_ssh_agent_socket(const struct cb_ssh_agent *a); /* valid in this process and its children */
void cb_ssh_agent_free(struct cb_ssh_agent *a);
CB_DEFINE_CLEANUP(struct cb_ssh_agent *, cb_ssh_agent_free)

/* ---- what works here ---- */
enum cb_probe_state { CB_PROBE_OK, CB_PROBE_MISSING, CB_PROBE_BROKEN };
struct cb_probe {
    char *name;                /* "native isolation", "overlayfs", "user namespaces", "subuid range", "pasta", … */
    enum cb_probe_state state;
    bool required;
    char *detail;              /* what was found */
    char *remedy;              /* the one change that helps, or NULL */
};
struct cb_probes {
    struct cb_probe *v;
    size_t n, cap;
};
void cb_probes_done(struct cb_probes *p);
/* Tries for real, in children; leaves nothing. work_dir_fd: where trees would be (overlay on that file system is
 * tried). */
int cb_exec_probe(int work_dir_fd, enum cb_id_mode mode, struct cb_probes *out, struct cb_error *err) CB_WUR;

/* ---- programs of other architectures ---- */
enum cb_foreign_state {
    CB_FOREIGN_NOT,
    CB_FOREIGN_IN_ROOT,    /* by an interpreter that the root of the step has to hold */
    CB_FOREIGN_RUNS,       /* by the processor itself, or by an interpreter that the kernel holds open */
};
struct cb_foreign {
    enum cb_foreign_state state;
    char *interpreter;     /* IN_ROOT: its absolute path */
    char *detail;          /* what is the matter; NULL where it runs */
};
void cb_foreign_done(struct cb_foreign *f);
/* Tries for real, in a root of its own below work_dir_fd. arch: as in a platform. */
int cb_exec_probe_foreign(int work_dir_fd, const char *arch, struct cb_foreign *out, struct cb_error *err) CB_WUR;
