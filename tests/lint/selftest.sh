#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The lints' own test: a clean tree has no finding; a tree with one violation of every kind has exactly the findings
# written beside each violation. Prints one line a difference, exits 1 if any.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
spdx='/* SPDX-License-Identifier: Apache-2.0 */'

# put FILE < text
put()
{
    mkdir -p "$(dirname "$tree/$1")"
    cat >"$tree/$1"
}

# header FILE, source FILE: the same with the licence line and, for a header, #pragma once put before the text
header()
{
    { printf '%s\n#pragma once\n' "$spdx"; cat; } | put "$1"
}

source_c()
{
    { printf '%s\n' "$spdx"; cat; } | put "$1"
}

# wants FILE:LINE: WORDS: a finding that the bad tree must have
wants()
{
    printf '%s\n' "$1" >>"$dir/wanted"
}

# repeat N TEXT
repeat()
{
    awk -v n="$1" -v t="$2" 'BEGIN { for (i = 0; i < n; i++) print t }'
}

clean_tree()
{
    header src/util/a.h </dev/null
    header src/oci/deep.h <<'END'
#include "util/a.h"
END
    header src/store/store.h <<'END'
#include "oci/deep.h" /* open: any header of it */
int store_open(int a, int (*f)(int, int, int, int, int, int), int c, int d, int e);
END
    header src/store/part_private.h <<'END'
#include "store/store.h"
END
    source_c src/store/part.c <<'END'
#include <limits.h>
#include "store/part_private.h"
/* the word goto, "typedef struct" and printf in a comment are fine */
static const char text[] = "goto typedef struct printf XXXXXX";
int store_open(int a, int (*f)(int, int, int, int, int, int), int c, int d, int e)
{
    return f(a, c, d, e, 0, text[0]);
}
END
    source_c src/store/store.c <<'END'
#include "store/part_private.h" /* no cycle: store.h is the folder's, not this file's */
END
    header src/oci/split.h </dev/null
    header src/oci/split_private.h <<'END'
#include "oci/split.h"
END
    source_c src/oci/split.c <<'END'
#include "oci/split_private.h" /* no cycle: one module with it */
END
    source_c src/main.c <<'END'
#include <stdio.h>
int main(void)
{
    printf("main may print\n");
    return 0;
}
END
    source_c tests/unit/test_a.c <<'END'
#include "store/part_private.h"
int six(int a, int b, int c, int d, int e, int f)
{
    return a + b + c + d + e + f;
}
END
    put src/util/limits.h <<END
$spdx
#pragma once
END
    put Makefile.am <<'END'
libx_a_SOURCES = src/main.c src/util/a.h src/util/limits.h src/oci/deep.h
libx_a_SOURCES += src/oci/split.c src/oci/split.h src/oci/split_private.h src/store/store.c
include src/store/Makefile.inc
END
    put src/store/Makefile.inc <<'END'
libx_a_SOURCES += src/store/store.h \
	src/store/part.c src/store/part_private.h
END
    put tests/unit/all.inc <<'END'
test_a_SOURCES = tests/unit/test_a.c
END
    put contrib/good.sh <<'END'
#!/bin/sh
# --deeply
echo "$1"
END
    header src/util/error.h <<'END'
enum cb_code {
    CB_OK = 0,
    CB_ESTEP = 1, /* a step */
    CB_ENOTFOUND = 20,
};
END
    source_c src/util/reads.c <<'END'
static const char verb[] = "build", option[] = "push", type[] = "application/vnd.x.y+json";
#define cb_read() getenv("CBPUSH_ROOT")
END
    echo 'libx_a_SOURCES += src/util/error.h src/util/reads.c' >>"$tree/Makefile.am"
    put README.md <<'END'
`cbpush build --push --deeply`, `util/a.h`, `part*.c`, src/store/, tests/unit/test_NAME.c, `cb_read`, application/vnd.x.y+json
Exit status: 0 ok, 1 a step failed
END
    put doc/cbpush.1.scd <<'END'
# THE STORE
*CBPUSH_ROOT*, see *THE
STORE*
# EXIT STATUS
0 ok, 1 a step failed
END
}

