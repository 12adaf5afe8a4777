#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes requests on to a registry, but for those whose "METHOD PATH" matches SILENT: these are never answered. Prints
"silent METHOD PATH" when one has come, and "closed METHOD PATH" when the client has closed its connection. What matches
HELD waits until one has come ("held METHOD PATH"), and then is answered with STATUS, or passed on. GET /silent is
answered with 200 once one has come, GET /closed once one was closed, before with 503.
usage: silent_proxy.py REGISTRY PORTFILE SILENT [HELD [STATUS]]"""
import re
import sys
import threading

import passing_on


def tell(*words):
    """In one write: several threads do."""
    print(" ".join(words) + "\n", end="", flush=True)


class Silent(passing_on.PassingOn):
    come, closed = threading.Event(), threading.Event()

    def answer(self):
        what = f"{self.command} {self.path}"
        if what in ("GET /silent", "GET /closed"):
            return self.say(200 if (self.come if what.endswith("t") else self.closed).is_set() else 503)
        if len(sys.argv) > 4 and re.search(sys.argv[4], what):
            tell("held", what)
            self.come.wait()
            return len(sys.argv) > 5 and self.say(int(sys.argv[5]))
        return bool(re.search(sys.argv[3], what)) and self.be_silent(what)

    def be_silent(self, what):
        tell("silent", what)
        self.come.set()
        try:
            while self.connection.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        tell("closed", what)
        self.closed.set()
        self.close_connection = True
        return True

    def say(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        return True


def main():
    passing_on.serve(passing_on.make(Silent, sys.argv[1]), sys.argv[2])


main()
