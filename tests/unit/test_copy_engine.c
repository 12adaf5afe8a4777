/* SPDX-License-Identifier: Apache-2.0 */
/* What is brought in which order, with a source and a target in memory. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>

#include "copy/private.h"
#include "util/alloc.h"

/* ---- a source: manifests by digest and tag, blobs of any digest ---- */
struct fake_manifest {
    struct cb_descriptor desc;
    char *body, *tag;
    struct cb_digest subject;
};
struct fake_source {
    struct cb_copy_source base;
    struct cb_place place;
    struct fake_manifest v[16];
    size_t n;
    bool circle; /* every referrer is said to refer to everything */
    atomic_uint asked; /* for manifests */
};

static int fake_manifest(struct cb_copy_source *s, const char *tag, const struct cb_digest *digest,
                         struct cb_descriptor *desc, struct cb_strbuf *body, struct cb_error *err)
{
    struct fake_source *f = (struct fake_source *)s;
    f->asked++;
    for (size_t i = 0; i < f->n; i++)
        if (cb_digest_is_set(digest) ? cb_digest_eq(digest, &f->v[i].desc.digest) : cb_streq(tag, f->v[i].tag)) {
            cb_descriptor_copy(desc, &f->v[i].desc);
            cb_strbuf_adds(body, f->v[i].body);
            return 0;
        }
    return cb_error_set(err, CB_ENOTFOUND, "no such manifest");
}

static int fake_blob(struct cb_copy_source *s, const struct cb_descriptor *d, struct cb_blob_source **out,
                     struct cb_error *err)
{
    (void)s;
    (void)d;
    (void)err;
    static const char config[] = "{\"os\":\"linux\",\"architecture\":\"arm64\",\"rootfs\":{\"type\":\"layers\","
                                 "\"diff_ids\":[]}}";
    *out = cb_blob_source_from_mem(config, strlen(config));
    return 0;
}

static int fake_referrers(struct cb_copy_source *s, const struct cb_digest *subject, struct cb_index *out,
                          struct cb_error *err)
{
    struct fake_source *f = (struct fake_source *)s;
    (void)err;
    *out = (struct cb_index){ .media_type = cb_strdup(CB_MT_OCI_INDEX),
                              .manifests = cb_calloc(16, sizeof *out->manifests) };
    for (size_t i = 0; i < f->n; i++)
        if (cb_digest_eq(subject, &f->v[i].subject) || (f->circle && cb_digest_is_set(&f->v[i].subject)))
            cb_descriptor_copy(&out->manifests[out->n_manifests++], &f->v[i].desc);
    return 0;
}

static const struct cb_copy_source_ops source_ops = { .manifest = fake_manifest, .blob = fake_blob,
                                                      .referrers = fake_referrers };

static struct fake_manifest *add(struct fake_source *f, const char *type, char *body /* taken */, const char *tag)
{
    struct fake_manifest *m = &f->v[f->n++];
    m->body = body;
    m->tag = cb_strdup_or_null(tag);
    cb_descriptor_of(&m->desc, type, body, strlen(body));
    return m;
}

#define HEX "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

/* A manifest with one layer; layers with another word in front are other blobs. */
static struct fake_manifest *add_image(struct fake_source *f, char word, const char *layer_type, const char *tag)
{
    return add(f, CB_MT_OCI_MANIFEST,
               cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"config\":{\"mediaType\":\""
                           CB_MT_OCI_CONFIG "\",\"digest\":\"sha256:0%.63s\",\"size\":93},\"layers\":[{\"mediaType\":"
                           "\"%s\",\"digest\":\"sha256:%c%.63s\",\"size\":4}]}", HEX, layer_type, word, HEX), tag);
}

static struct fake_manifest *add_referrer(struct fake_source *f, const struct cb_descriptor *subject, int n)
{
    char text[CB_DIGEST_TEXT_MAX];
    struct fake_manifest *m = add(
        f, CB_MT_OCI_MANIFEST,
        cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"artifactType\":\"a/b%d\","
                    "\"config\":{\"mediaType\":\"" CB_MT_OCI_EMPTY "\","
                    "\"digest\":\"sha256:%.64s\",\"size\":2},\"layers\":[],"
                    "\"subject\":{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%llu}}", n, HEX, subject->media_type,
                    cb_digest_text(&subject->digest, text), (unsigned long long)subject->size), NULL);
    m->subject = subject->digest;
    return m;
}

