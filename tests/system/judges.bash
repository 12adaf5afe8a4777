# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# Judges: programs that share no code with cbpush say what it made. Loaded by helpers.bash.
#
#   judge_skopeo REGISTRY REPO[:TAG|@DIGEST]   copies the image to an OCI layout (which checks every digest and size);
#                                              prints the layout's path; the tag there is judged
#   judge_umoci OCI-DIR [TAG]                  unpacks it; prints the root file system's path
#   judge_run OCI-DIR TAG [COMMAND ARG…]       runs it by runc, without network and terminal: COMMAND, or what the image
#                                              says; its output and status are the command's
#   judge_config OCI-DIR TAG                   the image config (JSON)
#   judge_manifest OCI-DIR TAG                 the manifest (JSON)

judge_skopeo()
{
    local dir addr
    addr=$(registry_addr "$1") || return
    dir=$(mktemp -d "$BATS_TEST_TMPDIR/judged.XXXXXX")
    registry_skopeo "$1" --from copy -q "docker://$addr/$2" "oci:$dir/oci:judged" || return
    printf '%s\n' "$dir/oci"
}

# judge_bundle OCI-DIR TAG: unpacks it as an OCI runtime bundle and prints the bundle's path.
judge_bundle()
{
    local dir
    dir=$(mktemp -d "$BATS_TEST_TMPDIR/bundle.XXXXXX")
    rig_umoci unpack --image "$1:$2" "$dir/bundle" || return
    printf '%s\n' "$dir/bundle"
}

judge_umoci()
{
    local bundle
    bundle=$(judge_bundle "$1" "${2-judged}") && printf '%s\n' "$bundle/rootfs"
}

# umoci's config.json without what differs between machines (cgroups) or needs a terminal, and with a network name space
# of its own, which is empty.
judge_runtime_config()
{
    local words='[]'
    [ $# -eq 0 ] || words=$(printf '%s\0' "$@" | jq -Rsc 'rtrimstr("\u0000") | split("\u0000")')
    jq --argjson words "$words" '.process.terminal = false | del(.linux.resources)
        | .mounts |= map(select(.type != "cgroup"))
        | .linux.namespaces |= map(select(.type != "network")) + [{type: "network"}]
        | if $words == [] then . else .process.args = $words end'
}

judge_run()
{
    local bundle state status=0
    bundle=$(judge_bundle "$1" "$2") || return
    shift 2
    judge_runtime_config "$@" <"$bundle/config.json" >"$bundle/config.json.new" || return
    mv "$bundle/config.json.new" "$bundle/config.json"
    state=$(mktemp -d "$BATS_TEST_TMPDIR/runc.XXXXXX")
    timeout 120 runc --root "$state" run -b "$bundle" "cbpush-judge-$BASHPID" </dev/null 3>&- || status=$?
    return "$status"
}

# judge_blob OCI-DIR DIGEST
judge_blob()
{
    cat "$1/blobs/${2/://}"
}

judge_manifest()
{
    local digest
    digest=$(jq -er --arg tag "$2" '.manifests[]
        | select(.annotations["org.opencontainers.image.ref.name"] == $tag).digest' "$1/index.json") &&
        judge_blob "$1" "$digest"
}

judge_config()
{
    local digest
    digest=$(judge_manifest "$1" "$2" | jq -er .config.digest) && judge_blob "$1" "$digest"
}

# judge_index REF: the platforms and what their images have, a line each.
judge_index()
{
    local arch
    skopeo inspect --tls-verify=false --raw "docker://$1" >index.json
    for arch in $(jq -r '.manifests[].platform.architecture' index.json); do
        rm -rf out
        skopeo copy -q --src-tls-verify=false --override-arch "$arch" "docker://$1" "oci:out:x"
        printf '%s %s\n' "$arch" "$(judge_blob out "$(judge_manifest out x | jq -r '.layers[0].digest')" | tar -xzO x)"
    done
}
