/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/cmd.h"
#include "cmd/lint_print.h"
#include "cmd/session.h"
#include "util/alloc.h"

struct lint_options {
    const char *format, *target;
    struct cb_strvec files, skip, experimental, build_args;
    bool error;
    const struct cb_cancel *cancel;
};
#define AT(field) offsetof(struct lint_options, field)
static const struct cb_opt options[] = {
    { "file", 'f', CB_OPT_LIST, AT(files), "FILE", "a Dockerfile (several); - is standard input", NULL },
    { "format", 0, CB_OPT_STRING, AT(format), "FORMAT", "text (default), json or sarif", NULL, "text|json|sarif" },
    { "skip", 0, CB_OPT_LIST, AT(skip), "RULE", "do not report this rule (several, or all)", NULL },
    { "experimental", 0, CB_OPT_LIST, AT(experimental), "RULE", "report this experimental rule (several, or all)",
      NULL },
    { "error", 0, CB_OPT_FLAG, AT(error), NULL, "call violations errors, not warnings (json, sarif)", NULL },
    { "build-arg", 0, CB_OPT_LIST, AT(build_args), "K=V", "value of an ARG", NULL },
    { "target", 0, CB_OPT_STRING, AT(target), "STAGE", "look at what this stage needs only", NULL },
    CB_OPT_END,
};

static void options_done(struct lint_options *o)
{
    cb_strvec_done(&o->files);
    cb_strvec_done(&o->skip);
    cb_strvec_done(&o->experimental);
    cb_strvec_done(&o->build_args);
}

static void files_done(struct lint_files *f)
{
    for (size_t i = 0; i < f->n; i++) {
        free(f->v[i].name);
        free(f->v[i].failed);
        cb_build_result_done(&f->v[i].res);
    }
    free(f->v);
}

/* ---- which files ---- */

/* The Dockerfile of a directory, as `build` finds it. */
static char *default_file(const char *dir)
{
    static const char *const names[] = { "Dockerfile", "dockerfile", "Containerfile" };
    const char *slash = cb_ends_with(dir, "/") ? "" : "/";
    bool here = !strcmp(dir, ".");
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        char *path = here ? cb_strdup(names[i]) : cb_asprintf("%s%s%s", dir, slash, names[i]);
        if (access(path, F_OK) == 0)
            return path;
        free(path);
    }
    return here ? cb_strdup(names[0]) : cb_asprintf("%s%s%s", dir, slash, names[0]);
}

static char *directory_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? cb_strndup(path, slash == path ? 1 : (size_t)(slash - path)) : cb_strdup(".");
}

/* .dockerignore is that of the context, which is where the file stands unless it is said. */
static void lint_one(struct lint_files *all, const struct lint_options *lo, const char *file, const char *context)
{
    struct cb_error err cb_cleanup_error = CB_ERROR_INIT;
    bool standard_input = !strcmp(file, "-");
    cb_autofree char *own = standard_input ? cb_strdup(".") : directory_of(file);
    struct cb_build_options o = { .context = context ? context : own, .dockerfile = file, .target = lo->target,
                                  .build_args = &lo->build_args, .check_all = true, .check_report_only = true,
                                  .check_skip = &lo->skip, .check_experimental = &lo->experimental,
                                  .cancel = lo->cancel };
    CB_GROW(all->v, all->n, all->cap);
    struct lint_file *f = &all->v[all->n++];
    *f = (struct lint_file){ .name = cb_strdup(standard_input ? "Dockerfile" : file) };
    if (cb_build_check(NULL, &o, &f->res, &err) < 0)
        f->failed = cb_strdup(cb_error_text(&err));
}

static void lint_operand(struct lint_files *all, const struct lint_options *lo, const char *word)
{
    struct stat st;
    bool dir = strcmp(word, "-") && stat(word, &st) == 0 && S_ISDIR(st.st_mode);
    cb_autofree char *file = dir ? default_file(word) : cb_strdup(word);
    lint_one(all, lo, file, dir ? word : NULL);
}

