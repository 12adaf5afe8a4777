# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# An ordinary user, where the tests run as root. `load users` behind helpers and build:
#
#   user_setup                 behind rig_setup and build_setup: such a user, who can get at ctx, HOME and cbpush; skips
#                              where there are no user namespaces
#   as_user RANGE COMMAND…     as that user; RANGE is its line in /etc/subuid after the name ($RANGE), or nothing
#
# The user exists only in a mount namespace of the test.

USER_ID=54321
RANGE=200000:65536
export RANGE

user_setup()
{
    unshare --user --map-root-user true 2>/dev/null || skip 'user namespaces are forbidden here'
    # The user has to get here.
    local dir
    for dir in "$BATS_RUN_TMPDIR" "$BATS_RUN_TMPDIR/test" "$BATS_TEST_TMPDIR"; do chmod a+x "$dir"; done
    cp "$CBPUSH" cbpush
    export CBPUSH=$BATS_TEST_TMPDIR/cbpush
    { cat /etc/passwd; echo "cbtest:x:$USER_ID:$USER_ID::$HOME:/bin/sh"; } >passwd
    { cat /etc/group; echo "cbtest:x:$USER_ID:"; } >group
    export CBPUSH_ROOT=$HOME/store
    chown -R "$USER_ID:$USER_ID" "$HOME" "$TMPDIR" "$XDG_RUNTIME_DIR" ctx
}

as_user()
{
    local range=$1
    shift
    : >subids
    [ -z "$range" ] || echo "cbtest:$range" >subids
    # shellcheck disable=SC2016 # the other shell expands it
    unshare --mount --propagation private sh -c '
        dir=$1 id=$2
        shift 2
        touch /etc/subuid /etc/subgid
        mount --bind "$dir/passwd" /etc/passwd && mount --bind "$dir/group" /etc/group &&
            mount --bind "$dir/subids" /etc/subuid && mount --bind "$dir/subids" /etc/subgid || exit 99
        exec setpriv --reuid "$id" --regid "$id" --clear-groups "$@"' sh "$BATS_TEST_TMPDIR" "$USER_ID" "$@"
}
