# SPDX-License-Identifier: Apache-2.0
"""File systems that were made a moment ago.

ext4 does not hand out an inode again for some minutes after its file was deleted, and looks for another one by walking
over all those in its way. Whoever empties a store and then makes thousands of files measures that walk: several times
what unpacking costs on the fresh machine that a cold build stands for. So every empty store is a new ext4 in a sparse
file, and so is the directory that everything else works in."""
import os
import shutil
import subprocess

SIZE = 64 << 30  # sparse: what is not written takes no room


class NoDisk(Exception):
    """A file system could not be made or mounted; the text says what failed."""


def run(*argv):
    if shutil.which(argv[0]) is None:
        raise NoDisk(f"{argv[0]} is not installed")
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise NoDisk(f"{' '.join(argv)}: {' '.join(done.stderr.split())}")


def mount_points(top):
    """Mount points at and below a directory, the last mounted first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as f:
        points = [line.split()[4].encode().decode("unicode_escape") for line in f]
    return [p for p in reversed(points) if p == top or p.startswith(top + "/")]


def unmount_below(top):
    for point in mount_points(top):
        subprocess.run(["umount", "-l", point], check=False, capture_output=True)


class Disk:
    """A directory that can be made empty: a file system of its own where that is possible. The mount is private to the
    process's name space, so it ends with it, and the loop device with the mount."""

    def __init__(self, directory, image, use_loop):
        self.directory, self.image, self.use_loop = directory, image, use_loop
        os.makedirs(directory, exist_ok=True)

    def renew(self):
        unmount_below(self.directory)
        if self.use_loop:
            self.fresh()
        else:
            shutil.rmtree(self.directory, ignore_errors=True)
            os.makedirs(self.directory)

    def fresh(self):
        if os.path.exists(self.image):
            os.unlink(self.image)
        with open(self.image, "wb") as f:
            f.truncate(SIZE)
        run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1,nodiscard", self.image)
        # noinit_itable: or the kernel writes the inode tables behind our back while we measure.
        run("mount", "-o", "loop,noatime,noinit_itable", self.image, self.directory)
        os.rmdir(os.path.join(self.directory, "lost+found"))
