/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan_note.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/path.h"

static bool is_remote(const char *s)
{
    return cb_starts_with(s, "http://") || cb_starts_with(s, "https://") || cb_starts_with(s, "git@") ||
           cb_starts_with(s, "git://") || cb_starts_with(s, "ssh://");
}

static int check_copy(const struct cb_df_instruction *i, struct cb_error *err)
{
    const char *name = cb_df_kind_name(i->kind);
    const struct { bool set; const char *flag; } flags[] = {
        { i->link, "--link" }, { i->parents, "--parents" }, { i->checksum != NULL, "--checksum" },
        { i->keep_git_dir_set, "--keep-git-dir" },
    };
    for (size_t k = 0; k < CB_COUNTOF(flags); k++)
        if (flags[k].set) {
            cb_autofree char *what = cb_asprintf("%s %s", name, flags[k].flag);
            return plan_not_yet(what, err);
        }
    return 0;
}

static bool is_heredoc_word(const struct cb_df_instruction *i, size_t word)
{
    for (size_t k = 0; k < i->n_heredocs; k++)
        if (i->heredoc_word[k] == word)
            return true;
    return false;
}

static int copy_source(struct plan_stage *st, const struct cb_df_instruction *i, const char *word,
                       struct cb_copy_op *op, struct cb_error *err)
{
    struct cb_strbuf clean cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *text = NULL;
    int r = plan_expand(st, word, &text, err);
    if (r < 0)
        return r;
    if (i->kind == CB_DF_ADD && is_remote(text))
        return plan_not_yet("ADD of a URL or git repository", err);
    if (is_remote(text))
        return cb_error_set(err, CB_ECONF, "COPY takes no URL: ADD does");
    cb_autofree char *rooted = cb_asprintf("/%s", text);
    cb_path_clean(&clean, rooted);
    cb_strvec_push(&op->sources, clean.buf[1] ? clean.buf + 1 : ".");
    return 0;
}

static int copy_dest(struct plan_stage *st, const char *word, struct cb_copy_op *op, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *text = NULL;
    int r = plan_expand(st, word, &text, err);
    if (r == 0 && !*text)
        r = cb_error_set(err, CB_ECONF, "the destination is empty");
    if (r < 0)
        return r;
    const char *cwd = st->config.working_dir && *st->config.working_dir ? st->config.working_dir : "/";
    bool dir = cb_ends_with(text, "/") || !strcmp(text, ".") || cb_ends_with(text, "/.");
    cb_path_join(&path, cwd, text);
    if (*path.buf != '/')
        return cb_error_set(err, CB_EINTERNAL, "destination %s is not absolute", path.buf);
    if (dir && !cb_ends_with(path.buf, "/"))
        cb_strbuf_addch(&path, '/');
    op->dest = cb_strbuf_detach(&path, NULL);
    return 0;
}

static int check_chmod(const char *mode, struct cb_error *err)
{
    uint32_t bits;
    if (cb_parse_octal(mode, 07777, &bits))
        return 0;
    if (strpbrk(mode, "+-="))
        return plan_not_yet("a symbolic --chmod", err);
    return cb_error_set(err, CB_ECONF, "--chmod=%s: write an octal mode such as 0755", mode);
}

static int copy_flags(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_copy_op *op,
                      struct cb_error *err)
{
    int r = i->chown ? plan_expand(st, i->chown, &op->chown, err) : 0;
    if (r == 0 && i->chmod)
        r = plan_expand(st, i->chmod, &op->chmod, err);
    if (r == 0 && op->chmod)
        r = check_chmod(op->chmod, err);
    op->add = i->kind == CB_DF_ADD;
    op->unpack = i->unpack;
    cb_strvec_copy(&op->exclude, &i->exclude);
    return r;
}

static int copy_heredoc(struct plan_stage *st, const struct cb_df_heredoc *h, struct cb_copy_op *op,
                        struct cb_error *err)
{
    char *body = NULL;
    int r = 0;
    if (h->expand)
        r = plan_expand_raw(st, h->body, &body, err);
    else
        body = cb_strdup(h->body);
    if (r < 0)
        return r;
    cb_strvec_push(&op->file_names, h->name);
    cb_strvec_take(&op->file_bodies, body);
    return 0;
}

static int copy_words(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_copy_op *op,
                      struct cb_error *err)
{
    int r = 0;
    for (size_t k = 0; r == 0 && k + 1 < i->words.n; k++)
        if (!is_heredoc_word(i, k))
            r = copy_source(st, i, i->words.v[k], op, err);
    for (size_t k = 0; r == 0 && k < i->n_heredocs; k++)
        r = copy_heredoc(st, &i->heredocs[k], op, err);
    if (r == 0)
        r = copy_dest(st, i->words.v[i->words.n - 1], op, err);
    if (r == 0 && op->sources.n + op->file_names.n > 1 && !cb_ends_with(op->dest, "/"))
        return cb_error_set(err, CB_ECONF, "destination %s must end with '/': several files are copied", op->dest);
    return r;
}

static int copy_history(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_vertex *v,
                        struct cb_error *err)
{
    struct cb_strbuf note cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&note, cb_df_kind_name(i->kind));
    int r = plan_note_copy(st, i, &note, err);
    plan_history(st, note.buf, v);
    return r;
}

int plan_copy(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct cb_vertex *from = NULL;
    bool scratch = false;
    int r = check_copy(i, err);
    if (r == 0 && i->from)
        r = plan_from(st, i, &from, &scratch, err);
    if (r < 0)
        return r;
    struct cb_vertex *v = plan_add_step(st, i, CB_VERTEX_COPY);
    v->from = from;
    v->from_scratch = scratch;
    r = copy_flags(st, i, &v->copy, err);
    if (r == 0)
        r = copy_words(st, i, &v->copy, err);
    if (r < 0)
        return r;
    if (!i->from && v->copy.sources.n)
        st->p->plan->needs_context = true;
    st->top = v;
    return copy_history(st, i, v, err);
}
