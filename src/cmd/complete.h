/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What may stand next on a command line, for the shells' completion. Made of the verbs' own tables; the names of
 * images are read from the store as it is: nothing is created, opened for writing or asked of the network. */

#include "cmd/opt.h"

enum complete_kind {
    COMPLETE_WORDS,
    COMPLETE_OPEN,  /* words that something else follows without a blank: "type=" */
    COMPLETE_FILES, /* the shell knows them: what of the word stands before the path is in prefix */
    COMPLETE_DIRS,
};

struct completion {
    enum complete_kind kind;
    const char *word;        /* as far as it was typed; borrowed */
    char *prefix;
    struct cb_strvec answer; /* "WORD\tHELP", WORD whole, for the kinds of words */
};
void completion_done(struct completion *c);

/* argv: behind the name of the program; the last word is the one to complete, and may be empty. */
void complete_line(struct completion *c, int argc, char **argv);

/* Of complete_line: adds prefix and text as one word, if c->word begins so; help may be NULL. */
void complete_add(struct completion *c, const char *prefix, const char *text, const char *help);
/* The value of an option, before which prefix ("--progress=") stands in the word. */
void complete_value(struct completion *c, const struct cb_opt *o, const char *prefix);
/* The images of a store (root NULL: the default one), before which prefix stands in the word. */
void complete_images(struct completion *c, const char *root, const char *prefix);
/* A place that images are copied from or to. */
void complete_place(struct completion *c, const char *root);
/* Operands have files, or directories: from the end of prefix on. */
void complete_paths(struct completion *c, enum complete_kind kind, const char *prefix);
