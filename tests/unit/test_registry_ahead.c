/* SPDX-License-Identifier: Apache-2.0 */
/* Layers that are asked for beside the configuration of their image. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <unistd.h>

#include "fake_registry.h"

#define LAYERS 3u
#define PATIENCE 1000 /* of 10 ms */

struct image {
    struct cb_descriptor config, layer[LAYERS];
    char text[LAYERS][16];
    struct cb_reference ref;
};

static void image_done(struct image *m)
{
    cb_descriptor_done(&m->config);
    for (size_t i = 0; i < LAYERS; i++)
        cb_descriptor_done(&m->layer[i]);
    cb_reference_done(&m->ref);
}

static void image_put(struct fake *f, struct image *m)
{
    struct cb_strbuf config cb_cleanup_strbuf = CB_STRBUF_INIT, layers cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    *m = (struct image){ 0 };
    cb_strbuf_adds(&config, "{\"architecture\":\"amd64\",\"os\":\"linux\","
                            "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[");
    for (size_t i = 0; i < LAYERS; i++) {
        snprintf(m->text[i], sizeof m->text[i], "layer %zu", i);
        fake_put_blob(f, "a/b", m->text[i], strlen(m->text[i]), &m->layer[i]);
        cb_digest_text(&m->layer[i].digest, text);
        cb_strbuf_addf(&config, "%s\"%s\"", i ? "," : "", text);
        cb_strbuf_addf(&layers, "%s{\"mediaType\":\"" CB_MT_OCI_LAYER "\",\"digest\":\"%s\",\"size\":%zu}",
                       i ? "," : "", text, strlen(m->text[i]));
    }
    cb_strbuf_adds(&config, "]}}");
    fake_put_blob(f, "a/b", config.buf, config.len, &m->config);
    cb_autofree char *manifest =
        cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST
                    "\",\"config\":{\"mediaType\":\"" CB_MT_OCI_CONFIG
                    "\",\"digest\":\"%s\",\"size\":%zu},\"layers\":[%s]}",
                    cb_digest_text(&m->config.digest, text), config.len, layers.buf);
    fake_put_manifest(f, "a/b", "1", CB_MT_OCI_MANIFEST, manifest, NULL);
    cb_autofree char *name = cb_asprintf("%s/a/b:1", f->host);
    assert_int_equal(cb_reference_parse(&m->ref, name, NULL), 0);
}

/* How often that blob was asked for. */
static unsigned asked(struct fake *f, const struct cb_descriptor *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_autofree char *path = cb_asprintf("GET /v2/a/b/blobs/%s", cb_digest_text(&d->digest, text));
    return fake_count(f, path);
}

static unsigned layers_asked(struct fake *f, const struct image *m)
{
    unsigned n = 0;
    for (size_t i = 0; i < LAYERS; i++)
        n += asked(f, &m->layer[i]);
    return n;
}

/* ---- who is wanted ---- */

struct choice {
    struct image m;
    unsigned first, n; /* layers that are wanted */
    unsigned calls;
    bool together;     /* the configuration was not answered before all of them had been asked for */
};

static bool is_wanted(void *arg, const struct cb_descriptor *layer)
{
    struct choice *c = arg;
    unsigned i = c->calls++;
    assert_true(cb_digest_eq(&layer->digest, &c->m.layer[i].digest));
    return i >= c->first && i < c->first + c->n;
}

static bool is_config(const struct choice *c, const struct server_request *r)
{
    char text[CB_DIGEST_TEXT_MAX];
    return strstr(r->path, cb_digest_text(&c->m.config.digest, text)) != NULL;
}

/* The configuration waits for the layers: whoever asks for it first gets neither. */
static bool hold_config(struct fake *f, struct server_request *r, CB_UNUSED bool *keep)
{
    struct choice *c = f->arg;
    if (!is_config(c, r))
        return false;
    for (int i = 0; i < PATIENCE && layers_asked(f, &c->m) < c->n; i++)
        usleep(10000);
    c->together = layers_asked(f, &c->m) == c->n;
    return false;
}

