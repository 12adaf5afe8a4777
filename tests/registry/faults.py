# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with one request, and how a rule says so.

A rule is `OP[#WHEN] KIND [KEY=VALUE]…`. OP: token ping head-blob get-blob head-manifest get-manifest post mount patch
put-blob put-manifest status tags catalog referrers, or upload (patch and put-blob), or hello (a ping, and whatever
else comes without credentials where some are needed). WHEN: the occurrences of OP that it is for, counted from 1
(`1`, `1-3`, `2+`, `all`; default 1). `what=big` in any rule: only where the blob of that name is asked for.

KIND    rst fin stall   the connection is reset, closed, or left silent. at=POSITION of the reply: 0 head/2 head body+N
                        body/2 body-1 end; or in=BYTES of the request's body (also half, all). done=1 with at=0: what
                        was asked for is done, only the answer is lost
        status          code=N is answered instead. retry-after=V page=html|empty|junk|long|escapes|unknown|echo|echo-body early=1 (before the
                        body is read) done=1 (after the real work)
        set, drop       a header: set=NAME:VALUE, drop=NAME. {R} {E} {H} stand for the registry, the attacker, its host
        body            how=truncate|grow|corrupt|longer|shorter|gzip|html|empty|endless
        range           how=wrong|whole|less: answers to Range
        slow            where=head|body: a byte every 0.1 s
        redirect        to=URL code=307, or hops=N to itself, or loop=1
        close           the connection ends after the reply without a word
        die             it ends when the next request begins to come
        expired         401: the token is no longer valid
        challenge       401 with text=…
        lose            a blob is gone from the repository before the request is done: blob=NAME
        deaf            Expect: 100-continue is not answered for 3 s
"""
import gzip
import re
import shlex
import time

from model import error
from wire import Gone, Reply

KINDS = {
    "rst": {"at", "in", "done"}, "fin": {"at", "in", "done"}, "stall": {"at", "in", "done"},
    "status": {"code", "retry-after", "page", "early", "done"}, "set": {"set"}, "drop": {"drop"}, "body": {"how"},
    "range": {"how"}, "slow": {"where"}, "redirect": {"to", "code", "hops", "loop"}, "close": set(), "die": set(), "expired": set(),
    "challenge": {"text"}, "deaf": set(), "lose": {"blob"},
}
OPS = {"token", "ping", "hello", "head-blob", "get-blob", "head-manifest", "get-manifest", "post", "mount", "patch", "put-blob",
       "put-manifest", "status", "upload", "tags", "catalog", "referrers"}
PAGES = {
    "html": "<html><head><title>502 Bad Gateway</title></head>\n<body><h1>sorry</h1></body></html>",
    "empty": "",
    "echo": "", "echo-body": "",  # written where the request is known
    "junk": "{\"errors\": [{\"code\": ",
    "long": "x" * 100000,
    "escapes": "{\"errors\":[{\"code\":\"EVIL\",\"message\":\"\\u001b]52;c;aGk=\\u0007\\u001b[2J\\r\\nforged: line \\u202e\"}]}",
    "unknown": "{\"errors\":[{\"code\":\"MANIFEST_BLOB_UNKNOWN\",\"message\":\"blob unknown to registry\"}]}",
    "json": "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"requested access to the resource is denied\"}]}",
}


class Rule:
    """One line of trouble; counts what it saw and how often it struck."""

    def __init__(self, text):
        self.text = text
        target, *words = shlex.split(text)
        self.kind = next((word for word in words if "=" not in word), "")
        words.remove(self.kind)
        self.op, _, when = target.partition("#")
        self.arguments = dict(word.partition("=")[::2] for word in words)
        self.what = self.arguments.pop("what", None)
        if self.op not in OPS or self.kind not in KINDS or not set(self.arguments) <= KINDS[self.kind]:
            raise ValueError(f"no such fault: {text}")
        span = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?|all|", when)
        if not span:
            raise ValueError(f"no such occurrence: {text}")
        self.first = int(span[1] or 1)
        self.last = float("inf") if span[2] or when == "all" else int(span[3] or self.first)
        self.seen = self.fired = 0

    def get(self, name, default=None):
        return self.arguments.get(name, default)

    def matches(self, op, target, blobs):
        if self.op != op and op not in {"upload": ("patch", "put-blob"), "hello": ("ping",)}.get(self.op, ()):
            return False
        if self.what and blobs[self.what].partition(":")[2] not in target:
            return False
        self.seen += 1
        return self.first <= self.seen <= self.last

    @property
    def breaks_off(self):
        return self.kind in ("rst", "fin", "stall")

    @property
    def before_work(self):
        """Whether what was asked for is not done at all."""
        if self.kind in ("status",) or self.breaks_off:
            return not self.get("done") and self.get("at", "0") == "0"
        return self.kind in ("redirect", "expired", "challenge")


def cut(rule, total):
    """How many bytes of a request's body are read before in=…"""
    where = rule.get("in")
    if where == "half":
        return total // 2
    if where == "all":
        return total
    return min(int(where), total) if int(where) >= 0 else total + int(where)


