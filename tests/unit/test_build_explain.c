/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing what steps were made from, without building: the store's text, files, and which step is which. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "build/explain.h"
#include "util/alloc.h"

static struct cb_step_inputs *add(struct cb_inputs *in, const char *stage, unsigned position, const char *text)
{
    CB_GROW(in->v, in->n, in->cap);
    struct cb_step_inputs *s = &in->v[in->n++];
    *s = (struct cb_step_inputs){ .kind = CB_VERTEX_RUN, .stage = cb_strdup(stage), .position = position,
                                  .platform = cb_strdup("linux/amd64"), .text = cb_strdup(text),
                                  .hashes = CB_STRBUF_INIT };
    cb_digest_of(&s->key, text, strlen(text));
    return s;
}

static void put(struct cb_step_inputs *s, const char *label, const char *value)
{
    cb_strvec_push(&s->labels, label);
    cb_strvec_push(&s->values, value);
}

static void put_file(struct cb_step_inputs *s, const char *path, const char *what)
{
    cb_strvec_push(&s->paths, path);
    cb_strvec_push(&s->whats, what);
    s->n_files++;
    for (const char *p = path; *p; p++)
        s->files_sum = s->files_sum * 31 + (unsigned char)*p;
    for (const char *p = what; *p; p++)
        s->files_sum = s->files_sum * 37 + (unsigned char)*p;
}

/* What is read is what was printed. */
static void round_trip(const struct cb_inputs *in, struct cb_inputs *out)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT, again cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_inputs_print(&text, in);
    assert_true(text.len <= CB_INPUTS_MAX);
    assert_true(cb_inputs_parse(out, text.buf, text.len));
    cb_inputs_print(&again, out);
    assert_string_equal(text.buf, again.buf);
}

static void test_text(void **state)
{
    (void)state;
    struct cb_inputs in cb_cleanup_inputs = { 0 }, out cb_cleanup_inputs = { 0 };
    struct cb_step_inputs *s = add(&in, "builder", 2, "RUN echo  two words");
    cb_digest_of(&in.goal, "x", 1);
    put(s, "ENV A", "with = and  blanks ");
    put(s, "ENV B", "");
    cb_strvec_push(&s->causes, "base");
    cb_strvec_push(&s->cause_keys, "ab");
    put_file(s, "dir/a file", "f644 0123456789ab 0");
    add(&in, "", 0, "");
    round_trip(&in, &out);
    assert_int_equal(out.n, 2);
    assert_true(cb_digest_eq(&out.goal, &in.goal) && cb_digest_eq(&out.v[0].key, &in.v[0].key));
    assert_string_equal(out.v[0].text, "RUN echo  two words");
    assert_string_equal(out.v[0].stage, "builder");
    assert_string_equal(out.v[0].values.v[0], "with = and  blanks ");
    assert_string_equal(out.v[0].values.v[1], "");
    assert_string_equal(out.v[0].paths.v[0], "dir/a file");
    assert_string_equal(out.v[1].stage, "");
}

/* Whatever byte is another, or missing: nothing is read. */
static void test_torn(void **state)
{
    (void)state;
    struct cb_inputs in cb_cleanup_inputs = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    put(add(&in, "0", 1, "RUN a"), "command", "a");
    cb_inputs_print(&text, &in);
    for (size_t i = 0; i < text.len; i++) {
        struct cb_inputs out cb_cleanup_inputs = { 0 };
        text.buf[i] ^= 1;
        assert_false(cb_inputs_parse(&out, text.buf, text.len));
        text.buf[i] ^= 1;
        assert_false(cb_inputs_parse(&out, text.buf, i));
    }
}

/* With a sum that holds, too: what is no such text is refused, and nothing is read past it. */
static void test_nonsense(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "in a\tb\n", "step\n", "step 1\n", "step 99 1 p s\n", "step 1 x p s\n", "step 1 1 p s\nkey 12\n", "goal 12\n",
        "step 1 1 p s\nin no tab\n", "step 1 1 p s\nfile f\tpath\n", "step 1 1 p s\nfiles 2 ab\nhashes 1234\n",
        "step 1 1 p s\nfiles x ab\n", "step 1 1 p s\nfiles 1 xy\n", "unknown\n", "step 1 1 p s\nunknown\n", "\n",
    };
    for (size_t i = 0; i < CB_COUNTOF(bodies); i++) {
        struct cb_inputs out cb_cleanup_inputs = { 0 };
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_digest sum;
        char hex[CB_DIGEST_TEXT_MAX];
        cb_strbuf_addf(&text, "cbpush-inputs 1\n%s", bodies[i]);
        cb_digest_of(&sum, text.buf, text.len);
        cb_strbuf_addf(&text, "sum %s\n", cb_digest_hex(&sum, hex));
        if (cb_inputs_parse(&out, text.buf, text.len))
            fail_msg("read: %s", bodies[i]);
    }
}

