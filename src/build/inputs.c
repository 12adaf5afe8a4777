/* SPDX-License-Identifier: Apache-2.0 */
#include "build/inputs.h"

#include "util/alloc.h"

#define LONG_VALUE 2000 /* bytes; of what is longer the digest is kept */

void cb_step_inputs_done(struct cb_step_inputs *s)
{
    struct cb_strvec *const lists[] = { &s->labels, &s->values, &s->causes, &s->cause_keys, &s->paths, &s->whats };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
    free(s->stage);
    free(s->platform);
    free(s->text);
    free(s->cause_of);
    cb_strbuf_done(&s->hashes);
}

void cb_inputs_done(struct cb_inputs *in)
{
    for (size_t i = 0; i < in->n; i++)
        cb_step_inputs_done(&in->v[i]);
    free(in->v);
    *in = (struct cb_inputs){ 0 };
}

static char *clean(const char *text)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&sb, text, strlen(text), false);
    for (char *p = strchr(sb.buf, '\t'); p; p = strchr(p, '\t'))
        *p = ' ';
    return cb_strbuf_detach(&sb, NULL);
}

/* ---- one at a time ---- */

/* NULL: there is none of it. */
static void put(struct cb_step_inputs *to, const char *label, const char *value)
{
    struct cb_digest d;
    if (!value)
        return;
    cb_strvec_take(&to->labels, clean(label));
    if (strlen(value) <= LONG_VALUE) {
        cb_strvec_take(&to->values, clean(value));
        return;
    }
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&d, value, strlen(value));
    cb_strvec_pushf(&to->values, "%zu bytes, %s", strlen(value), cb_digest_text(&d, text));
}

static void put_digest(struct cb_step_inputs *to, const char *label, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    put(to, label, cb_digest_is_set(d) ? cb_digest_text(d, text) : NULL);
}

static void put_flag(struct cb_step_inputs *to, const char *label, bool on)
{
    put(to, label, on ? "on" : NULL);
}

static void put_words(struct cb_step_inputs *to, const char *label, const struct cb_strvec *words)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; words && i < words->n; i++)
        cb_strbuf_addf(&sb, "%s%s", i ? " " : "", words->v[i]);
    put(to, label, words && words->n ? sb.buf : NULL);
}

static void put_cause(struct cb_step_inputs *to, const char *label, const struct cb_vertex *v)
{
    char hex[CB_DIGEST_TEXT_MAX];
    if (!v)
        return;
    cb_strvec_take(&to->causes, clean(label));
    cb_strvec_push(&to->cause_keys, cb_digest_hex(&v->state->key, hex));
    to->cause_of = cb_reallocarray(to->cause_of, to->causes.n, sizeof(const struct cb_vertex *));
    to->cause_of[to->causes.n - 1] = v;
}

/* ---- the kinds ---- */

static void add_env(struct cb_step_inputs *to, const struct cb_run_op *op)
{
    for (size_t i = 0; i < op->key_env.n; i++) {
        const char *eq = strchrnul(op->key_env.v[i], '=');
        cb_autofree char *name = cb_strndup(op->key_env.v[i], (size_t)(eq - op->key_env.v[i]));
        cb_autofree char *label = cb_asprintf("%s %s", cb_strvec_has(&op->arg_names, name) ? "ARG" : "ENV", name);
        put(to, label, *eq ? eq + 1 : "");
    }
}

static void add_mounts(struct cb_step_inputs *to, const struct cb_vertex *v)
{
    static const char *const types[] = { "bind", "cache", "tmpfs", "secret", "ssh" };
    static const char *const sharing[] = { "shared", "private", "locked" };
    for (size_t i = 0; i < v->run.n_mounts; i++) {
        const struct cb_run_mount *m = &v->run.mounts[i];
        struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_autofree char *label = cb_asprintf("mount %s", m->target ? m->target : m->id ? m->id : "");
        cb_strbuf_addf(&sb, "type=%s,%s%s", types[m->type], m->readonly ? "ro" : "rw", m->required ? ",required" : "");
        if (m->source)
            cb_strbuf_addf(&sb, ",source=/%s", m->source);
        if (m->id)
            cb_strbuf_addf(&sb, ",id=%s", m->id);
        if (m->env)
            cb_strbuf_addf(&sb, ",env=%s", m->env);
        cb_strbuf_addf(&sb, ",sharing=%s,from=%d%s,mode=%o,uid=%u,gid=%u,size=%llu", sharing[m->sharing], m->from_kind,
                       m->fresh ? ",fresh" : "", m->mode, m->uid, m->gid, (unsigned long long)m->size);
        put(to, label, sb.buf);
        if (m->from_kind == CB_MOUNT_FROM_VERTEX)
            put_cause(to, label, m->from);
        if (m->from_kind == CB_MOUNT_FROM_CONTEXT && v->state->mounts)
            cb_inputs_add_files(to, &v->state->mounts[i]);
    }
}

static void add_run(struct cb_step_inputs *to, const struct cb_solver *s, const struct cb_vertex *v)
{
    const struct cb_run_op *op = &v->run;
    put_words(to, "command", &op->argv);
    put(to, "script", op->script);
    add_env(to, op);
    put(to, "WORKDIR", op->cwd);
    put(to, "USER", op->user);
    put(to, "network", op->network == CB_NETWORK_NONE ? "none" : "some");
    put_words(to, "--add-host", s->kb.hosts);
    put(to, "host name", s->kb.hostname);
    put(to, "mapped ids", s->kb.single_id ? "one" : "many");
    put_flag(to, "--security=insecure", op->insecure);
    put_words(to, "--device", &op->devices);
    put(to, "platform", to->platform);
    add_mounts(to, v);
}

