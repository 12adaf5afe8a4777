/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

int cb_df_match(const char *pattern, const char *name, bool *matched, struct cb_error *err)
{
    CB_CLEANUP(cb_df_glob_done) struct cb_df_glob g;
    int r = cb_df_glob_compile(&g, pattern, false, err);
    if (r == 0)
        *matched = cb_df_glob_run(&g, name, strlen(name), CB_DF_GLOB_WHOLE);
    return r;
}

bool cb_df_has_wildcard(const char *pattern)
{
    for (const char *p = pattern; *p; p++) {
        if (*p == '\\') {
            if (!*++p)
                return false;
        } else if (*p == '*' || *p == '?' || *p == '[') {
            return true;
        }
    }
    return false;
}
