#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A registry that misbehaves on request. Standard library and the openssl program only.

usage: faultreg.py --dir DIR      (certificates and the port of the control interface, DIR/port, are left there)

Control, JSON over HTTP: POST /cells [{"name":…, …}] gives each cell a port of its own and answers {name: port};
GET /cells/NAME tells what happened there; GET /attacker is the port of the attacker's server.

A cell is a whole registry of its own (model.py), on its own port, with
    auth      token (default; the token server is /token on the same port), basic, none
    tls       good expired wronghost unknownca old client rst plain: HTTPS with that flaw; h2: would rather speak
              HTTP/2; h2only: speaks nothing else; absent: plain HTTP
    seed      {repository: {tag: image}}, of the images in --layout; blobs: {repository: [digest]}
    rules     faults (faults.py)
    quirks    of whole registries, see class Quirks
and, on the same port, an HTTP proxy for names in .fault.test: registry.fault.test is the registry, anything else is
the attacker. What the attacker hears is kept word for word.
"""
import argparse
import base64
import http.server
import json
import os
import re
import secrets
import selectors
import socket
import ssl
import threading
import time
import urllib.parse
import warnings

import faults
import pki
from faults import Rule
from model import Call, Model, Repository, error
from wire import Gone, Reply, Request, Wire

USER = "fault-user"
REGISTRY, HTTPS_ONLY = "registry.fault.test", b"Client sent an HTTP request to an HTTPS server.\n"


class Quirks:
    """How whole registries and the proxies in front of them differ (builders-and-registries.md §2.5)."""

    KNOWN = {"max-body", "max-patch", "min-chunk", "no-patch", "no-status", "patch-201", "range-stuck", "range",
             "location", "cookies", "mount", "needs-from", "hide", "strict-state", "realm", "service", "proxy",
             "lifetime", "no-range", "no-hash"}

    def __init__(self, values):
        self.values = values
        unknown = set(values) - self.KNOWN
        if unknown:
            raise ValueError(f"no such quirk: {unknown}")
        self.hidden = {}

    def get(self, name, default=None):
        return self.values.get(name, default)

    def number(self, name):
        return int(self.values.get(name, 0))

    def before(self, call, model):
        """A refusal in place of the work, by the head of the request alone, or None."""
        request, length = call.request, call.request.length() or 0
        if self.number("max-body") and length > self.number("max-body"):
            return Reply(413, "<html><head><title>413 Payload Too Large</title></head></html>", Content_Type="text/html",
                         Connection="close")
        if self.get("cookies") and request.header("cookie"):
            return error(400, "BLOB_UPLOAD_INVALID", "a cookie came back")
        if call.op == "patch":
            return self.before_patch(call, length, model)
        if call.op == "status" and self.get("no-status"):
            return error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")
        if call.op == "mount":
            return self.before_mount(call)
        if call.op == "head-blob" and self.hidden.get(call.parts["digest"], 0) > 0:
            self.hidden[call.parts["digest"]] -= 1
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        return None

    def before_patch(self, call, length, model):
        if self.get("no-patch"):
            return error(int(self.get("no-patch")), "UNSUPPORTED", "the operation is unsupported")
        if self.number("max-patch") and call.request.header("content-range") and length > self.number("max-patch"):
            return error(416, "REQUESTED_RANGE_NOT_SATISFIABLE", "The requested range exceeds the maximum permissible "
                         f"limit of {self.number('max-patch') / (1 << 20):.2f}MiB")
        session = model.session(call)
        if self.number("min-chunk") and session:
            if getattr(session, "short", False):
                return error(416, "BLOB_UPLOAD_INVALID", "a chunk before the last was too small")
            session.short = length < self.number("min-chunk")
        return self.old_state(call, session)

    def old_state(self, call, session):
        given = call.query.get("_state", "").rpartition("-")[2]
        if self.get("strict-state") and session and given != str(session.state):
            return error(404, "BLOB_UPLOAD_UNKNOWN", "state of another time")
        return None

    def before_mount(self, call):
        mount = self.get("mount")
        if mount == "202":
            call.query["from"] = ""
        if self.get("needs-from") and not call.query.get("from"):
            return error(400, "UNSUPPORTED", "from is missing")
        if mount in ("401", "403", "404", "405", "500"):
            if mount == "401" and "from" not in call.query:
                return None
            return error(int(mount), "DENIED", "no mounts here",
                         **({"WWW_Authenticate": 'Bearer realm="{R}/token"'} if mount == "401" else {}))
        return None

    def after(self, call, reply, cell):
        """What a registry of this kind makes of the true reply."""
        if call.op in ("patch", "post", "mount", "status") and reply.get("Location"):
            self.change_location(call, reply, cell)
        if call.op == "patch" and reply.status == 202 and self.get("patch-201"):
            reply.status = 201
        if call.op in ("patch", "status") and reply.get("Range"):
            self.change_range(reply)
        if call.op in ("post", "mount") and self.number("min-chunk"):
            reply.set("OCI-Chunk-Min-Length", str(self.number("min-chunk")))
        if call.op == "put-blob" and reply.status == 201 and self.number("hide"):
            self.hidden[call.query["digest"]] = self.number("hide")
        if self.get("cookies"):
            reply.set("Set-Cookie", "session=" + secrets.token_hex(4) + "; Path=/")
        if self.get("no-hash"):
            reply.drop("Docker-Content-Digest")

    def change_location(self, call, reply, cell):
        path = reply.get("Location")
        if path.startswith(f"/v2/{call.repo}/blobs/sha"):
            return
        how = self.get("location", "relative")
        base = cell.base(call.request)
        forms = {"relative": path, "absolute": base + path, "http": base.replace("https:", "http:") + path,
                 "downgrade": "http://" + REGISTRY + path, "other": "{E}" + path, "none": None,
                 "dot": "../uploads/" + path.rpartition("/")[2], "private": "https://169.254.169.254" + path,
                 "public": f"https://public.example:{cell.server.attacker_port}" + path,
                 "userinfo": base.replace("://", "://who:what@") + path, "port": re.sub(r":\d+$", "", base) + ":9" + path}
        if forms[how]:
            reply.set("Location", cell.expand(forms[how], call.request))
        else:
            reply.drop("Location")

    def change_range(self, reply):
        if self.get("range-stuck") and reply.status in (201, 202):
            self.values.setdefault("first-range", reply.get("Range"))
            reply.set("Range", self.values["first-range"])
        if self.get("no-range"):
            reply.drop("Range")
        if self.get("range"):
            reply.set("Range", self.get("range"))


class Tokens:
    """The token server of a cell, and what it gave out."""

    def __init__(self, cell):
        self.cell, self.given = cell, {}

    def issue(self, call):
        request = call.request
        form = dict(urllib.parse.parse_qsl(request.body.decode("latin-1"))) if request.method == "POST" else call.query
        scopes = " ".join(v for k, v in urllib.parse.parse_qsl(request.target.partition("?")[2]) if k == "scope")
        known = self.cell.basic(request.header("authorization"))
        if form.get("grant_type") == "refresh_token":
            known, scopes = form.get("refresh_token") == self.cell.secret("refresh"), form.get("scope", "")
        if not known and (request.header("authorization") or request.method == "POST"):
            return error(401, "UNAUTHORIZED", "wrong user name or password")
        token = self.cell.secret("token") + secrets.token_hex(8)
        self.given[token] = (set(scopes.split()), known)
        life = int(self.cell.quirks.get("lifetime", 300))
        return Reply(200, json.dumps({"token": token, "expires_in": life}), Content_Type="application/json")

    def allows(self, header, call):
        scopes, known = self.given.get((header or "").removeprefix("Bearer "), (set(), False))
        if not call.repo:
            return bool(header) and known
        asked = {action for scope in scopes if scope.startswith(f"repository:{call.repo}:")
                 for action in scope.rpartition(":")[2].split(",")}
        if call.op == "mount":
            asked &= {a for scope in scopes if scope.startswith(f"repository:{call.query.get('from', call.repo)}:")
                      for a in ("pull", "push")}
        return set(call.actions.split(",")) <= asked and known


class Cell:
    """One registry, its attacker, and what both heard."""

    def __init__(self, server, config):
        self.server, self.config, self.name = server, config, config["name"]
        self.model, self.quirks = Model(), Quirks(config.get("quirks", {}))
        self.rules = [Rule(text) for text in config.get("rules", [])]
        self.tokens = Tokens(self)
        self.lock = threading.RLock()
        self.log, self.heard, self.clear, self.port = [], [], [], 0
        self.open = self.most = 0
        self.names = server.names
        for name, tags in config.get("seed", {}).items():
            self.seed(self.model.repo(name), tags)
        for name, digests in config.get("blobs", {}).items():
            for digest in digests:
                self.model.repo(name).blobs[digest] = server.blob(digest)

    def seed(self, repo: Repository, tags):
        for tag, image in tags.items():
            digest = self.server.images[image]
            data = self.server.blob(digest)
            manifest = json.loads(data)
            repo.manifests[digest] = (manifest["mediaType"], data)
            repo.tags[tag] = digest
            for part in [manifest["config"], *manifest["layers"]]:
                repo.blobs[part["digest"]] = self.server.blob(part["digest"])

    # ---- names and secrets

    def secret(self, what):
        return f"CANARY-{what}-{self.name}-"

    def basic(self, header):
        want = base64.b64encode(f"{USER}:{self.secret('password')}".encode()).decode()
        return header == "Basic " + want

    def base(self, request=None):
        host = request.header("host") if request else f"127.0.0.1:{self.port}"
        return ("https" if self.config.get("tls") else "http") + "://" + (host or "")

    def expand(self, text, request=None):
        proxied = request is not None and (request.header("host") or "").endswith(".fault.test")
        evil = "https://evil.fault.test" if proxied else f"http://localhost:{self.server.attacker_port}/{self.name}"
        return (text.replace("{R}", self.base(request)).replace("{E}", evil)
                .replace("{P}", str(self.port)).replace("{X}", str(self.server.attacker_port)))

    # ---- the registry

    def unauthorized(self, call, more=""):
        realm = self.expand(self.quirks.get("realm", "{R}/token"), call.request)
        reply = error(401, "UNAUTHORIZED", "authentication required")
        if self.config.get("auth", "token") == "basic":
            reply.set("WWW-Authenticate", 'Basic realm="faultreg"')
            return reply
        scope = f',scope="repository:{call.repo}:{call.actions}"' if call.repo else ""
        service = self.quirks.get("service", "faultreg")
        reply.set("WWW-Authenticate", f'Bearer realm="{realm}",service="{service}"{scope}{"," if more else ""}{more}')
        return reply

    def allowed(self, call):
        auth = self.config.get("auth", "token")
        header = call.request.header("authorization")
        if auth == "none" or call.op in ("token", None):
            return True
        return self.basic(header) if auth == "basic" else self.tokens.allows(header, call)

    def rule_for(self, call, op=None):
        """Every rule counts; the first that strikes is taken."""
        struck = [rule for rule in self.rules if rule.matches(op or call.op, call.request.target, self.names)]
        for rule in struck[:1]:
            rule.fired += 1
            if rule.kind == "expired":
                self.tokens.given.pop((call.request.header("authorization") or "").removeprefix("Bearer "), None)
        return struck[0] if struck else None

    def work(self, call):
        if call.op == "token":
            return self.tokens.issue(call)
        if call.op is None:
            return error(404, "UNSUPPORTED", "no such route")
        return self.model.handle(call)

    def whole(self, call):
        return self.model.repo(call.repo).blobs.get(call.parts.get("digest"), b"") if call.op == "get-blob" else b""

    def state(self):
        with self.lock:
            repos = self.model.repositories.items()
            return {
                "log": self.log, "heard": self.heard, "clear": self.clear, "history": self.model.history, "refused": self.model.refused,
                "tags": {name: repo.tags for name, repo in repos},
                "broken": [[name, tag] for name, repo in repos for tag, digest in repo.tags.items()
                           if digest not in repo.manifests
                           or self.model.missing(repo, json.loads(repo.manifests[digest][1]))],
                "manifests": {name: {d: m[1].decode() for d, m in repo.manifests.items()} for name, repo in repos},
                "rules": [[rule.text, rule.fired] for rule in self.rules], "open": self.open, "most": self.most,
                "sessions": len(self.model.sessions),
            }


class Visit:
    """One connection to a cell."""

    def __init__(self, cell, sock, host=None):
        self.cell, self.wire, self.host, self.dying = cell, Wire(sock), host, False

    def run(self):
        while self.one():
            pass

    def one(self):
        """A request and its reply; False where the connection is over."""
        if self.dying:
            self.wire.fill()
            self.wire.reset()
            return False
        request = Request(self.wire.head())
        if request.method == "CONNECT":
            return self.connect(request)
        proxied = re.match(r"http://([^/]+)(/.*)", request.target)
        if proxied:
            self.host, request.target = proxied[1], proxied[2]
        if self.host and self.host.partition(":")[0] != REGISTRY:
            return attacked(self.cell, self.wire, request, self.host)
        return self.registry(request)

    def connect(self, request):
        host, how = request.target.rpartition(":")[0], self.cell.quirks.get("proxy", "")
        with self.cell.lock:
            self.cell.log.append({"op": "connect", "target": request.target, "in": 0, "status": 200,
                                  "auth": request.header("proxy-authorization") or ""})
        if how == "rst":
            self.wire.reset()
            raise Gone
        needs = how == "auth" and not request.header("proxy-authorization")
        if needs or how in ("407", "502", "503"):
            reply = Reply(407 if needs else int(how), Connection="close", Proxy_Authenticate='Basic realm="proxy"')
            self.wire.send(reply.head_bytes())
            self.wire.finish()
            raise Gone
        self.wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        sock = self.wire.sock
        if sock.recv(1, socket.MSG_PEEK) == b"\x16":
            flaw = (self.cell.config.get("tls") or "good") if host == REGISTRY else "good"
            sock = self.cell.server.encrypt(sock, flaw)
        Visit(self.cell, sock, host).run()
        return False

    def registry(self, request):
        cell, call = self.cell, Call(request)
        if request.target.partition("?")[0] == "/token":
            call.op = "token"
        entry = {"op": call.op or "?", "method": request.method, "target": request.target, "in": 0, "status": 0,
                 "auth": (request.header("authorization") or "").partition(" ")[0], "fault": ""}
        with cell.lock:
            cell.log.append(entry)
            # What comes without credentials, to hear what they are to be: what is wrong with it strikes before that.
            if call.op not in ("ping", "token") and not entry["auth"] and not cell.allowed(call):
                entry["op"] = "hello"
            rule = cell.rule_for(call, entry["op"]) if entry["op"] in ("ping", "hello") else None
            refusal = None if rule or cell.allowed(call) else cell.unauthorized(call)
            rule = rule or (None if refusal or call.op == "ping" else cell.rule_for(call))
            entry["fault"] = rule.kind if rule else ""
            refusal = refusal or (None if rule else cell.quirks.before(call, cell.model))
        if refusal and rule is None:
            for name, value in refusal.headers:
                refusal.set(name, cell.expand(value, request))
            return self.refuse(request, refusal, entry)
        return self.answer(call, rule, entry)

    def refuse(self, request, reply, entry):
        """Before the body: who expects to be asked for it is spared; else it is read and thrown away."""
        entry["status"] = reply.status
        asks = (request.header("expect") or "").lower() == "100-continue"
        if reply.get("Connection") == "close" or asks:
            reply.set("Connection", "close")
            self.wire.send(reply.head_bytes() + reply.body_bytes())
            self.wire.finish()
            return False
        self.read_body(request, entry)
        return self.send(request, reply)

    def read_body(self, request, entry, limit=None):
        if (request.header("expect") or "").lower() == "100-continue":
            self.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        data = bytearray()
        for piece in request.pieces(self.wire) if limit != 0 else ():
            entry["in"] += len(piece)
            data += piece
            if limit is not None and len(data) >= limit:
                break
        request.body = bytes(data[:limit])

    def answer(self, call, rule, entry):
        cell, request = self.cell, call.request
        if rule and rule.kind == "deaf":
            time.sleep(3)
        if rule and rule.breaks_off and rule.get("in") is not None:
            self.read_body(request, entry, faults.cut(rule, request.length() or 0))
            with cell.lock:
                self.keep_part(call, rule)
            faults.break_off(rule, self.wire)
        if rule and rule.get("early"):
            return self.refuse(request, faults.instead(rule, cell, call), entry)
        self.read_body(request, entry)
        with cell.lock:
            if rule and rule.before_work and not (rule.kind == "redirect" and self.redirected(rule, call)):
                reply = None if rule.breaks_off else faults.instead(rule, cell, call)
                if rule.get("page", "").startswith("echo"):
                    reply.body = self.echo(request, rule.get("page"))
            else:
                if rule and rule.kind == "lose":
                    cell.model.repo(call.repo).blobs.pop(cell.names[rule.get("blob")], None)
                reply = cell.work(call)
                cell.quirks.after(call, reply, cell)
                reply = faults.status_reply(rule) if rule and rule.kind == "status" else reply
                if rule:
                    faults.change(rule, cell, reply, cell.whole(call))
            entry["status"] = reply.status if reply else 0
        if reply is None:
            faults.break_off(rule, self.wire)
        return self.send(request, reply, rule)

    @staticmethod
    def echo(request, page):
        """The client's own secrets, in the registry's words."""
        words = request.header("authorization") if page == "echo" else request.body.decode("latin-1")
        return json.dumps({"errors": [{"code": "ECHO", "message": "ECHO " + (words or "")}]}).encode()

    @staticmethod
    def redirected(rule, call):
        """Whether this is where the redirects end."""
        hop = int(call.query.get("hop", 0))
        return rule.get("hops") is not None and hop >= int(rule.get("hops"))

    def keep_part(self, call, rule):
        """A broken upload leaves what came of it."""
        session = self.cell.model.session(call) if call.op in ("patch", "put-blob") else None
        if rule.get("done"):
            self.cell.work(call)
        elif session and not self.cell.model.check_range(session, call):
            session.data += call.request.body

    def send(self, request, reply, rule=None):
        reply.without_body = request.method == "HEAD"
        if reply.without_body and reply.length is None:
            reply.length = len(reply.body)
        chunked = reply.get("Transfer-Encoding")
        head, body = reply.head_bytes(), reply.body_bytes()
        if chunked:
            head = re.sub(rb"Content-Length: \d+\r\n", b"", head)
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        if rule and rule.breaks_off:
            self.wire.send((head + body)[:faults.position(rule, head, body)])
            faults.break_off(rule, self.wire)
        slow = rule.get("where") if rule and rule.kind == "slow" else ""
        faults.dribble(self.wire, head, slow == "head")
        faults.dribble(self.wire, body, slow == "body")
        self.dying = rule is not None and rule.kind == "die"
        if reply.get("Connection") == "close" or rule and rule.kind == "close":
            self.wire.finish()
            return False
        return True


def attacked(cell, wire, request, host):
    """The attacker: keeps every word, and answers so that whoever comes goes on as long as possible."""
    if (request.header("expect") or "").lower() == "100-continue":
        wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")
    request.body = b"".join(request.pieces(wire))
    with cell.lock:
        cell.heard.append({"host": host, "method": request.method, "target": request.target,
                           "words": (request.raw + request.body).decode("latin-1")})
    path = request.target.partition("?")[0]
    digest = next((d for d in cell.server.blobs if path.endswith("blobs/" + d)), None)
    if "/challenge" in path:
        reply = error(401, "UNAUTHORIZED", "who?")
        reply.set("WWW-Authenticate", cell.expand('Bearer realm="{R}/token",service="faultreg"'))
    elif path.endswith("/token"):
        reply = Reply(200, json.dumps({"token": "evil-token"}), Content_Type="application/json")
    elif digest:
        reply = Reply(200, cell.server.blob(digest), Content_Type="application/octet-stream")
    else:
        reply = Reply({"POST": 202, "PATCH": 202, "PUT": 201}.get(request.method, 200), "{}", Location=request.target)
    reply.without_body = request.method == "HEAD"
    wire.send(reply.head_bytes() + reply.body_bytes())
    return True


class Server:
    def __init__(self, directory, layout):
        self.directory, self.cells = directory, {}
        with open(os.path.join(layout, "names.json"), encoding="ascii") as file:
            self.images, self.names = json.load(file)
        blobs = os.path.join(layout, "blobs", "sha256")
        self.blobs = {"sha256:" + name: os.path.join(blobs, name) for name in os.listdir(blobs)}
        pki.make(os.path.join(directory, "pki"))
        self.contexts = {flaw: self.context(flaw) for flaw in ("good", "expired", "wronghost", "unknownca", "old", "client", "h2", "h2only")}
        self.selector = selectors.DefaultSelector()
        self.wake, wakened = socket.socketpair()
        self.selector.register(wakened, selectors.EVENT_READ, None)
        self.attacker_port = self.listen("attacker")

    def context(self, flaw):
        path = os.path.join(self.directory, "pki")
        name = {"old": "good", "client": "good", "h2": "good", "h2only": "good"}.get(flaw, flaw)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if flaw == "old":
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        if flaw in ("h2", "h2only"):
            context.set_alpn_protocols(["h2", "http/1.1"][:2 if flaw == "h2" else 1])
        context.load_cert_chain(f"{path}/{name}.crt", f"{path}/{name}.key")
        if flaw == "client":
            context.load_verify_locations(f"{path}/ca.crt")
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def blob(self, digest):
        with open(self.blobs[digest], "rb") as file:
            return file.read()

    def listen(self, what):
        sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.selector.register(sock, selectors.EVENT_READ, what)
        self.wake.send(b".")
        return sock.getsockname()[1]

    def add(self, config):
        cell = Cell(self, config)
        self.cells[cell.name] = cell
        cell.port = self.listen(cell)
        return cell.port

    def accept(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    key.fileobj.recv(100)
                else:
                    threading.Thread(target=self.visit, args=(key.data, key.fileobj.accept()[0]), daemon=True).start()

    def encrypt(self, sock, flaw):
        try:
            if flaw == "rst":
                sock.recv(100)
                Wire(sock).reset()
                raise Gone
            if flaw == "plain":
                sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
                Wire(sock).finish()
                raise Gone
            encrypted = self.contexts[flaw].wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        except OSError as broken:
            sock.close()
            raise Gone from broken
        try:
            encrypted.do_handshake()
        except OSError as broken:  # politely, so that the alert is not lost
            Wire(socket.socket(fileno=encrypted.detach())).finish()
            raise Gone from broken
        return encrypted

    def visit(self, cell, sock):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if cell != "attacker":
            with cell.lock:
                cell.open += 1
                cell.most = max(cell.most, cell.open)
        try:
            self.talk(cell, sock)
        except (Gone, OSError, ValueError):
            pass
        finally:
            sock.close()
            if cell != "attacker":
                with cell.lock:
                    cell.open -= 1

    def talk(self, cell, sock):
        encrypted = sock.recv(1, socket.MSG_PEEK) == b"\x16"
        if cell == "attacker":
            wire = Wire(self.encrypt(sock, "good") if encrypted else sock)
            while True:
                request = Request(wire.head())
                name = request.target.split("/")[1]
                if name not in self.cells or not attacked(self.cells[name], wire, request, "localhost"):
                    return
        flaw = cell.config.get("tls")
        if encrypted and not flaw:
            return
        if encrypted:
            sock = self.encrypt(sock, flaw)
            if flaw == "h2only" or sock.selected_alpn_protocol() == "h2":
                self.speak_h2(sock)
        elif flaw and cell.config.get("via") != "proxy":
            self.wants_tls(cell, sock)
            return
        Visit(cell, sock).run()

    @staticmethod
    def speak_h2(sock):
        """As much of HTTP/2 as somebody hears who does not speak it: SETTINGS, and GOAWAY for want of a preface."""
        wire = Wire(sock)
        wire.send(b"\0\0\0\4\0\0\0\0\0")
        wire.fill()
        wire.send(b"\0\0\x08\7\0\0\0\0\0" + b"\0\0\0\0\0\0\0\1")
        wire.finish()
        raise Gone

    @staticmethod
    def wants_tls(cell, sock):
        """As Go's server does; what comes in clear is heard by everybody."""
        wire = Wire(sock)
        head = wire.head()
        with cell.lock:
            cell.clear.append(head.decode("latin-1"))
        wire.send(Reply(400, HTTPS_ONLY, Content_Type="text/plain", Connection="close").head_bytes() + HTTPS_ONLY)
        wire.finish()


class Control(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_cells = None

    def log_message(self, *_):
        pass

    def reply(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        server = self.server_of_cells
        if self.path == "/attacker":
            self.reply(server.attacker_port)
        else:
            self.reply(server.cells[self.path.rpartition("/")[2]].state())

    def do_POST(self):
        configs = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.reply({config["name"]: self.server_of_cells.add(config) for config in configs})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--dir", required=True)
    parser.add_argument("--layout", required=True)
    options = parser.parse_args()
    server = Server(options.dir, options.layout)
    threading.Thread(target=server.accept, daemon=True).start()
    Control.server_of_cells = server
    control = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Control)
    with open(os.path.join(options.dir, "port.new"), "w", encoding="ascii") as file:
        file.write(str(control.server_port))
    os.rename(os.path.join(options.dir, "port.new"), os.path.join(options.dir, "port"))
    control.serve_forever()


if __name__ == "__main__":
    main()
