/* SPDX-License-Identifier: Apache-2.0 */
/* A directory as a cache, which another build may make and fill while this one is at work. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cache/cache.h"
#include "util/alloc.h"
#include "util/fs.h"

struct fixture {
    char dir[64];
    struct cb_cache_place *reader, *writer;
};

static struct cb_cache_place *open_place(const struct fixture *f, bool write)
{
    struct cb_cache_spec spec CB_CLEANUP(cb_cache_spec_done) = { 0 };
    struct cb_cache_place *p = NULL;
    cb_autofree char *text = cb_asprintf("type=local,%s=%s/place", write ? "dest" : "src", f->dir);
    struct cb_cache_place_options o = { .spec = &spec, .run = "run", .write = write };
    assert_int_equal(cb_cache_spec_parse(&spec, text, write, NULL), 0);
    assert_int_equal(cb_cache_place_open(&o, &p, NULL), 0);
    return p;
}

static int setup(void **state)
{
    struct fixture *f = CB_NEW(struct fixture);
    *state = f;
    snprintf(f->dir, sizeof f->dir, "/tmp/cbpush-local.XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->reader = open_place(f, false);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    cb_cache_place_close(f->reader);
    cb_cache_place_close(f->writer);
    cb_autoclose int tmp = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(cb_fs_remove_tree(tmp, f->dir + strlen("/tmp/"), NULL), 0);
    free(f);
    return 0;
}

static int open_text(void *arg, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out,
                     struct cb_error *err CB_UNUSED)
{
    *out = cb_blob_source_from_mem(arg, strlen(arg));
    return 0;
}

static int get(struct cb_cache_place *p, const char *name)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    return p->ops->get(p, name, &body, NULL);
}

static void put_nothing(struct cb_cache_place *p, const char *name)
{
    struct cb_cache_set set = { 0 };
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_artifact_options o = { .set = &set, .type = CB_MT_CACHE_RUN };
    assert_int_equal(cb_cache_artifact_make(&a, &o, NULL), 0);
    assert_int_equal(p->ops->put(p, name, &a, false, NULL), 0);
}

static void a_directory_that_is_made_later_is_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(get(f->reader, "run"), -CB_ENOTFOUND);
    f->writer = open_place(f, true);
    assert_int_equal(get(f->reader, "run"), -CB_ENOTFOUND);
    put_nothing(f->writer, "run");
    assert_int_equal(get(f->reader, "run"), 0);
}

static void what_is_put_later_is_found(void **state)
{
    struct fixture *f = *state;
    f->writer = open_place(f, true);
    put_nothing(f->writer, "one");
    assert_int_equal(get(f->reader, "one"), 0);
    assert_int_equal(get(f->reader, "two"), -CB_ENOTFOUND);
    put_nothing(f->writer, "two");
    assert_int_equal(get(f->reader, "two"), 0);
}

/* ---- records ---- */

static void add_blob(struct cb_cache_place *p, const struct cb_descriptor *d, const char *text)
{
    struct cb_push_blob b = { .desc = *d, .open = open_text, .arg = (void *)(uintptr_t)text };
    assert_int_equal(p->ops->add(p, &b, NULL), 0);
}

/* Of a step that made a layer of these bytes, which are put there too where `whole`. */
static void put_step(struct cb_cache_place *p, const struct cb_digest *key, const char *text, bool whole)
{
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_artifact_options o = { .set = &set, .type = CB_MT_CACHE_STEP, .created = 1 };
    struct cb_cache_layer l = { .size = UINT64_MAX };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    char hex[CB_DIGEST_TEXT_MAX];
    cb_descriptor_of(&d, CB_MT_OCI_LAYER_GZIP, text, strlen(text));
    l.diff_id = d.digest;
    l.blob = (struct cb_layer_encoding){ .digest = d.digest, .size = d.size, .media_type = d.media_type };
    struct cb_cache_step *step = cb_cache_set_step(&set, key);
    step->whole = true;
    step->created = 1;
    cb_cache_step_add(step, cb_cache_set_layer(&set, &l));
    if (whole)
        add_blob(p, &d, text);
    assert_int_equal(cb_cache_artifact_make(&a, &o, NULL), 0);
    assert_int_equal(p->ops->put(p, cb_digest_hex(key, hex), &a, true, NULL), 0);
}

