#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Checks of Dockerfiles: in a build, instead of one (--check, --call), and the verb lint.

load helpers
load build

setup_file()
{
    rig_setup_file
    build_setup_file
}

setup()
{
    rig_setup
    build_setup
}

# What goes to standard output only.
only_output()
{
    "$@" 2>errors.log
}

@test "build: warnings stand at the end, and change nothing" {
    dockerfile <<'END'
FROM busybox as base
env token x
CMD hello
END
    built
    assert_contains "$log" ' 5 warnings found (use --debug to expand):'
    assert_contains "$log" " - FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 1)"
    assert_contains "$log" ' - LegacyKeyValueFormat: "env key=value" should be used instead of legacy "env key value" format (line 2)'
    assert_contains "$log" ' - JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 3)'
    assert_equal "$(config -c .config.Cmd)" '["/bin/sh","-c","hello"]'
}

@test "build: plain progress, rawjson and the metadata file have them, quiet has not" {
    printf 'FROM busybox\nCMD hello\n' >ctx/Dockerfile
    run build
    assert_status 0
    assert_contains "$output" 'WARN: JSONArgsRecommended: '
    BUILDX_METADATA_WARNINGS=1 build --progress rawjson >raw.log 2>&1
    assert_equal "$(jq -r '.warnings[]?.short | @base64d' raw.log)" \
        'JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 2)'
    assert_equal "$(metadata -r '.["buildx.build.warnings"][0] | (.short | @base64d), .url, .range[0].start.line, .sourceInfo.filename')" \
        'JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals (line 2)
https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
2
Dockerfile'
    build --progress quiet >quiet.log 2>&1
    assert_equal "$(cat quiet.log)" "$(metadata -r '.["containerimage.config.digest"]')"
    assert_equal "$(metadata 'has("buildx.build.warnings")')" false
}

@test "build --debug: reasons, pages and lines" {
    printf 'FROM busybox\nCMD hello\n' >ctx/Dockerfile
    run build --debug
    assert_status 0
    assert_contains "$output" 'More info: https://docs.docker.com/go/dockerfile/rule/json-args-recommended/'
    assert_contains "$output" '>>> CMD hello'
}

@test "build: error=true stops it before anything runs" {
    printf '# check=error=true\nFROM busybox\nRUN echo I ran >&2\nCMD hello\n' >ctx/Dockerfile
    refused 5
    assert_contains "$output" 'cbpush: Dockerfile:4: lint violation found for rules: JSONArgsRecommended'
    assert_contains "$output" ' - JSONArgsRecommended: '
    refute_contains "$output" 'I ran'
    assert_equal "$(cbpush images -q)" ''
    refused 5 --quiet
    assert_equal "$output" 'cbpush: Dockerfile:4: lint violation found for rules: JSONArgsRecommended'
    # The argument is used in place of the directive.
    build --build-arg BUILDKIT_DOCKERFILE_CHECK='skip=JSONArgsRecommended;error=true'
    printf 'FROM busybox\nCMD hello\n' >ctx/Dockerfile
    refused 5 --build-arg BUILDKIT_DOCKERFILE_CHECK=error=true
}

@test "build: only what the target needs is looked at" {
    printf 'FROM busybox AS a\nCMD x\nFROM busybox AS b\nRUN true\n' >ctx/Dockerfile
    run build
    assert_status 0
    refute_contains "$output" JSONArgsRecommended
    run build --target a
    assert_status 0
    assert_contains "$output" JSONArgsRecommended
}

@test "build: what base images set is known" {
    printf 'FROM busybox AS a\nENV FROMBASE=a\nONBUILD WORKDIR sub\n' >ctx/Dockerfile
    cbpush build -q --push "$reg/test/base:1" ctx
    printf 'FROM %s/test/base:1\nCOPY Dockerfile $FROMBASE\nUSER $FROMBSE\n' "$reg" >ctx/Dockerfile
    run cbpush build --check ctx
    assert_status 5
    assert_contains "$output" "Usage of undefined variable '\$FROMBSE' (did you mean \$FROMBASE?)"
    refute_contains "$output" "undefined variable '\$FROMBASE'"
    assert_contains "$output" 'Relative workdir "sub" can have'
}

@test "build: an image for another platform" {
    # One manifest without an index is taken, but not in silence.
    printf 'FROM --platform=linux/s390x busybox AS s390x\n' >ctx/Dockerfile
    run build
    assert_status 0
    assert_contains "$output" ' - InvalidBaseImagePlatform: Base image busybox was pulled with platform "linux/'
    assert_contains "$output" ', expected "linux/s390x" for current build (line 1)'
}

