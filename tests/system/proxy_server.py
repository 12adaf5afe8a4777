#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A forward proxy (CONNECT only) for the system tests, which finds names where --map says.

Each request is a line in --log: the status that it got and the target. Headers of a CONNECT that are not a proxy's
business (Authorization, Cookie) are written there too, so that a test sees what leaks. Standard library only.
"""
import argparse
import base64
import os
import selectors
import socket
import socketserver
import ssl


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        line = self.rfile.readline(65536).decode("latin-1").split()
        headers = {}
        while (text := self.rfile.readline(65536).decode("latin-1").strip()):
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        options = self.server.options
        target = line[1] if len(line) > 1 else ""
        if not line or line[0] != "CONNECT":
            self.answer("405 Method Not Allowed", target, headers)
        elif options.user and headers.get("proxy-authorization") != "Basic " + base64.b64encode(
                options.user.encode()).decode():
            self.answer("407 Proxy Authentication Required", target, headers,
                        'Proxy-Authenticate: Basic realm="proxy"\r\n')
        elif target not in self.server.map:
            self.answer("502 Bad Gateway", target, headers)
        else:
            self.tunnel(target, headers)

    def answer(self, status, target, headers, more=""):
        leaks = [n for n in ("authorization", "cookie") if n in headers]
        with open(self.server.options.log, "a", encoding="utf-8") as log:
            log.write(f"{status.split()[0]} {target} {' '.join(leaks)}\n")
        length = "" if status.startswith("200") else "Content-Length: 0\r\n"
        self.wfile.write(f"HTTP/1.1 {status}\r\n{more}{length}\r\n".encode())

    def tunnel(self, target, headers):
        host, _, port = self.server.map[target].rpartition(":")
        with socket.create_connection((host, int(port))) as far, selectors.DefaultSelector() as ready:
            self.answer("200 Connection established", target, headers)
            ready.register(far, selectors.EVENT_READ, self.connection)
            ready.register(self.connection, selectors.EVENT_READ, far)
            while True:
                held = getattr(self.connection, "pending", lambda: 0)()  # what TLS has read already
                for key in [k for k, _ in ready.select(0 if held else None)] or [ready.get_key(self.connection)]:
                    data = key.fileobj.recv(65536)
                    if not data:
                        return
                    key.data.sendall(data)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--port-file", required=True, help="where the port is written once the server listens")
    p.add_argument("--log", required=True)
    p.add_argument("--tls-cert", help="the proxy itself is spoken to in TLS")
    p.add_argument("--tls-key")
    p.add_argument("--user", metavar="NAME:PASSWORD")
    p.add_argument("--map", action="append", default=[], metavar="HOST:PORT=HOST:PORT")
    options = p.parse_args()
    server = Server(("127.0.0.1", 0), Handler)
    server.options = options
    if options.tls_cert:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls_cert, options.tls_key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.map = dict(m.split("=", 1) for m in options.map)
    with open(options.port_file + ".new", "w", encoding="ascii") as f:
        f.write(f"{server.server_address[1]}\n")
    os.rename(options.port_file + ".new", options.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
