/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs of two words. */
#include <stdio.h>

#include "cmd/cmd.h"
#include "dockerfile/dockerfile.h"
#include "util/alloc.h"

const struct cb_verb *cb_verb_find_sub(const struct cb_verb *self, const char *word)
{
    size_t prefix = strlen(self->name) + 1;
    for (const struct cb_verb *const *v = self->subs; *v; v++)
        if (!strcmp((*v)->name + prefix, word) || ((*v)->alias && !strcmp((*v)->alias + prefix, word)))
            return *v;
    return NULL;
}

static void print_subs(const struct cb_verb *self)
{
    printf("usage: cbpush %s %s\n\n%s\n", self->name, self->operands, self->summary);
    if (self->details)
        printf("\n%s\n", self->details);
    printf("\n");
    for (const struct cb_verb *const *v = self->subs; *v; v++)
        printf("  %-18s %s\n", (*v)->name, (*v)->summary);
    printf("\n`cbpush %s --help` lists the options of one.\n", (*self->subs)->name);
}

static int unknown(const struct cb_verb *self, const char *word, struct cb_error *err)
{
    cb_autofree const char **words = NULL;
    struct cb_strbuf all cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = 0, cap = 0, prefix = strlen(self->name) + 1;
    for (const struct cb_verb *const *v = self->subs; *v; v++) {
        CB_GROW(words, n + 1, cap);
        words[n++] = (*v)->name + prefix;
        cb_strbuf_addf(&all, "%s%s", n > 1 ? ", " : "", (*v)->name + prefix);
    }
    words[n] = NULL;
    if (!word)
        return cb_error_set(err, CB_EUSAGE, "%s: what shall be done? %s", self->name, all.buf);
    const char *hint = cb_foreign_words(self->name, word);
    if (hint)
        return cb_error_set(err, CB_EUSAGE, "there is no \"%s %s\": %s", self->name, word, hint);
    const char *meant = cb_df_suggest(word, words);
    return cb_error_set(err, CB_EUSAGE, "%s: \"%s\" is none of %s%s%s%s", self->name, word, all.buf,
                        meant ? ": did you mean " : "", meant ? meant : "", meant ? "?" : "");
}

/* `manifest -D get REF`: options are those of the second word, so they stand behind it. */
static int check_order(const struct cb_verb *self, int argc, char **argv, struct cb_error *err)
{
    for (int i = 1; i < argc && argv[0][0] == '-'; i++)
        if (cb_verb_find_sub(self, argv[i]))
            return cb_error_set(err, CB_EUSAGE, "%s: options stand behind \"%s\": cbpush %s %s %s …", self->name,
                                argv[i], self->name, argv[i], argv[0]);
    return 0;
}

int cb_verb_run_sub(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *exit_status,
                    struct cb_error *err)
{
    const char *word = argc > 0 ? argv[0] : NULL;
    if (word && (!strcmp(word, "--help") || !strcmp(word, "-h"))) {
        print_subs(self);
        return 0;
    }
    const struct cb_verb *sub = word ? cb_verb_find_sub(self, word) : NULL;
    if (sub)
        return sub->run(p, sub, argc - 1, argv + 1, exit_status, err);
    if (word && (*word == '-' || strpbrk(word, "/:@"))) {
        int r = check_order(self, argc, argv, err);
        if (r < 0)
            return r;
        return (*self->subs)->run(p, *self->subs, argc, argv, exit_status, err);
    }
    return unknown(self, word, err);
}
