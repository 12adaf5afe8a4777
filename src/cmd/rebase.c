/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_session.h"
#include "util/alloc.h"

struct rebase_options {
    struct cb_common common;
    struct cb_strvec platforms;
    const char *tag, *old_base, *new_base;
    bool json;
};
#define AT(field) offsetof(struct rebase_options, field)

struct rebasing {
    const struct rebase_options *o;
    struct cb_edit_session *e;
    const char *created;
};

static const char *annotation(const struct cb_edit_draft *d, const char *key)
{
    return cb_strmap_get(&d->old->image.manifest.annotations, key);
}

/* What was built on: as the annotations of the image say, NAME at the digest that it had then. */
static int old_base(const struct rebasing *b, const struct cb_edit_draft *d, char **out, struct cb_error *err)
{
    const char *name = annotation(d, CB_ANN_BASE_NAME), *digest = annotation(d, CB_ANN_BASE_DIGEST);
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (b->o->old_base) {
        *out = cb_strdup(b->o->old_base);
        return 0;
    }
    if (!name || !digest)
        return cb_error_set(err, CB_EUSAGE, "the image does not say what it is based on (annotations " CB_ANN_BASE_NAME
                                            " and .digest): say --old-base");
    int r = cb_reference_parse(&ref, name, err);
    if (r == 0)
        r = cb_digest_parse(&ref.digest, digest, err);
    if (r == 0)
        *out = cb_reference_text(&ref);
    return r;
}

static int new_base(const struct rebasing *b, const struct cb_edit_draft *d, char **out, struct cb_error *err)
{
    const char *name = b->o->new_base ? b->o->new_base : annotation(d, CB_ANN_BASE_NAME);
    if (!name)
        return cb_error_set(err, CB_EUSAGE, "the image does not say what it is based on: say --new-base");
    *out = cb_strdup(name);
    return 0;
}

static int open_base(const struct rebasing *b, const char *text, const struct cb_platform *platform,
                     struct cb_edit_source *source, struct cb_edit_image *image, struct cb_error *err)
{
    int r = cb_edit_session_source(b->e, text, source, err);
    if (r == 0 && source->stored)
        return cb_error_set(err, CB_EUSAGE, "%s: a base is taken from a registry", text);
    return r < 0 ? r : cb_edit_image_open(source, platform->arch ? platform : NULL, image, err);
}

/* Docker's format has no place for it. */
static void say_base(struct cb_edit_draft *d, const struct cb_edit_source *now, const struct cb_edit_image *image)
{
    struct cb_reference name cb_cleanup_reference = { .host = cb_strdup(now->ref.host),
                                                      .repo = cb_strdup(now->ref.repo),
                                                      .tag = cb_strdup_or_null(now->ref.tag) };
    char digest[CB_DIGEST_TEXT_MAX];
    cb_autofree char *text = cb_reference_text(&name);
    if (cb_mt_is_docker(d->old->doc.desc.media_type))
        return;
    cb_edit_annotate(d->manifest, CB_ANN_BASE_NAME, text);
    cb_edit_annotate(d->manifest, CB_ANN_BASE_DIGEST, cb_digest_text(&image->doc.desc.digest, digest));
}

static int rebase_image(void *arg, struct cb_edit_draft *d, struct cb_error *err)
{
    const struct rebasing *b = arg;
    struct cb_edit_source old_source cb_cleanup_edit_source = { 0 }, now_source cb_cleanup_edit_source = { 0 };
    struct cb_edit_image old cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    struct cb_edit_image now cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    const struct cb_platform *platform = &d->old->image.config.platform;
    cb_autofree char *from = NULL, *to = NULL;
    int r = old_base(b, d, &from, err);
    if (r == 0)
        r = new_base(b, d, &to, err);
    if (r == 0)
        r = open_base(b, from, platform, &old_source, &old, err);
    if (r == 0)
        r = open_base(b, to, platform, &now_source, &now, err);
    struct cb_edit_base base = { .now_source = &now_source, .old = &old, .now = &now, .created = b->created };
    if (r == 0)
        r = cb_edit_rebase(d, &base, err);
    if (r == 0)
        say_base(d, &now_source, &now);
    return r;
}

static int rebase(const struct cb_process *p, const struct rebase_options *o, const char *text, struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct rebasing b = { .o = o, .e = &e };
    struct cb_edit_request q = { .text = text, .tag = o->tag, .platforms = &o->platforms, .json = o->json };
    struct cb_edit_rewrite w = { .image = rebase_image, .arg = &b };
    cb_autofree char *created = NULL;
    int r = cb_edit_created(&created, err);
    b.created = created;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Rebasing", err);
    return r < 0 ? r : cb_edit_session_rewrite(&e, &q, &w, err);
}

static int run_rebase(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct rebase_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = rebase(p, &o, a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.platforms);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt rebase_table[] = {
    { "old-base", 0, CB_OPT_STRING, AT(old_base), "IMAGE",
      "what it stands on; default: its annotations " CB_ANN_BASE_NAME " and .digest", NULL },
    { "new-base", 0, CB_OPT_STRING, AT(new_base), "IMAGE", "what it is put on; default: what " CB_ANN_BASE_NAME
      " stands for now", NULL },
    { "old_base", 0, CB_OPT_STRING, AT(old_base), "IMAGE", NULL, NULL },
    { "new_base", 0, CB_OPT_STRING, AT(new_base), "IMAGE", NULL, NULL },
    CB_OPT_EDIT_TAG(rebase_options),
    CB_OPT_EDIT_PLATFORMS(rebase_options),
    CB_OPT_EDIT_JSON(rebase_options),
    CB_OPT_EDIT(rebase_options),
};

const struct cb_verb cb_verb_rebase = {
    .name = "rebase",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "put an image in a registry on another base image",
    .operands = "[OPTIONS] REF",
    .details = "Layers and history of the old base are replaced by those of the new one. Where the layers of the old\n"
               "base are not the lowest ones of the image nothing is done. The configuration stays that of the image,\n"
               "but for the platform. Whether the programs still fit is not looked at. No layer is fetched where the\n"
               "registry can mount it.",
    .options = rebase_table,
    .run = run_rebase,
};
