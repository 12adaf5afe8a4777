/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of the command line, and the verbs' own tables. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "cmd/cmd.h"
#include "cmd/opt.h"
#include "util/alloc.h"
#include "util/strbuf.h"

struct values {
    bool flag, it, other;
    int tri;
    const char *file, *maybe;
    struct cb_strvec list;
};

/* The word behind --maybe is its value where it is no path. */
static bool takes(const char *word, void *arg)
{
    const bool *allowed = arg;
    return (!allowed || *allowed) && word[0] != '.' && word[0] != '-';
}

#define AT(field) offsetof(struct values, field)
static const struct cb_opt table[] = {
    { "flag", 'i', CB_OPT_FLAG, AT(flag), NULL, "a flag", NULL },
    { "it", 't', CB_OPT_FLAG, AT(it), NULL, "another", NULL },
    { "other", 0, CB_OPT_FLAG, AT(other), NULL, NULL, NULL },
    { "file", 'f', CB_OPT_STRING, AT(file), "FILE", "a file", NULL },
    { "list", 'l', CB_OPT_LIST, AT(list), "X", "many", NULL },
    { "tri", 0, CB_OPT_TRISTATE, AT(tri), NULL, "three states", NULL },
    { "maybe", 'm', CB_OPT_MAYBE, AT(maybe), "NAME", "perhaps with a value", takes },
    { "bare", 0, CB_OPT_MAYBE, AT(maybe), "NAME", "never takes a word", NULL },
    { NULL, 0, CB_OPT_FLAG, 0, NULL, NULL, NULL },
};

#define WORDS_MAX 16
struct parsed {
    struct values v;
    struct cb_strvec operands;
    bool help;
    struct cb_error err;
    int r;
};

struct how {
    bool stop;
    void *takes_arg;
};

static void parse(struct parsed *p, const struct how *how, const char *line)
{
    char *argv[WORDS_MAX + 1] = { NULL };
    int argc = 0;
    cb_autofree char *copy = cb_strdup(line);
    for (char *w = copy; w && *w;) {
        char *space = strchr(w, ' ');
        if (space)
            *space = '\0';
        assert_true(argc < WORDS_MAX);
        argv[argc++] = strcmp(w, "''") ? w : w + 2;
        w = space ? space + 1 : NULL;
    }
    *p = (struct parsed){ .v.tri = -1 };
    struct cb_opt_parse o = { .table = table, .dest = &p->v, .argc = argc, .argv = argv, .operands = &p->operands,
                              .stop_at_operand = how && how->stop, .takes_arg = how ? how->takes_arg : NULL };
    p->r = cb_opt_parse(&o, &p->err);
    p->help = o.help;
    /* The words go with this function. */
    p->v.file = cb_strdup_or_null(p->v.file);
    p->v.maybe = cb_strdup_or_null(p->v.maybe);
}

static void parsed_done(struct parsed *p)
{
    free((void *)(uintptr_t)p->v.file);
    free((void *)(uintptr_t)p->v.maybe);
    cb_strvec_done(&p->v.list);
    cb_strvec_done(&p->operands);
    cb_error_done(&p->err);
}

static void parsed_text(struct cb_strbuf *o, const struct parsed *p)
{
    if (p->r < 0) {
        cb_strbuf_addf(o, "error: %s", cb_error_text(&p->err));
        assert_int_equal(p->r, -CB_EUSAGE);
        return;
    }
    cb_strbuf_addf(o, "%s%s%s", p->v.flag ? "flag " : "", p->v.it ? "it " : "", p->v.other ? "other " : "");
    if (p->v.tri >= 0)
        cb_strbuf_addf(o, "tri=%d ", p->v.tri);
    if (p->v.file)
        cb_strbuf_addf(o, "file=%s ", p->v.file);
    if (p->v.maybe)
        cb_strbuf_addf(o, "maybe=%s ", p->v.maybe);
    for (size_t i = 0; i < p->v.list.n; i++)
        cb_strbuf_addf(o, "list=%s ", p->v.list.v[i]);
    if (p->help)
        cb_strbuf_adds(o, "help ");
    for (size_t i = 0; i < p->operands.n; i++)
        cb_strbuf_addf(o, "(%s) ", p->operands.v[i]);
    if (o->len)
        cb_strbuf_setlen(o, o->len - 1);
}

static void check_at(const struct how *how, const char *line, const char *expected, int at)
{
    struct parsed p;
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    parse(&p, how, line);
    parsed_text(&got, &p);
    parsed_done(&p);
    if (strcmp(got.buf, expected))
        fail_msg("line %d, \"%s\": expected \"%s\", got \"%s\"", at, line, expected, got.buf);
}
#define check(line, expected) check_at(NULL, line, expected, __LINE__)

static void test_values(void **state)
{
    (void)state;
    check("", "");
    check("--file x", "file=x");
    check("--file=x", "file=x");
    check("-f x", "file=x");
    check("-fx", "file=x");
    check("-f=x", "file=x");
    check("--file=a=b", "file=a=b");
    check("--file=", "file=");
    check("--file ''", "file=");
    check("--file -", "file=-");
    check("-f -", "file=-");
    check("--file --flag", "file=--flag");
    check("--file a --file b", "file=b");
    check("--list a -lb --list=c -l=d", "list=a list=b list=c list=d");
    check("--file", "error: --file needs a value: --file FILE");
    check("-f", "error: --file needs a value: --file FILE");
    check("-l", "error: --list needs a value: --list X");
}

