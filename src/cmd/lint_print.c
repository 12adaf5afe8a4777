/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/lint_print.h"

#include <stdio.h>

#include "cmd/check_print.h"
#include "util/alloc.h"
#include "util/encode.h"

/* What is found without a rule of BuildKit. */
static const struct cb_df_rule other_rules[] = {
    { "ParseError", "The file can be read and is a Dockerfile", NULL, false, false },
    { "UnsupportedSyntax", "The frontend that # syntax= names is not run", NULL, false, false },
};
enum { PARSE_ERROR = CB_DF_N_RULES, UNSUPPORTED_SYNTAX, N_RULES };

static const struct cb_df_rule *rule_at(size_t i)
{
    return i < CB_DF_N_RULES ? &cb_df_rules[i] : &other_rules[i - CB_DF_N_RULES];
}

static size_t rule_index(const struct cb_df_warning *w)
{
    const struct cb_df_rule *r = cb_df_rule_find(w->rule);
    return r ? (size_t)(r - cb_df_rules) : UNSUPPORTED_SYNTAX;
}

/* ---- one thing that was found ---- */

struct finding {
    const char *file;
    size_t rule;
    const char *text;
    struct cb_df_span at;         /* first 0: the whole file */
    const char *level;
};
typedef void finding_fn(const struct finding *f, void *arg);

/* "FILE:LINE: text" without the place. */
static const char *take_place(const struct lint_file *f, struct cb_df_span *at)
{
    size_t n = strlen(f->name);
    const char *digits = f->failed + n + 1;
    if (strncmp(f->failed, f->name, n) != 0 || f->failed[n] != ':')
        return f->failed;
    size_t k = strspn(digits, "0123456789");
    cb_autofree char *number = cb_strndup(digits, k);
    uint32_t line;
    if (!cb_parse_u32(number, &line) || strncmp(digits + k, ": ", 2) != 0)
        return f->failed;
    *at = (struct cb_df_span){ line, line };
    return digits + k + 2;
}

static void each_of(const struct lint_files *all, const struct lint_file *f, finding_fn *fn, void *arg)
{
    const struct cb_dockerfile *d = f->res.dockerfile;
    for (size_t i = 0; d && i < d->n_warnings; i++) {
        const struct cb_df_warning *w = &d->warnings[i];
        struct finding x = { f->name, rule_index(w), w->text, w->span, all->errors ? "error" : "warning" };
        fn(&x, arg);
    }
    if (f->failed) {
        struct finding x = { f->name, PARSE_ERROR, f->failed, { 0 }, "error" };
        x.text = take_place(f, &x.at);
        fn(&x, arg);
    }
}

static void each(const struct lint_files *all, finding_fn *fn, void *arg)
{
    for (size_t i = 0; i < all->n; i++)
        each_of(all, &all->v[i], fn, arg);
}

/* ---- text ---- */

static void print_line(const struct finding *f, void *arg CB_UNUSED)
{
    cb_autofree char *place = f->at.first ? cb_asprintf("%s:%u", f->file, f->at.first) : cb_strdup(f->file);
    cb_autofree char *line = cb_asprintf("%s: %s: %s", place, rule_at(f->rule)->name, f->text);
    cb_print_safe(stdout, line);
    putchar('\n');
}

void lint_print_text(const struct lint_files *f)
{
    each(f, print_line, NULL);
}

/* ---- JSON: a list ---- */

static void add_json(const struct finding *f, void *arg)
{
    const struct cb_df_rule *r = rule_at(f->rule);
    cb_autofree char *url = cb_rule_url(r);
    json_t *o = json_object();
    cb_json_put_string(o, "file", f->file);
    if (f->at.first) {
        json_object_set_new(o, "startLine", json_integer(f->at.first));
        json_object_set_new(o, "endLine", json_integer(f->at.last));
    }
    cb_json_put_string(o, "level", f->level);
    cb_json_put_string(o, "rule", r->name);
    cb_json_put_string(o, "message", f->text);
    cb_json_put_string(o, "description", r->description);
    cb_json_put_string(o, "url", url);
    json_array_append_new(arg, o);
}

void lint_print_json(const struct lint_files *f)
{
    cb_autojson json_t *a = json_array();
    each(f, add_json, a);
    cb_print_json(a);
}

/* ---- SARIF ---- */

static json_t *text_object(const char *text)
{
    json_t *o = json_object();
    cb_json_put_string(o, "text", text);
    return o;
}

static json_t *sarif_rules(void)
{
    json_t *a = json_array();
    for (size_t i = 0; i < N_RULES; i++) {
        const struct cb_df_rule *r = rule_at(i);
        cb_autofree char *url = cb_rule_url(r);
        json_t *o = json_pack("{s:s,s:o,s:{s:s}}", "id", r->name, "shortDescription", text_object(r->description),
                              "defaultConfiguration", "level", i == PARSE_ERROR ? "error" : "warning");
        cb_json_put_string(o, "helpUri", url);
        json_array_append_new(a, o);
    }
    return a;
}

/* A relative reference; a first part that holds a colon would be a scheme. */
static char *file_uri(const char *path)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    if (path[0] == '/')
        cb_strbuf_adds(&sb, "file://");
    for (const char *p = path; *p; p++) {
        if (strchr("-._~/", *p) || (*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z'))
            cb_strbuf_addch(&sb, *p);
        else
            cb_strbuf_addf(&sb, "%%%02X", (unsigned char)*p);
    }
    return cb_strbuf_detach(&sb, NULL);
}

static void add_sarif(const struct finding *f, void *arg)
{
    cb_autofree char *uri = file_uri(f->file);
    json_t *place = json_pack("{s:{s:s}}", "artifactLocation", "uri", uri);
    if (f->at.first)
        json_object_set_new(place, "region", json_pack("{s:i,s:i}", "startLine", (int)f->at.first, "endLine",
                                                       (int)f->at.last));
    json_array_append_new(arg, json_pack("{s:s,s:i,s:s,s:o,s:[{s:o}]}", "ruleId", rule_at(f->rule)->name, "ruleIndex",
                                         (int)f->rule, "level", f->level, "message", text_object(f->text), "locations",
                                         "physicalLocation", place));
}

void lint_print_sarif(const struct lint_files *f)
{
    json_t *results = json_array();
    each(f, add_sarif, results);
    cb_autojson json_t *o =
        json_pack("{s:s,s:s,s:[{s:{s:{s:s,s:s,s:o}},s:s,s:o}]}", "$schema",
                  "https://json.schemastore.org/sarif-2.1.0.json", "version", "2.1.0", "runs", "tool", "driver", "name",
                  "cbpush", "version", PACKAGE_VERSION, "rules", sarif_rules(), "columnKind", "unicodeCodePoints",
                  "results", results);
    cb_print_json(o);
}
