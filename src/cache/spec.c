/* SPDX-License-Identifier: Apache-2.0 */
/* --cache-to and --cache-from, as buildx and podman write them, and --cache-mount-to and --cache-mount-from after
 * them. */
#include <limits.h>

#include "cache/cache.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/timeutil.h"

void cb_cache_spec_done(struct cb_cache_spec *s)
{
    cb_reference_done(&s->ref);
    free(s->text);
    free(s->path);
    free(s->tag);
    free(s->key_file);
    *s = (struct cb_cache_spec){ 0 };
}

static const char *flag_of(const struct cb_cache_spec *s)
{
    if (s->mount)
        return s->to ? "--cache-mount-to" : "--cache-mount-from";
    return s->to ? "--cache-to" : "--cache-from";
}

static int parse_bool(const char *v, bool *out)
{
    if (!strcmp(v, "true") || !strcmp(v, "1"))
        *out = true;
    else if (!strcmp(v, "false") || !strcmp(v, "0"))
        *out = false;
    else
        return -CB_EUSAGE;
    return 0;
}

/* BuildKit's other types: services that hold one user's caches. Any registry does. */
static const char *instead_of(const char *type)
{
    if (!strcmp(type, "gha"))
        return " (in GitHub Actions: type=registry,ref=ghcr.io/OWNER/REPOSITORY/cache, "
               "or type=local and actions/cache)";
    if (!strcmp(type, "s3") || !strcmp(type, "azblob"))
        return " (type=registry,ref=HOST/REPOSITORY keeps it in a registry)";
    return "";
}

static int set_type(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    static const struct { const char *name; enum cb_cache_type type; } types[] = {
        { "registry", CB_CACHE_REGISTRY }, { "local", CB_CACHE_LOCAL }, { "inline", CB_CACHE_INLINE },
    };
    for (size_t i = 0; i < CB_COUNTOF(types); i++)
        if (!strcmp(v, types[i].name)) {
            s->type = types[i].type;
            if (!s->mount || s->type != CB_CACHE_INLINE)
                return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "%s: type=%s is not supported: registry, local%s%s", flag_of(s), v,
                        s->to && !s->mount ? ", inline" : "", instead_of(v));
}

static int set_ref(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    cb_reference_done(&s->ref);
    int r = cb_reference_parse_word(&s->ref, v, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", flag_of(s));
        return r;
    }
    if (cb_digest_is_set(&s->ref.digest) && s->to)
        return cb_error_set(err, CB_EUSAGE, "%s %s: nothing can be written under a digest", flag_of(s), v);
    if (s->mount && (s->ref.tag || cb_digest_is_set(&s->ref.digest)))
        return cb_error_set(err, CB_EUSAGE, "%s %s: name the repository alone: each cache mount has a tag of its own",
                            flag_of(s), v);
    return 0;
}

static int set_text(char **to, const char *v)
{
    free(*to);
    *to = cb_strdup(v);
    return 0;
}

static int set_mode(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    s->all_steps = !strcmp(v, "max");
    if (!s->all_steps && strcmp(v, "min"))
        return cb_error_set(err, CB_EUSAGE, "--cache-to: mode=%s is neither min nor max", v);
    return 0;
}

static int set_compression(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    int r = cb_format_parse(&s->format, v, err);
    if (r == 0 && cb_format_is_estargz(&s->format))
        r = cb_error_set(err, CB_EUSAGE, "compression=%s: a cache has the layers that steps work with", v);
    if (r < 0)
        cb_error_wrap(err, "--cache-to");
    s->compression_set = r == 0;
    return r;
}

static int set_level(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    int r = cb_format_parse_level(&s->format, v, err);
    if (r < 0)
        cb_error_wrap(err, "--cache-to");
    return r;
}

/* What has only one value here: an OCI manifest with OCI media types, blobs as the image has them. */
static int set_fixed(const struct cb_cache_spec *s, const char *key, const char *v, struct cb_error *err)
{
    static const struct { const char *key; bool value; } fixed[] = {
        { "image-manifest", true }, { "oci-mediatypes", true }, { "force-compression", false },
    };
    bool b = false;
    for (size_t i = 0; i < CB_COUNTOF(fixed); i++) {
        if (strcmp(key, fixed[i].key))
            continue;
        if (parse_bool(v, &b) < 0 || b != fixed[i].value)
            return cb_error_set(err, CB_EUSAGE, "%s: %s=%s is not supported, only %s", flag_of(s), key, v,
                                fixed[i].value ? "true" : "false");
        return 0;
    }
    return cb_error_set(err, CB_EUSAGE, "%s: \"%s\" is not supported", flag_of(s), key);
}

static int set_ignore(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    if (parse_bool(v, &s->ignore_error) < 0)
        return cb_error_set(err, CB_EUSAGE, "%s: ignore-error=%s is neither true nor false", flag_of(s), v);
    return 0;
}

static int set_claim(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    bool claim = true;
    if (parse_bool(v, &claim) < 0)
        return cb_error_set(err, CB_EUSAGE, "--cache-to: claim=%s is neither true nor false", v);
    s->no_claim = !claim;
    return 0;
}

static int set_claim_wait(struct cb_cache_spec *s, const char *v, struct cb_error *err)
{
    if (!cb_duration_parse(v, &s->claim_wait) || s->claim_wait < 0)
        return cb_error_set(err, CB_EUSAGE, "--cache-to: claim-wait=%s is no duration: 30m, 0s", v);
    return 0;
}

