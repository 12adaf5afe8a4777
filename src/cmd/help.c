/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "util/alloc.h"
#include "util/macros.h"
#include "util/strbuf.h"

const struct cb_verb *const cb_verbs[] = {
    &cb_verb_build, &cb_verb_cache, &cb_verb_lint, &cb_verb_run, &cb_verb_pull, &cb_verb_push, &cb_verb_rollback,
    &cb_verb_tag, &cb_verb_images, &cb_verb_rmi, &cb_verb_inspect, &cb_verb_history, &cb_verb_save, &cb_verb_load,
    &cb_verb_prune, &cb_verb_login, &cb_verb_logout, &cb_verb_auth, &cb_verb_doctor, &cb_verb_completion,
    &cb_verb_version, &cb_verb_tags,
    &cb_verb_catalog, &cb_verb_digest, &cb_verb_config, &cb_verb_manifest, &cb_verb_blob, &cb_verb_referrers,
    &cb_verb_delete, &cb_verb_ping, &cb_verb_copy, &cb_verb_ls, &cb_verb_diff, &cb_verb_export, &cb_verb_validate,
    &cb_verb_mutate, &cb_verb_annotate, &cb_verb_append, &cb_verb_flatten, &cb_verb_rebase, &cb_verb_index,
    &cb_verb_imagetools, &cb_verb_attach, &cb_verb_mirror, NULL,
};

const struct cb_verb *cb_verb_find(const char *name)
{
    for (size_t i = 0; cb_verbs[i]; i++)
        if (!strcmp(cb_verbs[i]->name, name) || cb_streq(cb_verbs[i]->alias, name))
            return cb_verbs[i];
    return NULL;
}

void cb_verb_help(const struct cb_verb *v)
{
    printf("usage: cbpush %s %s\n\n%s\n", v->name, v->operands, v->summary);
    if (v->alias)
        printf("\nAlso spelled: cbpush %s\n", v->alias);
    if (v->details)
        printf("\n%s\n", v->details);
    printf("\noptions:\n");
    cb_opt_print(v->options, v->groups);
}

static void print_topic(const char *heading, enum cb_topic topic)
{
    printf("%s\n", heading);
    for (size_t i = 0; cb_verbs[i]; i++)
        if (cb_verbs[i]->topic == topic)
            printf("  %-10s %s\n", cb_verbs[i]->name, cb_verbs[i]->summary);
    printf("\n");
}

static void overview(void)
{
    static const struct { const char *heading; enum cb_topic topic; } topics[] = {
        { "build:", CB_TOPIC_BUILD },
        { "images:", CB_TOPIC_IMAGES },
        { "registries:", CB_TOPIC_REGISTRY },
        { "this machine and its credentials:", CB_TOPIC_HOUSE },
    };
    printf("usage: cbpush VERB [OPTIONS] …\n\ncbpush builds container images and pushes them, without a daemon.\n\n");
    for (size_t i = 0; i < CB_COUNTOF(topics); i++)
        print_topic(topics[i].heading, topics[i].topic);
    printf(
        "`cbpush VERB --help` lists the options of a verb.\n\n"
        "exit status: 0 ok, 1 a build step failed, 2 usage, 3 not allowed, 4 network or registry, 5 Dockerfile or\n"
        "configuration, 6 this machine (disk, memory, rights), 7 something did not verify, 130 and 143 "
        "interrupted\n");
}

int cb_help(const char *verb, struct cb_error *err)
{
    const struct cb_verb *v = verb ? cb_verb_find(verb) : NULL;
    if (!verb) {
        overview();
        return 0;
    }
    cb_autofree char *copy = v ? NULL : cb_strdup(verb);
    if (!v)
        return cb_foreign_verb(1, &copy, err);
    cb_verb_help(v);
    return 0;
}
