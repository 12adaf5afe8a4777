/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <ctype.h>

#define MAX_WORD 40

static bool same(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Insertions, deletions, replacements and swaps of neighbours that lead from a to b. */
static unsigned distance(const char *a, size_t na, const char *b, size_t nb)
{
    unsigned row[3][MAX_WORD + 1];
    for (size_t j = 0; j <= nb; j++)
        row[0][j] = (unsigned)j;
    for (size_t i = 1; i <= na; i++) {
        unsigned *now = row[i % 3], *up = row[(i + 2) % 3], *up2 = row[(i + 1) % 3];
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= nb; j++) {
            unsigned best = up[j - 1] + (same(a[i - 1], b[j - 1]) ? 0 : 1);
            best = CB_MIN(best, CB_MIN(up[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && same(a[i - 1], b[j - 2]) && same(a[i - 2], b[j - 1]))
                best = CB_MIN(best, up2[j - 2] + 1);
            now[j] = best;
        }
    }
    return row[na % 3][nb];
}

const char *cb_df_suggest(const char *word, const char *const *candidates)
{
    size_t n = strlen(word);
    if (n == 0 || n > MAX_WORD)
        return NULL;
    /* In a short word two slips leave nothing of it. */
    unsigned limit = n <= 3 ? 1 : n <= 6 ? 2 : 3;
    const char *best = NULL;
    for (size_t i = 0; candidates[i]; i++) {
        size_t m = strlen(candidates[i]);
        if (m > MAX_WORD)
            continue;
        unsigned d = distance(word, n, candidates[i], m);
        if (d <= limit && d < m) {
            best = candidates[i];
            limit = d - (d > 0);
            if (d == 0)
                break;
        }
    }
    return best;
}
