/* SPDX-License-Identifier: Apache-2.0 */
#include "build/build.h"
#include "util/alloc.h"

void cb_output_done(struct cb_output *o)
{
    free(o->dest);
    free(o->attestation_prefix);
    cb_strvec_done(&o->names);
    cb_annotations_done(&o->annotations);
    *o = (struct cb_output){ 0 };
}

static int parse_bool(const char *key, const char *v, bool *out, struct cb_error *err)
{
    static const struct { const char *text; bool value; } words[] = {
        { "true", true }, { "1", true }, { "", true }, { "false", false }, { "0", false },
    };
    for (size_t i = 0; i < CB_COUNTOF(words); i++)
        if (!strcmp(v, words[i].text)) {
            *out = words[i].value;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "--output: %s=%s is neither true nor false", key, v);
}

static int set_type(struct cb_output *o, const char *v, struct cb_error *err)
{
    static const struct { const char *name; enum cb_output_type type; bool push; } types[] = {
        { "image", CB_OUTPUT_IMAGE, false }, { "registry", CB_OUTPUT_IMAGE, true }, { "oci", CB_OUTPUT_OCI, false },
        { "docker", CB_OUTPUT_DOCKER, false }, { "local", CB_OUTPUT_LOCAL, false }, { "tar", CB_OUTPUT_TAR, false },
        { "cacheonly", CB_OUTPUT_NONE, false },
    };
    for (size_t i = 0; i < CB_COUNTOF(types); i++)
        if (!strcmp(v, types[i].name)) {
            o->type = types[i].type;
            o->push = o->push || types[i].push;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "--output: unknown type \"%s\": image, registry, oci, docker, local, tar, "
                                        "cacheonly", v);
}

static int set_compression(struct cb_output *o, const char *v, struct cb_error *err)
{
    o->format_set = true;
    int r = cb_format_parse(&o->format, v, err);
    if (r < 0)
        cb_error_wrap(err, "--output");
    return r;
}

static int set_level(struct cb_output *o, const char *v, struct cb_error *err)
{
    int r = cb_format_parse_level(&o->format, v, err);
    if (r < 0)
        cb_error_wrap(err, "--output");
    return r;
}

static void set_names(struct cb_output *o, const char *v)
{
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    while (v && *v) {
        v = cb_csv_next(v, &name);
        cb_strvec_push(&o->names, name.buf);
    }
}

static int set_prefix(struct cb_output *o, const char *v, struct cb_error *err)
{
    if (strchr(v, '/') || strlen(v) > 128)
        return cb_error_set(err, CB_EUSAGE, "--output: attestation-prefix=%s: how a file's name begins, without a "
                                            "slash", v);
    o->attestation_prefix = cb_strdup(v);
    return 0;
}

/* BuildKit's annotation.K, annotation[PLATFORM].K, annotation-LEVEL.K, annotation-LEVEL[PLATFORM].K */
static int set_annotation(struct cb_output *o, const char *key, const char *v, struct cb_error *err)
{
    const char *level = key + strlen("annotation"), *at = level + strcspn(level, ".[");
    if (*at == '[')
        at += strcspn(at, "]") + 1; /* a name may have dots */
    if (at > level + strlen(level) || *at != '.' || !at[1] || (*level != '-' && *level != '[' && *level != '.'))
        return cb_error_set(err, CB_EUSAGE, "--output: \"%s\": write annotation[-LEVEL][[PLATFORM]].KEY=VALUE", key);
    cb_autofree char *said = cb_strndup(level, (size_t)(at - level));
    cb_autofree char *target = *said == '[' ? cb_asprintf("manifest%s", said) : cb_strdup(said + (*said == '-'));
    int r = cb_annotation_add(&o->annotations, *target ? target : NULL, at + 1, v, err);
    if (r < 0)
        cb_error_wrap(err, "--output %s", key);
    return r;
}

static int set_field(struct cb_output *o, const char *key, const char *v, struct cb_error *err)
{
    bool flag = false;
    int r;
    if (!strcmp(key, "type"))
        return set_type(o, v, err);
    if (!strcmp(key, "dest")) {
        free(o->dest);
        o->dest = cb_strdup(v);
        return 0;
    }
    if (!strcmp(key, "attestation-prefix"))
        return set_prefix(o, v, err);
    if (!strcmp(key, "name")) {
        set_names(o, v);
        return 0;
    }
    if (!strcmp(key, "compression"))
        return set_compression(o, v, err);
    if (!strcmp(key, "compression-level"))
        return set_level(o, v, err);
    if (!strcmp(key, "rewrite-timestamp")) /* newer times are always clamped to the epoch */
        return parse_bool(key, v, &flag, err);
    if (!strcmp(key, "force-compression"))
        return parse_bool(key, v, &o->force, err);
    if (!strcmp(key, "push-by-digest"))
        return parse_bool(key, v, &o->by_digest, err);
    if (!strcmp(key, "name-canonical"))
        return parse_bool(key, v, &o->canonical, err);
    if (cb_starts_with(key, "annotation"))
        return set_annotation(o, key, v, err);
    if (!strcmp(key, "registry.insecure"))
        return parse_bool(key, v, &o->insecure, err);
    if (strcmp(key, "push") && strcmp(key, "tar") && strcmp(key, "oci-mediatypes") && strcmp(key, "platform-split"))
        return cb_error_set(err, CB_EUSAGE, "--output: \"%s\" is not supported", key);
    r = parse_bool(key, v, &flag, err);
    if (!strcmp(key, "push"))
        o->push = flag;
    else if (!strcmp(key, "tar"))
        o->as_dir = !flag;
    else if (!strcmp(key, "platform-split"))
        o->platform_split = flag;
    else
        o->docker_types = !flag;
    return r;
}

