/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/release.h"
#include "cmd/remote.h"
#include "cmd/session.h"
#include "oci/json.h"
#include "util/alloc.h"

struct rollback_options {
    struct cb_common common;
    bool force, json;
};

#define AT(field) offsetof(struct rollback_options, field)
static const struct cb_opt options[] = {
    { "force", 0, CB_OPT_FLAG, AT(force), NULL, "also tags that somebody has moved since", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "an array of objects: reference, digest (null: deleted)", NULL },
    CB_OPT_COMMON_PROGRESS(rollback_options),
    CB_OPT_COMMON_REGISTRY(rollback_options),
    CB_OPT_COMMON_RETRY(rollback_options),
    CB_OPT_COMMON_STORE(rollback_options),
    CB_OPT_END,
};

/* NAME DIGEST, or NAME - where the tag was deleted: standard output. */
static void print_tag(json_t *list, const char *name, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    const char *digest = cb_digest_is_set(d) ? cb_digest_text(d, text) : NULL;
    if (!list) {
        printf("%s %s\n", name, digest ? digest : "-");
        return;
    }
    json_t *j = json_object();
    cb_json_put_string(j, "reference", name);
    cb_json_put(j, "digest", digest ? json_string(digest) : json_null());
    json_array_append_new(list, j);
}

static void report(const struct cb_rollback *v, size_t n, bool json, bool failed)
{
    json_t *list = json ? json_array() : NULL;
    for (size_t i = n; i-- > 0;) {
        cb_autofree char *name = cb_reference_text(&v[i].ref);
        if (v[i].outcome == CB_ROLLBACK_DONE || v[i].outcome == CB_ROLLBACK_WAS_SO)
            print_tag(list, name, &v[i].old);
        if (v[i].outcome == CB_ROLLBACK_WAS_SO)
            fprintf(stderr, "%s was so already\n", name);
    }
    if (json && (!failed || json_array_size(list) > 0))
        cb_print_json_line(list);
    else
        json_decref(list);
}

static int rollback(const struct cb_process *p, const struct rollback_options *o, const char *path,
                    struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { .may_forget = true };
    struct cb_rollback *v = NULL;
    size_t n = 0;
    int r = receipt_read(path, p->cancel, &v, &n, err);
    if (r == 0 && n == 0)
        fprintf(stderr, "no tag was moved: nothing to roll back\n");
    if (r == 0 && n > 0)
        r = cb_session_open(&s, p, &o->common, "Rolling back", err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = cb_session_name_host(&s, v[i].ref.host, err);
    if (r == 0 && n > 0)
        r = cb_build_rollback(&s.env, v, n, o->force, err);
    cb_progress_finish(s.progress, r < 0);
    report(v, n, o->json, r < 0);
    receipt_free(v, n);
    return r;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct rollback_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = rollback(p, &o, a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_rollback = {
    .name = "rollback",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "make tags what they were before a push, by its receipt",
    .operands = "[OPTIONS] RECEIPT",
    .details = "RECEIPT is what `--receipt FILE` of build or push wrote; - is standard input. Every tag is looked at\n"
               "first: where one has been moved by somebody else since, nothing is done. A tag that was not there\n"
               "before is deleted, that tag only.",
    .options = options,
    .run = run,
};
