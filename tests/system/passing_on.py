# SPDX-License-Identifier: Apache-2.0
"""A server between a client and a registry, for those that hold some requests back."""
import http.client
import http.server
import os


class PassingOn(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = None

    def answer(self):
        """What a subclass has to say itself; True: it has, or wants the connection closed."""
        return False

    def do_GET(self):
        if self.answer():
            return
        registry = http.client.HTTPConnection(self.registry)
        registry.request(self.command, self.path, self.rfile.read(int(self.headers.get("Content-Length") or 0)),
                         dict(self.headers))
        reply = registry.getresponse()
        body = reply.read()
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = do_GET

    def log_message(self, *_):
        pass


def make(handler, registry):
    handler.registry = registry
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)


def serve(server, port_file):
    with open(port_file + ".new", "w", encoding="ascii") as file:
        file.write(str(server.server_address[1]))
    os.rename(port_file + ".new", port_file)
    server.serve_forever()
