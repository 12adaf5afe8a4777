/* SPDX-License-Identifier: Apache-2.0 */
/* Manifests and indexes as they are, byte for byte. */
#include <stdio.h>
#include <unistd.h>

#include "cmd/remote.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/limits.h"

struct manifest_options {
    struct cb_common common;
    const char *platform, *output, *media_type;
    bool json;
};
#define AT(field) offsetof(struct manifest_options, field)

static int call(const struct cb_process *p, struct cb_remote_call *c, int argc, char **argv, struct cb_error *err)
{
    struct manifest_options o = { .common = CB_COMMON_INIT };
    c->argc = argc;
    c->argv = argv;
    c->options = &o;
    c->common = &o.common;
    return cb_remote_call(p, c, err);
}

/* ---- get ---- */

static int get(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct manifest_options *o = options;
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int r = cb_remote_manifest(x, o->platform, &f, err);
    return r < 0 ? r : cb_remote_write(o->output, f.body.buf, f.body.len, err);
}

static int run_get(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                   int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = get };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt get_table[] = {
    CB_OPT_PLATFORM(manifest_options),
    { "output", 'o', CB_OPT_STRING, AT(output), "FILE", "write it there", NULL },
    CB_OPT_REMOTE(manifest_options),
    CB_OPT_END,
};

static const struct cb_verb verb_get = {
    .name = "manifest get",
    .alias = "manifest inspect",
    .summary = "print the manifest or index, byte for byte",
    .operands = "[OPTIONS] REFERENCE",
    .options = get_table,
    .run = run_get,
};

/* ---- head ---- */

static int head(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct manifest_options *o = options;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int r = cb_registry_head(x->s.registry, &x->ref, &d, err);
    if (r == 0 && o->json)
        cb_print_json_line(cb_descriptor_to_json(&d));
    else if (r == 0)
        cb_print_digest(&d.digest);
    return r;
}

static int run_head(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                    int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = head };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt head_table[] = {
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "the descriptor: media type, digest, size", NULL },
    CB_OPT_REMOTE(manifest_options),
    CB_OPT_END,
};

static const struct cb_verb verb_head = {
    .name = "manifest head",
    .summary = "print the digest, by HEAD",
    .operands = "[OPTIONS] REFERENCE",
    .options = head_table,
    .run = run_head,
};

/* ---- put ---- */

static int read_body(const struct cb_remote *x, struct cb_strbuf *out, struct cb_error *err)
{
    const char *path = x->more->n > 1 ? x->more->v[1] : "-";
    if (strcmp(path, "-") != 0)
        return cb_file_slurp(path, CB_MAX_MANIFEST, out, err);
    struct cb_input input = { STDIN_FILENO, x->s.process->cancel };
    int r = cb_input_slurp(&input, CB_MAX_MANIFEST, out, err);
    if (r < 0)
        cb_error_wrap(err, "standard input");
    return r;
}

/* What goes into Content-Type: what the user says, else what the body says. A body of a kind that we know must be
 * whole, whoever names it. Owned. */
static int choose_type(const struct manifest_options *o, const struct cb_strbuf *body, char **out,
                       struct cb_error *err)
{
    cb_autojson json_t *j = cb_json_parse(body->buf, body->len, err);
    const char *own = json_string_value(json_object_get(j, "mediaType"));
    const char *type = o->media_type ? o->media_type : own;
    if (!j)
        return -CB_EVERIFY;
    if (!json_is_object(j))
        return cb_error_set(err, CB_EVERIFY, "it is no JSON object");
    if (o->media_type && !cb_mt_is_valid(o->media_type))
        return cb_error_set(err, CB_EUSAGE, "--media-type %s is no media type", o->media_type);
    if (type && own && strcmp(own, type) != 0)
        return cb_error_set(err, CB_EVERIFY, "--media-type %s, but it says that it is %s", type, own);
    bool known = !type || cb_mt_is_index(type) || cb_mt_is_manifest(type);
    if (known && !(type = cb_manifest_detect(body->buf, body->len, type, err)))
        return -CB_EVERIFY;
    if (!cb_mt_is_valid(type))
        return cb_error_set(err, CB_EVERIFY, "its \"mediaType\" is none");
    *out = cb_strdup(type);
    return 0;
}

static int put(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct manifest_options *o = options;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest digest = x->ref.digest;
    cb_autofree char *type = NULL;
    int r = read_body(x, &body, err);
    if (r == 0 && (r = choose_type(o, &body, &type, err)) < 0)
        cb_error_wrap(err, "%s", x->more->n > 1 ? x->more->v[1] : "standard input");
    if (r == 0)
        r = cb_registry_manifest_put(x->s.registry, &x->ref, type, (struct cb_slice){ body.buf, body.len }, err);
    if (r < 0)
        return r;
    if (!cb_digest_is_set(&digest))
        cb_digest_of(&digest, body.buf, body.len);
    struct cb_descriptor d = { .media_type = type, .digest = digest, .size = body.len };
    if (o->json)
        cb_print_json_line(cb_descriptor_to_json(&d));
    else
        cb_print_digest(&digest);
    return 0;
}

static int run_put(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                   int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = put, .more = 1 };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt put_table[] = {
    { "media-type", 't', CB_OPT_STRING, AT(media_type), "TYPE", "what it is; default: what it says itself", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "the descriptor: media type, digest, size", NULL },
    CB_OPT_REMOTE(manifest_options),
    CB_OPT_END,
};

static const struct cb_verb verb_put = {
    .name = "manifest put",
    .summary = "push a manifest from a file or standard input, as it is; prints its digest",
    .operands = "[OPTIONS] REFERENCE [FILE|-]",
    .details = "What it refers to has to be there already. A manifest with a subject is also put into the list of\n"
               "what refers to that, where the registry keeps none.",
    .options = put_table,
    .run = run_put,
};

/* ---- delete ---- */

static int delete(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct manifest_options *o = options;
    int r = cb_registry_manifest_delete(x->s.registry, &x->ref, err);
    if (r == 0 && o->json)
        cb_print_deleted(&x->ref);
    return r;
}

static int run_delete(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = delete, .kind = CB_REMOTE_DIGEST };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt delete_table[] = {
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "an object: what was deleted", NULL },
    CB_OPT_REMOTE(manifest_options),
    CB_OPT_END,
};

static const struct cb_verb verb_delete = {
    .name = "manifest delete",
    .summary = "delete a manifest, and with it every tag that points to it",
    .operands = "[OPTIONS] REPOSITORY@DIGEST",
    .details = "One tag alone is deleted by `cbpush delete`.",
    .options = delete_table,
    .run = run_delete,
};

/* ---- all of them ---- */

static const struct cb_verb *const subs[] = { &verb_get, &verb_head, &verb_put, &verb_delete, NULL };

const struct cb_verb cb_verb_manifest = {
    .name = "manifest",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "get, head, put or delete a manifest",
    .operands = "get|head|put|delete [OPTIONS] REFERENCE",
    .details = "`cbpush manifest REFERENCE` gets it.",
    .options = delete_table,
    .subs = subs,
    .run = cb_verb_run_sub,
};
