/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/complete.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cmd/cmd.h"
#include "util/alloc.h"
#include "util/strbuf.h"

#define MORE "…"

/* A verb's words, looked through from the first to the one to complete. */
struct line {
    const struct cb_verb *verb;
    int argc;
    char **argv;                  /* behind the verb */
    const struct cb_opt *waiting; /* the last word is its value */
    const char *root;             /* of --root */
    size_t operands;              /* before the last word */
    bool only_operands;           /* the last word is no option, whatever it begins with */
};

void completion_done(struct completion *c)
{
    free(c->prefix);
    cb_strvec_done(&c->answer);
    *c = (struct completion){ 0 };
}

void complete_add(struct completion *c, const char *prefix, const char *text, const char *help)
{
    struct cb_strbuf whole cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&whole, "%s%s", prefix, text);
    if (!cb_starts_with(whole.buf, c->word))
        return;
    cb_strbuf_addf(&whole, "\t%s", help ? help : "");
    if (!cb_strvec_has(&c->answer, whole.buf))
        cb_strvec_push(&c->answer, whole.buf);
}

void complete_paths(struct completion *c, enum complete_kind kind, const char *prefix)
{
    free(c->prefix);
    c->prefix = cb_strdup(prefix);
    c->kind = kind;
}

/* ---- verbs ---- */

/* What docker calls our verbs is told to who begins so: an empty word lists our own. */
static void add_spellings(struct completion *c)
{
    const struct cb_verb *v;
    const char *noun, *word;
    for (size_t i = 0; cb_verbs[i]; i++)
        if (cb_verbs[i]->alias)
            complete_add(c, "", cb_verbs[i]->alias, cb_verbs[i]->summary);
    for (size_t i = 0; (v = cb_verb_spelling(i, &noun, &word)); i++)
        complete_add(c, "", noun, word ? "as docker spells it" : v->summary);
}

static void add_verbs(struct completion *c)
{
    for (size_t i = 0; cb_verbs[i]; i++)
        complete_add(c, "", cb_verbs[i]->name, cb_verbs[i]->summary);
}

static void add_first(struct completion *c)
{
    if (*c->word == '-') {
        complete_add(c, "", "--help", "list the verbs");
        complete_add(c, "", "--version", "print the version");
        return;
    }
    add_verbs(c);
    complete_add(c, "", "help", "list the verbs, or the options of one");
    if (*c->word)
        add_spellings(c);
}

static void add_second(struct completion *c, const char *first)
{
    const struct cb_verb *v;
    const char *noun, *word;
    for (size_t i = 0; (v = cb_verb_spelling(i, &noun, &word)); i++)
        if (word && !strcmp(noun, first))
            complete_add(c, "", word, v->summary);
}

static void add_subs(struct completion *c, const struct cb_verb *v)
{
    for (const struct cb_verb *const *s = v->subs; *s; s++)
        complete_add(c, "", (*s)->name + strlen(v->name) + 1, (*s)->summary);
}

/* ---- options ---- */

static void add_table(struct completion *c, const struct cb_opt *t)
{
    for (; t->name; t++) {
        const char letter[2] = { t->letter };
        if (t->help)
            complete_add(c, "--", t->name, t->help);
        /* Short ones only get their blank: listed among the others they would keep "-" from becoming "--". */
        if (t->letter && c->word[1] == t->letter)
            complete_add(c, "-", letter, t->help);
    }
}

static void add_options(struct completion *c, const struct cb_verb *v)
{
    const char *eq = strchr(c->word, '=');
    if (eq && cb_starts_with(c->word, "--")) {
        const char *name = c->word + 2;
        const struct cb_opt *o = cb_opt_find(v->options, v->groups, name, (size_t)(eq - name));
        cb_autofree char *prefix = cb_strndup(c->word, (size_t)(eq + 1 - c->word));
        if (o)
            complete_value(c, o, prefix);
        return;
    }
    add_table(c, v->options);
    for (const struct cb_opt_group *g = v->groups; g && g->heading; g++)
        add_table(c, g->table);
    complete_add(c, "", "--help", "list the options");
}

/* The option at the end of word (a long one, or the last of several letters) that wants the next word, or NULL. */
static const struct cb_opt *wants_next(const struct line *l, const char *word)
{
    const struct cb_verb *v = l->verb;
    if (word[1] == '-') {
        const struct cb_opt *o = cb_opt_find(v->options, v->groups, word + 2, strlen(word + 2));
        return o && cb_opt_needs_value(o) ? o : NULL;
    }
    for (const char *p = word + 1; *p; p++) {
        const struct cb_opt *o = cb_opt_find_letter(v->options, v->groups, *p);
        if (!o || cb_opt_needs_value(o))
            return o && !p[1] ? o : NULL;
    }
    return NULL;
}

/* `--push NAME`: the next word may be its value. Then it is not taken for an operand. */
static bool may_take_next(const struct line *l, const char *word)
{
    const struct cb_opt *o =
        cb_starts_with(word, "--") ? cb_opt_find(l->verb->options, l->verb->groups, word + 2, strlen(word + 2)) : NULL;
    return o && o->takes;
}

