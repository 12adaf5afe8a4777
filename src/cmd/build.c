/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/build_report.h"
#include "cmd/session.h"
#include "util/alloc.h"

struct build_options {
    struct cb_common common;
    const char *file, *target, *push, *pull, *platform, *network, *iidfile, *metadata_file;
    struct cb_strvec tags, build_args, labels, annotations, outputs, add_host;
    bool no_cache, quiet, load;
};

/* Everything cb_build_options needs in its own types. */
struct build_input {
    struct build_options cli;
    struct cb_strvec operands, args, hosts;
    struct cb_strmap labels, annotations;
    struct cb_output *outputs;
    size_t n_outputs;
    struct cb_platform platform;
    struct cb_build_options o;
};

/* The word after --push names the target unless it reads as a path, or -t already names one. */
static bool push_takes(const char *word, void *arg)
{
    const bool *tagged = arg;
    return !*tagged && word[0] != '-' && word[0] != '/' && word[0] != '~' && strcmp(word, ".") && strcmp(word, "..") &&
           !cb_starts_with(word, "./") && !cb_starts_with(word, "../");
}


#define AT(field) offsetof(struct build_options, field)
static const struct cb_opt options[] = {
    { "tag", 't', CB_OPT_LIST, AT(tags), "NAME[:TAG]", "name of the image (several)", NULL },
    { "file", 'f', CB_OPT_STRING, AT(file), "FILE", "the Dockerfile; - is standard input", NULL },
    { "push", 0, CB_OPT_MAYBE, AT(push), "NAME", "push to every name; --push NAME also names it", push_takes },
    { "target", 0, CB_OPT_STRING, AT(target), "STAGE", "build this stage", NULL },
    { "build-arg", 0, CB_OPT_LIST, AT(build_args), "K[=V]", "value of an ARG; K alone: from the environment", NULL },
    { "label", 0, CB_OPT_LIST, AT(labels), "K=V", "label of the image", NULL },
    { "annotation", 0, CB_OPT_LIST, AT(annotations), "K=V", "annotation of the manifest", NULL },
    { "no-cache", 0, CB_OPT_FLAG, AT(no_cache), NULL, "run every step", NULL },
    { "pull", 0, CB_OPT_MAYBE, AT(pull), "POLICY", "ask the registry for every parent (always, missing, never)",
      NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "platform of the result", NULL },
    { "network", 0, CB_OPT_STRING, AT(network), "MODE", "network of RUN: host (default), none, private", NULL },
    { "add-host", 0, CB_OPT_LIST, AT(add_host), "HOST:IP", "line of /etc/hosts of RUN", NULL },
    { "output", 'o', CB_OPT_LIST, AT(outputs), "SPEC", "type=image|oci|docker|local|tar[,dest=…][,compression=…]",
      NULL },
    { "iidfile", 0, CB_OPT_STRING, AT(iidfile), "FILE", "write the image ID there", NULL },
    { "metadata-file", 0, CB_OPT_STRING, AT(metadata_file), "FILE", "write the result there as JSON", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "print the image ID only", NULL },
    CB_OPT_COMMON_PROGRESS(build_options),
    CB_OPT_COMMON_REGISTRY(build_options),
    CB_OPT_COMMON_STORE(build_options),
    CB_OPT_END,
};

static void input_done(struct build_input *in)
{
    struct build_options *c = &in->cli;
    struct cb_strvec *const lists[] = { &c->tags, &c->build_args, &c->labels, &c->annotations, &c->outputs,
                                        &c->add_host, &in->operands, &in->args, &in->hosts };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
    for (size_t i = 0; i < in->n_outputs; i++)
        cb_output_done(&in->outputs[i]);
    free(in->outputs);
    cb_strmap_done(&in->labels);
    cb_strmap_done(&in->annotations);
    cb_platform_done(&in->platform);
    cb_common_done(&c->common);
}

