#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes requests on to a registry. Once the file ARMED is there, a request whose "METHOD PATH" a REGEX finds is answered
when one has come for each of them, or with 504 after ten seconds: who asks for one after the other gets nowhere.
usage: both_proxy.py REGISTRY PORTFILE ARMED REGEX REGEX…"""
import os
import re
import sys
import threading

import passing_on


class Both(passing_on.PassingOn):
    def answer(self):
        found = [regex for regex in sys.argv[4:] if re.search(regex, f"{self.command} {self.path}")]
        if not found or not os.path.exists(sys.argv[3]):
            return False
        self.server.seen.update(found)
        if len(self.server.seen) == len(sys.argv[4:]):
            self.server.both.set()
        if self.server.both.wait(10):
            return False
        print("nobody else came:", self.command, self.path, flush=True)
        self.send_response(504)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True


def main():
    server = passing_on.make(Both, sys.argv[1])
    server.seen, server.both = set(), threading.Event()
    passing_on.serve(server, sys.argv[2])


main()
