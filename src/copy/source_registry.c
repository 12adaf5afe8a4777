/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"

static void make_reference(const struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                           struct cb_reference *out)
{
    cb_reference_copy(out, &s->place->ref);
    if (cb_digest_is_set(digest)) {
        out->digest = *digest;
    } else if (tag) {
        free(out->tag);
        out->tag = cb_strdup(tag);
        out->digest.alg = CB_DIGEST_NONE;
    }
    cb_reference_default_tag(out);
}

static int get_manifest(struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                        struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    make_reference(s, tag, digest, &ref);
    int r = cb_registry_manifest(s->env->registry, &ref, &f, err);
    if (r < 0)
        return r;
    cb_descriptor_copy(desc, &f.desc);
    cb_strbuf_add(body, f.body.buf, f.body.len);
    return 0;
}

static int get_blob(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                    struct cb_error *err)
{
    return cb_registry_blob(s->env->registry, s->place->ref.host, s->place->ref.repo, d, out, err);
}

static int get_tags(struct cb_copy_source *s, struct cb_strvec *out, struct cb_error *err)
{
    struct cb_list_options o = { 0 };
    return cb_registry_tags(s->env->registry, s->place->ref.host, s->place->ref.repo, &o, out, err);
}

static int get_referrers(struct cb_copy_source *s, const struct cb_digest *subject, struct cb_index *out,
                         struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    make_reference(s, NULL, subject, &ref);
    return cb_registry_referrers(s->env->registry, &ref, NULL, out, err);
}

static void add_origin(struct cb_copy_source *s, const struct cb_digest *d CB_UNUSED, struct cb_strvec *hosts,
                       struct cb_strvec *repos)
{
    cb_strvec_push(hosts, s->place->ref.host);
    cb_strvec_push(repos, s->place->ref.repo);
}

static void close_it(struct cb_copy_source *s)
{
    free(s);
}

static const struct cb_copy_source_ops ops = { get_manifest, get_blob, get_tags, get_referrers,
                                               add_origin,   true,     close_it };

int copy_source_registry(const struct cb_copy_env *env, const struct cb_place *p, struct cb_copy_source **out,
                         struct cb_error *err CB_UNUSED)
{
    *out = CB_NEW(struct cb_copy_source);
    **out = (struct cb_copy_source){ &ops, env, p, false };
    return 0;
}
