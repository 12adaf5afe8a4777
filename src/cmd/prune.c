/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/session.h"
#include "util/alloc.h"
#include "util/timeutil.h"

struct prune_options {
    struct cb_common common;
    bool all, mounts, dry_run, force;
    const char *keep;
};
#define AT(field) offsetof(struct prune_options, field)
static const struct cb_opt options[] = {
    { "all", 'a', CB_OPT_FLAG, AT(all), NULL, "the build cache too", NULL },
    { "mounts", 0, CB_OPT_FLAG, AT(mounts), NULL, "the directories of RUN --mount=type=cache instead", NULL },
    { "dry-run", 0, CB_OPT_FLAG, AT(dry_run), NULL, "only say what would go", NULL },
    { "keep", 0, CB_OPT_STRING, AT(keep), "DURATION",
      "spare what is younger (default 24h; with --all 0s: nothing)", NULL },
    { "force", 'f', CB_OPT_FLAG, AT(force), NULL, "accepted; nothing is asked anyway", NULL },
    CB_OPT_COMMON_STORE(prune_options),
    CB_OPT_END,
};

static int prune(struct cb_session *s, const struct prune_options *o, struct cb_error *err)
{
    struct cb_store_gc_options g = { .all = o->all, .dry_run = o->dry_run, .keep_newer_ns = -1 };
    struct cb_store_gc_result res = { 0 };
    if (o->keep && (!cb_duration_parse(o->keep, &g.keep_newer_ns) || g.keep_newer_ns < 0))
        return cb_error_set(err, CB_EUSAGE, "--keep %s: write a duration such as 24h or 30m", o->keep);
    if (o->all && !o->keep)
        g.keep_newer_ns = 0;
    int r = cb_store_gc(s->store, &g, &res, err);
    if (r < 0)
        return r;
    cb_autofree char *size = cb_size_text(res.bytes);
    printf("%s %llu blobs, %llu trees, %llu cache records: %s\n", o->dry_run ? "would free" : "freed",
           (unsigned long long)res.blobs, (unsigned long long)res.trees, (unsigned long long)res.records, size);
    uint64_t uploads = 0;
    r = cb_store_uploads_prune(s->store, o->dry_run, &uploads, err);
    if (r == 0 && uploads)
        printf("%s %llu unfinished upload%s\n", o->dry_run ? "would forget" : "forgot", (unsigned long long)uploads,
               uploads == 1 ? "" : "s");
    return r;
}

static int prune_mounts(struct cb_session *s, const struct prune_options *o, struct cb_error *err)
{
    struct cb_store_mounts res = { 0 };
    if (o->all || o->keep)
        return cb_error_set(err, CB_EUSAGE, "--mounts goes with --dry-run only: run prune twice");
    int r = cb_store_mounts_prune(s->store, o->dry_run, &res, err);
    if (r < 0)
        return r;
    cb_autofree char *size = cb_size_text(res.bytes);
    printf("%s %llu cache mounts: %s", o->dry_run ? "would free" : "freed", (unsigned long long)res.n, size);
    if (res.in_use)
        printf(" (%llu in use)", (unsigned long long)res.in_use);
    putchar('\n');
    return 0;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct prune_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv };
    int r = cb_verb_args(&a, err);
    cb_strvec_done(&a.operands);
    if (r < 0 || a.done)
        return r;
    r = cb_session_store(&s, p, &o.common, err);
    if (r < 0)
        return r;
    return o.mounts ? prune_mounts(&s, &o, err) : prune(&s, &o, err);
}

const struct cb_verb cb_verb_prune = {
    .name = "prune",
    .topic = CB_TOPIC_HOUSE,
    .summary = "free what no name needs",
    .operands = "[OPTIONS]",
    .options = options,
    .userns = true,
    .userns_to_run = true,
    .run = run,
};
