/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of tags and repositories that go on by Link, from registries that lead astray. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_registry.h"
#include "util/limits.h"

/* ---- Link ---- */

static void test_link(void **state CB_UNUSED)
{
    static const struct {
        const char *value, *next;
    } cases[] = {
        { "</v2/a/tags/list?n=2&last=b>; rel=\"next\"", "/v2/a/tags/list?n=2&last=b" },
        { "</x>; rel=next", "/x" },
        { "  <?last=z>;rel=\"next\"", "?last=z" },
        { "</p>; rel=\"prev\", </n>; rel=\"next\"", "/n" },
        { "</p>; title=\"a, <b>; rel=next\"; rel=prev, </n>; REL=\"NEXT\"", "/n" },
        { "</x>; rel=\"last next\"; type=\"a\\\"b\"", "/x" },
        { "</x>; rel=\"nextish\"", NULL },
        { "</x>; rel=prev; rel=next", NULL }, /* RFC 8288: the first one counts */
        { "</x>", NULL },
        { "</x; rel=next", NULL },
        { "/x; rel=next", NULL },
        { "</x>; rel=\"next", "/x" },
        { "", NULL },
        { ",", NULL },
        { "</a>, </b>;, </c>;;;=;rel=next", "/c" },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        cb_autofree char *next = reg_link_next(cases[i].value);
        if (!cb_streq(next, cases[i].next))
            fail_msg("%s: %s", cases[i].value, next ? next : "NULL");
    }
}

/* ---- a list in pages ---- */

enum way { RELATIVE, ABSOLUTE, QUERY_ONLY, ELSEWHERE, CIRCLE };

struct shelf {
    unsigned count;       /* of tags "t00000" … */
    unsigned cap;         /* a page has no more; 0: what n= says */
    enum way way;
    const char *other;    /* host */
    bool picky;           /* 400 to n= */
    unsigned break_page;  /* that many answers break off */
    const char *whole;    /* body instead */
};

static void add_body(struct cb_strbuf *out, const char *key, unsigned from, unsigned to)
{
    cb_strbuf_addf(out, "{\"name\":\"a/b\",\"%s\":[", key);
    for (unsigned i = from; i < to; i++)
        cb_strbuf_addf(out, "%s\"t%05u\"", i > from ? "," : "", i);
    cb_strbuf_adds(out, "]}");
}

static char *link_line(const struct fake *f, const struct shelf *s, unsigned n, unsigned to)
{
    cb_autofree char *query = cb_asprintf("?n=%u&last=t%05u", n, to - 1);
    const char *path = "/v2/a/b/tags/list";
    switch (s->way) {
    case ABSOLUTE:
        return cb_asprintf("Link: <http://%s%s%s>; rel=\"next\"\r\n", f->host, path, query);
    case QUERY_ONLY:
        return cb_asprintf("Link: <%s>; rel=\"next\"\r\n", query);
    case ELSEWHERE:
        return cb_asprintf("Link: <http://%s%s%s>; rel=\"next\"\r\n", s->other, path, query);
    case CIRCLE:
        return cb_asprintf("Link: <%s?n=3&last=t%05u>; rel=\"next\"\r\n", path, to % 9 + 2);
    default:
        return cb_asprintf("Link: <%s%s>; rel=\"next\"\r\n", path, query);
    }
}

static bool send_page(struct fake *f, const struct shelf *s, struct server_request *r)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *n_text = fake_param(r->path, "n"), *last = fake_param(r->path, "last");
    unsigned n = n_text ? (unsigned)strtoul(n_text, NULL, 10) : 50;
    unsigned from = last ? (unsigned)strtoul(last + 1, NULL, 10) + 1 : 0;
    n = s->cap ? CB_MIN(n, s->cap) : n;
    unsigned to = CB_MIN(from + n, s->count);
    bool more = to < s->count || s->way == CIRCLE;
    cb_autofree char *line = more ? link_line(f, s, n, to) : cb_strdup("");
    add_body(&body, "tags", from, to);
    return server_reply(r, 200, line, body.buf);
}

static bool serve_shelf(struct fake *f, struct server_request *r, bool *keep)
{
    const struct shelf *s = f->arg;
    if (!strstr(r->path, "/tags/list"))
        return false;
    if (s->whole)
        *keep = server_reply(r, 200, "", s->whole);
    else if (s->picky && strstr(r->path, "n="))
        *keep = fake_error(r, 400, "PAGINATION_NUMBER_INVALID");
    else if (atomic_load(&f->hits) < s->break_page) {
        atomic_fetch_add(&f->hits, 1);
        server_puts(r, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"tags\":[");
        *keep = false;
    } else
        *keep = send_page(f, s, r);
    return true;
}

static int list(struct client *c, const struct cb_list_options *o, struct cb_strvec *out, struct cb_error *e)
{
    return cb_registry_tags(c->r, c->one.host, "a/b", o, out, e);
}

static void open_shelf(struct client *c, struct shelf *s)
{
    c->one.hook = serve_shelf;
    c->one.arg = s;
    if (!c->r)
        client_open(c, NULL, NULL);
}

