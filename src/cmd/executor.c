/* SPDX-License-Identifier: Apache-2.0 */
/* Kaniko's command line, for a program that is called `executor`: a drop-in for its image. It pushes by default, and a
 * RUN that fails gives its own exit status. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cmd/build_input.h"
#include "util/alloc.h"
#include "util/encode.h"

#define KANIKO_CONFIG "/kaniko/.docker"
#define GIT_LOGIN "CBPUSH_GIT_LOGIN" /* a secret of ours has it from there */

struct executor_options {
    struct build_options b;
    const char *context, *sub_path, *tar_path, *oci_path, *platform, *cache, *cache_repo, *verbosity;
    struct cb_strvec destinations, mirrors, maps, not_done;
    bool no_push, no_push_cache, insecure, insecure_pull, skip_tls_verify, skip_tls_verify_pull, reproducible, single;
};

#define AT(field) offsetof(struct executor_options, field)
#define IGNORED(name, arg) { name, 0, CB_OPT_NOTED, AT(b.compat.ignored), arg, NULL, NULL }
#define NOT_DONE(name, arg) { name, 0, CB_OPT_NOTED, AT(not_done), arg, NULL, NULL }

static const struct cb_opt options[] = {
    { "context", 'c', CB_OPT_STRING, AT(context), "DIR",
      "the build context: DIR, dir://DIR, tar://FILE, tar://stdin, https://HOST/FILE, git://HOST/X#REF (/workspace)",
      NULL },
    { "context-sub-path", 0, CB_OPT_STRING, AT(sub_path), "PATH", "a directory in it to use instead", NULL },
    { "dockerfile", 'f', CB_OPT_STRING, AT(b.file), "FILE", "the Dockerfile (Dockerfile in the context)", NULL },
    { "destination", 'd', CB_OPT_LIST, AT(destinations), "NAME[:TAG]", "push to this name (several)", NULL },
    { "no-push", 0, CB_OPT_FLAG, AT(no_push), NULL, "only build (KANIKO_NO_PUSH)", NULL },
    { "tar-path", 0, CB_OPT_STRING, AT(tar_path), "FILE", "write a docker archive", NULL },
    { "tarPath", 0, CB_OPT_STRING, AT(tar_path), "FILE", NULL, NULL },
    { "oci-layout-path", 0, CB_OPT_STRING, AT(oci_path), "DIR", "write an OCI layout", NULL },
    { "build-arg", 0, CB_OPT_LIST, AT(b.build_args), "K[=V]", "value of an ARG", NULL },
    { "secret", 0, CB_OPT_LIST, AT(b.secrets), "id=ID[,src=FILE|,env=VAR]", "what RUN --mount=type=secret may read",
      NULL },
    { "target", 0, CB_OPT_STRING, AT(b.target), "STAGE", "build this stage", NULL },
    { "label", 0, CB_OPT_LIST, AT(b.labels), "K=V", "label of the image", NULL },
    { "annotation", 0, CB_OPT_LIST, AT(b.annotations), "K=V", "annotation of the manifest", NULL },
    { "custom-platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "platform of the result", NULL },
    { "customPlatform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", NULL, NULL },
    { "cache", 0, CB_OPT_MAYBE, AT(cache), "BOOL", "read and write a cache that machines share (false)", NULL },
    { "cache-repo", 0, CB_OPT_STRING, AT(cache_repo), "REPO", "that one: REPO or oci:DIR (DESTINATION/cache)", NULL },
    { "cache-ttl", 0, CB_OPT_STRING, AT(b.cache.ttl), "DURATION", "what is recorded longer ago does not count (336h)",
      NULL },
    { "no-push-cache", 0, CB_OPT_FLAG, AT(no_push_cache), NULL, "only read it", NULL },
    { "single-snapshot", 0, CB_OPT_FLAG, AT(single), NULL, "one layer on top of the parent's", NULL },
    { "reproducible", 0, CB_OPT_FLAG, AT(reproducible), NULL, "as SOURCE_DATE_EPOCH=0", NULL },
    { "compression", 0, CB_OPT_STRING, AT(b.image.compression), "FORMAT", CB_FORMAT_NAMES, NULL },
    { "compression-level", 0, CB_OPT_STRING, AT(b.image.level), "N", CB_FORMAT_LEVELS "; -1: default",
      NULL },
    { "digest-file", 0, CB_OPT_STRING, AT(b.results.digest_file), "FILE", "write the digest there", NULL },
    { "image-name-with-digest-file", 0, CB_OPT_STRING, AT(b.results.name_file), "FILE", "write NAME@DIGEST there",
      NULL },
    { "image-name-tag-with-digest-file", 0, CB_OPT_STRING, AT(b.results.name_tag_file), "FILE",
      "write NAME:TAG@DIGEST there", NULL },
    { "insecure", 0, CB_OPT_FLAG, AT(insecure), NULL, "plain HTTP is allowed for the destinations", NULL },
    { "insecure-pull", 0, CB_OPT_FLAG, AT(insecure_pull), NULL, "plain HTTP is allowed everywhere", NULL },
    { "insecure-registry", 0, CB_OPT_LIST, AT(b.common.insecure), "HOST[:PORT]", "plain HTTP is allowed there", NULL },
    { "skip-tls-verify", 0, CB_OPT_FLAG, AT(skip_tls_verify), NULL, "do not verify certificates of destinations",
      NULL },
    { "skip-tls-verify-pull", 0, CB_OPT_FLAG, AT(skip_tls_verify_pull), NULL, "do not verify certificates", NULL },
    { "skip-tls-verify-registry", 0, CB_OPT_LIST, AT(b.common.unverified), "HOST[:PORT]", "do not verify those of HOST",
      NULL },
    { "registry-mirror", 0, CB_OPT_LIST, AT(mirrors), "HOST[/PATH]",
      "pull from there instead of Docker Hub (KANIKO_REGISTRY_MIRROR)", NULL },
    { "registry-map", 0, CB_OPT_LIST, AT(maps), "HOST=HOST[;…]",
      "pull from there instead of HOST (KANIKO_REGISTRY_MAP)", NULL },
    { "skip-default-registry-fallback", 0, CB_OPT_FLAG, AT(b.common.only_mirrors), NULL, "and nowhere else", NULL },
    { "registry-certificate", 0, CB_OPT_LIST, AT(b.common.certs), "HOST=FILE", "authority of a registry", NULL },
    { "registry-client-cert", 0, CB_OPT_LIST, AT(b.common.client_certs), "HOST=CERT,KEY", "who we are there", NULL },
    { "push-retry", 0, CB_OPT_STRING, AT(b.common.retry), "N", "further tries of a request that fails (5)", NULL },
    { "image-download-retry", 0, CB_OPT_STRING, AT(b.common.retry), "N", NULL, NULL },
    { "verbosity", 'v', CB_OPT_STRING, AT(verbosity), "LEVEL", "debug and trace say more, error and less say nothing",
      NULL },
    IGNORED("cache-copy-layers", NULL),
    IGNORED("cache-dir", "DIR"),
    IGNORED("cache-run-layers", NULL),
    IGNORED("cleanup", NULL),
    IGNORED("compressed-caching", NULL),
    IGNORED("force", NULL),
    IGNORED("force-build-metadata", NULL),
    IGNORED("ignore-path", "PATH"),
    IGNORED("ignore-var-run", NULL),
    IGNORED("image-fs-extract-retry", "N"),
    IGNORED("kaniko-dir", "DIR"),
    IGNORED("log-format", "FORMAT"),
    IGNORED("log-timestamp", NULL),
    IGNORED("pre-cleanup", NULL),
    IGNORED("preserve-context", NULL),
    IGNORED("skip-push-permission-check", NULL),
    IGNORED("skip-unused-stages", NULL),
    IGNORED("snapshot-mode", "MODE"),
    IGNORED("snapshotMode", "MODE"),
    IGNORED("use-new-run", NULL),
    IGNORED("whitelist-var-run", NULL),
    { "bucket", 'b', CB_OPT_NOTED, AT(not_done), "BUCKET", NULL, NULL },
    NOT_DONE("credential-helpers", "LIST"),
    NOT_DONE("git", "OPTIONS"),
    NOT_DONE("materialize", NULL),
    NOT_DONE("push-ignore-immutable-tag-errors", NULL),
    { "root", 0, CB_OPT_STRING, AT(b.common.root), "DIR", "keep images and cache in DIR (CBPUSH_ROOT)", NULL },
    CB_OPT_END,
};

static void executor_done(struct executor_options *x)
{
    struct cb_strvec *const lists[] = { &x->destinations, &x->mirrors, &x->maps, &x->not_done };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
}

/* ---- what it means in the words of `build` ---- */

/* What does the same here, of options that are not done. */
static int refuse_option(const char *word, struct cb_error *err)
{
    static const struct { const char *name, *hint; } rows[] = {
        { "bucket", "fetch the archive, and write --context tar://FILE or tar://stdin" },
        { "credential-helpers", "config.json names them, as credHelpers and credsStore" },
        { "git", "the reference stands in the URL: --context git://HOST/X#refs/heads/BRANCH" },
        { "materialize", "a build leaves no file system behind: cbpush build -o DIR writes the files of an image" },
        { "push-ignore-immutable-tag-errors", "a tag that stands for this image already is no error here; for one that "
                                              "stands for another, name another" },
    };
    size_t n = strcspn(word, "="), i = 0;
    while (i < CB_COUNTOF(rows) - 1 && (strlen(rows[i].name) != n || strncmp(rows[i].name, word, n) != 0))
        i++;
    return cb_error_set(err, CB_EUSAGE, "--%.*s is not supported: %s", (int)n, word, rows[i].hint);
}

/* Kaniko's, which count more than the command line. */
static int take_environment(struct executor_options *x, struct cb_error *err)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    const char *mirror = getenv("KANIKO_REGISTRY_MIRROR"), *map = getenv("KANIKO_REGISTRY_MAP");
    const char *no_push = getenv("KANIKO_NO_PUSH");
    if (mirror && *mirror)
        cb_strvec_push(&x->mirrors, mirror);
    if (map && *map)
        cb_strvec_push(&x->maps, map);
    if (!no_push || !*no_push)
        return 0;
    for (size_t i = 0; i < CB_COUNTOF(yes); i++)
        if (!strcmp(no_push, yes[i]) || !strcmp(no_push, no[i])) {
            x->no_push = !strcmp(no_push, yes[i]);
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "KANIKO_NO_PUSH=%s: true or false", no_push);
}

