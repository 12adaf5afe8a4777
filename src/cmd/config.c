/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/remote.h"
#include "util/alloc.h"

struct config_options {
    struct cb_common common;
    const char *platform, *output;
};
#define AT(field) offsetof(struct config_options, field)

static int config(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct config_options *o = options;
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_remote_manifest(x, o->platform ? o->platform : "local", &f, err);
    if (r == 0)
        r = cb_manifest_parse(&m, f.body.buf, f.body.len, f.desc.media_type, err);
    if (r == 0)
        r = cb_remote_config(x, &m, &body, err);
    return r < 0 ? r : cb_remote_write(o->output, body.buf, body.len, err);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct config_options o = { .common = CB_COMMON_INIT };
    struct cb_remote_call c = { .verb = self, .argc = argc, .argv = argv, .options = &o, .common = &o.common };
    c.run = config;
    return cb_remote_call(p, &c, err);
}

static const struct cb_opt table[] = {
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    { "output", 'o', CB_OPT_STRING, AT(output), "FILE", "write it there", NULL },
    CB_OPT_REMOTE(config_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_config = {
    .name = "config",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "print the configuration of an image, byte for byte",
    .operands = "[OPTIONS] REFERENCE",
    .options = table,
    .run = run,
};
