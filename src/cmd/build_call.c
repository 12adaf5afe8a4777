/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_call.h"

#include "cmd/build_report.h"
#include "cmd/check_print.h"
#include "util/alloc.h"

static int take_kind(struct build_call *c, const char *word, struct cb_error *err)
{
    static const struct { const char *word; enum build_call_kind kind; } kinds[] = {
        { "build", BUILD_CALL_NONE }, { "check", BUILD_CALL_CHECK }, { "lint", BUILD_CALL_CHECK },
        { "outline", BUILD_CALL_OUTLINE }, { "targets", BUILD_CALL_TARGETS },
    };
    for (size_t i = 0; i < CB_COUNTOF(kinds); i++)
        if (!strcmp(word, kinds[i].word)) {
            c->kind = kinds[i].kind;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "--call %s: there are check, outline, targets and build", word);
}

static int take_word(struct build_call *c, const char *word, struct cb_error *err)
{
    bool text = !strcmp(word, "format=text"), json = !strcmp(word, "format=json");
    if (text || json) {
        c->json = json;
        return 0;
    }
    if (cb_starts_with(word, "format="))
        return cb_error_set(err, CB_EUSAGE, "--call %s: format is text or json", word);
    if (!strcmp(word, "ignorestatus=true") || !strcmp(word, "ignorestatus=false")) {
        c->ignore_status = cb_ends_with(word, "true");
        return 0;
    }
    if (strchr(word, '='))
        return cb_error_set(err, CB_EUSAGE, "--call %s: there are format= and ignorestatus=", word);
    return take_kind(c, word, err);
}

int build_call_parse(struct build_call *out, const char *text, struct cb_error *err)
{
    int r = 0;
    *out = (struct build_call){ 0 };
    for (const char *p = text; r == 0 && p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        cb_autofree char *word = cb_strndup(p, strcspn(p, ","));
        r = take_word(out, word, err);
    }
    return r;
}

static int check(const struct build_call *c, const struct cb_build_env *env, struct cb_build_options *o, int *status,
                 struct cb_error *err)
{
    struct cb_build_result res = { 0 };
    struct cb_report rep = { .res = &res, .quiet = true }; /* the warnings are told already */
    o->check_all = true;
    int r = cb_build_check(env, o, &res, err);
    cb_progress_finish(env->progress, r < 0);
    if (c->json)
        cb_check_print_json(res.dockerfile, r < 0 ? cb_error_text(err) : NULL, res.failed);
    else if (res.dockerfile && (r == 0 || res.dockerfile->n_warnings))
        cb_check_print_text(res.dockerfile);
    if (r < 0)
        r = cb_report_failure(&rep, r, err);
    else if (res.dockerfile->n_warnings && !c->ignore_status)
        *status = cb_error_exit_code(&(struct cb_error){ .code = CB_ECONF });
    cb_build_result_done(&res);
    return r;
}

static int outline(const struct build_call *c, const struct cb_build_env *env, const struct cb_build_options *o,
                   struct cb_error *err)
{
    struct cb_build_result res = { 0 };
    struct cb_df_outline out;
    int r = cb_build_outline(env, o, &res, &out, err);
    if (r == 0 && c->kind == BUILD_CALL_TARGETS)
        (c->json ? cb_targets_print_json : cb_targets_print)(res.dockerfile);
    else if (r == 0 && c->json)
        cb_outline_print_json(&out, res.dockerfile);
    else if (r == 0)
        cb_outline_print(&out);
    cb_df_outline_done(&out);
    cb_build_result_done(&res);
    return r;
}

int build_call_run(const struct build_call *c, const struct cb_build_env *env, const struct cb_build_options *o,
                   int *status, struct cb_error *err)
{
    struct cb_build_options own = *o;
    if (c->kind == BUILD_CALL_CHECK)
        return check(c, env, &own, status, err);
    if (c->kind == BUILD_CALL_TARGETS)
        own.target = NULL;
    return outline(c, env, &own, err);
}
