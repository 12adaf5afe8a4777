/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_apply.h"

struct append_options {
    struct cb_common common;
    struct cb_strvec platforms, layers;
    const char *tag, *base;
    bool json;
};
#define AT(field) offsetof(struct append_options, field)

/* Standard input can be read once. */
static int check_stdin(const struct cb_strvec *paths, struct cb_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < paths->n; i++)
        n += !strcmp(paths->v[i], "-");
    return n < 2 ? 0 : cb_error_set(err, CB_EUSAGE, "append: - can be written once");
}

static int append(const struct cb_process *p, const struct append_options *o, const struct cb_strvec *operands,
                  struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_edit_apply a cb_cleanup_edit_apply = { 0 };
    struct cb_edit_request run = { .text = operands->v[0], .tag = o->tag, .platforms = &o->platforms,
                                   .json = o->json };
    struct cb_strvec paths = { .v = operands->v + 1, .n = operands->n - 1 }; /* borrowed */
    cb_autofree char *created = NULL;
    int r = check_stdin(&paths, err);
    if (r == 0)
        r = cb_edit_created(&created, err);
    a.created = created;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Changing", err);
    if (r == 0)
        r = cb_edit_apply_layers(&a, &e.env, &paths, err);
    return r < 0 ? r : cb_edit_apply_run(&a, &e, &run, err);
}

/* The image, then its layers: those of crane's options first. */
static int take_operands(const struct append_options *o, const struct cb_strvec *given, struct cb_strvec *all,
                         struct cb_error *err)
{
    size_t i = 0;
    if (o->base)
        cb_strvec_push(all, o->base);
    else if (given->n)
        cb_strvec_push(all, given->v[i++]);
    for (size_t k = 0; k < o->layers.n; k++)
        cb_strvec_push(all, o->layers.v[k]);
    for (; i < given->n; i++)
        cb_strvec_push(all, given->v[i]);
    return all->n >= 2 ? 0 : cb_error_set(err, CB_EUSAGE, "append: name an image and at least one layer");
}

static int run_append(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct append_options o = { .common = CB_COMMON_INIT };
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = take_operands(&o, &a.operands, &all, err);
    if (r == 0 && !a.done)
        r = append(p, &o, &all, err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.layers);
    cb_strvec_done(&o.platforms);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt append_table[] = {
    { "base", 'b', CB_OPT_STRING, AT(base), "REF", "in the place of the first operand", NULL },
    { "new-layer", 'f', CB_OPT_LIST, AT(layers), "LAYER", "as an operand, before the others", NULL },
    { "new_layer", 0, CB_OPT_LIST, AT(layers), "LAYER", NULL, NULL },
    CB_OPT_EDIT_TAG(append_options),
    CB_OPT_EDIT_PLATFORMS(append_options),
    CB_OPT_EDIT_JSON(append_options),
    CB_OPT_EDIT(append_options),
};

const struct cb_verb cb_verb_append = {
    .name = "append",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "put layers on top of an image in a registry",
    .operands = "[OPTIONS] REF LAYER…",
    .details = "LAYER is a tar: by gzip or zstd it is taken as it is, a plain one is compressed by gzip; - is\n"
               "standard input. Names that begin with .wh. are whiteouts. The image's own layers are not fetched.",
    .options = append_table,
    .run = run_append,
};
