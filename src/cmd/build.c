/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_call.h"
#include "cmd/build_input.h"
#include "cmd/build_report.h"
#include "cmd/trace.h"

static int name_hosts(struct cb_session *s, const struct cb_strvec *names, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < names->n; i++) {
        struct cb_reference ref cb_cleanup_reference = { 0 };
        r = cb_reference_parse_word(&ref, names->v[i], err);
        if (r == 0)
            r = cb_session_name_host(s, ref.host, err);
    }
    return r;
}

static int name_caches(struct cb_session *s, const struct cb_cache_spec *v, size_t n, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (v[i].ref.host)
            r = cb_session_name_host(s, v[i].ref.host, err);
    return r;
}

static int open_session(struct cb_session *s, const struct build_input *in, const struct cb_process *p,
                        struct cb_error *err)
{
    int r = cb_session_open(s, p, &in->cli.common, "Building", err);
    if (r == 0)
        r = name_hosts(s, &in->cli.tags, err);
    for (size_t i = 0; r == 0 && i < in->n_outputs; i++)
        r = name_hosts(s, &in->outputs[i].names, err);
    if (r == 0)
        r = name_caches(s, in->cache.from, in->cache.n_from, err);
    if (r == 0)
        r = name_caches(s, in->cache.to, in->cache.n_to, err);
    if (r == 0)
        r = name_caches(s, in->cache.mount_from, in->cache.n_mount_from, err);
    if (r == 0)
        r = name_caches(s, in->cache.mount_to, in->cache.n_mount_to, err);
    return r;
}

static bool stdout_has_an_output(const struct build_input *in)
{
    bool has = false;
    for (size_t i = 0; i < in->n_outputs; i++)
        has = has || cb_streq(in->outputs[i].dest, "-");
    return has;
}

/* A terminal or pipe that is gone is nobody's loss; a file that was asked for is. */
static int check_log(const struct cb_session *s, const char *path, struct cb_error *err)
{
    int lost = path ? cb_progress_write_error(s->progress) : 0;
    return lost ? cb_error_sys(err, CB_ELOCAL, lost, "--logfile %s", path) : 0;
}

int build_run(struct build_input *in, const struct cb_process *p, int *status, struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_build_result res = { 0 };
    if (in->cli.quiet)
        in->cli.common.progress = "quiet";
    const char *mode = cb_progress_wish(in->cli.common.progress);
    bool print_id = cb_streq(mode, "quiet") && !stdout_has_an_output(in);
    in->cli.common.stdout_is_free = !print_id && !stdout_has_an_output(in);
    int r = build_check_files(in, err);
    if (r == 0)
        r = open_session(&s, in, p, err);
    if (r == 0)
        r = build_ssh_open(&in->secrets, s.store, err);
    if (r < 0)
        return r;
    compat_warn(&in->cli.compat.ignored);
    r = cb_build_run(&s.env, &in->o, &res, err);
    build_ssh_close(&in->secrets);
    if (r == -CB_ESTEP && in->cli.results.propagate_exit)
        *status = err->exit_status;
    cb_progress_finish(s.progress, r < 0);
    struct cb_report rep = { .res = &res, .platforms = in->o.platforms, .results = &in->cli.results,
                             .iidfile = in->cli.iidfile, .metadata_file = in->cli.metadata_file,
                             .receipt = in->cli.release.receipt, .print_id = print_id,
                             .quiet = cb_streq(mode, "quiet") || cb_streq(mode, "rawjson"),
                             .explain = in->cli.explain,
                             .tell_why = in->cli.explain && !cb_streq(mode, "rawjson"),
                             .expand = in->cli.common.debug };
    r = r < 0 ? cb_report_failure(&rep, r, err) : cb_report_success(&rep, err);
    if (r == 0)
        r = check_log(&s, in->cli.common.logfile, err);
    cb_build_result_done(&res);
    return r;
}

