/* SPDX-License-Identifier: Apache-2.0 */
#include "build/key.h"

static void hash_strings(struct cb_hasher *h, const struct cb_strvec *sv)
{
    cb_hasher_field_u64(h, sv ? sv->n : 0);
    for (size_t i = 0; sv && i < sv->n; i++)
        cb_hasher_field(h, sv->v[i]);
}

/* Ids of secrets and keys, never what they stand for. */
static void hash_mounts(struct cb_hasher *h, const struct cb_run_op *op)
{
    cb_hasher_field_u64(h, op->n_mounts);
    for (size_t i = 0; i < op->n_mounts; i++) {
        const struct cb_run_mount *m = &op->mounts[i];
        const uint64_t numbers[] = { m->type, m->from_kind, m->readonly, m->required, m->sharing, m->fresh,
                                     m->mode, m->uid,       m->gid,      m->size };
        cb_hasher_field(h, m->target);
        cb_hasher_field(h, m->source);
        cb_hasher_field(h, m->id);
        cb_hasher_field(h, m->env);
        for (size_t k = 0; k < CB_COUNTOF(numbers); k++)
            cb_hasher_field_u64(h, numbers[k]);
    }
}

static void hash_platform(struct cb_hasher *h, const struct cb_platform *p)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&text, p);
    cb_hasher_field(h, text.buf);
}

static void hash_run(struct cb_hasher *h, const struct cb_key_base *kb, const struct cb_vertex *v)
{
    const struct cb_run_op *op = &v->run;
    hash_strings(h, &op->argv);
    hash_strings(h, &op->key_env);
    cb_hasher_field(h, op->cwd);
    cb_hasher_field(h, op->user);
    cb_hasher_field_u64(h, op->network == CB_NETWORK_NONE);
    cb_hasher_field(h, op->script);
    cb_hasher_field(h, op->script_path);
    hash_platform(h, &v->platform);
    hash_strings(h, kb->hosts);
    cb_hasher_field_u64(h, kb->single_id);
    hash_mounts(h, op);
    cb_hasher_field_u64(h, op->insecure);
    hash_strings(h, &op->devices);
    if (kb->hostname)
        cb_hasher_field(h, kb->hostname);
}

static void hash_copy(struct cb_hasher *h, const struct cb_copy_op *op)
{
    cb_hasher_field_u64(h, op->add);
    cb_hasher_field_u64(h, (uint64_t)(op->unpack + 1));
    hash_strings(h, &op->sources);
    hash_strings(h, &op->file_names);
    hash_strings(h, &op->file_bodies);
    cb_hasher_field(h, op->dest);
    cb_hasher_field(h, op->chown);
    cb_hasher_field(h, op->chmod);
    hash_strings(h, &op->exclude);
    hash_strings(h, &op->below);
}

/* Who has no credentials must not find what others fetched with theirs. Never what they are. */
static void hash_authorized(struct cb_hasher *h, const struct cb_remote_op *op)
{
    if (op->authorized)
        cb_hasher_field(h, "authorized");
}

static void hash_http(struct cb_hasher *h, const struct cb_remote_op *op)
{
    cb_hasher_field(h, op->name);
    cb_hasher_field_u64(h, (op->unpack ? 1u : 0u) | (op->as_root ? 2u : 0u));
    cb_hasher_field_digest(h, &op->content);
    cb_hasher_field(h, op->last_modified);
    hash_authorized(h, op);
}

static void hash_git(struct cb_hasher *h, const struct cb_remote_op *op)
{
    const struct cb_git_ref *g = &op->git;
    cb_hasher_field(h, op->commit);
    cb_hasher_field(h, g->subdir);
    cb_hasher_field(h, g->keep_git_dir || g->submodules ? g->url : NULL);
    cb_hasher_field_u64(h, (g->keep_git_dir ? 1u : 0u) | (g->submodules ? 2u : 0u) | (g->mtime_checkout ? 4u : 0u));
    hash_authorized(h, op);
}

