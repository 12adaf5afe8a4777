/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One option table feeds parsing, --help and (through `cbpush help --man`) the man pages' option lists. Grammar:
 * `--flag v`, `--flag=v`, `-f v`,
 * `-fv`, `-it`, flags after operands, `--push=false`; `--` ends options. Unknown options are errors with a
 * suggestion. */

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
};

struct cb_opt {
    const char *name;    /* long name; ends the table with NULL */
    char letter;         /* 0: none */
    enum cb_opt_kind kind;
    size_t offset;       /* in the verb's options struct */
    const char *arg;     /* "FILE": how help names the value */
    const char *help;    /* NULL: hidden (an alias) */
    bool (*takes)(const char *word, void *arg); /* MAYBE: whether the next word is its value */
};

struct cb_opt_parse {
    const struct cb_opt *table;
    void *dest;
    int argc;
    char **argv;                 /* behind the verb */
    bool stop_at_operand;        /* `run IMAGE COMMAND -x`: what follows the first operand is not ours */
    void *takes_arg;
    struct cb_strvec *operands;
    bool help;                   /* out: --help was there */
};
int cb_opt_parse(struct cb_opt_parse *p, struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
/* The option list of --help. */
void cb_opt_print(const struct cb_opt *table);
