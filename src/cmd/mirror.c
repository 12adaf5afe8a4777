/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/build_result.h"
#include "cmd/session.h"
#include "mirror/mirror.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/limits.h"

struct mirror_cmd {
    struct cb_common common;
    const char *output, *jobs, *max_delete, *bundle, *to;
    struct cb_strvec have;
    bool force, json, quiet;
};
#define AT(field) offsetof(struct mirror_cmd, field)
static const struct cb_opt table[] = {
    { "output", 'o', CB_OPT_STRING, AT(output), "FILE", "plan: write it there instead of to standard output", NULL },
    { "max-delete", 0, CB_OPT_STRING, AT(max_delete), "N",
      "apply, run: delete up to N tags; where there are more, none (default 0)", NULL },
    { "force", 0, CB_OPT_FLAG, AT(force), NULL, "apply: also what has moved since the plan was made", NULL },
    { "bundle", 0, CB_OPT_STRING, AT(bundle), "DIR", "apply, run: write an OCI layout of it instead, for `mirror load`",
      NULL },
    { "have", 0, CB_OPT_LIST, AT(have), "LAYOUT|REF",
      "with --bundle: leave the blobs of this out (an earlier bundle, its index.json, a reference)", NULL },
    { "to", 0, CB_OPT_STRING, AT(to), "HOST[/PATH]", "load: there instead of to the host that was planned", NULL },
    { "jobs", 'j', CB_OPT_STRING, AT(jobs), "N", "large blobs at a time (default 4); small ones: 4 times that", NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "apply, run: say what was done as JSON", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "no progress", NULL },
    CB_OPT_COMMON_PROGRESS(mirror_cmd),
    CB_OPT_COMMON_REGISTRY(mirror_cmd),
    CB_OPT_COMMON_RETRY(mirror_cmd),
    CB_OPT_COMMON_PUSH(mirror_cmd),
    CB_OPT_COMMON_STORE(mirror_cmd),
    CB_OPT_END,
};

static const char details[] =
    "  mirror plan SPEC [-o PLAN]   what would be done, as JSON\n"
    "  mirror apply PLAN            does it, unless something has moved meanwhile\n"
    "  mirror run SPEC              both at once\n"
    "  mirror load DIR              a bundle of --bundle into its registries\n\n"
    "SPEC is YAML (cbpush(1), MIRRORS). Failures do not stop the rest; what is there already is not done again.";

struct mirroring {
    const struct mirror_cmd *o;
    struct cb_session *s;
    struct cb_copy_env env;
    struct cb_mirror_options options;
};

/* ---- files ---- */

#define MAX_FILE ((size_t)256 << 20)

static int read_file(const struct mirroring *m, const char *path, struct cb_strbuf *out, struct cb_error *err)
{
    struct cb_input input = { STDIN_FILENO, m->env.cancel };
    int r = strcmp(path, "-") ? cb_file_slurp(path, MAX_FILE, out, err) : cb_input_slurp(&input, MAX_FILE, out, err);
    return r == -CB_ENOTFOUND ? cb_error_set(err, CB_EUSAGE, "there is no %s", path) : r;
}

static int read_spec(const struct mirroring *m, const char *path, struct cb_mirror_spec **out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strvec hosts cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = read_file(m, path, &text, err);
    if (r == 0 && text.len > CB_MAX_CONFIG_FILE)
        r = cb_error_set(err, CB_ECONF, "%s has more than %u bytes", path, CB_MAX_CONFIG_FILE);
    if (r == 0)
        r = cb_mirror_spec_parse(path, text.buf, text.len, out, err);
    if (r < 0)
        return r;
    cb_mirror_spec_hosts(*out, &hosts);
    for (size_t i = 0; r == 0 && i < hosts.n; i++)
        r = cb_session_name_host(m->s, hosts.v[i], err);
    return r;
}

/* ---- what is said ---- */

