/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan_private.h"
#include "util/alloc.h"

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

/* A script is run as it is, but told of as what the shell runs, as BuildKit does. */
static void run_history(struct plan_stage *st, const struct cb_vertex *v, struct cb_vertex *of)
{
    struct cb_strvec words cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, "RUN ");
    plan_args_note(st, &sb);
    if (v->run.script)
        plan_shell(st, &words);
    for (size_t k = 0; k < words.n; k++)
        cb_strbuf_addf(&sb, "%s ", words.v[k]);
    for (size_t k = 0; k < v->run.argv.n; k++)
        cb_strbuf_addf(&sb, "%s%s", k ? " " : "", v->run.argv.v[k]);
    plan_history(st, sb.buf, of);
}

static int add_run(struct plan_stage *st, const struct cb_df_instruction *i, const struct plan_mount_from *from,
                   struct cb_error *err)
{
    struct cb_vertex *v = plan_add_step(st, i, CB_VERTEX_RUN);
    int r = plan_mounts(st, i, from, v, err);
    if (r < 0)
        return r;
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
    plan_run_args(st, &v->run.arg_names);
    v->run.cwd = cb_strdup(st->config.working_dir && *st->config.working_dir ? st->config.working_dir : "/");
    v->run.user = cb_strdup_or_null(st->config.user);
    r = plan_allowed(st, i, &v->run, err);
    run_history(st, v, v);
    st->top = v;
    return r;
}

int plan_run(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct plan_mount_from *from = cb_calloc(i->n_mounts + 1, sizeof *from);
    int r = plan_mounts_from(st, i, from, err);
    if (r == 0)
        r = add_run(st, i, from, err);
    free(from);
    return r;
}
