/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>

#include "cmd/check_print.h"
#include "util/alloc.h"
#include "util/encode.h"

char *cb_rule_url(const struct cb_df_rule *r)
{
    return r && r->page ? cb_asprintf(CB_DF_RULE_URL "%s/", r->page) : NULL;
}

void cb_print_safe(FILE *f, const char *text)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&sb, text, strlen(text), false);
    fputs(sb.len ? sb.buf : "", f);
}

void cb_print_json(const json_t *j)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_json_print_pretty(&sb, j);
    fputs(sb.buf, stdout);
}

static void print_excerpt(FILE *f, const struct cb_dockerfile *d, struct cb_df_span at)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT, safe cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&sb, "%s:%u\n", d->name, at.first);
    cb_df_excerpt(&sb, d, at, NULL);
    cb_strbuf_add_sanitized(&safe, sb.buf, sb.len, true);
    fputs(safe.buf, f);
}

/* ---- behind a build ---- */

static void expand_warning(const struct cb_dockerfile *d, const struct cb_df_warning *w)
{
    const struct cb_df_rule *r = cb_df_rule_find(w->rule);
    cb_autofree char *url = cb_rule_url(r);
    if (r)
        fprintf(stderr, "%s\n", r->description);
    if (url)
        fprintf(stderr, "More info: %s\n", url);
    print_excerpt(stderr, d, w->span);
    fputc('\n', stderr);
}

void cb_warnings_print(const struct cb_dockerfile *d, bool expand)
{
    if (!d || d->n_warnings == 0)
        return;
    fprintf(stderr, "\n %zu warning%s found%s:\n", d->n_warnings, d->n_warnings == 1 ? "" : "s",
            expand ? "" : " (use --debug to expand)");
    for (size_t i = 0; i < d->n_warnings; i++) {
        cb_autofree char *text = cb_df_warning_text(&d->warnings[i]);
        fputs(" - ", stderr);
        cb_print_safe(stderr, text);
        fputc('\n', stderr);
        if (expand)
            expand_warning(d, &d->warnings[i]);
    }
}

/* ---- JSON ---- */

static json_t *base64(const char *p, size_t n)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_base64_encode(&sb, p, n);
    return json_string(sb.len ? sb.buf : "");
}

static json_t *ranges(struct cb_df_span at)
{
    return json_pack("[{s:{s:i},s:{s:i}}]", "start", "line", (int)at.first, "end", "line", (int)at.last);
}

static void put_location(json_t *o, struct cb_df_span at)
{
    json_object_set_new(o, "location", json_pack("{s:o}", "ranges", ranges(at)));
}

static json_t *source_info(const struct cb_dockerfile *d)
{
    json_t *o = json_object();
    cb_json_put_string(o, "filename", d->name);
    json_object_set_new(o, "data", base64(d->text, d->text_len));
    json_object_set_new(o, "language", json_string("Dockerfile"));
    return o;
}

static json_t *plain_sources(const struct cb_dockerfile *d)
{
    return json_pack("[o]", base64(d->text, d->text_len));
}

static json_t *vertex_warning(const struct cb_dockerfile *d, const struct cb_df_warning *w)
{
    const struct cb_df_rule *r = cb_df_rule_find(w->rule);
    cb_autofree char *url = cb_rule_url(r), *text = cb_df_warning_text(w);
    json_t *o = json_pack("{s:i,s:o}", "level", 1, "short", base64(text, strlen(text)));
    if (r)
        json_object_set_new(o, "detail", json_pack("[o]", base64(r->description, strlen(r->description))));
    cb_json_put_string(o, "url", url);
    json_object_set_new(o, "sourceInfo", source_info(d));
    json_object_set_new(o, "range", ranges(w->span));
    return o;
}

json_t *cb_warnings_json(const struct cb_dockerfile *d)
{
    json_t *a = json_array();
    for (size_t i = 0; i < d->n_warnings; i++)
        json_array_append_new(a, vertex_warning(d, &d->warnings[i]));
    return a;
}

