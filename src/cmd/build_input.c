/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_input.h"

#include <limits.h>

#include "util/alloc.h"

/* The word after --push names the target unless it reads as a path, or -t or an output already names one. */
static bool push_takes(const char *word, void *arg)
{
    const bool *tagged = arg;
    return !*tagged && word[0] != '-' && word[0] != '/' && word[0] != '~' && strcmp(word, ".") && strcmp(word, "..") &&
           !cb_starts_with(word, "./") && !cb_starts_with(word, "../");
}

#define AT(field) offsetof(struct build_options, field)
const struct cb_opt build_opts[] = {
    { "tag", 't', CB_OPT_LIST, AT(tags), "NAME[:TAG]", "name of the image (several)", NULL },
    { "file", 'f', CB_OPT_STRING, AT(file), "FILE", "the Dockerfile, or its URL; - is standard input", NULL },
    { "build-context", 0, CB_OPT_LIST, AT(contexts), "NAME=VALUE",
      "what NAME stands for in FROM and --from: a directory, URL, docker-image://, oci-layout://", NULL,
      "*=DIR" },
    { "push", 0, CB_OPT_MAYBE, AT(push), "NAME", "push to every name; --push NAME also names it", push_takes },
    { "target", 0, CB_OPT_STRING, AT(target), "STAGE", "build this stage", NULL },
    { "build-arg", 0, CB_OPT_LIST, AT(build_args), "K[=V]", "value of an ARG; K alone: from the environment", NULL },
    { "label", 0, CB_OPT_LIST, AT(labels), "K=V", "label of the image", NULL },
    { "annotation", 0, CB_OPT_LIST, AT(annotations), "[TYPE:]K=V",
      "annotation of the manifest, index, manifest-descriptor, index-descriptor", NULL },
    { "no-cache", 0, CB_OPT_FLAG, AT(no_cache), NULL, "run every step", NULL },
    { "no-stat-cache", 0, CB_OPT_FLAG, AT(no_stat_cache), NULL,
      "read every file of the context, also those that are unchanged by inode, size, mtime and ctime", NULL },
    { "pull", 0, CB_OPT_MAYBE, AT(pull), "POLICY", "ask the registry for every parent (always, newer, missing, never)",
      NULL, "always|newer|missing|never" },
    { "platform", 0, CB_OPT_LIST, AT(platforms), "OS/ARCH[,…]", "platform of the result; several make an index", NULL },
    { "network", 0, CB_OPT_STRING, AT(network), "MODE", "network of RUN: host (default), none, private", NULL,
      "host|none|private" },
    { "secret", 0, CB_OPT_LIST, AT(secrets), "id=ID[,src=FILE|,env=VAR]",
      "what RUN --mount=type=secret may read, or a server's credentials (GIT_AUTH_TOKEN.HOST …)", NULL,
      "id=,src=FILE,env=,type=file|env" },
    { "ssh", 0, CB_OPT_LIST, AT(ssh), "default|ID[=SOCKET|KEY,…]", "agent or keys that RUN --mount=type=ssh may use",
      NULL },
    { "add-host", 0, CB_OPT_LIST, AT(add_host), "HOST:IP", "line of /etc/hosts of RUN; IP may be host-gateway", NULL },
    { "output", 'o', CB_OPT_LIST, AT(outputs), "SPEC",
      "type=image|oci|docker|local|tar|cacheonly[,dest=…][,name=…][,push=true][,compression=…]",
      NULL,
      "DIR,type=image|registry|oci|docker|local|tar|cacheonly,dest=FILE,name=,push=true|false,"
      "push-by-digest=true|false,name-canonical=true|false,"
      "compression=" CB_FORMAT_VALUES ",compression-level=,oci-mediatypes=true|false,tar=true|false,"
      "platform-split=true|false,rewrite-timestamp=true|false" },
    { "iidfile", 0, CB_OPT_STRING, AT(iidfile), "FILE", "write the image ID there", NULL },
    { "metadata-file", 0, CB_OPT_STRING, AT(metadata_file), "FILE", "write the result there as JSON", NULL },
    { "explain", 0, CB_OPT_FLAG, AT(explain), NULL, "tell why each step was run", NULL },
    { "check", 0, CB_OPT_FLAG, AT(check), NULL, "check the Dockerfile, build nothing (--call check)", NULL },
    { "call", 0, CB_OPT_STRING, AT(call), "WHAT", "build nothing: check, outline or targets[,format=json]", NULL,
      "check|outline|targets" },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "print the image ID only (--progress quiet)", NULL },
    CB_OPT_COMMON_ISOLATION(build_options),
    CB_OPT_COMMON_PROGRESS(build_options),
    { "logfile", 0, CB_OPT_STRING, AT(common.logfile), "FILE", "progress and output of RUNs go there", NULL },
    CB_OPT_COMMON_REGISTRY(build_options),
    CB_OPT_COMMON_RETRY(build_options),
    CB_OPT_COMMON_PUSH(build_options),
    CB_OPT_COMMON_STORE(build_options),
    CB_OPT_END,
};

