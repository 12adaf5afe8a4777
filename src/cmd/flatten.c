/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_session.h"

struct flatten_options {
    struct cb_common common;
    struct cb_strvec platforms;
    const char *tag;
    bool json;
};

static int flatten_image(void *created, struct cb_edit_draft *d, struct cb_error *err)
{
    return cb_edit_flatten(d, created, err);
}

static int flatten(const struct cb_process *p, const struct flatten_options *o, const char *text,
                   struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_edit_request q = { .text = text, .tag = o->tag, .platforms = &o->platforms, .json = o->json };
    struct cb_edit_rewrite w = { .image = flatten_image };
    cb_autofree char *created = NULL;
    int r = cb_edit_created(&created, err);
    w.arg = created;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Flattening", err);
    return r < 0 ? r : cb_edit_session_rewrite(&e, &q, &w, err);
}

static int run_flatten(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                       int *status CB_UNUSED, struct cb_error *err)
{
    struct flatten_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = flatten(p, &o, a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.platforms);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt flatten_table[] = {
    CB_OPT_EDIT_TAG(flatten_options),
    CB_OPT_EDIT_PLATFORMS(flatten_options),
    CB_OPT_EDIT_JSON(flatten_options),
    CB_OPT_EDIT(flatten_options),
};

const struct cb_verb cb_verb_flatten = {
    .name = "flatten",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "make the layers of an image in a registry one",
    .operands = "[OPTIONS] REF",
    .details = "What upper layers have deleted or replaced is gone then. An image of one layer stays as it is. The\n"
               "history becomes one entry, with the old one as its comment.",
    .options = flatten_table,
    .run = run_flatten,
};
