/* SPDX-License-Identifier: Apache-2.0 */
/* What docker, podman, buildah and regctl call verbs of ours. */
#include <string.h>

#include "cmd/cmd.h"
#include "util/macros.h"

static const struct { const char *noun, *word, *verb; } spellings[] = {
    { "artifact", "list", "referrers" },
    { "artifact", "tree", "referrers" },
    { "auth", "login", "login" },
    { "auth", "logout", "logout" },
    { "bud", NULL, "build" },
    { "build-using-dockerfile", NULL, "build" },
    { "builder", "build", "build" },
    { "buildx", "b", "build" },
    { "buildx", "build", "build" },
    { "buildx", "imagetools", "imagetools" },
    { "container", "run", "run" },
    { "image", "build", "build" },
    { "image", "config", "config" },
    { "image", "copy", "copy" },
    { "image", "delete", "delete" },
    { "image", "digest", "digest" },
    { "image", "history", "history" },
    { "image", "inspect", "inspect" },
    { "image", "list", "images" },
    { "image", "load", "load" },
    { "image", "ls", "images" },
    { "image", "prune", "prune" },
    { "image", "pull", "pull" },
    { "image", "push", "push" },
    { "image", "remove", "rmi" },
    { "image", "rm", "rmi" },
    { "image", "save", "save" },
    { "image", "tag", "tag" },
    { "registry", "login", "login" },
    { "registry", "logout", "logout" },
    { "repo", "ls", "catalog" },
};

const struct cb_verb *cb_verb_spelling(size_t i, const char **noun, const char **word)
{
    if (i >= CB_COUNTOF(spellings))
        return NULL;
    *noun = spellings[i].noun;
    *word = spellings[i].word;
    return cb_verb_find(spellings[i].verb);
}

const struct cb_verb *cb_verb_spelled(int argc, char **argv, int *used)
{
    for (size_t i = 0; argc > 0 && i < CB_COUNTOF(spellings); i++) {
        const char *word = spellings[i].word;
        if (strcmp(spellings[i].noun, argv[0]) != 0 || (word && (argc < 2 || strcmp(word, argv[1]) != 0)))
            continue;
        *used = word ? 2 : 1;
        return cb_verb_find(spellings[i].verb);
    }
    *used = 1;
    return argc > 0 ? cb_verb_find(argv[0]) : NULL;
}