static int check(const struct executor_options *x, struct cb_error *err)
{
    if (x->not_done.n)
        return refuse_option(x->not_done.v[0], err);
    if (!x->no_push && !x->destinations.n)
        return cb_error_set(err, CB_EUSAGE, "name a --destination, or say --no-push");
    if (x->tar_path && !x->destinations.n)
        return cb_error_set(err, CB_EUSAGE, "--tar-path needs a --destination: the name of the image in the archive");
    return 0;
}

/* A file takes the place of standard input, which `build -` reads. */
static int take_tar(const char *path, struct build_input *in, struct cb_error *err)
{
    if (strcmp(path, "stdin")) {
        cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || dup2(fd, STDIN_FILENO) < 0)
            return cb_error_sys(err, errno == ENOENT ? CB_EUSAGE : CB_ELOCAL, errno, "--context tar://%s", path);
    }
    cb_strvec_push(&in->operands, "-");
    return 0;
}

/* GIT_TOKEN, which Kaniko sends as the user's name, or GIT_USERNAME and GIT_PASSWORD; a --secret says it better. */
static void take_git_login(const char *repo, struct build_options *b)
{
    struct cb_strbuf pair cb_cleanup_strbuf = CB_STRBUF_INIT, value cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *token = getenv("GIT_TOKEN"), *user = getenv("GIT_USERNAME"), *password = getenv("GIT_PASSWORD");
    size_t host = strcspn(repo, "/?#");
    bool said = strcspn(repo, "@,\"") < host;
    for (size_t i = 0; i < b->secrets.n; i++)
        said = said || strstr(b->secrets.v[i], "id=GIT_AUTH_");
    if (token && *token)
        cb_strbuf_addf(&pair, "%s:", token);
    else if ((user && *user) || (password && *password))
        cb_strbuf_addf(&pair, "%s:%s", user ? user : "", password ? password : "");
    if (said || !pair.len)
        return;
    cb_strbuf_adds(&value, "Basic ");
    cb_base64_encode(&value, pair.buf, pair.len);
    setenv(GIT_LOGIN, value.buf, 1);
    explicit_bzero(pair.buf, pair.len);
    explicit_bzero(value.buf, value.len);
    cb_strvec_pushf(&b->secrets, "id=GIT_AUTH_HEADER.%.*s,env=" GIT_LOGIN, (int)host, repo);
}

