#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the config.json of a container as `docker run` makes one by default: 14 capabilities, the calls of its seccomp
profile refused, devices by the cgroup, /proc masked. usage: container.py UID BIND… -- COMMAND…
BIND: HOST:TARGET[:rw]. This machine's network; its /usr and /etc, read-only; tmpfs on /tmp and /var/lib/cbpush."""
import json
import os
import sys

CAPS = ["CAP_" + c for c in ("CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP KILL "
                             "AUDIT_WRITE NET_BIND_SERVICE SYS_CHROOT").split()]
# docs.docker.com, "significant syscalls blocked by the default profile", and the newer mount calls.
REFUSED = ("acct add_key bpf clock_adjtime clock_settime delete_module finit_module fsconfig fsmount fsopen fspick "
           "init_module ioperm iopl kcmp kexec_file_load kexec_load keyctl lookup_dcookie mount mount_setattr move_mount "
           "open_by_handle_at open_tree perf_event_open pivot_root quotactl reboot request_key setns settimeofday swapoff "
           "swapon umount umount2 unshare userfaultfd").split()
NAMESPACES = 0x7E020000
MASKED = ("acpi asound interrupts kcore keys latency_stats sched_debug scsi timer_list timer_stats").split()
READONLY = "bus fs irq sys sysrq-trigger".split()


def mount(target, kind, source, *options):
    return {"destination": target, "type": kind, "source": source, "options": list(options)}


def bind(text):
    source, target, *mode = text.split(":")
    return mount(target, "bind", source, "rbind", *(mode or ["ro"]))


def device(kind, access, major=None, minor=None):
    rule = {"allow": True, "type": kind, "access": access}
    rule.update({k: v for k, v in (("major", major), ("minor", minor)) if v is not None})
    return rule


def config(uid, binds, args):
    caps = CAPS if uid == 0 else []
    quiet = ("nosuid", "noexec", "nodev")
    names = [n for n in os.environ if n.startswith(("CBPUSH", "CONTAINERS_", "HOME", "XDG_"))]
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False, "user": {"uid": uid, "gid": uid}, "args": args, "cwd": "/tmp",
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TMPDIR=/tmp"] + [f"{n}={os.environ[n]}" for n in names],
            "capabilities": {"bounding": CAPS, "effective": caps, "permitted": caps},
            "noNewPrivileges": False,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "container",
        "mounts": [
            mount("/proc", "proc", "proc", *quiet),
            mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
            mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
            mount("/dev/shm", "tmpfs", "shm", *quiet, "mode=1777", "size=65536k"),
            mount("/dev/mqueue", "mqueue", "mqueue", *quiet),
            mount("/sys", "sysfs", "sysfs", *quiet, "ro"),
            mount("/tmp", "tmpfs", "tmpfs", "nosuid", "mode=1777"),
            mount("/var/lib/cbpush", "tmpfs", "tmpfs", "mode=755"),
            bind("/usr:/usr"), bind("/etc:/etc"), *map(bind, binds),
        ],
        "linux": {
            "namespaces": [{"type": t} for t in ("mount", "pid", "ipc", "uts")],
            "maskedPaths": [f"/proc/{p}" for p in MASKED] + ["/sys/firmware"],
            "readonlyPaths": [f"/proc/{p}" for p in READONLY],
            "resources": {"devices": [
                {"allow": False, "access": "rwm"}, device("c", "m"), device("b", "m"),
                *(device("c", "rwm", 1, n) for n in (3, 5, 7, 8, 9)), *(device("c", "rwm", 5, n) for n in (0, 1, 2)),
                device("c", "rwm", 136),
            ]},
            "seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
                {"names": REFUSED, "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
                *({"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1,
                   "args": [{"index": 0, "value": 1 << bit, "valueTwo": 1 << bit, "op": "SCMP_CMP_MASKED_EQ"}]}
                  for bit in range(32) if NAMESPACES >> bit & 1),
            ]},
        },
    }


def main():
    split = sys.argv.index("--")
    json.dump(config(int(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1:]), sys.stdout, indent=1)


if __name__ == "__main__":
    main()
