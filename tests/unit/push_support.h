/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Blobs of ours, pushed to a registry of fake_registry.h. Behind cmocka.h. */

#include "fake_registry.h"
#include "oci/mediatype.h"

/* ---- a blob of ours ---- */

struct ours {
    struct cb_descriptor d;
    char *body;
    atomic_uint opened;
    int fail; /* opening it ends so */
};

static CB_UNUSED void ours_make(struct ours *o, size_t n, char seed)
{
    o->body = cb_malloc(n + 1);
    for (size_t i = 0; i < n; i++)
        o->body[i] = (char)('a' + (i * 7 + (i >> 9) + (size_t)seed) % 26);
    o->body[n] = '\0';
    cb_descriptor_of(&o->d, CB_MT_OCI_LAYER_GZIP, o->body, n);
}

static CB_UNUSED void ours_done(struct ours *o)
{
    cb_descriptor_done(&o->d);
    free(o->body);
}

static CB_UNUSED int ours_open(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err)
{
    struct ours *o = arg;
    atomic_fetch_add(&o->opened, 1);
    assert_true(cb_digest_eq(d, &o->d.digest));
    if (o->fail)
        return cb_error_set(err, (enum cb_code) - o->fail, "the disk is gone");
    *out = cb_blob_source_from_mem(o->body, o->d.size);
    return 0;
}

static CB_UNUSED struct cb_push *begin(struct client *c, const char *rest, unsigned jobs)
{
    static struct cb_reference ref; /* lives as long as its push */
    struct cb_push *p = NULL;
    cb_autofree char *text = cb_asprintf("%s/%s", c->one.host, rest);
    cb_reference_done(&ref);
    if (!*rest)
        return NULL;
    assert_int_equal(cb_reference_parse(&ref, text, NULL), 0);
    struct cb_push_options o = { .target = &ref, .jobs = jobs };
    assert_int_equal(cb_push_begin(c->r, &o, &p, NULL), 0);
    return p;
}

static CB_UNUSED void expect_stored(struct fake *f, const char *repo, const struct ours *o)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_autofree char *key = cb_asprintf("%s/blobs/%s", repo, cb_digest_text(&o->d.digest, text));
    const struct fake_thing *t = fake_get(f, key);
    assert_non_null(t);
    assert_int_equal(t->body.len, o->d.size);
    assert_memory_equal(t->body.buf, o->body, t->body.len);
}

static CB_UNUSED int teardown(void **state)
{
    begin(*state, "", 0);
    return client_teardown(state);
}

#define CLIENT_TEST(f) cmocka_unit_test_setup_teardown(f, client_setup, teardown)
