/* SPDX-License-Identifier: Apache-2.0 */
#include "build/build.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/internal.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/path.h"
#include "util/timeutil.h"

void cb_build_result_done(struct cb_build_result *r)
{
    cb_image_done(&r->image);
    for (size_t i = 0; i < r->n_tags; i++)
        free(r->tags[i].name);
    free(r->tags);
    free(r->blobs);
    cb_dockerfile_free(r->dockerfile);
    free(r->failed_log);
    *r = (struct cb_build_result){ 0 };
}

/* ---- reading the inputs ---- */

static int slurp_at(int dirfd, const char *path, size_t max, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_openat(dirfd, path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_IN_ROOT);
    struct stat st;
    if (fd < 0)
        return cb_error_sys(err, fd == -ENOENT ? CB_ENOTFOUND : CB_ECONF, -fd, "%s", path);
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return cb_error_set(err, CB_ECONF, "%s is not a regular file", path);
    return cb_fd_slurp(fd, max, out, err);
}

struct inputs {
    struct cb_strbuf dockerfile;
    char *name;                    /* as shown */
    struct cb_df_ignore *ignore;
    int context_fd;
};

static void inputs_done(struct inputs *in)
{
    cb_strbuf_done(&in->dockerfile);
    free(in->name);
    cb_df_ignore_free(in->ignore);
    cb_close_p(&in->context_fd);
}

static int read_default(struct inputs *in, const char *context, struct cb_error *err)
{
    static const char *const names[] = { "Dockerfile", "dockerfile", "Containerfile" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        int r = slurp_at(in->context_fd, names[i], CB_MAX_DOCKERFILE, &in->dockerfile, err);
        if (r == -CB_ENOTFOUND)
            continue;
        in->name = cb_strdup(names[i]);
        return r;
    }
    return cb_error_set(err, CB_ECONF, "no Dockerfile in %s: name one with -f FILE", context);
}

static int read_dockerfile(struct inputs *in, const struct cb_build_options *o, struct cb_error *err)
{
    int r;
    if (!o->dockerfile)
        return read_default(in, o->context, err);
    if (!strcmp(o->dockerfile, "-")) {
        in->name = cb_strdup("Dockerfile");
        return cb_fd_slurp(STDIN_FILENO, CB_MAX_DOCKERFILE, &in->dockerfile, err);
    }
    in->name = cb_strdup(o->dockerfile);
    r = cb_file_slurp(o->dockerfile, CB_MAX_DOCKERFILE, &in->dockerfile, err);
    if (r == -CB_ENOTFOUND || (r < 0 && err && err->sys_errno == ENOENT)) {
        int again = slurp_at(in->context_fd, o->dockerfile, CB_MAX_DOCKERFILE, &in->dockerfile, NULL);
        if (again == 0)
            return 0;
        return cb_error_set(err, CB_ECONF, "%s: no such Dockerfile", o->dockerfile);
    }
    if (r < 0 && err)
        err->code = CB_ECONF;
    return r;
}

/* <Dockerfile>.dockerignore next to it wins outright over .dockerignore at the root of the context. */
static int read_ignore(struct inputs *in, const struct cb_build_options *o, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *own = cb_asprintf("%s.dockerignore", o->dockerfile ? o->dockerfile : in->name);
    const char *name = own;
    int r = o->dockerfile && strcmp(o->dockerfile, "-") ? cb_file_slurp(own, CB_MAX_DOCKERIGNORE, &text, err)
                                                        : slurp_at(in->context_fd, own, CB_MAX_DOCKERIGNORE, &text, err);
    if (r < 0 && (r == -CB_ENOTFOUND || (err && err->sys_errno == ENOENT))) {
        name = ".dockerignore";
        r = slurp_at(in->context_fd, name, CB_MAX_DOCKERIGNORE, &text, err);
        if (r == -CB_ENOTFOUND)
            return 0;
    }
    if (r == 0) {
        in->ignore = cb_df_ignore_parse(name, text.buf, text.len, err);
        r = in->ignore ? 0 : -CB_ECONF;
    }
    return r;
}

