/* SPDX-License-Identifier: Apache-2.0 */
/* What the user asked for, in BuildKit's words where it has some. */
#include "build/provenance.h"
#include "util/alloc.h"

/* Several URLs may stand in one word: "a=https://x/,b=https://u:p@y/". */
static void hide_users(struct cb_strbuf *out, const char *text)
{
    for (const char *at; (at = strstr(text, "://")); text = at) {
        at += 3;
        cb_strbuf_add(out, text, (size_t)(at - text));
        const char *user = memrchr(at, '@', strcspn(at, "/?# \t\r\n\"'"));
        if (user)
            cb_strbuf_adds(out, "xxxxx");
        at = user ? user : at;
    }
    cb_strbuf_adds(out, text);
}

json_t *cb_provenance_text(const char *text)
{
    struct cb_strbuf words cb_cleanup_strbuf = CB_STRBUF_INIT, sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_text_redacted(&words, text);
    hide_users(&sb, words.buf);
    return cb_json_string(sb.buf);
}

static void put_named(json_t *o, const char *kind, const char *name, json_t *value)
{
    cb_autofree char *key = cb_asprintf("%s:%s", kind, name);
    cb_json_put(o, key, value);
}

/* ---- arguments ---- */

/* Proxies are how this machine reaches others, and may hold a password: nothing of them is told. */
static void put_build_args(const struct cb_provenance_work *w, json_t *args, json_t *names)
{
    const struct cb_strvec *list = w->b->o->build_args;
    for (size_t i = 0; list && i < list->n; i++) {
        const char *eq = strchrnul(list->v[i], '=');
        cb_autofree char *name = cb_strndup(list->v[i], (size_t)(eq - list->v[i]));
        if (cb_plan_is_proxy_arg(name))
            continue;
        json_array_append_new(names, cb_json_string(name));
        if (w->p->mode == CB_PROVENANCE_MAX)
            put_named(args, "build-arg", name, cb_provenance_text(*eq ? eq + 1 : ""));
    }
}

/* Of a directory or a layout, where it is on this machine is nobody's business. */
static json_t *context_value(const char *value)
{
    struct cb_git_ref g cb_cleanup_git_ref = { 0 };
    cb_autofree char *told = NULL;
    if (cb_git_is_ref(value, true) && cb_git_ref_parse(&g, value, NULL) == 0)
        told = cb_git_told(&g);
    else if (cb_url_is_http(value))
        told = cb_url_told(value);
    else if (cb_starts_with(value, "docker-image://"))
        told = cb_strdup(value);
    else
        told = cb_strdup(cb_starts_with(value, "oci-layout://") ? "oci-layout" : "local");
    return cb_json_string(told);
}

static void put_contexts(const struct cb_provenance_work *w, json_t *args)
{
    const struct cb_strmap *m = w->b->o->contexts;
    for (size_t i = 0; m && i < m->n; i++)
        put_named(args, "context", m->v[i].key, context_value(m->v[i].value));
}

static void put_list(json_t *args, const char *key, const struct cb_strvec *list)
{
    if (list && list->n)
        json_object_set_new(args, key, cb_json_from_strvec(list));
}

/* The rest of what makes the image what it is. */
static void put_options(const struct cb_provenance_work *w, json_t *args)
{
    static const char *const networks[] = { NULL, "none", "private" };
    const struct cb_build_options *o = w->b->o;
    struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&platform, &w->plan->platform);
    cb_json_put(args, "platform", cb_json_string(platform.buf));
    if (o->target)
        cb_json_put(args, "target", cb_json_string(o->target));
    cb_json_put_string(args, "force-network-mode", networks[o->network]);
    if (w->b->epoch != INT64_MAX)
        json_object_set_new(args, "source-date-epoch", json_integer(w->b->epoch));
    if (o->squash || o->squash_all)
        json_object_set_new(args, "squash", json_string(o->squash_all ? "all" : "new"));
    put_list(args, "unsetenv", o->unset_env);
    put_list(args, "unsetlabel", o->unset_labels);
    for (size_t i = 0; o->labels && i < o->labels->n; i++)
        put_named(args, "label", o->labels->v[i].key, cb_json_string(o->labels->v[i].value));
    if (w->p->mode == CB_PROVENANCE_MAX) {
        put_list(args, "env", o->env);
        put_list(args, "add-hosts", o->extra_hosts);
    }
}

/* ---- what RUNs were given ---- */

static json_t *find_id(const json_t *list, const json_t *id)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_object_get(json_array_get(list, i), "id"), id))
            return json_array_get(list, i);
    return NULL;
}

/* Whoever needs it once needs it. */
static void add_id(json_t *list, const struct cb_run_mount *m)
{
    cb_autojson json_t *id = cb_json_string(m->id ? m->id : "default");
    json_t *known = find_id(list, id);
    if (!known) {
        known = json_object();
        json_object_set(known, "id", id);
        json_object_set_new(known, "optional", json_true());
        json_array_append_new(list, known);
    }
    if (m->required)
        json_object_set_new(known, "optional", json_false());
}

/* Their names: never what is in them. */
static void put_mounts(const struct cb_provenance_work *w, json_t *request)
{
    json_t *secrets = json_array(), *ssh = json_array();
    for (size_t i = 0; i < w->b->plan.n; i++) {
        const struct cb_run_op *run = &w->b->plan.vertices[i]->run;
        for (size_t k = 0; w->used[i] && k < run->n_mounts; k++)
            if (run->mounts[k].type == CB_DF_MOUNT_SECRET)
                add_id(secrets, &run->mounts[k]);
            else if (run->mounts[k].type == CB_DF_MOUNT_SSH)
                add_id(ssh, &run->mounts[k]);
    }
    json_object_set_new(request, "secrets", secrets);
    json_object_set_new(request, "ssh", ssh);
}

static void add_local(json_t *list, const char *name)
{
    json_t *o = json_object();
    cb_json_put(o, "name", cb_json_string(name));
    json_array_append_new(list, o);
}

static json_t *locals(const struct cb_provenance_work *w)
{
    const struct cb_plan *plan = &w->b->plan;
    json_t *list = json_array();
    if (!w->b->origin.context->remote && cb_provenance_reads_context(w))
        add_local(list, "context");
    if (!w->b->origin.context->remote && !(w->b->o->dockerfile && cb_url_is_http(w->b->o->dockerfile)))
        add_local(list, "dockerfile");
    for (size_t i = 0; i < plan->n_locals; i++)
        add_local(list, plan->locals[i]->name);
    return list;
}

json_t *cb_provenance_request(const struct cb_provenance_work *w)
{
    json_t *request = json_object(), *args = json_object(), *names = json_array();
    put_options(w, args);
    put_contexts(w, args);
    put_build_args(w, args, names);
    json_object_set_new(request, "frontend", json_string("dockerfile.v0"));
    json_object_set_new(request, "args", args);
    json_object_set_new(request, "buildArgNames", names);
    json_object_set_new(request, "locals", locals(w));
    if (w->p->mode == CB_PROVENANCE_MAX)
        put_mounts(w, request);
    return request;
}