@test "--check: nothing found, something found" {
    printf 'FROM busybox\nRUN exit 1\n' >ctx/Dockerfile
    run only_output cbpush build --check ctx
    assert_status 0
    assert_equal "$output" 'Check complete, no warnings found.'
    printf 'FROM busybox\nCMD hello\n' >ctx/Dockerfile
    run only_output cbpush build --call check ctx
    assert_status 5
    assert_equal "$output" 'Check complete, 1 warning has been found!

WARNING: JSONArgsRecommended - https://docs.docker.com/go/dockerfile/rule/json-args-recommended/
JSON arguments recommended for CMD to prevent unintended behavior related to OS signals
Dockerfile:2
--------------------
   1 |     FROM busybox
   2 | >>> CMD hello
--------------------'
    run cbpush build --call check,ignorestatus=true ctx
    assert_status 0
    assert_equal "$(cbpush images -q)" ''
}

@test "--check: all stages, unless there is a target" {
    printf 'FROM busybox AS a\nCMD x\nFROM busybox AS b\nENTRYPOINT x\n' >ctx/Dockerfile
    run cbpush build --check ctx
    assert_contains "$output" '2 warnings have been found!'
    run cbpush build --check --target a ctx
    assert_contains "$output" '1 warning has been found!'
}

@test "--check: a Dockerfile that cannot be built" {
    printf 'FROM busybox\nRNU x\n' >ctx/Dockerfile
    run cbpush build --check ctx
    assert_status 5
    assert_contains "$output" 'Dockerfile:2: unknown instruction: "RNU"'
    printf 'FROM busybox\nCMD x\nFROM nosuch/image\n' >ctx/Dockerfile
    run only_output cbpush build --call check,format=json ctx
    [ "$status" -ne 0 ]
    assert_equal "$(jq -r '.warnings[0].ruleName, .buildError.location.ranges[0].start.line' <<<"$output")" \
        'JSONArgsRecommended
3'
}

@test "--call check,format=json" {
    printf 'FROM busybox\nENV a \\\n b\n' >ctx/Dockerfile
    run only_output cbpush build --call check,format=json ctx
    assert_status 5
    assert_equal "$(jq -c '.warnings[0] | [.ruleName, .detail, .url, .location]' <<<"$output")" \
        '["LegacyKeyValueFormat","\"ENV key=value\" should be used instead of legacy \"ENV key value\" format","https://docs.docker.com/go/dockerfile/rule/legacy-key-value-format/",{"ranges":[{"start":{"line":2},"end":{"line":3}}]}]'
    assert_equal "$(jq -r '.sources[0] | .filename, .language, (.data | @base64d)' <<<"$output")" \
        'Dockerfile
Dockerfile
FROM busybox
ENV a \
 b'
}

@test "--check: .dockerignore" {
    printf '# check=experimental=CopyIgnoredFile\nFROM busybox\nCOPY secret.txt /\n' >ctx/Dockerfile
    echo '*.txt' >ctx/.dockerignore
    run cbpush build --check ctx
    assert_status 5
    assert_contains "$output" 'Attempting to Copy file "secret.txt" that is excluded by .dockerignore'
}

outline_file()
{
    dockerfile <<'END'
# V the version
ARG V=1.2
# src where it is made
FROM busybox:$V AS src
# FOO is foo
ARG FOO=a
RUN --mount=type=secret,id=tok,required=true --mount=type=ssh --mount=type=cache,target=/c x
FROM scratch AS out
COPY --from=src / /
END
}

@test "--call outline asks nobody" {
    outline_file
    registry_stop reg || true
    run only_output cbpush build --call outline --build-arg V=7 ctx
    assert_status 0
    assert_equal "$(sed 's/ *$//' <<<"$output")" 'TARGET: out

BUILD ARG   VALUE   DESCRIPTION
V           7       the version
FOO         a       is foo

SECRET   REQUIRED
tok      true

SSH       REQUIRED
default

CACHE
/c'
    run only_output cbpush build --call outline,format=json --target src ctx
    assert_status 0
    assert_equal "$(jq -c '[.name, .description, .args[0].value, .args[0].location.ranges[0].start.line, .secrets[0].required, .cache[0].ID]' <<<"$output")" \
        '["src","where it is made","1.2",2,true,"/c"]'
    run cbpush build --call outline --target nothing ctx
    assert_status 2
}

@test "--call targets" {
    outline_file
    run only_output cbpush build --call targets ctx
    assert_status 0
    assert_equal "$(sed 's/ *$//' <<<"$output")" 'TARGET        DESCRIPTION
src           where it is made
out (default)'
    run only_output cbpush build --call targets,format=json ctx
    assert_equal "$(jq -c '[.targets[] | [.name, .base, .default]]' <<<"$output")" \
        '[["src","busybox:$V",null],["out","scratch",true]]'
}