/* ---- a target: a log ---- */
struct fake_target {
    struct cb_copy_target base;
    struct cb_place place;
    struct cb_strbuf log;
    const char *failing; /* prefix of a digest whose blob does not come */
    struct cb_descriptor there;
};

static void note(struct fake_target *t, const char *what, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_strbuf_addf(&t->log, "%s %.10s\n", what, d ? cb_digest_text(d, text) : "");
}

static int log_head(struct cb_copy_target *b, const char *tag, struct cb_descriptor *out, struct cb_error *err)
{
    struct fake_target *t = (struct fake_target *)b;
    (void)tag;
    if (!t->there.media_type)
        return cb_error_set(err, CB_ENOTFOUND, "nothing");
    cb_descriptor_copy(out, &t->there);
    return 0;
}
static int log_blob(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                    struct cb_error *err)
{
    (void)from;
    (void)err;
    note((struct fake_target *)t, "blob", &d->digest);
    return 0;
}
static int log_wait(struct cb_copy_target *b, const struct cb_digest *d, struct cb_error *err)
{
    struct fake_target *t = (struct fake_target *)b;
    char text[CB_DIGEST_TEXT_MAX];
    bool fails = t->failing && cb_starts_with(cb_digest_text(d, text), t->failing);
    return fails ? cb_error_set(err, CB_ENET, "broken") : 0;
}
static int log_manifest(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, bool subject,
                        struct cb_error *err)
{
    (void)body;
    (void)err;
    note((struct fake_target *)t, subject ? "referrer" : "manifest", &d->digest);
    return 0;
}
static int log_tag(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, const char *tag,
                   struct cb_error *err)
{
    (void)d;
    (void)body;
    (void)err;
    cb_strbuf_addf(&((struct fake_target *)t)->log, "tag %s\n", tag);
    return 0;
}

static const struct cb_copy_target_ops target_ops = { .head = log_head, .blob = log_blob, .wait_blob = log_wait,
                                                      .manifest = log_manifest, .tag = log_tag };
static const struct cb_copy_target_ops single_ops = { .head = log_head, .blob = log_blob, .wait_blob = log_wait,
                                                      .manifest = log_manifest, .tag = log_tag, .one_image = true,
                                                      .no_referrers = true };

struct fixture {
    struct cb_copy_env env;
    struct fake_source from;
    struct fake_target to;
    struct cb_copy_result res;
    struct cb_error err;
};

static int setup(void **state)
{
    struct fixture *f = CB_NEW(struct fixture);
    f->env.jobs = 1; /* so that the order is one */
    f->from.place = (struct cb_place){ .transport = CB_AT_OCI_DIR, .text = (char *)(uintptr_t)"from" };
    f->to.place = (struct cb_place){ .transport = CB_AT_OCI_DIR, .text = (char *)(uintptr_t)"to" };
    f->from.base = (struct cb_copy_source){ &source_ops, &f->env, &f->from.place, false };
    f->to.base = (struct cb_copy_target){ &target_ops, &f->env, { .to = &f->to.place } };
    f->to.log = (struct cb_strbuf)CB_STRBUF_INIT;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->from.n; i++) {
        cb_descriptor_done(&f->from.v[i].desc);
        free(f->from.v[i].body);
        free(f->from.v[i].tag);
    }
    cb_strbuf_done(&f->to.log);
    cb_descriptor_done(&f->to.there);
    cb_copy_result_done(&f->res);
    cb_error_done(&f->err);
    free(f);
    return 0;
}

static int copy(struct fixture *f, struct cb_copy_options o)
{
    if (!o.to_tag)
        o.to_tag = "there";
    o.tag = "it";
    cb_copy_result_done(&f->res);
    return cb_copy_image(&f->from.base, &f->to.base, &o, &f->res, &f->err);
}

