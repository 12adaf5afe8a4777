/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/build_report.h"
#include "cmd/copy_report.h"
#include "cmd/session.h"
#include "copy/copy.h"
#include "util/alloc.h"
#include "util/encode.h"

struct copy_cmd {
    struct cb_common common;
    const char *digest_file, *jobs;
    struct cb_strvec platforms, always /* what is done anyway */;
    bool all_tags, no_clobber, referrers, json, quiet;
    int src_tls_verify, dest_tls_verify; /* -1: not said */
};
#define AT(field) offsetof(struct copy_cmd, field)
static const struct cb_opt table[] = {
    { "platform", 0, CB_OPT_LIST, AT(platforms), "OS/ARCH[,…]",
      "of an index: one gives its manifest, several a smaller index (another digest); default all", NULL },
    { "all-tags", 'a', CB_OPT_FLAG, AT(all_tags), NULL, "every tag of the source; neither side names one", NULL },
    { "no-clobber", 'n', CB_OPT_FLAG, AT(no_clobber), NULL, "leave tags alone that the target has", NULL },
    { "referrers", 0, CB_OPT_FLAG, AT(referrers), NULL,
      "also signatures, SBOMs and whatever else refers to it, in turn, and cosign's tags", NULL },
    { "jobs", 'j', CB_OPT_STRING, AT(jobs), "N", "large blobs at a time (default 4); small ones: 4 times that", NULL },
    { "digestfile", 0, CB_OPT_STRING, AT(digest_file), "FILE", "write the digest there", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "say what was done as JSON", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "no progress", NULL },
    /* skopeo's */
    { "all", 0, CB_OPT_NOTED, AT(always), NULL, NULL, NULL },
    { "preserve-digests", 0, CB_OPT_NOTED, AT(always), NULL, NULL, NULL },
    { "src-creds", 0, CB_OPT_STRING, AT(common.pull_creds), "USER[:PASS]", "credentials for SRC's registry", NULL },
    { "dest-creds", 0, CB_OPT_STRING, AT(common.push_creds), "USER[:PASS]", "credentials for DST's registry", NULL },
    { "src-tls-verify", 0, CB_OPT_TRISTATE, AT(src_tls_verify), NULL,
      "=false: SRC's registry may be without valid TLS", NULL },
    { "dest-tls-verify", 0, CB_OPT_TRISTATE, AT(dest_tls_verify), NULL, "=false: DST's registry may be", NULL },
    { "src-authfile", 0, CB_OPT_STRING, AT(common.pull_authfile), "FILE", NULL, NULL },
    { "dest-authfile", 0, CB_OPT_STRING, AT(common.push_authfile), "FILE", NULL, NULL },
    { "retry-times", 0, CB_OPT_STRING, AT(common.retry), "N", NULL, NULL },
    CB_OPT_COMMON_PROGRESS(copy_cmd),
    CB_OPT_COMMON_REGISTRY(copy_cmd),
    CB_OPT_COMMON_RETRY(copy_cmd),
    CB_OPT_COMMON_PUSH(copy_cmd),
    CB_OPT_COMMON_STORE(copy_cmd),
    CB_OPT_END,
};

static const char details[] =
    "SRC and DST: HOST/REPO:TAG or docker://HOST/REPO:TAG, oci:DIR[:TAG], oci-archive:FILE[:TAG],\n"
    "docker-archive:FILE[:NAME], store:NAME, dir:DIR. Digests are kept. Within one registry blobs are mounted.";

struct copying {
    const struct copy_cmd *o;
    struct cb_session *s;
    struct cb_copy_env env;
    struct cb_place from, to;
    struct cb_copy_source *source;
    struct cb_copy_target *target;
    struct cb_platform *platforms;
    size_t n_platforms;
    struct cb_strvec tags; /* of all */
    struct cb_copied *done;
    size_t n;
};

static void copying_done(struct copying *c)
{
    cb_copy_target_close(c->target); /* its workers still read from the source */
    cb_copy_source_close(c->source);
    cb_place_done(&c->from);
    cb_place_done(&c->to);
    cb_platforms_free(c->platforms, c->n_platforms);
    cb_strvec_done(&c->tags);
    for (size_t i = 0; i < c->n; i++)
        cb_copied_done(&c->done[i]);
    free(c->done);
}

/* ---- what was asked for ---- */

static bool names_one(const struct cb_place *p)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (p->transport == CB_AT_REGISTRY)
        return p->ref.tag || cb_digest_is_set(&p->ref.digest);
    if (p->transport == CB_AT_STORE)
        return cb_reference_parse(&ref, p->path, NULL) == 0 && ref.tag;
    return p->name || cb_digest_is_set(&p->digest);
}

