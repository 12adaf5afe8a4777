/* SPDX-License-Identifier: Apache-2.0 */
/* Words of other programs that are no verbs of ours, and what does the same here. */
#include <string.h>

#include "cmd/cmd.h"
#include "dockerfile/dockerfile.h"
#include "util/alloc.h"
#include "util/macros.h"
#include "util/strbuf.h"

#define BUILDERS "there are no builders to choose from: cbpush builds by itself, so leave this out"
#define CONTAINERS "no container outlives its `cbpush run`, and there is nothing to ask for later"
#define FILES "for the files of an image: cbpush export IMAGE | tar -xC DIR PATH; no container outlives its " \
              "`cbpush run`"
#define CACHE "the build cache goes with the rest of the store: cbpush prune --all"
#define INDEX "write cbpush index create REF IMAGE…, or append, remove, inspect"
#define DOCTOR "cbpush doctor says what works on this machine"
#define SIGN "signatures are not made or checked here; cbpush referrers lists them, attach adds some"
#define BAKE "run cbpush build for each target: builds of one store share their steps"
#define REGISTRY "cbpush is no registry: docker-registry is one"
#define EXPLAIN "cbpush auth explain REF shows what is configured for a registry (doc/auth.md)"
#define KANIKO "under the name executor (ln -s cbpush executor) it takes Kaniko's command line; cbpush build has " \
               "its own"
#define DOCKERFILE "images are made from a Dockerfile: cbpush build"

static const struct { const char *noun, *word, *hint; } verbs[] = {
    { "buildx", "create", BUILDERS },
    { "buildx", "use", BUILDERS },
    { "buildx", "ls", BUILDERS },
    { "buildx", "inspect", BUILDERS },
    { "buildx", "rm", BUILDERS },
    { "buildx", "stop", BUILDERS },
    { "buildx", "bake", BAKE },
    { "bake", NULL, BAKE },
    { "buildx", "install", BUILDERS },
    { "buildx", "uninstall", BUILDERS },
    { "buildx", "du", "cbpush prune --all --dry-run says what could be freed" },
    { "buildx", "prune", CACHE },
    { "buildx", "version", "write cbpush version" },
    { "buildx", "history", "cbpush build --metadata-file FILE and --trace FILE keep what a build was" },
    { "builder", "prune", CACHE },
    { "system", "prune", CACHE },
    { "system", "df", "cbpush prune --all --dry-run says what could be freed" },
    { "system", "info", DOCTOR },
    { "info", NULL, DOCTOR },
    { "image", "exists", "cbpush inspect NAME >/dev/null ends with 0 where it is there" },
    { "image", "tree", "cbpush history NAME shows its layers" },
    { "image", "untag", "write cbpush rmi NAME" },
    { "image", "import", DOCKERFILE },
    { "image", "manifest", "write cbpush manifest get REF" },
    { "image", "mod", "cbpush mutate changes a configuration, cbpush annotate annotations, cbpush rebase the base" },
    { "image", "export", "cbpush copy REF oci-archive:FILE or docker-archive:FILE" },
    { "image", "check-base", "cbpush inspect REF shows what it was built on, cbpush digest BASE what that is now" },
    { "artifact", "put", "write cbpush attach REF FILE" },
    { "artifact", "get", "cbpush manifest get REF and cbpush blob get REPO@DIGEST" },
    { "repo", "copy", "write cbpush copy --all-tags REPO REPO" },
    { "blob", "copy", "cbpush copy brings images with their blobs; cbpush blob get and blob put one alone" },
    { "blob", "diff-config", "cbpush diff REF REF compares images" },
    { "blob", "diff-layer", "cbpush diff REF REF compares images" },
    { "blob", "get-file", "cbpush export REF | tar -xO PATH" },
    { "manifest", "diff", "cbpush manifest get prints one; cbpush diff REF REF compares the files of images" },
    { "index", "add", "write cbpush index append REF IMAGE…" },
    { "index", "delete", "write cbpush index remove REF PLATFORM|DIGEST…" },
    { "ref", NULL, "cbpush auth explain REF shows what a reference stands for" },
    { "executor", NULL, KANIKO },
    { "kaniko", NULL, KANIKO },
    { "untag", NULL, "write cbpush rmi NAME" },
    { "import", NULL, "write a Dockerfile of FROM scratch and ADD FILE.tar /, and cbpush build" },
    { "commit", NULL, DOCKERFILE },
    { "from", NULL, DOCKERFILE },
    { "search", NULL, "cbpush catalog HOST lists repositories, cbpush tags HOST/REPO their tags" },
    { "compose", NULL, "cbpush builds one image at a time: cbpush build -t NAME DIR" },
    { "ps", NULL, CONTAINERS },
    { "exec", NULL, CONTAINERS },
    { "logs", NULL, CONTAINERS },
    { "rm", NULL, CONTAINERS },
    { "stop", NULL, CONTAINERS },
    { "start", NULL, CONTAINERS },
    { "kill", NULL, CONTAINERS },
    { "create", NULL, FILES },
    { "wait", NULL, CONTAINERS },
    { "context", NULL, BUILDERS },
    { "volume", NULL, "there are no volumes: cbpush run -v DIR:PATH shows a directory of this machine" },
    { "network", NULL, "there are no networks to make: --network of cbpush build and cbpush run is host, "
                       "none or private" },
    { "container", NULL, CONTAINERS },
    { "manifest", "create", INDEX },
    { "manifest", "add", INDEX },
    { "manifest", "push", "cbpush index create pushes it; cbpush manifest put REF FILE pushes one as it is" },
    { "manifest", "annotate", "cbpush annotate REF KEY=VALUE, and index create by each image's own platform" },
    { "manifest", "rm", "cbpush manifest delete REPO@DIGEST deletes one in a registry" },
    { "index", "filter", "cbpush copy --platform A,B makes a smaller index; index remove takes entries away" },
    { "index", "list", "write cbpush index inspect REF" },
    { "sync", NULL, "cbpush mirror does that by a file, cbpush copy --all-tags for one repository" },
    { "manifest-digest", NULL, "a manifest's digest is that of its bytes: sha256sum FILE" },
    { "standalone-sign", NULL, SIGN },
    { "standalone-verify", NULL, SIGN },
    { "sign", NULL, SIGN },
    { "layers", NULL, "write cbpush copy docker://REF dir:DIR" },
    { "edit", NULL, "cbpush mutate changes a configuration; manifest get and manifest put a whole manifest" },
    { "registry", "serve", REGISTRY },
    { "registry", "garbage-collect", REGISTRY },
    { "registry", "set", EXPLAIN },
    { "registry", "config", EXPLAIN },
    { "registry", "whoami", EXPLAIN },
};

