/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What reads templates and what works with their values. A value is a reference to JSON; NULL is one that is not
 * there. */

#include "cmd/template.h"

struct template_scope {
    const json_t *root, *more;
    bool go; /* Go's names of fields stand for those of their JSON */
};

/* The member that path (".A.B", ".") names below v, borrowed. -CB_EUSAGE where root itself has none of that name, or
 * something on the way has no members. */
int template_find(const struct template_scope *s, const json_t *v, const char *path, const json_t **out,
                  struct cb_error *err) CB_WUR;
/* As Go's %v. */
void template_print_value(struct cb_strbuf *out, const json_t *v);
bool template_is_true(const json_t *v);

struct template_call {
    const char *name;
    json_t **v;
    size_t n;
};
bool template_has_function(const char *name);
/* A new reference, or NULL. */
int template_call(const struct template_call *c, json_t **out, struct cb_error *err) CB_WUR;

/* ---- reading ---- */

#define TEMPLATE_VARS 16
#define TEMPLATE_DEPTH 16

struct template {
    const struct template_scope *scope;
    const char *p;     /* what is read next */
    const char *begin; /* the action that it stands in */
    struct cb_strbuf *out;
    const json_t *dot;
    struct template_var {
        char *name;
        json_t *v;
    } vars[TEMPLATE_VARS];
    size_t n_vars;
    unsigned depth, steps;
    bool trim; /* the blanks that follow */
    bool end;  /* no action is left */
};
/* Those beyond the first n. */
void template_forget(struct template *t, size_t n);
int template_declare(struct template *t, const char *name, json_t *v, struct cb_error *err) CB_WUR;
int template_not_ours(const char *what, size_t n, struct cb_error *err);
void template_skip_blanks(struct template *t);
bool template_is_end(const char *p); /* of an action */
size_t template_name_length(const char *p);
/* What a pipeline comes to: a new reference, or NULL; where on is not set it is only read. */
int template_pipeline(struct template *t, bool on, json_t **out, struct cb_error *err) CB_WUR;
