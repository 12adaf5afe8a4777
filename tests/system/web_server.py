#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A web server for the system tests: files, and git repositories by git's own http-backend.

GET /file/NAME    with ETag and Last-Modified, both conditions are honoured
GET /dated/NAME   Last-Modified only
GET /bare/NAME    no validator at all
GET /deaf/NAME    an ETag, but conditions are ignored
GET /named/NAME   Content-Disposition with a file name that leads out
GET /cut/NAME     the first answer for NAME ends in its middle
GET /to?URL       302 to URL
GET /secret       401
    /moved/SCHEME/HOST/…  302 to SCHEME://HOST/…
    /locked/…     any of these, but 401, and in the body what was sent, unless Authorization is what --authorization holds
    /git/X.git/…  the smart protocol
GET /dumb/X.git/… its files, as any web server has them

A request is a line of --log: METHOD PATH STATUS, then the conditions and Authorization if there are any.
"""
import argparse
import email.utils
import hashlib
import http.server
import os
import ssl
import subprocess
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cut = set()

    def log_request(self, code="-", size="-"):
        conditions = [f"{name}={self.headers[name]}" for name in
                      ("If-None-Match", "If-Modified-Since", "Authorization", "Cookie") if name in self.headers]
        with open(self.server.options.log, "a", encoding="utf-8") as log:
            log.write(" ".join([self.command, self.path, str(int(code)), *conditions]) + "\n")

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if status != 304 and self.command != "HEAD":
            self.wfile.write(body)

    def validators(self, kind, path, body):
        tag = '"' + hashlib.sha256(body).hexdigest()[:16] + '"'
        date = email.utils.formatdate(int(os.stat(path).st_mtime), usegmt=True)
        headers = []
        if kind in ("file", "deaf", "named"):
            headers.append(("ETag", tag))
        if kind in ("file", "dated"):
            headers.append(("Last-Modified", date))
        if kind == "named":
            headers.append(("Content-Disposition", 'attachment; filename="../../evil"'))
        same = self.headers.get("If-None-Match") == tag if "If-None-Match" in self.headers else (
            self.headers.get("If-Modified-Since") == date)
        return headers, kind in ("file", "dated") and same

    def serve_file(self, kind, name):
        path = os.path.join(self.server.options.root, urllib.parse.unquote(name))
        if not os.path.isfile(path):
            self.answer(404, b"no such file\n")
            return
        with open(path, "rb") as file:
            body = file.read()
        headers, unchanged = self.validators(kind, path, body)
        if unchanged:
            self.answer(304, headers=headers)
        elif kind == "cut" and name not in self.cut:
            self.cut.add(name)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:len(body) // 2])
            self.close_connection = True
        else:
            self.answer(200, body, headers)

    def serve_git(self, path, query):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self.read_chunks()
        env = {"PATH": os.environ["PATH"], "GIT_PROJECT_ROOT": self.server.options.root, "GIT_HTTP_EXPORT_ALL": "1",
               "PATH_INFO": "/" + path, "QUERY_STRING": query, "REQUEST_METHOD": self.command,
               "CONTENT_TYPE": self.headers.get("Content-Type", ""), "CONTENT_LENGTH": str(len(body)),
               "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
               "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""), "REMOTE_ADDR": "127.0.0.1",
               "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
        out = subprocess.run(["git", "http-backend"], env=env, input=body, stdout=subprocess.PIPE, check=False).stdout
        head, _, rest = out.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n") if ": " in line]
        status = next((int(v.split()[0]) for k, v in headers if k == "Status"), 200)
        self.answer(status, rest, [h for h in headers if h[0] not in ("Status", "Content-Length")])

    def read_chunks(self):
        body = b""
        while True:
            size = int(self.rfile.readline().split(b";")[0], 16)
            body += self.rfile.read(size)
            self.rfile.readline()
            if size == 0:
                return body

    def is_locked(self):
        sent = self.headers.get("Authorization", "")
        with open(self.server.options.authorization, encoding="utf-8") as file:
            if sent == file.read():
                return False
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(401, f"who is {sent}?\n".encode(), [("WWW-Authenticate", 'Basic realm="x"'),
                                                       ("Content-Type", "text/plain")])
        return True

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path.startswith("/locked/"):
            if self.is_locked():
                return
            path = path.removeprefix("/locked")
        kind, _, name = path.lstrip("/").partition("/")
        if kind == "moved":
            scheme, host, rest = name.split("/", 2)
            self.answer(302, headers=[("Location", f"{scheme}://{host}/{rest}?{query}")])
        elif kind in ("file", "dated", "bare", "deaf", "named", "cut", "dumb"):
            self.serve_file(kind, name)
        elif kind == "git":
            self.serve_git(name, query)
        elif kind == "to":
            self.answer(302, headers=[("Location", urllib.parse.unquote(query))])
        elif kind == "secret":
            self.answer(401, headers=[("WWW-Authenticate", 'Basic realm="x"')])
        else:
            self.answer(404)

    do_HEAD = do_POST = do_GET


def main():
    parser = argparse.ArgumentParser()
    for name in ("root", "log", "port-file", "authorization"):
        parser.add_argument("--" + name, required=True)
    parser.add_argument("--tls", help="directory of server.crt and server.key")
    options = parser.parse_args()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.options = options
    if options.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(options.tls + "/server.crt", options.tls + "/server.key")
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    with open(options.port_file + ".new", "w", encoding="ascii") as file:
        file.write(str(server.server_address[1]))
    os.rename(options.port_file + ".new", options.port_file)
    server.serve_forever()


main()
