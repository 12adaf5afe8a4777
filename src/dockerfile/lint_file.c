/* SPDX-License-Identifier: Apache-2.0 */
/* Rules that look at lines and names, whatever a stage is built from. */
#include "dockerfile/lint_private.h"

#include <ctype.h>

#include "util/hashmap.h"

enum casing { MIXED, LOWER, UPPER };

static enum casing casing_of(struct cb_slice s)
{
    bool lower = false, upper = false;
    for (size_t i = 0; i < s.len; i++) {
        lower |= islower((unsigned char)s.ptr[i]) != 0;
        upper |= isupper((unsigned char)s.ptr[i]) != 0;
    }
    return lower && upper ? MIXED : upper ? UPPER : LOWER;
}

static void each(struct cb_df_lint *l, void (*fn)(struct cb_df_lint *l, const struct cb_df_instruction *i, void *arg),
                 void *arg)
{
    for (size_t s = 0; s < l->d->n_stages; s++) {
        fn(l, &l->d->stages[s].from, arg);
        for (size_t k = 0; k < l->d->stages[s].n; k++)
            fn(l, &l->d->stages[s].instructions[k], arg);
    }
}

/* ---- casing ---- */

struct casings {
    size_t count[3];
    enum casing major;
};

static void count_casing(struct cb_df_lint *l CB_UNUSED, const struct cb_df_instruction *i, void *arg)
{
    ((struct casings *)arg)->count[casing_of(cb_df_lint_keyword(i))]++;
}

static void warn_casing(struct cb_df_lint *l, const struct cb_df_instruction *i, void *arg)
{
    struct casings *c = arg;
    struct cb_slice word = cb_df_lint_keyword(i);
    if (casing_of(word) != c->major)
        cb_df_lint_warn(l, CB_DF_LINT_AT(i), CB_DF_CONSISTENT_INSTRUCTION_CASING,
                        "Command '%.*s' should match the case of the command majority (%s)", (int)word.len, word.ptr,
                        c->major == LOWER ? "lowercase" : "uppercase");
}

static void lint_casing(struct cb_df_lint *l)
{
    struct casings c = { { 0 }, UPPER };
    each(l, count_casing, &c);
    c.major = c.count[LOWER] > c.count[UPPER] ? LOWER : UPPER;
    each(l, warn_casing, &c);
}

/* ---- stage names ---- */

static void lint_as(struct cb_df_lint *l, const struct cb_df_instruction *from)
{
    const char *as = from->words.v[1], *name = from->words.v[2];
    struct cb_slice word = cb_df_lint_keyword(from);
    enum casing key = casing_of(word);
    if (strcmp(name, from->stage_name) != 0)
        cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_STAGE_NAME_CASING, "Stage name '%s' should be lowercase", name);
    if (key != MIXED && casing_of(CB_SLICE(as)) != key)
        cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_FROM_AS_CASING, "'%s' and '%.*s' keywords' casing do not match",
                        as, (int)word.len, word.ptr);
}

static void lint_name(struct cb_df_lint *l, const struct cb_df_instruction *from, struct cb_hashmap *seen)
{
    const char *name = from->stage_name;
    if (strcmp(name, "scratch") == 0 || strcmp(name, "context") == 0)
        cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_RESERVED_STAGE_NAME,
                        "Stage name should not use the same name as reserved stage \"%s\"", name);
    if (cb_hashmap_put(seen, name, (void *)from))
        cb_df_lint_warn(l, CB_DF_LINT_AT(from), CB_DF_DUPLICATE_STAGE_NAME,
                        "Duplicate stage name \"%s\", stage names should be unique", name);
}

static void lint_names(struct cb_df_lint *l)
{
    CB_AUTO(cb_hashmap_free) struct cb_hashmap *seen = cb_hashmap_new();
    for (size_t k = 0; k < l->d->n_stages; k++)
        if (l->d->stages[k].from.stage_name)
            lint_name(l, &l->d->stages[k].from, seen);
}

/* ---- comments that describe ---- */

const char *cb_df_description(const struct cb_df_instruction *i, const char *name)
{
    size_t n = strlen(name);
    for (size_t k = 0; n > 0 && k < i->comments.n; k++)
        if (strncmp(i->comments.v[k], name, n) == 0 && i->comments.v[k][n] == ' ')
            return i->comments.v[k] + n + 1;
    return NULL;
}

static bool is_first_word(const char *name, const char *text)
{
    size_t n = strcspn(text, " ");
    return strlen(name) == n && strncmp(name, text, n) == 0;
}

/* Only the comment straight above counts here. */
static void lint_description(struct cb_df_lint *l, const struct cb_df_instruction *i)
{
    const char *example = i->kind == CB_DF_FROM ? i->stage_name : i->n_pairs == 1 ? i->pairs[0].key : "<arg_key>";
    if (i->comments.n == 0 || !example)
        return;
    const char *text = i->comments.v[i->comments.n - 1];
    bool named = i->kind == CB_DF_FROM && is_first_word(i->stage_name, text);
    for (size_t k = 0; i->kind == CB_DF_ARG && k < i->n_pairs; k++)
        named |= is_first_word(i->pairs[k].key, text);
    if (!named)
        cb_df_lint_warn(l, CB_DF_LINT_AT(i), CB_DF_INVALID_DEFINITION_DESCRIPTION,
                        "Comment for %s should follow the format: `# %s <description>`", cb_df_kind_name(i->kind),
                        example);
}

/* ---- one instruction ---- */

static void lint_one(struct cb_df_lint *l, const struct cb_df_instruction *i, void *arg CB_UNUSED)
{
    if (i->kind == CB_DF_FROM && i->stage_name)
        lint_as(l, i);
    if (i->kind == CB_DF_MAINTAINER)
        cb_df_lint_warn(l, CB_DF_LINT_AT(i), CB_DF_MAINTAINER_DEPRECATED,
                        "Maintainer instruction is deprecated in favor of using label");
    if (i->kind == CB_DF_FROM || i->kind == CB_DF_ARG)
        lint_description(l, i);
}

static void lint_continuation(struct cb_df_lint *l, const struct cb_df_instruction *i, void *arg CB_UNUSED)
{
    struct cb_df_lint_at at = { i, { i->empty_inside, i->empty_inside } };
    if (i->empty_inside)
        cb_df_lint_warn(l, at, CB_DF_NO_EMPTY_CONTINUATION, "Empty continuation line");
}

void cb_df_lint_file(struct cb_df_lint *l)
{
    for (size_t k = 0; k < l->d->n_global_args; k++) {
        lint_continuation(l, &l->d->global_args[k], NULL);
        lint_one(l, &l->d->global_args[k], NULL);
    }
    each(l, lint_continuation, NULL);
    each(l, lint_one, NULL);
    lint_names(l);
    lint_casing(l);
}
