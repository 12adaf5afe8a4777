/* SPDX-License-Identifier: Apache-2.0 */
/* `docker buildx imagetools inspect`: what a name stands for in a registry. */
#include <stdio.h>

#include "cmd/build_compat.h"
#include "cmd/imagetools.h"
#include "cmd/remote.h"
#include "cmd/template.h"
#include "oci/json.h"
#include "util/alloc.h"

struct show_options {
    struct cb_common common;
    struct cb_strvec ignored;
    const char *format;
    bool raw;
};
#define AT(field) offsetof(struct show_options, field)

struct shown {
    struct cb_remote *re;
    const char *text; /* as typed */
    struct cb_fetched top;
    struct cb_index index; /* where it is one */
};

static void shown_done(struct shown *x)
{
    cb_fetched_done(&x->top);
    cb_index_done(&x->index);
}

/* ---- for people ---- */

/* NAME:TAG@DIGEST */
static void add_name(struct cb_strbuf *out, const struct shown *x, const struct cb_digest *d)
{
    struct cb_reference ref = x->re->ref;
    ref.digest = *d;
    cb_strbuf_add_reference(out, &ref);
}

static void add_entry(struct cb_strbuf *out, const struct shown *x, const struct cb_descriptor *d)
{
    cb_strbuf_adds(out, "  Name:      ");
    add_name(out, x, &d->digest);
    cb_strbuf_addf(out, "\n  MediaType: %s\n", d->media_type);
    if (d->platform) {
        cb_strbuf_adds(out, "  Platform:  ");
        cb_strbuf_add_platform(out, d->platform);
        cb_strbuf_adds(out, "\n");
    }
    if (d->platform && d->platform->os_version)
        cb_strbuf_addf(out, "  OSVersion: %s\n", d->platform->os_version);
    for (size_t i = 0; i < d->urls.n; i++)
        cb_strbuf_addf(out, "%s%s%s", i ? ", " : "  URLs:      ", d->urls.v[i], i + 1 < d->urls.n ? "" : "\n");
    if (d->annotations.n)
        cb_strbuf_adds(out, "  Annotations:\n");
    for (size_t i = 0; i < d->annotations.n; i++)
        cb_strbuf_addf(out, "    %s: %s\n", d->annotations.v[i].key, d->annotations.v[i].value);
}

static void print_people(const struct shown *x)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT, safe cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_strbuf_adds(&out, "Name:      ");
    cb_strbuf_add_reference(&out, &x->re->ref);
    cb_strbuf_addf(&out, "\nMediaType: %s\nDigest:    %s\n", x->top.desc.media_type,
                   cb_digest_text(&x->top.desc.digest, digest));
    if (x->index.n_manifests)
        cb_strbuf_adds(&out, "\nManifests:\n");
    for (size_t i = 0; i < x->index.n_manifests; i++) {
        cb_strbuf_adds(&out, i ? "\n" : "");
        add_entry(&out, x, &x->index.manifests[i]);
    }
    cb_strbuf_add_sanitized(&safe, out.buf, out.len, true);
    fwrite(safe.buf, 1, safe.len, stdout);
}

/* ---- for programs ---- */

/* A descriptor; of an index, with what it holds. */
static json_t *manifest_json(const struct shown *x, struct cb_error *err)
{
    static const char *const members[] = { "manifests", "annotations" };
    cb_autojson json_t *o = cb_descriptor_to_json(&x->top.desc);
    if (!cb_mt_is_index(x->top.desc.media_type))
        return json_incref(o);
    cb_autojson json_t *body = cb_json_parse(x->top.body.buf, x->top.body.len, err), *all = json_object();
    if (!body)
        return NULL;
    cb_json_put(all, "schemaVersion", json_integer(2));
    json_object_update(all, o);
    for (size_t i = 0; i < CB_COUNTOF(members); i++)
        if (json_object_get(body, members[i]))
            json_object_set(all, members[i], json_object_get(body, members[i]));
    return json_incref(all);
}

/* NULL and no error: it is no image. */
static json_t *config_json(const struct shown *x, const struct cb_fetched *f, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_manifest_parse(&m, f->body.buf, f->body.len, f->desc.media_type, err);
    bool image = r == 0 && (cb_streq(m.config.media_type, CB_MT_OCI_CONFIG) ||
                            cb_streq(m.config.media_type, CB_MT_DOCKER_CONFIG));
    if (image)
        r = cb_remote_config(x->re, &m, &text, err);
    return image && r == 0 ? cb_json_parse(text.buf, text.len, err) : NULL;
}

