# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# crane and oras as further judges, and Distribution 3 as a further registry. `load helpers`, `load peers`, and in setup_file
# `peers_setup_file` after rig_setup_file.
#
#   needs_peers               skips the test where there is no Go to build them with
#   crane ARG…, oras ARG…     the programs
#   registry_start --v3 NAME  Distribution 3 (registry.bash)

# shellcheck source=tests/system/go.bash
. "$RIG_HERE/go.bash"

PEERS_GO=25 # as their go.mod says


peers_setup_file()
{
    local dir
    go_has "$PEERS_GO" || return 0
    dir=$(go_programs peers github.com/google/go-containerregistry/cmd/crane oras.land/oras/cmd/oras ./registry) || return
    export PEERS_DIR=$dir
}

needs_peers()
{
    [ -n "${PEERS_DIR-}" ] || skip "no Go 1.$PEERS_GO to build crane, oras and Distribution 3 with"
}

crane()
{
    "$PEERS_DIR/crane" "$@"
}

# oras asks for plain HTTP by itself at no other name than localhost.
oras()
{
    local verb=$1
    shift
    case $verb in
        cp) set -- --from-plain-http --to-plain-http "$@" ;;
        manifest | blob | repo) set -- "$1" --plain-http "${@:2}" ;;
        *) set -- --plain-http "$@" ;;
    esac
    "$PEERS_DIR/oras" "$verb" "$@"
}
