/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A plan as text, and parent images that no registry has. A case's first lines may say how it is built:
 *
 *     #> show=vchs target=x arg=K=V label=K=V network=none platform=linux/arm64 allow=security.insecure
 *     context=NAME=VALUE sbom=IMAGE param=K=V
 *
 * show: v vertices, c configuration, h history, s parents. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "build/graph.h"
#include "util/alloc.h"

/* ---- parent images ---- */

struct fake_image {
    const char *repo;
    const char *const *env;       /* NULL-terminated, as all lists here */
    const char *const *entrypoint, *const *cmd, *const *shell, *const *on_build, *const *ports, *const *volumes;
    const char *user, *working_dir;
    unsigned layers;
};
#define LIST(...) (const char *const[]) { __VA_ARGS__, NULL }

static const struct fake_image fake_images[] = {
    { .repo = "library/busybox", .env = LIST("PATH=/bin"), .cmd = LIST("sh"), .layers = 1 },
    { .repo = "library/bare" },
    { .repo = "library/rich", .env = LIST("PATH=/rich", "A=base"), .entrypoint = LIST("/ep"), .cmd = LIST("x"),
      .user = "bob", .working_dir = "/srv/app", .ports = LIST("80/tcp"), .volumes = LIST("/v"), .layers = 2,
      .shell = LIST("/bin/bash", "-ec") },
    { .repo = "library/trigger", .on_build = LIST("ENV T=1", "RUN echo on $T", "COPY a /a"), .layers = 1 },
    { .repo = "library/triggerfrom", .on_build = LIST("COPY --from=hidden /a /b"), .layers = 1 },
    { .repo = "library/triggermount", .on_build = LIST("RUN --mount=type=cache,target=/c true"), .layers = 1 },
    { .repo = "library/triggerbroken", .on_build = LIST("NOSUCH x"), .layers = 1 },
};

static inline CB_UNUSED void fill_list(struct cb_strvec *to, const char *const *from)
{
    for (size_t i = 0; from && from[i]; i++)
        cb_strvec_push(to, from[i]);
}

static inline CB_UNUSED void fill_args(struct cb_arglist *to, const char *const *from)
{
    to->set = from != NULL;
    fill_list(&to->args, from);
}

static inline CB_UNUSED void fill_image(struct cb_image *to, const struct fake_image *from,
                                        const struct cb_platform *platform)
{
    struct cb_image_config *c = &to->config;
    fill_list(&c->env, from->env);
    fill_args(&c->entrypoint, from->entrypoint);
    fill_args(&c->cmd, from->cmd);
    fill_args(&c->shell, from->shell);
    fill_list(&c->on_build, from->on_build);
    fill_list(&c->exposed_ports, from->ports);
    fill_list(&c->volumes, from->volumes);
    c->user = cb_strdup_or_null(from->user);
    c->working_dir = cb_strdup_or_null(from->working_dir);
    c->created = cb_strdup("2020-01-01T00:00:00Z");
    cb_platform_copy(&c->platform, platform);
    for (unsigned i = 0; i < from->layers; i++) {
        struct cb_digest d;
        cb_autofree char *text = cb_asprintf("%s layer %u", from->repo, i);
        cb_digest_of(&d, text, strlen(text));
        cb_image_config_add_diff_id(c, &d);
    }
}

struct fake_resolver {
    _Atomic unsigned calls;
};

static inline CB_UNUSED int fake_resolve(void *arg, struct cb_plan_source *src, struct cb_error *err)
{
    struct fake_resolver *f = arg;
    f->calls++;
    if (src->layout) {
        fill_image(&src->image, &fake_images[1], &src->platform);
        return 0;
    }
    for (size_t i = 0; i < CB_COUNTOF(fake_images); i++)
        if (!strcmp(fake_images[i].repo, src->ref.repo)) {
            fill_image(&src->image, &fake_images[i], &src->platform);
            src->host = cb_strdup(src->ref.host);
            src->repo = cb_strdup(src->ref.repo);
            return 0;
        }
    return cb_error_set(err, CB_ENOTFOUND, "%s: no such image", src->text);
}

/* ---- the plan as text ---- */

static inline CB_UNUSED void dump_list(struct cb_strbuf *o, const char *what, const struct cb_strvec *sv)
{
    if (sv->n == 0)
        return;
    cb_strbuf_addf(o, "  %s", what);
    for (size_t i = 0; i < sv->n; i++)
        cb_strbuf_addf(o, "%s%s", i ? "|" : " ", sv->v[i]);
    cb_strbuf_addch(o, '\n');
}

