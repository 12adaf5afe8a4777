/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <ctype.h>
#include <strings.h>

#include "util/alloc.h"
#include "util/hashmap.h"

enum casing { MIXED, LOWER, UPPER };

static enum casing casing_of(const char *s, size_t n)
{
    bool lower = false, upper = false;
    for (size_t i = 0; i < n; i++) {
        lower |= islower((unsigned char)s[i]) != 0;
        upper |= isupper((unsigned char)s[i]) != 0;
    }
    return lower && upper ? MIXED : upper ? UPPER : LOWER;
}

static size_t keyword_len(const struct cb_df_instruction *i)
{
    return strlen(cb_df_kind_name(i->kind));
}

static enum casing keyword_casing(const struct cb_df_instruction *i)
{
    return casing_of(i->original, keyword_len(i));
}

static void each(const struct cb_dockerfile *d, void (*fn)(const struct cb_df_instruction *i, void *arg), void *arg)
{
    for (size_t s = 0; s < d->n_stages; s++) {
        fn(&d->stages[s].from, arg);
        for (size_t k = 0; k < d->stages[s].n; k++)
            fn(&d->stages[s].instructions[k], arg);
    }
}

struct casings {
    size_t count[3];
    enum casing major;
    struct cb_df_warnings *w;
};

static void count_casing(const struct cb_df_instruction *i, void *arg)
{
    ((struct casings *)arg)->count[keyword_casing(i)]++;
}

static void warn_casing(const struct cb_df_instruction *i, void *arg)
{
    struct casings *c = arg;
    if (keyword_casing(i) != c->major)
        cb_df_warn(c->w, i->span, "ConsistentInstructionCasing", "most instructions are in %s case: write %.*s so too",
                   c->major == LOWER ? "lower" : "upper", (int)keyword_len(i), i->original);
}

static void lint_casing(const struct cb_dockerfile *d, struct cb_df_warnings *w)
{
    struct casings c = { .w = w };
    each(d, count_casing, &c);
    c.major = c.count[LOWER] > c.count[UPPER] ? LOWER : UPPER;
    each(d, warn_casing, &c);
}

static void lint_stage_name(const struct cb_df_instruction *from, struct cb_hashmap *seen, struct cb_df_warnings *w)
{
    const char *as = from->words.v[1], *name = from->words.v[2];
    enum casing key = keyword_casing(from);
    if (key != MIXED && casing_of(as, strlen(as)) != key)
        cb_df_warn(w, from->span, "FromAsCasing", "%s and %.*s are not in the same case", as, (int)keyword_len(from),
                   from->original);
    if (strcmp(name, from->stage_name) != 0)
        cb_df_warn(w, from->span, "StageNameCasing", "stage name %s is to be written in lower case: %s", name,
                   from->stage_name);
    if (strcmp(from->stage_name, "scratch") == 0 || strcmp(from->stage_name, "context") == 0)
        cb_df_warn(w, from->span, "ReservedStageName", "stage name %s has a meaning of its own: choose another",
                   from->stage_name);
    if (cb_hashmap_put(seen, from->stage_name, (void *)from->stage_name))
        cb_df_warn(w, from->span, "DuplicateStageName", "stage name %s is taken by a stage above", from->stage_name);
}

static void lint_shell_form(const struct cb_df_stage *s, bool *custom_shell, struct cb_df_warnings *w)
{
    for (size_t k = 0; k < s->n; k++) {
        const struct cb_df_instruction *i = &s->instructions[k];
        *custom_shell |= i->kind == CB_DF_SHELL;
        if ((i->kind == CB_DF_CMD || i->kind == CB_DF_ENTRYPOINT) && !i->command.exec_form && !*custom_shell)
            cb_df_warn(w, i->span, "JSONArgsRecommended",
                       "write %s in JSON form: a shell in between does not pass signals on", cb_df_kind_name(i->kind));
    }
}

/* Whoever sets SHELL, in this stage or in one it is built on, wants that shell. */
static void lint_stages(const struct cb_dockerfile *d, struct cb_df_warnings *w)
{
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *names = cb_hashmap_new();
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *with_shell = cb_hashmap_new();
    for (size_t k = 0; k < d->n_stages; k++) {
        const struct cb_df_stage *s = &d->stages[k];
        bool custom_shell = cb_hashmap_get(with_shell, s->from.base) != NULL;
        if (s->from.stage_name)
            lint_stage_name(&s->from, names, w);
        lint_shell_form(s, &custom_shell, w);
        if (s->from.stage_name && custom_shell)
            (void)cb_hashmap_put(with_shell, s->from.stage_name, (void *)s);
        else if (s->from.stage_name)
            (void)cb_hashmap_remove(with_shell, s->from.stage_name);
    }
}

static int by_line(const void *a, const void *b)
{
    const struct cb_df_warning *x = a, *y = b;
    if (x->span.first != y->span.first)
        return x->span.first < y->span.first ? -1 : 1;
    int r = strcmp(x->rule, y->rule);
    return r != 0 ? r : strcmp(x->text, y->text);
}

void cb_df_lint_file(const struct cb_dockerfile *d, struct cb_df_warnings *w)
{
    lint_casing(d, w);
    lint_stages(d, w);
    if (w->n > 0)
        qsort(w->v, w->n, sizeof *w->v, by_line);
}