bad_documents()
{
    put HACKING.md <<'END'
`util/gone.c`, `src/nowhere/`, `cb_gone`
    cbpush biuld --psuh
`application/vnd.x.z` with CBPUSH_RROT
END
    wants 'HACKING.md:1: there is no util/gone.c'
    wants 'HACKING.md:1: there is no src/nowhere/'
    wants 'HACKING.md:1: no source has cb_gone'
    wants 'HACKING.md:2: there is no verb biuld'
    wants 'HACKING.md:2: nothing has an option --psuh'
    wants 'HACKING.md:3: no source has application/vnd.x.z'
    wants 'HACKING.md:3: nothing reads CBPUSH_RROT'
    put doc/cbpush.1.scd <<'END'
*CBPUSH_ROOT*, see *THE STORE*
# EXIT STATUS
0 ok
END
    wants 'doc/cbpush.1.scd:1: there is no section THE STORE'
    wants 'doc/cbpush.1.scd:2: exit status 1 is not told'
    source_c src/oci/reads.c <<'END'
#define MORE first_set(get, "HIDDEN_LOW", "HIDDEN_UP", getenv("HIDDEN"))
END
    wants 'src/oci/reads.c:2: doc/cbpush.1.scd does not tell of HIDDEN'
    source_c src/oci/lists.c <<'END'
static const char *const names[] = {
    "HIDDEN_ONE", NULL };
#define ANY getenv(names[0])
END
    wants 'src/oci/lists.c:3: doc/cbpush.1.scd does not tell of HIDDEN_ONE'
    source_c src/cmd/writes.c <<'END'
static const char member[] = "cbpush.member";
END
    wants 'src/cmd/writes.c:2: doc/cbpush.1.scd does not tell of cbpush.member'
    wants 'src/oci/reads.c:2: doc/cbpush.1.scd does not tell of HIDDEN_LOW'
    wants 'src/oci/reads.c:2: doc/cbpush.1.scd does not tell of HIDDEN_UP'
    echo 'libx_a_SOURCES += src/oci/reads.c src/oci/lists.c src/cmd/writes.c' >>"$tree/Makefile.am"
}

bad_includes()
{
    source_c src/store/law.c <<'END'
#include "registry/registry.h"
#include "no/such.h"
#include <util/a.h>
#include "tests/unit/t.h"
END
    wants 'src/store/law.c:2: store may not include registry (registry/registry.h)'
    wants 'src/store/law.c:3: no such header: no/such.h'
    wants 'src/store/law.c:4: our own header in <>: write "util/a.h"'
    wants 'src/store/law.c:5: includes tests/unit/t.h, which is no part of the sources'
    header registry/registry.h </dev/null
    header tests/unit/t.h </dev/null
    source_c src/cmd/deep.c <<'END'
#include "registry/registry.h"
#include "store/part_private.h"
END
    wants 'src/cmd/deep.c:3: src/store/part_private.h is private to store: include store/store.h'
    header src/novel/novel.h </dev/null
    wants 'src/novel/novel.h:1: folder novel is not in tests/lint/layers.txt'
    header src/oci/ring_a.h <<'END'
#include "oci/ring_b.h"
END
    header src/oci/ring_b.h </dev/null
    source_c src/oci/ring_b.c <<'END'
#include "oci/ring_a.h"
END
    wants 'src/oci/ring_a.h:3: include cycle: src/oci/ring_a src/oci/ring_b'
}

bad_sizes()
{
    repeat 799 '/* line */' | source_c src/oci/file.c
    { printf '/* one too many */\n'; repeat 799 '/* line */'; } | source_c src/oci/long_file.c
    wants 'src/oci/long_file.c:801: file of 801 lines, the budget is 800'
    { echo '#!/bin/sh'; repeat 800 '# line'; } | put tests/long.sh
    wants 'tests/long.sh:801: file of 801 lines, the budget is 800'
    {
        printf 'int hundred(void)\n{\n'; repeat 97 '    ;'; printf '}\n'
        printf 'int longer(void)\n{\n'; repeat 98 '    ;'; printf '}\n'
    } | source_c src/oci/function.c
    wants 'src/oci/function.c:102: longer: function of 101 lines, the budget is 100'
    wants 'src/oci/function.c:102: longer: the 90th percentile of all functions is 101 lines, the budget is 45'
    {
        printf 'int sixteen(int a, int b, int c, int d, int e, struct x *f)\n{\n'; repeat 13 '    ;'; printf '}\n'
        printf 'int another(void)\n{\n'; repeat 13 '    ;'; printf '}\n'
    } | source_c src/oci/parameters.c
    wants 'src/oci/parameters.c:2: sixteen: 6 parameters, the budget is 5: use an options struct'
    wants 'src/oci/parameters.c:2: sixteen: the median of all functions is 16 lines, the budget is 15'
}

