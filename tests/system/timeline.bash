# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# What --trace wrote into ./t.json. `load helpers`, `load timeline`.
#
#   timeline EXPRESSION       what it gives, see trace_judge.py; fails where the file is no timeline
#   timeline_is EXPRESSION VALUE

timeline()
{
    python3 -B "$RIG_HERE/trace_judge.py" t.json "$@"
}

timeline_is()
{
    local value
    value=$(timeline "$1") || return
    assert_equal "$value" "$2" "$1"
}
