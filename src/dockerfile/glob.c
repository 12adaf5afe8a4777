/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include "util/alloc.h"
#include "util/limits.h"
#include "util/utf8.h"

/* A token: kind in the upper bits, below it a character or the number of a class. */
#define KIND(t) ((t) >> 24)
#define ARG(t) ((t) & 0xffffffu)
#define TOKEN(k, a) ((uint32_t)(k) << 24 | (uint32_t)(a))
enum {
    LITERAL,
    ANY,       /* `?` */
    CLASS,
    STAR,      /* `*` */
    DIRS,      /* double star: any directories or none; followed by its DIRS_LOOP */
    DIRS_LOOP, /* inside of them, until a slash */
    REST,      /* double star at the end: anything */
};

struct range {
    uint32_t lo, hi;
};

struct cb_df_class {
    bool negate;
    struct range *v;
    size_t n, cap;
};

void cb_df_glob_done(struct cb_df_glob *g)
{
    for (size_t i = 0; i < g->n_classes; i++)
        free(g->classes[i].v);
    free(g->classes);
    free(g->tokens);
    free(g->prefix);
    *g = (struct cb_df_glob){ 0 };
}

/* One character; a byte that is no UTF-8 stands for itself, outside of Unicode. */
static size_t next_char(const char *p, size_t n, uint32_t *cp)
{
    size_t len = 1;
    if ((unsigned char)*p < 0x80)
        *cp = (unsigned char)*p;
    else if (!(len = cb_utf8_decode(p, n, cp))) {
        *cp = 0x200000u | (unsigned char)*p;
        len = 1;
    }
    return len;
}

struct compiler {
    struct cb_df_glob *g;
    const char *pattern, *p;
    struct cb_error *err;
};

static int malformed(struct compiler *c, const char *why)
{
    return cb_df_fail(c->err, "bad pattern %s: %s", CB_DF_SHOW(c->pattern), why);
}

static uint32_t take_char(struct compiler *c)
{
    uint32_t cp;
    c->p += next_char(c->p, strnlen(c->p, 4), &cp);
    return cp;
}

static void emit(struct compiler *c, uint32_t token)
{
    c->g->tokens[c->g->n++] = token;
}

static int class_char(struct compiler *c, uint32_t *cp)
{
    if (!*c->p)
        return malformed(c, "] is missing");
    if (*c->p == '-' || *c->p == ']')
        return malformed(c, *c->p == '-' ? "write \\- for a dash between [ and ]" : "there is nothing between [ and ]");
    if (*c->p == '\\' && !*++c->p)
        return malformed(c, "a character is missing behind \\");
    *cp = take_char(c);
    return *c->p ? 0 : malformed(c, "] is missing");
}

/* Behind '['. */
static int compile_class(struct compiler *c)
{
    struct cb_df_glob *g = c->g;
    CB_GROW(g->classes, g->n_classes, g->cap_classes);
    struct cb_df_class *k = &g->classes[g->n_classes++];
    *k = (struct cb_df_class){ .negate = *c->p == '^' };
    emit(c, TOKEN(CLASS, g->n_classes - 1));
    c->p += k->negate;
    do {
        struct range r;
        int e = class_char(c, &r.lo);
        r.hi = r.lo;
        if (e == 0 && *c->p == '-') {
            c->p++;
            e = class_char(c, &r.hi);
        }
        if (e < 0)
            return e;
        CB_GROW(k->v, k->n, k->cap);
        k->v[k->n++] = r;
    } while (*c->p != ']');
    c->p++;
    return 0;
}

/* At the first of two stars. */
static void compile_double_star(struct compiler *c)
{
    bool leading = c->p == c->pattern;
    c->p += 2;
    bool slash = *c->p == '/';
    c->p += slash;
    if (!*c->p || (leading && !slash && !strpbrk(c->p, "*?[]\\"))) {
        /* `**name` is a suffix of any kind in Docker: it does not want a directory's border in front of it. */
        emit(c, TOKEN(REST, 0));
        return;
    }
    size_t n = c->g->n;
    if (n >= 2 && KIND(c->g->tokens[n - 1]) == DIRS_LOOP)
        return; /* twice is the same as once */
    emit(c, TOKEN(DIRS, 0));
    emit(c, TOKEN(DIRS_LOOP, 0));
}

static int compile_one(struct compiler *c, bool deep)
{
    if (deep && c->p[0] == '*' && c->p[1] == '*') {
        compile_double_star(c);
        return 0;
    }
    switch (*c->p) {
    case '*':
        while (*c->p == '*' && !(deep && c->p[1] == '*'))
            c->p++;
        emit(c, TOKEN(STAR, 0));
        return 0;
    case '?':
        c->p++;
        emit(c, TOKEN(ANY, 0));
        return 0;
    case '[':
        c->p++;
        return compile_class(c);
    case '\\':
        if (!*++c->p)
            return malformed(c, "a character is missing behind \\");
        break;
    default:
        break;
    }
    emit(c, TOKEN(LITERAL, take_char(c)));
    return 0;
}