bad_style()
{
    sed 's/@BLANK@/ /' <<'END' | put src/oci/style.c
/* no licence */
typedef struct x { int a; } x;
int f(void)
{
	goto out;
out:
    return 0;@BLANK@
}
/* TODO more */
END
    printf '/*%s*/\n/*%s*/\nint g(void)\n{\n    puts("");\n}\n' \
        "$(repeat 1 x | awk '{ for (i = 0; i < 117; i++) printf "x" }')" \
        "$(awk 'BEGIN { for (i = 0; i < 116; i++) printf "\303\251" }')" >>"$tree/src/oci/style.c"
    wants "src/oci/style.c:1: the first line must be $spdx"
    wants 'src/oci/style.c:2: typedef of a struct: write struct cb_x'
    wants 'src/oci/style.c:5: goto: use a cleanup attribute (util/macros.h)'
    wants 'src/oci/style.c:5: tab'
    wants 'src/oci/style.c:7: blanks at the end of the line'
    wants 'src/oci/style.c:9: TODO: finish it or write an issue'
    wants 'src/oci/style.c:10: 121 columns, the limit is 120'
    wants 'src/oci/style.c:14: puts: only main, cmd and progress print'
    printf '%s\n#include "util/a.h"\n' "$spdx" | put src/oci/once.h
    wants "src/oci/once.h:2: a header's second line must be #pragma once"
}

bad_lists()
{
    source_c src/oci/unlisted.c </dev/null
    wants 'src/oci/unlisted.c:1: listed in no Makefile.inc'
    source_c tests/unit/test_unlisted.c </dev/null
    wants 'tests/unit/test_unlisted.c:1: listed in no Makefile.inc'
    put src/oci/Makefile.inc <<'END'
libx_a_SOURCES += src/oci/file.c src/oci/long_file.c src/oci/function.c src/oci/parameters.c src/oci/style.c
libx_a_SOURCES += src/oci/once.h src/oci/ring_a.h src/oci/ring_b.h src/oci/ring_b.c registry/registry.h
libx_a_SOURCES += src/store/law.c src/cmd/deep.c src/novel/novel.h tests/unit/t.h
# libx_a_SOURCES += src/oci/unlisted.c
libx_a_SOURCES += src/oci/gone.c
END
    wants 'src/oci/Makefile.inc:5: src/oci/gone.c does not exist'
    put contrib/bad.sh <<'END'
#!/bin/sh
echo $1
END
    wants 'contrib/bad.sh:2: note: Double quote to prevent globbing and word splitting. [SC2086]'
    put tests/system/bad.bats <<'END'
#!/usr/bin/env bats
@test "this cannot fail" {
    echo $unquoted
    ! true
    true
}
END
    wants "tests/system/bad.bats:4: error: In Bats, ! does not cause a test failure. Use 'run ! ' (on Bats >= 1.5.0) instead. [SC2314]"
}

# same WANTED GOT: one line for each difference
same()
{
    sort "$1" >"$dir/a"
    sort "$2" >"$dir/b"
    comm -23 "$dir/a" "$dir/b" | sed 's/^/tests\/lint\/selftest.sh:1: not found: /'
    comm -13 "$dir/a" "$dir/b" | sed 's/^/tests\/lint\/selftest.sh:1: not expected: /'
}

run()
{
    if sh "$here/run.sh" "$tree" >"$dir/out"; then status=0; else status=$?; fi
    grep -v '^lint: ' "$dir/out" >"$dir/got" || :
    if [ "$status" -ne "$1" ] || ! grep -q "^lint: [0-9]* checks, $2 findings" "$dir/out"; then
        echo "tests/lint/selftest.sh:1: exit status $status, wanted $1, and: $(tail -n 1 "$dir/out")"
    fi
}

tree=$dir/clean
clean_tree
: >"$dir/wanted"
run 0 0 >"$dir/differences"
same "$dir/wanted" "$dir/got" >>"$dir/differences"

tree=$dir/bad
clean_tree
bad_includes
bad_sizes
bad_style
bad_lists
bad_documents
command -v shellcheck >/dev/null || sed -i '/bad\.\(sh\|bats\):/d' "$dir/wanted"
run 1 "$(grep -c . "$dir/wanted")" >>"$dir/differences"
same "$dir/wanted" "$dir/got" >>"$dir/differences"
cat "$dir/differences"
[ ! -s "$dir/differences" ]