/* Without a session where only the file is looked at. */
static int call(struct build_input *in, const struct build_call *c, const struct cb_process *p, int *status,
                struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    int r = cb_trace_file_begin(p, in->cli.common.trace, false, err);
    if (r < 0)
        return r;
    if (c->kind != BUILD_CALL_CHECK && !cb_build_fetches(&in->o))
        return build_call_run(c, NULL, &in->o, status, err);
    if (!in->cli.common.progress)
        in->cli.common.progress = "quiet";
    r = open_session(&s, in, p, err);
    return r < 0 ? r : build_call_run(c, &s.env, &in->o, status, err);
}

static int build_or_call(struct build_input *in, const struct cb_process *p, int *status, struct cb_error *err)
{
    struct build_call c = { 0 };
    int r = build_call_parse(&c, in->cli.call ? in->cli.call : in->cli.check ? "check" : "build", err);
    if (r < 0)
        return r;
    if (in->cli.check && c.kind != BUILD_CALL_CHECK)
        return cb_error_set(err, CB_EUSAGE, "--check is --call check: --call %s is something else", in->cli.call);
    if (c.kind != BUILD_CALL_NONE && in->cli.explain)
        return cb_error_set(err, CB_EUSAGE, "--explain is about the steps of a build, and nothing is built");
    return c.kind == BUILD_CALL_NONE ? build_run(in, p, status, err) : call(in, &c, p, status, err);
}

static bool has_named_image(const struct cb_strvec *specs)
{
    bool named = false;
    for (size_t i = 0; i < specs->n; i++) {
        struct cb_output o = { 0 };
        named = (cb_output_parse(&o, specs->v[i], NULL) == 0 && o.type == CB_OUTPUT_IMAGE && o.names.n > 0) || named;
        cb_output_done(&o);
    }
    return named;
}

/* Whether there is a name at all decides what the word behind --push is, wherever the name stands. What is wrong is
 * told by the real parse. */
static bool has_name(const struct cb_verb *self, int argc, char **argv)
{
    struct build_input in = { .cli = BUILD_OPTIONS_INIT };
    bool takes_none = true;
    struct cb_opt_parse p = { .table = self->options, .groups = self->groups, .dest = &in.cli, .argc = argc,
                              .argv = argv, .takes_arg = &takes_none, .operands = &in.operands };
    bool tagged = cb_opt_parse(&p, NULL) == 0 && (in.cli.tags.n > 0 || has_named_image(&in.cli.outputs));
    build_input_done(&in);
    return tagged;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status,
               struct cb_error *err)
{
    struct build_input in = { .cli = BUILD_OPTIONS_INIT, .o.cancel = p->cancel };
    bool tagged = has_name(self, argc, argv);
    struct cb_verb_args a = {
        .verb = self, .dest = &in.cli, .argc = argc, .argv = argv, .max = 1, .takes_arg = &tagged,
        .too_many = tagged ? BUILD_PUSH_BESIDE_TAG : NULL,
    };
    int r = cb_verb_args(&a, err);
    in.operands = a.operands;
    if (r == 0 && !a.done) {
        r = build_input_take(&in, err);
        if (r == 0)
            r = build_or_call(&in, p, status, err);
    }
    build_input_done(&in);
    return r;
}

const struct cb_verb cb_verb_build = {
    .name = "build",
    .topic = CB_TOPIC_BUILD,
    .summary = "build an image from a Dockerfile, and push it",
    .operands = "[OPTIONS] [CONTEXT]",
    .details = "CONTEXT is a directory, by default the current one; an http(s) URL of a tar or of a Dockerfile; a git\n"
               "repository (https://HOST/X.git[#REF[:DIR]], ssh://…, git@HOST:X); or - for a tar or a Dockerfile on\n"
               "standard input.\n\n"
               "--push alone pushes to every name given by -t or by name= of an image output. Without any, the\n"
               "word after --push is the name to build and push, unless it reads as a path: ., .., or something\n"
               "that begins with ./ ../ / ~ or -.",
    .options = build_opts,
    .groups = build_groups,
    .userns = true,
    .userns_to_run = true,
    .run = run,
};
