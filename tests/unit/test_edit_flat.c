/* SPDX-License-Identifier: Apache-2.0 */
/* A layer list as one tar. Blobs are in the store, tables are not: they are made on the way. */
#include "store_fixture.h"
#include "layer_support.h"

#include <sys/mman.h>

#include "edit/edit.h"

#define MAX_LAYERS 3
#define NAME "docker.io/library/x:1"

/* The image of these tars, which are emptied. */
static void put_image(struct fixture *f, struct cb_strbuf *tars, size_t n)
{
    struct cb_layer v[MAX_LAYERS] = { 0 };
    for (size_t i = 0; i < n; i++) {
        struct cb_layer_encoding e = { .size = tars[i].len, .media_type = (char *)(uintptr_t)CB_MT_OCI_LAYER };
        ok(cb_store_blob_put(f->s, tars[i].buf, tars[i].len, &e.digest, &f->err));
        v[i].diff_id = e.digest;
        cb_layer_add_encoding(&v[i], &e);
        cb_strbuf_done(&tars[i]);
    }
    struct cb_descriptor d = make_image(f, v, n, "u");
    ok(cb_store_name_set(f->s, NAME, &d, &f->err));
    cb_descriptor_done(&d);
    for (size_t i = 0; i < n; i++)
        cb_layer_done(&v[i]);
}

static int export(struct fixture *f, struct cb_strbuf *tar)
{
    struct cb_edit_env env = { .store = f->s };
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_edit_image image cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    struct cb_edit_tables tables cb_cleanup_edit_tables = { 0 };
    cb_autoclose int fd = memfd_create("tar", MFD_CLOEXEC);
    ok(cb_edit_source_parse(&source, &env, "store:" NAME, &f->err));
    ok(cb_edit_image_open(&source, NULL, &image, &f->err));
    int r = cb_edit_tables_read(&tables, &source, &image, SIZE_MAX, true, &f->err);
    if (r == 0)
        r = cb_edit_export(&tables, fd, &f->err);
    if (r == 0 && lseek(fd, 0, SEEK_SET) == 0)
        r = cb_fd_slurp(fd, 1u << 20, tar, &f->err);
    return r;
}

/* "d etc\nf etc/a=text\nh etc/b > etc/a\n" in the order of the tar. */
static void spell(struct cb_strbuf *out, const struct cb_strbuf *tar)
{
    struct cb_layer_read_options o = { .source = cb_blob_source_from_mem(tar->buf, tar->len) };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *r = cb_layer_reader_new(&o, NULL);
    const struct cb_entry *e = NULL;
    char buf[4096];
    while (cb_layer_reader_next(r, &e, NULL) == 0 && e) {
        size_t got = 0;
        cb_strbuf_addf(out, "%c %s", "?wodflhcbp"[e->type], e->path);
        if (e->type == CB_ENTRY_FILE) {
            assert_int_equal(cb_layer_reader_read(r, buf, sizeof buf, &got, NULL), 0);
            cb_strbuf_addf(out, "=%.*s", (int)got, buf);
        }
        cb_strbuf_addf(out, "%s%s\n", e->link ? " > " : "", e->link ? e->link : "");
    }
}

static void assert_export(struct fixture *f, const char *wanted)
{
    struct cb_strbuf tar cb_cleanup_strbuf = CB_STRBUF_INIT, again cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strbuf got cb_cleanup_strbuf = CB_STRBUF_INIT;
    ok(export(f, &tar));
    spell(&got, &tar);
    assert_string_equal(got.buf, wanted);
    /* Now with the tables of the store. */
    ok(export(f, &again));
    assert_int_equal(tar.len, again.len);
    assert_memory_equal(tar.buf, again.buf, tar.len);
}

static void whiteouts_are_applied(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t[2] = { CB_STRBUF_INIT, CB_STRBUF_INIT };
    sup_add(&t[0], '5', "d/", NULL);
    sup_file(&t[0], "d/gone", "1");
    sup_file(&t[0], "kept", "2");
    sup_file(&t[0], "replaced", "3");
    sup_end(&t[0]);
    sup_file(&t[1], "d/.wh..wh..opq", "");
    sup_file(&t[1], "d/new", "4");
    sup_add(&t[1], '2', "link", "d/new");
    sup_file(&t[1], "replaced", "5");
    sup_end(&t[1]);
    put_image(f, t, 2);
    assert_export(f, "d d\nl link > d/new\nf kept=2\nf d/new=4\nf replaced=5\n");
}

