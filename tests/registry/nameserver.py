#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a command where all names are asked of a name server in trouble. usage: nameserver.py LOG MODE COMMAND…

To be started in network and mount namespaces of its own. MODE: nxdomain, servfail, silent. A query is a line of LOG.
"""
import fcntl
import socket
import struct
import subprocess
import sys
import tempfile
import threading

CODES = {"nxdomain": 3, "servfail": 2}


def bring_up_loopback():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, 0x8914, struct.pack("16sh22x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up, running


def serve(sock, mode, log):
    while True:
        query, sender = sock.recvfrom(4096)
        log.write("query\n")
        log.flush()
        if mode != "silent":
            sock.sendto(query[:2] + struct.pack(">H", 0x8180 | CODES[mode]) + query[4:], sender)


def main():
    path, mode, *command = sys.argv[1:]
    bring_up_loopback()
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 53))
    with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="ascii") as conf:
        conf.write("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
        conf.flush()
        subprocess.run(["mount", "--bind", conf.name, "/etc/resolv.conf"], check=True)
        with open(path, "w", encoding="ascii") as log:
            threading.Thread(target=serve, args=(sock, mode, log), daemon=True).start()
            status = subprocess.run(command, check=False).returncode
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
    sys.exit(status)


if __name__ == "__main__":
    main()
