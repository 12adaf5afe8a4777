/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/remote.h"
#include "util/alloc.h"

struct delete_options {
    struct cb_common common;
    bool json;
};
#define AT(field) offsetof(struct delete_options, field)

/* Where both stand there, it is not said which of the two acts is meant. */
static int delete(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct delete_options *o = options;
    bool digest = cb_digest_is_set(&x->ref.digest);
    if (digest && x->ref.tag)
        return cb_error_set(err, CB_EUSAGE,
                            "write either the tag (it alone is deleted) or the digest (with it all its tags)");
    int r = digest ? cb_registry_manifest_delete(x->s.registry, &x->ref, err)
                   : cb_registry_tag_delete(x->s.registry, &x->ref, err);
    if (r == 0 && o->json)
        cb_print_deleted(&x->ref);
    return r;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct delete_options o = { .common = CB_COMMON_INIT };
    struct cb_remote_call c = { .verb = self, .argc = argc, .argv = argv, .options = &o, .common = &o.common };
    c.kind = CB_REMOTE_EXACT;
    c.run = delete;
    return cb_remote_call(p, &c, err);
}

static const struct cb_opt table[] = {
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "an object: what was deleted", NULL },
    CB_OPT_REMOTE(delete_options),
    CB_OPT_END,
};

const struct cb_verb cb_verb_delete = {
    .name = "delete",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "delete one tag, never its siblings; or, by its digest, a manifest",
    .operands = "[OPTIONS] REPOSITORY:TAG|REPOSITORY@DIGEST",
    .details =
        "Where the registry cannot delete a tag, the tag is moved to an empty manifest and that is deleted; what the\n"
        "tag pointed to stays, with its other tags. With a manifest go all tags that point to it.",
    .options = table,
    .run = run,
};