/* HOST/REPOSITORY[#REF[#COMMIT]], which Kaniko fetches by https. */
static int take_git(struct executor_options *x, const char *repo, struct build_input *in, struct cb_error *err)
{
    const char *method = getenv("GIT_PULL_METHOD"), *rest = repo + strcspn(repo, "?#");
    const char *suffix = rest - repo > 4 && !strncmp(rest - 4, ".git", 4) ? "" : ".git";
    const char *sub = x->sub_path ? x->sub_path : "";
    if (!method || !*method)
        method = "https";
    if (strcmp(method, "https") && strcmp(method, "http"))
        return cb_error_set(err, CB_EUSAGE, "GIT_PULL_METHOD=%s: https or http", method);
    if (*rest == '?' && *sub)
        return cb_error_set(err, CB_EUSAGE, "--context-sub-path: write &subdir=%s behind %s", sub, x->context);
    take_git_login(repo, &x->b);
    int n = (int)(rest - repo);
    if (*rest == '#') {
        const char *commit = strchr(rest + 1, '#');
        rest = commit && commit[1] ? commit : rest;
    }
    int len = *rest == '#' ? (int)(1 + strcspn(rest + 1, "#")) : (int)strlen(rest);
    cb_strvec_pushf(&in->operands, "%s://%.*s%s%.*s%s%s%s", method, n, repo, suffix, len, rest,
                    *sub && !*rest ? "#" : "", *sub ? ":" : "", sub);
    return 0;
}

