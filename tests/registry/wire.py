# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 on a socket, near enough to it that a reply can break off at any byte."""
import http.client
import socket
import struct

MAX_HEAD = 300 * 1024


class Gone(Exception):
    """The other side closed the connection, or we did."""


class Wire:
    """One connection: what was read and not used yet, and how to end it."""

    def __init__(self, sock):
        self.sock = sock
        self.buffer = b""

    def fill(self):
        try:
            data = self.sock.recv(65536)
        except (OSError, ValueError) as error:
            raise Gone from error
        if not data:
            raise Gone
        self.buffer += data

    def take(self, n):
        data, self.buffer = self.buffer[:n], self.buffer[n:]
        return data

    def head(self):
        """The head of the next request, with its empty line."""
        while b"\r\n\r\n" not in self.buffer:
            if len(self.buffer) > MAX_HEAD:
                raise Gone
            self.fill()
        return self.take(self.buffer.index(b"\r\n\r\n") + 4)

    def line(self):
        while b"\r\n" not in self.buffer:
            self.fill()
        return self.take(self.buffer.index(b"\r\n") + 2)[:-2]

    def send(self, data):
        try:
            self.sock.sendall(data)
        except (OSError, ValueError) as error:
            raise Gone from error

    def reset(self):
        """Ends the connection by RST."""
        try:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.close()

    def finish(self):
        """Ends it by FIN; of TLS nothing says goodbye."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
            self.sock.settimeout(2)
            while self.sock.recv(65536):
                pass
        except (OSError, ValueError):
            pass
        self.close()

    def stall(self, seconds=60):
        """Says nothing more until the other side gives up."""
        try:
            self.sock.settimeout(seconds)
            while self.sock.recv(65536):
                pass
        except (OSError, ValueError):
            pass
        self.close()

    def close(self):
        try:
            self.sock.close()
        except OSError:
            pass


class Request:
    """A request's head; the body stays in the wire until it is read."""

    def __init__(self, head):
        self.raw = head
        first, *lines = head.decode("latin-1").split("\r\n")[:-2]
        words = first.split(" ")
        if len(words) != 3:
            raise Gone
        self.method, self.target, _ = words
        self.headers = []
        for line in lines:
            name, _, value = line.partition(":")
            self.headers.append((name.strip().lower(), value.strip()))
        self.body = b""

    def header(self, name):
        for key, value in self.headers:
            if key == name.lower():
                return value
        return None

    def pieces(self, wire):
        """The body, as it comes."""
        if (self.header("transfer-encoding") or "").lower() == "chunked":
            while True:
                left = int(wire.line().split(b";")[0], 16)
                if left == 0:
                    while wire.line():
                        pass
                    return
                while left:
                    if not wire.buffer:
                        wire.fill()
                    data = wire.take(left)
                    left -= len(data)
                    yield data
                wire.line()
        left = int(self.header("content-length") or 0)
        while left:
            if not wire.buffer:
                wire.fill()
            data = wire.take(left)
            left -= len(data)
            yield data

    def length(self):
        """Of the body; None where it is not told."""
        if self.header("transfer-encoding"):
            return None
        return int(self.header("content-length") or 0)


class Reply:
    """What is answered; header names keep their case and order."""

    def __init__(self, status, body=b"", **headers):
        self.status = status
        self.body = body.encode() if isinstance(body, str) else body
        self.headers = [(name.replace("_", "-"), str(value)) for name, value in headers.items()]
        self.length = None  # what Content-Length says, where that is not the truth
        self.without_body = False

    def set(self, name, value):
        self.drop(name)
        self.headers.append((name, value))

    def drop(self, name):
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]

    def get(self, name):
        for key, value in self.headers:
            if key.lower() == name.lower():
                return value
        return None

    def head_bytes(self):
        lines = [f"HTTP/1.1 {self.status} {http.client.responses.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        if self.status >= 200 and self.status != 204 and self.get("Content-Length") is None:
            lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def body_bytes(self):
        return b"" if self.without_body or self.status in (204, 304) else self.body