static struct fake_manifest *add_two_platforms(struct fixture *f)
{
    struct fake_manifest *a = add_image(&f->from, '1', CB_MT_OCI_LAYER_GZIP, NULL);
    struct fake_manifest *b = add_image(&f->from, '2', CB_MT_OCI_LAYER_GZIP, NULL);
    struct cb_index idx = { .media_type = cb_strdup(CB_MT_OCI_INDEX), .manifests = cb_calloc(2, sizeof *idx.manifests),
                            .n_manifests = 2 };
    struct cb_strbuf text = CB_STRBUF_INIT;
    cb_descriptor_copy(&idx.manifests[0], &a->desc);
    cb_descriptor_copy(&idx.manifests[1], &b->desc);
    struct cb_platform *p = idx.manifests[0].platform = CB_NEW(struct cb_platform);
    assert_int_equal(cb_platform_parse(p, "linux/amd64", NULL), 0);
    p = idx.manifests[1].platform = CB_NEW(struct cb_platform);
    assert_int_equal(cb_platform_parse(p, "linux/arm64", NULL), 0);
    cb_index_print(&text, &idx);
    cb_index_done(&idx);
    return add(&f->from, CB_MT_OCI_INDEX, cb_strbuf_detach(&text, NULL), "it");
}

/* Lists one thing three times. */
static struct fake_manifest *add_thrice(struct fake_source *f, const struct cb_descriptor *d, const char *tag)
{
    struct cb_index idx = { .media_type = cb_strdup(CB_MT_OCI_INDEX), .manifests = cb_calloc(3, sizeof *idx.manifests),
                            .n_manifests = 3 };
    struct cb_strbuf text = CB_STRBUF_INIT;
    for (size_t i = 0; i < 3; i++)
        cb_descriptor_copy(&idx.manifests[i], d);
    cb_index_print(&text, &idx);
    cb_index_done(&idx);
    return add(f, CB_MT_OCI_INDEX, cb_strbuf_detach(&text, NULL), tag);
}

static size_t at(const struct fixture *f, const char *what)
{
    const char *p = strstr(f->to.log.buf, what);
    if (!p)
        fail_msg("no %s in:\n%s", what, f->to.log.buf);
    return (size_t)(p - f->to.log.buf);
}

static void blobs_come_before_manifests_and_the_tag_last(void **state)
{
    struct fixture *f = *state;
    add_two_platforms(f);
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), 0);
    assert_true(at(f, "blob sha256:1") < at(f, "manifest"));
    assert_true(at(f, "blob sha256:2") < at(f, "manifest"));
    assert_true(at(f, "manifest") < at(f, "tag there"));
    assert_string_equal(f->to.log.buf + f->to.log.len - 10, "tag there\n");
}

static void a_blob_that_does_not_come_leaves_the_tag_alone(void **state)
{
    struct fixture *f = *state;
    add_two_platforms(f);
    f->to.failing = "sha256:2";
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), -CB_ENET);
    assert_null(strstr(f->to.log.buf, "tag"));
    assert_non_null(strstr(f->to.log.buf, "manifest")); /* of the other platform */
}

static void foreign_layers_stay_where_they_are(void **state)
{
    struct fixture *f = *state;
    add_image(&f->from, '3', CB_MT_DOCKER_FOREIGN_GZIP "\",\"urls\":[\"https://vendor.test/3\"],\"odd\":\"", "it");
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), 0);
    assert_null(strstr(f->to.log.buf, "sha256:3"));
    at(f, "tag there");
}

static void a_foreign_layer_that_is_nowhere_else_comes_along(void **state)
{
    struct fixture *f = *state;
    add_image(&f->from, '3', CB_MT_DOCKER_FOREIGN_GZIP, "it");
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), 0);
    assert_true(at(f, "blob sha256:3") < at(f, "tag there"));
}