static inline CB_UNUSED void dump_text(struct cb_strbuf *o, const char *what, const char *text)
{
    if (text)
        cb_strbuf_addf(o, "  %s %s\n", what, text);
}

static inline CB_UNUSED void dump_mount(struct cb_strbuf *o, const struct cb_run_mount *m)
{
    static const char *const types[] = { "bind", "cache", "tmpfs", "secret", "ssh" };
    static const char *const sharing[] = { "shared", "private", "locked" };
    bool owned = m->type == CB_DF_MOUNT_CACHE || m->type == CB_DF_MOUNT_SECRET || m->type == CB_DF_MOUNT_SSH;
    cb_strbuf_addf(o, "  mount %s %s%s %s", types[m->type], m->readonly ? "ro" : "rw", m->required ? " required" : "",
                   m->target ? m->target : "-");
    if (m->type == CB_DF_MOUNT_BIND || m->type == CB_DF_MOUNT_CACHE) {
        if (m->from_kind == CB_MOUNT_FROM_VERTEX)
            cb_strbuf_addf(o, " from %u", m->from->id);
        else
            cb_strbuf_addf(o, " from %s", m->from_kind == CB_MOUNT_FROM_CONTEXT ? "context" : "nothing");
        cb_strbuf_addf(o, " source \"%s\"", m->source);
    }
    if (m->id)
        cb_strbuf_addf(o, " id %s", m->id);
    if (m->env)
        cb_strbuf_addf(o, " env %s", m->env);
    if (m->type == CB_DF_MOUNT_CACHE)
        cb_strbuf_addf(o, " %s%s", sharing[m->sharing], m->fresh ? " fresh" : "");
    if (owned)
        cb_strbuf_addf(o, " %o %u:%u", m->mode, m->uid, m->gid);
    if (m->size)
        cb_strbuf_addf(o, " size %llu", (unsigned long long)m->size);
    cb_strbuf_addch(o, '\n');
}

static inline CB_UNUSED void dump_run(struct cb_strbuf *o, const struct cb_run_op *r)
{
    static const char *const networks[] = { "host", "none", "private" };
    dump_list(o, "argv", &r->argv);
    dump_list(o, "env", &r->env);
    if (r->env.n != r->key_env.n)
        dump_list(o, "key-env", &r->key_env);
    dump_text(o, "cwd", r->cwd);
    dump_text(o, "user", r->user);
    if (r->network != CB_NETWORK_HOST)
        dump_text(o, "network", networks[r->network]);
    if (r->insecure)
        cb_strbuf_adds(o, "  insecure\n");
    dump_list(o, "devices", &r->devices);
    dump_text(o, "script-path", r->script_path);
    dump_text(o, "script", r->script);
    for (size_t i = 0; i < r->n_mounts; i++)
        dump_mount(o, &r->mounts[i]);
}

static inline CB_UNUSED void dump_copy(struct cb_strbuf *o, const struct cb_copy_op *c)
{
    if (c->add)
        cb_strbuf_addf(o, "  add unpack=%d\n", c->unpack);
    dump_list(o, "sources", &c->sources);
    for (size_t i = 0; i < c->file_names.n; i++)
        cb_strbuf_addf(o, "  file %s: %s", c->file_names.v[i], c->file_bodies.v[i]);
    dump_text(o, "dest", c->dest);
    dump_text(o, "chown", c->chown);
    dump_text(o, "chmod", c->chmod);
    dump_list(o, "exclude", &c->exclude);
    dump_list(o, "below", &c->below);
}

static inline CB_UNUSED void dump_remote(struct cb_strbuf *o, const struct cb_vertex *v)
{
    const struct cb_remote_op *r = &v->remote;
    const struct cb_git_ref *g = &r->git;
    char digest[CB_DIGEST_TEXT_MAX];
    dump_text(o, "url", v->kind == CB_VERTEX_HTTP ? r->url : g->url);
    dump_text(o, "name", r->name);
    if (r->pinned)
        dump_text(o, "checksum", cb_digest_text(&r->content, digest));
    if (r->unpack)
        cb_strbuf_adds(o, r->as_root ? "  unpack as root\n" : "  unpack\n");
    dump_text(o, "ref", g->ref);
    dump_text(o, "commit", g->checksum);
    dump_text(o, "subdir", g->subdir);
    if (g->keep_git_dir)
        cb_strbuf_adds(o, "  keep .git\n");
}

