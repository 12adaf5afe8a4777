/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/session.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/limits.h"
#include "util/timeutil.h"

struct inspect_options {
    struct cb_common common;
    const char *platform;
    bool raw, config, no_trunc;
};
#define AT(field) offsetof(struct inspect_options, field)

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

static int load(struct cb_session *s, const char *what, const struct inspect_options *o, struct found *f,
                struct cb_error *err)
{
    struct cb_platform p cb_cleanup_platform = { 0 };
    int r = o->platform ? cb_platform_parse(&p, o->platform, err) : 0;
    if (r == 0)
        r = cb_store_find(s->store, what, &f->desc, &f->name, err);
    if (r < 0 || (o->raw && !o->platform))
        return r;
    r = cb_image_load(s->store, &f->desc, o->platform ? &p : NULL, &f->image, err);
    return r < 0 && !o->platform ? cb_error_wrap(err, "%s (--platform chooses another)", what) : r;
}

static int print_blob(struct cb_session *s, const struct cb_digest *d, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_store_blob_get(s->store, d, CB_MAX_MANIFEST, &body, err);
    if (r == 0)
        fwrite(body.buf, 1, body.len, stdout);
    return r;
}

static json_t *blob_json(struct cb_session *s, const struct cb_digest *d)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_store_blob_get(s->store, d, CB_MAX_MANIFEST, &body, NULL) < 0)
        return json_null();
    json_t *j = cb_json_parse(body.buf, body.len, NULL);
    return j ? j : json_null();
}

static void inspect(struct cb_session *s, const struct found *f)
{
    const struct cb_image *i = &f->image;
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    uint64_t size = i->manifest.config.size;
    cb_autojson json_t *o = json_object();
    for (size_t k = 0; k < i->manifest.n_layers; k++)
        size += i->manifest.layers[k].size;
    if (f->name)
        json_object_set_new(o, "Name", json_string(f->name));
    json_object_set_new(o, "Digest", json_string(cb_digest_text(&f->desc.digest, text)));
    if (cb_mt_is_index(f->desc.media_type))
        json_object_set_new(o, "Index", blob_json(s, &f->desc.digest));
    json_object_set_new(o, "Id", json_string(cb_digest_text(&i->manifest.config.digest, text)));
    json_object_set_new(o, "Size", json_integer((json_int_t)size));
    json_object_set_new(o, "Manifest", blob_json(s, &i->desc.digest));
    json_object_set_new(o, "Config", blob_json(s, &i->manifest.config.digest));
    cb_json_print_pretty(&out, o);
    fputs(out.buf, stdout);
}

static int run_inspect(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                       int *status CB_UNUSED, struct cb_error *err)
{
    struct inspect_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct found f CB_CLEANUP(found_done) = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = cb_session_store(&s, p, &o.common, err);
    if (r == 0 && !a.done)
        r = load(&s, a.operands.v[0], &o, &f, err);
    if (r == 0 && !a.done && o.raw)
        r = print_blob(&s, o.platform ? &f.image.desc.digest : &f.desc.digest, err);
    else if (r == 0 && !a.done && o.config)
        r = print_blob(&s, &f.image.manifest.config.digest, err);
    else if (r == 0 && !a.done)
        inspect(&s, &f);
    cb_strvec_done(&a.operands);
    return r;
}

static const struct cb_opt inspect_table[] = {
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    { "raw", 0, CB_OPT_FLAG, AT(raw), NULL, "the manifest (of an index the index, without --platform), byte for byte",
      NULL },
    { "config", 0, CB_OPT_FLAG, AT(config), NULL, "the image configuration, byte for byte", NULL },
    CB_OPT_COMMON_STORE(inspect_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_inspect = {
    .name = "inspect",
    .summary = "show an image of the store as JSON",
    .operands = "[OPTIONS] IMAGE",
    .options = inspect_table,
    .run = run_inspect,
};

/* ---- history ---- */

static void history_row(const struct cb_history *h, const char *size, bool whole)
{
    struct cb_strbuf age cb_cleanup_strbuf = CB_STRBUF_INIT, by cb_cleanup_strbuf = CB_STRBUF_INIT;
    int64_t created;
    const char *text = h->created_by ? h->created_by : "";
    if (h->created && cb_time_parse(h->created, &created))
        cb_time_format_ago(&age, created, cb_time_now());
    cb_strbuf_add_sanitized(&by, text, strlen(text), false);
    if (!whole && by.len > 60) {
        cb_strbuf_setlen(&by, 57);
        cb_strbuf_adds(&by, "...");
    }
    printf("%-18s  %-60s  %s\n", age.buf, by.buf, size);
}

static void history(const struct cb_image *i, bool whole)
{
    size_t layer = i->manifest.n_layers;
    printf("%-18s  %-60s  %s\n", "CREATED", "CREATED BY", "SIZE");
    for (size_t k = i->config.n_history; k-- > 0;) {
        const struct cb_history *h = &i->config.history[k];
        bool has = !h->empty_layer && layer > 0;
        cb_autofree char *size = has ? cb_size_text(i->manifest.layers[--layer].size) : cb_strdup("0B");
        history_row(h, size, whole);
    }
}

static int run_history(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                       int *status CB_UNUSED, struct cb_error *err)
{
    struct inspect_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct found f CB_CLEANUP(found_done) = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = cb_session_store(&s, p, &o.common, err);
    if (r == 0 && !a.done)
        r = load(&s, a.operands.v[0], &o, &f, err);
    if (r == 0 && !a.done)
        history(&f.image, o.no_trunc);
    cb_strvec_done(&a.operands);
    return r;
}

static const struct cb_opt history_table[] = {
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    { "no-trunc", 0, CB_OPT_FLAG, AT(no_trunc), NULL, "whole lines", NULL },
    CB_OPT_COMMON_STORE(inspect_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_history = {
    .name = "history",
    .summary = "show how an image of the store came about",
    .operands = "[OPTIONS] IMAGE",
    .options = history_table,
    .run = run_history,
};
