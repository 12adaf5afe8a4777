/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/template_table.h"

#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/template.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/utf8.h"

#define WORD "table"
#define MIN_WIDTH 10 /* of a column, with the gap behind it: docker's */
#define GAP 3

/* What stands behind the word; NULL: it is none. */
static const char *behind_word(const char *format)
{
    const char *p = format && cb_starts_with(format, WORD) ? format + strlen(WORD) : NULL;
    if (!p || (*p && !isspace((unsigned char)*p) && !cb_starts_with(p, "{{") && !cb_starts_with(p, "\\t")))
        return NULL;
    while (isspace((unsigned char)*p))
        p++;
    return p;
}

bool cb_template_is_plain_table(const char *format)
{
    const char *row = behind_word(format);
    return row && !*row;
}

static int add_line(struct cb_template_table *t, const json_t *row, struct cb_error *err)
{
    struct cb_strbuf line cb_cleanup_strbuf = CB_STRBUF_INIT, safe cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_template_print(&line, t->row, row, err);
    if (r < 0)
        return r;
    if (t->columns || isatty(STDOUT_FILENO))
        cb_strbuf_add_sanitized(&safe, line.buf, line.len, !t->columns);
    else
        cb_strbuf_add(&safe, line.buf, line.len);
    if (t->columns)
        cb_strvec_take(&t->lines, cb_strbuf_detach(&safe, NULL));
    else
        printf("%s\n", safe.buf);
    return 0;
}

int cb_template_table_begin(struct cb_template_table *t, const char *format, const char *const (*headings)[2],
                            struct cb_error *err)
{
    const char *row = behind_word(format);
    *t = (struct cb_template_table){ .row = row, .columns = row };
    if (!row) {
        t->row = strcmp(format, "json") ? format : "{{json .}}";
        return 0;
    }
    cb_autojson json_t *names = json_object();
    for (; (*headings)[0]; headings++)
        cb_json_put_string(names, (*headings)[0], (*headings)[1]);
    return add_line(t, names, err);
}

int cb_template_table_add(struct cb_template_table *t, const json_t *row, struct cb_error *err)
{
    return add_line(t, row, err);
}

/* ---- columns ---- */

/* In characters, as docker counts. */
static int width_of(const char *p, size_t n)
{
    int width = 0;
    for (size_t i = 0; i < n; width++) {
        uint32_t c;
        size_t len = cb_utf8_decode(p + i, n - i, &c);
        i += len ? len : 1;
    }
    return width;
}

static size_t count_cells(const char *line)
{
    size_t n = 1;
    for (; *line; line++)
        n += *line == '\t';
    return n;
}

/* The last cell of a line is in no column: nothing is behind it. */
static void measure(const char *line, int *widths)
{
    for (const char *tab; (tab = strchr(line, '\t')) != NULL; line = tab + 1, widths++)
        *widths = CB_MAX(*widths, width_of(line, (size_t)(tab - line)) + GAP);
}

static void print_line(const char *line, const int *widths)
{
    for (const char *tab; (tab = strchr(line, '\t')) != NULL; line = tab + 1, widths++) {
        size_t n = (size_t)(tab - line);
        printf("%.*s%*s", (int)n, line, *widths - width_of(line, n), "");
    }
    printf("%s\n", line);
}

void cb_template_table_print(const struct cb_template_table *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->lines.n; i++)
        n = CB_MAX(n, count_cells(t->lines.v[i]));
    int *widths = cb_calloc(n + 1, sizeof *widths);
    for (size_t i = 0; i < n; i++)
        widths[i] = MIN_WIDTH;
    for (size_t i = 0; i < t->lines.n; i++)
        measure(t->lines.v[i], widths);
    for (size_t i = 0; i < t->lines.n; i++)
        print_line(t->lines.v[i], widths);
    free(widths);
}

void cb_template_table_done(struct cb_template_table *t)
{
    cb_strvec_done(&t->lines);
}
