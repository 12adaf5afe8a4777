#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The corpus of Dockerfiles: what cbpush makes of each is what BuildKit made of it (tests/data/dockerfile/build).
#
# On the disk: one case tells by the file system's kind which of two mounts it sees.

load helpers
load corpus

@test "corpus: names, and how many" {
    run python3 -B "$RIG_HERE/corpus/compare.py" --names
    assert_status 0
    assert_equal "$output" "761 names"
}

@test "corpus: add" {
    corpus add
}

@test "corpus: arg-auto" {
    corpus arg-auto
}

@test "corpus: arg" {
    corpus arg
}

@test "corpus: command" {
    corpus command
}

@test "corpus: config" {
    corpus config
}

@test "corpus: copy-file" {
    corpus copy-file
}

@test "corpus: copy-flags" {
    corpus copy-flags
}

@test "corpus: copy-from" {
    corpus copy-from
}

@test "corpus: copy-link" {
    corpus copy-link
}

@test "corpus: copy-owner" {
    corpus copy-owner
}

@test "corpus: copy-wildcard" {
    corpus copy-wildcard
}

@test "corpus: directives" {
    corpus directives
}

@test "corpus: expand" {
    corpus expand
}

@test "corpus: from" {
    corpus from
}

@test "corpus: heredoc-copy" {
    corpus heredoc-copy
}

@test "corpus: heredoc-run" {
    corpus heredoc-run
}

@test "corpus: ignore" {
    corpus ignore
}

@test "corpus: mount-bind" {
    corpus mount-bind
}

@test "corpus: mount-other" {
    corpus mount-other
}

@test "corpus: onbuild" {
    corpus onbuild
}

@test "corpus: parser" {
    corpus parser
}

@test "corpus: run" {
    corpus run
}

@test "corpus: stages" {
    corpus stages
}

@test "corpus: workdir" {
    corpus workdir
}
