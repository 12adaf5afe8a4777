#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command for which a system call fails, as where the kernel, the file system or a container's filter has it not.
usage: refusing.py CALL ERROR COMMAND…   (openat2 ENOSYS cbpush build .)"""
import ctypes
import errno
import os
import platform
import struct
import sys

NUMBERS = {"openat2": {"x86_64": 437, "aarch64": 437}, "flock": {"x86_64": 73, "aarch64": 32}}
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
ALLOW, ERRNO = 0x7FFF0000, 0x00050000
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, FILTER = 38, 22, 2


def main():
    call, error, *command = sys.argv[1:]
    steps = ((LOAD, 0, 0, 0), (EQUAL, 0, 1, NUMBERS[call][platform.machine()]),
             (RETURN, 0, 0, ERRNO | getattr(errno, error)), (RETURN, 0, 0, ALLOW))
    text = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *s) for s in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(text)))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, FILTER, program, 0, 0)):
        if libc.prctl(*arguments):
            sys.exit(f"refusing.py: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
