/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a template and does what it says in one go: a body of range is read again for each turn, one that is not
 * wanted is read and not done. */
#include <ctype.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/template_private.h"
#include "oci/json.h"
#include "util/alloc.h"

#define MAX_STEPS 1000000

static int close_action(struct template *t, struct cb_error *err)
{
    template_skip_blanks(t);
    if (!*t->p)
        return cb_error_set(err, CB_EUSAGE, "{{ has no }}");
    t->trim = *t->p == '-';
    if (!template_is_end(t->p))
        return template_not_ours(t->p, strcspn(t->p, " }"), err);
    t->p += t->trim ? 3 : 2;
    return 0;
}

/* "$a, $b :=" and "$a :=", where they stand there. */
static size_t read_names(struct template *t, char *names[2])
{
    const char *p = t->p;
    size_t n = 0;
    while (n < 2 && *p == '$' && template_name_length(p + 1)) {
        size_t k = 1 + template_name_length(p + 1);
        names[n++] = cb_strndup(p, k);
        p += k;
        p += strspn(p, " \t\n");
        if (*p != ',' || n == 2)
            break;
        p++;
        p += strspn(p, " \t\n");
    }
    if (n && cb_starts_with(p, ":=")) {
        t->p = p + 2;
        return n;
    }
    while (n > 0)
        free(names[--n]);
    return 0;
}

enum stop { STOP_TEXT, STOP_END, STOP_ELSE };
static int block(struct template *t, bool on, enum stop *stop, struct cb_error *err);

struct control {
    char kind; /* 'i'f, 'w'ith, 'r'ange */
    char *names[2];
    size_t n_names;
    json_t *v;
    const char *start; /* of the body */
    bool done;         /* it was done */
};

static void control_done(struct control *c)
{
    for (size_t i = 0; i < c->n_names; i++)
        free(c->names[i]);
    json_decref(c->v);
}

/* The body once, with key and value. */
static int turn(struct template *t, struct control *c, json_t *key, json_t *v, enum stop *stop, struct cb_error *err)
{
    const json_t *dot = t->dot;
    size_t n = t->n_vars;
    int r = 0;
    t->p = c->start;
    t->trim = false;
    t->dot = c->kind == 'i' ? dot : v;
    c->done = true;
    if (c->n_names == 2)
        r = template_declare(t, c->names[0], key, err);
    if (r == 0 && c->n_names)
        r = template_declare(t, c->names[c->n_names - 1], v, err);
    if (r == 0)
        r = block(t, true, stop, err);
    t->dot = dot;
    template_forget(t, n);
    return r;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Maps by their keys in order, as in Go. */
static int turns(struct template *t, struct control *c, enum stop *stop, struct cb_error *err)
{
    size_t n = json_is_object(c->v) ? json_object_size(c->v) : json_array_size(c->v), k = 0;
    cb_autofree const char **keys = cb_calloc(n + 1, sizeof *keys);
    for (void *it = json_object_iter(c->v); it; it = json_object_iter_next(c->v, it))
        keys[k++] = json_object_iter_key(it);
    qsort(keys, k, sizeof *keys, compare);
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        cb_autojson json_t *key = k ? json_string(keys[i]) : json_integer((json_int_t)i);
        r = turn(t, c, key, k ? json_object_get(c->v, keys[i]) : json_array_get(c->v, i), stop, err);
    }
    return r;
}

static int body(struct template *t, bool on, struct control *c, enum stop *stop, struct cb_error *err)
{
    size_t n = t->n_vars;
    bool taken = on && template_is_true(c->v);
    if (c->kind == 'r' && taken && !json_is_array(c->v) && !json_is_object(c->v))
        return cb_error_set(err, CB_EUSAGE, "range goes through lists and maps, and that is neither");
    c->start = t->p + (t->trim ? strspn(t->p, " \t\n") : 0);
    if (taken && c->kind == 'r')
        return turns(t, c, stop, err);
    if (taken)
        return turn(t, c, NULL, c->v, stop, err);
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->n_names; i++)
        r = template_declare(t, c->names[i], NULL, err);
    if (r == 0)
        r = block(t, false, stop, err);
    template_forget(t, n);
    return r;
}

static int control(struct template *t, bool on, char kind, struct cb_error *err);

static int otherwise(struct template *t, bool on, struct cb_error *err)
{
    enum stop stop = STOP_TEXT;
    template_skip_blanks(t);
    size_t n = template_name_length(t->p);
    if (n == 2 && !strncmp(t->p, "if", n)) {
        t->p += n;
        return control(t, on, 'i', err); /* whose end is ours, too */
    }
    int r = close_action(t, err);
    if (r == 0)
        r = block(t, on, &stop, err);
    return r < 0 || stop == STOP_END ? r : cb_error_set(err, CB_EUSAGE, "{{else}} has no {{end}}");
}

