/* SPDX-License-Identifier: Apache-2.0 */
#include "build/chmod.h"

#include <string.h>

#include "util/encode.h"

#define SETUID 04000u
#define SETGID 02000u
#define STICKY 01000u
#define ALL (SETUID | SETGID | 0777u)
#define READ 0444u
#define WRITE 0222u
#define EXECUTE 0111u

/* One text on one mode. */
struct run {
    const char *at;
    uint32_t before, mode; /* as it was, as it is by now */
    bool is_dir;
    uint32_t who;          /* bits of the classes in front of the operator; 0: none stands there */
    char op;
    bool assigned;         /* `=` has taken away what was there */
};

static uint32_t reach(const struct run *r, uint32_t bits)
{
    return r->who ? r->who & bits : bits;
}

static void change(struct run *r, uint32_t perm)
{
    if (r->op == '=')
        r->mode &= ~(r->who ? r->who : ALL);
    if (r->op == '-')
        r->mode &= ~reach(r, perm);
    else
        r->mode |= reach(r, perm);
}

static void change_if_executable(struct run *r)
{
    if (r->is_dir || r->before & EXECUTE)
        r->mode |= reach(r, EXECUTE);
}

/* u, g or o on the right: the bits of that class, to each class on the left. */
static void copy_class(struct run *r, unsigned from)
{
    uint32_t value = r->mode >> from & 7;
    for (unsigned to = 0; to <= 6; to += 3) {
        if (r->who && !(r->who & 4u << to))
            continue;
        if (r->op == '=')
            r->mode &= ~(7u << to);
        if (r->op == '-')
            r->mode &= ~(value << to);
        else
            r->mode |= value << to;
    }
}

/* s and t mean nothing to others alone. */
static bool beyond_others(const struct run *r)
{
    return r->who == 0 || r->who & ~7u;
}

static bool read_perm(struct run *r, char c, uint32_t *perm, bool *x)
{
    switch (c) {
    case 'r':
        *perm |= READ;
        return true;
    case 'w':
        *perm |= WRITE;
        return true;
    case 'x':
        *perm |= EXECUTE;
        return true;
    case 'X':
        *x |= r->op != '-';
        *perm |= r->op == '-' ? EXECUTE : 0;
        return true;
    case 's':
        *perm |= beyond_others(r) ? SETUID | SETGID : 0;
        return true;
    case 't':
        if (beyond_others(r)) {
            r->who |= STICKY;
            *perm |= STICKY;
        }
        return true;
    default:
        return false;
    }
}

static void flush(struct run *r, uint32_t *perm, bool *x, bool assign)
{
    if (*perm || assign)
        change(r, *perm);
    if (*x)
        change_if_executable(r);
    *perm = 0;
    *x = false;
}

/* What stands behind an operator, up to the next one, a comma or the end. */
static void run_perms(struct run *r)
{
    static const char classes[] = "ogu";
    uint32_t perm = 0;
    bool x = false;
    for (;; r->at++) {
        const char *class = *r->at ? strchr(classes, *r->at) : NULL;
        if (class) {
            flush(r, &perm, &x, false);
            r->assigned |= r->op == '=';
            copy_class(r, 3 * (unsigned)(class - classes));
        } else if (!read_perm(r, *r->at, &perm, &x)) {
            break;
        }
    }
    flush(r, &perm, &x, r->op == '=' && !r->assigned);
    r->assigned |= r->op == '=';
}

static void read_who(struct run *r)
{
    for (r->who = 0;; r->at++) {
        if (*r->at == 'a')
            r->who |= ALL;
        else if (*r->at == 'u')
            r->who |= SETUID | 0700;
        else if (*r->at == 'g')
            r->who |= SETGID | 0070;
        else if (*r->at == 'o')
            r->who |= 0007;
        else
            return;
    }
}

/* False: that is no mode. */
static bool run_text(struct run *r)
{
    for (;; r->at++) {
        read_who(r);
        do {
            r->op = *r->at;
            if (r->op != '+' && r->op != '-' && r->op != '=')
                return false;
            r->at++;
            if (r->op == '=')
                r->assigned = false;
            r->who &= ~STICKY;
            run_perms(r);
        } while (*r->at && *r->at != ',');
        if (!*r->at)
            return true;
    }
}

int cb_chmod_parse(struct cb_chmod *out, const char *text, struct cb_error *err)
{
    struct run r = { .at = text };
    *out = (struct cb_chmod){ 0 };
    if (!text || !*text)
        return 0;
    out->set = true;
    if (cb_parse_octal(text, 07777, &out->mode))
        return 0;
    if (!run_text(&r))
        return cb_error_set(err, CB_ECONF, "--chmod=%s: write an octal mode between 0 and 07777, or a symbolic one "
                                           "such as u=rwX,go=rX", text);
    out->text = text;
    return 0;
}

uint32_t cb_chmod_apply(const struct cb_chmod *c, uint32_t mode, bool is_dir)
{
    struct run r = { .at = c->text, .before = mode, .mode = mode, .is_dir = is_dir };
    if (!c->set || !c->text)
        return c->set ? c->mode : mode;
    (void)run_text(&r);
    return r.mode & 07777;
}

uint32_t cb_chmod_made(const struct cb_chmod *c)
{
    return c->set && !c->text ? c->mode & 0777 : 0755;
}
