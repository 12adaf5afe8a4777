/* SPDX-License-Identifier: Apache-2.0 */
/* --build-context: what stands for a stage or an image of that name. */
#include "build/plan_private.h"
#include "http/http.h"
#include "build/failed.h"
#include "build/select.h"
#include "util/alloc.h"

char *cb_context_name(const char *text)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *platform = strstr(text, "::");
    cb_autofree char *name = platform ? cb_strndup(text, (size_t)(platform - text)) : cb_strdup(text);
    if (cb_reference_parse(&ref, name, NULL) == 0)
        cb_strbuf_add_familiar(&sb, &ref);
    else
        cb_strbuf_adds(&sb, name);
    if (cb_ends_with(sb.buf, ":latest"))
        cb_strbuf_setlen(&sb, sb.len - strlen(":latest"));
    cb_strbuf_adds(&sb, platform ? platform : "");
    return cb_strbuf_detach(&sb, NULL);
}

void cb_plan_local_free(struct cb_plan_local *l)
{
    cb_context_free(l->context);
    cb_df_ignore_free(l->ignore);
    free(l->name);
    free(l->path);
    free(l);
}

void plan_named_done(struct planner *p)
{
    for (size_t i = 0; i < p->n_named; i++) {
        free(p->named[i]->key);
        free(p->named[i]);
    }
    free(p->named);
}

/* ---- what a value is ---- */

static int named_image(struct planner *p, const char *ref, const struct plan_source_name *name, struct plan_named *n,
                       struct cb_error *err)
{
    struct plan_source_name image = { ref, name->platform, name->span };
    if (!strcmp(ref, "scratch"))
        return 0;
    n->source = plan_source(p, &image, err);
    return n->source ? 0 : cb_failed(err);
}

static int named_layout(struct planner *p, const char *text, const struct plan_source_name *name,
                        struct plan_named *n, struct cb_error *err)
{
    struct cb_layout_ref *l = cb_layout_ref_new(text, err);
    if (!l)
        return -CB_EUSAGE;
    struct cb_plan_source *s = CB_NEW(struct cb_plan_source);
    s->text = cb_asprintf("oci-layout://%s", text);
    s->layout = l;
    s->span = name->span;
    cb_platform_copy(&s->platform, name->platform);
    CB_GROW(p->plan->sources, p->plan->n_sources, p->plan->cap_sources);
    p->plan->sources[p->plan->n_sources++] = s;
    n->source = s;
    return 0;
}

static int named_remote(struct planner *p, const char *value, const struct plan_source_name *name,
                        struct plan_named *n, struct cb_error *err)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_remote_op op = { 0 };
    bool git = cb_git_is_ref(value, true);
    if (git && cb_git_ref_parse(&op.git, value, err) < 0)
        return cb_failed(err);
    if (!git) {
        op.url = cb_strndup(value, strcspn(value, "#"));
        op.name = cb_strdup("context");
        op.unpack = op.as_root = true;
    }
    cb_strbuf_addf(&shown, "[context %s] ", name->text);
    cb_strbuf_add_url_redacted(&shown, value);
    n->vertex = plan_remote_vertex(p, git ? CB_VERTEX_GIT : CB_VERTEX_HTTP, &op, shown.buf);
    if (!n->vertex->span.first)
        n->vertex->span = name->span;
    return 0;
}

static int named_local(struct planner *p, const char *path, const struct plan_source_name *name,
                       struct plan_named *n)
{
    struct cb_plan *plan = p->plan;
    for (size_t i = 0; i < plan->n_locals; i++)
        if (!strcmp(plan->locals[i]->path, path)) {
            n->local = plan->locals[i];
            return 0;
        }
    n->local = CB_NEW(struct cb_plan_local);
    n->local->name = cb_strdup(name->text);
    n->local->path = cb_strdup(path);
    CB_GROW(plan->locals, plan->n_locals, plan->cap_locals);
    plan->locals[plan->n_locals++] = n->local;
    return 0;
}

static int take_value(struct planner *p, const char *value, const struct plan_source_name *name,
                      struct plan_named *n, struct cb_error *err)
{
    if (cb_starts_with(value, "docker-image://"))
        return named_image(p, value + strlen("docker-image://"), name, n, err);
    if (cb_starts_with(value, "oci-layout://"))
        return named_layout(p, value + strlen("oci-layout://"), name, n, err);
    if (cb_url_is_http(value) || cb_git_is_ref(value, true))
        return named_remote(p, value, name, n, err);
    return named_local(p, value, name, n);
}

/* ---- looking up ---- */

static const char *value_of(const struct planner *p, const char *plain, const char *with_platform)
{
    const struct cb_strmap *all = p->o->build->contexts;
    const char *v = cb_strmap_get(all, with_platform);
    return v ? v : cb_strmap_get(all, plain);
}

int plan_named(struct planner *p, const struct plan_source_name *name, struct plan_named **out, struct cb_error *err)
{
    struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    *out = NULL;
    if (!p->o->build->contexts || !p->o->build->contexts->n)
        return 0;
    cb_strbuf_add_platform(&platform, name->platform);
    cb_autofree char *plain = cb_context_name(name->text), *key = cb_asprintf("%s::%s", plain, platform.buf);
    const char *value = value_of(p, plain, key);
    for (size_t i = 0; value && i < p->n_named; i++)
        if (!strcmp(p->named[i]->key, key)) {
            *out = p->named[i];
            return 0;
        }
    if (!value)
        return 0;
    struct plan_named *n = CB_NEW(struct plan_named);
    n->key = CB_TAKE(key);
    CB_GROW(p->named, p->n_named, p->cap_named);
    p->named[p->n_named++] = n;
    int r = take_value(p, value, name, n, err);
    if (r < 0)
        return cb_error_wrap(err, "--build-context %s", name->text);
    *out = n;
    return 0;
}

/* ---- as a base ---- */

struct cb_vertex *plan_local_vertex(struct planner *p, struct cb_plan_local *local)
{
    if (local->vertex)
        return local->vertex;
    struct cb_vertex *v = plan_vertex(p, CB_VERTEX_COPY);
    v->implied = true;
    v->local = local;
    v->name = cb_asprintf("[context %s] load from client", local->name);
    v->note = cb_strdup(v->name);
    v->step = cb_step_new(p->o->progress, v->name);
    v->copy.dest = cb_strdup("/");
    cb_strvec_push(&v->copy.sources, ".");
    local->vertex = v;
    return v;
}

void plan_named_base(struct plan_stage *st, struct plan_named *n)
{
    st->source = n->source;
    st->base_vertex = n->local ? plan_local_vertex(st->p, n->local) : n->vertex;
}