static int refuse_context(const char *text, struct cb_error *err)
{
    return cb_error_set(err, CB_EUSAGE, "--context %s: only directories (dir://DIR), tars (tar://FILE, tar://stdin, "
                                        "https://…) and repositories (git://…) are read: fetch it, and pipe it in",
                        text);
}

static int take_context(struct executor_options *x, struct build_input *in, struct cb_error *err)
{
    const char *text = x->context ? x->context : "/workspace";
    bool tar = cb_starts_with(text, "tar://"), url = cb_starts_with(text, "https://");
    if ((tar || url) && x->sub_path)
        return cb_error_set(err, CB_EUSAGE, "--context-sub-path is for a directory, and not for %s", text);
    if (cb_starts_with(text, "git://"))
        return take_git(x, text + strlen("git://"), in, err);
    if (tar)
        return take_tar(text + strlen("tar://"), in, err);
    if (cb_starts_with(text, "dir://"))
        text += strlen("dir://");
    else if (!url && strstr(text, "://"))
        return refuse_context(text, err);
    if (x->sub_path)
        cb_strvec_pushf(&in->operands, "%s/%s", text, x->sub_path);
    else
        cb_strvec_push(&in->operands, text);
    return 0;
}

static int take_map(const char *text, struct cb_strvec *to, struct cb_error *err)
{
    while (*text) {
        size_t n = strcspn(text, ";");
        cb_autofree char *word = cb_strndup(text, n);
        char *eq = strchr(word, '=');
        if (n && (!eq || eq == word || !eq[1]))
            return cb_error_set(err, CB_EUSAGE, "--registry-map %s: write HOST=HOST[;HOST=HOST]", word);
        if (eq) {
            *eq = '\0';
            cb_strvec_pushf(to, "%s=%s", cb_reference_known_host(word), eq + 1);
        }
        text += n + (text[n] == ';');
    }
    return 0;
}

static int take_mirrors(const struct executor_options *x, struct cb_common *c, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < x->maps.n; i++)
        r = take_map(x->maps.v[i], &c->mirrors, err);
    for (size_t i = 0; i < x->mirrors.n; i++)
        cb_strvec_pushf(&c->mirrors, "docker.io=%s", x->mirrors.v[i]);
    return r;
}

static int take_hosts(const struct executor_options *x, struct cb_common *c, struct cb_error *err)
{
    for (size_t i = 0; i < x->destinations.n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        int r = cb_reference_parse_word(&ref, x->destinations.v[i], err);
        if (r < 0)
            return cb_error_wrap(err, "--destination");
        if (x->insecure)
            cb_strvec_push(&c->insecure, ref.host);
        if (x->skip_tls_verify)
            cb_strvec_push(&c->unverified, ref.host);
    }
    if (x->insecure_pull)
        cb_strvec_push(&c->insecure, "*");
    if (x->skip_tls_verify_pull)
        cb_strvec_push(&c->unverified, "*");
    return 0;
}

static void take_outputs(const struct executor_options *x, struct build_options *b)
{
    for (size_t i = 0; i < x->destinations.n; i++)
        cb_strvec_push(&b->tags, x->destinations.v[i]);
    if (x->tar_path)
        cb_strvec_pushf(&b->outputs, "type=docker,\"dest=%s\"", x->tar_path);
    if (x->oci_path)
        cb_strvec_pushf(&b->outputs, "type=oci,tar=false,\"dest=%s\"", x->oci_path);
    b->push = x->no_push ? NULL : "true";
}