static void test_goal(void **state)
{
    (void)state;
    struct cb_inputs in cb_cleanup_inputs = { 0 };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest other;
    cb_digest_of(&in.goal, "x", 1);
    cb_digest_of(&other, "y", 1);
    cb_inputs_print(&text, &in);
    assert_true(text.len > CB_INPUTS_HEAD);
    assert_true(cb_inputs_text_is_of(text.buf, CB_INPUTS_HEAD, &in.goal));
    assert_false(cb_inputs_text_is_of(text.buf, CB_INPUTS_HEAD, &other));
    assert_false(cb_inputs_text_is_of(text.buf, 20, &in.goal));
}

struct files_case {
    const char *old[4], *now[4]; /* "path what" */
    const char *text;            /* NULL: nothing differs */
};

static void fill(struct cb_step_inputs *s, const char *const v[4])
{
    for (size_t i = 0; i < 4 && v[i]; i++) {
        const char *blank = strchr(v[i], ' ');
        cb_autofree char *path = cb_strndup(v[i], (size_t)(blank - v[i]));
        put_file(s, path, blank + 1);
    }
}

static void test_files(void **state)
{
    (void)state;
    static const struct files_case cases[] = {
        { { "a f644 aa 0" }, { "a f644 aa 0" }, NULL },
        { { NULL }, { NULL }, NULL },
        { { "a f644 aa 0", "b f644 bb 0" }, { "a f644 aa 0", "b f644 cc 0" }, "b changed (sha256:bb… → sha256:cc…)" },
        { { "a f644 aa 0" }, { "a f755 aa 0" }, "a has mode 755, and had 644" },
        { { "a f644 aa 0" }, { "a d755 - 0" }, "a is of another type" },
        { { "a s777 aa 0" }, { "a s777 bb 0" }, "a leads elsewhere" },
        { { "a f644 aa 0" }, { "a f644 aa 5" }, "a has another owner or other attributes" },
        { { "a f644 aa 0" }, { "a f644 aa 0", "b f644 bb 0" }, "b is new" },
        { { NULL }, { "a f644 aa 0" }, "a is new" },
        { { "a f644 aa 0", "b f644 bb 0" }, { "b f644 bb 0" }, "a was removed" },
        { { "a f644 aa 0" }, { NULL }, "a was removed" },
        { { "a f644 aa 0", "b f644 bb 0", "c f644 cc 0" }, { "b f644 xx 0", "c f644 yy 0" },
          "b changed (sha256:bb… → sha256:xx…), and 2 more files differ" },
        { { "a f644 aa 0", "b f644 bb 0" }, { "b f644 bb 0", "a f644 aa 0" }, "its files are taken in another order" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_inputs old cb_cleanup_inputs = { 0 }, now cb_cleanup_inputs = { 0 };
        struct cb_files_change c CB_CLEANUP(cb_files_change_done) = CB_FILES_CHANGE_INIT;
        fill(add(&old, "0", 1, "COPY"), cases[i].old);
        fill(add(&now, "0", 1, "COPY"), cases[i].now);
        assert_int_equal(cb_files_differ(&old.v[0], &now.v[0], &c), cases[i].text != NULL);
        assert_string_equal(c.text.buf, cases[i].text ? cases[i].text : "");
    }
}

static void many(struct cb_step_inputs *s, size_t n, size_t changed)
{
    for (size_t i = 0; i < n; i++) {
        char path[32];
        snprintf(path, sizeof path, "dir/%zu", i);
        put_file(s, path, i == changed ? "f644 bb 0" : "f644 aa 0");
    }
}

/* Thousands are kept as hashes: the path is that of now. More than there is room for are only known to differ. */
static void test_many_files(void **state)
{
    (void)state;
    static const struct { size_t n, changed; const char *text; } cases[] = {
        { 5000, 4321, "dir/4321 changed" },
        { 100000, 99999, "dir/99999 changed" },
        { 300000, 5, "something among its files changed: there were 300000, too many to keep a list of them" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_inputs in cb_cleanup_inputs = { 0 }, old cb_cleanup_inputs = { 0 }, now cb_cleanup_inputs = { 0 };
        struct cb_files_change c CB_CLEANUP(cb_files_change_done) = CB_FILES_CHANGE_INIT;
        many(add(&in, "0", 1, "COPY"), cases[i].n, SIZE_MAX);
        many(add(&now, "0", 1, "COPY"), cases[i].n, cases[i].changed);
        round_trip(&in, &old);
        assert_int_equal(old.v[0].paths.n, 0);
        assert_true(cb_files_differ(&old.v[0], &now.v[0], &c));
        assert_string_equal(c.text.buf, cases[i].text);
    }
}

static struct cb_selection *selection(struct cb_selection *sel, const char *const names[], size_t n)
{
    struct cb_match *m = cb_selection_add(sel, "dir", true, false);
    for (size_t i = 0; i < n; i++) {
        struct cb_entry e = { .type = CB_ENTRY_FILE, .mode = 0600 + i % 8, .size = i };
        cb_sum_of(&e.digest, &i, sizeof i);
        struct cb_item *it = cb_match_add(m, names[i], &e);
        it->on_the_way = i % 1000 == 999;
    }
    return sel;
}

/* Noting the files of a step early, to free what it knows of them, leaves the same text. */
static void test_noted(void **state)
{
    (void)state;
    static const size_t counts[] = { 0, 3, CB_INPUTS_NAMED, CB_INPUTS_NAMED + 4, CB_INPUTS_NAMED + 5, 20000, 140000 };
    const char **names = cb_calloc(140000, sizeof *names);
    for (size_t i = 0; i < 140000; i++)
        names[i] = cb_asprintf(i % 100 ? "dir/%zu" : "dir/\n%zu", i);
    for (size_t i = 0; i < CB_COUNTOF(counts); i++) {
        struct cb_inputs plain cb_cleanup_inputs = { 0 }, noted cb_cleanup_inputs = { 0 };
        struct cb_strbuf want cb_cleanup_strbuf = CB_STRBUF_INIT, got cb_cleanup_strbuf = CB_STRBUF_INIT;
        struct cb_selection sel = { 0 };
        struct cb_noted_files n = { .hashes = CB_STRBUF_INIT };
        cb_inputs_add_files(add(&plain, "0", 1, "COPY"), selection(&sel, names, counts[i]));
        cb_inputs_note(&n, &sel);
        assert_int_equal(sel.n == 0, counts[i] > CB_INPUTS_NAMED + 4); /* which are on the way */
        struct cb_step_inputs *s = add(&noted, "0", 1, "COPY");
        if (sel.n)
            cb_inputs_add_files(s, &sel);
        else
            cb_inputs_add_noted(s, &n);
        cb_inputs_print(&want, &plain);
        cb_inputs_print(&got, &noted);
        assert_string_equal(got.buf, want.buf);
        cb_strbuf_done(&n.hashes);
        cb_selection_done(&sel);
    }
    for (size_t i = 0; i < 140000; i++)
        free((void *)(uintptr_t)names[i]);
    free(names);
}

/* However much there is, the text stays within its bound, and what is in it can be read. */
static void test_bound(void **state)
{
    (void)state;
    struct cb_inputs in cb_cleanup_inputs = { 0 }, out cb_cleanup_inputs = { 0 };
    cb_autofree char *value = cb_malloc(2001);
    memset(value, 'v', 2000);
    value[2000] = '\0';
    for (unsigned i = 0; i < 3000; i++)
        put(add(&in, "0", i, "RUN"), "ENV A", value);
    round_trip(&in, &out);
    assert_in_range(out.n, 1000, 2999);
}

static void check_match(const struct cb_inputs *old, const struct cb_inputs *now, const size_t *want)
{
    cb_autofree size_t *match = cb_inputs_match(old, now);
    for (size_t i = 0; i < now->n; i++)
        assert_int_equal(match[i], want[i]);
}

static void test_match(void **state)
{
    (void)state;
    struct cb_inputs old cb_cleanup_inputs = { 0 }, now cb_cleanup_inputs = { 0 };
    add(&old, "b", 1, "RUN one");
    add(&old, "b", 2, "RUN make");
    add(&old, "b", 3, "RUN make");
    add(&old, "b", 4, "RUN four");
    /* One in front, one changed in its place, two alike, one in another stage. */
    add(&now, "b", 1, "RUN new");
    add(&now, "b", 2, "RUN one");
    add(&now, "b", 3, "RUN make");
    add(&now, "b", 4, "RUN make");
    add(&now, "c", 1, "RUN four");
    check_match(&old, &now, (const size_t[]){ SIZE_MAX, 0, 2, 1, 3 });
    struct cb_inputs changed cb_cleanup_inputs = { 0 }, empty cb_cleanup_inputs = { 0 };
    add(&changed, "b", 1, "RUN one!");
    add(&changed, "b", 2, "RUN make")->kind = CB_VERTEX_COPY;
    check_match(&old, &changed, (const size_t[]){ 0, SIZE_MAX });
    check_match(&empty, &changed, (const size_t[]){ SIZE_MAX, SIZE_MAX });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_torn),
        cmocka_unit_test(test_nonsense),
        cmocka_unit_test(test_goal),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_many_files),
        cmocka_unit_test(test_noted), cmocka_unit_test(test_bound),
        cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