int64_t cb_key_time(const struct cb_key_base *kb, int64_t mtime)
{
    return kb->exact_mtime ? kb->clamp_mtime : CB_MIN(mtime, kb->clamp_mtime);
}

static struct cb_hasher *begin(const struct cb_key_base *kb, const char *what)
{
    struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, what);
    cb_hasher_field_u64(h, (uint64_t)kb->clamp_mtime);
    cb_hasher_field_u64(h, kb->exact_mtime);
    return h;
}

static void hash_op(struct cb_hasher *h, const struct cb_key_base *kb, const struct cb_vertex *v)
{
    switch (v->kind) {
    case CB_VERTEX_RUN:
        hash_run(h, kb, v);
        break;
    case CB_VERTEX_COPY:
        hash_copy(h, &v->copy);
        break;
    case CB_VERTEX_MKDIR:
        cb_hasher_field(h, v->mkdir.path);
        cb_hasher_field(h, v->mkdir.user);
        break;
    case CB_VERTEX_HTTP:
        hash_http(h, &v->remote);
        break;
    case CB_VERTEX_GIT:
        hash_git(h, &v->remote);
        break;
    case CB_VERTEX_SOURCE:
    case CB_VERTEX_LINK:
        break;
    }
}

void cb_key_definition(const struct cb_key_base *kb, const struct cb_vertex *v, const struct cb_digest *base,
                       const struct cb_digest *from, struct cb_digest *out)
{
    static const char *const names[] = { "cbpush-source/1", "cbpush-run/2", "cbpush-copy/2", "cbpush-mkdir/1",
                                         "cbpush-link/1",   "cbpush-http/1", "cbpush-git/1" };
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = begin(kb, names[v->kind]);
    hash_op(h, kb, v);
    cb_hasher_field_u64(h, (base ? 1u : 0u) | (from ? 2u : 0u) | (v->from_scratch ? 4u : 0u));
    if (base)
        cb_hasher_field_digest(h, base);
    if (from)
        cb_hasher_field_digest(h, from);
    cb_hasher_finish(h, out);
}

static void hash_pins(struct cb_hasher *h, const struct cb_manifest *m)
{
    struct cb_toc_pin pin;
    for (size_t i = 0; i < m->n_layers; i++) {
        cb_autofree char *foreign = cb_foreign_pin(&m->layers[i].annotations);
        if (cb_toc_pin_read(&pin, &m->layers[i].annotations)) {
            cb_hasher_field_u64(h, i);
            cb_hasher_field_digest(h, &pin.digest);
        }
        if (foreign) {
            cb_hasher_field_u64(h, i);
            cb_hasher_field(h, foreign);
        }
    }
}

void cb_key_source(const struct cb_image_config *config, const struct cb_manifest *manifest, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, "cbpush-source/1");
    for (size_t i = 0; i < config->n_diff_ids; i++)
        cb_hasher_field_digest(h, &config->diff_ids[i]);
    if (manifest)
        hash_pins(h, manifest);
    cb_hasher_finish(h, out);
}

void cb_key_run_content(const struct cb_key_base *kb, const struct cb_vertex *v, struct cb_slot *const *layers,
                        size_t n, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = begin(kb, "cbpush-run-content/2");
    hash_run(h, kb, v);
    for (size_t i = 0; i < n; i++) {
        struct cb_digest d;
        if (cb_slot_content(layers[i], &d))
            cb_hasher_field_digest(h, cb_key_has_times(kb) ? cb_slot_diff_id(layers[i]) : &d);
    }
    cb_hasher_finish(h, out);
}

void cb_key_run_hint(const struct cb_key_base *kb, const struct cb_vertex *v, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = begin(kb, "cbpush-run-hint/2");
    hash_run(h, kb, v);
    cb_hasher_finish(h, out);
}
