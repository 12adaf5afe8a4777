#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A token server for a registry (Docker's token protocol and its OAuth2 form), for the system tests.

Its JSON web tokens are real: RS256, with the signer's certificate in x5c, so a docker-registry that has that
certificate as rootcertbundle verifies them. Standard library and the openssl program only.

GET  /token?service=&scope=&account=[&offline_token=true]  Basic credentials, or none for an anonymous token
POST /token  grant_type=password (username, password) or refresh_token; access_type=offline asks for a refresh token

Nobody gets more than allowed: an anonymous token holds `pull` of the repositories that match --anonymous, a --reader
pulls everything, a --user may do all. Wrong credentials: 401. Each request is a JSON line in --log.
"""
import argparse
import base64
import binascii
import fnmatch
import http.server
import json
import os
import secrets
import ssl
import subprocess
import threading
import time
import urllib.parse


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def parse_scope(text):
    """`type:name:actions` -> (type, name, [action]); the name may hold colons. None if it is no scope."""
    kind, _, rest = text.partition(":")
    name, colon, actions = rest.rpartition(":")
    return (kind, name, actions.split(",")) if kind and name and colon else None


class Denied(Exception):
    """The credentials are wrong."""


class Issuer:
    """Accounts, what they may do, and the key."""

    def __init__(self, options):
        self.options = options
        self.users = dict(u.split(":", 1) for u in options.user)
        self.readers = dict(u.split(":", 1) for u in options.reader)
        self.refresh_tokens = {}
        self.lock = threading.Lock()
        pem = open(options.cert, encoding="ascii").read()
        self.x5c = "".join(line for line in pem.splitlines() if not line.startswith("-----"))

    def check(self, name, password):
        for accounts in (self.users, self.readers):
            if name in accounts and secrets.compare_digest(accounts[name].encode(), password.encode()):
                return name
        raise Denied("wrong user name or password")

    def check_basic(self, header):
        """The account of an Authorization header; "" if there is none."""
        if not header:
            return ""
        kind, _, value = header.partition(" ")
        try:
            name, colon, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Denied("broken credentials") from None
        if kind.lower() != "basic" or not colon:
            raise Denied("only Basic credentials are taken")
        return self.check(name, password)

    def check_refresh(self, token):
        with self.lock:
            if token not in self.refresh_tokens:
                raise Denied("unknown refresh token")
            return self.refresh_tokens[token]

    def new_refresh(self, account):
        token = "refresh-" + secrets.token_urlsafe(24)
        with self.lock:
            self.refresh_tokens[token] = account
        return token

    def allowed(self, account, kind, name, action):
        if account in self.users:
            return True
        if kind != "repository" or action != "pull":
            return False
        return account in self.readers or any(fnmatch.fnmatch(name, p) for p in self.options.anonymous)

    def granted(self, account, scopes):
        access = []
        for kind, name, actions in scopes:
            may = [a for a in actions if self.allowed(account, kind, name, a)]
            if may:
                access.append({"type": kind, "name": name, "actions": may})
        return access

    def sign(self, text):
        command = ["openssl", "dgst", "-sha256", "-sign", self.options.key]
        return subprocess.run(command, input=text.encode(), stdout=subprocess.PIPE, check=True).stdout

    def token(self, account, service, access):
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [self.x5c]}
        claims = {"iss": self.options.issuer, "sub": account, "aud": service, "access": access,
                  "exp": now + self.options.expires, "nbf": now - 10, "iat": now, "jti": secrets.token_hex(8)}
        text = ".".join(b64url(json.dumps(part).encode()) for part in (header, claims))
        return text + "." + b64url(self.sign(text))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "cbpush-test-token-server"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        scopes = [s for line in query.get("scope", []) for s in line.split(" ")]
        self.serve(url.path, scopes, query.get("service", [""])[0], "basic",
                   lambda issuer: issuer.check_basic(self.headers.get("Authorization")),
                   offline=query.get("offline_token") == ["true"])

    def do_POST(self):
        length = int(self.headers.get("Content-Length", "0"))
        form = urllib.parse.parse_qs(self.rfile.read(min(length, 65536)).decode(), keep_blank_values=True)

        def field(name):
            return form.get(name, [""])[0]

        def account(issuer):
            if field("grant_type") == "password":
                return issuer.check(field("username"), field("password"))
            if field("grant_type") == "refresh_token":
                return issuer.check_refresh(field("refresh_token"))
            raise Denied("unknown grant_type")

        self.serve(urllib.parse.urlsplit(self.path).path, field("scope").split(), field("service"),
                   field("grant_type"), account, offline=field("access_type") == "offline")

    def serve(self, path, scopes, service, grant, find_account, offline):
        record = {"method": self.command, "path": path, "service": service, "scope": scopes, "grant": grant,
                  "account": None, "offline": offline, "agent": self.headers.get("User-Agent", "")}
        issuer, parsed = self.server.issuer, [parse_scope(s) for s in scopes if s]
        try:
            if path != "/token":
                self.answer(record, 404, {"errors": [{"code": "NOT_FOUND", "message": "no such page"}]})
            elif service != issuer.options.service or None in parsed:
                self.answer(record, 400, {"errors": [{"code": "BAD_REQUEST", "message": "bad service or scope"}]})
            else:
                record["account"] = find_account(issuer)
                self.answer(record, 200, self.grant(record, parsed, offline))
        except Denied as why:
            self.answer(record, 401, {"errors": [{"code": "UNAUTHORIZED", "message": str(why)}]})

    def grant(self, record, scopes, offline):
        issuer, account = self.server.issuer, record["account"]
        access = issuer.granted(account, scopes)
        token = issuer.token(account, record["service"], access)
        body = {"access_token": token, "expires_in": issuer.options.expires,
                "issued_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        if self.command == "GET":
            body["token"] = token
        else:
            body["scope"] = " ".join(f"{a['type']}:{a['name']}:{','.join(a['actions'])}" for a in access)
        if offline and account:
            body["refresh_token"] = issuer.new_refresh(account)
        record["granted"] = access
        return body

    def answer(self, record, status, body):
        record["status"] = status
        self.server.log(record)
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, options):
        self.issuer = Issuer(options)
        self.log_path, self.log_lock = options.log, threading.Lock()
        super().__init__(("127.0.0.1", options.port), Handler)
        if options.tls_cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(options.tls_cert, options.tls_key)
            self.socket = context.wrap_socket(self.socket, server_side=True)

    def log(self, record):
        with self.log_lock, open(self.log_path, "a", encoding="utf-8") as f:
            f.write(json.dumps(record) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--port", type=int, default=0, help="0: a free one")
    p.add_argument("--port-file", help="where the port is written once the server listens")
    p.add_argument("--issuer", default="cbpush-test-issuer")
    p.add_argument("--service", default="cbpush-test-registry")
    p.add_argument("--key", required=True, help="RSA key (PEM) that signs")
    p.add_argument("--cert", required=True, help="its certificate (PEM), the registry's rootcertbundle")
    p.add_argument("--user", action="append", default=[], metavar="NAME:PASSWORD", help="may do everything")
    p.add_argument("--reader", action="append", default=[], metavar="NAME:PASSWORD", help="may pull")
    p.add_argument("--anonymous", action="append", default=[], metavar="GLOB", help="repositories that all may pull")
    p.add_argument("--expires", type=int, default=300, metavar="SECONDS")
    p.add_argument("--log", default=os.devnull)
    p.add_argument("--tls-cert")
    p.add_argument("--tls-key")
    options = p.parse_args()
    server = Server(options)
    if options.port_file:
        with open(options.port_file + ".new", "w", encoding="ascii") as f:
            f.write(f"{server.server_address[1]}\n")
        os.rename(options.port_file + ".new", options.port_file)
    server.serve_forever()


if __name__ == "__main__":
    main()