/* The configuration; of several platforms, one for each, by its name. */
static json_t *images_json(const struct shown *x, struct cb_error *err)
{
    cb_autojson json_t *all = json_object();
    if (!cb_mt_is_index(x->top.desc.media_type))
        return config_json(x, &x->top, err);
    for (size_t i = 0; i < x->index.n_manifests; i++) {
        const struct cb_descriptor *d = &x->index.manifests[i];
        struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
        struct cb_reference ref = { .host = x->re->ref.host, .repo = x->re->ref.repo, .digest = d->digest };
        if (!d->platform || cb_streq(d->platform->os, "unknown") || cb_mt_is_index(d->media_type))
            continue;
        cb_strbuf_add_platform(&name, d->platform);
        if (cb_registry_manifest(x->re->s.registry, &ref, &f, err) < 0)
            return NULL;
        json_t *config = config_json(x, &f, err);
        if (!config && err->code)
            return NULL;
        if (config)
            json_object_set_new(all, name.buf, config);
    }
    return json_incref(json_object_size(all) == 1 ? json_object_iter_value(json_object_iter(all)) : all);
}

/* Configurations are asked for where somebody wants them. */
static bool wants_images(const char *format)
{
    return strstr(format, "Image") || strstr(format, "json .}}") || strstr(format, "json . }}") ||
           strstr(format, "{{.}}");
}

/* Attestations are asked for where they are named. */
static int put_attested(const struct shown *x, const char *format, json_t *root, struct cb_error *err)
{
    static const struct { const char *name; struct imagetools_attested what; } kinds[] = {
        { "Provenance", { "https://slsa.dev/provenance/", "SLSA", NULL } },
        { "SBOM", { "https://spdx.dev/Document", "SPDX", "AdditionalSPDXs" } },
    };
    for (size_t i = 0; i < CB_COUNTOF(kinds); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (!strstr(format, kinds[i].name))
            continue;
        json_t *said = imagetools_attested(x->re, &x->index, &kinds[i].what, &e);
        if (!said)
            return cb_error_move(err, &e);
        cb_json_put(root, kinds[i].name, said);
    }
    return 0;
}

static int print_format(const struct shown *x, const char *format, struct cb_error *err)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *root = json_object();
    cb_json_put(root, "name", cb_json_string(x->text));
    json_t *manifest = manifest_json(x, err);
    if (!manifest)
        return -CB_EVERIFY;
    cb_json_put(root, "manifest", manifest);
    if (wants_images(format)) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        json_t *images = images_json(x, &e);
        if (!images && e.code)
            return cb_error_move(err, &e);
        if (images)
            cb_json_put(root, "image", images);
    }
    int r = put_attested(x, format, root, err);
    if (r < 0)
        return r;
    r = cb_template_print_go(&out, format, root, err);
    if (r < 0)
        return r;
    cb_strbuf_addch(&out, '\n');
    return cb_remote_write(NULL, out.buf, out.len, err);
}

static int show(const struct cb_process *p, const struct show_options *o, const char *text, struct cb_error *err)
{
    CB_CLEANUP(cb_remote_done) struct cb_remote re = { 0 };
    CB_CLEANUP(shown_done) struct shown x = { .re = &re, .text = text, .top = { .body = CB_STRBUF_INIT } };
    if (o->format && o->raw)
        return cb_error_set(err, CB_EUSAGE, "--format does not go with --raw, which prints bytes");
    int r = cb_remote_open(&re, p, &o->common, text, err);
    if (r < 0)
        return r;
    compat_warn(&o->ignored);
    r = cb_registry_manifest(re.s.registry, &re.ref, &x.top, err);
    if (r < 0)
        return r;
    if (o->raw)
        return cb_remote_write(NULL, x.top.body.buf, x.top.body.len, err);
    if (cb_mt_is_index(x.top.desc.media_type))
        r = cb_index_parse(&x.index, x.top.body.buf, x.top.body.len, x.top.desc.media_type, err);
    if (r == 0 && o->format && *o->format)
        return print_format(&x, o->format, err);
    if (r == 0)
        print_people(&x);
    return r;
}

static int run_show(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                    int *status CB_UNUSED, struct cb_error *err)
{
    struct show_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = show(p, &o, a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.ignored);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt show_table[] = {
    { "raw", 0, CB_OPT_FLAG, AT(raw), NULL, "manifest or index, byte for byte", NULL },
    { "format", 0, CB_OPT_STRING, AT(format), "TEMPLATE", "{{json .Manifest}}, {{.Manifest.Digest}}, {{json .Image}} …",
      NULL },
    { "builder", 0, CB_OPT_NOTED, AT(ignored), "NAME", NULL, NULL },
    CB_OPT_REMOTE(show_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_imagetools_inspect = {
    .name = "imagetools inspect",
    .summary = "show what a name stands for in a registry",
    .operands = "[OPTIONS] NAME[:TAG][@DIGEST]",
    .details = "A template has Name, Manifest (a descriptor; of an index also what it lists), Image (the\n"
               "configuration; of several platforms, by their names), Provenance and SBOM (attestations in the\n"
               "index: {{json .Provenance.SLSA}}, {{json .SBOM.SPDX}}; of several platforms, by their names).",
    .options = show_table,
    .run = run_show,
};
