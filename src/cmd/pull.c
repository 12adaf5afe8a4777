/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/remote.h"
#include "util/alloc.h"

struct pull_options {
    struct cb_common common;
    const char *platform;
    bool quiet;
};

#define AT(field) offsetof(struct pull_options, field)
static const struct cb_opt options[] = {
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of several", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "no progress", NULL },
    CB_OPT_COMMON_PROGRESS(pull_options),
    CB_OPT_COMMON_REGISTRY(pull_options),
    CB_OPT_COMMON_RETRY(pull_options),
    CB_OPT_COMMON_STORE(pull_options),
    CB_OPT_END,
};

/* A tag is named as it was asked for; a digest alone names nothing but the image. */
static int set_name(struct cb_session *s, const struct cb_reference *ref, const struct cb_image *image,
                    struct cb_error *err)
{
    cb_autofree char *name = cb_reference_text(ref);
    return cb_store_name_set(s->store, name, &image->desc, err);
}

/* A name that stands for no index has one image, whatever is asked for: docker and podman take it and warn, too. */
static void tell_other_platform(struct cb_session *s, const char *name, const struct cb_platform *wanted,
                                const struct cb_platform *is)
{
    struct cb_strbuf a cb_cleanup_strbuf = CB_STRBUF_INIT, b cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!is->arch || cb_platform_match(wanted, is) > 0)
        return;
    cb_strbuf_add_platform(&a, is);
    cb_strbuf_add_platform(&b, wanted);
    cb_progress_note(s->progress, true, "warning: %s is for %s, not %s, and there is no other image of that name",
                     name, a.buf, b.buf);
}

/* What the store has by its digest needs no registry: but whoever pulls wants to know that it is there. */
static int ask(const struct cb_session *s, const struct cb_reference *ref, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    if (!cb_digest_is_set(&ref->digest) || !cb_store_blob_has(s->store, &ref->digest, NULL))
        return 0;
    int r = cb_registry_head(s->registry, ref, &d, err);
    if (r < 0) {
        cb_autofree char *text = cb_reference_text(ref);
        return cb_error_wrap(err, "%s", text);
    }
    return 0;
}

static int pull_image(struct cb_session *s, const struct cb_reference *ref, const struct cb_platform *platform,
                      struct cb_error *err)
{
    struct cb_found_image f cb_cleanup_found_image = { 0 };
    struct cb_find_options find = { .ref = ref, .platform = platform, .policy = CB_PULL_ALWAYS,
                                    .layers = true };
    cb_autofree char *text = cb_reference_text(ref);
    cb_autofree char *title = cb_asprintf("pulling %s", text);
    char digest[CB_DIGEST_TEXT_MAX];
    struct cb_step *step = cb_step_new(s->progress, title);
    cb_step_begin(step);
    int r = ask(s, ref, err);
    if (r == 0)
        r = cb_build_resolve(&s->env, &find, &f, err);
    if (r == 0)
        tell_other_platform(s, text, platform, &f.image.config.platform);
    if (r == 0)
        r = cb_build_fetch_layers(&s->env, &f, CB_NEED_BLOB | CB_NEED_TOC, step, err);
    if (r == 0)
        r = set_name(s, ref, &f.image, err);
    if (r < 0)
        cb_step_error(step, cb_error_text(err));
    else
        cb_step_done(step);
    cb_progress_finish(s->progress, r < 0);
    if (r == 0)
        printf("%s\n", cb_digest_text(&f.image.desc.digest, digest));
    return r;
}

static int pull(const struct cb_process *p, struct pull_options *o, const char *name, struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_platform platform cb_cleanup_platform = { 0 };
    if (o->quiet)
        o->common.progress = "quiet";
    int r = cb_remote_parse(&ref, name, CB_REMOTE_IMAGE, err);
    cb_platform_host(&platform);
    if (r == 0 && o->platform) {
        cb_platform_done(&platform);
        r = cb_platform_parse(&platform, o->platform, err);
    }
    if (r == 0)
        r = cb_session_open(&s, p, &o->common, "Pulling", err);
    if (r == 0)
        r = cb_session_name_host(&s, ref.host, err);
    return r < 0 ? r : pull_image(&s, &ref, &platform, err);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct pull_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && a.operands.n > 1)
        r = cb_error_set(err, CB_EUSAGE, "pull takes one image, into the store: pull %s by itself, or, where that is a "
                                         "file, cbpush copy %s docker-archive:%s", a.operands.v[1], a.operands.v[0],
                         a.operands.v[1]);
    if (r == 0 && !a.done)
        r = pull(p, &o, a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_pull = {
    .name = "pull", .summary = "bring an image into the store; prints its digest", .operands = "[OPTIONS] IMAGE",
    .options = options, .run = run,
};
