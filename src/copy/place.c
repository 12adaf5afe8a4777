/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"
#include "util/alloc.h"

void cb_place_done(struct cb_place *p)
{
    cb_reference_done(&p->ref);
    free(p->path);
    free(p->name);
    free(p->text);
    *p = (struct cb_place){ 0 };
}

static const struct {
    const char *prefix;
    enum cb_transport transport;
} transports[] = {
    { "docker://", CB_AT_REGISTRY },           { "oci:", CB_AT_OCI_DIR },
    { "oci-archive:", CB_AT_OCI_ARCHIVE },     { "docker-archive:", CB_AT_DOCKER_ARCHIVE },
    { "store:", CB_AT_STORE },                 { "dir:", CB_AT_DIR },
};

const char *cb_place_prefix(size_t i, enum cb_transport *transport)
{
    if (i >= CB_COUNTOF(transports))
        return NULL;
    *transport = transports[i].transport;
    return transports[i].prefix;
}

/* Of other programs, or nearly ours. */
static const struct {
    const char *prefix, *remedy;
} foreign[] = {
    { "containers-storage:", "podman's storage is not read here: `podman save --format oci-archive`, then "
                             "oci-archive:FILE; cbpush's own images are store:NAME" },
    { "docker-daemon:", "there is no daemon here: `docker save`, then docker-archive:FILE" },
    { "oci-layout:", "write oci:DIR[:TAG]" },
    { "oci-dir:", "write oci:DIR[:TAG]" },
    { "docker:", "write docker://HOST/REPO:TAG" },
    { "tarball:", "not known here; `cbpush build` makes images from files" },
    { "ostree:", "not known here" },
    { "sif:", "not known here" },
    { "http://", "write HOST/REPO:TAG, and --insecure-registry HOST for plain HTTP" },
    { "https://", "write HOST/REPO:TAG" },
};

/* org.opencontainers.image.ref.name: image-spec annotations.md. */
static bool valid_name(const char *s)
{
    static const char more[] = "-._:@/+";
    for (const char *p = s; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr(more, *p)))
            return false;
    return *s && strlen(s) <= CB_MAX_REFERENCE;
}

/* PATH[:NAME][@DIGEST]: the path ends at the first colon, as skopeo has it. */
static int parse_path(struct cb_place *p, const char *text, struct cb_error *err)
{
    cb_autofree char *path = cb_strdup(text);
    char *at = strrchr(path, '@');
    if (at && (cb_starts_with(at, "@sha256:") || cb_starts_with(at, "@sha512:"))) {
        *at = '\0';
        if (cb_digest_parse(&p->digest, at + 1, err) < 0)
            return cb_error_set(err, CB_EUSAGE, "%s: %s", p->text, cb_error_text(err));
    }
    char *colon = strchr(path, ':');
    if (colon) {
        *colon = '\0';
        if (!valid_name(colon + 1))
            return cb_error_set(err, CB_EUSAGE, "%s: \"%s\" is no name of an image; write PATH[:NAME]", p->text,
                                colon + 1);
        p->name = cb_strdup(colon + 1);
    }
    if (!*path)
        return cb_error_set(err, CB_EUSAGE, "%s: the path is missing", p->text);
    p->path = CB_TAKE(path);
    return 0;
}

static int parse_docker_archive(struct cb_place *p, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (!p->name)
        return 0;
    int r = cb_reference_parse(&ref, p->name, err);
    if (r < 0)
        return cb_error_set(err, CB_EUSAGE, "%s: %s", p->text, cb_error_text(err));
    cb_reference_default_tag(&ref);
    free(p->name);
    p->name = cb_reference_text(&ref);
    return 0;
}

static int parse_rest(struct cb_place *p, const char *rest, struct cb_error *err)
{
    if (p->transport == CB_AT_REGISTRY)
        return cb_reference_parse_word(&p->ref, rest, err);
    if (p->transport == CB_AT_STORE) {
        p->path = cb_strdup(rest);
        return *rest ? 0 : cb_error_set(err, CB_EUSAGE, "store: needs the name of an image");
    }
    if (p->transport == CB_AT_DIR) {
        p->path = cb_strdup(rest);
        return *rest ? 0 : cb_error_set(err, CB_EUSAGE, "dir: needs a path");
    }
    int r = parse_path(p, rest, err);
    return r == 0 && p->transport == CB_AT_DOCKER_ARCHIVE ? parse_docker_archive(p, err) : r;
}

static int parse(struct cb_place *p, const char *text, struct cb_error *err)
{
    for (size_t i = 0; i < CB_COUNTOF(transports); i++)
        if (cb_starts_with(text, transports[i].prefix)) {
            p->transport = transports[i].transport;
            return parse_rest(p, text + strlen(transports[i].prefix), err);
        }
    for (size_t i = 0; i < CB_COUNTOF(foreign); i++)
        if (cb_starts_with(text, foreign[i].prefix))
            return cb_error_set(err, CB_EUSAGE, "%s: %s", text, foreign[i].remedy);
    p->transport = CB_AT_REGISTRY;
    return parse_rest(p, text, err);
}

int cb_place_parse(struct cb_place *out, const char *text, struct cb_error *err)
{
    struct cb_place p = { .text = cb_strdup(text) };
    int r = parse(&p, text, err);
    if (r < 0)
        cb_place_done(&p);
    *out = p;
    return r;
}

char *cb_place_target_tag(const struct cb_place *p)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (p->transport == CB_AT_OCI_DIR || p->transport == CB_AT_OCI_ARCHIVE)
        return cb_strdup_or_null(p->name);
    if (p->transport == CB_AT_REGISTRY)
        cb_reference_copy(&ref, &p->ref);
    else if (cb_reference_parse(&ref, p->transport == CB_AT_STORE ? p->path : p->name ? p->name : "", NULL) < 0)
        return NULL;
    cb_reference_default_tag(&ref);
    return cb_strdup_or_null(ref.tag);
}

char *cb_place_text(const struct cb_place *p, const char *tag)
{
    static const char *const word[] = { "", "oci:", "oci-archive:", "docker-archive:", "store:", "dir:" };
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (p->transport != CB_AT_REGISTRY)
        return cb_asprintf("%s%s%s%s", word[p->transport], p->path, tag ? ":" : "", tag ? tag : "");
    cb_reference_copy(&ref, &p->ref);
    ref.digest.alg = CB_DIGEST_NONE;
    free(ref.tag);
    ref.tag = cb_strdup_or_null(tag);
    return cb_reference_text(&ref);
}
