# SPDX-License-Identifier: Apache-2.0
"""Random Dockerfiles, and random changes of them. Every RUN writes what follows from what it sees, and nothing else: no
time, no process number, nothing of what a cache mount or a secret holds."""

PARENTS = ("base:a", "base:b", "base:now", "base:now", "base:now")
SOURCES = ("keep.txt", "*.txt", "d", "d/", "d/*", ".", "*", "?eep.*", "[a-k]*", "lib", "lib/keep.?", "d/keep.txt", "**/keep.*")
STAGED = ("/w", "/w/", "/w/*", "/base/base.txt", "/base", "/out", "/base/*.c", "/opt")
TARGETS = ("/w/", "/w/d/", "/opt/x/", "./", "sub/", "/w/lib/e/", "/opt/", "$V_A/")
SEEN = ("/w", "/opt", "/w /opt", "/w/d", "/base", "/w /opt /base /out", "w d sub")
# Through a link two files may go to one place: by name then, since a directory is listed in the order of its file system.
COPIES = "for f in {0}/*; do cp -r $f {1}/; done || :"
WORDS = ("one", "two", "six")


class Stage:
    def __init__(self, name, parent, lines):
        self.name, self.parent, self.lines = name, parent, lines


class Dockerfile:
    """arguments: ARGs before the first FROM."""

    def __init__(self, rng):
        self.arguments, self.stages = ["ARG BASE=base:now", "ARG V_G=one"], []
        self.counter = 0
        for _ in range(rng.choice((1, 2, 2, 3, 3, 4))):
            self.add_stage(rng)

    def text(self):
        out = list(self.arguments)
        for s in self.stages:
            out += [f"FROM {s.parent} AS {s.name}", *s.lines]
        return "\n".join(out) + "\n"

    def add_stage(self, rng):
        number = len(self.stages)
        self.stages.append(Stage(f"s{number}", self.parent(rng, number), []))
        for _ in range(rng.randint(1, 6)):
            self.stages[-1].lines.append(self.instruction(rng, number))

    def parent(self, rng, number):
        draw = rng.random()
        if number and draw < 0.35:
            return f"s{rng.randrange(number)}"
        if draw < 0.5:
            return "${BASE}"
        return "base:onbuild" if draw < 0.6 else rng.choice(PARENTS)

    def other(self, rng, number):
        """What --from may name."""
        names = [f"s{n}" for n in range(number)] * 3 + ["base:now", "base:b", "extra"]
        return rng.choice(names)

    def instruction(self, rng, number):
        kinds = ((copy, 5), (copy_from, 4), (run, 6), (run_mounted, 3), (heredoc, 1), (add, 1), (setting, 5))
        do = rng.choices([k[0] for k in kinds], [k[1] for k in kinds])[0]
        self.counter += 1
        return do(self, rng, number)

    def change(self, rng):
        """Changes one line; tells what."""
        number = rng.randrange(len(self.stages))
        lines = self.stages[number].lines
        draw, at = rng.random(), rng.randrange(len(lines)) if lines else 0
        if draw < 0.25 or not lines:
            lines.insert(at, self.instruction(rng, number))
            return f"insert {lines[at]!r} into s{number}"
        if draw < 0.4 and lines[at].startswith(("COPY", "ADD")):
            lines[at] = twisted(lines[at], rng)
            return f"now it is {lines[at]!r} in s{number}"
        if draw < 0.45:
            lines[at] = self.instruction(rng, number)
            return f"replace by {lines[at]!r} in s{number}"
        if draw < 0.6:
            return f"delete {lines.pop(at)!r} of s{number}"
        if draw < 0.75 and at:
            lines[at - 1], lines[at] = lines[at], lines[at - 1]
            return f"{lines[at]!r} and {lines[at - 1]!r} change places in s{number}"
        if draw < 0.85:
            old, new = rng.sample(WORDS, 2)
            for s in self.stages:
                s.lines = [line.replace(old, new) for line in s.lines]
            return f"{old} becomes {new}"
        if draw < 0.95:
            self.stages[number].parent = self.parent(rng, number)
            return f"s{number} is FROM {self.stages[number].parent}"
        if len(self.stages) < 5:
            self.add_stage(rng)
        return "a stage more"


def copy_flags(rng, link=True):
    flags = []
    if rng.random() < 0.3:
        flags.append("--chown=" + rng.choice(("1:2", "7", "nobody", "nobody:users")))
    if rng.random() < 0.25:
        flags.append("--chmod=" + rng.choice(("640", "0755", "4711", "go-rwx")))
    if link and rng.random() < 0.3 and not any("nobody" in f for f in flags):
        flags.append("--link")
    if rng.random() < 0.2:
        flags.append("--exclude=" + rng.choice(("*.log", "**/*.txt", "d/e", "base.c")))
    if rng.random() < 0.15:
        flags.append("--parents")
    return flags


def apart(words):
    """Copies of the parent's /base do not stand where the parent has it: a copy's times are those of any build."""
    if "--parents" in words and "/base" in words and words[-1] in ("./", "$V_A/"):
        words[-1] = "/opt/"
    return " ".join(words)


def twisted(line, rng):
    """A COPY or ADD with a flag more, or less, or another in its place."""
    words = line.split(" ")
    flags = [i for i, word in enumerate(words) if word.startswith("--") and not word.startswith("--from")]
    if flags and rng.random() < 0.7:
        del words[rng.choice(flags)]
    new = [f for f in copy_flags(rng) if not any(w.split("=")[0] == f.split("=")[0] for w in words)]
    if words[0] == "ADD":
        new = [f for f in new if not f.startswith(("--exclude", "--parents"))]
    return apart([words[0], *new[:1], *words[1:]])