static int check_all(const struct copying *c, struct cb_error *err)
{
    if (names_one(&c->from) || names_one(&c->to))
        return cb_error_set(err, CB_EUSAGE, "--all-tags: write %s without its tag",
                            names_one(&c->from) ? c->from.text : c->to.text);
    if (c->to.transport == CB_AT_DIR)
        return cb_error_set(err, CB_EUSAGE, "--all-tags: dir: holds one image; oci: takes all");
    if (c->to.transport == CB_AT_DOCKER_ARCHIVE)
        return cb_error_set(err, CB_EUSAGE, "--all-tags: a Docker archive is written with one image; oci-archive: "
                                            "takes all");
    if (c->o->digest_file)
        return cb_error_set(err, CB_EUSAGE, "--digestfile is for one image; --json tells all digests");
    return 0;
}

static bool goes_to_stdout(const struct cb_place *p)
{
    return (p->transport == CB_AT_OCI_ARCHIVE || p->transport == CB_AT_DOCKER_ARCHIVE) &&
           cb_out_file_is_stdout(p->path);
}

/* "all" alone is how crane writes its default. */
static int parse_platforms(struct copying *c, struct cb_error *err)
{
    const struct cb_strvec *v = &c->o->platforms;
    if (v->n == 1 && !strcmp(v->v[0], "all"))
        return 0;
    return cb_platforms_parse(v, &c->platforms, &c->n_platforms, err);
}

static int parse(struct copying *c, const struct cb_strvec *operands, struct cb_error *err)
{
    uint64_t jobs = 4;
    int r = cb_place_parse(&c->from, operands->v[0], err);
    if (r == 0)
        r = cb_place_parse(&c->to, operands->v[1], err);
    if (r == 0 && c->o->jobs && (!cb_parse_u64(c->o->jobs, 64, &jobs) || jobs == 0))
        r = cb_error_set(err, CB_EUSAGE, "--jobs %s: write a number from 1 to 64", c->o->jobs);
    if (r == 0)
        r = parse_platforms(c, err);
    if (r == 0 && c->o->json && goes_to_stdout(&c->to))
        r = cb_error_set(err, CB_EUSAGE, "--json: the archive goes to standard output; --digestfile tells its digest");
    c->env.jobs = (unsigned)jobs;
    return r == 0 && c->o->all_tags ? check_all(c, err) : r;
}

static const char *host_of(const struct cb_place *p)
{
    return p->transport == CB_AT_REGISTRY ? p->ref.host : NULL;
}

/* What is said of one side, and where that is. */
static int take_side(const struct cb_place *p, const char *creds, int tls_verify, struct cb_strvec *insecure,
                     struct cb_error *err)
{
    const char *host = host_of(p);
    if (creds && !host)
        return cb_error_set(err, CB_EUSAGE, "%s is in no registry: it has no use for credentials", p->text);
    if (host && tls_verify == 0)
        cb_strvec_push(insecure, host);
    return 0;
}

static int take_sides(const struct copying *c, struct copy_cmd *o, struct cb_error *err)
{
    struct cb_common *common = &o->common;
    int r = take_side(&c->from, common->pull_creds, o->src_tls_verify, &common->insecure, err);
    return r < 0 ? r : take_side(&c->to, common->push_creds, o->dest_tls_verify, &common->insecure, err);
}

static int name_hosts(struct copying *c, struct cb_error *err)
{
    cb_auth_set_side_hosts(c->s->auth, host_of(&c->from), host_of(&c->to));
    int r = c->from.transport == CB_AT_REGISTRY ? cb_session_name_host(c->s, c->from.ref.host, err) : 0;
    return r == 0 && c->to.transport == CB_AT_REGISTRY ? cb_session_name_host(c->s, c->to.ref.host, err) : r;
}

/* ---- the work ---- */

static int copy_one(void *arg, size_t i, struct cb_error *err)
{
    struct copying *c = arg;
    const char *tag = c->o->all_tags ? c->tags.v[i] : NULL;
    struct cb_copied *d = &c->done[i];
    cb_autofree char *own = tag ? NULL : cb_place_target_tag(&c->to);
    bool by_digest = !tag && c->to.transport == CB_AT_REGISTRY && cb_digest_is_set(&c->to.ref.digest);
    struct cb_copy_options o = { .tag = tag,
                                 .to_tag = tag ? tag : by_digest ? NULL : own,
                                 .platforms = c->platforms,
                                 .n_platforms = c->n_platforms,
                                 .no_clobber = c->o->no_clobber,
                                 .referrers = c->o->referrers,
                                 .tags = tag ? &c->tags : NULL };
    d->source = tag ? cb_place_text(&c->from, tag) : cb_strdup(c->from.text);
    d->target = tag ? cb_place_text(&c->to, tag) : cb_strdup(c->to.text);
    int r = cb_copy_image(c->source, c->target, &o, &d->result, err);
    return r < 0 ? cb_error_wrap(err, "copy %s", d->source) : 0;
}