static void tell_tag(void *arg, const struct cb_mirror_pair *p, const struct cb_mirror_tag *t)
{
    static const char *const words[] = { "kept", "copied", "deleted", "referrers of" };
    const struct mirroring *m = arg;
    struct cb_step *step = m->env.step;
    if (t->outcome == CB_MIRROR_FAILED)
        cb_step_warn(step, "%s:%s: %s", p->target.text, t->tag, cb_error_text(&t->error));
    else
        cb_step_logf(step, "%s %s:%s%s", words[t->action], p->target.text, t->tag,
                     t->outcome == CB_MIRROR_CURRENT ? " (before)" : "");
}

static void print_plan(const struct cb_mirror_plan *plan)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_mirror_plan_print(plan, &text);
    fputs(text.buf, stdout);
}

static void print_done(const struct cb_mirror_plan *plan)
{
    static const char *const words[] = { NULL, "copied", "deleted", "referrers" };
    char digest[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; i < plan->n; i++)
        for (size_t k = 0; k < plan->v[i].n; k++) {
            const struct cb_mirror_tag *t = &plan->v[i].v[k];
            const struct cb_digest *d = t->action == CB_MIRROR_DELETE ? &t->target : &t->result;
            if (t->action != CB_MIRROR_SKIP && t->outcome == CB_MIRROR_DONE)
                printf("%s %s %s:%s\n", words[t->action], cb_digest_text(d, digest), plan->v[i].target.text, t->tag);
        }
}

static void summarize(const struct mirroring *m, const struct cb_mirror_plan *p)
{
    cb_progress_note(m->s->progress, false, "%zu to copy, %zu with other referrers, %zu to delete, %zu unchanged",
                     cb_mirror_plan_count(p, CB_MIRROR_COPY), cb_mirror_plan_count(p, CB_MIRROR_REFER),
                     cb_mirror_plan_count(p, CB_MIRROR_DELETE), cb_mirror_plan_count(p, CB_MIRROR_SKIP));
}

/* ---- the four ---- */

static int do_plan(struct mirroring *m, const char *path, struct cb_error *err)
{
    CB_AUTO(cb_mirror_spec_free) struct cb_mirror_spec *spec = NULL;
    struct cb_mirror_plan plan cb_cleanup_mirror_plan = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = read_spec(m, path, &spec, err);
    if (r == 0)
        r = cb_mirror_plan_make(&m->env, spec, false, &plan, err);
    if (r < 0)
        return r;
    summarize(m, &plan);
    cb_progress_finish(m->s->progress, false);
    cb_mirror_plan_print(&plan, &text);
    if (m->o->output)
        r = cb_report_write_n(m->o->output, text.buf, text.len, err);
    else
        fputs(text.buf, stdout);
    return r < 0 ? r : cb_mirror_worst(&plan, err);
}

static int apply(struct mirroring *m, struct cb_mirror_plan *plan, struct cb_error *err)
{
    summarize(m, plan);
    int r = cb_mirror_apply(&m->env, plan, &m->options, err);
    if (r < 0)
        cb_step_error(m->env.step, cb_error_text(err));
    else
        cb_step_done(m->env.step);
    cb_progress_finish(m->s->progress, r < 0);
    if (m->o->json)
        print_plan(plan);
    else
        print_done(plan);
    return r;
}

static int do_apply(struct mirroring *m, const char *path, struct cb_error *err)
{
    struct cb_mirror_plan plan cb_cleanup_mirror_plan = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = read_file(m, path, &text, err);
    if (r == 0)
        r = cb_mirror_plan_read(&plan, text.buf, text.len, err);
    for (size_t i = 0; r == 0 && i < plan.n; i++) {
        r = cb_session_name_host(m->s, plan.v[i].source.ref.host, err);
        if (r == 0)
            r = cb_session_name_host(m->s, plan.v[i].target.ref.host, err);
    }
    return r < 0 ? r : apply(m, &plan, err);
}

static int do_run(struct mirroring *m, const char *path, struct cb_error *err)
{
    CB_AUTO(cb_mirror_spec_free) struct cb_mirror_spec *spec = NULL;
    struct cb_mirror_plan plan cb_cleanup_mirror_plan = { 0 };
    int r = read_spec(m, path, &spec, err);
    m->options.fresh = true;
    if (r == 0)
        r = cb_mirror_plan_make(&m->env, spec, true, &plan, err);
    return r < 0 ? r : apply(m, &plan, err);
}