static void hard_links_keep_the_bytes_that_they_were_made_of(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t[3] = { CB_STRBUF_INIT, CB_STRBUF_INIT, CB_STRBUF_INIT };
    sup_file(&t[0], "a", "one");
    sup_add(&t[0], '1', "b", "a");
    sup_file(&t[0], "z", "low");
    sup_end(&t[0]);
    sup_file(&t[1], "a", "two");
    sup_add(&t[1], '1', "c", "z"); /* to a lower layer */
    sup_end(&t[1]);
    sup_file(&t[2], ".wh.z", "");
    sup_add(&t[2], '6', "pipe", NULL);
    sup_add(&t[2], '1', "same", "pipe");
    sup_end(&t[2]);
    put_image(f, t, 3);
    assert_export(f, "p pipe\np same\nf b=one\nf c=low\nf a=two\n");
}

static void of_a_name_that_stands_twice_the_last_counts(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t[1] = { CB_STRBUF_INIT };
    sup_file(&t[0], "a", "old");
    sup_add(&t[0], '1', "h", "a");
    sup_add(&t[0], '1', "i", "a");
    sup_file(&t[0], "empty", "");
    sup_file(&t[0], "a", "new");
    sup_end(&t[0]);
    put_image(f, t, 1);
    assert_export(f, "f h=old\nh i > h\nf empty=\nf a=new\n");
}

static void a_layer_that_is_not_what_the_config_says_is_refused(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf tar cb_cleanup_strbuf = CB_STRBUF_INIT, t = CB_STRBUF_INIT;
    struct cb_layer l cb_cleanup_layer = { .diff_id = digest_of("another") };
    struct cb_layer_encoding e = { .media_type = (char *)(uintptr_t)CB_MT_OCI_LAYER };
    sup_file(&t, "a", "x");
    sup_end(&t);
    e.size = t.len;
    ok(cb_store_blob_put(f->s, t.buf, t.len, &e.digest, &f->err));
    cb_strbuf_done(&t);
    cb_layer_add_encoding(&l, &e);
    struct cb_descriptor d = make_image(f, &l, 1, "u");
    ok(cb_store_name_set(f->s, NAME, &d, &f->err));
    cb_descriptor_done(&d);
    fails(export(f, &tar), CB_EVERIFY);
    assert_int_equal(tar.len, 0);
}

static void layers_are_named_by_number_and_digest(void **state)
{
    struct fixture *f = *state;
    struct cb_strbuf t[2] = { CB_STRBUF_INIT, CB_STRBUF_INIT };
    struct cb_edit_env env = { .store = f->s };
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_edit_image image cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    size_t n = 9;
    sup_file(&t[0], "a", "x");
    sup_end(&t[0]);
    sup_file(&t[1], "b", "x");
    sup_end(&t[1]);
    put_image(f, t, 2);
    ok(cb_edit_source_parse(&source, &env, "store:" NAME, &f->err));
    ok(cb_edit_image_open(&source, NULL, &image, &f->err));
    ok(cb_edit_layer_find(&image, "0", &n, &f->err));
    assert_int_equal(n, 0);
    ok(cb_edit_layer_find(&image, "-1", &n, &f->err));
    assert_int_equal(n, 1);
    ok(cb_edit_layer_find(&image, cb_digest_text(&image.image.config.diff_ids[1], text), &n, &f->err));
    assert_int_equal(n, 1);
    text[20] = '\0';
    ok(cb_edit_layer_find(&image, text, &n, &f->err));
    ok(cb_edit_layer_find(&image, text + strlen("sha256:"), &n, &f->err));
    assert_int_equal(n, 1);
    fails(cb_edit_layer_find(&image, "2", &n, &f->err), CB_EUSAGE);
    fails(cb_edit_layer_find(&image, "-3", &n, &f->err), CB_EUSAGE);
    fails(cb_edit_layer_find(&image, "", &n, &f->err), CB_EUSAGE);
    fails(cb_edit_layer_find(&image, "sha256:00000000", &n, &f->err), CB_EUSAGE);
    fails(cb_edit_layer_find(&image, "sha256:", &n, &f->err), CB_EUSAGE); /* both begin so */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whiteouts_are_applied, setup, teardown),
        cmocka_unit_test_setup_teardown(hard_links_keep_the_bytes_that_they_were_made_of, setup, teardown),
        cmocka_unit_test_setup_teardown(of_a_name_that_stands_twice_the_last_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_layer_that_is_not_what_the_config_says_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(layers_are_named_by_number_and_digest, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
