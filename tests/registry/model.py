# SPDX-License-Identifier: Apache-2.0
"""A registry that does everything right: distribution-spec 1.1, in memory.

It also keeps the facts by which a push is judged: in which order blobs, manifests and tags came, and whether every
blob of a manifest had been asked for by HEAD, and found, before a tag led to it.
"""
import hashlib
import json
import re
import secrets
import urllib.parse

from wire import Reply

NAME = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
ROUTES = [
    (re.compile(r"/v2/"), {"GET": "ping", "HEAD": "ping"}),
    (re.compile(r"/v2/_catalog"), {"GET": "catalog"}),
    (re.compile(rf"/v2/(?P<repo>{NAME})/tags/list"), {"GET": "tags"}),
    (re.compile(rf"/v2/(?P<repo>{NAME})/referrers/(?P<digest>[^/]+)"), {"GET": "referrers"}),
    (re.compile(rf"/v2/(?P<repo>{NAME})/manifests/(?P<ref>[^/]+)"),
     {"GET": "get-manifest", "HEAD": "head-manifest", "PUT": "put-manifest", "DELETE": "delete-manifest"}),
    (re.compile(rf"/v2/(?P<repo>{NAME})/blobs/uploads/"), {"POST": "post"}),
    (re.compile(rf"/v2/(?P<repo>{NAME})/blobs/uploads/(?P<session>[^/]+)"),
     {"GET": "status", "PATCH": "patch", "PUT": "put-blob", "DELETE": "cancel"}),
    (re.compile(rf"/v2/(?P<repo>{NAME})/blobs/(?P<digest>[^/]+)"),
     {"GET": "get-blob", "HEAD": "head-blob", "DELETE": "delete-blob"}),
]


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def digest_of(data, like):
    algorithm = like.partition(":")[0]
    return algorithm + ":" + hashlib.new(algorithm, data).hexdigest() if algorithm in ("sha256", "sha512") else ""


def error(status, code, message, **headers):
    body = json.dumps({"errors": [{"code": code, "message": message}]})
    return Reply(status, body, Content_Type="application/json", **headers)


class Call:
    """A request as the registry understands it."""

    def __init__(self, request):
        self.request = request
        path, _, query = request.target.partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        self.tags = [v for k, v in urllib.parse.parse_qsl(query) if k == "tag"]
        self.op, self.parts = None, {}
        for pattern, methods in ROUTES:
            match = pattern.fullmatch(urllib.parse.unquote(path))
            if match and request.method in methods:
                self.op, self.parts = methods[request.method], match.groupdict()
                break
        if self.op == "post" and "mount" in self.query:
            self.op = "mount"

    @property
    def repo(self):
        return self.parts.get("repo")

    @property
    def actions(self):
        pulls = self.op in ("get-manifest", "head-manifest", "get-blob", "head-blob", "tags", "referrers")
        return "pull" if pulls else "pull,push"


class Repository:
    def __init__(self):
        self.blobs, self.manifests, self.tags = {}, {}, {}


