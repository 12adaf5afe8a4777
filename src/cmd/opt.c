/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/opt.h"

#include <stdio.h>

#include "cmd/opt_foreign.h"
#include "dockerfile/dockerfile.h"
#include "util/alloc.h"
#include "util/strbuf.h"

/* An option, and where its table's offsets count from. */
struct found {
    const struct cb_opt *o;
    size_t offset;
};

/* The i-th table: the verb's own, then those of its groups. False past the last. */
static bool table_at(const struct cb_opt_parse *p, size_t i, struct found *out)
{
    *out = (struct found){ p->table, 0 };
    if (i == 0)
        return true;
    for (size_t k = 0; k < i; k++)
        if (!p->groups || !p->groups[k].heading)
            return false;
    *out = (struct found){ p->groups[i - 1].table, p->groups[i - 1].offset };
    return true;
}

static bool is_called(const struct cb_opt *o, const char *name, size_t n)
{
    return strlen(o->name) == n && !strncmp(o->name, name, n);
}

/* By name or, where that is NULL, by letter; o NULL: there is none. */
static struct found find(const struct cb_opt_parse *p, const char *name, size_t n, char letter)
{
    struct found t;
    for (size_t i = 0; table_at(p, i, &t); i++)
        for (; t.o->name; t.o++)
            if (name ? is_called(t.o, name, n) : t.o->letter && t.o->letter == letter)
                return t;
    return (struct found){ 0 };
}

const struct cb_opt *cb_opt_find(const struct cb_opt *table, const struct cb_opt_group *groups, const char *name,
                                 size_t n)
{
    return find(&(struct cb_opt_parse){ .table = table, .groups = groups }, name, n, 0).o;
}

const struct cb_opt *cb_opt_find_letter(const struct cb_opt *table, const struct cb_opt_group *groups, char letter)
{
    return find(&(struct cb_opt_parse){ .table = table, .groups = groups }, NULL, 0, letter).o;
}

static int unknown(const struct cb_opt_parse *p, const char *word, size_t n, struct cb_error *err)
{
    cb_autofree char *name = cb_strndup(word, n);
    cb_autofree const char **names = NULL;
    size_t k = 0, cap = 0;
    struct found t;
    const char *hint = p->verb ? cb_foreign_option(p->verb, word, n, 0) : NULL;
    if (hint)
        return cb_error_set(err, CB_EUSAGE, "--%s is not supported: %s", name, hint);
    for (size_t i = 0; table_at(p, i, &t); i++)
        for (; t.o->name; t.o++) {
            CB_GROW(names, k + 1, cap);
            if (t.o->help)
                names[k++] = t.o->name;
        }
    CB_GROW(names, k + 1, cap);
    names[k] = NULL;
    const char *meant = cb_df_suggest(name, names);
    if (meant)
        return cb_error_set(err, CB_EUSAGE, "unknown option --%s (did you mean --%s?)", name, meant);
    return cb_error_set(err, CB_EUSAGE, "unknown option --%s", name);
}

static int unknown_letter(const struct cb_opt_parse *p, char letter, struct cb_error *err)
{
    const char *hint = p->verb ? cb_foreign_option(p->verb, NULL, 0, letter) : NULL;
    if (hint)
        return cb_error_set(err, CB_EUSAGE, "-%c is not supported: %s", letter, hint);
    return cb_error_set(err, CB_EUSAGE, "unknown option -%c", letter);
}

static int parse_bool(const struct cb_opt *o, const char *v, bool *out, struct cb_error *err)
{
    if (!v || !strcmp(v, "true") || !strcmp(v, "1")) {
        *out = true;
        return 0;
    }
    if (!strcmp(v, "false") || !strcmp(v, "0")) {
        *out = false;
        return 0;
    }
    return cb_error_set(err, CB_EUSAGE, "--%s=%s: write true or false", o->name, v);
}

static int note(const struct cb_opt *o, struct cb_strvec *to, const char *v, struct cb_error *err)
{
    bool on = true;
    int r = o->arg ? 0 : parse_bool(o, v, &on, err);
    if (r == 0 && on)
        cb_strvec_pushf(to, "%s%s%s", o->name, o->arg ? "=" : "", o->arg ? v : "");
    return r;
}

static int set(const struct found *f, void *dest, const char *v, struct cb_error *err)
{
    const struct cb_opt *o = f->o;
    char *at = (char *)dest + f->offset + o->offset;
    bool b = false;
    int r;
    switch (o->kind) {
    case CB_OPT_FLAG:
        return parse_bool(o, v, (bool *)(void *)at, err);
    case CB_OPT_TRISTATE:
        r = parse_bool(o, v, &b, err);
        *(int *)(void *)at = b;
        return r;
    case CB_OPT_LIST:
        cb_strvec_push((struct cb_strvec *)(void *)at, v);
        return 0;
    case CB_OPT_STRING:
    case CB_OPT_MAYBE:
        *(const char **)(void *)at = v ? v : "";
        return 0;
    case CB_OPT_NOTED:
        return note(o, (struct cb_strvec *)(void *)at, v, err);
    }
    return cb_error_set(err, CB_EINTERNAL, "an option of no kind");
}