/* With --referrers the lists of them are made anew. */
static int list_tags(struct copying *c, struct cb_error *err)
{
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = cb_copy_source_tags(c->source, &all, err);
    for (size_t i = 0; r == 0 && i < all.n; i++)
        if (!c->o->referrers || !cb_copy_is_fallback_tag(all.v[i]))
            cb_strvec_push(&c->tags, all.v[i]);
    return r;
}

static int copy_all(struct copying *c, struct cb_error *err)
{
    struct cb_copy_target_options to = { .to = &c->to };
    int r = cb_copy_source_open(&c->env, &c->from, &c->source, err);
    if (r == 0 && c->o->all_tags)
        r = list_tags(c, err);
    if (r == 0)
        r = cb_copy_target_open(&c->env, &to, &c->target, err);
    if (r < 0)
        return r;
    c->n = c->o->all_tags ? c->tags.n : 1;
    c->done = cb_calloc(c->n + 1, sizeof *c->done);
    r = cb_copy_each(c->n, cb_push_width(c->env.jobs), copy_one, c, err);
    return r < 0 ? r : cb_copy_target_finish(c->target, err);
}

/* What must not pass unnoticed. */
static void tell(const struct copying *c)
{
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; i < c->n; i++) {
        const struct cb_copy_result *r = &c->done[i].result;
        cb_digest_text(&r->from.digest, a);
        cb_digest_text(&r->to.digest, b);
        if (r->outcome != CB_COPY_KEPT && c->n_platforms > 1 && strcmp(a, b) != 0)
            cb_progress_note(c->s->progress, true, "--platform: another index was made, so the digest changes: %s "
                             "instead of %s", b, a);
        if (r->outcome != CB_COPY_KEPT && r->made)
            cb_progress_note(c->s->progress, true, "%s has no manifest: %s was made for its layers as they stand",
                             c->from.text, b);
        if (r->outcome == CB_COPY_KEPT)
            cb_progress_note(c->s->progress, false, "%s is there and stays", c->done[i].target);
    }
}

static int report(struct copying *c, struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    if (c->o->json) {
        cb_copy_print_json(c->done, c->n, c->target);
    } else if (!goes_to_stdout(&c->to)) { /* nothing behind an archive */
        for (size_t i = 0; i < c->n; i++)
            printf("%s%s%s\n", cb_digest_text(&c->done[i].result.to.digest, digest), c->o->all_tags ? " " : "",
                   c->o->all_tags ? c->done[i].target : "");
    }
    if (!c->o->digest_file)
        return 0;
    return cb_report_write(c->o->digest_file, cb_digest_text(&c->done[0].result.to.digest, digest), err);
}

/* docker's and podman's push take the store's image by that name. */
static void advise(const struct copying *c, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    if (c->from.transport != CB_AT_REGISTRY || (c->done && c->done[0].result.from.media_type))
        return;
    cb_autofree char *name = cb_reference_text(&c->from.ref);
    const char *text = c->from.text, *scheme = "docker://";
    if (cb_store_name_get(c->s->store, name, &d, NULL) == 0)
        cb_error_append(err, " (the store has an image of that name: store:%s)",
                        text + (cb_starts_with(text, scheme) ? strlen(scheme) : 0));
}

static int copy(const struct cb_process *p, struct copy_cmd *o, const struct cb_strvec *operands, struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    CB_CLEANUP(copying_done) struct copying c = { .o = o, .s = &s };
    if (o->quiet)
        o->common.progress = "quiet";
    int r = parse(&c, operands, err);
    if (r == 0)
        r = take_sides(&c, o, err);
    s.may_forget = c.from.transport != CB_AT_STORE && c.to.transport != CB_AT_STORE;
    if (r == 0)
        r = cb_session_open(&s, p, &o->common, "Copying", err);
    if (r == 0)
        r = name_hosts(&c, err);
    if (r < 0)
        return r;
    cb_autofree char *title = cb_asprintf("copying %s to %s", c.from.text, c.to.text);
    struct cb_step *step = cb_step_new(s.progress, title);
    c.env = (struct cb_copy_env){ s.registry, s.store, p->cancel, step, c.env.jobs };
    cb_step_begin(step);
    r = copy_all(&c, err);
    if (r < 0) {
        advise(&c, err);
        cb_step_error(step, cb_error_text(err));
    } else {
        cb_step_done(step);
        tell(&c);
    }
    cb_progress_finish(s.progress, r < 0);
    return r < 0 ? r : report(&c, err);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct copy_cmd o = { .common = CB_COMMON_INIT, .src_tls_verify = -1, .dest_tls_verify = -1 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 2, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = copy(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.platforms);
    cb_strvec_done(&o.always);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_copy = {
    .name = "copy",
    .topic = CB_TOPIC_REGISTRY,
    .alias = "cp",
    .summary = "copy an image or all tags between registries, archives and the store",
    .operands = "[OPTIONS] SRC DST",
    .details = details,
    .options = table,
    .run = run,
};