static void expect_names(const struct cb_strvec *v, unsigned from, unsigned to)
{
    assert_int_equal(v->n, to - from);
    for (unsigned i = from; i < to; i++) {
        cb_autofree char *want = cb_asprintf("t%05u", i);
        assert_string_equal(v->v[i - from], want);
    }
}

static void test_pages(void **state)
{
    struct client *c = *state;
    static const enum way ways[] = { RELATIVE, ABSOLUTE, QUERY_ONLY };
    for (size_t i = 0; i < CB_COUNTOF(ways); i++) {
        struct shelf s = { .count = 2500, .way = ways[i] };
        struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
        struct cb_list_options o = { 0 };
        open_shelf(c, &s);
        unsigned before = fake_count(&c->one, "/tags/list");
        assert_int_equal(list(c, &o, &out, NULL), 0);
        expect_names(&out, 0, 2500);
        assert_int_equal(fake_count(&c->one, "/tags/list") - before, 3);
    }
    assert_true(server_saw(c->one.server, "GET /v2/a/b/tags/list?n=1000 HTTP"));
}

static void test_window(void **state)
{
    struct client *c = *state;
    struct shelf s = { .count = 2500 };
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { .page = 100, .last = "t00009", .max = 250 };
    open_shelf(c, &s);
    assert_int_equal(list(c, &o, &out, NULL), 0);
    expect_names(&out, 10, 260);
    assert_int_equal(fake_count(&c->one, "/tags/list"), 3);
    cb_strvec_done(&out);
    o = (struct cb_list_options){ .max = 7 };
    assert_int_equal(list(c, &o, &out, NULL), 0);
    expect_names(&out, 0, 7);
    assert_true(server_saw(c->one.server, "tags/list?n=7 HTTP"));
}

/* Distribution 2 lists all tags in no order, whatever n= and last= say. */
static void test_window_of_a_whole_list(void **state)
{
    struct client *c = *state;
    struct shelf s = { .whole = "{\"name\":\"a/b\",\"tags\":[\"z\",\"a\",\"m\",\"c\",\"x\"]}" };
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { .last = "c" };
    open_shelf(c, &s);
    assert_int_equal(list(c, &o, &out, NULL), 0);
    assert_int_equal(out.n, 3);
    assert_string_equal(out.v[0], "z");
    assert_string_equal(out.v[1], "m");
    assert_string_equal(out.v[2], "x");
    cb_strvec_done(&out);
    o = (struct cb_list_options){ .last = "c", .max = 1 };
    assert_int_equal(list(c, &o, &out, NULL), 0);
    assert_int_equal(out.n, 1);
}

static int count_to(void *arg, const char *name CB_UNUSED, struct cb_error *err)
{
    unsigned *left = arg;
    return (*left)-- ? 0 : cb_error_set(err, CB_ELOCAL, "standard output is full");
}

static void test_each(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct shelf s = { .count = 3000 };
    unsigned left = 3000;
    struct cb_list_options o = { .each = count_to, .arg = &left };
    open_shelf(c, &s);
    assert_int_equal(list(c, &o, NULL, NULL), 0);
    assert_int_equal(left, 0);
    left = 1500;
    unsigned before = fake_count(&c->one, "/tags/list");
    assert_int_equal(list(c, &o, NULL, &e), -CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&e), "standard output is full"));
    assert_int_equal(fake_count(&c->one, "/tags/list") - before, 2); /* the third page is never asked for */
}

/* D6: the attacker gets no request, let alone a credential. */
static void test_elsewhere(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct shelf s = { .count = 20, .cap = 10, .way = ELSEWHERE, .other = c->two.host };
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { 0 };
    open_shelf(c, &s);
    assert_int_equal(list(c, &o, &out, &e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&e), "not the registry that was asked"));
    assert_int_equal(atomic_load(&c->two.server->requests), 0);
}

static void test_circle(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct shelf s = { .count = 100, .cap = 3, .way = CIRCLE };
    unsigned left = 10000;
    struct cb_list_options o = { .each = count_to, .arg = &left };
    open_shelf(c, &s);
    assert_int_equal(list(c, &o, NULL, &e), -CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&e), "circle"));
    assert_true(fake_count(&c->one, "/tags/list") < 40);
}

/* A walk that has come far gets no further page. */
static void test_endless(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct shelf s = { .count = 100, .cap = 3 };
    CB_CLEANUP(reg_pages_done) struct reg_pages pages = { .n = CB_MAX_PAGES - 2 };
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint ep = { 0 };
    CB_CLEANUP(reg_answer_done) struct reg_answer page = { .body = CB_STRBUF_INIT };
    struct reg_request q = { .method = "GET", .path = "a/b/tags/list" };
    open_shelf(c, &s);
    assert_int_equal(reg_endpoint_location(c->r, c->one.host, "a/b", &ep, NULL), 0);
    assert_int_equal(reg_get(c->r, &ep, &q, &page, NULL), 0);
    assert_int_equal(reg_pages_next(&pages, page.reply, NULL), 0);
    assert_non_null(pages.url);
    assert_int_equal(reg_pages_next(&pages, page.reply, &e), -CB_EVERIFY);
    assert_null(pages.url);
    assert_non_null(strstr(cb_error_text(&e), "pages"));
}