def copy(_file, rng, _number):
    return " ".join(["COPY", *copy_flags(rng), *rng.sample(SOURCES, rng.choice((1, 1, 1, 2))), rng.choice(TARGETS)])


def copy_from(file, rng, number):
    name = file.other(rng, number)
    sources = rng.sample(("keep.txt", "*.txt", "k*"), 1) if name == "extra" else rng.sample(STAGED, rng.choice((1, 1, 2)))
    return apart(["COPY", "--from=" + name, *copy_flags(rng), *sources, rng.choice(TARGETS)])


def add(_file, rng, _number):
    flags = [f for f in copy_flags(rng) if not f.startswith(("--exclude", "--parents"))]
    sources = ("pack.tar", "pack.tar", "keep.txt", "d", "http://served/served.txt", "http://served/served.txt")
    if rng.random() < 0.2:
        flags.append("--unpack=" + rng.choice(("true", "false")))
    return " ".join(["ADD", *flags, rng.choice(sources), rng.choice(TARGETS)])


def command(file, rng):
    """A command; what it writes has a name of its own, or one that others use, too."""
    out = rng.choice((f"/out/{file.counter}", f"/out/{file.counter}", "/tmp/x", "/out/same"))
    word = rng.choice(WORDS)
    return rng.choice((
        f"fp {rng.choice(SEEN)} >{out}", f"fp {rng.choice(SEEN)} >{out}", f"(fp {rng.choice(SEEN)} | sha256sum) >{out}",
        f"env | grep ^V_ | sort >{out}", f"(id; pwd; umask) >{out}", f"echo {word} >{out}", "true",
        f"mkdir -p /w/d/{word} && echo {word} >/w/d/{word}/f || :", "rm -rf /w/d || :", "rm -rf /w/d; mkdir -p /w/d || :",
        "rm -f /w/*.txt || :", "chmod -R go-w /w || :", "chown -R 3:4 /w/d || :", f"ln -sfn {word} /w/link || :",
        "ln -f /w/keep.txt /w/hard || :", "mv /w/keep.txt /w/moved || :", f"echo {word} >>/w/keep.txt || :",
        COPIES.format("/w", "/opt"), "chmod 700 /w/d || :", f"find / -xdev -name keep.txt | sort >{out} 2>/dev/null || :",
        f"mkfifo /w/pipe; rm -f /w/link; fp /w >{out} || :", "rm -rf /opt/* && mkdir /opt/d && echo $V_A >/opt/d/f || :",
        f"touch /w/{word} || :", "rm -rf /w/lib; ln -s d /w/lib || :"))


def run(file, rng, _number):
    flags = rng.choice(("", "", "", "", "--network=none ", "--mount=type=tmpfs,target=/w/t "))
    if rng.random() < 0.15:
        return f"RUN {flags}<<EOF\nset -u\n{command(file, rng)}\n{command(file, rng)}\nEOF"
    return f"RUN {flags}{command(file, rng)}"


def run_mounted(file, rng, number):
    out, name = f"/out/{file.counter}", file.other(rng, number)
    inside = "." if name == "extra" else rng.choice(("/w", "/base", "/", "/out"))
    shown = "/m" if inside != "/" else "/m/w /m/base"
    return rng.choice((
        f"RUN --mount=type=bind,target=/m,source={rng.choice(('d', '.', 'keep.txt', 'lib'))} fp /m >{out}",
        f"RUN --mount=type=bind,target=/m,rw fp /m >{out}; echo x >/m/keep.txt",
        f"RUN --mount=type=bind,from={name},source={inside},target=/m fp {shown} >{out}",
        f"RUN --mount=type=bind,from={name},source={inside},target=/m (fp {shown} | sha256sum) >{out}",
        f"RUN --mount=type=bind,from={name},source={inside},target=/m {COPIES.format('/m', '/w')}",
        f"RUN --mount=type=cache,target=/c (date >>/c/f) 2>/dev/null; echo {rng.choice(WORDS)} >{out}",
        f"RUN --mount=type=secret,id=s,required test -s /run/secrets/s && fp /w >{out}",
        f"RUN --mount=type=secret,id=s,env=V_S test -n \"$V_S\" && echo $V_A >{out}"))


def heredoc(file, rng, _number):
    return f"COPY{rng.choice(('', ' --chmod=600', ' --link'))} <<EOF /w/h{rng.choice(('1', file.counter))}\n" + \
        rng.choice(WORDS) + " $V_A ${V_B:-none}\nEOF"


def setting(file, rng, _number):
    word = rng.choice(WORDS)
    return rng.choice((
        "ARG V_A", f"ARG V_A={word}", "ARG V_B", "ARG V_G", f"ENV V_A={word}", f"ENV V_C=${{V_A}}-{word} V_B=$V_G",
        f"LABEL l.{rng.choice('ab')}={word} v=\"$V_A\"", "WORKDIR /w", f"WORKDIR {word}", "WORKDIR /opt/new/$V_A",
        "USER nobody", "USER 0", "USER 5:6", 'SHELL ["/bin/sh", "-ec"]', f'CMD ["{word}"]', f"ENTRYPOINT {word}",
        "EXPOSE 80", f"VOLUME /v/{word}", "STOPSIGNAL 9", f"ONBUILD RUN echo {word} >/out/on{file.counter}",
        f"# {word}", "HEALTHCHECK NONE", "ONBUILD COPY keep.txt /w/on/"))
