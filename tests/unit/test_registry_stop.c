/* SPDX-License-Identifier: Apache-2.0 */
/* A push is given up while the registry, or its token server, says nothing. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "push_support.h"

/* What is asked so is never answered; the hits are counted. */
struct silence {
    const char *method, *path;
    unsigned after; /* from this one on, of those that fit */
};

static bool falls_silent(struct fake *f, struct server_request *r, bool *keep)
{
    const struct silence *s = f->arg;
    char buf[4096];
    if (strcmp(r->method, s->method) != 0 || !strstr(r->path, s->path))
        return false;
    if (atomic_fetch_add(&f->hits, 1) < s->after)
        return false;
    while (server_recv(r, buf, sizeof buf))
        ;
    *keep = false;
    return true;
}

static void await_hits(struct fake *f, unsigned n)
{
    while (atomic_load(&f->hits) < n)
        usleep(1000);
}

static void test_blobs(void **state)
{
    static const struct { struct silence s; bool fresh, mounts, copies; } rows[] = {
        { { "POST", "/uploads/", 0 }, true, false, false },          /* http or https? */
        { { "HEAD", "/a/b/blobs/", 0 }, false, false, false },
        { { "GET", "/a/b/tags/", 0 }, false, false, false },         /* whether anything is there */
        { { "POST", "mount=", 0 }, false, true, false },
        { { "POST", "/uploads/", 0 }, true, false, false },
        { { "PUT", "/session/", 0 }, true, false, false },
        { { "GET", "/c/d/blobs/", 0 }, false, false, true },         /* the source of a copy */
    };
    struct client *c = *state;
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct ours o CB_CLEANUP(ours_done) = { 0 };
        struct silence s = rows[i].s;
        const char *host = rows[i].copies ? c->two.host : c->one.host, *repo = "c/d";
        struct fake *who = rows[i].copies ? &c->two : &c->one;
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        ours_make(&o, 2u << 20, (char)('a' + i));
        atomic_store(&who->hits, 0);
        who->arg = &s;
        who->hook = falls_silent;
        CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
        if (strstr(s.path, "/tags/"))
            cb_push_survey(p);
        struct cb_push_blob b = { .desc = o.d, .open = rows[i].copies ? NULL : ours_open, .arg = &o,
                                  .fresh = rows[i].fresh,
                                  .origin_hosts = &host, .origin_repos = &repo,
                                  .n_origins = rows[i].mounts || rows[i].copies };
        assert_int_equal(cb_push_add(p, &b, NULL), 0);
        await_hits(who, 1);
        cb_push_stop(p);
        assert_int_equal(cb_push_wait(p, &e), -CB_ECANCELED);
        cb_push_free(CB_TAKE(p));
        who->hook = NULL;
    }
}

struct asking {
    struct cb_push *p;
    size_t what;
    int code;
};

static void *ask_something(void *arg)
{
    struct asking *a = arg;
    CB_CLEANUP(cb_tag_state_done) struct cb_tag_state state = { 0 };
    struct cb_descriptor m cb_cleanup_descriptor = { 0 };
    cb_descriptor_of(&m, CB_MT_OCI_MANIFEST, "{}", 2);
    a->code = a->what == 0   ? cb_push_check(a->p, NULL)
              : a->what == 1 ? cb_push_tag_state(a->p, "1", &state, NULL)
                             : cb_push_manifest_blind(a->p, &m, CB_SLICE("{}"), NULL, NULL);
    return NULL;
}

/* The right to push, a tag, a manifest; what is begun afterwards ends at once. */
static void test_requests(void **state)
{
    static const struct silence rows[] = {
        { "POST", "/uploads/", 0 }, { "HEAD", "/manifests/1", 0 }, { "PUT", "/manifests/", 0 },
    };
    struct client *c = *state;
    client_open(c, NULL, NULL);
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct silence s = rows[i];
        pthread_t t;
        c->one.arg = &s;
        c->one.hook = falls_silent;
        atomic_store(&c->one.hits, 0);
        CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
        struct asking a = { p, i, 1 };
        assert_int_equal(pthread_create(&t, NULL, ask_something, &a), 0);
        await_hits(&c->one, 1);
        cb_push_stop(p);
        pthread_join(t, NULL);
        assert_int_equal(a.code, -CB_ECANCELED);
        unsigned before = atomic_load(&c->one.server->requests);
        assert_int_equal(cb_push_check(p, NULL), -CB_ECANCELED);
        assert_int_equal(atomic_load(&c->one.server->requests), before);
        cb_push_free(CB_TAKE(p));
        c->one.hook = NULL;
    }
}

