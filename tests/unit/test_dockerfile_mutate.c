/* SPDX-License-Identifier: Apache-2.0 */
/* The cases of the other tests with random damage, and what the fuzzer found: nothing may crash, leak or hang. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define CB_FUZZ_REPLAY 1
#include "dockerfile_cases.h"
#include "tests/fuzz/fuzz_expand.c"
#include "tests/fuzz/fuzz_heredoc.c"
#include "tests/fuzz/fuzz_ignore.c"
#include "tests/fuzz/fuzz_lint.c"
#include "tests/fuzz/fuzz_match.c"
#include "tests/fuzz/fuzz_mount.c"
#include "tests/fuzz/fuzz_parse.c"
#include "tests/fuzz/fuzz_pattern.c"
#include "tests/fuzz/fuzz_platform.c"
#include "tests/fuzz/fuzz_reference.c"
#include "fuzz_replay.h"

static const struct fuzz_target targets[] = {
    { "parse", fuzz_parse }, { "lint", fuzz_lint }, { "heredoc", fuzz_heredoc }, { "expand", fuzz_expand },
    { "mount", fuzz_mount }, { "ignore", fuzz_ignore }, { "pattern", fuzz_pattern }, { "match", fuzz_match },
    { "platform", fuzz_platform }, { "reference", fuzz_reference },
};

static uint64_t seed = 0x9e3779b97f4a7c15u;

static size_t pick(size_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return below ? (size_t)(seed % below) : 0;
}

struct corpus {
    struct cb_strbuf *v;
    size_t n, cap;
};

static void collect(const struct test_case *c, void *arg)
{
    struct corpus *k = arg;
    CB_GROW(k->v, k->n, k->cap);
    k->v[k->n] = (struct cb_strbuf)CB_STRBUF_INIT;
    cb_strbuf_add(&k->v[k->n++], c->input, c->input_len);
}

static void damage(struct cb_strbuf *s, const struct corpus *k)
{
    static const char liked[] = "\\`\n\r\t #$[]{}<>\"'=,-:!*?/@\xc3\x80" "1A";
    size_t at = pick(s->len), n = 1 + pick(8);
    at = CB_MIN(at, s->len);
    switch (pick(5)) {
    case 0:
        if (at < s->len)
            s->buf[at] = (char)pick(256);
        break;
    case 1:
        if (at < s->len)
            s->buf[at] = liked[pick(sizeof liked - 1)];
        break;
    case 2: /* cut a piece out */
        n = CB_MIN(n, s->len - at);
        memmove(s->buf + at, s->buf + at + n, s->len - at - n);
        cb_strbuf_setlen(s, s->len - n);
        break;
    case 3: { /* repeat a piece at the end */
        cb_autofree char *piece = cb_memdup(s->buf + at, s->len - at + 1);
        cb_strbuf_add(s, piece, CB_MIN(n * 4, s->len - at));
        break;
    }
    default: { /* go on as another case */
        const struct cb_strbuf *o = &k->v[pick(k->n)];
        size_t from = pick(o->len);
        cb_strbuf_setlen(s, at);
        if (from < o->len)
            cb_strbuf_add(s, o->buf + from, o->len - from);
        break;
    }
    }
}

static void test_mutations(void **state)
{
    (void)state;
    struct corpus k = { 0 };
    each_case("dockerfile/parse", collect, &k);
    assert_true(k.n > 100);
    for (int i = 0; i < 30000; i++) {
        cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
        const struct cb_strbuf *from = &k.v[pick(k.n)];
        cb_strbuf_add(&s, from->buf, from->len);
        for (size_t n = 1 + pick(6); n > 0; n--)
            damage(&s, &k);
        /* Mostly Dockerfiles, sometimes the same bytes as something else. */
        fuzz_run(&targets[pick(4) ? pick(2) : pick(CB_COUNTOF(targets))], &s);
    }
    for (size_t i = 0; i < k.n; i++)
        cb_strbuf_done(&k.v[i]);
    free(k.v);
}

static void test_replay(void **state)
{
    (void)state;
    for (size_t i = 0; i < CB_COUNTOF(targets); i++)
        assert_true(fuzz_replay(&targets[i]) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_mutations), cmocka_unit_test(test_replay) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
