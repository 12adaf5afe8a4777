# SPDX-License-Identifier: Apache-2.0
"""A random directory, and random changes of it, one after the other. Nothing here knows what a change means."""
import io
import os
import shutil
import tarfile

DIRECTORIES = ("", "d", "d/e", "lib", "lib/sp ace")
NAMES = ("a.txt", "b.txt", "c.log", "ab.c", "Makefile", ".hidden", "ü.txt")
KEPT = ("keep.txt", "d/keep.txt", "lib/keep.c", "pack.tar")  # so that a COPY mostly finds something
TEXTS = ("one\n", "two\n", "six\n", "", "a longer text\n" * 90, "A longer text\n" * 90)
RULES = ("*.log", "d", "!d/a.txt", "**/*.txt", "!**/b.txt", "d/*", "!d/e", "lib/**", "!lib/keep.c", "/a.txt", "*/e",
         "!keep.txt", "# none", "**/.h*", "lib/sp ace", "ab*", "!d/keep.txt")
TARGETS = ("a.txt", "../keep.txt", "nowhere", "/etc/passwd", "d", "lib", ".")
TIME = 1300000000  # newer than any SOURCE_DATE_EPOCH of the tests


def write(path, text, when=TIME):
    """In place: the inode stays where there is one."""
    with open(path, "w", encoding="utf-8") as f:
        f.write(text)
    os.utime(path, (when, when))


def make(root, rng):
    for name in DIRECTORIES:
        os.makedirs(os.path.join(root, name), exist_ok=True)
    for name in KEPT:
        write(os.path.join(root, name), "keep\n")
    pack(root, rng)
    for name in ("link", "d/link"):
        os.symlink(rng.choice(TARGETS), os.path.join(root, name))
    for _ in range(rng.randint(3, 9)):
        create(root, rng)


def ignore(rng):
    """The text of a .dockerignore, or None."""
    return "".join(r + "\n" for r in rng.sample(RULES, rng.randint(1, 3))) if rng.random() < 0.4 else None


def found(root, *kinds):
    """The paths of some kinds (file, link, dir), sorted; KEPT and the directories above them only with `kept`."""
    out = []
    for top, dirs, files in os.walk(root):
        for name in sorted(dirs + files):
            path = os.path.join(top, name)
            kind = "link" if os.path.islink(path) else "dir" if os.path.isdir(path) else "file"
            relative = os.path.relpath(path, root)
            holds = relative in KEPT or any(k.startswith(relative + "/") for k in KEPT)
            if kind in kinds and name not in ("Dockerfile", ".dockerignore") and ("kept" in kinds or not holds):
                out.append(relative)
    return sorted(out)


def place(root, rng):
    """A path in a directory that is there: of something, or of nothing yet."""
    tops = [t for t in DIRECTORIES if os.path.isdir(os.path.join(root, t)) and not os.path.islink(os.path.join(root, t))]
    return os.path.join(rng.choice(tops), rng.choice(NAMES))