/* t->p is behind the word. */
static int control(struct template *t, bool on, char kind, struct cb_error *err)
{
    CB_CLEANUP(control_done) struct control c = { .kind = kind };
    enum stop stop = STOP_TEXT;
    const char *begin = t->begin;
    if (t->depth == TEMPLATE_DEPTH)
        return cb_error_set(err, CB_EUSAGE, "more than %d parts in one another", TEMPLATE_DEPTH);
    t->depth++;
    template_skip_blanks(t);
    c.n_names = read_names(t, c.names);
    int r = c.n_names == 2 && kind != 'r' ? template_not_ours(t->begin, 20, err) : template_pipeline(t, on, &c.v, err);
    if (r == 0)
        r = close_action(t, err);
    if (r == 0)
        r = body(t, on, &c, &stop, err);
    if (r == 0 && stop == STOP_ELSE)
        r = otherwise(t, on && !c.done, err);
    else if (r == 0 && stop == STOP_TEXT) {
        t->begin = begin;
        r = cb_error_set(err, CB_EUSAGE, "it has no {{end}}");
    }
    t->depth--;
    return r;
}

static int comment(struct template *t, struct cb_error *err)
{
    const char *end = strstr(t->p, "*/");
    if (!end)
        return cb_error_set(err, CB_EUSAGE, "a comment has no end");
    t->p = end + 2;
    return close_action(t, err);
}

static int print_or_declare(struct template *t, bool on, struct cb_error *err)
{
    char *names[2] = { NULL };
    json_t *v = NULL;
    size_t n = read_names(t, names);
    int r = n == 2 ? template_not_ours(t->begin, 20, err) : template_pipeline(t, on, &v, err);
    if (r == 0)
        r = close_action(t, err);
    if (r == 0 && n)
        r = template_declare(t, names[0], v, err);
    else if (r == 0 && on)
        template_print_value(t->out, v);
    json_decref(v);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    return r;
}

/* t->p is behind "{{". */
static int action(struct template *t, bool on, enum stop *stop, struct cb_error *err)
{
    static const char *const words[] = { "if", "with", "range" };
    template_skip_blanks(t);
    size_t n = template_name_length(t->p);
    if (cb_starts_with(t->p, "/*"))
        return comment(t, err);
    if (n == 3 && !strncmp(t->p, "end", n)) {
        *stop = STOP_END;
        t->p += n;
        return close_action(t, err);
    }
    if (n == 4 && !strncmp(t->p, "else", n)) {
        *stop = STOP_ELSE;
        t->p += n;
        return 0;
    }
    for (size_t i = 0; i < CB_COUNTOF(words); i++)
        if (n == strlen(words[i]) && !strncmp(t->p, words[i], n)) {
            t->p += n;
            return control(t, on, words[i][0], err);
        }
    return print_or_declare(t, on, err);
}

/* Up to the next action, which takes the blanks before it away where it begins with "- ". */
static void copy_text(struct template *t, bool on)
{
    size_t from = t->out->len;
    if (t->trim)
        t->p += strspn(t->p, " \t\n");
    t->trim = false;
    for (; *t->p && !cb_starts_with(t->p, "{{"); t->p++) {
        bool escape = *t->p == '\\' && (t->p[1] == 'n' || t->p[1] == 't');
        if (on)
            cb_strbuf_addch(t->out, !escape ? *t->p : t->p[1] == 'n' ? '\n' : '\t');
        t->p += escape;
    }
    t->end = !*t->p;
    if (t->end)
        return;
    t->begin = t->p;
    t->p += 2;
    if (*t->p != '-' || !isspace((unsigned char)t->p[1]))
        return;
    t->p++;
    while (t->out->len > from && isspace((unsigned char)t->out->buf[t->out->len - 1]))
        cb_strbuf_setlen(t->out, t->out->len - 1);
}

static int block(struct template *t, bool on, enum stop *stop, struct cb_error *err)
{
    int r = 0;
    *stop = STOP_TEXT;
    for (copy_text(t, on); r == 0 && !t->end && *stop == STOP_TEXT;) {
        if (++t->steps > MAX_STEPS)
            return cb_error_set(err, CB_EUSAGE, "it takes more than %d steps", MAX_STEPS);
        r = action(t, on, stop, err);
        if (r == 0 && *stop == STOP_TEXT)
            copy_text(t, on);
    }
    return r;
}

static int print(struct cb_strbuf *out, const char *format, const struct template_scope *s, struct cb_error *err)
{
    struct template t = { .scope = s, .p = format, .begin = format, .out = out, .dot = s->root };
    enum stop stop = STOP_TEXT;
    int r = block(&t, true, &stop, err);
    if (r == 0 && stop != STOP_TEXT)
        r = cb_error_set(err, CB_EUSAGE, "there is nothing that it ends");
    if (r < 0)
        cb_error_wrap(err, "--format, at \"%.20s\"", t.begin);
    template_forget(&t, 0);
    return r;
}

int cb_template_print(struct cb_strbuf *out, const char *format, const json_t *root, struct cb_error *err)
{
    return print(out, format, &(struct template_scope){ .root = root }, err);
}

int cb_template_print_with(struct cb_strbuf *out, const char *format, const json_t *root, const json_t *more,
                           struct cb_error *err)
{
    return print(out, format, &(struct template_scope){ .root = root, .more = more }, err);
}

int cb_template_print_go(struct cb_strbuf *out, const char *format, const json_t *root, struct cb_error *err)
{
    return print(out, format, &(struct template_scope){ .root = root, .go = true }, err);
}

void cb_template_show(const struct cb_strbuf *text)
{
    struct cb_strbuf safe cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool people = isatty(STDOUT_FILENO);
    if (people)
        cb_strbuf_add_sanitized(&safe, text->buf, text->len, true);
    const struct cb_strbuf *shown = people ? &safe : text;
    fwrite(shown->buf, 1, shown->len, stdout);
    putchar('\n');
}