static inline CB_UNUSED void dump_vertex(struct cb_strbuf *o, const struct cb_vertex *v)
{
    static const char *const kinds[] = { "source", "run", "copy", "mkdir", "link", "http", "git" };
    cb_strbuf_addf(o, "%u %s", v->id, kinds[v->kind]);
    if (v->base)
        cb_strbuf_addf(o, " on %u", v->base->id);
    if (v->from)
        cb_strbuf_addf(o, " from %u", v->from->id);
    if (v->from_scratch)
        cb_strbuf_adds(o, " from scratch");
    for (size_t i = 0; i < v->n_inputs; i++)
        cb_strbuf_addf(o, " and %u", v->inputs[i]->id);
    if (v->local)
        cb_strbuf_addf(o, " from %s", v->local->path);
    cb_strbuf_addf(o, " :%u-%u %s\n", v->span.first, v->span.last, v->name);
    if (v->kind == CB_VERTEX_RUN)
        dump_run(o, &v->run);
    if (v->kind == CB_VERTEX_COPY)
        dump_copy(o, &v->copy);
    if (v->kind == CB_VERTEX_HTTP || v->kind == CB_VERTEX_GIT)
        dump_remote(o, v);
    if (v->kind == CB_VERTEX_MKDIR) {
        dump_text(o, "path", v->mkdir.path);
        dump_text(o, "user", v->mkdir.user);
    }
}

static inline CB_UNUSED void dump_arglist(struct cb_strbuf *o, const char *what, const struct cb_arglist *a)
{
    if (a->set && a->args.n == 0)
        cb_strbuf_addf(o, "  %s []\n", what);
    dump_list(o, what, &a->args);
}

static inline CB_UNUSED void dump_health(struct cb_strbuf *o, const struct cb_healthcheck *h)
{
    if (!h)
        return;
    dump_list(o, "health", &h->test);
    cb_strbuf_addf(o, "  health-times %lld %lld %lld %lld %llu\n", (long long)h->interval, (long long)h->timeout,
                   (long long)h->start_period, (long long)h->start_interval, (unsigned long long)h->retries);
}

static inline CB_UNUSED void dump_config(struct cb_strbuf *o, const struct cb_image_config *c)
{
    struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&platform, &c->platform);
    cb_strbuf_addf(o, "config %s\n", platform.buf);
    dump_text(o, "author", c->author);
    dump_text(o, "user", c->user);
    dump_text(o, "workdir", c->working_dir);
    dump_list(o, "env", &c->env);
    dump_arglist(o, "entrypoint", &c->entrypoint);
    dump_arglist(o, "cmd", &c->cmd);
    dump_arglist(o, "shell", &c->shell);
    dump_list(o, "ports", &c->exposed_ports);
    dump_list(o, "volumes", &c->volumes);
    dump_list(o, "onbuild", &c->on_build);
    for (size_t i = 0; i < c->labels.n; i++)
        cb_strbuf_addf(o, "  label %s=%s\n", c->labels.v[i].key, c->labels.v[i].value);
    dump_text(o, "stop", c->stop_signal);
    dump_health(o, c->healthcheck);
}

static inline CB_UNUSED void dump_image(struct cb_strbuf *o, const struct cb_plan *p, const struct cb_plan_image *image,
                                        const char *show)
{
    if (p->n_images > 1) {
        struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_add_platform(&platform, &image->platform);
        cb_strbuf_addf(o, "image %s\n", platform.buf);
    }
    if (strchr(show, 'v') && image->goal)
        cb_strbuf_addf(o, "goal %u%s\n", image->goal->id, p->needs_context ? ", context" : "");
    if (strchr(show, 'v') && image->scan)
        cb_strbuf_addf(o, "scan %u\n", image->scan->id);
    if (strchr(show, 'c'))
        dump_config(o, &image->config);
    for (size_t i = 0; strchr(show, 'h') && i < image->n_history; i++) {
        const struct cb_plan_history *h = &image->history[i];
        cb_strbuf_addf(o, "history %d %s\n", h->vertex ? (int)h->vertex->id : -1, h->created_by);
    }
}

static inline CB_UNUSED void dump_plan(struct cb_strbuf *o, const struct cb_plan *p, const char *show)
{
    for (size_t i = 0; strchr(show, 's') && i < p->n_sources; i++) {
        struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_add_platform(&platform, &p->sources[i]->platform);
        cb_strbuf_addf(o, "parent %s %s\n", p->sources[i]->text, platform.buf);
    }
    for (size_t i = 0; strchr(show, 'v') && i < p->n; i++)
        dump_vertex(o, p->vertices[i]);
    for (size_t i = 0; i < p->n_images; i++)
        dump_image(o, p, &p->images[i], show);
}
