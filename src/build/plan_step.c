/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan_private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/path.h"

/* "[builder 2/4] RUN make" */
static char *step_name(const struct plan_stage *st, const char *note)
{
    const char *name = st->df->from.stage_name;
    cb_autofree char *label = name                         ? cb_asprintf("%s ", name)
                              : st->p->df->n_stages > 1 ? cb_asprintf("stage-%zu ", st->index)
                                                           : cb_strdup("");
    char total[16];
    int width = snprintf(total, sizeof total, "%u", st->steps);
    return cb_asprintf("[%s%*u/%s] %s", label, width, st->step, total, note);
}

static struct cb_vertex *add_step(struct plan_stage *st, const struct cb_df_instruction *i, enum cb_vertex_kind kind)
{
    struct cb_vertex *v = plan_vertex(st->p, kind);
    st->step++;
    v->span = i->span;
    v->note = cb_strdup(i->original);
    v->name = step_name(st, i->original);
    v->base = st->top;
    v->step = cb_step_new(st->p->o->progress, v->name);
    return v;
}

/* ---- RUN ---- */

static int check_run(const struct cb_df_instruction *i, struct cb_error *err)
{
    if (i->n_mounts)
        return plan_not_yet("RUN --mount", err);
    if (i->devices.n)
        return plan_not_yet("RUN --device", err);
    if (i->security && strcmp(i->security, "sandbox"))
        return plan_not_yet("RUN --security=insecure", err);
    return 0;
}

static enum cb_network run_network(const struct plan_stage *st, const struct cb_df_instruction *i)
{
    if (i->network && !strcmp(i->network, "none"))
        return CB_NETWORK_NONE;
    if (i->network && !strcmp(i->network, "host"))
        return CB_NETWORK_HOST;
    return st->p->o->build->network;
}

/* `RUN <<EOF`: with "#!" the body is a program; without, the text of the shell. Mixed text goes to the shell as it
 * stands. */
static void heredoc_run(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_run_op *op)
{
    const struct cb_df_heredoc *h = &i->heredocs[0];
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_df_run_is_script(i) && cb_starts_with(h->body, "#!")) {
        op->script = cb_strdup(h->body);
        op->script_path = cb_asprintf("/dev/pipes/%s", h->name);
        cb_strvec_push(&op->argv, op->script_path);
        return;
    }
    plan_shell(st, &op->argv);
    if (cb_df_run_is_script(i))
        cb_strbuf_adds(&text, h->body);
    else
        cb_df_run_text(&text, i);
    cb_strvec_push(&op->argv, text.buf);
}

static void run_history(struct plan_stage *st, const struct cb_vertex *v, struct cb_vertex *of)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, "RUN ");
    plan_args_note(st, &sb);
    for (size_t k = 0; k < v->run.argv.n; k++)
        cb_strbuf_addf(&sb, "%s%s", k ? " " : "", v->run.argv.v[k]);
    plan_history(st, sb.buf, of);
}

static int do_run(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    int r = check_run(i, err);
    if (r < 0)
        return r;
    struct cb_vertex *v = add_step(st, i, CB_VERTEX_RUN);
    if (i->n_heredocs) {
        heredoc_run(st, i, &v->run);
    } else {
        if (!i->command.exec_form)
            plan_shell(st, &v->run.argv);
        for (size_t k = 0; k < i->command.args.n; k++)
            cb_strvec_push(&v->run.argv, i->command.args.v[k]);
    }
    plan_run_env(st, true, &v->run.env);
    plan_run_env(st, false, &v->run.key_env);
    v->run.cwd = cb_strdup(st->config.working_dir && *st->config.working_dir ? st->config.working_dir : "/");
    v->run.user = cb_strdup_or_null(st->config.user);
    v->run.network = run_network(st, i);
    run_history(st, v, v);
    st->top = v;
    return 0;
}

/* ---- WORKDIR ---- */

static int do_workdir(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *text = NULL;
    int r = plan_expand(st, i->words.n ? i->words.v[0] : "", &text, err);
    if (r == 0 && !*text)
        r = cb_error_set(err, CB_ECONF, "WORKDIR is empty: write an absolute path");
    if (r < 0)
        return r;
    const char *old = st->config.working_dir && *st->config.working_dir ? st->config.working_dir : "/";
    cb_path_join(&path, old, text);
    cb_autofree char *absolute = *path.buf == '/' ? cb_strdup(path.buf) : cb_asprintf("/%s", path.buf);
    free(st->config.working_dir);
    st->config.working_dir = cb_strdup(absolute);
    if (!strcmp(absolute, "/")) {
        st->step++;
        plan_history(st, i->original, NULL);
        return 0;
    }
    struct cb_vertex *v = add_step(st, i, CB_VERTEX_MKDIR);
    v->mkdir.path = cb_strdup(absolute);
    v->mkdir.user = st->config.user && *st->config.user ? cb_strdup(st->config.user) : NULL;
    plan_history(st, i->original, v);
    st->top = v;
    return 0;
}

/* ---- COPY, ADD ---- */

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

static int do_copy(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct cb_vertex *from = NULL;
    bool scratch = false;
    int r = check_copy(i, err);
    if (r == 0 && i->from)
        r = plan_from(st, i, &from, &scratch, err);
    if (r < 0)
        return r;
    struct cb_vertex *v = add_step(st, i, CB_VERTEX_COPY);
    v->from = from;
    v->from_scratch = scratch;
    r = copy_flags(st, i, &v->copy, err);
    if (r == 0)
        r = copy_words(st, i, &v->copy, err);
    if (r < 0)
        return r;
    if (!i->from && v->copy.sources.n)
        st->p->plan->needs_context = true;
    plan_history(st, i->original, v);
    st->top = v;
    return 0;
}

int plan_step(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    if (i->kind == CB_DF_RUN)
        return do_run(st, i, err);
    return i->kind == CB_DF_WORKDIR ? do_workdir(st, i, err) : do_copy(st, i, err);
}