const struct cb_opt_group build_groups[] = {
    { "how it is made, and what is in it", image_opts, AT(image) },
    { "what a RUN may use", limit_opts, AT(limits) },
    CB_OPT_GROUP_RELEASE(AT(release)),
    { "an index from several machines", join_opts, AT(release) },
    { "a cache shared with others", cache_opts, AT(cache) },
    { "for scripts", result_opts, AT(results) },
    { "attestations", attest_opts, AT(attest) },
    { "of other builders", compat_opts, AT(compat) },
    { NULL, NULL, 0 },
};

void build_input_done(struct build_input *in)
{
    struct build_options *c = &in->cli;
    struct cb_strvec *const lists[] = { &c->tags, &c->build_args, &c->labels, &c->annotations, &c->outputs,
                                        &c->add_host, &c->secrets, &c->ssh, &c->contexts, &c->platforms, &in->operands,
                                        &in->args, &in->hosts };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
    for (size_t i = 0; i < in->n_outputs; i++)
        cb_output_done(&in->outputs[i]);
    free(in->outputs);
    release_options_done(&c->release);
    join_values_done(&in->join);
    build_secrets_done(&in->secrets);
    cb_strmap_done(&in->labels);
    cb_annotations_done(&in->annotations);
    cb_strmap_done(&in->contexts);
    cb_platforms_free(in->platforms, in->n_platforms);
    limit_options_done(&c->limits);
    limit_values_done(&in->limits);
    image_options_done(&c->image);
    image_values_done(&in->image);
    compat_options_done(&c->compat);
    attest_options_done(&c->attest);
    attest_values_done(&in->attest);
    cache_options_done(&c->cache);
    cache_values_done(&in->cache);
    cb_common_done(&c->common);
}

static int take_map(const struct cb_strvec *from, const char *flag, struct cb_strmap *to, struct cb_error *err)
{
    for (size_t i = 0; i < from->n; i++) {
        const char *eq = strchrnul(from->v[i], '=');
        cb_autofree char *key = cb_strndup(from->v[i], (size_t)(eq - from->v[i]));
        if (!*key)
            return cb_error_set(err, CB_EUSAGE, "--%s %s: write KEY=VALUE", flag, from->v[i]);
        cb_strmap_set(to, key, *eq ? eq + 1 : "");
    }
    return 0;
}

/* A name that is none is told of later. */
static void open_registries(struct build_input *in, const struct cb_output *o)
{
    const struct cb_strvec *names = o->names.n ? &o->names : &in->cli.tags;
    for (size_t i = 0; o->insecure && i < names->n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        if (cb_reference_parse(&ref, names->v[i], NULL) < 0)
            continue;
        cb_strvec_push(&in->cli.common.insecure, ref.host);
        cb_strvec_push(&in->cli.common.unverified, ref.host);
    }
}

static int take_outputs(struct build_input *in, struct cb_error *err)
{
    in->outputs = cb_calloc(in->cli.outputs.n + 2, sizeof *in->outputs);
    for (size_t i = 0; i < in->cli.outputs.n; i++) {
        in->n_outputs++;
        int r = cb_output_parse(&in->outputs[i], in->cli.outputs.v[i], err);
        if (r < 0)
            return r;
        open_registries(in, &in->outputs[i]);
    }
    return in->cli.results.load ? cb_output_parse(&in->outputs[in->n_outputs++], "type=docker", err) : 0;
}

static int check_release(const struct build_input *in, struct cb_error *err)
{
    const struct release_options *o = &in->cli.release;
    bool push = in->o.push;
    for (size_t i = 0; i < in->n_outputs; i++)
        push = push || in->outputs[i].push;
    if (push || (!o->immutable && !o->expect_old.n && !o->receipt))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "--%s is about tags that are pushed: add --push",
                        o->immutable      ? "immutable"
                        : o->expect_old.n ? "expect-old"
                                          : "receipt");
}

static int take_push(struct build_input *in, struct cb_error *err)
{
    const char *v = in->cli.push;
    if (!v || !strcmp(v, "false") || !strcmp(v, "0"))
        return 0;
    in->o.push = true;
    if (*v && strcmp(v, "true") && strcmp(v, "1"))
        cb_strvec_push(&in->cli.tags, v);
    if (!in->cli.tags.n && !in->cli.outputs.n)
        return cb_error_set(err, CB_EUSAGE, "--push needs a name: cbpush build --push REGISTRY/NAME:TAG, or -t NAME");
    return 0;
}

static int take_pull(struct build_input *in, struct cb_error *err)
{
    const char *v = in->cli.pull;
    if (!v)
        return 0;
    return cb_pull_policy_parse(*v ? v : "always", &in->o.pull, err);
}

