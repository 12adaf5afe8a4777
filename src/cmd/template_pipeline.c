/* SPDX-License-Identifier: Apache-2.0 */
/* What stands in an action: words, functions, pipes. */
#include <ctype.h>

#include "cmd/template_private.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"

#define MAX_WORDS 16

void template_forget(struct template *t, size_t n)
{
    while (t->n_vars > n) {
        struct template_var *v = &t->vars[--t->n_vars];
        free(v->name);
        json_decref(v->v);
    }
}

int template_declare(struct template *t, const char *name, json_t *v, struct cb_error *err)
{
    if (t->n_vars == TEMPLATE_VARS)
        return cb_error_set(err, CB_EUSAGE, "more than %d variables", TEMPLATE_VARS);
    t->vars[t->n_vars++] = (struct template_var){ cb_strdup(name), json_incref(v) };
    return 0;
}

int template_not_ours(const char *what, size_t n, struct cb_error *err)
{
    return cb_error_set(err, CB_EUSAGE,
                        "\"%.*s\" is not done here: write {{.Field}}, {{json .Field}}, {{index .Field \"key\"}}, "
                        "{{range .Field}}{{.}}{{end}}, {{if .Field}}, {{join .Field \",\"}} …, or take the JSON to jq",
                        (int)CB_MIN(n, (size_t)60), what);
}

/* ---- words ---- */

void template_skip_blanks(struct template *t)
{
    t->p += strspn(t->p, " \t\n");
}

bool template_is_end(const char *p)
{
    return !*p || cb_starts_with(p, "}}") || cb_starts_with(p, "-}}");
}

size_t template_name_length(const char *p)
{
    size_t n = 0;
    while (isalnum((unsigned char)p[n]) || p[n] == '_')
        n++;
    return n;
}

/* ".A.B" behind something that is there; "." alone where that is allowed. */
static int read_path(struct template *t, bool alone, char **path, struct cb_error *err)
{
    const char *q = t->p;
    for (size_t n; *q == '.'; q += n + 1) {
        n = template_name_length(q + 1);
        if (!n && !(alone && q == t->p && q[1] != '.'))
            return template_not_ours(t->p, strcspn(t->p, " }"), err);
    }
    *path = cb_strndup(t->p, (size_t)(q - t->p));
    t->p = q;
    return 0;
}

/* "…" with JSON's escapes, which are Go's as far as anybody writes them; `…` as it stands. */
static int read_text(struct template *t, json_t **out, struct cb_error *err)
{
    char quote = *t->p;
    size_t n = 1;
    while (t->p[n] && t->p[n] != quote)
        n += quote == '"' && t->p[n] == '\\' && t->p[n + 1] ? 2 : 1;
    if (!t->p[n])
        return cb_error_set(err, CB_EUSAGE, "a string has no end");
    if (quote == '`')
        *out = json_stringn(t->p + 1, n - 1);
    else {
        cb_autofree char *list = cb_asprintf("[%.*s]", (int)n + 1, t->p);
        cb_autojson json_t *j = cb_json_parse(list, strlen(list), NULL);
        *out = json_incref(json_array_get(j, 0));
    }
    if (!*out)
        return cb_error_set(err, CB_EUSAGE, "%.*s is no string", (int)n + 1, t->p);
    t->p += n + 1;
    return 0;
}

static int read_number(struct template *t, json_t **out, struct cb_error *err)
{
    bool minus = *t->p == '-';
    size_t n = strspn(t->p + minus, "0123456789");
    cb_autofree char *digits = cb_strndup(t->p + minus, n);
    uint64_t k = 0;
    if (!cb_parse_u64(digits, UINT32_MAX, &k))
        return cb_error_set(err, CB_EUSAGE, "%s is too large", digits);
    *out = json_integer(minus ? -(json_int_t)k : (json_int_t)k);
    t->p += minus + n;
    return 0;
}

/* v is taken. */
static int take_path(struct template *t, bool on, bool alone, json_t *v, json_t **out, struct cb_error *err)
{
    cb_autofree char *path = NULL;
    cb_autojson json_t *from = v;
    const json_t *found = NULL;
    int r = read_path(t, alone, &path, err);
    if (r == 0 && on)
        r = template_find(t->scope, from, path, &found, err);
    if (r == 0)
        *out = json_incref((json_t *)(uintptr_t)found);
    return r;
}