static int lint_all(struct lint_files *all, const struct lint_options *lo, const struct cb_strvec *operands,
                    struct cb_error *err)
{
    if (lo->files.n && operands->n > 1)
        return cb_error_set(err, CB_EUSAGE, "lint: with -f there is one context, not %zu", operands->n);
    for (size_t i = 0; i < lo->files.n; i++)
        lint_one(all, lo, lo->files.v[i], operands->n ? operands->v[0] : ".");
    for (size_t i = 0; !lo->files.n && i < operands->n; i++)
        lint_operand(all, lo, operands->v[i]);
    if (!lo->files.n && !operands->n)
        lint_operand(all, lo, ".");
    return 0;
}

/* ---- the verb ---- */

static int check_rules(const struct cb_strvec *rules, const char *flag, struct cb_error *err)
{
    const char *names[CB_DF_N_RULES + 2] = { "all" };
    for (size_t i = 0; i < CB_DF_N_RULES; i++)
        names[i + 1] = cb_df_rules[i].name;
    for (size_t i = 0; i < rules->n; i++) {
        const char *best = cb_df_suggest(rules->v[i], names);
        if (strcmp(rules->v[i], "all") && !cb_df_rule_find(rules->v[i]))
            return cb_error_set(err, CB_EUSAGE, "--%s %s: there is no such rule%s%s%s", flag, rules->v[i],
                                best ? " (did you mean " : "", best ? best : "", best ? "?)" : "");
    }
    return 0;
}

static int find_format(const char *name, void (**print)(const struct lint_files *f), struct cb_error *err)
{
    static const struct { const char *name; void (*print)(const struct lint_files *f); } formats[] = {
        { "text", lint_print_text }, { "json", lint_print_json }, { "sarif", lint_print_sarif },
    };
    for (size_t i = 0; i < CB_COUNTOF(formats); i++)
        if (!strcmp(name, formats[i].name)) {
            *print = formats[i].print;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "--format %s: text, json or sarif", name);
}

static int lint(const struct lint_options *lo, const struct cb_strvec *operands, int *status, struct cb_error *err)
{
    CB_CLEANUP(files_done) struct lint_files all = { .errors = lo->error };
    void (*print)(const struct lint_files *f) = NULL;
    int r = find_format(lo->format ? lo->format : "text", &print, err);
    if (r == 0)
        r = check_rules(&lo->skip, "skip", err);
    if (r == 0)
        r = check_rules(&lo->experimental, "experimental", err);
    if (r == 0)
        r = lint_all(&all, lo, operands, err);
    if (r == 0)
        r = cb_cancel_check(lo->cancel, err);
    if (r < 0)
        return r;
    print(&all);
    for (size_t i = 0; i < all.n; i++)
        if (all.v[i].failed || all.v[i].res.dockerfile->n_warnings)
            *status = cb_error_exit_code(&(struct cb_error){ .code = CB_ECONF });
    return 0;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status,
               struct cb_error *err)
{
    CB_CLEANUP(options_done) struct lint_options lo = { .cancel = p->cancel };
    struct cb_verb_args a = { .verb = self, .dest = &lo, .argc = argc, .argv = argv, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = lint(&lo, &a.operands, status, err);
    cb_strvec_done(&a.operands);
    return r;
}

const struct cb_verb cb_verb_lint = {
    .name = "lint",
    .topic = CB_TOPIC_BUILD,
    .summary = "check Dockerfiles by the rules of BuildKit",
    .operands = "[OPTIONS] [CONTEXT|FILE…]",
    .details =
        "Reads files only: no network, no store. A directory means the Dockerfile in it. What base images set is not\n"
        "known, so an undefined variable is reported only where no base image could define it; `build --check` asks\n"
        "the registry. `# check=skip=RULE` in the file, or above one instruction, silences a rule.\n"
        "Exit status: 0 nothing found, 5 violations or no Dockerfile.",
    .options = options,
    .run = run,
};
