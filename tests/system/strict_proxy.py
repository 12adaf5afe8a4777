#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes requests on to a registry that takes no manifest by its digest before the one with the tag, as if what refers
to an image might not be there before it. Prints "refused PATH". The tag waits for the first that is refused.
usage: strict_proxy.py REGISTRY PORTFILE"""
import sys
import threading

import passing_on


class Strict(passing_on.PassingOn):
    refused, tagged = threading.Event(), threading.Event()

    def answer(self):
        if self.command != "PUT" or "/manifests/sha256:" not in self.path or self.tagged.is_set():
            return False
        self.rfile.read(int(self.headers["Content-Length"]))
        print("refused " + self.path + "\n", end="", flush=True)
        self.refused.set()
        self.send_response(404)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def do_PUT(self):
        if "/manifests/" in self.path and "sha256:" not in self.path:
            self.refused.wait(60)
            self.tagged.set()  # not behind the answer: who has that may ask at once
        self.do_GET()


passing_on.serve(passing_on.make(Strict, sys.argv[1]), sys.argv[2])
