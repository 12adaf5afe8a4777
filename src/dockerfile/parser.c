/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include "util/alloc.h"
#include "util/limits.h"

struct parser {
    struct cb_dockerfile *d;
    struct cb_df_lexer lexer;
    struct cb_df_warnings warnings;
    size_t count; /* instructions */
    size_t cap_args, cap_stages, cap_stage; /* of the arrays in d */
};

static void done_list(struct cb_df_instruction *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cb_df_instruction_done(&v[i]);
    free(v);
}

void cb_dockerfile_free(struct cb_dockerfile *d)
{
    if (!d)
        return;
    done_list(d->global_args, d->n_global_args);
    for (size_t i = 0; i < d->n_stages; i++) {
        cb_df_instruction_done(&d->stages[i].from);
        done_list(d->stages[i].instructions, d->stages[i].n);
    }
    free(d->stages);
    for (size_t i = 0; i < d->n_warnings; i++) {
        free(d->warnings[i].rule);
        free(d->warnings[i].text);
    }
    free(d->warnings);
    free(d->name);
    free(d->syntax);
    free(d->check);
    free(d->text);
    free(d);
}

/* Puts a finished instruction where it belongs; takes what *i holds. */
static int place(struct parser *p, struct cb_df_instruction *i, struct cb_error *err)
{
    struct cb_dockerfile *d = p->d;
    if (i->kind == CB_DF_FROM) {
        CB_GROW(d->stages, d->n_stages, p->cap_stages);
        d->stages[d->n_stages++] = (struct cb_df_stage){ .from = *i };
        p->cap_stage = 0;
    } else if (d->n_stages > 0) {
        struct cb_df_stage *s = &d->stages[d->n_stages - 1];
        CB_GROW(s->instructions, s->n, p->cap_stage);
        s->instructions[s->n++] = *i;
    } else if (i->kind == CB_DF_ARG) {
        CB_GROW(d->global_args, d->n_global_args, p->cap_args);
        d->global_args[d->n_global_args++] = *i;
    } else {
        return cb_df_fail(err, "%s stands in front of the first FROM: only ARG may", cb_df_kind_name(i->kind));
    }
    *i = (struct cb_df_instruction){ 0 };
    return 0;
}

static int one(struct parser *p, struct cb_df_line *line, struct cb_error *err)
{
    CB_CLEANUP(cb_df_instruction_done) struct cb_df_instruction i = { 0 };
    struct cb_df_request rq = { .lexer = &p->lexer, .span = line->span };
    if (++p->count > CB_DF_MAX_INSTRUCTIONS)
        return cb_df_fail(err, "more than %d instructions", CB_DF_MAX_INSTRUCTIONS);
    int r = cb_df_instruction_read(&i, &rq, line->text.buf, err);
    cb_df_heredocs_done(&rq.heredocs);
    if (r < 0)
        return r;
    i.span.last = p->lexer.line;
    i.empty_inside = line->empty_inside ? line->span.last : 0;
    i.check = cb_df_check_comment(&line->comments);
    i.comments = line->comments;
    line->comments = (struct cb_strvec)CB_STRVEC_INIT;
    return place(p, &i, err);
}

static int at_line(const struct parser *p, unsigned line, struct cb_error *err)
{
    (void)cb_error_wrap(err, "%s:%u", p->d->name, line);
    return -CB_ECONF;
}

static bool is_our_syntax(const char *s)
{
    if (cb_starts_with(s, "docker.io/"))
        s += strlen("docker.io/");
    static const char *const names[] = { "docker/dockerfile", "docker/dockerfile-upstream" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        size_t n = strlen(names[i]);
        if (strncmp(s, names[i], n) == 0 && (s[n] == '\0' || s[n] == ':' || s[n] == '@'))
            return true;
    }
    return false;
}

static int directives(struct parser *p, struct cb_error *err)
{
    struct cb_df_directives dir;
    int r = cb_df_directives_read(&dir, p->d->text, p->d->text_len, err);
    p->d->syntax = dir.syntax;
    p->d->check = dir.check;
    p->d->escape = p->lexer.escape = dir.escape;
    p->lexer.directives = dir.lines;
    if (r < 0)
        return at_line(p, dir.lines, err);
    if (dir.syntax && !is_our_syntax(dir.syntax))
        cb_df_warn(&p->warnings, (struct cb_df_span){ dir.syntax_line, dir.syntax_line }, "",
                   "syntax=%s is not run: frontends from images are not supported, the file is read as a Dockerfile",
                   CB_DF_SHOW(dir.syntax));
    return 0;
}

static int body(struct parser *p, struct cb_error *err)
{
    CB_CLEANUP(cb_df_line_done) struct cb_df_line line = CB_DF_LINE_INIT;
    for (;;) {
        int r = cb_df_lexer_next(&p->lexer, &line, err);
        if (r < 0)
            return at_line(p, p->lexer.line, err);
        if (r == 0)
            break;
        if (one(p, &line, err) < 0)
            return at_line(p, line.span.first, err);
    }
    const char *missing = p->count == 0 ? "file with no instructions: it needs at least a FROM"
        : p->d->n_stages == 0 ? "there is no FROM: a build begins with one" : NULL;
    if (!missing)
        return 0;
    (void)cb_df_fail(err, "%s", missing);
    return at_line(p, CB_MAX(p->lexer.line, 1u), err);
}

static int parse(struct parser *p, const char *text, size_t len, struct cb_error *err)
{
    unsigned line;
    if (cb_df_text_check(text, len, CB_MAX_DOCKERFILE, &line, err) < 0)
        return at_line(p, line, err);
    if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) {
        text += 3;
        len -= 3;
    }
    p->d->text = len ? cb_strndup(text, len) : cb_strdup("");
    p->d->text_len = len;
    p->lexer.text = p->d->text;
    p->lexer.len = len;
    int r = directives(p, err);
    return r < 0 ? r : body(p, err);
}

struct cb_dockerfile *cb_dockerfile_parse(const char *name, const char *text, size_t len, struct cb_error *err)
{
    struct parser p = { .d = CB_NEW(struct cb_dockerfile) };
    p.d->name = cb_strdup(name);
    int r = parse(&p, text, len, err);
    p.d->warnings = p.warnings.v;
    p.d->n_warnings = p.warnings.n;
    if (r == 0)
        return p.d;
    cb_dockerfile_free(p.d);
    return NULL;
}