def break_off(rule, wire):
    {"rst": wire.reset, "fin": wire.finish, "stall": wire.stall}[rule.kind]()
    raise Gone


def position(rule, head, body):
    at = rule.get("at", "0")
    if at in ("0", "head/2", "head", "body/2", "body-1", "end"):
        return {"0": 0, "head/2": len(head) // 2, "head": len(head), "body/2": len(head) + len(body) // 2,
                "body-1": len(head) + len(body) - 1, "end": len(head) + len(body)}[at]
    return min(len(head) + int(at.removeprefix("body+")), len(head) + len(body) - 1)


def instead(rule, cell, call):
    """The reply of a rule whose request is not done."""
    if rule.kind == "status":
        return status_reply(rule)
    if rule.kind == "redirect":
        return redirect_reply(rule, cell, call)
    if rule.kind == "challenge":
        reply = error(401, "UNAUTHORIZED", "authentication required")
        reply.set("WWW-Authenticate", cell.expand(rule.get("text")))
        return reply
    return cell.unauthorized(call, 'error="invalid_token"')


def status_reply(rule):
    code, page = int(rule.get("code")), rule.get("page", "json")
    kind = {"html": "text/html", "long": "text/plain"}.get(page, "application/json")
    reply = Reply(code, PAGES[page], Content_Type=kind)
    if rule.get("retry-after"):
        reply.set("Retry-After", retry_after(rule.get("retry-after")))
    return reply


def retry_after(text):
    """Seconds, garbage, or `+N`, `-N`: the date in N seconds."""
    if text[0] in "+-":
        return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + int(text)))
    return text


def redirect_reply(rule, cell, call):
    reply = Reply(int(rule.get("code", "307")))
    path, _, query = call.request.target.partition("?")
    hop = int(dict(p.partition("=")[::2] for p in query.split("&")).get("hop", "0"))
    if rule.get("to"):
        reply.set("Location", cell.expand(rule.get("to")).replace("{path}", path))
    else:
        rest = "&".join(p for p in query.split("&") if p and not p.startswith("hop="))
        reply.set("Location", f"{path}?{rest}{'&' if rest else ''}hop={hop + 1}")
    return reply


def change_body(rule, reply):
    how, body = rule.get("how"), reply.body
    if how == "truncate":
        reply.body = body[:len(body) // 2]
    elif how == "grow":
        reply.body = body + b"x" * 100
    elif how == "corrupt":
        middle = len(body) // 2
        reply.body = body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1:]
    elif how == "longer":
        reply.length = len(body) + 100
        reply.set("Connection", "close")
    elif how == "shorter":
        reply.length = len(body) - 10
        reply.set("Connection", "close")
    elif how == "gzip":
        reply.body = gzip.compress(body, 1, mtime=0)
        reply.set("Content-Encoding", "gzip")
    elif how == "html":
        reply.body = PAGES["html"].encode()
        reply.set("Content-Type", "text/html")
    elif how == "empty":
        reply.body = b""
    elif how == "endless":
        reply.body = body + b"x" * (8 << 20)
        reply.set("Connection", "close")
        reply.set("Transfer-Encoding", "chunked")
    else:
        raise ValueError(f"no such body: {rule.text}")


def change_range(rule, reply, whole):
    if reply.status != 206:
        return
    how = rule.get("how")
    if how == "whole":
        reply.status, reply.body = 200, whole
        reply.drop("Content-Range")
    elif how == "wrong":
        reply.set("Content-Range", f"bytes 0-{len(whole) - 1}/{len(whole)}")
        reply.body = whole
    elif how == "less":
        reply.set("Content-Range", f"bytes 7-{len(whole) - 1}/{len(whole)}")
        reply.body = whole[7:]
    else:
        raise ValueError(f"no such range: {rule.text}")


def change(rule, cell, reply, whole):
    """What a rule makes of the true reply."""
    if rule.kind == "set":
        name, _, value = rule.get("set").partition(":")
        reply.set(name, cell.expand(value))
    elif rule.kind == "drop":
        reply.drop(rule.get("drop"))
    elif rule.kind == "body":
        change_body(rule, reply)
    elif rule.kind == "range":
        change_range(rule, reply, whole)


def dribble(wire, data, slow):
    """Sends; what is slow goes byte by byte."""
    if not slow:
        wire.send(data)
        return
    for at in range(min(len(data), 200)):
        wire.send(data[at:at + 1])
        time.sleep(0.1)
    wire.send(data[200:])