/* The build that is waited for put another in its place. */
static void a_record_whose_blob_was_gone_is_read_again(void **state)
{
    struct fixture *f = *state;
    struct cb_cache_spec spec CB_CLEANUP(cb_cache_spec_done) = { 0 };
    cb_autofree char *text = cb_asprintf("type=local,src=%s/place", f->dir);
    struct cb_cache_source_options so = { .place = { .spec = &spec, .run = "run" }, .newer_than = INT64_MIN };
    CB_AUTO(cb_cache_source_close) struct cb_cache_source *source = NULL;
    struct cb_cache_found found;
    struct cb_digest key, made;
    cb_digest_of(&key, "key", 3);
    cb_digest_of(&made, "made", 4);
    f->writer = open_place(f, true);
    put_step(f->writer, &key, "lost", false);
    assert_int_equal(cb_cache_spec_parse(&spec, text, false, NULL), 0);
    assert_int_equal(cb_cache_source_open(&so, &source, NULL), 0);
    cb_cache_source_fetch(source, &key, 1);
    assert_false(cb_cache_source_find(source, &key, &found));
    assert_int_equal(cb_cache_source_state(source, &key), CB_CACHE_BAD);
    put_step(f->writer, &key, "made", true);
    cb_cache_source_fetch(source, &key, 1);
    assert_true(cb_cache_source_find(source, &key, &found));
    assert_true(cb_digest_eq(&found.set->layers[found.step->layers[0]].diff_id, &made));
    assert_int_equal(cb_cache_source_state(source, &key), CB_CACHE_GOOD);
}

/* Nothing names it yet: the one who removes what nothing names must not take it before that. */
static void a_blob_that_is_used_again_survives_a_sweep(void **state)
{
    struct fixture *f = *state;
    const struct timespec long_ago[2] = { { .tv_sec = 1000 }, { .tv_sec = 1000 } };
    struct cb_descriptor d[2] = { { 0 }, { 0 } };
    cb_autofree char *blobs = cb_asprintf("%s/place/blobs", f->dir);
    char hex[CB_DIGEST_TEXT_MAX];
    f->writer = open_place(f, true);
    for (size_t i = 0; i < 2; i++) {
        const char *text = i ? "unused" : "used";
        cb_descriptor_of(&d[i], CB_MT_OCI_LAYER_GZIP, text, strlen(text));
        add_blob(f->writer, &d[i], text);
        cb_autofree char *path = cb_asprintf("%s/sha256/%s", blobs, cb_digest_hex(&d[i].digest, hex));
        assert_int_equal(utimensat(AT_FDCWD, path, long_ago, 0), 0);
    }
    put_nothing(f->writer, "run");
    add_blob(f->writer, &d[0], "used");
    assert_int_equal(f->writer->ops->sweep(f->writer, NULL), 0);
    assert_int_equal(f->writer->ops->has(f->writer, &d[0], NULL), 1);
    assert_int_equal(f->writer->ops->has(f->writer, &d[1], NULL), 0);
    for (size_t i = 0; i < 2; i++)
        cb_descriptor_done(&d[i]);
}

/* Copied by halves, say: there is nothing that it could keep. */
static void a_manifest_that_is_gone_ends_no_sweep(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest key[2], gone;
    char hex[CB_DIGEST_TEXT_MAX];
    f->writer = open_place(f, true);
    for (size_t i = 0; i < 2; i++) {
        cb_digest_of(&key[i], i ? "b" : "a", 1);
        put_step(f->writer, &key[i], i ? "layer b" : "layer a", true);
    }
    assert_int_equal(f->writer->ops->get(f->writer, cb_digest_hex(&key[0], hex), &body, NULL), 0);
    cb_digest_of(&gone, body.buf, body.len);
    cb_autofree char *path = cb_asprintf("%s/place/blobs/sha256/%s", f->dir, cb_digest_hex(&gone, hex));
    assert_int_equal(unlink(path), 0);
    assert_int_equal(f->writer->ops->sweep(f->writer, NULL), 0);
    assert_int_equal(get(f->writer, cb_digest_hex(&key[1], hex)), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_directory_that_is_made_later_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_put_later_is_found, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_whose_blob_was_gone_is_read_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_blob_that_is_used_again_survives_a_sweep, setup, teardown),
        cmocka_unit_test_setup_teardown(a_manifest_that_is_gone_ends_no_sweep, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