static void referrers_come_after_their_subject_and_before_its_tag(void **state)
{
    struct fixture *f = *state;
    struct fake_manifest *m = add_image(&f->from, '1', CB_MT_OCI_LAYER_GZIP, "it");
    struct fake_manifest *sbom = add_referrer(&f->from, &m->desc, 1);
    add_referrer(&f->from, &sbom->desc, 2);
    assert_int_equal(copy(f, (struct cb_copy_options){ .referrers = true }), 0);
    assert_int_equal(f->res.referrers.n, 2);
    assert_true(at(f, "manifest") < at(f, "referrer"));
    assert_true(at(f, "referrer") < at(f, "tag there"));
}

static void referrers_in_a_circle_are_walked_once(void **state)
{
    struct fixture *f = *state;
    struct fake_manifest *m = add_image(&f->from, '1', CB_MT_OCI_LAYER_GZIP, "it");
    add_referrer(&f->from, &m->desc, 1);
    add_referrer(&f->from, &m->desc, 2);
    f->from.circle = true;
    assert_int_equal(copy(f, (struct cb_copy_options){ .referrers = true }), 0);
    assert_int_equal(f->res.referrers.n, 2);
}

static void a_tag_that_is_there_is_current_or_kept(void **state)
{
    struct fixture *f = *state;
    struct fake_manifest *m = add_image(&f->from, '1', CB_MT_OCI_LAYER_GZIP, "it");
    cb_descriptor_copy(&f->to.there, &m->desc);
    assert_int_equal(copy(f, (struct cb_copy_options){ .no_clobber = true }), 0);
    assert_int_equal(f->res.outcome, CB_COPY_CURRENT);
    f->to.there.digest.raw[0] ^= 1;
    assert_int_equal(copy(f, (struct cb_copy_options){ .no_clobber = true }), 0);
    assert_int_equal(f->res.outcome, CB_COPY_KEPT);
    assert_string_equal(f->to.log.buf, "");
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), 0);
    assert_int_equal(f->res.outcome, CB_COPY_COPIED);
    at(f, "tag there");
}

static void platforms_pick_a_manifest_or_cut_the_index(void **state)
{
    struct fixture *f = *state;
    struct cb_platform v[2] = { 0 };
    struct fake_manifest *top = add_two_platforms(f);
    assert_int_equal(cb_platform_parse(&v[0], "linux/arm64", NULL), 0);
    assert_int_equal(cb_platform_parse(&v[1], "linux/amd64", NULL), 0);
    assert_int_equal(copy(f, (struct cb_copy_options){ .platforms = v, .n_platforms = 1 }), 0);
    assert_true(cb_digest_eq(&f->res.to.digest, &f->from.v[1].desc.digest));
    assert_null(strstr(f->to.log.buf, "sha256:1"));
    assert_int_equal(copy(f, (struct cb_copy_options){ .platforms = v, .n_platforms = 2 }), 0);
    assert_true(cb_digest_eq(&f->res.to.digest, &top->desc.digest)); /* all of it: nothing is made anew */
    cb_platform_done(&v[1]);
    assert_int_equal(cb_platform_parse(&v[1], "linux/s390x", NULL), 0);
    assert_int_equal(copy(f, (struct cb_copy_options){ .platforms = v, .n_platforms = 2 }), -CB_ENOTFOUND);
    cb_platform_done(&v[0]);
    cb_platform_done(&v[1]);
}

/* An index that lists nothing but another index. */
static void indexes_in_one_another_are_gone_through(void **state)
{
    struct fixture *f = *state;
    struct cb_platform v[2] = { 0 };
    int64_t when;
    struct fake_manifest *inner = add_two_platforms(f);
    free(inner->tag);
    inner->tag = NULL;
    add_thrice(&f->from, &inner->desc, "it");
    add(&f->from, CB_MT_OCI_INDEX, cb_strdup("{\"schemaVersion\":2,\"manifests\":[]}"), "nothing");
    assert_int_equal(cb_platform_parse(&v[0], "linux/arm64", NULL), 0);
    assert_int_equal(cb_platform_parse(&v[1], "linux/s390x", NULL), 0);
    assert_int_equal(copy(f, (struct cb_copy_options){ .platforms = v, .n_platforms = 1 }), 0);
    assert_true(cb_digest_eq(&f->res.to.digest, &f->from.v[1].desc.digest));
    assert_int_equal(copy(f, (struct cb_copy_options){ .platforms = &v[1], .n_platforms = 1 }), -CB_ENOTFOUND);
    cb_error_done(&f->err);
    assert_int_equal(copy(f, (struct cb_copy_options){ .platforms = v, .n_platforms = 2 }), -CB_EUSAGE);
    assert_int_equal(cb_copy_when_created(&f->from.base, "it", &when, NULL), 0);
    assert_int_equal(cb_copy_when_created(&f->from.base, "nothing", &when, NULL), 0);
    assert_true(when == INT64_MIN);
    cb_platform_done(&v[0]);
    cb_platform_done(&v[1]);
}