static void test_flags(void **state)
{
    (void)state;
    check("--flag", "flag");
    check("--flag=true", "flag");
    check("--flag=1", "flag");
    check("--flag=false", "");
    check("--flag --flag=false", "");
    check("--flag=0 --flag", "flag");
    check("--flag=", "error: --flag=: write true or false");
    check("--flag=maybe", "error: --flag=maybe: write true or false");
    check("--flag x", "flag (x)");
    check("--flag false", "flag (false)");
    check("--tri", "tri=1");
    check("--tri=false", "tri=0");
    check("--tri=x", "error: --tri=x: write true or false");
}

static void test_clusters(void **state)
{
    (void)state;
    check("-it", "flag it");
    check("-ti x", "flag it (x)");
    check("-itf x", "flag it file=x");
    check("-itfx", "flag it file=x");
    check("-itf=x", "flag it file=x");
    check("-ix", "error: unknown option -x");
    check("-i=true", "flag");
    check("-ti=false", "it");
    check("-i=", "error: --flag=: write true or false");
    check("-ih", "flag help");
}

static void test_operands(void **state)
{
    (void)state;
    check("a b", "(a) (b)");
    check("a --flag b -f x c", "flag file=x (a) (b) (c)");
    check("-- --flag -f", "(--flag) (-f)");
    check("a -- -- b", "(a) (--) (b)");
    check("-", "(-)");
    check("''", "()");
    check_at(&(struct how){ .stop = true }, "-i image -t --nonsense", "flag (image) (-t) (--nonsense)", __LINE__);
    check_at(&(struct how){ .stop = true }, "-- image -t", "(image) (-t)", __LINE__);
    check_at(&(struct how){ .stop = true }, "--file x image", "file=x (image)", __LINE__);
}

static void test_maybe(void **state)
{
    (void)state;
    bool no = false;
    const struct how never = { .takes_arg = &no };
    check("--maybe name", "maybe=name");
    check("--maybe=name ctx", "maybe=name (ctx)");
    check("--maybe ./ctx", "maybe= (./ctx)");
    check("--maybe", "maybe=");
    check("--maybe --flag", "flag maybe=");
    check("--maybe=false", "maybe=false");
    check("-m name", "maybe=name");
    check("-m=name x", "maybe=name (x)");
    check("-im name x", "flag maybe=name (x)");
    check("--bare name", "maybe= (name)");
    check("--bare=name", "maybe=name");
    check_at(&never, "--maybe name", "maybe= (name)", __LINE__);
}

static void test_unknown(void **state)
{
    (void)state;
    check("--flga", "error: unknown option --flga (did you mean --flag?)");
    check("--FILE=x", "error: unknown option --FILE (did you mean --file?)");
    check("--fil", "error: unknown option --fil (did you mean --file?)");
    check("--lits=1", "error: unknown option --lits (did you mean --list?)");
    check("--completely-else", "error: unknown option --completely-else");
    check("--othr", "error: unknown option --othr"); /* hidden ones are not proposed */
    check("---flag", "error: unknown option ---flag (did you mean --flag?)");
    check("--=x", "error: unknown option --");
    check("-z", "error: unknown option -z");
    cb_autofree char *longest = cb_malloc(5003);
    memset(longest, 'x', 5002);
    memcpy(longest, "--", 2);
    longest[5002] = '\0';
    struct parsed p;
    parse(&p, NULL, longest);
    assert_int_equal(p.r, -CB_EUSAGE);
    parsed_done(&p);
}

static void test_help(void **state)
{
    (void)state;
    check("--help", "help");
    check("-h", "help");
    check("a --help b", "help (a) (b)");
    check("--help=x", "error: --help takes no value");
}

/* ---- the verbs ---- */

static const struct cb_opt *named(const struct cb_opt *t, const char *name)
{
    for (; t->name; t++)
        if (!strcmp(t->name, name))
            return t;
    return NULL;
}

/* The first table of a verb that has the name. */
static const struct cb_opt *first_named(const struct cb_verb *v, const char *name)
{
    const struct cb_opt *o = named(v->options, name);
    for (const struct cb_opt_group *g = v->groups; !o && g && g->heading; g++)
        o = named(g->table, name);
    return o;
}

static void check_table(const struct cb_verb *v, const struct cb_opt *first, bool letters[256])
{
    for (const struct cb_opt *o = first; o->name; o++) {
        bool value = o->kind == CB_OPT_STRING || o->kind == CB_OPT_LIST || o->kind == CB_OPT_MAYBE;
        assert_ptr_equal(first_named(v, o->name), o);
        assert_true(strlen(o->name) > 1 && strcmp(o->name, "help"));
        if (o->kind != CB_OPT_NOTED && value != (o->arg != NULL))
            fail_msg("%s --%s: a value has a name, a flag has none", v->name, o->name);
        if (o->letter && letters[(unsigned char)o->letter])
            fail_msg("%s: -%c stands twice", v->name, o->letter);
        letters[(unsigned char)o->letter] = true;
    }
}

static void check_verb(const struct cb_verb *v)
{
    bool letters[256] = { false };
    assert_true(*v->summary && v->operands && v->run);
    check_table(v, v->options, letters);
    for (const struct cb_opt_group *g = v->groups; g && g->heading; g++)
        check_table(v, g->table, letters);
}

/* Names and letters stand once, values have a name, texts are there. */
static void test_tables(void **state)
{
    (void)state;
    size_t n = 0;
    for (const struct cb_verb *const *v = cb_verbs; *v; v++, n++) {
        assert_ptr_equal(cb_verb_find((*v)->name), *v);
        check_verb(*v);
    }
    check_verb(&cb_verb_executor);
    assert_null(cb_verb_find("executor"));
    assert_true(n >= 16);
    assert_null(cb_verb_find("bulid"));
    assert_null(cb_verb_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),   cmocka_unit_test(test_flags), cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_operands), cmocka_unit_test(test_maybe), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_help),     cmocka_unit_test(test_tables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