static json_t *lint_warning(const struct cb_df_warning *w)
{
    const struct cb_df_rule *r = cb_df_rule_find(w->rule);
    cb_autofree char *url = cb_rule_url(r);
    json_t *o = json_object();
    cb_json_put_string(o, "ruleName", w->rule);
    cb_json_put_string(o, "description", r ? r->description : NULL);
    cb_json_put_string(o, "url", url);
    cb_json_put_string(o, "detail", w->text);
    put_location(o, w->span);
    return o;
}

void cb_check_print_json(const struct cb_dockerfile *d, const char *failed, struct cb_df_span at)
{
    cb_autojson json_t *o = json_object();
    json_t *warnings = json_array(), *sources = json_array();
    for (size_t i = 0; d && i < d->n_warnings; i++)
        json_array_append_new(warnings, lint_warning(&d->warnings[i]));
    if (d)
        json_array_append_new(sources, source_info(d));
    json_object_set_new(o, "warnings", warnings);
    json_object_set_new(o, "sources", sources);
    if (failed) {
        json_t *e = json_object();
        cb_json_put_string(e, "message", failed);
        if (at.first)
            put_location(e, at);
        json_object_set_new(o, "buildError", e);
    }
    cb_print_json(o);
}

/* ---- --check ---- */

void cb_check_print_text(const struct cb_dockerfile *d)
{
    if (d->n_warnings == 0) {
        printf("Check complete, no warnings found.\n");
        return;
    }
    printf(d->n_warnings == 1 ? "Check complete, 1 warning has been found!\n"
                              : "Check complete, %zu warnings have been found!\n", d->n_warnings);
    for (size_t i = 0; i < d->n_warnings; i++) {
        const struct cb_df_warning *w = &d->warnings[i];
        cb_autofree char *url = cb_rule_url(cb_df_rule_find(w->rule));
        printf("\nWARNING: %s%s%s\n", w->rule, url ? " - " : "", url ? url : "");
        cb_print_safe(stdout, w->text);
        putchar('\n');
        print_excerpt(stdout, d, w->span);
    }
}

/* ---- tables ---- */

enum { MAX_COLUMNS = 3 };

struct table {
    struct cb_strvec cells;   /* row by row, safe to print */
    size_t columns;
    unsigned gap;             /* behind the longest cell of a column */
};

static void add_cell(struct table *t, const char *text)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    cb_strbuf_add_sanitized(&sb, text ? text : "", text ? strlen(text) : 0, false);
    cb_strvec_take(&t->cells, sb.len ? cb_strdup(sb.buf) : cb_strdup(""));
    cb_strbuf_done(&sb);
}