/* An upload that is open is canceled over there; where that is not answered, nobody waits for it for long. */
static void test_last_words(void **state)
{
    struct client *c = *state;
    client_open(c, NULL, NULL);
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    assert_int_equal(cb_push_check(p, NULL), 0);
    cb_push_stop(p);
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "DELETE "), 1);

    struct silence s = { "DELETE", "/session/", 0 };
    p = begin(c, "a/b", 0);
    assert_int_equal(cb_push_check(p, NULL), 0);
    c->one.arg = &s;
    c->one.hook = falls_silent;
    cb_push_stop(p);
    cb_push_free(CB_TAKE(p));
    assert_int_equal(atomic_load(&c->one.hits), 1);
}

/* So is an upload that was given up in its middle. */
static void test_open_upload(void **state)
{
    struct client *c = *state;
    struct ours o CB_CLEANUP(ours_done) = { 0 };
    struct silence s = { "PUT", "/session/", 0 };
    client_open(c, NULL, NULL);
    ours_make(&o, 2u << 20, 'u');
    c->one.arg = &s;
    c->one.hook = falls_silent;
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    struct cb_push_blob b = { .desc = o.d, .open = ours_open, .arg = &o, .fresh = true };
    assert_int_equal(cb_push_add(p, &b, NULL), 0);
    await_hits(&c->one, 1);
    cb_push_stop(p);
    cb_push_free(CB_TAKE(p));
    assert_int_equal(fake_count(&c->one, "DELETE "), 1);
}

/* One of two pushes to a host is given up while it finds out how to speak to it, which the other waits for. */
static void test_other_push(void **state)
{
    struct client *c = *state;
    struct silence s = { "GET", "/v2/", 0 };
    pthread_t t[2];
    client_open(c, NULL, NULL);
    c->one.arg = &s;
    c->one.hook = falls_silent;
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0), *q = NULL;
    struct cb_reference ref cb_cleanup_reference = { 0 };
    cb_autofree char *text = cb_asprintf("%s/other", c->one.host);
    assert_int_equal(cb_reference_parse(&ref, text, NULL), 0);
    assert_int_equal(cb_push_begin(c->r, &(struct cb_push_options){ .target = &ref }, &q, NULL), 0);
    struct asking a = { p, 2, 1 }, b = { q, 2, 1 };
    assert_int_equal(pthread_create(&t[0], NULL, ask_something, &a), 0);
    await_hits(&c->one, 1);
    assert_int_equal(pthread_create(&t[1], NULL, ask_something, &b), 0);
    while (!cb_turn_waiting(&((struct reg_host *)(uintptr_t)q->e.h)->probe))
        usleep(1000);
    /* Who waits goes as soon as who asks: whichever it is that is given up. */
    cb_push_stop(q);
    pthread_join(t[1], NULL);
    assert_int_equal(b.code, -CB_ECANCELED);
    cb_push_free(CB_TAKE(q));
    assert_int_equal(cb_push_begin(c->r, &(struct cb_push_options){ .target = &ref }, &q, NULL), 0);
    b = (struct asking){ q, 2, 1 };
    assert_int_equal(pthread_create(&t[1], NULL, ask_something, &b), 0);
    while (!cb_turn_waiting(&((struct reg_host *)(uintptr_t)q->e.h)->probe))
        usleep(1000);
    c->one.hook = NULL;
    cb_push_stop(p);
    pthread_join(t[0], NULL);
    assert_int_equal(a.code, -CB_ECANCELED);
    pthread_join(t[1], NULL);
    assert_int_equal(b.code, 0);
    cb_push_free(CB_TAKE(q));
}