@test "--call: what there is not" {
    printf 'FROM busybox\n' >ctx/Dockerfile
    local what
    for what in nothing check,format=xml check,x=1 ''; do
        run cbpush build --call "$what" ctx
        assert_status 2
    done
    run cbpush build --check --call outline ctx
    assert_status 2
}

@test "lint: files, directories, standard input" {
    mkdir -p a b
    printf 'FROM x\n' >a/Dockerfile
    printf 'FROM x\nCMD y\n' >b/Containerfile
    run cbpush lint a
    assert_status 0
    assert_equal "$output" ''
    run cbpush lint a b a/Dockerfile
    assert_status 5
    assert_equal "$output" 'b/Containerfile:2: JSONArgsRecommended: JSON arguments recommended for CMD to prevent unintended behavior related to OS signals'
    run cbpush lint -f b/Containerfile -f a/Dockerfile a
    assert_status 5
    run cbpush lint - <b/Containerfile
    assert_status 5
    assert_contains "$output" 'Dockerfile:2: JSONArgsRecommended'
    cd b
    run cbpush lint
    assert_status 5
    assert_contains "$output" 'Containerfile:2: JSONArgsRecommended'
    run cbpush lint --skip JSONArgsRecommended
    assert_status 0
}

@test "lint: faults of files" {
    printf 'FROM x\nRNU y\n' >bad
    printf 'FROM x\nCMD y\n' >good
    run cbpush lint bad good nothing
    assert_status 5
    assert_contains "$output" 'bad:2: ParseError: unknown instruction: "RNU"'
    assert_contains "$output" 'good:2: JSONArgsRecommended'
    assert_contains "$output" 'nothing: ParseError: '
}

@test "lint: no network, no store, no guesses" {
    printf 'FROM 127.0.0.1:1/x\nCOPY $SOMETHING /\nFROM scratch\nCOPY $OTHER /\n' >Dockerfile
    run cbpush lint
    assert_status 5
    assert_equal "$output" "Dockerfile:4: UndefinedVar: Usage of undefined variable '\$OTHER'"
    [ ! -e "$CBPUSH_ROOT" ] || [ -z "$(ls -A "$CBPUSH_ROOT")" ]
}

@test "lint: rules are named right" {
    printf 'FROM x\n' >Dockerfile
    run cbpush lint --skip JSONArgRecommended
    assert_status 2
    assert_contains "$output" 'did you mean JSONArgsRecommended?'
    run cbpush lint --format xml
    assert_status 2
    run cbpush lint -f Dockerfile a b
    assert_status 2
    printf '# foo\n# bar\nARG x\nFROM x\n' >Dockerfile
    run cbpush lint --experimental all
    assert_status 5
    assert_contains "$output" 'Comment for ARG should follow the format: `# x <description>`'
}

@test "lint --format json" {
    printf 'FROM x\nCMD \\\n y\n' >Dockerfile
    run cbpush lint --format json --error
    assert_status 5
    assert_equal "$(jq -c '.[0] | [.file, .startLine, .endLine, .level, .rule]' <<<"$output")" \
        '["Dockerfile",2,3,"error","JSONArgsRecommended"]'
    printf 'FROM x\n' >Dockerfile
    run cbpush lint --format json
    assert_status 0
    assert_equal "$(jq -c . <<<"$output")" '[]'
}

@test "lint --format sarif" {
    printf 'FROM x\nCMD \\\n y\n' >'a b%.df'
    printf 'RNU\n' >bad
    run cbpush lint --format sarif 'a b%.df' bad
    assert_status 5
    assert_equal "$(jq -r '.version, (.runs | length), .runs[0].tool.driver.name' <<<"$output")" '2.1.0
1
cbpush'
    # Each result names a rule of the table, at the index that it says, and a place.
    assert_equal "$(jq '.runs[0] as $run | [$run.results[] |
        $run.tool.driver.rules[.ruleIndex].id == .ruleId and (.message.text | length > 0) and
        .locations[0].physicalLocation.region.startLine > 0] | all' <<<"$output")" true
    assert_equal "$(jq -c '[.runs[0].results[] | [.ruleId, .level, .locations[0].physicalLocation.artifactLocation.uri, .locations[0].physicalLocation.region]]' <<<"$output")" \
        '[["JSONArgsRecommended","warning","a%20b%25.df",{"startLine":2,"endLine":3}],["ParseError","error","bad",{"startLine":1,"endLine":1}]]'
    assert_equal "$(jq '[.runs[0].tool.driver.rules[].id] | length == (unique | length) and length >= 22' <<<"$output")" true
}

@test "escape sequences do not reach the terminal" {
    printf 'FROM x\nCMD \033[2Jx\n# \033[31m\nENV \033[31mtoken=1\n' >Dockerfile
    run cbpush lint
    refute_contains "$output" $'\033'
    run cbpush build --check --debug .
    refute_contains "$output" $'\033'
}
