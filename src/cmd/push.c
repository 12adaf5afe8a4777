/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/build_report.h"
#include "cmd/release.h"
#include "cmd/session.h"
#include "util/alloc.h"

struct push_options {
    struct cb_common common;
    const char *digest_file;
    struct release_options release;
    bool quiet;
};

#define AT(field) offsetof(struct push_options, field)
static const struct cb_opt options[] = {
    { "digestfile", 0, CB_OPT_STRING, AT(digest_file), "FILE", "write the manifest's digest there", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "no progress", NULL },
    CB_OPT_COMMON_PROGRESS(push_options),
    CB_OPT_COMMON_REGISTRY(push_options),
    CB_OPT_COMMON_RETRY(push_options),
    CB_OPT_COMMON_PUSH(push_options),
    CB_OPT_COMMON_STORE(push_options),
    CB_OPT_END,
};
static const struct cb_opt_group groups[] = {
    CB_OPT_GROUP_RELEASE(AT(release)),
    { NULL, NULL, 0 },
};

/* For the report. */
static void take_images(struct cb_image_tree *tree, struct cb_build_result *res)
{
    res->images = cb_calloc(tree->n, sizeof *res->images);
    for (size_t i = 0; i < tree->n; i++)
        if (tree->v[i].is_image) {
            res->images[res->n_images++] = tree->v[i].image;
            tree->v[i].image = (struct cb_image){ 0 };
        }
}

struct targets {
    struct cb_reference *v;
    size_t n;
};

static void targets_done(struct targets *t)
{
    for (size_t i = 0; i < t->n; i++)
        cb_reference_done(&t->v[i]);
    free(t->v);
}

static int report(const struct push_options *o, struct cb_build_result *res, struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    struct cb_report rep = { .res = res, .quiet = o->quiet, .receipt = o->release.receipt };
    int r = cb_report_success(&rep, err);
    printf("%s\n", cb_digest_text(&res->desc.digest, digest));
    return r == 0 && o->digest_file ? cb_report_write(o->digest_file, digest, err) : r;
}

static int push_image(struct cb_session *s, const struct push_options *o, const char *name, const struct targets *t,
                      struct cb_error *err)
{
    struct cb_image_tree tree cb_cleanup_image_tree = { 0 };
    struct cb_build_result res = { 0 };
    struct cb_push_tree_options po = { t->v, t->n, release_policy(&o->release) };
    int r = cb_store_find(s->store, name, &res.desc, NULL, err);
    if (r == 0)
        r = cb_image_tree_load(s->store, &res.desc, &tree, err);
    if (r == 0)
        r = cb_build_push_tree(&s->env, &tree, &po, &res, err);
    if (r == 0)
        take_images(&tree, &res);
    cb_progress_finish(s->progress, r < 0);
    if (r == 0)
        r = report(o, &res, err);
    else
        (void)!receipt_write(o->release.receipt, &res, false, NULL);
    cb_build_result_done(&res);
    return r;
}

/* Every operand but the first; the first where it is alone. */
static int take_targets(const struct cb_strvec *operands, struct targets *t, struct cb_error *err)
{
    int r = 0;
    t->v = cb_calloc(operands->n, sizeof *t->v);
    for (size_t i = operands->n > 1; r == 0 && i < operands->n; i++) {
        struct cb_reference *ref = &t->v[t->n++];
        r = cb_reference_parse(ref, operands->v[i], err);
        if (r == 0 && cb_digest_is_set(&ref->digest))
            r = cb_error_set(err, CB_EUSAGE, "%s: name a tag to push to, not a digest", operands->v[i]);
        cb_reference_default_tag(ref);
    }
    return r;
}

static int push(const struct cb_process *p, struct push_options *o, const struct cb_strvec *operands,
                struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    struct targets t CB_CLEANUP(targets_done) = { 0 };
    struct cb_release_policy policy = release_policy(&o->release);
    if (o->quiet)
        o->common.progress = "quiet";
    int r = take_targets(operands, &t, err);
    if (r == 0)
        r = cb_release_policy_check(&policy, err);
    if (r == 0)
        r = cb_session_open(&s, p, &o->common, "Pushing", err);
    for (size_t i = 0; r == 0 && i < t.n; i++)
        r = cb_session_name_host(&s, t.v[i].host, err);
    return r < 0 ? r : push_image(&s, o, operands->v[0], &t, err);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct push_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = push(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    release_options_done(&o.release);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_push = {
    .name = "push",
    .summary = "push an image of the store to one or more names; prints its digest",
    .operands = "[OPTIONS] IMAGE [DESTINATION…]",
    .options = options,
    .groups = groups,
    .run = run,
};