/* Somebody waits for a token that another fetches. */
static bool waits_for_token(struct cb_auth *a)
{
    const char *key;
    void *v;
    bool waits = false;
    pthread_mutex_lock(&a->mu);
    for (size_t it = 0; cb_hashmap_next(a->entries, &it, &key, &v);)
        waits = waits || cb_turn_waiting(&((struct auth_entry *)v)->turn);
    pthread_mutex_unlock(&a->mu);
    return waits;
}

/* The token that several wait for: who is given up ends, who is not gets it. */
static bool token_is_slow(struct fake *f, struct server_request *r, bool *keep)
{
    char c;
    if (!cb_starts_with(r->path, "/token") || atomic_fetch_add(&f->hits, 1) > 0)
        return false;
    server_recv(r, &c, 1);
    *keep = false;
    return true;
}

static void test_token(void **state)
{
    struct client *c = *state;
    pthread_t t[2];
    client_open(c, NULL, NULL);
    c->one.auth = "token";
    c->one.hook = token_is_slow;
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0), *q = NULL;
    assert_int_equal(cb_push_begin(c->r, &p->o, &q, NULL), 0); /* the same scope, so the same token */
    struct asking a = { p, 0, 1 }, b = { q, 0, 1 };
    assert_int_equal(pthread_create(&t[0], NULL, ask_something, &a), 0);
    await_hits(&c->one, 1);
    assert_int_equal(pthread_create(&t[1], NULL, ask_something, &b), 0);
    while (!waits_for_token(c->r->o.auth))
        usleep(1000);
    cb_push_stop(p);
    pthread_join(t[0], NULL);
    assert_int_equal(a.code, -CB_ECANCELED);
    pthread_join(t[1], NULL);
    assert_int_equal(b.code, 0);
    assert_int_equal(atomic_load(&c->one.hits), 2);
    cb_push_free(CB_TAKE(q));
}

/* And the other way round: who only waits for it ends at once, who fetches it goes on. */
static void test_waits_for_token(void **state)
{
    struct client *c = *state;
    pthread_t t[2];
    client_open(c, NULL, NULL);
    c->one.auth = "token";
    c->one.hook = token_is_slow;
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0), *q = NULL;
    assert_int_equal(cb_push_begin(c->r, &p->o, &q, NULL), 0);
    struct asking a = { p, 0, 1 }, b = { q, 0, 1 };
    assert_int_equal(pthread_create(&t[0], NULL, ask_something, &a), 0);
    await_hits(&c->one, 1);
    assert_int_equal(pthread_create(&t[1], NULL, ask_something, &b), 0);
    while (!waits_for_token(c->r->o.auth))
        usleep(1000);
    cb_push_stop(q);
    pthread_join(t[1], NULL);
    assert_int_equal(b.code, -CB_ECANCELED);
    assert_int_equal(atomic_load(&c->one.hits), 1);
    assert_int_equal(a.code, 1);
    cb_push_stop(p);
    pthread_join(t[0], NULL);
    assert_int_equal(a.code, -CB_ECANCELED);
    cb_push_free(CB_TAKE(q));
}

/* For a moment after the end, what is said without blobs is still said; that it is answered does not count as hearing
 * of what is pushed. */
static void test_takes_back(void **state)
{
    struct client *c = *state;
    struct ours CB_CLEANUP(ours_done) o = { 0 };
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_descriptor m cb_cleanup_descriptor = { 0 };
    const char *body = "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":[]}";
    client_open(c, NULL, NULL);
    cb_descriptor_of(&m, CB_MT_OCI_INDEX, body, strlen(body));
    CB_AUTO(cb_push_free) struct cb_push *p = begin(c, "a/b", 0);
    assert_int_equal(cb_push_heard(p), 0);
    assert_int_equal(cb_push_manifest_blind(p, &m, CB_SLICE(body), "t", NULL), 0);
    assert_int_equal(cb_push_heard(p), 0);
    ours_make(&o, 10, 'o');
    struct cb_push_blob blob = { .desc = o.d, .open = ours_open, .arg = &o };
    assert_int_equal(cb_push_add(p, &blob, NULL), 0);
    assert_int_equal(cb_push_wait(p, NULL), 0);
    assert_true(cb_push_heard(p) > 0);
    cb_push_stop(p);
    assert_int_equal(cb_push_tag_get(p, "t", &f, NULL), 0);
    assert_int_equal(cb_push_manifest_blind(p, &m, CB_SLICE(body), "u", NULL), 0);
    assert_int_not_equal(cb_push_manifest_remove(p, &m.digest, NULL), -CB_ECANCELED); /* the fake one deletes nothing */
    assert_int_equal(fake_count(&c->one, "DELETE "), 1);

    struct silence s = { "GET", "/manifests/", 0 };
    c->one.arg = &s;
    c->one.hook = falls_silent;
    assert_int_equal(cb_push_tag_get(p, "t", &f, NULL), -CB_ECANCELED);
    c->one.hook = NULL;
}

