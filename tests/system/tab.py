#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Types into an interactive shell, as a person does. usage: tab.py bash|zsh|fish SCRIPT DIR LINE…
Each LINE is typed behind an empty prompt in DIR, then TAB; then the words that the shell made of it are printed, a line a LINE, each
in <>. LINE ends with !! for two TABs, after which what the shell listed is printed as well."""
import os
import pty
import re
import select
import sys
import time

PROMPT = "cb-ready:"
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
BEGIN = {
    "bash": ["PS1='{p}'", "bind 'set enable-bracketed-paste off'", "source '{s}'"],
    "zsh": ["PS1='{p}' PROMPT_EOL_MARK= zle_bracketed_paste=()", "autoload -Uz compinit && compinit -D -u", "source '{s}'"],
    "fish": ["function fish_prompt; echo -n '{p}'; end; set fish_autosuggestion_enabled 0; source '{s}'"],
}
ESCAPES = re.compile(r"\x1b\[[0-9;?<>=]*[A-Za-z]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)|\x1b[()][A-Z0-9]|\x1b[=>78]|[\x07\x0e\x0f\r]")


class Shell:
    def __init__(self, kind, script, place):
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(place)
            os.environ.update(TERM="xterm", COLUMNS="200", LINES="60", LC_ALL="C.UTF-8")
            os.execvp(SHELLS[kind][0], SHELLS[kind])
        self.marks, self.rest = 0, ""
        for line in BEGIN[kind]:
            self.say(line.format(p=PROMPT, s=script) + "; ")

    def type(self, text):
        os.write(self.fd, text.encode())

    def wait(self, until, limit=60):
        """What the shell wrote until that was there."""
        seen, end = self.rest, time.monotonic() + limit
        while until not in ESCAPES.sub("", seen):
            ready, _, _ = select.select([self.fd], [], [], end - time.monotonic())
            if not ready or time.monotonic() > end:
                sys.exit(f"the shell did not come to {until}: {seen!r}")
            got = os.read(self.fd, 65536).decode(errors="replace")
            # A terminal answers what it is asked: fish waits for it.
            if "\x1b[c" in got or "\x1b[0c" in got:
                self.type("\x1b[?1;2c")
            seen += got
        shown, self.rest = ESCAPES.sub("", seen).split(until, 1)
        return shown

    def say(self, before):
        """Types before, and has the shell say that it was there; what it wrote until then."""
        self.marks += 1
        self.type(before + f"printf '%s%s.\\n' end- {self.marks}\n")
        shown = self.wait(f"end-{self.marks}.")
        self.wait(PROMPT) # readline takes a TAB that comes before for a blank
        return shown

    def complete(self, line):
        if line.endswith("!!"):
            # ^U takes the line away. (^C would be ahead of the TABs.)
            print(" ".join(self.say(line.removesuffix("!!") + "\t\t\x15").split()))
            return
        # ^A: what was typed becomes the arguments of printf.
        shown = self.say(line + "\t\x01printf '<%s>' \x05; ")
        print("".join(re.findall(r"<(?!%s>)[^<>]*>", shown.split("\n")[-1])))


def main():
    kind, script, place = sys.argv[1:4]
    shell = Shell(kind, script, place)
    for line in sys.argv[4:]:
        shell.complete(line)
    shell.type("exit\n")


main()
