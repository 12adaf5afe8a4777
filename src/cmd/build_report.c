/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_report.h"

#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "cmd/build_explain.h"
#include "cmd/check_print.h"
#include "cmd/release.h"
#include "cmd/session.h"
#include "oci/json.h"
#include "util/alloc.h"

static uint64_t image_size(const struct cb_image *i)
{
    uint64_t n = i->manifest.config.size;
    for (size_t k = 0; k < i->manifest.n_layers; k++)
        n += i->manifest.layers[k].size;
    return n;
}

/* ---- --metadata-file: the keys of buildx, and ours ---- */

static void put_digest(json_t *o, const char *key, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    json_object_set_new(o, key, json_string(cb_digest_text(d, text)));
}

static json_t *names_json(const struct cb_build_result *res)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = 0; i < res->n_tags; i++)
        cb_strbuf_addf(&sb, "%s%s", i ? "," : "", res->tags[i].name);
    return json_string(sb.buf);
}

static json_t *blobs_json(const struct cb_build_result *res)
{
    static const char *const how[] = { "present", "mounted", "uploaded", "copied" };
    json_t *a = json_array();
    for (size_t i = 0; i < res->n_blobs; i++) {
        json_t *o = json_object();
        put_digest(o, "digest", &res->blobs[i].digest);
        json_object_set_new(o, "size", json_integer((json_int_t)res->blobs[i].size));
        json_object_set_new(o, "outcome", json_string(how[res->blobs[i].outcome]));
        json_object_set_new(o, "sent", json_integer((json_int_t)res->blobs[i].sent));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *steps_json(const struct cb_build_result *res)
{
    json_t *a = json_array();
    for (size_t i = 0; i < res->n_step_list; i++) {
        json_t *o = json_object();
        cb_json_put(o, "name", cb_json_string(res->step_list[i].name));
        json_object_set_new(o, "cached", json_boolean(res->step_list[i].cached));
        cb_json_put_string(o, "from", res->step_list[i].from);
        json_object_set_new(o, "seconds", json_real((double)(res->step_list[i].ns / 1000000) / 1000));
        json_array_append_new(a, o);
    }
    return a;
}

/* Bytes of blobs that were sent, and of those that the registry had or took from elsewhere. */
static void put_bytes(json_t *o, const struct cb_build_result *res)
{
    static const char *const keys[] = { "cbpush.bytes.present", "cbpush.bytes.mounted", "cbpush.bytes.uploaded",
                                        "cbpush.bytes.copied" };
    uint64_t sums[CB_COUNTOF(keys)] = { 0 };
    for (size_t i = 0; i < res->n_blobs; i++)
        sums[res->blobs[i].outcome] += res->blobs[i].size;
    for (size_t i = 0; i < CB_COUNTOF(keys); i++)
        json_object_set_new(o, keys[i], json_integer((json_int_t)sums[i]));
}

/* As buildx, which is asked for them by the environment. */
static bool wants_warnings(void)
{
    const char *v = getenv("BUILDX_METADATA_WARNINGS");
    return v && (!strcmp(v, "1") || !strcasecmp(v, "t") || !strcasecmp(v, "true"));
}

/* As buildx names them: of several platforms each with its own. */
static void put_predicates(json_t *o, const struct cb_build_result *res)
{
    for (size_t i = 0; res->predicates && i < res->n_images; i++) {
        const struct cb_build_predicate *p = &res->predicates[i];
        const char *slash = res->n_images > 1 ? "/" : "";
        cb_autofree char *key = cb_asprintf("buildx.build.provenance%s%s", slash, *slash ? p->platform : "");
        json_object_set_new(o, key, json_loads(p->text, 0, NULL));
    }
}

static int write_metadata(const struct cb_report *r, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *o = json_object();
    const struct cb_build_result *res = r->res;
    if (res->n_images == 1)
        put_digest(o, "containerimage.config.digest", &res->images[0].manifest.config.digest);
    json_object_set_new(o, "containerimage.descriptor", cb_descriptor_to_json(&res->desc));
    put_digest(o, "containerimage.digest", &res->desc.digest);
    if (res->joined.media_type)
        json_object_set_new(o, "cbpush.joined", cb_descriptor_to_json(&res->joined));
    if (res->n_tags)
        json_object_set_new(o, "image.name", names_json(res));
    if (res->dockerfile && res->dockerfile->n_warnings && wants_warnings())
        json_object_set_new(o, "buildx.build.warnings", cb_warnings_json(res->dockerfile));
    put_predicates(o, res);
    json_object_set_new(o, "cbpush.steps", json_integer(res->steps));
    json_object_set_new(o, "cbpush.cached", json_integer(res->cached));
    json_object_set_new(o, "cbpush.pushed", blobs_json(res));
    json_object_set_new(o, "cbpush.timings", steps_json(res));
    put_bytes(o, res);
    if (r->explain)
        json_object_set_new(o, "cbpush.explain", build_explain_json(res));
    cb_json_put_string(o, "cbpush.compressor", res->engine);
    cb_json_print_pretty(&sb, o);
    return cb_report_write_n(r->metadata_file, sb.buf, sb.len, err);
}

/* ---- the summary ---- */

static void print_pushed(const struct cb_build_result *res)
{
    uint64_t sent = 0;
    unsigned n[4] = { 0 };
    for (size_t i = 0; i < res->n_blobs; i++) {
        n[res->blobs[i].outcome]++;
        sent += res->blobs[i].sent;
    }
    cb_autofree char *size = cb_size_text(sent);
    if (res->was_current)
        fprintf(stderr, "pushed  nothing to do: the registry has this image under every name\n");
    else if (res->n_blobs)
        fprintf(stderr, "pushed  %u uploaded (%s), %u mounted, %u copied, %u already there\n",
                n[CB_BLOB_UPLOADED], size, n[CB_BLOB_MOUNTED], n[CB_BLOB_COPIED], n[CB_BLOB_PRESENT]);
}

/* One line an image of an index. */
static void print_platforms(const struct cb_build_result *res, const struct cb_platform *asked)
{
    for (size_t i = 0; i < res->n_images; i++) {
        struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
        char digest[CB_DIGEST_TEXT_MAX];
        const struct cb_image *image = &res->images[i];
        cb_autofree char *size = cb_size_text(image_size(image));
        cb_strbuf_add_platform(&platform, asked ? &asked[i] : &image->config.platform);
        fprintf(stderr, "platform %-14s %s, %s in %zu layer%s\n", platform.buf,
                cb_digest_text(&image->desc.digest, digest), size, image->manifest.n_layers,
                image->manifest.n_layers == 1 ? "" : "s");
    }
}

/* NAME@DIGEST, whatever tag NAME has. */
static void print_pinned(const char *name, const struct cb_digest *d)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_reference_parse(&ref, name, NULL) < 0)
        return;
    const struct cb_reference pinned = { .host = ref.host, .repo = ref.repo, .digest = *d };
    cb_strbuf_add_reference(&text, &pinned);
    fprintf(stderr, "name    %s\n", text.buf);
}