static size_t width(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* As Go's tabwriter: the last column is not filled up. */
static void print_table(struct table *t)
{
    size_t widest[MAX_COLUMNS] = { 0 };
    for (size_t i = 0; i < t->cells.n; i++)
        widest[i % t->columns] = CB_MAX(widest[i % t->columns], width(t->cells.v[i]));
    for (size_t i = 0; i < t->cells.n; i++) {
        size_t column = i % t->columns;
        bool last = column + 1 == t->columns;
        int fill = last ? 0 : (int)(widest[column] - width(t->cells.v[i])) + (int)t->gap;
        printf("%s%*s%s", t->cells.v[i], fill, "", last ? "\n" : "");
    }
    cb_strvec_done(&t->cells);
}

/* ---- --call outline ---- */

static void print_args(const struct cb_df_params *p)
{
    struct table t = { .columns = 3, .gap = 3 };
    if (p->n == 0)
        return;
    add_cell(&t, "BUILD ARG");
    add_cell(&t, "VALUE");
    add_cell(&t, "DESCRIPTION");
    for (size_t i = 0; i < p->n; i++) {
        add_cell(&t, p->v[i].name);
        add_cell(&t, p->v[i].value);
        add_cell(&t, p->v[i].description);
    }
    print_table(&t);
    putchar('\n');
}

static void print_required(const char *title, const struct cb_df_params *p)
{
    struct table t = { .columns = 2, .gap = 3 };
    if (p->n == 0)
        return;
    add_cell(&t, title);
    add_cell(&t, "REQUIRED");
    for (size_t i = 0; i < p->n; i++) {
        add_cell(&t, p->v[i].name);
        add_cell(&t, p->v[i].required ? "true" : "");
    }
    print_table(&t);
    putchar('\n');
}

void cb_outline_print(const struct cb_df_outline *o)
{
    struct table t = { .columns = 2, .gap = 1 };
    if (o->name) {
        add_cell(&t, "TARGET:");
        add_cell(&t, o->name);
        if (o->description) {
            add_cell(&t, "DESCRIPTION:");
            add_cell(&t, o->description);
        }
        print_table(&t);
        putchar('\n');
    }
    print_args(&o->args);
    print_required("SECRET", &o->secrets);
    print_required("SSH", &o->ssh);
    if (o->caches.n)
        printf("CACHE\n");
    for (size_t i = 0; i < o->caches.n; i++) {
        cb_print_safe(stdout, o->caches.v[i].name);
        putchar('\n');
    }
    if (o->caches.n)
        putchar('\n');
}

static void put_params(json_t *to, const char *key, const struct cb_df_params *p, const char *name)
{
    json_t *a = json_array();
    for (size_t i = 0; i < p->n; i++) {
        json_t *o = json_object();
        cb_json_put_string(o, name, p->v[i].name);
        cb_json_put_string(o, "description", p->v[i].description);
        cb_json_put_string(o, "value", p->v[i].value && *p->v[i].value ? p->v[i].value : NULL);
        if (p->v[i].required)
            json_object_set_new(o, "required", json_true());
        put_location(o, p->v[i].span);
        json_array_append_new(a, o);
    }
    if (p->n)
        json_object_set(to, key, a);
    json_decref(a);
}

void cb_outline_print_json(const struct cb_df_outline *o, const struct cb_dockerfile *d)
{
    cb_autojson json_t *j = json_object();
    cb_json_put_string(j, "name", o->name);
    cb_json_put_string(j, "description", o->description);
    put_params(j, "args", &o->args, "name");
    put_params(j, "secrets", &o->secrets, "name");
    put_params(j, "ssh", &o->ssh, "name");
    put_params(j, "cache", &o->caches, "ID");
    json_object_set_new(j, "sources", plain_sources(d));
    cb_print_json(j);
}

/* ---- --call targets ---- */

static const char *stage_description(const struct cb_df_instruction *from)
{
    return from->stage_name ? cb_df_description(from, from->stage_name) : NULL;
}

void cb_targets_print(const struct cb_dockerfile *d)
{
    struct table t = { .columns = 2, .gap = 1 };
    add_cell(&t, "TARGET");
    add_cell(&t, "DESCRIPTION");
    for (size_t i = 0; i < d->n_stages; i++) {
        const struct cb_df_instruction *from = &d->stages[i].from;
        const char *name = from->stage_name ? from->stage_name : "";
        bool last = i + 1 == d->n_stages;
        cb_autofree char *shown = cb_asprintf("%s%s%s", name, last && *name ? " " : "", last ? "(default)" : "");
        add_cell(&t, shown);
        add_cell(&t, stage_description(from));
    }
    print_table(&t);
}

void cb_targets_print_json(const struct cb_dockerfile *d)
{
    cb_autojson json_t *j = json_object();
    json_t *a = json_array();
    for (size_t i = 0; i < d->n_stages; i++) {
        const struct cb_df_instruction *from = &d->stages[i].from;
        json_t *o = json_object();
        cb_json_put_string(o, "name", from->stage_name);
        if (i + 1 == d->n_stages)
            json_object_set_new(o, "default", json_true());
        cb_json_put_string(o, "description", stage_description(from));
        cb_json_put_string(o, "base", from->base);
        cb_json_put_string(o, "platform", from->platform);
        put_location(o, from->span);
        json_array_append_new(a, o);
    }
    json_object_set_new(j, "targets", a);
    json_object_set_new(j, "sources", plain_sources(d));
    cb_print_json(j);
}