static void take_build_args(struct build_input *in)
{
    for (size_t i = 0; i < in->cli.build_args.n; i++) {
        const char *arg = in->cli.build_args.v[i];
        const char *v = strchr(arg, '=') ? NULL : getenv(arg);
        if (strchr(arg, '='))
            cb_strvec_push(&in->args, arg);
        else if (v)
            cb_strvec_pushf(&in->args, "%s=%s", arg, v);
    }
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

static int take_outputs(struct build_input *in, struct cb_error *err)
{
    in->outputs = cb_calloc(in->cli.outputs.n + 1, sizeof *in->outputs);
    for (size_t i = 0; i < in->cli.outputs.n; i++) {
        in->n_outputs++;
        int r = cb_output_parse(&in->outputs[i], in->cli.outputs.v[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

static int take_push(struct build_input *in, struct cb_error *err)
{
    const char *v = in->cli.push;
    if (!v || !strcmp(v, "false") || !strcmp(v, "0"))
        return 0;
    in->o.push = true;
    if (*v && strcmp(v, "true") && strcmp(v, "1"))
        cb_strvec_push(&in->cli.tags, v);
    if (!in->cli.tags.n)
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

/* Docker's HOST:IP and HOST=IP (an IPv6 address maybe in brackets) as /etc/hosts wants it: "HOST IP". */
static int take_hosts(struct build_input *in, struct cb_error *err)
{
    for (size_t i = 0; i < in->cli.add_host.n; i++) {
        const char *word = in->cli.add_host.v[i], *sep = word + strcspn(word, ":=");
        const char *ip = *sep ? sep + 1 : sep;
        size_t n = strlen(ip);
        if (!*ip || sep == word)
            return cb_error_set(err, CB_EUSAGE, "--add-host %s: write HOST:IP", word);
        bool brackets = n > 2 && ip[0] == '[' && ip[n - 1] == ']';
        cb_strvec_pushf(&in->hosts, "%.*s %.*s", (int)(sep - word), word, (int)(brackets ? n - 2 : n),
                        brackets ? ip + 1 : ip);
    }
    return 0;
}

/* buildx's "[TYPE[,TYPE…]:]KEY=VALUE": ours are on the manifest. */
static int take_annotations(struct build_input *in, struct cb_error *err)
{
    static const char *const others[] = { "index", "manifest-descriptor", "index-descriptor", "manifest[", "index[",
                                          "manifest-descriptor[", "index-descriptor[", "manifest," };
    struct cb_strvec plain cb_cleanup_strvec = CB_STRVEC_INIT;
    for (size_t i = 0; i < in->cli.annotations.n; i++) {
        const char *word = in->cli.annotations.v[i], *colon = strchr(word, ':'), *eq = strchr(word, '=');
        bool typed = colon && (!eq || colon < eq);
        for (size_t k = 0; typed && k < CB_COUNTOF(others); k++) {
            size_t n = strlen(others[k]);
            if (!strncmp(word, others[k], n) && (word[n] == ':' || word[n] == ',' || strchr("[,", others[k][n - 1])))
                return cb_error_set(err, CB_EUSAGE, "--annotation %s: this version annotates the manifest only", word);
        }
        cb_strvec_push(&plain, typed && cb_starts_with(word, "manifest:") ? colon + 1 : word);
    }
    return take_map(&plain, "annotation", &in->annotations, err);
}

static int take_rest(struct build_input *in, struct cb_error *err)
{
    const char *platform = in->cli.platform ? in->cli.platform : getenv("DOCKER_DEFAULT_PLATFORM");
    int r = 0;
    if (platform && strchr(platform, ','))
        return cb_error_set(err, CB_EUSAGE, "--platform %s: this version builds one platform at a time", platform);
    if (platform && *platform) {
        r = cb_platform_parse(&in->platform, platform, err);
        in->o.platform = &in->platform;
    }
    in->o.network = CB_NETWORK_HOST;
    if (r == 0 && in->cli.network)
        r = cb_network_parse(in->cli.network, &in->o.network, err);
    return r;
}

static int make_options(struct build_input *in, struct cb_error *err)
{
    struct cb_build_options *o = &in->o;
    int r = take_push(in, err);
    if (r == 0)
        r = take_map(&in->cli.labels, "label", &in->labels, err);
    if (r == 0)
        r = take_annotations(in, err);
    if (r == 0)
        r = take_outputs(in, err);
    if (r == 0)
        r = take_pull(in, err);
    if (r == 0)
        r = take_hosts(in, err);
    if (r == 0)
        r = take_rest(in, err);
    take_build_args(in);
    o->context = in->operands.n ? in->operands.v[0] : ".";
    o->dockerfile = in->cli.file;
    o->target = in->cli.target;
    o->tags = &in->cli.tags;
    o->build_args = &in->args;
    o->labels = &in->labels;
    o->annotations = &in->annotations;
    o->outputs = in->outputs;
    o->n_outputs = in->n_outputs;
    o->no_cache = in->cli.no_cache;
    o->extra_hosts = &in->hosts;
    o->compression = CB_COMPRESSION_GZIP;
    o->compression_level = INT_MIN;
    return r;
}

static int check_context(const char *context, struct cb_error *err)
{
    if (!strcmp(context, "-") || strstr(context, "://") || cb_starts_with(context, "git@"))
        return cb_error_set(err, CB_EUSAGE, "context %s: this version builds from a directory only", context);
    return 0;
}

static int name_hosts(struct cb_session *s, const struct cb_strvec *names, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < names->n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        r = cb_reference_parse(&ref, names->v[i], err);
        if (r == 0)
            r = cb_session_name_host(s, ref.host, err);
    }
    return r;
}

static int open_session(struct cb_session *s, const struct build_input *in, const struct cb_process *p,
                        struct cb_error *err)
{
    int r = check_context(in->o.context, err);
    if (r == 0)
        r = cb_session_open(s, p, &in->cli.common, "Building", err);
    if (r == 0)
        r = name_hosts(s, &in->cli.tags, err);
    for (size_t i = 0; r == 0 && i < in->n_outputs; i++)
        r = name_hosts(s, &in->outputs[i].names, err);
    return r;
}

static int build(struct build_input *in, const struct cb_process *p, struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_build_result res = { 0 };
    if (in->cli.quiet)
        in->cli.common.progress = "quiet";
    int r = open_session(&s, in, p, err);
    if (r < 0)
        return r;
    r = cb_build_run(&s.env, &in->o, &res, err);
    cb_progress_finish(s.progress, r < 0);
    const char *mode = in->cli.common.progress;
    struct cb_report rep = { .res = &res, .iidfile = in->cli.iidfile, .metadata_file = in->cli.metadata_file,
                             .quiet = cb_streq(mode, "quiet") || cb_streq(mode, "rawjson"), .print_id = in->cli.quiet };
    r = r < 0 ? cb_report_failure(&rep, r, err) : cb_report_success(&rep, err);
    cb_build_result_done(&res);
    return r;
}

/* Whether -t is there at all decides what the word behind --push is, wherever -t stands. What is wrong is told by the
 * real parse. */
static bool has_tag_option(const struct cb_verb *self, int argc, char **argv)
{
    struct build_input in = { .cli.common = CB_COMMON_INIT };
    bool takes_none = true;
    struct cb_opt_parse p = { .table = self->options, .dest = &in.cli, .argc = argc, .argv = argv,
                              .takes_arg = &takes_none, .operands = &in.operands };
    bool tagged = cb_opt_parse(&p, NULL) == 0 && in.cli.tags.n > 0;
    input_done(&in);
    return tagged;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct build_input in = { .cli.common = CB_COMMON_INIT };
    bool tagged = has_tag_option(self, argc, argv);
    struct cb_verb_args a = {
        .verb = self, .dest = &in.cli, .argc = argc, .argv = argv, .max = 1, .takes_arg = &tagged
    };
    int r = cb_verb_args(&a, err);
    in.operands = a.operands;
    if (r == 0 && !a.done) {
        r = make_options(&in, err);
        if (r == 0)
            r = build(&in, p, err);
    }
    input_done(&in);
    return r;
}

const struct cb_verb cb_verb_build = {
    .name = "build",
    .summary = "build an image from a Dockerfile, and push it",
    .operands = "[OPTIONS] [CONTEXT]",
    .details = "CONTEXT is a directory, by default the current one.\n\n"
               "--push alone pushes to every name given by -t. Without -t, the word after --push is the name to build\n"
               "and push, unless it reads as a path: ., .., or something that begins with ./ ../ / ~ or -.",
    .options = options,
    .userns = true,
    .run = run,
};