struct fetching {
    struct cb_registry *r;
    const char *host;
    struct cb_descriptor desc;
    int code;
};

static void *fetch_something(void *arg)
{
    struct fetching *a = arg;
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_reference ref = { .host = (char *)(uintptr_t)a->host, .repo = (char *)(uintptr_t)"a/b",
                                .tag = (char *)(uintptr_t)"1" };
    bool blob = cb_digest_is_set(&a->desc.digest);
    a->code = blob ? cb_registry_blob(a->r, a->host, "a/b", &a->desc, &src, NULL)
                   : cb_registry_manifest(a->r, &ref, &f, NULL);
    if (a->code == 0 && blob)
        a->code = cb_blob_read_all(src, 1u << 20, &text, NULL);
    return NULL;
}

/* What is asked through a view ends with its token, and nothing else does: not the client, nor a push of the view. */
static void test_view(void **state)
{
    static const struct { struct silence s; uint64_t size; } rows[] = {
        { { "GET", "/v2/", 0 }, 0 }, { { "GET", "/manifests/1", 0 }, 0 }, { { "GET", "/blobs/", 0 }, 1000 },
        { { "GET", "/blobs/", 0 }, UINT64_C(100) << 20 },
    };
    struct client *c = *state;
    for (size_t i = 0; i < CB_COUNTOF(rows); i++) {
        struct silence s = rows[i].s;
        pthread_t t;
        client_close(c);
        client_open(c, NULL, NULL);
        CB_AUTO(cb_cancel_free) struct cb_cancel *end = cb_cancel_new(NULL);
        CB_AUTO(cb_registry_free) struct cb_registry *view = cb_registry_until(c->r, end);
        struct fetching a = { .r = view, .host = c->one.host, .desc.size = rows[i].size };
        if (rows[i].size)
            cb_digest_of(&a.desc.digest, "x", 1);
        a.desc.media_type = (char *)(uintptr_t)"";
        c->one.arg = &s;
        c->one.hook = falls_silent;
        atomic_store(&c->one.hits, 0);
        assert_int_equal(pthread_create(&t, NULL, fetch_something, &a), 0);
        await_hits(&c->one, 1);
        cb_cancel_trigger(end, 0);
        pthread_join(t, NULL);
        assert_int_equal(a.code, -CB_ECANCELED);
        c->one.hook = NULL;

        struct cb_reference to = { .host = c->one.host, .repo = (char *)(uintptr_t)"a/b" };
        CB_AUTO(cb_push_free) struct cb_push *p = NULL;
        assert_int_equal(cb_push_begin(view, &(struct cb_push_options){ .target = &to }, &p, NULL), 0);
        assert_int_equal(cb_push_check(p, NULL), 0);
        a.r = c->r;
        fetch_something(&a);
        assert_int_equal(a.code, -CB_ENOTFOUND);
        cb_push_free(CB_TAKE(p)); /* before what it names */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_blobs),      CLIENT_TEST(test_requests), CLIENT_TEST(test_last_words),
        CLIENT_TEST(test_open_upload), CLIENT_TEST(test_other_push), CLIENT_TEST(test_token),
        CLIENT_TEST(test_waits_for_token), CLIENT_TEST(test_takes_back), CLIENT_TEST(test_view),
    };
    alarm(240); /* for what is never given up */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
