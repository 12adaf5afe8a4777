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
#include <sys/stat.h>

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
    (void)!cb_fs_remove_tree(AT_FDCWD, f->dir, NULL);
    free(f);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_directory_that_is_made_later_is_read, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_put_later_is_found, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