static int resolve(struct client *c, struct choice *x, struct cb_resolved *out, struct cb_error *err)
{
    struct cb_platform p CB_CLEANUP(cb_platform_done) = { 0 };
    assert_int_equal(cb_platform_parse(&p, "linux/amd64", NULL), 0);
    struct cb_resolve_options o = { .platform = &p, .wanted = is_wanted, .wanted_arg = x };
    return cb_registry_resolve(c->r, &x->m.ref, &o, out, err);
}

static int read_blob(struct cb_registry *r, const struct image *m, size_t i, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    int s = cb_registry_blob(r, m->ref.host, m->ref.repo, &m->layer[i], &src, err);
    if (s == 0)
        s = cb_blob_read_all(src, 1 << 10, &got, err);
    if (s == 0)
        assert_string_equal(got.buf, m->text[i]);
    return s;
}

static void test_beside_the_configuration(void **state)
{
    struct client *c = *state;
    struct cb_resolved x cb_cleanup_resolved = { 0 };
    struct choice w = { .first = 1, .n = 2 };
    client_open(c, NULL, NULL);
    image_put(&c->one, &w.m);
    c->one.hook = hold_config;
    c->one.arg = &w;
    assert_int_equal(resolve(c, &w, &x, NULL), 0);
    assert_true(w.together);
    assert_int_equal(w.calls, LAYERS);
    assert_int_equal(asked(&c->one, &w.m.layer[0]), 0);
    /* Each is handed out once, and asked for again after that. */
    for (size_t i = 0; i < LAYERS; i++)
        assert_int_equal(read_blob(c->r, &w.m, i, NULL), 0);
    assert_int_equal(layers_asked(&c->one, &w.m), LAYERS);
    assert_int_equal(read_blob(c->r, &w.m, 1, NULL), 0);
    assert_int_equal(asked(&c->one, &w.m.layer[1]), 2);
    image_done(&w.m);
}

/* Also where the image has it twice. */
static void test_each_once(void **state)
{
    struct client *c = *state;
    struct choice w = { .n = 0 };
    client_open(c, NULL, NULL);
    image_put(&c->one, &w.m);
    struct reg_blob_place at = { .host = w.m.ref.host, .repo = w.m.ref.repo };
    reg_ahead_begin(c->r, &at, &w.m.layer[0]);
    reg_ahead_begin(c->r, &at, &w.m.layer[0]);
    assert_int_equal(read_blob(c->r, &w.m, 0, NULL), 0);
    reg_ahead_done(c->r);
    assert_int_equal(asked(&c->one, &w.m.layer[0]), 1);
    image_done(&w.m);
}

static bool on_shelf(void *arg, const struct cb_digest *d, struct cb_strbuf *out)
{
    const struct choice *c = arg;
    const char *body = "{\"architecture\":\"amd64\",\"os\":\"linux\"}";
    if (!cb_digest_eq(d, &c->m.config.digest))
        return false;
    cb_strbuf_adds(out, body);
    return true;
}

/* Of an image that was there before its layers may not be needed at all. */
static void test_not_of_what_is_known(void **state)
{
    struct client *c = *state;
    struct cb_resolved x cb_cleanup_resolved = { 0 };
    struct choice w = { .n = LAYERS };
    struct cb_platform p CB_CLEANUP(cb_platform_done) = { 0 };
    client_open(c, NULL, NULL);
    image_put(&c->one, &w.m);
    assert_int_equal(cb_platform_parse(&p, "linux/amd64", NULL), 0);
    struct cb_resolve_options o = { .platform = &p, .wanted = is_wanted, .wanted_arg = &w, .cached = on_shelf,
                                    .cached_arg = &w };
    assert_int_equal(cb_registry_resolve(c->r, &w.m.ref, &o, &x, NULL), 0);
    assert_int_equal(w.calls, 0);
    assert_int_equal(layers_asked(&c->one, &w.m), 0);
    image_done(&w.m);
}

