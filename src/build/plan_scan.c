/* SPDX-License-Identifier: Apache-2.0 */
/* SBOM: a step of its own on each image of the result, whose process is a scanner's, by BuildKit's protocol for SBOM
 * generators (its docs/attestations/sbom-protocol.md). A step like others: it has a record, and is not run again on
 * what was scanned before. */
#include "build/plan_private.h"
#include "util/alloc.h"

#define SCAN_CONTEXT "BUILDKIT_SBOM_SCAN_CONTEXT"
#define SCAN_STAGE "BUILDKIT_SBOM_SCAN_STAGE"
#define CORE "/run/src/core/sbom"
#define EXTRAS "/run/src/extras"

bool plan_is_scan_arg(const char *name)
{
    return !strcmp(name, SCAN_CONTEXT) || !strcmp(name, SCAN_STAGE);
}

int plan_scanner(struct planner *p, struct cb_error *err)
{
    const char *generator = p->o->build->sbom.generator;
    struct plan_source_name name = { .text = generator, .platform = &p->host };
    if (!generator || p->o->parents_only)
        return 0;
    p->scanner = plan_source(p, &name, err);
    if (!p->scanner)
        return cb_error_wrap(err, "the scanner of the SBOM");
    p->scanner->runs = true;
    return 0;
}

/* ---- what is scanned besides: by ARGs of that name, which say true, false or the names of stages ---- */

static bool says(const char *value, const char *stage)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    for (size_t i = 0; i < CB_COUNTOF(yes); i++)
        if (!strcmp(value, yes[i]))
            return true;
    for (size_t n; *value; value += n + (value[n] == ',')) {
        n = strcspn(value, ",");
        if (strlen(stage) == n && !strncmp(value, stage, n))
            return true;
    }
    return false;
}

static char *stage_name(const struct plan_stage *st)
{
    return st->df->from.stage_name ? cb_strdup(st->df->from.stage_name) : cb_asprintf("stage-%zu", st->index);
}

static bool is_asked_for(const struct plan_stage *st, const char *arg, const char *stage)
{
    const char *value = cb_env_get(&st->args, arg);
    if (!value)
        value = cb_env_get(&st->p->globals, arg);
    return value && says(value, stage);
}

/* ---- the step ---- */

static struct cb_run_mount *add_mount(struct cb_vertex *v, enum cb_df_mount_type type, char *target /* taken */)
{
    v->run.mounts = cb_reallocarray(v->run.mounts, v->run.n_mounts + 1, sizeof *v->run.mounts);
    struct cb_run_mount *m = &v->run.mounts[v->run.n_mounts++];
    *m = (struct cb_run_mount){ .type = type, .target = target, .source = cb_strdup("") };
    return m;
}

static void add_tree(struct cb_vertex *v, char *target /* taken */, struct cb_vertex *from)
{
    struct cb_run_mount *m = add_mount(v, CB_DF_MOUNT_BIND, target);
    m->readonly = true;
    m->from = from;
    m->from_kind = from ? CB_MOUNT_FROM_VERTEX : CB_MOUNT_FROM_EMPTY;
    if (from)
        plan_add_input(v, from);
}

/* True where there is any. */
static bool add_extras(struct planner *p, struct cb_vertex *v)
{
    cb_autofree char *target = stage_name(p->goal);
    size_t before = v->run.n_mounts;
    if (is_asked_for(p->goal, SCAN_CONTEXT, target)) {
        struct cb_run_mount *m = add_mount(v, CB_DF_MOUNT_BIND, cb_strdup(EXTRAS "/sbom-context"));
        m->readonly = true;
        m->from_kind = CB_MOUNT_FROM_CONTEXT;
        p->plan->needs_context = true;
    }
    for (size_t i = 0; i < p->df->n_stages; i++) {
        struct plan_stage *st = &p->stages[i];
        cb_autofree char *name = stage_name(st);
        if (st->done && st != p->goal && is_asked_for(st, SCAN_STAGE, name))
            add_tree(v, cb_asprintf(EXTRAS "/sbom-%s", name), st->top);
    }
    return v->run.n_mounts > before;
}

static void set_env(const struct planner *p, struct cb_vertex *v, bool extras)
{
    const struct cb_strmap *params = p->o->build->sbom.params;
    struct cb_strvec *env = &v->run.env;
    cb_strvec_copy(env, &p->scanner->image.config.env);
    plan_set_path(env);
    for (size_t i = 0; params && i < params->n; i++) {
        cb_autofree char *key = cb_asprintf("BUILDKIT_SCAN_%s", params->v[i].key);
        cb_env_set(env, key, params->v[i].value);
    }
    cb_env_set(env, "BUILDKIT_SCAN_DESTINATION", "/" CB_SBOM_DIR "/");
    cb_env_set(env, "BUILDKIT_SCAN_SOURCE", CORE);
    if (extras)
        cb_env_set(env, "BUILDKIT_SCAN_SOURCE_EXTRAS", EXTRAS "/");
    cb_strvec_copy(&v->run.key_env, env);
}

static struct cb_vertex *add_step(struct planner *p, enum cb_vertex_kind kind, struct cb_vertex *base, char *note)
{
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_vertex *v = plan_vertex(p, kind);
    cb_strbuf_addch(&name, '[');
    cb_strbuf_add_platform(&name, &p->target);
    cb_strbuf_addf(&name, "] %s", note);
    v->note = note;
    v->name = cb_strbuf_detach(&name, NULL);
    v->base = base;
    v->no_cache = p->goal->no_cache;
    cb_platform_copy(&v->platform, &p->scanner->image.config.platform);
    cb_platform_normalize(&v->platform);
    return v;
}

static struct cb_vertex *add_place(struct planner *p)
{
    struct cb_vertex *v = add_step(p, CB_VERTEX_MKDIR, plan_source_vertex(p, p->scanner),
                                   cb_strdup("make room for the SBOM"));
    v->implied = true;
    v->mkdir.path = cb_strdup("/" CB_SBOM_DIR);
    return v;
}

int plan_scan(struct planner *p, struct cb_error *err)
{
    const struct cb_plan_source *s = p->scanner;
    if (!s)
        return 0;
    const struct cb_image_config *c = &s->image.config;
    if (!c->entrypoint.args.n && !c->cmd.args.n)
        return cb_error_set(err, CB_ECONF, "the scanner of the SBOM, %s, has neither ENTRYPOINT nor CMD", s->text);
    struct cb_vertex *place = add_place(p);
    struct cb_vertex *v = add_step(p, CB_VERTEX_RUN, place, cb_asprintf("generating sbom using %s", s->text));
    for (size_t i = 0; i < c->entrypoint.args.n; i++)
        cb_strvec_push(&v->run.argv, c->entrypoint.args.v[i]);
    for (size_t i = 0; i < c->cmd.args.n; i++)
        cb_strvec_push(&v->run.argv, c->cmd.args.v[i]);
    v->run.cwd = cb_strdup(c->working_dir && *c->working_dir ? c->working_dir : "/");
    v->run.network = p->o->build->network;
    add_mount(v, CB_DF_MOUNT_TMPFS, cb_strdup("/tmp"));
    add_tree(v, cb_strdup(CORE), p->goal->top);
    set_env(p, v, add_extras(p, v));
    p->plan->images[p->index].scan = v;
    return 0;
}