/* "$" is the whole, whatever "." is. */
static int read_variable(struct template *t, bool on, json_t **out, struct cb_error *err)
{
    size_t n = 1 + template_name_length(t->p + 1), i = t->n_vars;
    cb_autofree char *name = cb_strndup(t->p, n);
    const json_t *v = t->scope->root;
    while (n > 1 && i > 0 && strcmp(t->vars[i - 1].name, name) != 0)
        i--;
    if (n > 1 && i == 0)
        return cb_error_set(err, CB_EUSAGE, "there is no variable %s", name);
    if (n > 1)
        v = t->vars[i - 1].v;
    t->p += n;
    return take_path(t, on, false, json_incref((json_t *)(uintptr_t)v), out, err);
}

static int read_group(struct template *t, bool on, json_t **out, struct cb_error *err)
{
    json_t *v = NULL;
    if (t->depth == TEMPLATE_DEPTH)
        return cb_error_set(err, CB_EUSAGE, "more than %d parts in one another", TEMPLATE_DEPTH);
    t->depth++;
    t->p++;
    int r = template_pipeline(t, on, &v, err);
    t->depth--;
    if (r == 0 && *t->p != ')')
        r = cb_error_set(err, CB_EUSAGE, "( has no )");
    if (r < 0) {
        json_decref(v);
        return r;
    }
    t->p++;
    return take_path(t, on, false, v, out, err);
}

static int read_operand(struct template *t, bool on, json_t **out, struct cb_error *err)
{
    const char *p = t->p;
    size_t n = template_name_length(p);
    if (*p == '.')
        return take_path(t, on, true, json_incref((json_t *)(uintptr_t)t->dot), out, err);
    if (*p == '$')
        return read_variable(t, on, out, err);
    if (*p == '(')
        return read_group(t, on, out, err);
    if (*p == '"' || *p == '`')
        return read_text(t, out, err);
    if (isdigit((unsigned char)*p) || (*p == '-' && isdigit((unsigned char)p[1])))
        return read_number(t, out, err);
    bool yes = n == 4 && !strncmp(p, "true", n), no = n == 5 && !strncmp(p, "false", n);
    if (!yes && !no && !(n == 3 && !strncmp(p, "nil", n)))
        return template_not_ours(p, CB_MAX(strcspn(p, " })"), (size_t)1), err);
    *out = yes || no ? json_boolean(yes) : json_null();
    t->p += n;
    return 0;
}

/* ---- pipelines ---- */

struct command {
    char *function; /* or NULL */
    json_t *v[MAX_WORDS];
    size_t n;
};

static void command_done(struct command *c)
{
    free(c->function);
    for (size_t i = 0; i < c->n; i++)
        json_decref(c->v[i]);
}

static int read_command(struct template *t, bool on, struct command *c, struct cb_error *err)
{
    template_skip_blanks(t);
    cb_autofree char *word = cb_strndup(t->p, template_name_length(t->p));
    if (template_has_function(word)) {
        t->p += strlen(word);
        c->function = CB_TAKE(word);
    }
    for (;;) {
        const char *before = t->p;
        template_skip_blanks(t);
        if (template_is_end(t->p) || *t->p == '|' || *t->p == ')')
            return 0;
        if (t->p == before && (c->n || c->function))
            return template_not_ours(t->p, 1, err);
        if (c->n == MAX_WORDS)
            return cb_error_set(err, CB_EUSAGE, "more than %d words in one action", MAX_WORDS);
        int r = read_operand(t, on, &c->v[c->n], err);
        if (r < 0)
            return r;
        c->n++;
    }
}

/* piped (taken) comes behind what is written. */
static int run_command(struct template *t, bool on, json_t *piped, bool is_piped, json_t **out, struct cb_error *err)
{
    CB_CLEANUP(command_done) struct command c = { 0 };
    int r = read_command(t, on, &c, err);
    if (is_piped && c.n < MAX_WORDS)
        c.v[c.n++] = piped;
    else
        json_decref(piped);
    if (r < 0)
        return r;
    if (c.function)
        return on ? template_call(&(struct template_call){ c.function, c.v, c.n }, out, err) : 0;
    if (c.n != 1)
        return cb_error_set(err, CB_EUSAGE, c.n ? "several values in one action" : "an action is empty");
    *out = json_incref(c.v[0]);
    return 0;
}

int template_pipeline(struct template *t, bool on, json_t **out, struct cb_error *err)
{
    json_t *v = NULL;
    int r = run_command(t, on, NULL, false, &v, err);
    while (r == 0 && *t->p == '|') {
        json_t *next = NULL;
        t->p++;
        r = run_command(t, on, v, true, &next, err);
        v = next;
    }
    *out = v;
    return r;
}