static int take_annotations(struct build_input *in, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->cli.annotations.n; i++)
        r = cb_annotation_parse(&in->annotations, in->cli.annotations.v[i], err);
    return r;
}

static int take_rest(struct build_input *in, struct cb_error *err)
{
    cb_autofree char *parts = image_options_platform(&in->cli.image);
    const char *usual = parts ? parts : getenv("DOCKER_DEFAULT_PLATFORM");
    if (in->cli.platforms.n && parts)
        return cb_error_set(err, CB_EUSAGE, "--platform says the same as --os, --arch and --variant: give one or "
                                            "the others");
    bool as_usual = !in->cli.platforms.n && usual && *usual;
    if (as_usual)
        cb_strvec_push(&in->cli.platforms, usual);
    int r = cb_platforms_parse(&in->cli.platforms, &in->platforms, &in->n_platforms, err);
    if (r < 0 && as_usual && !parts)
        cb_error_wrap(err, "DOCKER_DEFAULT_PLATFORM=%s", usual);
    in->o.platforms = in->platforms;
    in->o.n_platforms = in->n_platforms;
    in->o.network = CB_NETWORK_HOST;
    if (r == 0 && in->cli.network)
        r = cb_network_parse(in->cli.network, &in->o.network, err);
    /* As buildx has it: whoever says --network host allows it to RUNs that ask for it. */
    if (in->cli.network && !strcmp(in->cli.network, "host"))
        in->o.allow.host_network = true;
    return r;
}

static int take_args(struct build_input *in, struct cb_error *err)
{
    int r = build_args_take(&in->cli.image, &in->cli.build_args, in->o.cancel, &in->args, err);
    return r < 0 ? r : build_args_switches(&in->args, &in->o, &in->cli.cache.to, err);
}

/* Lines of JSON have no place for it. */
static int check_explain(const struct build_input *in, struct cb_error *err)
{
    if (!in->cli.explain || in->cli.metadata_file || !cb_streq(cb_progress_wish(in->cli.common.progress), "rawjson"))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "--explain with --progress rawjson goes to --metadata-file FILE: add that");
}

int build_input_take(struct build_input *in, struct cb_error *err)
{
    struct cb_build_options *o = &in->o;
    o->format = (struct cb_format){ CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT };
    o->no_cache = in->cli.no_cache;
    o->no_stat_cache = in->cli.no_stat_cache;
    o->explain = in->cli.explain;
    int r = attest_options_take(&in->cli.attest, in->cli.metadata_file != NULL, &in->attest, o, err);
    if (r == 0)
        r = check_explain(in, err);
    if (r == 0)
        r = take_push(in, err);
    if (r == 0)
        r = take_map(&in->cli.labels, "label", &in->labels, err);
    if (r == 0)
        r = take_annotations(in, err);
    if (r == 0)
        r = take_outputs(in, err);
    for (size_t i = 0; r == 0 && i < in->n_outputs; i++)
        cb_annotations_move(&in->annotations, &in->outputs[i].annotations);
    if (r == 0)
        r = check_release(in, err);
    if (r == 0)
        r = join_options_take(&in->cli.release, &in->join, &o->join, err);
    if (r == 0)
        r = take_pull(in, err);
    if (r == 0)
        r = limit_hosts_take(&in->cli.add_host, &in->hosts, err);
    if (r == 0)
        r = build_secrets_take(&in->secrets, &in->cli.secrets, err);
    if (r == 0)
        r = build_ssh_take(&in->secrets, &in->cli.ssh, err);
    if (r == 0)
        r = take_rest(in, err);
    if (r == 0)
        r = limit_options_take(&in->cli.limits, &in->limits, o, err);
    if (r == 0)
        r = image_options_take(&in->cli.image, &in->image, o, err);
    if (r == 0)
        r = take_args(in, err);
    if (r == 0)
        r = cache_options_take(&in->cli.cache, &in->cache, o, err);
    if (r == 0)
        r = build_take_contexts(in, err);
    o->contexts = &in->contexts;
    o->context = in->operands.n ? in->operands.v[0] : ".";
    o->dockerfile = in->cli.file;
    o->target = in->cli.target;
    if (r == 0)
        r = build_check_context(o, err);
    o->tags = &in->cli.tags;
    o->release = release_policy(&in->cli.release);
    o->build_args = &in->args;
    o->labels = &in->labels;
    o->annotations = &in->annotations;
    o->outputs = in->outputs;
    o->n_outputs = in->n_outputs;
    o->extra_hosts = &in->hosts;
    o->secrets = in->secrets.v;
    o->n_secrets = in->secrets.n;
    o->ssh = in->secrets.ssh;
    o->n_ssh = in->secrets.n_ssh;
    return r;
}
