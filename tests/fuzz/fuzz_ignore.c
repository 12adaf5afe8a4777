/* SPDX-License-Identifier: Apache-2.0 */
/* A .dockerignore, then maybe \x01 and a path. */
#include "dockerfile/dockerfile.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(ignore)
{
    const char *path = fuzz_second(text, &len, "a/b.c");
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *i = cb_df_ignore_parse("i", text, len, NULL);
    if (!i)
        return;
    (void)cb_df_ignored(i, path);
    cb_autofree char *below = cb_asprintf("%s/x", path);
    /* A path that comes back below an ignored directory must have been announced. */
    if (path[0] && path[0] != '/' && strlen(path) < 4000 && cb_df_ignored(i, path) && !cb_df_ignored(i, below) &&
        !cb_df_ignore_may_reinclude(i, path))
        abort();
}
