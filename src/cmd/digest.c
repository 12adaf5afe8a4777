/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/remote.h"
#include "util/alloc.h"

struct digest_options {
    struct cb_common common;
    const char *platform;
    bool json, full_ref;
};

/* One HEAD, unless an index has to be read. */
static int describe(struct cb_remote *x, const char *platform, struct cb_descriptor *out, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    if (!platform)
        return cb_registry_head(x->s.registry, &x->ref, out, err);
    int r = cb_remote_manifest(x, platform, &f, err);
    if (r == 0)
        cb_descriptor_copy(out, &f.desc);
    return r;
}

static int digest(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct digest_options *o = options;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int r = describe(x, o->platform, &d, err);
    if (r == 0 && o->json)
        cb_print_json_line(cb_descriptor_to_json(&d));
    else if (r == 0) {
        if (o->full_ref)
            printf("%s/%s@", x->ref.host, x->ref.repo);
        cb_print_digest(&d.digest);
    }
    return r;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct digest_options o = { .common = CB_COMMON_INIT };
    struct cb_remote_call c = { .verb = self, .argc = argc, .argv = argv, .options = &o, .common = &o.common };
    c.run = digest;
    return cb_remote_call(p, &c, err);
}

static const struct cb_opt table[] = {
    CB_OPT_PLATFORM(digest_options),
    { "full-ref", 0, CB_OPT_FLAG, offsetof(struct digest_options, full_ref), NULL, "with host and repository", NULL },
    { "json", 0, CB_OPT_FLAG, offsetof(struct digest_options, json), NULL, "the descriptor", NULL },
    CB_OPT_REMOTE(digest_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_digest = {
    .name = "digest",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "tell which digest a reference stands for now",
    .operands = "[OPTIONS] REFERENCE",
    .options = table,
    .run = run,
};
