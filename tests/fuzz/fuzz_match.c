/* SPDX-License-Identifier: Apache-2.0 */
/* A wildcard pattern of COPY, then maybe \x01 and a name. */
#include "dockerfile/dockerfile.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(match)
{
    const char *name = fuzz_second(text, &len, "a/b.c");
    bool matched = false;
    if (cb_df_match(text, name, &matched, NULL) < 0)
        return;
    if (!strpbrk(text, "*?[\\") && matched != (strcmp(text, name) == 0))
        abort(); /* without wildcards it is a comparison */
}