static void look_through(struct line *l)
{
    bool stops = strstr(l->verb->operands, "COMMAND"); /* what follows an image is not ours */
    for (int i = 0; i < l->argc - 1; i++) {
        const char *word = l->argv[i], *next = l->argv[i + 1];
        if (l->only_operands || word[0] != '-' || !word[1]) {
            l->operands++;
        } else if (!strcmp(word, "--")) {
            l->only_operands = true;
        } else if (cb_starts_with(word, "--root=")) {
            l->root = word + strlen("--root=");
        } else if ((l->waiting = wants_next(l, word)) || may_take_next(l, word)) {
            if (i + 2 == l->argc)
                return;
            if (l->waiting && !strcmp(l->waiting->name, "root"))
                l->root = next;
            i += l->waiting || *next != '-';
            l->waiting = NULL;
        }
        l->only_operands = l->only_operands || (stops && l->operands > 0);
    }
}

/* ---- operands ---- */

/* The n-th word of a usage line without its brackets: "IMAGE" of "[OPTIONS] [IMAGE…]". The last may repeat. */
static bool operand_at(const char *usage, size_t n, struct cb_strbuf *out)
{
    bool repeats = false;
    for (const char *p = usage; *p;) {
        size_t len = strcspn(p, " ");
        if (strncmp(p, "[OPTIONS]", len)) {
            cb_strbuf_reset(out);
            cb_strbuf_add(out, p + (*p == '['), len - (*p == '['));
            char *more = strstr(out->buf, MORE), *end = strrchr(out->buf, ']');
            repeats = more != NULL;
            if (more)
                *more = '\0';
            if (end && *p == '[')
                *end = '\0';
            if (n-- == 0)
                return true;
        }
        p += len + strspn(p + len, " ");
    }
    return repeats;
}

static void add_names(struct completion *c, const struct line *l)
{
    if (!l->verb->registry_names)
        complete_images(c, l->root, "");
    else if (cb_starts_with(c->word, "store:"))
        complete_images(c, l->root, "store:");
    else
        complete_add(c, "", "store:", "an image of the store");
    if (c->answer.n == 1 && cb_starts_with(c->answer.v[0], "store:\t"))
        c->kind = COMPLETE_OPEN;
}

/* One of what an operand may be: "IMAGE", or a word to be written as it is. */
static void add_operand(struct completion *c, const struct line *l, const char *what)
{
    static const struct { const char *what; enum complete_kind kind; } paths[] = {
        { "CONTEXT", COMPLETE_DIRS }, { "DIR", COMPLETE_DIRS },          { "FILE", COMPLETE_FILES },
        { "RECEIPT", COMPLETE_FILES }, { "FILE[:TYPE]", COMPLETE_FILES }, { "LAYER", COMPLETE_FILES },
    };
    for (size_t i = 0; i < CB_COUNTOF(paths); i++)
        if (!strcmp(what, paths[i].what))
            complete_paths(c, paths[i].kind, "");
    if (islower((unsigned char)*what) && !strchr(what, ':'))
        complete_add(c, "", what, NULL);
    else if (cb_starts_with(what, "IMAGE") || !strcmp(what, "NAME[:TAG]") || !strcmp(what, "DESTINATION"))
        add_names(c, l);
    else if (!strcmp(what, "SRC") || !strcmp(what, "DST"))
        complete_place(c, l->root);
}

static void add_operands(struct completion *c, const struct line *l)
{
    struct cb_strbuf what cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!operand_at(l->verb->operands, l->operands, &what))
        return;
    for (char *p = what.buf, *next; p; p = next) {
        next = strchr(p, '|');
        if (next)
            *next++ = '\0';
        add_operand(c, l, p);
    }
}

static void complete_verb(struct completion *c, const struct cb_verb *v, int argc, char **argv)
{
    struct line l = { .verb = v, .argc = argc, .argv = argv };
    if (v->subs && argc == 1 && *c->word != '-') {
        add_subs(c, v);
        return;
    }
    if (v->subs) {
        /* As cb_verb_run_sub has it: options alone are for the first of them. */
        const struct cb_verb *sub = argc > 1 ? cb_verb_find_sub(v, argv[0]) : NULL;
        l = sub ? (struct line){ .verb = sub, .argc = argc - 1, .argv = argv + 1 } : l;
        l.verb = sub ? sub : *v->subs;
    }
    look_through(&l);
    if (l.waiting)
        complete_value(c, l.waiting, "");
    else if (!l.only_operands && *c->word == '-')
        add_options(c, l.verb);
    else if (!strstr(l.verb->operands, "COMMAND") || l.operands == 0)
        add_operands(c, &l);
}

void complete_line(struct completion *c, int argc, char **argv)
{
    *c = (struct completion){ .word = argc > 0 ? argv[argc - 1] : "" };
    if (argc < 2) {
        add_first(c);
        return;
    }
    int used = 0;
    const struct cb_verb *v = cb_verb_spelled(argc - 1, argv, &used);
    if (v)
        complete_verb(c, v, argc - used, argv + used);
    else if (argc == 2 && !strcmp(argv[0], "help"))
        add_verbs(c);
    else if (argc == 2)
        add_second(c, argv[0]);
}

void complete_print(int argc, char **argv)
{
    static const char *const kinds[] = { [COMPLETE_WORDS] = "words", [COMPLETE_OPEN] = "open",
                                         [COMPLETE_FILES] = "files", [COMPLETE_DIRS] = "dirs" };
    struct completion c;
    complete_line(&c, argc, argv);
    printf("%s %s\n", kinds[c.kind], c.prefix ? c.prefix : "");
    for (size_t i = 0; i < c.answer.n; i++)
        printf("%s\n", c.answer.v[i]);
    completion_done(&c);
}