static void what_a_target_cannot_hold_is_refused(void **state)
{
    struct fixture *f = *state;
    add_two_platforms(f);
    f->to.base.ops = &single_ops;
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), -CB_EUSAGE);
    assert_non_null(strstr(cb_error_text(&f->err), "--platform"));
    assert_string_equal(f->to.log.buf, "");
}

/* Else a few kilobytes of indexes in one another would take for ever. */
static void what_is_listed_again_is_asked_for_once(void **state)
{
    struct fixture *f = *state;
    struct cb_copy_options o = { .tag = "it" };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_strvec parts cb_cleanup_strvec = CB_STRVEC_INIT;
    struct fake_manifest *m = add_image(&f->from, '1', CB_MT_OCI_LAYER_GZIP, NULL);
    m = add_thrice(&f->from, &m->desc, NULL);
    m = add_thrice(&f->from, &m->desc, NULL);
    add_thrice(&f->from, &m->desc, "it");
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), 0);
    assert_int_equal(f->from.asked, 4);
    f->from.asked = 0;
    assert_int_equal(cb_copy_resolve(&f->from.base, &o, &d, &parts, &f->err), 0);
    assert_int_equal(f->from.asked, 3); /* the image need not be looked at */
    assert_int_equal(parts.n, 3);
}

static void a_wrong_size_is_found_where_it_is_listed_again(void **state)
{
    struct fixture *f = *state;
    struct fake_manifest *m = add_image(&f->from, '1', CB_MT_OCI_LAYER_GZIP, NULL);
    struct fake_manifest *top = add_thrice(&f->from, &m->desc, "it");
    char *last = top->body, *next;
    while ((next = strstr(last + 1, "\"size\":")))
        last = next;
    last[strlen("\"size\":")] ^= 1;
    cb_descriptor_done(&top->desc);
    cb_descriptor_of(&top->desc, CB_MT_OCI_INDEX, top->body, strlen(top->body));
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), -CB_EVERIFY);
}

static void an_index_with_a_missing_manifest_says_which(void **state)
{
    struct fixture *f = *state;
    struct fake_manifest *top = add_two_platforms(f);
    (void)top;
    f->from.v[0].desc.digest.raw[5] ^= 1;
    assert_int_equal(copy(f, (struct cb_copy_options){ 0 }), -CB_ENOTFOUND);
    assert_non_null(strstr(cb_error_text(&f->err), "listed by the index but not there"));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    static const struct CMUnitTest tests[] = {
        T(blobs_come_before_manifests_and_the_tag_last),
        T(a_blob_that_does_not_come_leaves_the_tag_alone),
        T(foreign_layers_stay_where_they_are),
        T(a_foreign_layer_that_is_nowhere_else_comes_along),
        T(referrers_come_after_their_subject_and_before_its_tag),
        T(referrers_in_a_circle_are_walked_once),
        T(a_tag_that_is_there_is_current_or_kept),
        T(platforms_pick_a_manifest_or_cut_the_index),
        T(indexes_in_one_another_are_gone_through),
        T(what_a_target_cannot_hold_is_refused),
        T(what_is_listed_again_is_asked_for_once),
        T(a_wrong_size_is_found_where_it_is_listed_again),
        T(an_index_with_a_missing_manifest_says_which),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
