# SPDX-License-Identifier: Apache-2.0
"""The same steps in a plain directory: what an image should hold."""
import os
import shutil
import stat
import subprocess


def fsop(program, *words, output=None):
    done = subprocess.run([program, *words], check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=120)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, words))}: {done.stderr.decode(errors='replace')}")
    return done.stdout.decode("ascii").split("\n")[:-1]


def owner(path, st, keep):
    os.chown(path, *((st.st_uid, st.st_gid) if keep else (0, 0)), follow_symlinks=False)


def attributes(src, dst, st, keep):
    """keep: owners, as COPY --from does."""
    owner(dst, st, keep)
    if not stat.S_ISLNK(st.st_mode):
        os.chmod(dst, st.st_mode & 0o7777)
        for name in os.listxattr(dst):
            os.removexattr(dst, name)
        for name in os.listxattr(src):
            os.setxattr(dst, name, os.getxattr(src, name))
    os.utime(dst, ns=(st.st_mtime_ns, st.st_mtime_ns // 10**9 * 10**9), follow_symlinks=False)


def conflicts(src, dst):
    """Where a directory would meet something else."""
    for base, dirs, files in os.walk(src):
        there = dst + base[len(src):]
        for name in dirs + files:
            is_dir = os.path.isdir(base + b"/" + name) and not os.path.islink(base + b"/" + name)
            at = there + b"/" + name
            if os.path.lexists(at) and (os.path.islink(at) or os.path.isdir(at) != is_dir) and (is_dir or os.path.isdir(at)):
                return True
    return False


def place(src, dst, st, keep, first):
    """One that is no directory."""
    if os.path.lexists(dst):
        os.unlink(dst)
    if stat.S_ISREG(st.st_mode) and (st.st_dev, st.st_ino) in first:
        os.link(first[st.st_dev, st.st_ino], dst)
        return
    first[st.st_dev, st.st_ino] = dst
    if stat.S_ISREG(st.st_mode):
        shutil.copyfile(src, dst)
    elif stat.S_ISLNK(st.st_mode):
        os.symlink(os.readlink(src), dst)
    elif stat.S_ISSOCK(st.st_mode):
        os.close(os.open(dst, os.O_CREAT | os.O_WRONLY))
    else:
        os.mknod(dst, st.st_mode, st.st_rdev)
    attributes(src, dst, st, keep)


def is_as(src, st, dst, old, keep):
    """Then a directory is left as it is, with its time."""
    owner_is = (st.st_uid, st.st_gid) if keep else (0, 0)
    return old.st_mode == st.st_mode and owner_is == (old.st_uid,
                                                      old.st_gid) and not os.listxattr(src) and not os.listxattr(dst)


def copy(src, dst, keep, first=None, sockets=True):
    """The contents of a directory into another one."""
    top, first = first is None, {} if first is None else first
    there = os.lstat(dst)
    for name in sorted(os.listdir(src)):
        a, b = src + b"/" + name, dst + b"/" + name
        st = os.lstat(a)
        if stat.S_ISDIR(st.st_mode):
            old = os.lstat(b) if os.path.isdir(b) else None
            stays = old and is_as(a, st, b, old, keep)
            if not old:
                os.mkdir(b)
            copy(a, b, keep, first, sockets)
            attributes(a, b, old if stays else st, keep or stays)
        elif sockets or not stat.S_ISSOCK(st.st_mode):
            place(a, b, st, keep, first)
    if top:
        os.utime(dst, ns=(there.st_mtime_ns, there.st_mtime_ns))
