# SPDX-License-Identifier: Apache-2.0
"""A web server of what ADD fetches: each file with an ETag, or a Last-Modified, or both."""
import email.utils
import hashlib
import http.server
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):  # pylint: disable=invalid-name
        found = self.server.files.get(self.path)
        if not found:
            self.send_error(404)
            return
        data, etag, time = found
        tag = '"' + hashlib.sha256(data).hexdigest()[:16] + '"' if etag else None
        date = email.utils.formatdate(time, usegmt=True) if time else None
        asked = self.headers.get("If-None-Match"), self.headers.get("If-Modified-Since")
        same = asked[0] == tag if asked[0] else bool(asked[1]) and asked[1] == date
        self.send_response(304 if same else 200)
        if tag:
            self.send_header("ETag", tag)
        if date:
            self.send_header("Last-Modified", date)
        self.send_header("Content-Length", "0" if same else str(len(data)))
        self.end_headers()
        if not same and self.command == "GET":
            self.wfile.write(data)

    do_HEAD = do_GET

    def log_message(self, *_):  # pylint: disable=arguments-differ
        pass


class Server(http.server.ThreadingHTTPServer):
    """files: path → (bytes, whether there is an ETag, seconds of Last-Modified or None)."""
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {}
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self, path):
        return f"http://127.0.0.1:{self.server_address[1]}{path}"