/* Without a compression the level is of what the command line says elsewhere. */
static int check_format(const struct cb_output *o, const char *spec, struct cb_error *err)
{
    int r = o->format_set ? cb_format_check(&o->format, err) : 0;
    if (r < 0) {
        cb_error_wrap(err, "--output %s", spec);
        return r;
    }
    if (o->docker_types && o->format_set && cb_format_needs_oci(&o->format))
        return cb_error_set(err, CB_EUSAGE, "--output %s: %s needs OCI media types", spec, cb_format_name(&o->format));
    return 0;
}

static int check(const struct cb_output *o, const char *spec, struct cb_error *err)
{
    bool file = o->type != CB_OUTPUT_IMAGE && o->type != CB_OUTPUT_NONE;
    bool named = o->type == CB_OUTPUT_IMAGE || o->type == CB_OUTPUT_OCI || o->type == CB_OUTPUT_DOCKER;
    if (file && (o->dest ? !*o->dest : o->type != CB_OUTPUT_DOCKER))
        return cb_error_set(err, CB_EUSAGE, "--output %s: dest= is missing", spec);
    if (!file && o->dest)
        return cb_error_set(err, CB_EUSAGE, "--output %s: dest= is for oci, docker, local and tar", spec);
    if (o->push && o->type != CB_OUTPUT_IMAGE)
        return cb_error_set(err, CB_EUSAGE, "--output %s: push= is for type=image", spec);
    if ((o->by_digest || o->canonical || o->insecure) && o->type != CB_OUTPUT_IMAGE)
        return cb_error_set(err, CB_EUSAGE, "--output %s: %s= is for type=image", spec,
                            o->by_digest ? "push-by-digest" : o->canonical ? "name-canonical" : "registry.insecure");
    if (o->names.n && !named)
        return cb_error_set(err, CB_EUSAGE, "--output %s: name= is for image, oci and docker", spec);
    if (o->annotations.n && o->type != CB_OUTPUT_IMAGE && o->type != CB_OUTPUT_OCI)
        return cb_error_set(err, CB_EUSAGE, "--output %s: annotations are for image, registry and oci", spec);
    if (o->attestation_prefix && o->type != CB_OUTPUT_LOCAL && o->type != CB_OUTPUT_TAR)
        return cb_error_set(err, CB_EUSAGE, "--output %s: attestation-prefix= is for local and tar", spec);
    if (o->platform_split >= 0 && o->type != CB_OUTPUT_LOCAL && o->type != CB_OUTPUT_TAR)
        return cb_error_set(err, CB_EUSAGE, "--output %s: platform-split= is for local and tar", spec);
    if (o->as_dir && o->type != CB_OUTPUT_OCI)
        return cb_error_set(err, CB_EUSAGE, "--output %s: tar= is for oci", spec);
    if (o->dest && !strcmp(o->dest, "-") && (o->type == CB_OUTPUT_LOCAL || o->as_dir))
        return cb_error_set(err, CB_EUSAGE, "--output %s: a directory cannot go to standard output", spec);
    return check_format(o, spec, err);
}

static int take_fields(struct cb_output *out, const char *spec, struct cb_strvec *seen, struct cb_error *err)
{
    struct cb_strbuf field cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (const char *p = spec; *p;) {
        p = cb_csv_next(p, &field);
        char *eq = p ? strchr(field.buf, '=') : NULL;
        if (!p)
            return cb_error_set(err, CB_EUSAGE, "--output %s: a quote does not end", spec);
        if (!eq)
            return cb_error_set(err, CB_EUSAGE, "--output %s: \"%s\" is not KEY=VALUE", spec, field.buf);
        *eq = '\0';
        if (cb_strvec_has(seen, field.buf))
            return cb_error_set(err, CB_EUSAGE, "--output %s: %s= stands there twice", spec, field.buf);
        cb_strvec_push(seen, field.buf);
        int r = set_field(out, field.buf, eq + 1, err);
        if (r < 0)
            return r;
    }
    return 0;
}

int cb_output_parse(struct cb_output *out, const char *spec, struct cb_error *err)
{
    struct cb_strvec seen cb_cleanup_strvec = CB_STRVEC_INIT;
    *out = (struct cb_output){ .format.level = CB_LEVEL_DEFAULT, .type = CB_OUTPUT_LOCAL, .platform_split = -1 };
    if (!*spec)
        return cb_error_set(err, CB_EUSAGE, "--output is empty");
    if (!strchr(spec, '=')) {
        out->type = strcmp(spec, "-") ? CB_OUTPUT_LOCAL : CB_OUTPUT_TAR;
        out->dest = cb_strdup(spec);
        return 0;
    }
    int r = take_fields(out, spec, &seen, err);
    if (!out->dest && (out->type == CB_OUTPUT_TAR || (out->type == CB_OUTPUT_OCI && !out->as_dir)))
        out->dest = cb_strdup("-");
    if (r == 0 && !cb_strvec_has(&seen, "type"))
        r = cb_error_set(err, CB_EUSAGE, "--output %s: type= is missing", spec);
    return r < 0 ? r : check(out, spec, err);
}
