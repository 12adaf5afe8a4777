#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes requests on to a registry. Once the file ARMED is there, a HEAD of a manifest is answered when HEADs of two
different repositories have come, or with 504 after ten seconds: who asks for one after the other gets nowhere.
usage: both_proxy.py REGISTRY PORTFILE ARMED"""
import os
import sys
import threading

import passing_on


class Both(passing_on.PassingOn):
    def answer(self):
        if self.command != "HEAD" or "/manifests/" not in self.path or not os.path.exists(sys.argv[3]):
            return False
        self.server.seen.add(self.path.split("/manifests/")[0])
        if len(self.server.seen) > 1:
            self.server.both.set()
        if self.server.both.wait(10):
            return False
        print("nobody else came:", self.path, flush=True)
        self.send_response(504)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True


def main():
    server = passing_on.make(Both, sys.argv[1])
    server.seen, server.both = set(), threading.Event()
    passing_on.serve(server, sys.argv[2])


main()
