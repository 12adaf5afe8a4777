#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Passes GET and HEAD on to a registry. Once the file ARMED is there, a HEAD of a manifest is answered when HEADs of two
different repositories have come, or with 504 after ten seconds: who asks for one after the other gets nowhere.
usage: both_proxy.py REGISTRY PORTFILE ARMED"""
import http.client
import http.server
import os
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.command == "HEAD" and "/manifests/" in self.path and os.path.exists(sys.argv[3]):
            self.server.seen.add(self.path.split("/manifests/")[0])
            if len(self.server.seen) > 1:
                self.server.both.set()
            if not self.server.both.wait(10):
                print("nobody else came:", self.path, flush=True)
                self.send_response(504)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
        registry = http.client.HTTPConnection(sys.argv[1])
        registry.request(self.command, self.path, headers=dict(self.headers))
        reply = registry.getresponse()
        body = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_GET

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.seen, server.both = set(), threading.Event()
    with open(sys.argv[2] + ".new", "w", encoding="ascii") as file:
        file.write(str(server.server_address[1]))
    os.rename(sys.argv[2] + ".new", sys.argv[2])
    server.serve_forever()


main()