static int read_inputs(struct inputs *in, const struct cb_build_options *o, struct cb_build_result *res, struct cb_error *err)
{
    in->context_fd = open(o->context, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (in->context_fd < 0)
        return cb_error_sys(err, CB_EUSAGE, errno, "build context %s", o->context);
    int r = read_dockerfile(in, o, err);
    if (r == 0)
        r = read_ignore(in, o, err);
    if (r < 0)
        return r;
    res->dockerfile = cb_dockerfile_parse(in->name, in->dockerfile.buf, in->dockerfile.len, err);
    return res->dockerfile ? 0 : -CB_ECONF;
}

/* ---- names ---- */

static int parse_tags(struct cb_build *b, struct cb_error *err)
{
    size_t max = b->o->tags ? b->o->tags->n : 0;
    for (size_t i = 0; i < b->o->n_outputs; i++)
        max += b->o->outputs[i].names.n;
    b->tags = cb_calloc(max + 1, sizeof *b->tags);
    for (size_t k = 0; k <= b->o->n_outputs; k++) {
        const struct cb_strvec *names = k == 0 ? b->o->tags : &b->o->outputs[k - 1].names;
        for (size_t i = 0; names && i < names->n; i++) {
            struct cb_reference *ref = &b->tags[b->n_tags];
            int r = cb_reference_parse(ref, names->v[i], err);
            if (r < 0)
                return cb_error_wrap(err, "tag");
            b->n_tags++;
            if (cb_digest_is_set(&ref->digest))
                return cb_error_set(err, CB_EUSAGE, "tag %s: a name to build must not have a digest", names->v[i]);
            cb_reference_default_tag(ref);
        }
    }
    return 0;
}

static bool wants_push(const struct cb_build_options *o)
{
    bool push = o->push;
    for (size_t i = 0; i < o->n_outputs; i++)
        push = push || o->outputs[i].push;
    return push;
}

/* ---- the phases ---- */

static int resolve_source(void *arg, struct cb_plan_source *src, struct cb_error *err)
{
    struct cb_build *b = arg;
    return cb_build_resolve(b->env, &src->ref, &src->platform, b->o->pull, &src->image, &src->host, &src->repo, err);
}

static int make_plan(struct cb_build *b, struct cb_error *err)
{
    struct cb_plan_options po = { .build = b->o, .dockerfile = b->res->dockerfile, .resolve = resolve_source, .resolve_arg = b,
                                  .progress = b->env->progress };
    int64_t t = cb_time_monotonic();
    int r = cb_plan_make(&po, &b->plan, &b->res->failed, err);
    b->res->t_resolve = cb_time_monotonic() - t;
    return r;
}

static int set_up_solver(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    struct cb_solver *s = &b->solver;
    s->env = b->env;
    s->o = b->o;
    s->plan = &b->plan;
    b->slots = s->slots = cb_slots_new(b->env);
    s->kb.clamp_mtime = b->epoch;
    s->kb.arch = b->plan.config.platform.arch;
    cb_build_compression(b->o, &s->compression, &s->level);
    s->cancel = b->cancel;
    s->steps = cb_pool_new("step", cb_cpu_count() + 2);
    s->seals = cb_pool_new("seal", 2);
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->cond, NULL);
    if (b->plan.needs_context) {
        s->context = cb_context_open(b->o->context, in->ignore, err);
        if (!s->context)
            return -CB_EUSAGE;
    }
    return 0;
}

static void show_context(struct cb_build *b, struct cb_step *step)
{
    uint64_t files = 0, bytes = 0;
    if (!b->solver.context)
        return;
    cb_context_stats(b->solver.context, &files, &bytes);
    cb_step_logf(step, "%llu files, %llu bytes", (unsigned long long)files, (unsigned long long)bytes);
}

static int prepare(struct cb_build *b, bool *all_hit, struct cb_error *err)
{
    struct cb_step *step = b->solver.context ? cb_step_new(b->env->progress, "[internal] load build context") : NULL;
    cb_step_begin(step);
    int r = cb_solve_prepare(&b->solver, all_hit, err);
    show_context(b, step);
    if (r < 0)
        cb_step_error(step, cb_error_text(err));
    else
        cb_step_done(step);
    return r;
}

static int push(struct cb_build *b, bool all_hit, struct cb_error *err)
{
    int64_t t = cb_time_monotonic();
    int r = 0;
    if (b->pusher && all_hit)
        r = cb_pusher_current(b->pusher, &b->res->image, &b->res->was_current, err);
    if (r == 0 && b->pusher && !b->res->was_current)
        r = cb_pusher_finish(b->pusher, &b->res->image, b->solver.result, b->solver.n_result, b->res, err);
    b->res->t_push = cb_time_monotonic() - t;
    return r;
}

