/* SPDX-License-Identifier: Apache-2.0 */
/* RUN --mount: what is to be mounted, from where. */
#include "build/plan_private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/path.h"

#define SECRETS_DIR "/run/secrets/"

void plan_mount_done(struct cb_run_mount *m)
{
    free(m->target);
    free(m->source);
    free(m->id);
    free(m->env);
}

int plan_mounts_from(struct plan_stage *st, const struct cb_df_instruction *i, struct plan_mount_from *from,
                     struct cb_error *err)
{
    int r = 0;
    for (size_t k = 0; r == 0 && k < i->n_mounts; k++) {
        const struct cb_df_mount *m = &i->mounts[k];
        struct cb_df_instruction named = { .from = m->from, .span = i->span };
        if (m->from && !strcmp(m->from, "scratch"))
            from[k].empty = true;
        else if (m->from)
            r = plan_from(st, &named, &from[k].vertex, &from[k].empty, err);
    }
    return r;
}

void plan_add_input(struct cb_vertex *v, struct cb_vertex *input)
{
    for (size_t i = 0; i < v->n_inputs; i++)
        if (v->inputs[i] == input)
            return;
    CB_GROW(v->inputs, v->n_inputs, v->cap_inputs);
    v->inputs[v->n_inputs++] = input;
}

static char *clean_source(const char *source)
{
    struct cb_strbuf clean cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *rooted = cb_asprintf("/%s", source ? source : "");
    cb_path_clean(&clean, rooted);
    return cb_strdup(clean.buf + 1);
}

static int set_target(const struct plan_stage *st, const char *target, struct cb_run_mount *out, struct cb_error *err)
{
    struct cb_strbuf path cb_cleanup_strbuf = CB_STRBUF_INIT, clean cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *cwd = st->config.working_dir && *st->config.working_dir ? st->config.working_dir : "/";
    cb_path_join(&path, cwd, target);
    cb_autofree char *rooted = cb_asprintf("/%s", path.buf);
    cb_path_clean(&clean, rooted);
    if (!clean.buf[1])
        return cb_error_set(err, CB_ECONF, "target=%s: a mount cannot cover the root directory", target);
    if (clean.len > CB_MAX_PATH)
        return cb_error_set(err, CB_ECONF, "target=%.100s…: a path is at most %d bytes", target, CB_MAX_PATH);
    out->target = cb_strbuf_detach(&clean, NULL);
    return 0;
}

/* Checked before; what is absent keeps its default. */
static void set_owner(const struct cb_df_mount *m, uint32_t mode, struct cb_run_mount *out)
{
    out->mode = mode;
    if (m->mode)
        (void)!cb_parse_octal(m->mode, 07777, &out->mode);
    if (m->uid)
        (void)!cb_parse_u32(m->uid, &out->uid);
    if (m->gid)
        (void)!cb_parse_u32(m->gid, &out->gid);
}

static void set_from(const struct cb_df_mount *m, const struct plan_mount_from *from, struct cb_run_mount *out)
{
    out->source = clean_source(m->source);
    out->from = from->vertex;
    out->from_kind = from->vertex                                        ? CB_MOUNT_FROM_VERTEX
                     : m->type == CB_DF_MOUNT_BIND && !from->empty ? CB_MOUNT_FROM_CONTEXT
                                                                         : CB_MOUNT_FROM_EMPTY;
}

/* A directory that gets a mode or an owner is not what `from` has, as in BuildKit: it begins empty. */
static void set_cache(struct plan_stage *st, const struct cb_df_mount *m, struct cb_run_mount *out)
{
    const struct cb_strvec *args = st->p->o->build->build_args;
    const char *space = args ? cb_env_get(args, "BUILDKIT_CACHE_MOUNT_NS") : NULL;
    struct cb_strbuf clean cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_path_clean(&clean, m->target);
    out->id = cb_asprintf("%s/%s", space ? space : "", m->id ? m->id : clean.buf);
    out->sharing = !m->sharing || !strcmp(m->sharing, "shared") ? CB_SHARING_SHARED
                   : !strcmp(m->sharing, "private")                  ? CB_SHARING_PRIVATE
                                                                     : CB_SHARING_LOCKED;
    out->fresh = !*out->source && (m->mode || m->uid || m->gid);
    set_owner(m, 0755, out);
}

static int set_secret(const struct plan_stage *st, const struct cb_df_mount *m, struct cb_run_mount *out,
                      struct cb_error *err)
{
    out->id = cb_strdup(m->source ? m->source : m->id ? m->id : cb_path_base(m->target));
    out->env = cb_strdup_or_null(m->env);
    set_owner(m, 0400, out);
    if (out->env && strchr(out->env, '='))
        return cb_error_set(err, CB_ECONF, "env=%s: no name of a variable", out->env);
    if (!m->target && out->env)
        return 0;
    cb_autofree char *usual = cb_asprintf(SECRETS_DIR "%s", cb_path_base(out->id));
    return set_target(st, m->target ? m->target : usual, out, err);
}

static int set_ssh(const struct plan_stage *st, const struct cb_df_mount *m, size_t nth, struct cb_run_mount *out,
                   struct cb_error *err)
{
    cb_autofree char *usual = cb_asprintf("/run/buildkit/ssh_agent.%zu", nth);
    out->id = cb_strdup(m->id ? m->id : "default");
    set_owner(m, 0600, out);
    return set_target(st, m->target ? m->target : usual, out, err);
}

static size_t count_ssh(const struct cb_vertex *v)
{
    size_t n = 0;
    for (size_t i = 0; i < v->run.n_mounts; i++)
        n += v->run.mounts[i].type == CB_DF_MOUNT_SSH;
    return n;
}

static int set_mount(struct plan_stage *st, const struct cb_df_mount *m, const struct plan_mount_from *from,
                     struct cb_vertex *v, struct cb_error *err)
{
    size_t nth = count_ssh(v);
    struct cb_run_mount *out = &v->run.mounts[v->run.n_mounts++];
    *out = (struct cb_run_mount){ .type = m->type, .readonly = m->readonly, .required = m->required };
    if (m->type == CB_DF_MOUNT_SECRET)
        return set_secret(st, m, out, err);
    if (m->type == CB_DF_MOUNT_SSH)
        return set_ssh(st, m, nth, out, err);
    if (m->size)
        (void)!cb_parse_bytes(m->size, &out->size);
    set_from(m, from, out);
    if (m->type == CB_DF_MOUNT_CACHE)
        set_cache(st, m, out);
    if (out->from)
        plan_add_input(v, out->from);
    if (out->from_kind == CB_MOUNT_FROM_CONTEXT)
        st->p->plan->needs_context = true;
    return set_target(st, m->target, out, err);
}

int plan_mounts(struct plan_stage *st, const struct cb_df_instruction *i, const struct plan_mount_from *from,
                struct cb_vertex *v, struct cb_error *err)
{
    int r = 0;
    v->run.mounts = cb_calloc(i->n_mounts + 1, sizeof *v->run.mounts);
    for (size_t k = 0; r == 0 && k < i->n_mounts; k++) {
        struct cb_df_mount m cb_cleanup_df_mount = { 0 };
        r = plan_expand_mount(st, &i->mounts[k], &m, err);
        if (r == 0 && (r = set_mount(st, &m, &from[k], v, err)) < 0)
            cb_error_wrap(err, "--mount=%s", i->mounts[k].text);
    }
    return r;
}
