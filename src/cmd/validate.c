/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/edit_session.h"

struct validate_options {
    struct cb_common common;
    const char *remote;
    bool fast, json;
};
#define AT(field) offsetof(struct validate_options, field)

/* Kept until the display has ended, which draws on the same terminal. */
struct report {
    bool json;
    size_t n;
    struct cb_strbuf out;
};

static void print_finding(void *arg, const struct cb_edit_finding *f)
{
    struct report *rep = arg;
    struct cb_strbuf *out = &rep->out;
    if (rep->json) {
        cb_autojson json_t *o = json_object();
        cb_json_put_string(o, "what", f->what);
        cb_json_put(o, "ok", json_boolean(!f->wrong));
        cb_json_put_string(o, "wrong", f->wrong);
        cb_strbuf_adds(out, rep->n ? ",\n" : "[\n");
        cb_json_print(out, o);
    } else {
        cb_strbuf_addf(out, "%-5s  ", f->wrong ? "WRONG" : "ok");
        cb_strbuf_add_sanitized(out, f->what, strlen(f->what), false);
        cb_strbuf_adds(out, f->wrong ? ": " : "");
        cb_strbuf_add_sanitized(out, f->wrong ? f->wrong : "", f->wrong ? strlen(f->wrong) : 0, false);
        cb_strbuf_addch(out, '\n');
    }
    rep->n++;
}

static void print_report(const struct report *rep)
{
    fwrite(rep->out.buf, 1, rep->out.len, stdout);
    if (rep->json)
        puts(rep->n ? "\n]" : "[]");
}

static void report_done(struct report *rep)
{
    cb_strbuf_done(&rep->out);
}

static int validate(const struct cb_process *p, const struct validate_options *o, const char *what,
                    struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct report rep CB_CLEANUP(report_done) = { .json = o->json, .out = CB_STRBUF_INIT };
    struct cb_edit_validate_options vo = { .fast = o->fast, .tell = print_finding, .arg = &rep };
    size_t wrong = 0;
    int r = cb_edit_session_open(&e, p, &o->common, "Validating", err);
    if (r == 0)
        r = cb_edit_session_source(&e, what, &source, err);
    if (r < 0)
        return r;
    r = cb_edit_validate(&source, &vo, &wrong, err);
    cb_progress_finish(e.s.progress, r < 0);
    if (r == 0 || rep.n)
        print_report(&rep);
    if (r == 0 && wrong)
        r = cb_error_set(err, CB_EVERIFY, "%s: %zu thing%s wrong", source.text, wrong,
                         wrong == 1 ? " is" : "s are");
    return r;
}

static int run_validate(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                        int *status CB_UNUSED, struct cb_error *err)
{
    struct validate_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done && (o.remote != NULL) == (a.operands.n == 1))
        r = cb_error_set(err, CB_EUSAGE, "validate: name one image");
    if (r == 0 && !a.done)
        r = validate(p, &o, o.remote ? o.remote : a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt validate_table[] = {
    { "fast", 0, CB_OPT_FLAG, AT(fast), NULL, "of layers only whether they are there, and how large", NULL },
    { "remote", 0, CB_OPT_STRING, AT(remote), "REF", NULL, NULL },
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "an array of objects: what, ok, wrong", NULL },
    CB_OPT_EDIT(validate_options),
};

const struct cb_verb cb_verb_validate = {
    .name = "validate",
    .registry_names = true,
    .summary = "check every digest and size of an image, and that its parts agree",
    .operands = "[OPTIONS] IMAGE",
    .details = "Of an index all images, and what else it lists. Layers are read as who unpacks them would: digest,\n"
               "size, compression, every entry, diff id. All that is wrong is named; then the exit status is 7.\n"
               "IMAGE is one of a registry (what the local store has is no substitute), or store:NAME.",
    .options = validate_table,
    .run = run_validate,
};