/* As Kaniko's: all stages, and a cache that cannot be written is a warning. */
static int take_cache(const struct executor_options *x, struct build_options *b, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    bool cached = x->cache && strcmp(x->cache, "false") && strcmp(x->cache, "0");
    bool dir = x->cache_repo && cb_starts_with(x->cache_repo, "oci:");
    if (!cached) {
        b->cache.ttl = NULL;
        return 0;
    }
    if (!b->cache.ttl)
        b->cache.ttl = "336h";
    if (!x->cache_repo && !x->destinations.n)
        return cb_error_set(err, CB_EUSAGE, "--cache needs a --cache-repo where there is no --destination");
    if (!x->cache_repo && cb_reference_parse_word(&ref, x->destinations.v[0], err) < 0)
        return cb_error_wrap(err, "--destination");
    cb_autofree char *repo = x->cache_repo ? cb_strdup(x->cache_repo) : cb_asprintf("%s/%s/cache", ref.host, ref.repo);
    cb_strvec_pushf(&b->cache.from, dir ? "type=local,\"src=%s\"" : "type=registry,\"ref=%s\"", dir ? repo + 4 : repo);
    if (!x->no_push_cache)
        cb_strvec_pushf(&b->cache.to, "type=%s,\"%s=%s\",mode=max,ignore-error=true", dir ? "local" : "registry",
                        dir ? "dest" : "ref", dir ? repo + 4 : repo);
    return 0;
}

static int take_verbosity(const struct executor_options *x, struct cb_common *c, struct cb_error *err)
{
    static const struct { const char *level; bool debug, quiet; } levels[] = {
        { "trace", true, false }, { "debug", true, false }, { "info", false, false }, { "warn", false, false },
        { "warning", false, false }, { "error", false, true }, { "fatal", false, true }, { "panic", false, true },
    };
    for (size_t i = 0; x->verbosity && i < CB_COUNTOF(levels); i++)
        if (!strcmp(x->verbosity, levels[i].level)) {
            c->debug = levels[i].debug;
            c->progress = levels[i].quiet ? "quiet" : NULL;
            return 0;
        }
    if (!x->verbosity)
        return 0;
    return cb_error_set(err, CB_EUSAGE, "--verbosity %s: trace, debug, info, warn, error, fatal or panic",
                        x->verbosity);
}

static int take(struct executor_options *x, struct build_input *in, struct cb_error *err)
{
    struct build_options *b = &x->b;
    int r = take_environment(x, err);
    if (r == 0)
        r = check(x, err);
    if (r == 0)
        r = take_context(x, in, err);
    if (r == 0)
        r = take_mirrors(x, &b->common, err);
    if (r == 0)
        r = take_hosts(x, &b->common, err);
    if (r == 0)
        r = take_verbosity(x, &b->common, err);
    if (r < 0)
        return r;
    take_outputs(x, b);
    r = take_cache(x, b, err);
    if (r < 0)
        return r;
    if (x->platform)
        cb_strvec_push(&b->platforms, x->platform);
    b->image.squash = x->single;
    b->image.epoch = x->reproducible ? "0" : NULL;
    if (b->image.level && !strcmp(b->image.level, "-1"))
        b->image.level = NULL;
    b->results.propagate_exit = true;
    return 0;
}

/* Kaniko's image has its credentials there. */
static void use_kaniko_config(void)
{
    if (!getenv("DOCKER_CONFIG") && access(KANIKO_CONFIG "/config.json", R_OK) == 0)
        setenv("DOCKER_CONFIG", KANIKO_CONFIG, 0);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status,
               struct cb_error *err)
{
    struct executor_options x = { .b = BUILD_OPTIONS_INIT };
    struct build_input in = { .o.cancel = p->cancel };
    struct cb_verb_args a = { .verb = self, .dest = &x, .argc = argc, .argv = argv, .max = 0 };
    use_kaniko_config();
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = take(&x, &in, err);
    in.cli = x.b;
    if (r == 0 && !a.done)
        r = build_input_take(&in, err);
    if (r == 0 && !a.done)
        r = build_run(&in, p, status, err);
    cb_strvec_done(&a.operands);
    build_input_done(&in);
    executor_done(&x);
    return r;
}

const struct cb_verb cb_verb_executor = {
    .name = "executor",
    .summary = "build an image and push it, with the command line of Kaniko",
    .operands = "[OPTIONS]",
    .options = options,
    .userns = true,
    .userns_to_run = true,
    .run = run,
};
