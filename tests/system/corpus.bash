# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# For 70-corpus.bats: a registry with the corpus's parents, one store for all cases with the parents in it.
#
#   corpus FILE       compares the cases of FILE.case; fails with the differences, or if not all were compared

setup_file()
{
    rig_setup_file
    registry_start reg
    python3 -B "$RIG_HERE/corpus/parents.py" "$BATS_FILE_TMPDIR/parents" "$(registry_addr reg)"
}

setup()
{
    RIG_SHARED_STORE=1 rig_setup
    mirror_conf "$(registry_addr reg)"
}

corpus()
{
    local file=$CB_TOP/tests/data/dockerfile/build/$1.case counted
    counted=$(python3 -B "$RIG_HERE/corpus/compare.py" "$BATS_FILE_TMPDIR/parents" "$TMPDIR" "$file") || return
    assert_equal "$counted" "$(grep -c '^=== ' "$file") cases"
}
