/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>

#include "auth/private.h"
#include "util/alloc.h"

#define MAX_CHALLENGE 8192
#define MAX_PARAMS 32
#define MAX_CHALLENGES 32
#define MAX_HEADERS 8

void auth_challenges_done(struct auth_challenges *c)
{
    for (size_t i = 0; i < c->n; i++) {
        free(c->v[i].scheme);
        cb_strmap_done(&c->v[i].params);
    }
    free(c->v);
    *c = (struct auth_challenges){ 0 };
}

static bool is_token(char c)
{
    return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static const char *skip(const char *p, const char *set)
{
    return p + strspn(p, set);
}

static const char *token(const char *p, struct cb_strbuf *out)
{
    cb_strbuf_reset(out);
    for (; is_token(*p); p++)
        cb_strbuf_addch(out, (char)tolower((unsigned char)*p));
    return p;
}

/* A quoted string or a token; NULL where it is neither. */
static const char *value(const char *p, struct cb_strbuf *out)
{
    cb_strbuf_reset(out);
    if (*p != '"') {
        for (; is_token(*p) || (*p && strchr("/:?=@[]", *p)); p++)
            cb_strbuf_addch(out, *p);
        return out->len ? p : NULL;
    }
    for (p++; *p && *p != '"'; p++) {
        if (*p == '\\' && p[1])
            p++;
        if (iscntrl((unsigned char)*p))
            return NULL;
        cb_strbuf_addch(out, *p);
    }
    return *p == '"' ? p + 1 : NULL;
}

/* name=value; NULL where none begins here. */
static const char *param(const char *p, struct cb_strbuf *name, struct cb_strbuf *val)
{
    const char *q = skip(token(p, name), " \t");
    if (!name->len || *q != '=')
        return NULL;
    return value(skip(q + 1, " \t"), val);
}

/* The one blob that Negotiate and its like may carry in place of parameters; it ends the challenge. */
static const char *token68(const char *p)
{
    const char *end = p;
    while (isalnum((unsigned char)*end) || (*end && strchr("-._~+/", *end)))
        end++;
    if (end == p)
        return NULL;
    end = skip(skip(end, "="), " \t");
    return !*end || *end == ',' ? end : NULL;
}

static const char *parse_params(const char *p, struct auth_challenge *c, bool *bad)
{
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT, val cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (;;) {
        const char *next = param(p, &name, &val);
        if (!next)
            return p;
        if (cb_strmap_get(&c->params, name.buf) || c->params.n >= MAX_PARAMS) {
            *bad = true;
            return p;
        }
        cb_strmap_set(&c->params, name.buf, val.buf);
        p = skip(next, " \t");
        if (*p != ',')
            return p;
        p = skip(p, ", \t");
    }
}

int auth_challenge_parse(struct auth_challenges *c, const char *text, struct cb_error *err)
{
    struct cb_strbuf scheme cb_cleanup_strbuf = CB_STRBUF_INIT;
    bool bad = strlen(text) > MAX_CHALLENGE;
    const char *p = skip(text, ", \t");
    while (*p && !bad) {
        p = token(p, &scheme);
        if (!scheme.len || c->n >= MAX_CHALLENGES || (*p && *p != ' ' && *p != ','))
            break;
        CB_GROW(c->v, c->n, c->cap);
        c->v[c->n++] = (struct auth_challenge){ .scheme = cb_strdup(scheme.buf) };
        const char *blob = *p == ' ' ? token68(skip(p, " ")) : NULL;
        p = blob ? blob : parse_params(skip(p, " \t"), &c->v[c->n - 1], &bad);
        p = skip(p, ", \t");
    }
    return *p || bad ? cb_error_set(err, CB_EVERIFY, "the registry's WWW-Authenticate header is malformed") : 0;
}

int auth_challenge_read(const struct cb_http_reply *reply, struct auth_challenges *c, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < MAX_HEADERS; i++) {
        const char *v = cb_http_header_nth(reply, "WWW-Authenticate", i);
        if (!v)
            break;
        r = auth_challenge_parse(c, v, err);
    }
    return r;
}

const struct auth_challenge *auth_challenge_pick(const struct auth_challenges *c, const char *scheme)
{
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].scheme, scheme))
            return &c->v[i];
    return NULL;
}
