#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes requests on to a registry, but for those whose "METHOD PATH" matches: these are never answered. Prints "silent
METHOD PATH" when one has come, and "closed METHOD PATH" when the client has closed its connection. GET /silent is
answered with 200 once one has come, with 503 before. What matches REFUSED gets 403 once one has come.
usage: silent_proxy.py REGISTRY PORTFILE REGEX [REFUSED]"""
import re
import sys
import threading

import passing_on


class Silent(passing_on.PassingOn):
    def answer(self):
        what = f"{self.command} {self.path}"
        if what == "GET /silent":
            return self.say(200 if self.server.silent.is_set() else 503)
        if len(sys.argv) > 4 and re.search(sys.argv[4], what):
            self.server.silent.wait()
            return self.say(403)
        if not re.search(sys.argv[3], what):
            return False
        self.server.silent.set()
        print("silent", what, flush=True)
        try:
            while self.connection.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        print("closed", what, flush=True)
        self.close_connection = True
        return True

    def say(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.send_header("Connection", "close")
        self.end_headers()
        return True


def main():
    server = passing_on.make(Silent, sys.argv[1])
    server.silent = threading.Event()
    passing_on.serve(server, sys.argv[2])


main()
