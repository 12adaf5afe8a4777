/* SPDX-License-Identifier: Apache-2.0 */
#include "build/chmod.h"
#include "build/plan_note.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/path.h"

/* Clean and without a slash in front; "." is the root. */
static char *clean_source(const char *text)
{
    struct cb_strbuf clean = CB_STRBUF_INIT;
    cb_autofree char *rooted = cb_asprintf("/%s", text);
    cb_path_clean(&clean, rooted);
    cb_autofree char *whole = cb_strbuf_detach(&clean, NULL);
    return cb_strdup(whole[1] ? whole + 1 : ".");
}

/* --parents: the first "/./" parts where it is copied from and what is kept of the path; without one all is kept. */
static int parents_source(const char *text, struct cb_copy_op *op, struct cb_error *err)
{
    const char *pivot = strstr(text, "/./");
    cb_autofree char *root = cb_strndup(text, pivot ? (size_t)(pivot - text) : 0);
    cb_autofree char *below = clean_source(pivot ? pivot + 3 : text);
    if (!strcmp(below, "."))
        return cb_error_set(err, CB_ECONF, "--parents %s names no path to keep: write a pattern behind it, such as "
                                           "%s%s", text, pivot ? root : "", pivot ? "/./*" : "*");
    cb_strvec_take(&op->sources, clean_source(root));
    cb_strvec_push(&op->below, below);
    return 0;
}

static int copy_source(struct plan_stage *st, const struct cb_df_instruction *i, const char *word,
                       struct cb_copy_op *op, struct cb_error *err)
{
    cb_autofree char *text = NULL;
    int r = plan_expand(st, word, &text, err);
    if (r < 0)
        return r;
    if (i->kind == CB_DF_COPY && plan_is_remote(text))
        return cb_error_set(err, CB_ECONF, "COPY takes no URL: ADD does");
    if (i->parents)
        return parents_source(text, op, err);
    cb_strvec_take(&op->sources, clean_source(text));
    return 0;
}

/* An empty one, of a variable that is not set, is the working directory. */
static int copy_dest(struct plan_stage *st, const char *word, struct cb_copy_op *op, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *text = NULL;
    int r = plan_expand(st, word, &text, err);
    if (r < 0)
        return r;
    const char *cwd = st->config.working_dir && *st->config.working_dir ? st->config.working_dir : "/";
    bool dir = !*text || cb_ends_with(text, "/") || !strcmp(text, ".") || cb_ends_with(text, "/.");
    cb_path_join(&path, cwd, text);
    if (*path.buf != '/')
        return cb_error_set(err, CB_EINTERNAL, "destination %s is not absolute", path.buf);
    if (dir && !cb_ends_with(path.buf, "/"))
        cb_strbuf_addch(&path, '/');
    op->dest = cb_strbuf_detach(&path, NULL);
    return 0;
}

/* Owner and mode; an empty value is none. */
static int owner_and_mode(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_copy_op *op,
                          struct cb_error *err)
{
    struct cb_chmod checked;
    int r = i->chown ? plan_expand(st, i->chown, &op->chown, err) : 0;
    if (r == 0 && i->chmod)
        r = plan_expand(st, i->chmod, &op->chmod, err);
    if (op->chown && !*op->chown)
        free(CB_TAKE(op->chown));
    if (op->chmod && !*op->chmod)
        free(CB_TAKE(op->chmod));
    return r < 0 ? r : cb_chmod_parse(&checked, op->chmod, err);
}

/* The layer is made on nothing, so that there is no file to look names up in. */
static int check_link_owner(const char *chown, struct cb_error *err)
{
    struct cb_user user cb_cleanup_user = { 0 };
    CB_AUTO(cb_stack_unref) struct cb_stack *nothing = cb_stack_new(NULL, 0);
    if (!chown || cb_stack_user(nothing, chown, true, &user, NULL) == 0)
        return 0;
    return cb_error_set(err, CB_ECONF, "--chown=%s: user and group names cannot be looked up with --link: write "
                                       "numbers, uid or uid:gid", chown);
}

static int copy_flags(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_copy_op *op,
                      struct cb_error *err)
{
    int r = owner_and_mode(st, i, op, err);
    if (r == 0 && i->link)
        r = check_link_owner(op->chown, err);
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
    bool given = op->sources.n > 0;
    int r = 0;
    for (size_t k = 0; r == 0 && !given && k + 1 < i->words.n; k++)
        if (!cb_df_is_heredoc_word(i, k))
            r = copy_source(st, i, i->words.v[k], op, err);
    for (size_t k = 0; r == 0 && !given && k < i->n_heredocs; k++)
        r = copy_heredoc(st, &i->heredocs[k], op, err);
    return r < 0 ? r : copy_dest(st, i->words.v[i->words.n - 1], op, err);
}

/* --link: the COPY has no base, and a vertex of its own puts its layer onto what the stage has. As in BuildKit, an
 * owner by name is refused, and with --chmod the flag does nothing. */
static struct cb_vertex *link_to_base(struct plan_stage *st, struct cb_vertex *copy)
{
    if (!copy->base || copy->copy.chmod)
        return copy;
    struct cb_vertex *v = plan_vertex(st->p, CB_VERTEX_LINK);
    v->span = copy->span;
    v->note = cb_strdup(copy->note);
    v->name = cb_strdup(copy->name);
    v->base = CB_TAKE(copy->base);
    v->from = copy;
    return v;
}

static int copy_history(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_vertex *v,
                        struct cb_error *err)
{
    struct cb_strbuf note cb_cleanup_strbuf = CB_STRBUF_INIT, shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&note, cb_df_kind_name(i->kind));
    int r = plan_note_copy(st, i, &note, err);
    cb_strbuf_add_text_redacted(&shown, note.buf); /* whoever has the image reads it */
    plan_history(st, shown.buf, v);
    return r;
}

int plan_copy_from(struct plan_stage *st, const struct cb_df_instruction *i, const struct plan_copy_source *src,
                   struct cb_error *err)
{
    struct cb_vertex *v = plan_add_step(st, i, CB_VERTEX_COPY);
    v->from = src->from;
    v->from_scratch = src->scratch;
    v->local = src->local;
    if (src->path)
        cb_strvec_push(&v->copy.sources, src->path);
    int r = copy_flags(st, i, &v->copy, err);
    if (r == 0)
        r = copy_words(st, i, &v->copy, err);
    if (r < 0)
        return r;
    if (!src->from && !src->scratch && !src->local && v->copy.sources.n)
        st->p->plan->needs_context = true;
    if (i->link)
        v = link_to_base(st, v);
    st->top = v;
    return copy_history(st, i, v, err);
}

int plan_copy(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct plan_copy_source src = { 0 };
    bool remote = false;
    int r = i->kind == CB_DF_ADD ? plan_has_remote(st, i, &remote, err) : 0;
    if (r == 0 && remote)
        return plan_add_remote(st, i, err);
    if (r == 0 && i->from)
        r = plan_copy_named(st, i, &src.local, err);
    if (r == 0 && i->from && !src.local)
        r = plan_from(st, i, &src.from, &src.scratch, err);
    return r < 0 ? r : plan_copy_from(st, i, &src, err);
}