def drop(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def create(root, rng):
    name = place(root, rng)
    drop(os.path.join(root, name))
    write(os.path.join(root, name), rng.choice(TEXTS), TIME + rng.randint(0, 3))
    return f"write {name}"


def pack(root, rng):
    """An archive with members of fixed times, in place of the one before."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in rng.sample(NAMES, 2):
            info = tarfile.TarInfo("p/" + name)
            data = rng.choice(TEXTS).encode()
            info.size, info.mtime, info.mode, info.uid = len(data), TIME, rng.choice((0o644, 0o600)), rng.choice((0, 5))
            archive.addfile(info, io.BytesIO(data))
    with open(os.path.join(root, "pack.tar"), "wb") as f:
        f.write(raw.getvalue())
    return "another pack.tar"


def edit(root, rng, path):
    """Other bytes; mostly as many, often with the time of before, sometimes in a new inode."""
    full = os.path.join(root, path)
    before = os.stat(full)
    with open(full, encoding="latin-1") as f:
        old = f.read()
    same = [t for t in TEXTS if len(t) == len(old) and t != old]
    text = rng.choice(same) if same and rng.random() < 0.7 else rng.choice(TEXTS)
    if path.endswith(".tar"):
        return pack(root, rng)
    if rng.random() < 0.4:
        write(full + ".new", text)
        shutil.copystat(full, full + ".new")
        os.chown(full + ".new", before.st_uid, before.st_gid)
        os.rename(full + ".new", full)
    else:
        write(full, text)
    if rng.random() < 0.7:
        os.utime(full, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"edit {path}"


def chmod(root, rng, path):
    mode = rng.choice((0o644, 0o600, 0o755, 0o444, 0o4755, 0o700))
    os.chmod(os.path.join(root, path), mode)
    return f"chmod {mode:o} {path}"


def chown(root, rng, path):
    os.chown(os.path.join(root, path), rng.choice((0, 7, 65534)), rng.choice((0, 7)), follow_symlinks=False)
    return f"chown {path}"


def touch(root, rng, path):
    when = TIME + rng.randint(0, 9)
    os.utime(os.path.join(root, path), (when, when), follow_symlinks=False)
    return f"touch {path}"


def rename(root, rng, path):
    to = place(root, rng)
    full = os.path.join(root, to)
    if to == path or to.startswith(path + "/") or os.path.isdir(full):
        return f"no rename of {path}"
    drop(full)
    os.rename(os.path.join(root, path), full)
    return f"rename {path} {to}"


def remove(root, _rng, path):
    drop(os.path.join(root, path))
    return f"remove {path}"


def become(root, rng, path):
    """Another kind of file under the same name."""
    full, kind = os.path.join(root, path), rng.choice(("link", "dir", "file", "hard", "fifo"))
    first = next(iter(f for f in found(root, "file", "kept") if f != path))
    drop(full)
    if kind == "link":
        os.symlink(rng.choice(TARGETS), full)
    elif kind == "dir":
        os.mkdir(full)
        write(os.path.join(full, "in.txt"), rng.choice(TEXTS))
    elif kind == "hard":
        os.link(os.path.join(root, first), full)
        kind = f"another name of {first}"
    elif kind == "fifo" and rng.random() < 0.3:
        os.mkfifo(full)
    else:
        write(full, rng.choice(TEXTS))
    return f"{path} becomes {kind}"


def attribute(root, rng, path):
    full = os.path.join(root, path)
    if os.listxattr(full, follow_symlinks=False) and rng.random() < 0.5:
        os.removexattr(full, "user.a")
        return f"no attribute of {path}"
    os.setxattr(full, "user.a", rng.choice((b"1", b"2", b"long" * 20)))
    return f"attribute of {path}"


def retarget(root, rng, path):
    os.unlink(os.path.join(root, path))
    os.symlink(rng.choice(TARGETS), os.path.join(root, path))
    return f"{path} goes elsewhere"


def exchange(root, rng, path):
    """Two files take each other's names: sizes, times and inodes may all be known."""
    other = rng.choice(found(root, "file", "kept"))
    if path.endswith(".tar") or other.endswith(".tar") or other == path:
        return "no exchange"
    one, two = os.path.join(root, path), os.path.join(root, other)
    os.rename(one, one + ".x")
    os.rename(two, one)
    os.rename(one + ".x", two)
    return f"exchange {path} {other}"


def directory(root, rng):
    name = rng.choice(("d/empty", "empty", "lib/empty", "d/e/f"))
    full = os.path.join(root, name)
    if os.path.lexists(full):
        drop(full)
        return f"remove {name}"
    os.makedirs(full)
    os.chmod(full, rng.choice((0o755, 0o700, 0o1777)))
    return f"mkdir {name}"


# Of what kind of file a change is, and how often.
CHANGES = ((edit, ("file", "kept"), 6), (chmod, ("file", "dir", "kept"), 2), (chown, ("file", "link", "dir", "kept"), 1),
           (touch, ("file", "dir", "link", "kept"), 2), (rename, ("file", "link"), 2), (remove, ("file", "link", "dir"), 2),
           (become, ("file", "link"), 3), (attribute, ("file", "kept"), 1), (exchange, ("file",), 1),
           (retarget, ("link",), 2))


def change(root, rng):
    """Changes something; tells what."""
    if rng.random() < 0.25:
        return rng.choice((create, create, directory, pack))(root, rng)
    do, kinds, _ = rng.choices(CHANGES, [c[2] for c in CHANGES])[0]
    paths = [p for p in found(root, *kinds) if do is not edit or os.path.isfile(os.path.join(root, p))]
    if not paths:
        return create(root, rng)
    return do(root, rng, rng.choice(paths))
