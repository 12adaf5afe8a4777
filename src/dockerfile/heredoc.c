/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include "util/alloc.h"
#include "util/limits.h"

void cb_df_heredocs_done(struct cb_df_heredocs *h)
{
    for (size_t i = 0; i < h->n; i++) {
        free(h->v[i].name);
        free(h->v[i].body);
    }
    free(h->v);
    free(h->at);
    *h = (struct cb_df_heredocs)CB_DF_HEREDOCS_INIT;
}

/* Behind the quoted string that begins at p; NULL where it is not closed. */
static const char *skip_quotes(const char *p)
{
    char quote = *p++;
    for (; *p && *p != quote; p++) {
        if (quote == '"' && *p == '\\' && p[1])
            p++;
    }
    return *p ? p + 1 : NULL;
}

/* Keeps the search for an end that is not there from making hostile lines quadratic. */
#define MAX_ARITHMETIC 256

/* Behind `$((…))`, where << is arithmetic; p stands on the '$'. Behind the '$' if that is what it is not. */
static const char *skip_arithmetic(const char *p)
{
    if (p[1] != '(' || p[2] != '(')
        return p + 1;
    unsigned open = 0;
    for (const char *q = p + 1; *q && q - p < MAX_ARITHMETIC; q++) {
        if (*q == '(')
            open++;
        else if (*q == ')' && --open == 0)
            return q + 1;
    }
    return p + 1;
}

/* Behind the word at p; NULL where a quote is not closed. */
static const char *skip_word(const char *p)
{
    while (p && *p && !cb_df_is_blank(*p)) {
        if (*p == '\'' || *p == '"')
            p = skip_quotes(p);
        else if (*p == '\\' && p[1])
            p += 2;
        else if (*p == '$')
            p = skip_arithmetic(p);
        else
            p++;
    }
    return p;
}

/* The delimiter at p, quotes taken off. NULL where there is none: `<<<`, `<<''`, an open quote. */
static const char *delimiter(const char *p, struct cb_strbuf *name, bool *quoted)
{
    while (*p && !cb_df_is_blank(*p) && !strchr("<>|&;()", *p)) {
        if (*p == '\'' || *p == '"') {
            const char *end = skip_quotes(p);
            if (!end)
                return NULL;
            for (const char *q = p + 1; q < end - 1; q++) {
                if (*p == '"' && *q == '\\' && strchr("\"$\\", q[1]))
                    q++;
                cb_strbuf_addch(name, *q);
            }
            *quoted = true;
            p = end;
            continue;
        }
        if (*p == '\\' && p[1]) {
            *quoted = true;
            p++;
        }
        cb_strbuf_addch(name, *p++);
    }
    return name->len == 0 || *p == '<' ? NULL : p;
}

static int check_name(const char *name, struct cb_error *err)
{
    if (strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strlen(name) > CB_MAX_NAME)
        return cb_df_fail(err, "heredoc delimiter %s cannot be a file name: choose a plain word", CB_DF_SHOW(name));
    return 0;
}

static int fd_number(const char *p, size_t n, unsigned *fd, struct cb_error *err)
{
    *fd = 0;
    for (size_t i = 0; i < n; i++) {
        *fd = *fd * 10 + (unsigned)(p[i] - '0');
        if (*fd > 1023)
            return cb_df_fail(err, "heredoc descriptor %s is too large: at most 1023", CB_DF_SHOWN(p, n));
    }
    return 0;
}

static void append(struct cb_df_heredocs *h, struct cb_df_heredoc doc, struct cb_df_heredoc_word at)
{
    if (h->n >= h->cap) {
        h->cap = h->cap ? h->cap * 2 : 4;
        h->v = cb_reallocarray(h->v, h->cap, sizeof *h->v);
        h->at = cb_reallocarray(h->at, h->cap, sizeof *h->at);
    }
    h->v[h->n] = doc;
    h->at[h->n++] = at;
}

/* 1: a heredoc word stands at *pp, which moves behind it; 0: something else. */
static int heredoc_at(struct cb_df_heredocs *h, const char *text, const char **pp, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf name = CB_STRBUF_INIT;
    struct cb_df_heredoc doc = { 0 };
    size_t digits = strspn(*pp, "0123456789");
    const char *p = *pp + digits;
    if (p[0] != '<' || p[1] != '<')
        return 0;
    p += 2;
    doc.chomp = *p == '-';
    p += doc.chomp;
    while (cb_df_is_blank(*p))
        p++;
    bool quoted = false;
    const char *end = delimiter(p, &name, &quoted);
    if (!end)
        return 0;
    int r = fd_number(*pp, digits, &doc.fd, err);
    if (r < 0 || (r = check_name(name.buf, err)) < 0)
        return r;
    doc.expand = !quoted;
    doc.name = cb_strbuf_detach(&name, NULL);
    append(h, doc, (struct cb_df_heredoc_word){ (size_t)(*pp - text), (size_t)(end - text) });
    *pp = end;
    return 1;
}

int cb_df_heredocs_scan(struct cb_df_heredocs *h, const char *text, struct cb_error *err)
{
    for (const char *p = text; *p;) {
        if (cb_df_is_blank(*p)) {
            p++;
            continue;
        }
        int r = heredoc_at(h, text, &p, err);
        if (r < 0)
            return r;
        /* An operator may stand right behind a delimiter. */
        if (r == 0 || !cb_df_is_blank(*p))
            p = skip_word(p);
        if (!p) {
            /* An open quote: the shell will complain, and until then nothing here is known to be a heredoc. */
            cb_df_heredocs_done(h);
            return 0;
        }
    }
    return 0;
}

static bool is_end(struct cb_slice line, const char *name)
{
    while (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    return cb_slice_eq(line, name);
}

static int read_body(struct cb_df_heredoc *doc, struct cb_df_lexer *lx, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf body = CB_STRBUF_INIT;
    unsigned first = lx->line + 1;
    for (;;) {
        struct cb_slice line;
        size_t bad;
        int r = cb_df_lexer_raw(lx, &line, err);
        if (r < 0)
            return r;
        if (r == 0)
            return cb_df_fail(err, "unterminated heredoc: a line with only %s is missing", CB_DF_SHOW(doc->name));
        while (doc->chomp && line.len > 0 && line.ptr[0] == '\t') {
            line.ptr++;
            line.len--;
        }
        if (is_end(line, doc->name))
            break;
        if (!cb_df_utf8_valid(line.ptr, line.len, &bad))
            return cb_df_fail(err, "heredoc %s, line %u: %s is not UTF-8: save the file as UTF-8",
                              CB_DF_SHOW(doc->name), lx->line - first + 1,
                              CB_DF_SHOWN(line.ptr + bad, line.len - bad));
        cb_strbuf_add(&body, line.ptr, line.len);
        cb_strbuf_addch(&body, '\n');
    }
    doc->body = cb_strbuf_detach(&body, NULL);
    return 0;
}

int cb_df_heredocs_read(struct cb_df_heredocs *h, struct cb_df_lexer *lx, struct cb_error *err)
{
    for (size_t i = 0; i < h->n; i++) {
        int r = read_body(&h->v[i], lx, err);
        if (r < 0)
            return r;
    }
    return 0;
}

bool cb_df_is_heredoc_word(const struct cb_df_instruction *i, size_t word)
{
    for (size_t k = 0; k < i->n_heredocs; k++)
        if (i->heredoc_word[k] == word)
            return true;
    return false;
}
