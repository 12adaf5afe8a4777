/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/opt_foreign.h"

#include <stdbool.h>
#include <string.h>

#include "util/macros.h"

#define SANDBOX "a step has Docker's default capabilities and seccomp profile; RUN --security=insecure with " \
                "--allow security.insecure has all rights"
#define SPACES "its namespaces are always its own"
#define COSIGN "signatures are not made here: sign what was pushed, by its digest"
#define LAYERS "layers stay as they are: cbpush build --compression-format"
#define ONE_PLATFORM "write --platform OS/ARCH"
#define EACH_HOST "write --insecure-registry HOST, or --tls-verify=false for all of them"
#define BY_AGE "what stays goes by age: --keep DURATION"
#define NEWREF "write -t NEWREF"

static const struct {
    const char *verb, *name;
    char letter;
    const char *hint;
} options[] = {
    { "build", "volume", 'v', "a directory of this machine: --build-context NAME=DIR and RUN --mount=from=NAME,"
                              "target=PATH; what stays from build to build: RUN --mount=type=cache,target=PATH" },
    { "build", "cap-add", 0, SANDBOX },
    { "build", "cap-drop", 0, SANDBOX },
    { "build", "security-opt", 0, SANDBOX },
    { "build", "device", 0, "write RUN --device=NAME and --allow device=NAME (CDI)" },
    { "build", "userns", 0, SPACES },
    { "build", "userns-uid-map", 0, SPACES },
    { "build", "userns-gid-map", 0, SPACES },
    { "build", "userns-uid-map-user", 0, SPACES },
    { "build", "userns-gid-map-group", 0, SPACES },
    { "build", "ipc", 0, SPACES },
    { "build", "pid", 0, SPACES },
    { "build", "uts", 0, SPACES },
    { "build", "cgroupns", 0, SPACES },
    { "build", "manifest", 0, "--platform A,B with -t NAME makes an index; cbpush index append adds to one" },
    { "build", "all-platforms", 0, "name them: --platform A,B" },
    { "build", "from", 0, "write ARG BASE and FROM $BASE, and --build-arg BASE=IMAGE; or --build-context "
                          "NAME=docker-image://IMAGE for FROM NAME" },
    { "build", "print", 0, "write --call outline or --call targets" },
    { "build", "pull-always", 0, "write --pull=always" },
    { "build", "pull-never", 0, "write --pull=never" },
    { "build", "group-add", 0, "USER in the Dockerfile takes the groups that /etc/group gives it" },
    { "build", "stdin", 0, "a RUN has no standard input" },
    { "build", "sign-by", 0, COSIGN },
    { "build", "encryption-key", 0, "images are not encrypted here" },
    { "build", "decryption-key", 0, "encrypted parents are not read here" },
    { "copy", "multi-arch", 0, "an index is copied whole; --platform OS/ARCH takes one image of it" },
    { "copy", "override-os", 0, ONE_PLATFORM },
    { "copy", "override-arch", 0, ONE_PLATFORM },
    { "copy", "override-variant", 0, ONE_PLATFORM },
    { "copy", "src-cert-dir", 0, "write --cert-dir DIR, or keep certificates in certs.d/HOST" },
    { "copy", "dest-cert-dir", 0, "write --cert-dir DIR, or keep certificates in certs.d/HOST" },
    { "copy", "format", 'f', "manifests stay byte for byte: cbpush build --format makes others" },
    { "copy", "dest-compress", 0, LAYERS },
    { "copy", "dest-compress-format", 0, LAYERS },
    { "copy", "dest-compress-level", 0, LAYERS },
    { "copy", "additional-tag", 0, "an archive is written with one name" },
    { "copy", "remove-signatures", 0, "what refers to an image is left behind unless --referrers is "
                                     "said: leave it out" },
    { "copy", "sign-by", 0, COSIGN },
    { "copy", "encryption-key", 0, "images are not encrypted here" },
    { "digest", "tarball", 0, "cbpush load -i FILE prints it" },
    { "inspect", "override-os", 0, ONE_PLATFORM },
    { "inspect", "override-arch", 0, ONE_PLATFORM },
    { "inspect", "size", 's', "cbpush images has it" },
    { "images", "sort", 0, "pipe it into sort" },
    { "ls", "full-ref", 0, "cbpush tags lists the tags of a repository; ls lists the files of an image" },
    { "ls", "omit-digest-tags", 0, "cbpush tags lists the tags of a repository; ls lists the files of an image" },
    { "login", "get-login", 0, "cbpush auth explain HOST/REPO says whose credentials are taken" },
    { "logout", "all", 'a', "name each: cbpush logout HOST" },
    { "prune", "filter", 0, BY_AGE },
    { "prune", "keep-storage", 0, BY_AGE },
    { "prune", "max-used-space", 0, BY_AGE },
    { "prune", "reserved-space", 0, BY_AGE },
    { "prune", "min-free-space", 0, BY_AGE },
    { "prune", "volumes", 0, "prune --mounts frees what cache mounts hold; there are no volumes" },
    { "pull", "all-tags", 'a', "write cbpush copy --all-tags HOST/REPO store:HOST/REPO" },
    { "pull", "policy", 0, "pull always asks the registry" },
    { "pull", "format", 0, "write cbpush copy IMAGE oci:DIR, or docker-archive:FILE" },
    { "push", "compression-format", 0, LAYERS },
    { "push", "format", 0, "manifests stay byte for byte: cbpush build --format makes others" },
    { "push", "platform", 0, "write cbpush copy --platform OS/ARCH store:IMAGE DESTINATION" },
    { "push", "index", 0, "write cbpush copy oci:DIR DESTINATION" },
    { "push", "sign-by", 0, COSIGN },
    { "rmi", "all", 'a', "name them: cbpush rmi $(cbpush images --format '{{.Repository}}:{{.Tag}}')" },
    { "append", "new_tag", 0, NEWREF },
    { "rebase", "rebased", 0, NEWREF },
    { "mutate", "repo", 0, NEWREF },
    { "index", "manifest", 'm', "images are operands: cbpush index append REF IMAGE…" },
    { "", "insecure", 0, EACH_HOST },
    { "", "insecure-policy", 0, "no policy of signatures is looked at: leave it out" },
    { "", "log-level", 0, "write -D to be told more, --progress quiet for less" },
    { "", "retry-times", 0, "write --retry N" },
    { "", "storage-driver", 0, "cbpush finds out what works here: cbpush doctor" },
};

static bool is_called(const char *name, const char *word, size_t n)
{
    return strlen(name) == n && !strncmp(name, word, n);
}

const char *cb_foreign_option(const char *verb, const char *name, size_t n, char letter)
{
    for (size_t i = 0; i < CB_COUNTOF(options); i++) {
        bool named = name ? is_called(options[i].name, name, n) : options[i].letter && options[i].letter == letter;
        if (named && (!*options[i].verb || !strcmp(options[i].verb, verb)))
            return options[i].hint;
    }
    return NULL;
}

const char *cb_foreign_option_at(size_t i, const char **name, char *letter)
{
    if (i >= CB_COUNTOF(options))
        return NULL;
    *name = options[i].name;
    *letter = options[i].letter;
    return options[i].verb;
}
