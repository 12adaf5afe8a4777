#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A build with caches gives what one without gives, whatever changed in between: random ones, from fixed seeds.
# CBPUSH_TEST_SEEDS=FIRST-LAST: others, CBPUSH_TEST_SECONDS: no new seed is begun after that time (HACKING.md).

load helpers

setup_file()
{
    rig_setup_file
    registry_start reg
}

@test "stale: no build differs from one without caches" {
    local seconds=${CBPUSH_TEST_SECONDS:-20}
    run python3 -B "$RIG_HERE/stale/stale.py" "$PWD" "$(registry_addr reg)" "${CBPUSH_TEST_SEEDS:-1-40}" 12 "$seconds"
    [ -z "${CBPUSH_TEST_SECONDS-}" ] || printf '# %s\n' "${lines[-1]}" >&3
    assert_status 0
    assert_contains "$output" ', 0 with a difference'
}
