/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/template_table.h"

#include <ctype.h>

#include "cmd/columns.h"
#include "cmd/template.h"
#include "oci/json.h"
#include "util/alloc.h"

#define WORD "table"
#define MIN_WIDTH 10 /* of a column, with the gap behind it: as docker has it */
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

int cb_template_table_add(struct cb_template_table *t, const json_t *row, struct cb_error *err)
{
    struct cb_strbuf line cb_cleanup_strbuf = CB_STRBUF_INIT, safe cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_template_print(&line, t->row, row, err);
    if (r < 0)
        return r;
    if (t->columns) {
        cb_strbuf_add_sanitized(&safe, line.buf, line.len, false);
        cb_strvec_take(&t->lines, cb_strbuf_detach(&safe, NULL));
    } else {
        cb_template_show(&line);
    }
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
    return cb_template_table_add(t, names, err);
}

void cb_template_table_print(const struct cb_template_table *t)
{
    cb_columns_print(&t->lines, MIN_WIDTH, GAP);
}

void cb_template_table_done(struct cb_template_table *t)
{
    cb_strvec_done(&t->lines);
}
