/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "exec/network.h"

/* The rest of a line of that keyword, or an empty slice. */
static struct cb_slice keyword(struct cb_slice line, const char *word)
{
    size_t n = strlen(word);
    if (line.len <= n || strncmp(line.ptr, word, n) || (line.ptr[n] != ' ' && line.ptr[n] != '\t'))
        return (struct cb_slice){ "", 0 };
    return cb_slice_trim((struct cb_slice){ line.ptr + n, line.len - n });
}

/* The lines of one keyword as they stand in text. */
static void copy_lines(const char *text, const char *word, struct cb_strbuf *out)
{
    while (*text) {
        const char *end = strchrnul(text, '\n');
        struct cb_slice rest = keyword(cb_slice_trim((struct cb_slice){ text, (size_t)(end - text) }), word);
        if (rest.len)
            cb_strbuf_addf(out, "%s %.*s\n", word, (int)rest.len, rest.ptr);
        text = *end ? end + 1 : end;
    }
}

static bool is_given(const struct cb_strvec *list)
{
    return list && list->n > 0;
}

static void add_words(const struct cb_strvec *list, const char *word, struct cb_strbuf *out)
{
    if (list->n == 1 && !strcmp(list->v[0], "."))
        return;
    cb_strbuf_adds(out, word);
    for (size_t i = 0; i < list->n; i++)
        cb_strbuf_addf(out, " %s", list->v[i]);
    cb_strbuf_addch(out, '\n');
}

void cb_network_dns(const struct cb_dns *dns, struct cb_strbuf *text)
{
    struct cb_strbuf out = CB_STRBUF_INIT;
    if (!dns || (!is_given(dns->servers) && !is_given(dns->search) && !is_given(dns->options)))
        return;
    for (size_t i = 0; is_given(dns->servers) && i < dns->servers->n; i++)
        cb_strbuf_addf(&out, "nameserver %s\n", dns->servers->v[i]);
    if (!is_given(dns->servers))
        copy_lines(text->buf, "nameserver", &out);
    if (is_given(dns->search))
        add_words(dns->search, "search", &out);
    else
        copy_lines(text->buf, "search", &out);
    if (is_given(dns->options))
        add_words(dns->options, "options", &out);
    else
        copy_lines(text->buf, "options", &out);
    cb_strbuf_done(text);
    *text = out;
}