class Model:
    def __init__(self):
        self.repositories, self.sessions = {}, {}
        self.seen = set()     # (repo, digest) of blobs that a HEAD found, or a mount or upload just brought
        self.history = []     # of tags: (repo, tag, digest, [what no HEAD had found])
        self.refused = []     # manifests that named what is not there

    def repo(self, name):
        return self.repositories.setdefault(name, Repository())

    # ---- what is there

    def handle(self, call):
        return getattr(self, "on_" + call.op.replace("-", "_"))(call)

    @staticmethod
    def on_ping(_call):
        return Reply(200, "{}", Content_Type="application/json", Docker_Distribution_API_Version="registry/2.0")

    def on_catalog(self, call):
        return self.page(call, "repositories", sorted(self.repositories), {})

    def on_tags(self, call):
        if call.repo not in self.repositories:
            return error(404, "NAME_UNKNOWN", "repository name not known to registry")
        return self.page(call, "tags", sorted(self.repo(call.repo).tags), {"name": call.repo})

    @staticmethod
    def page(call, key, names, body):
        names = [name for name in names if name > call.query.get("last", "")]
        n = int(call.query.get("n") or 1000)
        reply = Reply(200, json.dumps({**body, key: names[:n]}), Content_Type="application/json")
        if len(names) > n:
            path = call.request.target.partition("?")[0]
            reply.set("Link", f'<{path}?n={n}&last={names[n - 1]}>; rel="next"')
        return reply

    def on_referrers(self, call):
        found = []
        for digest, (kind, data) in self.repo(call.repo).manifests.items():
            manifest = json.loads(data)
            if manifest.get("subject", {}).get("digest") == call.parts["digest"]:
                artifact = manifest.get("artifactType") or manifest.get("config", {}).get("mediaType")
                found.append({"mediaType": kind, "digest": digest, "size": len(data), "artifactType": artifact,
                              "annotations": manifest.get("annotations", {})})
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": found}
        wanted = call.query.get("artifactType")
        headers = {"Content_Type": index["mediaType"]}
        if wanted:
            index["manifests"] = [d for d in found if d["artifactType"] == wanted]
            headers["OCI_Filters_Applied"] = "artifactType"
        return Reply(200, json.dumps(index), **headers)

    # ---- manifests

    def find(self, call):
        repo, ref = self.repo(call.repo), call.parts["ref"]
        digest = ref if ":" in ref else repo.tags.get(ref)
        return digest, repo.manifests.get(digest)

    def on_get_manifest(self, call):
        digest, found = self.find(call)
        if not found:
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return Reply(200, found[1], Content_Type=found[0], Docker_Content_Digest=digest)

    on_head_manifest = on_get_manifest

    def missing(self, repo, manifest):
        """What a manifest names and the repository lacks."""
        wanted = [manifest["config"]] if "config" in manifest else []
        wanted += manifest.get("layers", [])
        lost = [d["digest"] for d in wanted if len(repo.blobs.get(d["digest"], b"")) != d["size"]]
        return lost + [d["digest"] for d in manifest.get("manifests", []) if d["digest"] not in repo.manifests]

    def unseen(self, name, manifest):
        wanted = [manifest["config"]] if "config" in manifest else []
        return [d["digest"] for d in wanted + manifest.get("layers", []) if (name, d["digest"]) not in self.seen]

    def on_put_manifest(self, call):
        repo, ref, data = self.repo(call.repo), call.parts["ref"], call.request.body
        digest = digest_of(data, ref) if ":" in ref else sha256(data)
        try:
            manifest = json.loads(data)
        except ValueError:
            return error(400, "MANIFEST_INVALID", "no JSON")
        kind = call.request.header("content-type")
        if ":" in ref and digest != ref or manifest.get("mediaType", kind) != kind:
            return error(400, "MANIFEST_INVALID", "digest or media type")
        lost = self.missing(repo, manifest)
        if lost:
            self.refused.append((call.repo, ref, lost))
            return error(404, "MANIFEST_BLOB_UNKNOWN", f"blob unknown to registry: {lost[0]}")
        repo.manifests[digest] = (kind, data)
        for tag in call.tags + ([] if ":" in ref else [ref]):
            repo.tags[tag] = digest
            self.history.append((call.repo, tag, digest, self.unseen(call.repo, manifest)))
        reply = Reply(201, Location=f"/v2/{call.repo}/manifests/{digest}", Docker_Content_Digest=digest)
        if "subject" in manifest:
            reply.set("OCI-Subject", manifest["subject"]["digest"])
        return reply

    def on_delete_manifest(self, call):
        repo, ref = self.repo(call.repo), call.parts["ref"]
        if ":" not in ref:
            return Reply(202) if repo.tags.pop(ref, None) else error(404, "MANIFEST_UNKNOWN", "no such tag")
        if not repo.manifests.pop(ref, None):
            return error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        repo.tags = {tag: digest for tag, digest in repo.tags.items() if digest != ref}
        return Reply(202)

    # ---- blobs

    def on_get_blob(self, call):
        digest = call.parts["digest"]
        data = self.repo(call.repo).blobs.get(digest)
        if data is None:
            return error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Content_Type": "application/octet-stream", "Docker_Content_Digest": digest, "Accept_Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", call.request.header("range") or "")
        if not wanted or call.op == "head-blob":
            return Reply(200, data, **headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
        if first >= len(data):
            return Reply(416, Content_Range=f"bytes */{len(data)}")
        return Reply(206, data[first:last + 1], Content_Range=f"bytes {first}-{last}/{len(data)}", **headers)

    def on_head_blob(self, call):
        reply = self.on_get_blob(call)
        if reply.status == 200:
            self.seen.add((call.repo, call.parts["digest"]))
        return reply

    def on_delete_blob(self, call):
        found = self.repo(call.repo).blobs.pop(call.parts["digest"], None)
        return Reply(202) if found is not None else error(404, "BLOB_UNKNOWN", "blob unknown to registry")

    # ---- uploads

    def session(self, call):
        session = self.sessions.get(call.parts["session"])
        return session if session and session.repo == call.repo else None

    def on_post(self, call):
        session = Session(call.repo)
        self.sessions[session.id] = session
        return session.reply(202)

    def on_mount(self, call):
        source = self.repositories.get(call.query.get("from", ""), Repository())
        data = source.blobs.get(call.query["mount"])
        if data is None:
            return self.on_post(call)
        self.repo(call.repo).blobs[call.query["mount"]] = data
        return Reply(201, Location=f"/v2/{call.repo}/blobs/{call.query['mount']}",
                     Docker_Content_Digest=call.query["mount"])

    def on_status(self, call):
        session = self.session(call)
        return session.reply(204) if session else error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")

    def on_cancel(self, call):
        return Reply(204) if self.sessions.pop(call.parts["session"], None) else error(404, "BLOB_UPLOAD_UNKNOWN", "")

    def check_range(self, session, call):
        """416 where the chunk does not go on where the upload stands."""
        given = re.fullmatch(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?", call.request.header("content-range") or "")
        if given and int(given[1]) != len(session.data):
            return session.reply(416)
        return None

    def on_patch(self, call):
        session = self.session(call)
        if not session:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        wrong = self.check_range(session, call)
        if wrong:
            return wrong
        session.data += call.request.body
        session.state += 1
        return session.reply(202)

    def on_put_blob(self, call):
        session = self.session(call)
        if not session:
            return error(404, "BLOB_UPLOAD_UNKNOWN", "upload unknown")
        wrong = self.check_range(session, call)
        if wrong:
            return wrong
        session.data += call.request.body
        digest = call.query.get("digest", "")
        if digest_of(bytes(session.data), digest) != digest:
            return error(400, "DIGEST_INVALID", "provided digest did not match uploaded content")
        del self.sessions[session.id]
        self.repo(call.repo).blobs[digest] = bytes(session.data)
        return Reply(201, Location=f"/v2/{call.repo}/blobs/{digest}", Docker_Content_Digest=digest)


class Session:
    """An upload. Its Location carries a state, as that of Distribution does."""

    def __init__(self, repo):
        self.id = secrets.token_hex(8)
        self.repo, self.data, self.state = repo, bytearray(), 0
        self.key = secrets.token_hex(4)

    def location(self):
        return f"/v2/{self.repo}/blobs/uploads/{self.id}?_state={self.key}-{self.state}&x=%2F%3D"

    def reply(self, status):
        return Reply(status, Location=self.location(), Docker_Upload_UUID=self.id,
                     Range=f"0-{max(len(self.data) - 1, 0)}")
