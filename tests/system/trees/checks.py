# SPDX-License-Identifier: Apache-2.0
"""All ways that what was built goes out of cbpush and comes back into it, each against the same listing."""
import hashlib
import base64
import json
import shutil

import formats
import names
import seeds
import tars

OTHERS = ("zstd", "zstd:chunked", "estargz", "none", "gzip,compression-level=9", "gzip,compression-level=fast")
TEXT_ONLY = ("zstd:chunked", "estargz")  # their tables are JSON
NAMES = {"f": "file", "d": "directory", "l": "symlink", "p": "fifo", "c": "char", "b": "block"}


def format_is(run, kind, wanted):
    """The same steps, cached, with layers of another format."""
    w, out = run.world, run.world.path("format")
    w.build(f"type=oci,tar=false,name=x:latest,dest={out},compression={kind}", trees=w.trees, isolation=w.isolation)
    layout = tars.Layout(out)
    run.same(kind, wanted, [line for line in names.lines(layout.tree()) if not line.startswith(("/.no.prefetch",
                                                            "/stargz.index"))])
    base = len(tars.Layout(w.path("base")).layers)
    for i in range(base, len(layout.layers)):
        if kind in ("zstd:chunked", "estargz"):
            formats.check(layout, i, kind)
            run.compared += 1
    return out


def read_again(run, layout, wanted):
    """Layers of ours as those of a parent, in a store that has not seen them."""
    w = run.world
    trees, isolation = w.rng.choice(("directories", "images")), w.rng.choice(run.given.isolations)
    words = json.dumps(["/bin/fsop", "step", "/seen/again", "/dev/null", *names.LEFT_OUT, "stargz.index.json",
                        ".no.prefetch.landmark"])
    with open(w.path("Again"), "w", encoding="ascii") as f:
        f.write(f"FROM made AS seen\nRUN {words}\nFROM base\nCOPY --from=made /t /u/copied\nCOPY --from=seen /seen/again /seen/again\n")
    out = w.path("again")
    w.cbpush("build", "--progress", "plain", "-f", "Again", "--build-context",
             "base=oci-layout://" + w.path("base"), "--build-context",
             "made=oci-layout://" + layout, "-o", f"type=oci,tar=false,dest={out}", "ctx", trees=trees, isolation=isolation, store="other")
    tree = tars.Layout(out).tree()
    got = tree[b"seen/again"].data.decode("ascii").split("\n")[:-1]
    if isolation == "chroot":
        wanted, got = names.without_links(wanted), names.without_links(got)
    run.same(f"read again ({trees}, {isolation})", wanted, got)
    copied = [line.replace("/u/copied", "/t", 1).replace(" is /u/copied",
                                                         " is /t") for line in names.lines(tree) if line.startswith("/u/copied/")]
    # A name outside of what is copied is no link in the copy.
    run.same("copied from it", names.without_links([line for line in wanted if line.startswith("/t/")]),
             names.without_links(copied))


def outputs(run, wanted):
    """type=local, type=tar, export: three ways to a tree of all layers."""
    w = run.world
    draw = w.rng.choice(("local", "tar", "export"))
    if draw == "local":
        w.build("type=local,dest=" + w.path("local"), trees=w.trees, isolation=w.isolation)
        run.same("type=local", wanted, run.listed(w.path("local")))
        return
    if draw == "tar":
        w.build("type=tar,dest=" + w.path("out.tar"), trees=w.trees, isolation=w.isolation)
    else:
        w.build(None, "-t", "made:latest", trees=w.trees, isolation=w.isolation)
        w.cbpush("export", "store:made", "-o", w.path("out.tar"))
    tree = {}
    with open(w.path("out.tar"), "rb") as f:
        tars.apply(tree, f.read())
    run.same(draw, wanted, names.lines(tree))


def row_of(e):
    return (e["path"], e["type"].replace("hardlink", "file"), e["mode"], e["uid"], e["gid"],
            formats.seconds(e["mtime"]), e.get("size"),
            e.get("digest"), e.get("link") if e["type"] == "symlink" else None, tuple(e.get("device", ())),
            tuple(sorted((k, base64.b64decode(v)) for k, v in e.get("xattrs", {}).items())))


def row_of_node(path, n):
    file = n.kind == "f"
    return (path.decode(), NAMES[n.kind], f"{0o777 if n.kind == 'l' else n.mode:04o}", n.uid, n.gid, n.mtime,
            len(n.data) if file else None, "sha256:" + hashlib.sha256(n.data).hexdigest() if file else None,
            n.link.decode() if n.kind == "l" else None, n.device if n.kind in "cb" else (),
            tuple(sorted((k.decode(), v) for k, v in n.xattrs.items() if n.kind in "df")))


def ls(run, tree):
    w = run.world
    w.build(None, "-t", "made:latest", trees=w.trees, isolation=w.isolation)
    got = {}
    for e in json.loads(w.cbpush("ls", "--json", "store:made")):
        got[e["path"]] = row_of(e)
    wanted = {}
    for path, n in tree.items():
        if formats.can_be_text(path, None, n):
            wanted[path.decode()] = row_of_node(path, n)
    for path, row in wanted.items():
        if got.get(path) != row:
            raise seeds.Differs(f"ls: {got.get(path)}\nthe layers: {row}")
    run.compared += 1


def flat(run, wanted):
    """All layers as one."""
    w, out = run.world, run.world.path("flat")
    w.build(f"type=oci,tar=false,name=x:latest,dest={out}", "--squash-all", trees=w.trees, isolation=w.isolation)
    layout = tars.Layout(out)
    run.same("squashed", wanted, names.lines(layout.tree()))


def all_of_them(run, wanted, tree):
    w = run.world
    kinds = w.rng.sample(OTHERS if w.rules.text else [k for k in OTHERS if k not in TEXT_ONLY], 2)
    out = None
    for kind in kinds:
        if out:
            shutil.rmtree(out)
        out = format_is(run, kind, wanted)
    read_again(run, out, wanted)
    outputs(run, wanted)
    w.rng.choice((lambda: ls(run, tree), lambda: flat(run, wanted)))()