static void add_copy(struct cb_step_inputs *to, const struct cb_vertex *v)
{
    const struct cb_copy_op *op = &v->copy;
    put_words(to, "sources", &op->sources);
    put(to, "destination", op->dest);
    put(to, "--chown", op->chown);
    put(to, "--chmod", op->chmod);
    put_words(to, "--exclude", &op->exclude);
    put_words(to, "--parents", &op->below);
    put_flag(to, "ADD", op->add);
    put(to, "--unpack", op->unpack < 0 ? NULL : op->unpack ? "true" : "false");
    put_flag(to, "from scratch", v->from_scratch);
    for (size_t i = 0; i < op->file_names.n; i++) {
        cb_autofree char *label = cb_asprintf("heredoc %s", op->file_names.v[i]);
        put(to, label, op->file_bodies.v[i]);
    }
    if (!v->from && !v->from_scratch)
        cb_inputs_add_files(to, &v->state->selection);
    if (v->state->noted.n)
        cb_inputs_add_noted(to, &v->state->noted);
}

static void add_git(struct cb_step_inputs *to, const struct cb_remote_op *op)
{
    const struct cb_git_ref *g = &op->git;
    put(to, "commit", op->commit);
    put(to, "subdirectory", g->subdir);
    put_flag(to, "keep-git-dir", g->keep_git_dir);
    put_flag(to, "submodules", g->submodules);
    put(to, "mtime", g->mtime_checkout ? "checkout" : "commit");
    put_flag(to, "credentials", op->authorized);
}

static void add_own(struct cb_step_inputs *to, const struct cb_solver *s, const struct cb_vertex *v)
{
    switch (v->kind) {
    case CB_VERTEX_SOURCE:
        put_digest(to, "digest", &v->source->image.desc.digest);
        break;
    case CB_VERTEX_RUN:
        add_run(to, s, v);
        break;
    case CB_VERTEX_COPY:
        add_copy(to, v);
        break;
    case CB_VERTEX_MKDIR:
        put(to, "directory", v->mkdir.path);
        put(to, "USER", v->mkdir.user);
        break;
    case CB_VERTEX_HTTP:
        put(to, "name", v->remote.name);
        put_digest(to, "content", &v->remote.content);
        put(to, "Last-Modified", v->remote.last_modified);
        put_flag(to, "unpack", v->remote.unpack);
        put_flag(to, "credentials", v->remote.authorized);
        break;
    case CB_VERTEX_GIT:
        add_git(to, &v->remote);
        break;
    case CB_VERTEX_LINK:
        break;
    }
}

static void add_epoch(struct cb_step_inputs *to, const struct cb_key_base *kb)
{
    char text[32] = "none";
    if (kb->clamp_mtime != INT64_MAX)
        snprintf(text, sizeof text, "%lld", (long long)kb->clamp_mtime);
    put(to, "SOURCE_DATE_EPOCH", text);
    put_flag(to, "--timestamp", kb->exact_mtime);
}

/* ---- a build ---- */

static unsigned number_of_kind(const struct cb_inputs *in, enum cb_vertex_kind kind)
{
    unsigned n = 0;
    for (size_t i = 0; i < in->n; i++)
        n += in->v[i].kind == kind && !*in->v[i].stage;
    return n;
}

static void add_step(struct cb_inputs *in, const struct cb_solver *s, const struct cb_vertex *v)
{
    struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    unsigned among = v->stage ? 0 : number_of_kind(in, v->kind);
    cb_strbuf_add_platform(&platform, &v->platform);
    CB_GROW(in->v, in->n, in->cap);
    struct cb_step_inputs *to = &in->v[in->n++];
    *to = (struct cb_step_inputs){ .kind = v->kind, .key = v->state->key, .hashes = CB_STRBUF_INIT, .vertex = v,
                                   .stage = clean(v->stage ? v->stage : ""), .platform = clean(platform.buf),
                                   .position = v->stage ? v->position : among,
                                   .text = clean(v->note ? v->note : v->name ? v->name : "") };
    add_own(to, s, v);
    if (v->kind != CB_VERTEX_SOURCE)
        add_epoch(to, &s->kb);
    put_cause(to, "--from", v->from);
    put_cause(to, "base", v->base);
}

void cb_inputs_of_build(const struct cb_solver *s, struct cb_inputs *out)
{
    *out = (struct cb_inputs){ 0 };
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i];
        if (v->state->vertex == v && v->kind != CB_VERTEX_LINK)
            add_step(out, s, v);
    }
    cb_inputs_goal(s, &out->goal);
}

/* Parents too: what is told of them is their digest, which their keys leave out. */
void cb_inputs_goal(const struct cb_solver *s, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    for (size_t i = 0; i < s->plan->n; i++) {
        const struct cb_vertex *v = s->plan->vertices[i];
        cb_hasher_field_digest(h, &v->state->key);
        if (v->kind == CB_VERTEX_SOURCE)
            cb_hasher_field_digest(h, &v->source->image.desc.digest);
    }
    cb_hasher_finish(h, out);
}