static void find_prefix(struct cb_df_glob *g)
{
    cb_cleanup_strbuf struct cb_strbuf sb = CB_STRBUF_INIT;
    size_t i = 0;
    for (; i < g->n && KIND(g->tokens[i]) == LITERAL; i++) {
        uint32_t cp = ARG(g->tokens[i]);
        char bytes[4] = { (char)(cp & 0xff) };
        cb_strbuf_add(&sb, bytes, cp & 0x200000u ? 1 : cb_utf8_encode(bytes, cp));
    }
    g->literal = i == g->n;
    g->prefix_len = sb.len;
    g->prefix = cb_strbuf_detach(&sb, NULL);
}

int cb_df_glob_compile(struct cb_df_glob *g, const char *pattern, bool deep, struct cb_error *err)
{
    struct compiler c = { .g = g, .pattern = pattern, .p = pattern, .err = err };
    *g = (struct cb_df_glob){ 0 };
    size_t n = strlen(pattern);
    if (n > CB_MAX_PATH)
        return cb_df_fail(err, "bad pattern %s: %zu bytes are too many, at most %d", CB_DF_SHOW(pattern), n,
                          CB_MAX_PATH);
    g->tokens = cb_calloc(n + 2, sizeof *g->tokens);
    while (*c.p) {
        int r = compile_one(&c, deep);
        if (r < 0) {
            cb_df_glob_done(g);
            return r;
        }
    }
    find_prefix(g);
    return 0;
}

/* The states that are alive: positions in the token list, each at most once. n is the end: all is matched. */
struct states {
    uint16_t *v;
    size_t n;
};

struct machine {
    const struct cb_df_glob *g;
    struct states now, next;
    uint32_t *mark; /* of each state: the step in which it was added last */
    uint32_t step;
};

static void add(struct machine *m, struct states *to, size_t i)
{
    for (;; i++) {
        if (m->mark[i] == m->step)
            return;
        m->mark[i] = m->step;
        to->v[to->n++] = (uint16_t)i;
        if (i == m->g->n)
            return;
        uint32_t kind = KIND(m->g->tokens[i]);
        if (kind == DIRS) {
            /* Into the loop, or past it; the loop itself is left by a slash only. */
            if (m->mark[i + 1] != m->step) {
                m->mark[i + 1] = m->step;
                to->v[to->n++] = (uint16_t)(i + 1);
            }
            i++;
        } else if (kind != STAR && kind != REST) {
            return;
        }
    }
}

static bool in_class(const struct cb_df_class *k, uint32_t c)
{
    bool in = false;
    for (size_t i = 0; i < k->n && !in; i++)
        in = c >= k->v[i].lo && c <= k->v[i].hi;
    return in != k->negate;
}

static void advance(struct machine *m, size_t i, uint32_t c)
{
    uint32_t t = i < m->g->n ? m->g->tokens[i] : TOKEN(LITERAL, 0);
    switch (KIND(t)) {
    case LITERAL:
        if (ARG(t) == c && i < m->g->n)
            add(m, &m->next, i + 1);
        break;
    case ANY:
        if (c != '/')
            add(m, &m->next, i + 1);
        break;
    case CLASS:
        if (in_class(&m->g->classes[ARG(t)], c))
            add(m, &m->next, i + 1);
        break;
    case STAR:
        if (c != '/')
            add(m, &m->next, i);
        break;
    case REST:
        add(m, &m->next, i);
        break;
    case DIRS_LOOP:
        if (m->mark[i] != m->step) {
            m->mark[i] = m->step;
            m->next.v[m->next.n++] = (uint16_t)i;
        }
        if (c == '/')
            add(m, &m->next, i + 1);
        break;
    default: /* DIRS: both its ways are states of their own */
        break;
    }
}

static bool accepts(const struct machine *m)
{
    return m->mark[m->g->n] == m->step;
}

static bool machine_run(struct machine *m, const char *path, size_t n, enum cb_df_glob_mode mode)
{
    m->step = 1;
    add(m, &m->now, 0);
    for (size_t i = 0; i < n && m->now.n > 0;) {
        uint32_t c;
        if (path[i] == '/' && i > 0 && mode == CB_DF_GLOB_PARENT && accepts(m))
            return true;
        i += next_char(path + i, n - i, &c);
        m->step++;
        m->next.n = 0;
        for (size_t k = 0; k < m->now.n; k++)
            advance(m, m->now.v[k], c);
        struct states t = m->now;
        m->now = m->next;
        m->next = t;
    }
    return m->now.n > 0 && (mode == CB_DF_GLOB_ALIVE || accepts(m));
}

bool cb_df_glob_run(const struct cb_df_glob *g, const char *path, size_t n, enum cb_df_glob_mode mode)
{
    size_t common = CB_MIN(n, g->prefix_len);
    if ((common > 0 && memcmp(path, g->prefix, common) != 0) || (n < g->prefix_len && mode != CB_DF_GLOB_ALIVE))
        return false;
    if (n < g->prefix_len)
        return true;
    if (g->literal && mode == CB_DF_GLOB_PARENT)
        return n == g->prefix_len || (path[g->prefix_len] == '/' && g->prefix_len > 0);
    if (g->literal)
        return n == g->prefix_len;
    cb_autofree uint16_t *v = cb_reallocarray(NULL, 2 * (g->n + 1), sizeof *v);
    cb_autofree uint32_t *mark = cb_calloc(g->n + 1, sizeof *mark);
    struct machine m = { .g = g, .now = { v, 0 }, .next = { v + g->n + 1, 0 }, .mark = mark };
    return machine_run(&m, path, n, mode);
}