static void tell_loaded(void *arg CB_UNUSED, const char *target, const struct cb_digest *d)
{
    char digest[CB_DIGEST_TEXT_MAX];
    printf("%s %s\n", cb_digest_text(d, digest), target);
}

static int do_load(struct mirroring *m, const char *dir, struct cb_error *err)
{
    struct cb_mirror_load o = { .dir = dir, .to = m->o->to, .told = tell_loaded };
    return cb_mirror_load(&m->env, &o, err);
}

static const struct {
    const char *word;
    int (*run)(struct mirroring *m, const char *operand, struct cb_error *err);
    bool delivers; /* takes what apply takes */
} kinds[] = { { "plan", do_plan, false }, { "apply", do_apply, true }, { "run", do_run, true },
              { "load", do_load, false } };

/* An option that the kind has no use for is told, not passed over. */
static int check_options(const struct mirror_cmd *o, size_t kind, struct cb_error *err)
{
    bool apply = kinds[kind].delivers, plan = kinds[kind].run == do_plan, load = kinds[kind].run == do_load;
    const struct { const char *name; bool given, fits; } v[] = {
        { "--output", o->output, plan },        { "--max-delete", o->max_delete, apply },
        { "--bundle", o->bundle, apply },       { "--have", o->have.n > 0, apply && o->bundle },
        { "--force", o->force, kinds[kind].run == do_apply },
        { "--to", o->to, load },                { "--json", o->json, apply },
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        if (v[i].given && !v[i].fits)
            return cb_error_set(err, CB_EUSAGE, "%s has no meaning here: see `cbpush mirror --help`", v[i].name);
    return 0;
}

static int read_options(struct mirroring *m, size_t kind, struct cb_error *err)
{
    const struct mirror_cmd *o = m->o;
    uint64_t jobs = 4, deletes = 0;
    int r = check_options(o, kind, err);
    if (r == 0 && o->jobs && (!cb_parse_u64(o->jobs, 64, &jobs) || jobs == 0))
        r = cb_error_set(err, CB_EUSAGE, "--jobs %s: write a number from 1 to 64", o->jobs);
    if (r == 0 && o->max_delete && !cb_parse_u64(o->max_delete, 1000000, &deletes))
        r = cb_error_set(err, CB_EUSAGE, "--max-delete %s: write a number up to 1000000", o->max_delete);
    m->env.jobs = (unsigned)jobs;
    m->options = (struct cb_mirror_options){ .force = o->force, .max_delete = deletes, .bundle = o->bundle,
                                             .have = &o->have, .told = tell_tag, .arg = m };
    return r;
}

static int mirror(const struct cb_process *p, struct mirror_cmd *o, const struct cb_strvec *operands,
                  struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { .may_forget = true };
    struct mirroring m = { .o = o, .s = &s };
    size_t kind = 0;
    while (kind < CB_COUNTOF(kinds) && strcmp(kinds[kind].word, operands->v[0]) != 0)
        kind++;
    if (kind == CB_COUNTOF(kinds))
        return cb_error_set(err, CB_EUSAGE, "mirror %s: plan, apply, run or load", operands->v[0]);
    if (o->quiet)
        o->common.progress = "quiet";
    int r = read_options(&m, kind, err);
    if (r == 0)
        r = cb_session_open(&s, p, &o->common, "Mirroring", err);
    if (r < 0)
        return r;
    cb_autofree char *title = cb_asprintf("mirror %s %s", operands->v[0], operands->v[1]);
    m.env = (struct cb_copy_env){ s.registry, s.store, p->cancel, cb_step_new(s.progress, title), m.env.jobs };
    cb_step_begin(m.env.step);
    return kinds[kind].run(&m, operands->v[1], err);
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status CB_UNUSED,
               struct cb_error *err)
{
    struct mirror_cmd o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 2, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = mirror(p, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_strvec_done(&o.have);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_mirror = {
    .name = "mirror",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "keep repositories like others: plan, apply, run, load",
    .operands = "plan|apply|run|load [OPTIONS] FILE",
    .details = details,
    .options = table,
    .run = run,
};
