/* SPDX-License-Identifier: Apache-2.0 */
#include "build/plan_private.h"
#include "util/alloc.h"
#include "util/path.h"

static const char *variable(const struct plan_stage *st, const char *name)
{
    const char *v = cb_env_get(&st->config.env, name);
    return v ? v : cb_env_get(&st->args, name);
}

/* "->arm64": for what a stage builds, where it can know that by TARGETPLATFORM or its parts and runs elsewhere. */
static void add_target(struct cb_strbuf *sb, const struct plan_stage *st)
{
    const struct cb_platform *is = &st->platform, *to = &st->p->target;
    static const char *const names[] = { "TARGETPLATFORM", "TARGETOS", "TARGETARCH", "TARGETVARIANT" };
    bool knows = false;
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        knows = knows || variable(st, names[i]);
    if (!knows || cb_platform_eq(is, to))
        return;
    cb_strbuf_adds(sb, "->");
    if (!cb_streq(is->os, to->os)) {
        cb_strbuf_add_platform(sb, to);
        return;
    }
    cb_strbuf_addf(sb, "%s%s%s", to->arch, to->variant ? "/" : "", to->variant ? to->variant : "");
}

/* "linux/amd64->arm64 " where several platforms are built. */
static char *platform_label(const struct plan_stage *st)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (st->p->plan->n_images > 1) {
        cb_strbuf_add_platform(&sb, &st->platform);
        add_target(&sb, st);
        cb_strbuf_addch(&sb, ' ');
    }
    return cb_strbuf_detach(&sb, NULL);
}

/* "[builder 2/4] RUN make" */
static char *step_name(const struct plan_stage *st, const char *note)
{
    cb_autofree char *platform = platform_label(st);
    const char *name = st->df->from.stage_name;
    cb_autofree char *label = name                         ? cb_asprintf("%s ", name)
                              : st->p->df->n_stages > 1 ? cb_asprintf("stage-%zu ", st->index)
                                                           : cb_strdup("");
    char total[16];
    int width = snprintf(total, sizeof total, "%u", st->steps);
    return cb_asprintf("[%s%s%*u/%s] %s", platform, label, width, st->step, total, note);
}

struct cb_vertex *plan_add_step(struct plan_stage *st, const struct cb_df_instruction *i, enum cb_vertex_kind kind)
{
    struct cb_vertex *v = plan_vertex(st->p, kind);
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    v->trigger = cb_strdup_or_null(st->trigger);
    cb_strbuf_add_text_redacted(&shown, i->original);
    st->step++;
    v->stage = st->df->from.stage_name ? cb_strdup(st->df->from.stage_name) : cb_asprintf("%zu", st->index);
    v->position = st->step;
    v->span = i->span;
    v->name = step_name(st, shown.buf);
    v->note = cb_strbuf_detach(&shown, NULL);
    v->base = st->top;
    v->no_cache = st->no_cache;
    cb_platform_copy(&v->platform, st->config.platform.arch ? &st->config.platform : &st->platform);
    cb_platform_normalize(&v->platform);
    return v;
}

/* ---- WORKDIR ---- */

static int do_workdir(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *text = NULL;
    int r = plan_expand(st, i->words.n ? i->words.v[0] : "", &text, err);
    if (r < 0)
        return r;
    const char *old = st->config.working_dir && *st->config.working_dir ? st->config.working_dir : "/";
    cb_path_join(&path, old, text);
    cb_autofree char *absolute = *path.buf == '/' ? cb_strdup(path.buf) : cb_asprintf("/%s", path.buf);
    free(st->config.working_dir);
    st->config.working_dir = cb_strdup(absolute);
    if (!strcmp(absolute, "/")) {
        st->step++;
        plan_history(st, "WORKDIR /", NULL);
        return 0;
    }
    struct cb_vertex *v = plan_add_step(st, i, CB_VERTEX_MKDIR);
    v->mkdir.path = cb_strdup(absolute);
    v->mkdir.user = st->config.user && *st->config.user ? cb_strdup(st->config.user) : NULL;
    cb_autofree char *note = cb_asprintf("WORKDIR %s", absolute);
    plan_history(st, note, v);
    st->top = v;
    return 0;
}

int plan_step(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    if (i->kind == CB_DF_RUN)
        return plan_run(st, i, err);
    return i->kind == CB_DF_WORKDIR ? do_workdir(st, i, err) : plan_copy(st, i, err);
}