/* ---- what goes wrong ---- */

static bool refuse_layers(struct fake *f, struct server_request *r, bool *keep)
{
    const struct choice *c = f->arg;
    if (!strstr(r->path, "/blobs/") || is_config(c, r))
        return false;
    unsigned hit = atomic_fetch_add(&f->hits, 1);
    if (hit == 0)
        *keep = server_reply(r, 429, "Retry-After: 0\r\n", "");
    else if (hit == 1)
        *keep = server_reply(r, 404, "", "{\"errors\":[{\"code\":\"BLOB_UNKNOWN\"}]}");
    return hit < 2;
}

/* It is asked once ahead. Who reads asks anew, where it may go better; the registry's last word is for the reader. */
static void test_failure_is_the_readers(void **state)
{
    struct client *c = *state;
    struct cb_resolved x cb_cleanup_resolved = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct choice w = { .n = 1 };
    client_open(c, NULL, NULL);
    image_put(&c->one, &w.m);
    c->one.hook = refuse_layers;
    c->one.arg = &w;
    assert_int_equal(resolve(c, &w, &x, NULL), 0);
    for (int i = 0; i < PATIENCE && !atomic_load(&c->one.hits); i++)
        usleep(10000);
    usleep(50000); /* nobody asks again by himself */
    assert_int_equal(atomic_load(&c->one.hits), 1);
    assert_int_equal(read_blob(c->r, &w.m, 0, &e), -CB_ENOTFOUND);
    assert_non_null(strstr(cb_error_text(&e), "BLOB_UNKNOWN"));
    assert_int_equal(read_blob(c->r, &w.m, 0, NULL), 0);
    image_done(&w.m);
}

static bool keep_layers(struct fake *f, struct server_request *r, bool *keep)
{
    const struct choice *c = f->arg;
    if (!strstr(r->path, "/blobs/") || is_config(c, r))
        return false;
    atomic_fetch_add(&f->hits, 1);
    char byte;
    *keep = false;
    while (server_recv(r, &byte, 1) > 0) /* nothing is said until the client has gone */
        ;
    atomic_fetch_sub(&f->hits, 1);
    return true;
}

/* Nobody waits for what nobody took: neither in a view nor in the client itself. */
static void test_given_up(void **state)
{
    struct client *c = *state;
    struct cb_resolved x cb_cleanup_resolved = { 0 };
    struct choice w = { .n = LAYERS };
    client_open(c, NULL, NULL);
    image_put(&c->one, &w.m);
    c->one.hook = keep_layers;
    c->one.arg = &w;
    struct cb_cancel *until = cb_cancel_new(c->cancel);
    struct cb_registry *client = c->r;
    for (int view = 0; view < 2; view++) {
        w.calls = 0;
        c->r = view ? cb_registry_until(client, until) : client;
        assert_int_equal(resolve(c, &w, &x, NULL), 0);
        cb_resolved_done(&x);
        for (int i = 0; i < PATIENCE && atomic_load(&c->one.hits) < LAYERS; i++)
            usleep(10000);
        assert_int_equal(atomic_load(&c->one.hits), LAYERS);
        if (view)
            cb_registry_free(c->r);
        else
            reg_ahead_done(c->r);
        for (int i = 0; i < PATIENCE && atomic_load(&c->one.hits); i++)
            usleep(10000);
        assert_int_equal(atomic_load(&c->one.hits), 0);
    }
    c->r = client;
    cb_cancel_free(until);
    image_done(&w.m);
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, client_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLIENT_TEST(test_beside_the_configuration),
        CLIENT_TEST(test_each_once),
        CLIENT_TEST(test_not_of_what_is_known),
        CLIENT_TEST(test_failure_is_the_readers),
        CLIENT_TEST(test_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
