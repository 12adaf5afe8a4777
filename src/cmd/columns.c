/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/columns.h"

#include <stdio.h>
#include <string.h>

#include "progress/progress.h"
#include "util/alloc.h"

static size_t count_cells(const char *line)
{
    size_t n = 1;
    for (; *line; line++)
        n += *line == '\t';
    return n;
}

static void measure(const char *line, size_t gap, size_t *widths)
{
    for (const char *tab; (tab = strchr(line, '\t')) != NULL; line = tab + 1, widths++)
        *widths = CB_MAX(*widths, cb_progress_width(line, (size_t)(tab - line)) + gap);
}

static void print_line(const char *line, const size_t *widths)
{
    for (const char *tab; (tab = strchr(line, '\t')) != NULL; line = tab + 1, widths++) {
        size_t n = (size_t)(tab - line);
        printf("%.*s%*s", (int)n, line, (int)(*widths - cb_progress_width(line, n)), "");
    }
    printf("%s\n", line);
}

void cb_columns_print(const struct cb_strvec *lines, size_t min, size_t gap)
{
    size_t n = 0;
    for (size_t i = 0; i < lines->n; i++)
        n = CB_MAX(n, count_cells(lines->v[i]));
    size_t *widths = cb_calloc(n + 1, sizeof *widths);
    for (size_t i = 0; i < n; i++)
        widths[i] = min;
    for (size_t i = 0; i < lines->n; i++)
        measure(lines->v[i], gap, widths);
    for (size_t i = 0; i < lines->n; i++)
        print_line(lines->v[i], widths);
    free(widths);
}