static void print_summary(const struct cb_report *r)
{
    const struct cb_build_result *res = r->res;
    char digest[CB_DIGEST_TEXT_MAX];
    fprintf(stderr, "\ndigest  %s\n", cb_digest_text(&res->desc.digest, digest));
    if (res->n_images == 1 && cb_mt_is_index(res->desc.media_type))
        fprintf(stderr, "image   %s\n", cb_digest_text(&res->images[0].desc.digest, digest));
    if (res->n_images == 1) {
        cb_autofree char *size = cb_size_text(image_size(&res->images[0]));
        fprintf(stderr, "size    %s in %zu layer%s\n", size, res->images[0].manifest.n_layers,
                res->images[0].manifest.n_layers == 1 ? "" : "s");
    } else {
        print_platforms(res, r->platforms);
    }
    if (res->steps)
        fprintf(stderr, "steps   %u, %u of them cached\n", res->steps, res->cached);
    for (size_t i = 0; i < res->n_tags; i++) {
        const struct cb_build_tag *t = &res->tags[i];
        if (!t->by_digest)
            fprintf(stderr, "name    %s\n", t->name);
        if (t->canonical || (t->by_digest && t->pushed))
            print_pinned(t->name, &res->desc.digest);
    }
    if (res->joined.media_type)
        fprintf(stderr, "index   %s\n", cb_digest_text(&res->joined.digest, digest));
    print_pushed(res);
}

int cb_report_success(const struct cb_report *r, struct cb_error *err)
{
    char id[CB_DIGEST_TEXT_MAX];
    const struct cb_build_result *res = r->res;
    const struct cb_digest *d = res->n_images == 1 ? &res->images[0].manifest.config.digest : &res->desc.digest;
    const char *text = cb_digest_text(d, id);
    int e = 0;
    if (r->iidfile)
        e = cb_report_write_n(r->iidfile, text, strlen(text), err);
    if (e == 0 && r->results)
        e = result_files_write(r->results, r->res, err);
    if (e == 0 && r->metadata_file)
        e = write_metadata(r, err);
    if (e == 0)
        e = receipt_write(r->receipt, res, true, err);
    if (r->print_id)
        printf("%s\n", text);
    if (!r->quiet) {
        cb_warnings_print(r->res->dockerfile, r->expand);
        print_summary(r);
    }
    if (r->tell_why)
        build_explain_print(r->res);
    return e;
}

/* What could not be written is no matter any more. */
static void write_error(const struct cb_report *r, const struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *o = json_object(), *e = json_object();
    json_object_set_new(e, "exitCode", json_integer(cb_error_exit_code(err)));
    cb_json_put(e, "message", cb_json_string(cb_error_text(err)));
    if (err->code == CB_ESTEP)
        json_object_set_new(e, "stepExitCode", json_integer(err->exit_status));
    json_object_set(o, "cbpush.error", e);
    if (r->explain)
        json_object_set_new(o, "cbpush.explain", build_explain_json(r->res));
    cb_json_print_pretty(&sb, o);
    (void)!cb_report_write_n(r->metadata_file, sb.buf, sb.len, NULL);
}

int cb_report_failure(const struct cb_report *r, int code, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (r->metadata_file)
        write_error(r, err);
    (void)!receipt_write(r->receipt, r->res, false, NULL);
    if (r->tell_why)
        build_explain_print(r->res);
    if (r->res->failed_log)
        fputs(r->res->failed_log, stderr);
    if (!r->quiet)
        cb_warnings_print(r->res->dockerfile, r->expand);
    if (r->res->dockerfile && r->res->failed.first) {
        cb_df_excerpt(&sb, r->res->dockerfile, r->res->failed, r->res->failed_trigger);
        struct cb_strbuf safe cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_add_sanitized(&safe, sb.buf, sb.len, true);
        fputs(safe.buf, stderr);
    }
    return code;
}