static void count_steps(struct cb_build *b)
{
    for (size_t i = 0; i < b->plan.n; i++) {
        const struct cb_vertex *v = b->plan.vertices[i];
        if (v->kind == CB_VERTEX_SOURCE)
            continue;
        b->res->steps++;
        if (!v->state->executed)
            b->res->cached++;
    }
}

static int solve(struct cb_build *b, bool *all_hit, struct cb_error *err)
{
    int64_t t = cb_time_monotonic();
    int r = prepare(b, all_hit, err);
    if (r == 0 && b->pusher && !*all_hit) {
        b->solver.on_layer = cb_pusher_layer;
        b->solver.on_layer_arg = b->pusher;
    }
    if (r == 0)
        r = cb_solve(&b->solver, err);
    b->res->t_build = cb_time_monotonic() - t;
    if (r == 0)
        count_steps(b);
    return r;
}

static int work(struct cb_build *b, const struct inputs *in, struct cb_error *err)
{
    bool all_hit = false;
    int r = make_plan(b, err);
    if (r == 0 && wants_push(b->o)) {
        b->pusher = cb_pusher_new(b->env, b->tags, b->n_tags, err);
        if (!b->pusher)
            return err && err->code ? -(int)err->code : -CB_ENET;
    }
    if (r == 0)
        r = set_up_solver(b, in, err);
    if (r == 0 && b->pusher)
        cb_pusher_set_compression(b->pusher, b->solver.compression, b->solver.level);
    if (r == 0)
        r = solve(b, &all_hit, err);
    if (r == 0)
        r = cb_build_commit(b, err);
    if (r == 0)
        r = push(b, all_hit, err);
    if (r == 0)
        r = cb_build_set_names(b, err);
    return r < 0 ? r : cb_build_export(b, err);
}

/* ---- failure ---- */

static int explain_failure(struct cb_build *b, int r, struct cb_error *err)
{
    const struct cb_vertex *v = b->solver.failed;
    struct cb_strbuf log cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!v || r == -CB_ECANCELED)
        return r;
    b->res->failed = v->span;
    if (v->kind == CB_VERTEX_RUN) {
        cb_autofree char *last = cb_step_last_lines(v->step);
        cb_strbuf_addf(&log, "------\n > %s:\n%s%s------\n", v->name, last, *last && !cb_ends_with(last, "\n") ? "\n" : "");
        b->res->failed_log = cb_strbuf_detach(&log, NULL);
    }
    return cb_error_wrap(err, "%s:%u", b->res->dockerfile->name, v->span.first);
}

static void clean_up(struct cb_build *b)
{
    cb_pusher_free(b->pusher);
    cb_solve_done(&b->solver);
    cb_context_free(b->solver.context);
    cb_slots_free(b->slots);
    cb_cancel_free(b->cancel);
    cb_plan_done(&b->plan);
    for (size_t i = 0; i < b->n_tags; i++)
        cb_reference_done(&b->tags[i]);
    free(b->tags);
}

int cb_build_run(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_build_result *res,
                 struct cb_error *err)
{
    struct cb_build b = { .own_env = *env, .o = o, .res = res, .epoch = INT64_MAX };
    struct inputs in = { .dockerfile = CB_STRBUF_INIT, .context_fd = -1 };
    bool set = false;
    int64_t epoch = 0;
    b.cancel = cb_cancel_new((struct cb_cancel *)(uintptr_t)env->cancel);
    b.own_env.cancel = b.cancel;
    b.env = &b.own_env;
    int r = cb_source_date_epoch(&set, &epoch, err);
    if (r == 0 && set)
        b.epoch = epoch;
    if (r == 0)
        r = parse_tags(&b, err);
    if (r == 0 && wants_push(o) && b.n_tags == 0)
        r = cb_error_set(err, CB_EUSAGE, "--push needs a name: cbpush build --push REGISTRY/NAME:TAG");
    if (r == 0)
        r = read_inputs(&in, o, res, err);
    if (r == 0)
        r = work(&b, &in, err);
    if (r < 0)
        r = explain_failure(&b, r, err);
    clean_up(&b);
    inputs_done(&in);
    return r;
}