/* It wants fewer at once than we ask for: then as many as it likes. What the user asked for is not changed. */
static void test_picky(void **state)
{
    struct client *c = *state;
    struct shelf s = { .count = 40, .picky = true };
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { 0 };
    open_shelf(c, &s);
    assert_int_equal(list(c, &o, &out, NULL), 0);
    expect_names(&out, 0, 40);
    assert_int_equal(fake_count(&c->one, "/tags/list"), 2);
    o.page = 5000;
    assert_int_equal(list(c, &o, &out, NULL), -CB_ENET);
}

static void test_broken_page(void **state)
{
    struct client *c = *state;
    struct shelf s = { .count = 40, .break_page = 2 };
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { 0 };
    open_shelf(c, &s);
    assert_int_equal(list(c, &o, &out, NULL), 0);
    expect_names(&out, 0, 40);
}

static void test_bodies(void **state)
{
    struct client *c = *state;
    static const struct {
        const char *body;
        int result;
    } cases[] = {
        { "{\"name\":\"a/b\",\"tags\":null}", 0 },
        { "{\"name\":\"a/b\",\"tags\":[]}", 0 },
        { "{\"name\":\"a/b\"}", 0 },
        { "{\"tags\":[\"ok\",\"\\u001b[31mred\"]}", -CB_EVERIFY },
        { "{\"tags\":[\"../../x\"]}", -CB_EVERIFY },
        { "{\"tags\":[7]}", -CB_EVERIFY },
        { "{\"tags\":\"a\"}", -CB_EVERIFY },
        { "[\"a\"]", -CB_EVERIFY },
        { "<html>no</html>", -CB_EVERIFY },
        { "", -CB_EVERIFY },
    };
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct shelf s = { .whole = cases[i].body };
        struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
        struct cb_list_options o = { 0 };
        open_shelf(c, &s);
        assert_int_equal(list(c, &o, &out, &e), cases[i].result);
        assert_null(strchr(cb_error_text(&e), '\033'));
        assert_true(out.n <= 1);
    }
}

static void test_unknown_repository(void **state)
{
    struct client *c = *state;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { 0 };
    client_open(c, NULL, NULL);
    assert_int_equal(list(c, &o, &out, &e), -CB_ENOTFOUND);
    assert_int_equal(cb_error_exit_code(&e), 4);
}

static bool serve_catalog(struct fake *f, struct server_request *r, bool *keep)
{
    if (!cb_starts_with(r->path, "/v2/_catalog") || !fake_may(f, r))
        return false;
    *keep = strstr(r->path, "last=") ? server_reply(r, 200, "", "{\"repositories\":[\"z/y/x\"]}")
                                     : server_reply(r, 200, "Link: </v2/_catalog?last=b&n=2>; rel=\"next\"\r\n",
                                                    "{\"repositories\":[\"a\",\"b\"]}");
    return true;
}

static void test_catalog(void **state)
{
    struct client *c = *state;
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { 0 };
    c->one.auth = "token";
    c->one.hook = serve_catalog;
    client_open(c, NULL, NULL);
    assert_int_equal(cb_registry_catalog(c->r, c->one.host, &o, &out, NULL), 0);
    assert_int_equal(out.n, 3);
    assert_string_equal(out.v[0], "a");
    assert_string_equal(out.v[2], "z/y/x");
    assert_true(server_saw(c->one.server, "GET /token?service=fake&scope=registry%3Acatalog%3A%2A HTTP"));
    assert_int_equal(fake_count(&c->one, "GET /token"), 1);
}

/* A mirror may lack tags: the location is asked, and the mirror is not. */
static void test_no_mirror(void **state)
{
    struct client *c = *state;
    struct shelf s = { .count = 5 };
    struct cb_strvec out cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_list_options o = { 0 };
    cb_autofree char *conf =
        cb_asprintf("[[registry]]\nprefix = \"example.com/x\"\nlocation = \"%s/a\"\ninsecure = true\n"
                    "[[registry.mirror]]\nlocation = \"%s/a\"\ninsecure = true\n",
                    c->one.host, c->two.host);
    c->one.hook = serve_shelf;
    c->one.arg = &s;
    client_open(c, conf, NULL);
    assert_int_equal(cb_registry_tags(c->r, "example.com", "x/b", &o, &out, NULL), 0);
    expect_names(&out, 0, 5);
    assert_int_equal(atomic_load(&c->two.server->requests), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_link), TEST(test_pages),       TEST(test_window),      TEST(test_each),
        TEST(test_window_of_a_whole_list),
        TEST(test_elsewhere),        TEST(test_circle),      TEST(test_endless),     TEST(test_picky),
        TEST(test_broken_page),      TEST(test_bodies),      TEST(test_catalog),     TEST(test_no_mirror),
        TEST(test_unknown_repository),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
