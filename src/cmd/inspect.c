/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/inspect_doc.h"
#include "cmd/remote.h"
#include "cmd/template.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/limits.h"

struct inspect_options {
    struct cb_common common;
    const char *platform, *format;
    bool raw, config, remote, no_tags;
};
#define AT(field) offsetof(struct inspect_options, field)

/* ---- an image of the store ---- */

struct found {
    struct cb_descriptor desc;  /* what the name stands for */
    struct cb_image image;      /* of an index, the one for the platform */
    char *name;
};

static void found_done(struct found *f)
{
    cb_descriptor_done(&f->desc);
    cb_image_done(&f->image);
    free(f->name);
}

/* An artifact is shown as one of a registry is. */
static int load_artifact(struct cb_session *s, struct found *f, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_store_blob_get(s->store, &f->desc.digest, CB_MAX_MANIFEST, &body, err);
    if (r == 0)
        r = cb_manifest_parse(&f->image.manifest, body.buf, body.len, f->desc.media_type, err);
    if (r == 0)
        cb_descriptor_copy(&f->image.desc, &f->desc);
    return r;
}

static int load(struct cb_session *s, const char *what, const struct inspect_options *o, struct found *f,
                struct cb_error *err)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    int r = o->platform ? cb_platform_parse(&p, o->platform, err) : 0;
    if (r == 0)
        r = cb_store_find(s->store, what, &f->desc, &f->name, err);
    if (r < 0 || (o->raw && !o->config && !o->platform))
        return r;
    r = cb_image_load(s->store, &f->desc, o->platform ? &p : NULL, &f->image, err);
    if (r == -CB_ECONF && !cb_mt_is_index(f->desc.media_type)) {
        cb_error_done(err);
        r = load_artifact(s, f, err);
    }
    return r < 0 && !o->platform ? cb_error_wrap(err, "%s (--platform chooses another)", what) : r;
}

static int take_blob(struct cb_session *s, const struct cb_digest *d, struct cb_strbuf *out, struct cb_error *err)
{
    return cb_digest_is_set(d) ? cb_store_blob_get(s->store, d, CB_MAX_MANIFEST, out, err) : 0;
}

/* Every name that stands for it. */
static int take_names(struct cb_session *s, struct cb_inspected *x, struct cb_error *err)
{
    struct cb_store_names names = { 0 };
    int r = cb_store_name_list(s->store, &names, err);
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        struct cb_strbuf tag cb_cleanup_strbuf = CB_STRBUF_INIT, digest cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (!names.v[i].name || !cb_digest_eq(&names.v[i].desc.digest, &x->top.digest) ||
            cb_reference_parse(&ref, names.v[i].name, NULL) < 0)
            continue;
        const struct cb_reference pinned = { .host = ref.host, .repo = ref.repo, .digest = x->top.digest };
        cb_strbuf_add_familiar(&tag, &ref);
        cb_strbuf_add_familiar(&digest, &pinned);
        if (ref.tag)
            cb_strvec_push(&x->repo_tags, tag.buf);
        if (!cb_strvec_has(&x->repo_digests, digest.buf))
            cb_strvec_push(&x->repo_digests, digest.buf);
    }
    cb_store_names_done(&names);
    x->local = true;
    return r;
}

static int inspect_store(struct cb_session *s, const char *what, const struct inspect_options *o,
                         struct cb_inspected *x, struct cb_error *err)
{
    struct found f CB_CLEANUP(found_done) = { 0 };
    int r = load(s, what, o, &f, err);
    if (r == -CB_ENOTFOUND && cb_starts_with(what, "store:") && cb_names_other_place(what))
        cb_error_set(err, CB_ENOTFOUND, "%s: write %s", what, what + strlen("store:"));
    else if (r == -CB_ENOTFOUND && cb_names_other_place(what))
        cb_error_set(err, CB_ENOTFOUND, "%s: inspect knows images of the store, and docker://REFERENCE; `cbpush copy "
                                        "%s store:NAME` brings it there", what, what);
    else if (r == -CB_ENOTFOUND && !o->remote)
        cb_error_set(err, CB_ENOTFOUND, "%s (docker://%s asks the registry)", cb_error_text(err), what);
    if (r < 0)
        return r;
    const struct cb_digest *manifest = f.image.desc.media_type ? &f.image.desc.digest : &f.desc.digest;
    if (cb_mt_is_index(f.desc.media_type) && f.image.desc.media_type)
        r = take_blob(s, &f.desc.digest, &x->index, err);
    if (r == 0)
        r = take_blob(s, manifest, &x->manifest, err);
    if (r == 0)
        r = take_blob(s, &f.image.manifest.config.digest, &x->config, err);
    cb_descriptor_copy(&x->top, &f.desc);
    cb_descriptor_copy(&x->desc, &f.image.desc);
    x->name = CB_TAKE(f.name);
    return r < 0 ? r : take_names(s, x, err);
}

/* ---- an image of a registry ---- */

static void take_manifest(struct cb_inspected *x, const struct cb_fetched *f)
{
    cb_descriptor_copy(&x->desc, &f->desc);
    cb_strbuf_add(&x->manifest, f->body.buf, f->body.len);
}

