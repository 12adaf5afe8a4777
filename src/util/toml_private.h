/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the three files of the TOML parser share. Every function returns 0 or -CB_ECONF with the line in the message. */

#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"
#include "util/toml.h"

/* How a table or array came about. */
enum cb_toml_origin {
    CB_TOML_LEAF,     /* scalar, inline table, array value: complete */
    CB_TOML_IMPLICIT, /* a table that was only passed through by [a.b]: may be defined once */
    CB_TOML_HEADER,   /* defined by [a] */
    CB_TOML_DOTTED,   /* made by a dotted key: more dotted keys may add to it */
    CB_TOML_TABLES,   /* the array made by [[a]] */
};

struct cb_toml_parser {
    const char *p, *end;
    unsigned line;
    unsigned depth; /* of nested values */
    struct cb_error *err;
};

int cb_toml_fail(const struct cb_toml_parser *ps, const char *fmt, ...) CB_PRINTF(2, 3);

/* toml_text.c: the byte at ahead, or -1 behind the end. */
int cb_toml_peek(const struct cb_toml_parser *ps, size_t ahead);
void cb_toml_skip_blanks(struct cb_toml_parser *ps);
int cb_toml_skip_comment(struct cb_toml_parser *ps) CB_WUR;
/* Takes a line end if one is there: 1, else 0. */
int cb_toml_take_newline(struct cb_toml_parser *ps);
/* Blanks, comments and line ends. */
int cb_toml_skip_space(struct cb_toml_parser *ps) CB_WUR;
/* A string of any of the four kinds, standing at its quote. */
int cb_toml_take_string(struct cb_toml_parser *ps, struct cb_strbuf *out, bool allow_multiline) CB_WUR;
/* The parts of a (dotted) key, with the blanks around it. */
int cb_toml_take_key(struct cb_toml_parser *ps, struct cb_strvec *parts) CB_WUR;

/* toml_value.c */
int cb_toml_take_value(struct cb_toml_parser *ps, struct cb_toml **out) CB_WUR;
/* "key = value" put into the table. */
int cb_toml_take_pair(struct cb_toml_parser *ps, struct cb_toml *table) CB_WUR;

/* toml.c */
struct cb_toml *cb_toml_new(const struct cb_toml_parser *ps, enum cb_toml_type type, enum cb_toml_origin origin);
/* Takes ownership of child whatever comes of it. */
int cb_toml_append(const struct cb_toml_parser *ps, struct cb_toml *parent, struct cb_toml *child) CB_WUR;
struct cb_toml *cb_toml_find(const struct cb_toml *table, const char *key);
