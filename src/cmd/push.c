/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <unistd.h>

#include "cmd/build_report.h"
#include "cmd/release.h"
#include "cmd/remote.h"
#include "util/alloc.h"

struct push_options {
    struct cb_common common;
    const char *digest_file;
    struct release_options release;
    bool quiet, all_tags;
};

#define AT(field) offsetof(struct push_options, field)
static const struct cb_opt options[] = {
    { "digestfile", 0, CB_OPT_STRING, AT(digest_file), "FILE", "write the manifest's digest there", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "no progress", NULL },
    { "all-tags", 'a', CB_OPT_FLAG, AT(all_tags), NULL, "IMAGE is a repository: all its tags of the store", NULL },
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
    struct cb_report rep = { .res = res, .quiet = o->quiet || o->all_tags, .receipt = o->release.receipt };
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
    if (r == -CB_ENOTFOUND && access(name, F_OK) == 0)
        cb_error_set(err, CB_ENOTFOUND, "no such image: %s; the file of that name goes to a registry by `cbpush copy "
                                        "docker-archive:%s DESTINATION` (oci-archive:, oci:DIR)", name, name);
    if (r == 0)
        r = cb_image_tree_load(s->store, &res.desc, &tree, err);
    if (r == 0)
        r = cb_build_push_tree(&s->env, &tree, &po, &res, err);
    if (r == 0)
        take_images(&tree, &res);
    if (!o->all_tags || r < 0)
        cb_progress_finish(s->progress, r < 0);
    if (r == 0)
        r = report(o, &res, err);
    else
        (void)!receipt_write(o->release.receipt, &res, false, NULL);
    cb_build_result_done(&res);
    return r;
}

/* A name that is said twice is one. */
static void add_target(struct targets *t, struct cb_reference *ref)
{
    for (size_t i = 0; i < t->n; i++)
        if (cb_reference_same_tag(&t->v[i], ref))
            return;
    t->v[t->n++] = *ref;
    *ref = (struct cb_reference){ 0 };
}

/* Every operand but the first; the first where it is alone. */
static int take_targets(const struct cb_strvec *operands, struct targets *t, struct cb_error *err)
{
    int r = 0;
    t->v = cb_calloc(operands->n, sizeof *t->v);
    for (size_t i = operands->n > 1; r == 0 && i < operands->n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        r = cb_remote_parse(&ref, operands->v[i], CB_REMOTE_IMAGE, err);
        if (r == 0 && cb_digest_is_set(&ref.digest))
            r = cb_error_set(err, CB_EUSAGE, "%s: name a tag to push to, not a digest", operands->v[i]);
        if (r == 0)
            add_target(t, &ref);
    }
    return r;
}

static int push(struct cb_session *s, const struct push_options *o, const struct cb_strvec *operands,
                struct cb_error *err)
{
    struct targets t CB_CLEANUP(targets_done) = { 0 };
    int r = take_targets(operands, &t, err);
    for (size_t i = 0; r == 0 && i < t.n; i++)
        r = cb_session_name_host(s, t.v[i].host, err);
    return r < 0 ? r : push_image(s, o, operands->v[0], &t, err);
}

/* Each tag is a push of its own: they stand for different images. */
static int push_tags(struct cb_session *s, const struct push_options *o, const char *repository, struct cb_error *err)
{
    struct cb_store_names names = { 0 };
    struct cb_reference wanted cb_cleanup_reference = { 0 };
    size_t n = 0;
    int r = cb_reference_parse_word(&wanted, repository, err);
    if (r == 0 && (wanted.tag || cb_digest_is_set(&wanted.digest)))
        r = cb_error_set(err, CB_EUSAGE, "--all-tags %s: name a repository, without a tag", repository);
    if (r == 0)
        r = cb_store_name_list(s->store, &names, err);
    for (size_t i = names.n; r == 0 && i-- > 0;) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        struct cb_strvec one cb_cleanup_strvec = CB_STRVEC_INIT;
        if (!names.v[i].name || cb_reference_parse(&ref, names.v[i].name, NULL) < 0 ||
            strcmp(ref.host, wanted.host) != 0 || strcmp(ref.repo, wanted.repo) != 0)
            continue;
        n++;
        cb_strvec_push(&one, names.v[i].name);
        r = push(s, o, &one, err);
    }
    cb_progress_finish(s->progress, r < 0);
    if (r == 0 && n == 0)
        r = cb_error_set(err, CB_ENOTFOUND, "no image of the store is named %s", repository);
    cb_store_names_done(&names);
    return r;
}

static int check(const struct push_options *o, const struct cb_strvec *operands, struct cb_error *err)
{
    struct cb_release_policy policy = release_policy(&o->release);
    if (o->all_tags && (operands->n > 1 || o->digest_file || o->release.receipt || o->release.expect_old.n))
        return cb_error_set(err, CB_EUSAGE, "--all-tags pushes several images: it goes with one repository, and not "
                                            "with --digestfile, --receipt and --expect-old");
    return cb_release_policy_check(&policy, err);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct push_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    struct cb_session s cb_cleanup_session = { 0 };
    int r = cb_verb_args(&a, err);
    if (o.quiet)
        o.common.progress = "quiet";
    if (r == 0 && !a.done)
        r = check(&o, &a.operands, err);
    if (r == 0 && !a.done)
        r = cb_session_open(&s, p, &o.common, "Pushing", err);
    if (r == 0 && !a.done)
        r = o.all_tags ? push_tags(&s, &o, a.operands.v[0], err) : push(&s, &o, &a.operands, err);
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
