# SPDX-License-Identifier: Apache-2.0
"""The parents of the random builds: library/base:TAG in a registry; base:now is moved from one to another."""
import os
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../corpus"))
# pylint: disable=wrong-import-position
import context  # noqa: E402
import parents  # noqa: E402

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
PATH = '"PATH=/bin"'

# What a tree holds, a line a path; of a file the digest. Times of the parent only: all others may be those of any build.
FP = r"""#!/bin/sh
find "$@" -xdev -exec stat -c '%N %F %a %u %g' {} + 2>/dev/null | sort
find "$@" -xdev -type f -exec sha256sum {} + 2>/dev/null | sort
case " $* " in *" /base "*) find /base -xdev -exec stat -c '%n %Y' {} + | sort ;; esac
:
"""

COMMON = ["out/ 0777", "opt/ 0755", "opt/o.txt", "w/ 0755", "w/d/ 0755", "w/d/keep.txt", "base/ 0755",
          "base/link -> base.txt", 'keep.txt "parent\\n"']
ONBUILD = '["ARG V_A","COPY *.txt /w/on/","RUN fp /w >/out/onbuild; echo $V_A >>/out/onbuild"]'
# TAG: (config, further files). c has the files of a, m those of a with other times.
TAGS = {
    "a": (f'{{"Env":[{PATH}]}}', ['base/base.txt "a\\n"', "base/base.c 0640 3:4", 'w/keep.txt "w\\n"']),
    "b": (f'{{"Env":[{PATH},"V_B=two"],"User":"0"}}', ['base/base.txt "b\\n"', "base/base.c 0600", "w/keep.txt -> d/keep.txt"]),
    "c": (f'{{"Env":[{PATH},"V_A=one"],"WorkingDir":"/w","Labels":{{"c":"d"}}}}',
          ['base/base.txt "a\\n"', "base/base.c 0640 3:4", 'w/keep.txt "w\\n"']),
    "m": (f'{{"Env":[{PATH}]}}', ['base/base.txt @1300000007 "a\\n"', "base/base.c 0640 3:4", 'w/keep.txt "w\\n"']),
    "onbuild": (f'{{"Env":[{PATH}],"OnBuild":{ONBUILD}}}',
                ['base/base.txt "a\\n"', "base/base.c 0640 3:4", 'w/keep.txt "w\\n"']),
}
MOVES = ("a", "a", "b", "c", "m")  # what base:now may be


def make(directory):
    """A layout for each tag, with two layers; returns the directories' names."""
    context.TIME = 1300000000
    programs = parents.busybox_lines()
    programs.append(context.Line("bin/fp 0755"))
    programs[-1].data = FP.encode()
    below = parents.layer_tar(programs)
    for tag, (config, lines) in TAGS.items():
        parent = parents.Parent("base-" + tag)
        parent.headers["config"] = config
        layout = parents.Layout(os.path.join(directory, tag))
        layers = [below, parents.layer_tar(context.parse(COMMON + lines))]
        layout.finish([layout.manifest(parent, layers)])


def push(directory, address):
    for tag in TAGS:
        subprocess.run(["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{directory}/{tag}:latest",
                        f"docker://{address}/library/base:{tag}"], check=True, stdin=subprocess.DEVNULL)


def request(address, path, method="GET", data=None):
    headers = {"Accept": MANIFEST, **({"Content-Type": MANIFEST} if data else {})}
    asked = urllib.request.Request(f"http://{address}/v2/{path}", data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return answer.read()


def manifests(address):
    return {tag: request(address, f"library/base/manifests/{tag}") for tag in TAGS}


def move(address, name, manifest):
    """library/base:NAME becomes that image."""
    request(address, f"library/base/manifests/{name}", "PUT", manifest)
