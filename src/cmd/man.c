/* SPDX-License-Identifier: Apache-2.0 */
/* A page of the manual for each verb, of the same tables as --help: man(7). */
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "util/alloc.h"

/* Text on a line of its own: what roff would take for a command, an escape or a hyphen stands as it is. */
static void put(const char *text)
{
    if (*text == '.' || *text == '\'')
        fputs("\\&", stdout);
    for (; *text; text++)
        if (*text == '\\')
            fputs("\\e", stdout);
        else if (*text == '-')
            fputs("\\-", stdout);
        else
            printf(strchr("|]", *text) ? "%c\\:" : "%c", *text); /* long ones may be broken there */
}

static void put_bold(const char *before, const char *text)
{
    fputs("\\fB", stdout);
    put(before);
    put(text);
    fputs("\\fR", stdout);
}

static void put_option(const struct cb_opt *o)
{
    const char letter[2] = { o->letter };
    printf(".TP\n");
    if (o->letter) {
        put_bold("-", letter);
        printf(", ");
    }
    put_bold("--", o->name);
    if (o->kind == CB_OPT_MAYBE || cb_opt_needs_value(o)) {
        printf("%s\\fI", o->kind == CB_OPT_MAYBE ? "[=" : " ");
        put(o->arg);
        printf("\\fR%s", o->kind == CB_OPT_MAYBE ? "]" : "");
    }
    printf("\n");
    put(o->help);
    printf("\n");
}

static void put_table(const char *macro, const char *heading, const struct cb_opt *t)
{
    bool any = false;
    for (; t->name; t++) {
        if (!t->help)
            continue;
        if (!any)
            printf("%s %s\n", macro, heading);
        any = true;
        put_option(t);
    }
}

/* Paragraphs; lines that begin with a blank stay lines. */
static void put_details(const char *text)
{
    bool as_is = false;
    while (text && *text) {
        size_t n = strcspn(text, "\n");
        cb_autofree char *line = cb_strndup(text, n);
        if (n && as_is != (*line == ' ')) {
            as_is = !as_is;
            printf(as_is ? ".nf\n" : ".fi\n");
        }
        if (n)
            put(line);
        printf(n ? "\n" : ".PP\n");
        text += n + (text[n] == '\n');
    }
    if (as_is)
        printf(".fi\n");
}

static void put_synopsis(const struct cb_verb *v)
{
    put_bold(v == &cb_verb_executor ? "" : "cbpush ", v->name);
    printf(" ");
    put(v->operands);
    printf("\n");
}

static void put_sub(const struct cb_verb *v)
{
    printf(".SH ");
    put(v->name);
    printf("\n");
    put_synopsis(v);
    printf(".PP\n");
    put(v->summary);
    printf("\n.PP\n");
    put_details(v->details);
    put_table(".SS", "options", v->options);
}

static void put_page(const struct cb_verb *v)
{
    printf(".TH cbpush\\-%s 1 \"\" \"cbpush %s\"\n.ad l\n.nh\n.SH NAME\ncbpush\\-%s \\- ", v->name, PACKAGE_VERSION,
           v->name);
    put(v->summary);
    printf("\n.SH SYNOPSIS\n");
    put_synopsis(v);
    if (v->alias) {
        printf(".PP\nAlso spelled: ");
        put_bold("cbpush ", v->alias);
        printf("\n");
    }
    if (v->details)
        printf(".SH DESCRIPTION\n");
    put_details(v->details);
    for (const struct cb_verb *const *s = v->subs; s && *s; s++)
        put_sub(*s);
    if (!v->subs)
        put_table(".SH", "OPTIONS", v->options);
    for (const struct cb_opt_group *g = v->groups; g && g->heading; g++)
        put_table(".SS", g->heading, g->table);
    printf(".SH EXIT STATUS\nSee \\fBcbpush\\fR(1), which also tells what the verbs have in common.\n"
           ".SH SEE ALSO\n\\fBcbpush\\fR(1)\n");
}

int cb_man(const char *verb, struct cb_error *err)
{
    const struct cb_verb *v = verb ? cb_verb_find(verb) : NULL;
    if (verb && !strcmp(verb, cb_verb_executor.name))
        v = &cb_verb_executor;
    if (verb && !v)
        return cb_error_set(err, CB_EUSAGE, "there is no verb \"%s\"", verb);
    if (v)
        put_page(v);
    for (size_t i = 0; !verb && cb_verbs[i]; i++)
        printf("%s\n", cb_verbs[i]->name);
    if (!verb)
        printf("%s\n", cb_verb_executor.name);
    return 0;
}
