/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One option table feeds parsing, --help, the pages of the manual (man.c) and completion (complete.h). Grammar:
 * `--flag v`, `--flag=v`, `-f v`, `-fv`, `-it`, flags after operands, `--push=false`; `--` ends options. Unknown
 * options are errors with a suggestion. */

#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"
#include "util/strvec.h"

enum cb_opt_kind {
    CB_OPT_FLAG,    /* bool */
    CB_OPT_STRING,  /* const char *, last one wins */
    CB_OPT_LIST,    /* struct cb_strvec, all of them */
    CB_OPT_TRISTATE, /* int: -1 unsaid, 0, 1; bare = 1 */
    CB_OPT_MAYBE,   /* const char *: bare gives "" and takes no word; =v gives v */
    /* struct cb_strvec: "name" or "name=value" is added to it, for options that are only noted. Takes a value where it
     * has an arg, else is a flag. */
    CB_OPT_NOTED,
};

struct cb_opt {
    const char *name;    /* long name; ends the table with NULL */
    char letter;         /* 0: none */
    enum cb_opt_kind kind;
    size_t offset;       /* in the verb's options struct */
    const char *arg;     /* "FILE": how help names the value */
    const char *help;    /* NULL: hidden (an alias) */
    bool (*takes)(const char *word, void *arg); /* MAYBE: whether the next word is its value */
    /* For completion; NULL: what arg tells (FILE, DIR, OS/ARCH). Words and paths, "auto|plain|FILE", or, of
     * KEY=VALUE,…, what the keys may be, "DIR,type=oci|tar,dest=FILE,name="; the key * is any. */
    const char *values;
};

#define CB_OPT_END { NULL, 0, CB_OPT_FLAG, 0, NULL, NULL, NULL, NULL }

/* Tables of options that belong together, each with a struct of its own inside the verb's; ends with a NULL heading. */
struct cb_opt_group {
    const char *heading;         /* of its part of --help */
    const struct cb_opt *table;
    size_t offset;               /* of its struct: the offsets in the table count from there */
};

struct cb_opt_parse {
    const char *verb;            /* whose options they are, for what is said of unknown ones; or NULL */
    const struct cb_opt *table;
    const struct cb_opt_group *groups; /* or NULL */
    void *dest;
    int argc;
    char **argv;                 /* behind the verb */
    bool stop_at_operand;        /* `run IMAGE COMMAND -x`: what follows the first operand is not ours */
    void *takes_arg;
    struct cb_strvec *operands;
    bool help;                   /* out: --help was there */
};
int cb_opt_parse(struct cb_opt_parse *p, struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
/* By its long name, n bytes at name, or by its letter, also one that is hidden; or NULL. groups may be NULL. */
const struct cb_opt *cb_opt_find(const struct cb_opt *table, const struct cb_opt_group *groups, const char *name,
                                 size_t n);
const struct cb_opt *cb_opt_find_letter(const struct cb_opt *table, const struct cb_opt_group *groups, char letter);
bool cb_opt_needs_value(const struct cb_opt *o); /* the next word, where none is attached */
/* The option list of --help. groups may be NULL. */
void cb_opt_print(const struct cb_opt *table, const struct cb_opt_group *groups);
