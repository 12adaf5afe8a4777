/* SPDX-License-Identifier: Apache-2.0 */
/* One pattern of --exclude, then maybe \x01 and a path: alone, behind a double star, and taken back. */
#include "dockerfile/dockerfile.h"
#include "tests/fuzz/fuzz.h"

static struct cb_df_ignore *rules(const char *first, const char *second)
{
    cb_cleanup_strvec struct cb_strvec v = CB_STRVEC_INIT;
    cb_strvec_push(&v, first);
    if (second)
        cb_strvec_push(&v, second);
    return cb_df_ignore_from_patterns(&v, NULL);
}

FUZZ_TARGET(pattern)
{
    const char *path = fuzz_second(text, &len, "a/b.c");
    cb_autofree char *no = cb_asprintf("!%s", text), *below = cb_asprintf("%s/x/y", path);
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *one = rules(text, NULL);
    if (!one || !path[0] || path[0] == '/' || text[0] == '!' || strlen(path) > 4000)
        return;
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *back = rules(text, no);
    if (cb_df_ignored(one, path) && !cb_df_ignored(one, below))
        abort(); /* what is in an ignored directory is ignored */
    if (back && cb_df_ignored(back, path))
        abort();
}
