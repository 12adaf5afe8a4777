/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/semver.h"

#include <string.h>

#include "util/alloc.h"
#include "util/strbuf.h"

#define MAX_DIGITS 9
#define MAX_COMPARATORS 64


/* A number without leading zeros. */
static bool take_number(const char **p, uint32_t *out)
{
    size_t n = strspn(*p, "0123456789");
    if (n == 0 || n > MAX_DIGITS || (n > 1 && **p == '0'))
        return false;
    *out = 0;
    for (size_t i = 0; i < n; i++)
        *out = *out * 10 + (uint32_t)((*p)[i] - '0');
    *p += n;
    return true;
}

/* Dot-separated identifiers, none empty, numeric ones without leading zeros. */
static bool valid_pre(const char *p)
{
    for (;;) {
        size_t n = strspn(p, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-");
        if (n == 0 || (n > 1 && *p == '0' && strspn(p, "0123456789") == n))
            return false;
        if (!p[n])
            return true;
        if (p[n] != '.')
            return false;
        p += n + 1;
    }
}

bool mirror_version_parse(struct mirror_version *out, const char *text)
{
    struct mirror_version v = { 0 };
    const char *p = text + (*text == 'v' || *text == 'V');
    do {
        if (v.given == 3 || !take_number(&p, &v.n[v.given]))
            return false;
        v.given++;
    } while (*p == '.' && p++);
    if (*p == '-' && v.given == 3) {
        v.pre = p + 1;
        if (!valid_pre(v.pre))
            return false;
    } else if (*p) {
        return false;
    }
    *out = v;
    return true;
}

/* ---- order ---- */

static int cmp_identifier(const char *a, size_t na, const char *b, size_t nb)
{
    bool da = strspn(a, "0123456789") >= na, db = strspn(b, "0123456789") >= nb;
    if (da != db)
        return da ? -1 : 1; /* numbers are lower */
    if (da && na != nb)
        return na < nb ? -1 : 1;
    int c = strncmp(a, b, CB_MIN(na, nb));
    return c ? c : (na > nb) - (na < nb);
}

static int cmp_pre(const char *a, const char *b)
{
    if (!a || !b)
        return (a == NULL) - (b == NULL); /* without is higher */
    for (;;) {
        size_t na = strcspn(a, "."), nb = strcspn(b, ".");
        int c = cmp_identifier(a, na, b, nb);
        if (c || (!a[na] && !b[nb]))
            return c;
        if (!a[na] || !b[nb])
            return a[na] ? 1 : -1; /* more of them is higher */
        a += na + 1;
        b += nb + 1;
    }
}

static int cmp_numbers(const struct mirror_version *a, const struct mirror_version *b)
{
    for (int i = 0; i < 3; i++)
        if (a->n[i] != b->n[i])
            return a->n[i] < b->n[i] ? -1 : 1;
    return 0;
}

int mirror_version_cmp(const struct mirror_version *a, const struct mirror_version *b)
{
    int c = cmp_numbers(a, b);
    return c ? c : cmp_pre(a->pre, b->pre);
}

/* ---- ranges ---- */

/* lower ≤ version < upper; each may be absent. */
struct span {
    struct mirror_version low, high;
    bool has_low, has_high;
    bool above, upto; /* low itself is out; high itself is in */
};
struct mirror_range {
    char *text; /* what pre-releases point into: words are cut at NULs */
    struct span v[MAX_COMPARATORS];
    bool last[MAX_COMPARATORS]; /* of an alternative */
    size_t n;
};

void mirror_range_free(struct mirror_range *r)
{
    if (!r)
        return;
    free(r->text);
    free(r);
}

/* The first version behind all that begin with the first `keep` numbers. */
static struct mirror_version behind(const struct mirror_version *v, unsigned keep)
{
    struct mirror_version next = { .given = 3 };
    for (unsigned i = 0; i < keep; i++)
        next.n[i] = v->n[i];
    next.n[keep - 1]++;
    return next;
}

/* ^1.2.3: up to the next change of the first number that is not 0. */
static unsigned caret(const struct mirror_version *v)
{
    for (unsigned i = 0; i < v->given; i++)
        if (v->n[i])
            return i + 1;
    return v->given;
}

/* "1.x", "1.2.*": cut where the wildcard begins. False: "*" alone. */
static bool cut_wildcard(char *word)
{
    size_t n = strlen(word);
    while (n && (word[n - 1] == 'x' || word[n - 1] == 'X' || word[n - 1] == '*') &&
           (n == 1 || word[n - 2] == '.' || (n == 2 && word[0] == 'v'))) {
        n -= n > 1 && word[n - 2] == '.' ? 2 : 1;
        word[n] = '\0';
    }
    return n > 0 && strcmp(word, "v") != 0;
}

static void set_low(struct span *s, const struct mirror_version *v)
{
    s->low = *v;
    s->has_low = true;
}

static void set_high(struct span *s, const struct mirror_version *v)
{
    s->high = *v;
    s->has_high = true;
}

static void fill(struct span *s, const char *op, const struct mirror_version *v)
{
    struct mirror_version next = behind(v, v->given);
    bool whole = v->given == 3;
    if (!strcmp(op, "<") || !strcmp(op, "<=")) {
        s->upto = op[1] && whole;
        set_high(s, op[1] && !whole ? &next : v);
        return;
    }
    s->above = !strcmp(op, ">") && whole;
    set_low(s, !strcmp(op, ">") && !whole ? &next : v);
    if (*op == '>')
        return;
    if (*op == '~')
        next = behind(v, CB_MIN(v->given, 2u));
    else if (*op == '^')
        next = behind(v, caret(v));
    else if (whole)
        next = *v;
    s->upto = whole && (!*op || *op == '=');
    set_high(s, &next);
}

static bool add_word(struct mirror_range *r, char *word)
{
    static const char *const ops[] = { ">=", "<=", "==", ">", "<", "=", "~>", "~", "^" };
    char op[3] = "";
    for (size_t i = 0; i < CB_COUNTOF(ops) && !*op; i++)
        if (cb_starts_with(word, ops[i])) {
            word += strlen(ops[i]);
            memcpy(op, ops[i], strlen(ops[i]) + 1);
        }
    struct mirror_version v;
    struct span *s = &r->v[r->n];
    if (r->n == MAX_COMPARATORS || !*word)
        return false;
    if (!cut_wildcard(word)) {
        r->n++; /* everything */
        return !*op || *op == '=' || *op == '^' || *op == '~' || !strcmp(op, ">=");
    }
    if (!mirror_version_parse(&v, word))
        return false;
    fill(s, op, &v);
    r->n++;
    return true;
}

/* Blanks behind an operator belong to it: ">= 1.2". */
static void join_operators(char *s)
{
    char *to = s;
    for (const char *p = s; *p; p++) {
        bool glued = to > s && strchr("<>=~^", to[-1]) && *p == ' ';
        if (!glued)
            *to++ = *p;
    }
    *to = '\0';
}

static bool read_range(struct mirror_range *r)
{
    join_operators(r->text);
    size_t len = strlen(r->text), first = 0;
    for (size_t i = 0; i <= len;) {
        size_t n = strcspn(r->text + i, " ,\t|");
        char stop = r->text[i + n];
        bool or = stop == '|' && r->text[i + n + 1] == '|';
        r->text[i + n] = '\0';
        if ((n && !add_word(r, r->text + i)) || (stop == '|' && !or))
            return false;
        i += n + 1 + or;
        if ((or || i > len) && r->n == first)
            return false;
        if (or || i > len) {
            r->last[r->n - 1] = true;
            first = r->n;
        }
    }
    return r->n > 0;
}

struct mirror_range *mirror_range_new(const char *text, struct cb_error *err)
{
    struct mirror_range *r = CB_NEW(struct mirror_range);
    r->text = cb_strdup(text);
    if (strlen(text) > 1000 || !read_range(r)) {
        mirror_range_free(r);
        cb_error_set(err, CB_ECONF, "\"%.200s\" is no range of versions; write as \">=1.2 <3\" or \"~1.4 || 2.x\"",
                     text);
        return NULL;
    }
    return r;
}

static bool in_span(const struct span *s, const struct mirror_version *v)
{
    int low = s->has_low ? mirror_version_cmp(v, &s->low) : 1;
    int high = s->has_high ? mirror_version_cmp(v, &s->high) : -1;
    /* 2.0.0-rc.1 is below 2.0.0, yet nobody means it by <2. */
    if (v->pre && s->has_high && !s->high.pre && !s->upto && !cmp_numbers(v, &s->high))
        return false;
    return (low > 0 || (low == 0 && !s->above)) && (high < 0 || (high == 0 && s->upto));
}

static bool names_pre(const struct span *s, const struct mirror_version *v)
{
    return (s->has_low && s->low.pre && !cmp_numbers(&s->low, v)) ||
           (s->has_high && s->high.pre && !cmp_numbers(&s->high, v));
}

bool mirror_range_has(const struct mirror_range *r, const struct mirror_version *v, bool pre)
{
    bool holds = true, named = false;
    for (size_t i = 0; i < r->n; i++) {
        holds = holds && in_span(&r->v[i], v);
        named = named || names_pre(&r->v[i], v);
        if (!r->last[i])
            continue;
        if (holds && (!v->pre || pre || named))
            return true;
        holds = true;
        named = false;
    }
    return false;
}
