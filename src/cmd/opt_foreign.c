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
#define CERTS "write --cert-dir DIR, or keep certificates in certs.d/HOST"
#define UNVERIFIED "write --tls-verify=false, or keep the registry's authority in certs.d/HOST"
#define MIRRORS "registries.conf and hosts.toml name mirrors (cbpush auth explain REF shows what is configured)"
#define CREDS "write --creds USER:PASS"
#define SIDE_CREDS(side) "write --" side "-creds USER:PASS"
#define RETRIES "write --retry N"
#define CONTEXT "the context is an operand: cbpush build DIR"
#define OPERAND_TAG "write -t NAME, and --push"
#define LOUDER "write -D to be told more, --progress quiet for less"
#define DOCKER_TAR "write -o type=docker,dest=FILE"
#define BY_DIGEST "a parent is pinned by its digest, in FROM or by --build-context NAME=docker-image://IMAGE@DIGEST"
#define SBOM "--sbom generator=IMAGE has one made by a scanner of BuildKit's protocol"
#define PLAIN "images are not encrypted here"
#define NO_DAEMON "there is no daemon here: `docker save`, then docker-archive:FILE"
#define NOTHING "there is nothing to do here: leave it out"
#define POLICY "no policy of signatures is looked at: leave it out"

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
    { "build", "encryption-key", 0, PLAIN },
    { "build", "decryption-key", 0, "encrypted parents are not read here" },
    { "build", "cpp-flag", 0, "a Dockerfile is not preprocessed: cpp FILE | cbpush build -f - DIR" },
    { "build", "hooks-dir", 0, "hooks of an OCI runtime are not run" },
    { "build", "runtime-flag", 0, "name a script that adds it: --runtime FILE" },
    { "build", "logsplit", 0, "--logfile has all platforms in one" },
    { "build", "no-hosts", 0, "/etc/hosts of a RUN is in no layer: leave it out" },
    { "build", "no-hostname", 0, "/etc/hostname of a RUN is in no layer: leave it out" },
    { "build", "omit-history", 0, "the history of an image is always written" },
    { "build", "sbom-output", 0, SBOM },
    { "build", "sbom-purl-output", 0, SBOM },
    { "build", "sbom-image-output", 0, SBOM },
    { "build", "sbom-image-purl-output", 0, SBOM },
    { "build", "sbom-merge-strategy", 0, SBOM },
    { "build", "sbom-scanner-command", 0, SBOM },
    { "build", "sbom-scanner-image", 0, SBOM },
    { "build", "source-policy-file", 0, BY_DIGEST },
    { "build", "policy", 0, BY_DIGEST },
    /* Kaniko's, by those who have renamed the program only. */
    { "build", "context", 0, CONTEXT },
    { "build", "contextdir", 0, CONTEXT },
    { "build", "context-sub-path", 0, CONTEXT },
    { "build", "dockerfile", 0, "write -f FILE" },
    { "build", "destination", 'd', OPERAND_TAG },
    { "build", "no-push", 0, "nothing is pushed without --push: leave it out" },
    { "build", "tar-path", 0, DOCKER_TAR },
    { "build", "tarPath", 0, DOCKER_TAR },
    { "build", "oci-layout-path", 0, "write -o type=oci,tar=false,dest=DIR" },
    { "build", "cache", 0, "steps are always kept; --cache-from REPO and --cache-to REPO share them between machines" },
    { "build", "cache-repo", 0, "write --cache-from REPO and --cache-to type=registry,ref=REPO,mode=max" },
    { "build", "no-push-cache", 0, "write --cache-from without --cache-to" },
    { "build", "cache-dir", 0, "the store keeps parents and steps: --root DIR" },
    { "build", "cache-copy-layers", 0, NOTHING },
    { "build", "cache-run-layers", 0, NOTHING },
    { "build", "compressed-caching", 0, NOTHING },
    { "build", "snapshot-mode", 0, NOTHING },
    { "build", "snapshotMode", 0, NOTHING },
    { "build", "use-new-run", 0, NOTHING },
    { "build", "cleanup", 0, NOTHING },
    { "build", "force", 0, NOTHING },
    { "build", "ignore-path", 0, NOTHING },
    { "build", "ignore-var-run", 0, NOTHING },
    { "build", "kaniko-dir", 0, NOTHING },
    { "build", "log-format", 0, "write --progress plain or rawjson" },
    { "build", "log-timestamp", 0, NOTHING },
    { "build", "image-fs-extract-retry", 0, NOTHING },
    { "build", "skip-push-permission-check", 0, NOTHING },
    { "build", "single-snapshot", 0, "write --squash" },
    { "build", "reproducible", 0, "write --source-date-epoch 0" },
    { "build", "custom-platform", 0, ONE_PLATFORM },
    { "build", "customPlatform", 0, ONE_PLATFORM },
    { "build", "insecure-pull", 0, EACH_HOST },
    { "build", "skip-tls-verify", 0, UNVERIFIED },
    { "build", "skip-tls-verify-pull", 0, UNVERIFIED },
    { "build", "skip-tls-verify-registry", 0, UNVERIFIED },
    { "build", "registry-certificate", 0, CERTS },
    { "build", "registry-client-cert", 0, CERTS },
    { "build", "registry-mirror", 0, MIRRORS },
    { "build", "registry-map", 0, MIRRORS },
    { "build", "skip-default-registry-fallback", 0, MIRRORS },
    { "build", "push-retry", 0, RETRIES },
    { "build", "image-download-retry", 0, RETRIES },
    { "build", "verbosity", 0, LOUDER },
    { "build", "git", 0, "the reference stands in the URL: https://HOST/X.git#REF" },
    { "copy", "multi-arch", 0, "an index is copied whole; --platform OS/ARCH takes one image of it" },
    { "copy", "override-os", 0, ONE_PLATFORM },
    { "copy", "override-arch", 0, ONE_PLATFORM },
    { "copy", "override-variant", 0, ONE_PLATFORM },
    { "copy", "src-cert-dir", 0, CERTS },
    { "copy", "dest-cert-dir", 0, CERTS },
    { "copy", "format", 'f', "manifests stay byte for byte: cbpush build --format makes others" },
    { "copy", "dest-compress", 0, LAYERS },
    { "copy", "dest-compress-format", 0, LAYERS },
    { "copy", "dest-compress-level", 0, LAYERS },
    { "copy", "additional-tag", 0, "an archive is written with one name" },
    { "copy", "remove-signatures", 0, "what refers to an image is left behind unless --referrers is "
                                     "said: leave it out" },
    { "copy", "sign-by", 0, COSIGN },
    { "copy", "encryption-key", 0, PLAIN },
    { "copy", "encrypt-layer", 0, PLAIN },
    { "copy", "decryption-key", 0, PLAIN },
    { "copy", "sign-by-sigstore", 0, COSIGN },
    { "copy", "sign-by-sigstore-private-key", 0, COSIGN },
    { "copy", "sign-identity", 0, COSIGN },
    { "copy", "sign-passphrase-file", 0, COSIGN },
    { "copy", "src-username", 0, SIDE_CREDS("src") },
    { "copy", "src-password", 0, SIDE_CREDS("src") },
    { "copy", "dest-username", 0, SIDE_CREDS("dest") },
    { "copy", "dest-password", 0, SIDE_CREDS("dest") },
    { "copy", "src-no-creds", 0, "write --src-authfile FILE, a file of {}" },
    { "copy", "dest-no-creds", 0, "write --dest-authfile FILE, a file of {}" },
    { "copy", "src-registry-token", 0, "write --src-authfile FILE, where \"registrytoken\" has it" },
    { "copy", "dest-registry-token", 0, "write --dest-authfile FILE, where \"registrytoken\" has it" },
    { "copy", "src-daemon-host", 0, NO_DAEMON },
    { "copy", "dest-daemon-host", 0, NO_DAEMON },
    { "copy", "dest-decompress", 0, LAYERS },
    { "copy", "dest-oci-accept-uncompressed-layers", 0, NOTHING },
    { "copy", "dest-precompute-digests", 0, NOTHING },
    { "digest", "tarball", 0, "cbpush load -i FILE prints it" },
    { "inspect", "override-os", 0, ONE_PLATFORM },
    { "inspect", "override-arch", 0, ONE_PLATFORM },
    { "inspect", "size", 's', "cbpush images has it" },
    { "inspect", "type", 0, "only images are here: leave it out" },
    { "images", "noheading", 'n', "--format TEMPLATE prints no heading" },
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
    { "load", "platform", 0, "write cbpush copy --platform OS/ARCH oci-archive:FILE store:NAME" },
    { "pull", "arch", 0, ONE_PLATFORM },
    { "pull", "os", 0, ONE_PLATFORM },
    { "pull", "variant", 0, ONE_PLATFORM },
    { "pull", "decryption-key", 0, "encrypted images are not read here" },
    { "pull", "disable-content-trust", 0, NOTHING },
    { "pull", "remove-signatures", 0, NOTHING },
    { "pull", "cache_path", 'c', "the store keeps layers: --root DIR" },
    { "pull", "policy", 0, "pull always asks the registry" },
    { "pull", "format", 0, "write cbpush copy IMAGE oci:DIR, or docker-archive:FILE" },
    { "push", "all", 0, "an index is pushed whole: leave it out" },
    { "push", "rm", 0, "cbpush rmi NAME does that afterwards" },
    { "push", "compression-format", 0, LAYERS },
    { "push", "compression-level", 0, LAYERS },
    { "push", "force-compression", 0, LAYERS },
    { "push", "disable-compression", 0, LAYERS },
    { "push", "disable-content-trust", 0, NOTHING },
    { "push", "remove-signatures", 0, NOTHING },
    { "push", "encryption-key", 0, PLAIN },
    { "push", "encrypt-layer", 0, PLAIN },
    { "push", "format", 0, "manifests stay byte for byte: cbpush build --format makes others" },
    { "push", "platform", 0, "write cbpush copy --platform OS/ARCH store:IMAGE DESTINATION" },
    { "push", "index", 0, "write cbpush copy oci:DIR DESTINATION" },
    { "push", "sign-by", 0, COSIGN },
    { "rmi", "all", 'a', "name them: cbpush rmi $(cbpush images --format '{{.Repository}}:{{.Tag}}')" },
    { "rmi", "no-prune", 0, "layers stay until cbpush prune: leave it out" },
    { "append", "new_tag", 0, NEWREF },
    { "append", "set-base-image-annotations", 0, "cbpush annotate REF org.opencontainers.image.base.name=BASE, and "
                                                 "base.digest" },
    { "rebase", "rebased", 0, NEWREF },
    { "mutate", "repo", 0, NEWREF },
    { "mutate", "output", 'o', "write cbpush copy NEWREF docker-archive:FILE afterwards" },
    { "validate", "tarball", 0, "cbpush load -i FILE checks it" },
    { "index", "manifest", 'm', "images are operands: cbpush index append REF IMAGE…" },
    { "prune", "build-cache", 0, "write --all" },
    { "version", "format", 'f', "cbpush --version is one line" },
    { "", "allow-nondistributable-artifacts", 0, "layers that may not be given away stay where they are" },
    { "", "insecure", 0, EACH_HOST },
    { "", "insecure-policy", 0, POLICY },
    { "", "signature-policy", 0, POLICY },
    { "", "log-level", 0, LOUDER },
    { "", "no-creds", 0, "write --authfile FILE, a file of {}" },
    { "", "password", 0, CREDS },
    { "", "username", 0, CREDS },
    { "", "registry-token", 0, "write --authfile FILE, where \"registrytoken\" has it" },
    { "", "retry-times", 0, RETRIES },
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
