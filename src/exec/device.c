/* SPDX-License-Identifier: Apache-2.0 */
/* Devices and files of the machine in a step: what CDI specs say, and what an insecure step gets by itself. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/sandbox.h"
#include "util/alloc.h"

#define MAX_LOOPS 256

/* BuildKit's list. Those that the machine lacks, or does not let us open, are left out. */
static void add_insecure(struct cb_cdi *c)
{
    static const char *const names[] = { "kmsg", "cuse", "fuse", "kvm", "net/tun", "loop-control" };
    struct stat st;
    for (size_t i = 0; i < CB_COUNTOF(names) + MAX_LOOPS; i++) {
        cb_autofree char *path = i < CB_COUNTOF(names) ? cb_asprintf("/dev/%s", names[i])
                                                       : cb_asprintf("/dev/loop%zu", i - CB_COUNTOF(names));
        if (stat(path, &st) < 0 || !(S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)))
            continue;
        CB_GROW(c->nodes, c->n_nodes, c->cap_nodes);
        c->nodes[c->n_nodes++] = (struct cb_cdi_node){ .path = cb_strdup(path), .host_path = cb_strdup(path) };
    }
}

static void add_copy(struct cb_cdi *to, const struct cb_cdi *from)
{
    for (size_t i = 0; i < from->n_nodes; i++) {
        CB_GROW(to->nodes, to->n_nodes, to->cap_nodes);
        struct cb_cdi_node *n = &to->nodes[to->n_nodes++];
        *n = from->nodes[i];
        n->path = cb_strdup(from->nodes[i].path);
        n->host_path = cb_strdup(from->nodes[i].host_path);
    }
    for (size_t i = 0; i < from->n_mounts; i++) {
        CB_GROW(to->mounts, to->n_mounts, to->cap_mounts);
        to->mounts[to->n_mounts++] = (struct cb_cdi_mount){ cb_strdup(from->mounts[i].host_path),
                                                            cb_strdup(from->mounts[i].path) };
    }
}

static int pin(int *fd, const char *path, bool recursive, struct cb_error *err)
{
    *fd = cb_mnt_clone(AT_FDCWD, path, recursive);
    return *fd < 0 ? cb_error_sys(err, CB_ELOCAL, -*fd, "device: %s", path) : 0;
}

/* The machine's node by a bind mount, where we cannot make our own. */
static int pin_node(struct cb_sandbox *sb, const struct cb_cdi_node *n, int *fd, struct cb_error *err)
{
    struct stat st;
    bool there = stat(n->host_path, &st) == 0;
    if (!there && n->numbered && sb->spec->id_mode == CB_ID_REAL_ROOT)
        return 0;
    if (!there)
        return cb_error_sys(err, CB_ELOCAL, errno, "device %s", n->host_path);
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return cb_error_set(err, CB_ECONF, "device %s: it is no device node", n->host_path);
    return pin(fd, n->host_path, false, err);
}

/* While the namespace with the sources is ours. */
int cb_devices_pin(struct cb_sandbox *sb, struct cb_error *err)
{
    struct cb_cdi *c = &sb->devices;
    int r = 0;
    if (sb->spec->cdi)
        add_copy(c, sb->spec->cdi);
    if (sb->spec->insecure)
        add_insecure(c);
    sb->n_device_fds = c->n_nodes + c->n_mounts;
    sb->device_fds = cb_calloc(sb->n_device_fds + 1, sizeof *sb->device_fds);
    for (size_t i = 0; i < sb->n_device_fds; i++)
        sb->device_fds[i] = -1;
    for (size_t i = 0; r == 0 && i < c->n_nodes; i++)
        r = pin_node(sb, &c->nodes[i], &sb->device_fds[i], err);
    for (size_t i = 0; r == 0 && i < c->n_mounts; i++)
        r = pin(&sb->device_fds[c->n_nodes + i], c->mounts[i].host_path, true, err);
    return r;
}

/* A node of our own: what the step does to its mode or owner is not felt by the machine. A negative errno where the
 * kernel does not let us. */
static int own_node(struct cb_sandbox *sb, size_t i)
{
    const struct cb_cdi_node *n = &sb->devices.nodes[i];
    struct stat st = { .st_mode = S_IFCHR | 0666 };
    char name[32];
    bool there = sb->device_fds[i] >= 0 && fstat(sb->device_fds[i], &st) == 0;
    dev_t number = n->numbered ? makedev(n->major_number, n->minor_number) : st.st_rdev;
    mode_t type = n->numbered && !there ? (n->block ? S_IFBLK : S_IFCHR) : st.st_mode & S_IFMT;
    mode_t mode = (n->has_mode ? n->mode : st.st_mode) & 0777;
    snprintf(name, sizeof name, "device-%zu", i);
    if (mknodat(sb->stage, name, type | mode, number) < 0)
        return -errno;
    if (fchownat(sb->stage, name, n->has_uid ? n->uid : sb->spec->uid, n->has_gid ? n->gid : sb->spec->gid,
                 AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return cb_mnt_clone(sb->stage, name, false);
}

static int put_node(struct cb_sandbox *sb, size_t i, struct cb_error *err)
{
    const struct cb_cdi_node *n = &sb->devices.nodes[i];
    int mnt = sb->spec->id_mode == CB_ID_REAL_ROOT ? own_node(sb, i) : -EPERM;
    if (mnt == -EPERM && sb->device_fds[i] >= 0)
        mnt = CB_TAKE_FD(sb->device_fds[i]);
    return cb_rootfs_put(sb, mnt, n->path, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, err);
}

int cb_devices_attach(struct cb_sandbox *sb, struct cb_error *err)
{
    const struct cb_cdi *c = &sb->devices;
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->n_nodes; i++)
        r = put_node(sb, i, err);
    for (size_t i = 0; r == 0 && i < c->n_mounts; i++)
        r = cb_rootfs_put(sb, CB_TAKE_FD(sb->device_fds[c->n_nodes + i]), c->mounts[i].path,
                          CB_MNT_SAFE | MOUNT_ATTR_RDONLY, err);
    return r;
}

void cb_devices_done(struct cb_sandbox *sb)
{
    for (size_t i = 0; i < sb->n_device_fds; i++)
        if (sb->device_fds[i] >= 0)
            close(sb->device_fds[i]);
    free(CB_TAKE(sb->device_fds));
    sb->n_device_fds = 0;
    cb_cdi_done(&sb->devices);
}