bool cb_opt_needs_value(const struct cb_opt *o)
{
    return o->kind == CB_OPT_STRING || o->kind == CB_OPT_LIST || (o->kind == CB_OPT_NOTED && o->arg);
}

/* The value of an option that had none attached: the next word, where one is needed or wanted. */
static int value_of(struct cb_opt_parse *p, const struct cb_opt *o, int *i, const char **v, struct cb_error *err)
{
    const char *next = *i + 1 < p->argc ? p->argv[*i + 1] : NULL;
    if (cb_opt_needs_value(o) && !next)
        return cb_error_set(err, CB_EUSAGE, "--%s needs a value: --%s %s", o->name, o->name, o->arg);
    if (cb_opt_needs_value(o) || (next && o->takes && o->takes(next, p->takes_arg))) {
        *v = next;
        (*i)++;
    }
    return 0;
}

static int parse_long(struct cb_opt_parse *p, int *i, struct cb_error *err)
{
    const char *word = p->argv[*i] + 2, *eq = strchr(word, '=');
    size_t n = eq ? (size_t)(eq - word) : strlen(word);
    struct found f = find(p, word, n, 0);
    const struct cb_opt *o = f.o;
    const char *v = eq ? eq + 1 : NULL;
    if (!strcmp(word, "help")) {
        p->help = true;
        return 0;
    }
    if (!o && n == 4 && !strncmp(word, "help", n))
        return cb_error_set(err, CB_EUSAGE, "--help takes no value");
    if (!o)
        return unknown(p, word, n, err);
    int r = v ? 0 : value_of(p, o, i, &v, err);
    return r < 0 ? r : set(&f, p->dest, v, err);
}

static int parse_short(struct cb_opt_parse *p, int *i, struct cb_error *err)
{
    for (const char *c = p->argv[*i] + 1; *c; c++) {
        struct found f = find(p, NULL, 0, *c);
        const struct cb_opt *o = f.o;
        const char *v = NULL;
        if (!o && *c == 'h') {
            p->help = true;
            return 0;
        }
        if (!o)
            return unknown_letter(p, *c, err);
        if (c[1] == '=')
            return set(&f, p->dest, c + 2, err);
        if (cb_opt_needs_value(o) && c[1])
            return set(&f, p->dest, c + 1, err);
        int r = value_of(p, o, i, &v, err);
        if (r == 0)
            r = set(&f, p->dest, v, err);
        if (r < 0 || v)
            return r;
    }
    return 0;
}

int cb_opt_parse(struct cb_opt_parse *p, struct cb_error *err)
{
    bool only_operands = false;
    for (int i = 0; i < p->argc; i++) {
        const char *word = p->argv[i];
        int r = 0;
        if (only_operands || word[0] != '-' || !word[1])
            cb_strvec_push(p->operands, word);
        else if (!strcmp(word, "--"))
            only_operands = true;
        else
            r = word[1] == '-' ? parse_long(p, &i, err) : parse_short(p, &i, err);
        if (r < 0)
            return r;
        only_operands = only_operands || (p->stop_at_operand && p->operands->n > 0);
    }
    return 0;
}

#define LEFT_COLUMNS 28

/* Of characters, which are not all one byte. */
static size_t columns(const char *s)
{
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void print_table(const struct cb_opt *t)
{
    for (; t->name; t++) {
        struct cb_strbuf left cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (!t->help)
            continue;
        if (t->letter)
            cb_strbuf_addf(&left, "-%c, ", t->letter);
        else
            cb_strbuf_adds(&left, "    ");
        cb_strbuf_addf(&left, "--%s", t->name);
        if (t->kind == CB_OPT_MAYBE)
            cb_strbuf_addf(&left, "[=%s]", t->arg);
        else if (cb_opt_needs_value(t))
            cb_strbuf_addf(&left, " %s", t->arg);
        size_t used = columns(left.buf);
        if (used > LEFT_COLUMNS)
            printf("  %s\n  %*s  %s\n", left.buf, LEFT_COLUMNS, "", t->help);
        else
            printf("  %s%*s  %s\n", left.buf, (int)(LEFT_COLUMNS - used), "", t->help);
    }
}

static bool has_shown(const struct cb_opt *t)
{
    while (t->name && !t->help)
        t++;
    return t->name != NULL;
}

void cb_opt_print(const struct cb_opt *t, const struct cb_opt_group *groups)
{
    print_table(t);
    for (; groups && groups->heading; groups++)
        if (has_shown(groups->table)) {
            printf("\n%s:\n", groups->heading);
            print_table(groups->table);
        }
}
