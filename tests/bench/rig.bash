# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The system tests' registries and base images, for the benchmark. Started by bench.py: bash rig.bash DIR
# Two registries of the names reg and hub are left running, python:3.9-slim in both and busybox in reg; and two empty ones,
# mem and mem2, that keep what they have in memory, below $BENCH_MEMORY. Prints what bench.py needs to know: NAME ADDRESS
# ACCESS-LOG, a line a registry.
set -eu
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export BATS_FILE_TMPDIR=$1
# shellcheck source=tests/system/helpers.bash
. "$here/../system/helpers.bash"
rig_clean_environment
rig_home "$BATS_FILE_TMPDIR"
mkdir -p "$(rig_dir)"
for name in reg hub; do
    registry_start "$name"
    push_python "$name"
    printf '%s %s %s\n' "$name" "$(registry_addr "$name")" "$(rig_find "$name")/out"
done
push_busybox reg
for name in mem mem2; do
    registry_start --storage "$BENCH_MEMORY/$name" "$name"
    printf '%s %s %s\n' "$name" "$(registry_addr "$name")" "$(rig_find "$name")/out"
done