/* People write the other program's name in front, too. */
static const char *const programs[] = { "docker", "podman", "buildah", "crane", "skopeo", "regctl" };

/* CB_COUNTOF(verbs): none. */
static size_t find_words(const char *noun, const char *word)
{
    size_t i = 0;
    while (i < CB_COUNTOF(verbs) &&
           (strcmp(noun, verbs[i].noun) || (verbs[i].word && !cb_streq(word, verbs[i].word))))
        i++;
    return i;
}

const char *cb_foreign_words(const char *noun, const char *word)
{
    size_t i = find_words(noun, word);
    return i < CB_COUNTOF(verbs) ? verbs[i].hint : NULL;
}

/* The second words of a noun that there is: "build, ls, …"; empty: there is none. */
static void list_words(const char *noun, struct cb_strbuf *out)
{
    const char *n, *word;
    for (size_t i = 0; cb_verb_spelling(i, &n, &word); i++)
        if (word && !strcmp(n, noun))
            cb_strbuf_addf(out, "%s%s", out->len ? ", " : "", word);
}

static const char *suggest(const char *word)
{
    cb_autofree const char **names = NULL;
    size_t n = 0, cap = 0;
    for (size_t i = 0; cb_verbs[i]; i++) {
        CB_GROW(names, n + 2, cap);
        names[n++] = cb_verbs[i]->name;
        if (cb_verbs[i]->alias)
            names[n++] = cb_verbs[i]->alias;
    }
    CB_GROW(names, n + 1, cap);
    names[n] = NULL;
    return cb_df_suggest(word, names);
}

int cb_foreign_verb(int argc, char **argv, struct cb_error *err)
{
    struct cb_strbuf words cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *noun = argc > 0 ? argv[0] : NULL, *word = argc > 1 ? argv[1] : NULL;
    int used = 0;
    if (!noun)
        return cb_error_set(err, CB_EUSAGE, "name a verb: `cbpush help` lists them");
    if (*noun == '-')
        return cb_error_set(err, CB_EUSAGE, "%s: options stand behind the verb: cbpush VERB %s … (`cbpush help` lists "
                                            "the verbs)", noun, noun);
    for (size_t k = 0; k < CB_COUNTOF(programs); k++)
        if (!strcmp(programs[k], noun))
            return cb_error_set(err, CB_EUSAGE, "leave out \"%s\": cbpush %s …", noun,
                                cb_verb_spelled(argc - 1, argv + 1, &used) ? word : "VERB");
    list_words(noun, &words);
    size_t i = find_words(noun, word);
    if (i < CB_COUNTOF(verbs))
        return cb_error_set(err, CB_EUSAGE, "there is no verb \"%s%s%s\": %s", noun, verbs[i].word ? " " : "",
                            verbs[i].word ? verbs[i].word : "", verbs[i].hint);
    if (words.len && word)
        return cb_error_set(err, CB_EUSAGE, "%s: \"%s\" is none of %s", noun, word, words.buf);
    if (words.len)
        return cb_error_set(err, CB_EUSAGE, "%s: what shall be done? %s", noun, words.buf);
    const char *meant = suggest(noun);
    return cb_error_set(err, CB_EUSAGE, "there is no verb \"%s\"%s%s%s: `cbpush help` lists them", noun,
                        meant ? " (did you mean " : "", meant ? meant : "", meant ? "?)" : "");
}