/* Those of one direction only. 1: it is none of them. */
static int set_directed(struct cb_cache_spec *s, const char *key, const char *v, struct cb_error *err)
{
    if (!s->to)
        return !strcmp(key, "src") ? set_text(&s->path, v) : !strcmp(key, "verify-key") ? set_text(&s->key_file, v) : 1;
    if (!strcmp(key, "dest"))
        return set_text(&s->path, v);
    if (!strcmp(key, "sign-key"))
        return set_text(&s->key_file, v);
    if (!strcmp(key, "ignore-error"))
        return set_ignore(s, v, err);
    if (s->mount)
        return 1;
    if (!strcmp(key, "mode"))
        return set_mode(s, v, err);
    if (!strcmp(key, "claim"))
        return set_claim(s, v, err);
    if (!strcmp(key, "claim-wait"))
        return set_claim_wait(s, v, err);
    if (!strcmp(key, "compression"))
        return set_compression(s, v, err);
    return !strcmp(key, "compression-level") ? set_level(s, v, err) : 1;
}

static int set_field(struct cb_cache_spec *s, const char *key, const char *v, struct cb_error *err)
{
    if (!strcmp(key, "type"))
        return set_type(s, v, err);
    if (!strcmp(key, "ref"))
        return set_ref(s, v, err);
    if (!strcmp(key, "tag") && !s->mount)
        return set_text(&s->tag, v);
    int r = set_directed(s, key, v, err);
    if (r == 1 && s->mount)
        return cb_error_set(err, CB_EUSAGE, "%s: \"%s\" is not supported: type, %s", flag_of(s), key,
                            s->to ? "ref or dest, sign-key, ignore-error" : "ref or src, verify-key");
    return r == 1 ? set_fixed(s, key, v, err) : r;
}

static int take_fields(struct cb_cache_spec *s, struct cb_strvec *seen, struct cb_error *err)
{
    struct cb_strbuf field cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (const char *p = s->text; *p;) {
        p = cb_csv_next(p, &field);
        char *eq = p ? strchr(field.buf, '=') : NULL;
        if (!eq)
            return cb_error_set(err, CB_EUSAGE, "%s %s: write type=TYPE,KEY=VALUE,… or the name of a repository",
                                flag_of(s), s->text);
        *eq = '\0';
        if (cb_strvec_has(seen, field.buf))
            return cb_error_set(err, CB_EUSAGE, "%s %s: %s= stands there twice", flag_of(s), s->text, field.buf);
        cb_strvec_push(seen, field.buf);
        int r = set_field(s, field.buf, eq + 1, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int check(const struct cb_cache_spec *s, const struct cb_strvec *seen, struct cb_error *err)
{
    const char *path = s->to ? "dest" : "src";
    if (!cb_strvec_has(seen, "type"))
        return cb_error_set(err, CB_EUSAGE, "%s %s: type= is missing", flag_of(s), s->text);
    if (s->type == CB_CACHE_INLINE && !s->to)
        return cb_error_set(err, CB_EUSAGE, "--cache-from %s: an inline cache is read by type=registry,ref=IMAGE",
                            s->text);
    if (s->type == CB_CACHE_INLINE && (s->all_steps || s->key_file))
        return cb_error_set(err, CB_EUSAGE, "--cache-to %s: an inline cache is mode=min, without sign-key", s->text);
    if ((s->type == CB_CACHE_REGISTRY) != cb_strvec_has(seen, "ref"))
        return cb_error_set(err, CB_EUSAGE, "%s %s: ref= is for type=registry, and has to be there", flag_of(s),
                            s->text);
    if ((s->type == CB_CACHE_LOCAL) != (s->path && *s->path))
        return cb_error_set(err, CB_EUSAGE, "%s %s: %s= is for type=local, and has to be there", flag_of(s), s->text,
                            path);
    if (s->tag && (s->type != CB_CACHE_LOCAL || !cb_reference_valid_tag(s->tag)))
        return cb_error_set(err, CB_EUSAGE, "%s %s: tag= is a tag, and for type=local", flag_of(s), s->text);
    if (s->key_file && !*s->key_file)
        return cb_error_set(err, CB_EUSAGE, "%s %s: the key needs a file", flag_of(s), s->text);
    return 0;
}

static int parse(struct cb_cache_spec *out, const char *text, struct cb_error *err)
{
    struct cb_strvec seen cb_cleanup_strvec = CB_STRVEC_INIT;
    out->text = cb_strdup(text);
    out->format.level = CB_LEVEL_DEFAULT;
    out->claim_wait = CB_CACHE_CLAIM_WAIT;
    if (!*text)
        return cb_error_set(err, CB_EUSAGE, "%s is empty", flag_of(out));
    if (!strchr(text, '='))
        return set_ref(out, text, err);
    int r = take_fields(out, &seen, err);
    return r < 0 ? r : check(out, &seen, err);
}

int cb_cache_spec_parse(struct cb_cache_spec *out, const char *text, bool to, struct cb_error *err)
{
    *out = (struct cb_cache_spec){ .to = to };
    return parse(out, text, err);
}

int cb_cache_mount_spec_parse(struct cb_cache_spec *out, const char *text, bool to, struct cb_error *err)
{
    *out = (struct cb_cache_spec){ .to = to, .mount = true };
    return parse(out, text, err);
}