static int fetch(struct cb_remote *re, const struct inspect_options *o, struct cb_inspected *x, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    bool whole = o->raw && !o->config && !o->platform;
    int r = cb_registry_manifest(re->s.registry, &re->ref, &f, err);
    if (r < 0)
        return r;
    cb_descriptor_copy(&x->top, &f.desc);
    if (!whole && cb_mt_is_index(f.desc.media_type)) {
        cb_strbuf_add(&x->index, f.body.buf, f.body.len);
        r = cb_remote_select(re, o->platform ? o->platform : "local", &f, err);
    }
    if (r < 0)
        return r;
    take_manifest(x, &f);
    if (o->raw && !o->config)
        return 0;
    r = cb_manifest_parse(&m, f.body.buf, f.body.len, f.desc.media_type, err);
    return r < 0 ? r : cb_remote_config(re, &m, &x->config, err);
}

static int inspect_remote(struct cb_remote *re, const struct inspect_options *o, struct cb_inspected *x,
                          struct cb_error *err)
{
    int r = fetch(re, o, x, err);
    x->name = cb_asprintf("%s/%s", re->ref.host, re->ref.repo);
    return r;
}

/* ---- what is printed ---- */

static bool is_json(const struct inspect_options *o)
{
    return !o->raw && !o->config && (!o->format || !strcmp(o->format, "json"));
}

/* all: where several are collected, or NULL. */
static int print(const struct inspect_options *o, const struct cb_inspected *x, json_t *all, struct cb_error *err)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (o->raw || o->config)
        return cb_remote_write(NULL, o->config ? x->config.buf : x->manifest.buf,
                               o->config ? x->config.len : x->manifest.len, err);
    cb_autojson json_t *j = cb_inspect_json(x, err);
    if (!j)
        return -CB_EVERIFY;
    if (is_json(o)) {
        if (all)
            return json_array_append(all, j);
        cb_json_print_pretty(&out, j);
        fputs(out.buf, stdout);
        return 0;
    }
    cb_autojson json_t *more = cb_inspect_more(j);
    int r = cb_template_print_with(&out, o->format, j, more, err);
    if (r == 0)
        cb_template_show(&out);
    return r;
}

static int inspect(const struct cb_process *p, const struct inspect_options *o, const char *what, json_t *all,
                   struct cb_error *err)
{
    struct cb_inspected x cb_cleanup_inspected = CB_INSPECTED_INIT;
    CB_CLEANUP(cb_remote_done) struct cb_remote re = { 0 };
    bool remote = o->remote || cb_starts_with(what, "docker://");
    if (o->format && (o->raw || o->config))
        return cb_error_set(err, CB_EUSAGE, "--format does not go with --raw and --config, which print bytes");
    int r = remote ? cb_remote_open(&re, p, &o->common, what, err) : cb_session_store(&re.s, p, &o->common, err);
    if (r == 0)
        r = remote ? inspect_remote(&re, o, &x, err) : inspect_store(&re.s, what, o, &x, err);
    return r < 0 ? r : print(o, &x, all, err);
}

/* Several are an array, as docker has them, or one line of --format each. */
static int inspect_all(const struct cb_process *p, const struct inspect_options *o, const struct cb_strvec *names,
                       struct cb_error *err)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *all = names->n > 1 && is_json(o) ? json_array() : NULL;
    int r = 0;
    if (names->n > 1 && (o->raw || o->config))
        return cb_error_set(err, CB_EUSAGE, "--raw and --config print the bytes of one image");
    for (size_t i = 0; r == 0 && i < names->n; i++)
        r = inspect(p, o, names->v[i], all, err);
    if (r == 0 && all) {
        cb_json_print_pretty(&out, all);
        fputs(out.buf, stdout);
    }
    return r;
}

static int run_inspect(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                       int *status CB_UNUSED, struct cb_error *err)
{
    struct inspect_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = inspect_all(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt inspect_table[] = {
    { "remote", 0, CB_OPT_FLAG, AT(remote), NULL, "ask the registry, as for docker://IMAGE", NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    { "format", 'f', CB_OPT_STRING, AT(format), "TEMPLATE", "{{.Digest}}, {{json .Config}}, {{index .Labels \"k\"}} …",
      NULL },
    { "raw", 0, CB_OPT_FLAG, AT(raw), NULL, "the manifest (of an index the index, without --platform), byte for byte",
      NULL },
    { "config", 0, CB_OPT_FLAG, AT(config), NULL, "the image configuration, byte for byte", NULL },
    { "no-tags", 'n', CB_OPT_FLAG, AT(no_tags), NULL, NULL, NULL },
    { "root", 0, CB_OPT_STRING, AT(common.root), "DIR", "keep images and cache in DIR (CBPUSH_ROOT)", NULL },
    CB_OPT_REMOTE(inspect_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_inspect = {
    .name = "inspect",
    .summary = "show an image of the store, or with docker:// of a registry, as JSON",
    .operands = "[OPTIONS] IMAGE|docker://REFERENCE…",
    .details = "Members are those of `skopeo inspect` and `docker image inspect`: Name Digest Id MediaType Size\n"
               "Created DockerVersion Author Comment Architecture Variant Os OsVersion Labels Env Config RootFS\n"
               "Layers LayersData Manifest Index, and of the store RepoTags and RepoDigests. What an image does\n"
               "not say is left out, and nothing in a TEMPLATE. Several images are an array.",
    .options = inspect_table,
    .run = run_inspect,
};
