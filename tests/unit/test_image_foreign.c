/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of other formats are read in a process that is shut in, too (rule R3): what comes is what reading here gives,
 * and what has taken such a process over can do nothing but lie. The hooks are what it would run. */
#include "store_fixture.h"
#include "layer_support.h"

#include <signal.h>

#include "image/helper.h"

#define USERS "root:x:0:0::/:/bin/sh\n"

static int start(void **state, const char *(*hook)(int root))
{
    if (setup(state) < 0)
        return -1;
    cb_helpers_start(&(struct cb_helper_options){ .hook = hook });
    return cb_helper_is_there() && cb_layer_elsewhere() ? 0 : -1;
}

static int with_none(void **state)
{
    return start(state, NULL);
}

static int stop(void **state)
{
    cb_helpers_stop();
    return cb_layer_elsewhere() ? -1 : teardown(state);
}

/* ---- a layer that carries its table ---- */

struct carrier {
    struct sup_sink blob;
    struct cb_layer layer;
    struct cb_foreign_place place;
    unsigned asked;
    int fail; /* whoever asks for a range is told this */
};

static void add(struct cb_layer_writer *w, const char *path, const char *data)
{
    const struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .mode = 0644, .size = strlen(data) };
    cb_autosource struct cb_blob_source *s = sup_source(data, strlen(data), 70001);
    assert_int_equal(cb_layer_writer_add(w, &e, s, NULL), 0);
}

static void carrier_make(struct carrier *c, enum cb_compression compression)
{
    *c = (struct carrier){ .blob = SUP_SINK_INIT };
    struct cb_layer_write_options o = { .format = { compression, 1, true }, .clamp_mtime = INT64_MAX,
                                        .sink = &c->blob.base };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&o, NULL);
    add(w, "a", "text");
    add(w, "etc/passwd", USERS);
    assert_int_equal(cb_layer_writer_finish(w, &c->layer, NULL, NULL), 0);
    const uint8_t *footer = (const uint8_t *)c->blob.data.buf + c->blob.data.len - CB_ESTARGZ_FOOTER;
    bool more;
    assert_int_equal(cb_foreign_place_find(&c->layer.encodings[0].annotations, c->blob.data.len, footer, &c->place,
                                           &more, NULL), 0);
}

static void carrier_done(struct carrier *c)
{
    cb_layer_done(&c->layer);
    cb_strbuf_done(&c->blob.data);
}

static int read_range(void *arg, uint64_t offset, uint64_t len, struct cb_strbuf *out, struct cb_error *err)
{
    struct carrier *c = arg;
    c->asked++;
    if (c->fail)
        return cb_error_set(err, (enum cb_code)-c->fail, "nobody answers");
    assert_true(offset <= c->blob.data.len && len <= c->blob.data.len - offset);
    cb_strbuf_add(out, c->blob.data.buf + offset, (size_t)len);
    return 0;
}

static struct cb_foreign_work work_of(const struct carrier *c, const struct cb_foreign_reader *users)
{
    return (struct cb_foreign_work){ .place = c->place, .users = users,
                                     .raw = { c->blob.data.buf + c->place.offset, (size_t)c->place.length } };
}

/* ---- what comes of it ---- */

static void check_same(struct fixture *f, struct carrier *c, bool with_users)
{
    const struct cb_foreign_reader users = { read_range, c };
    const struct cb_foreign_work w = work_of(c, with_users ? &users : NULL);
    CB_AUTO(cb_toc_unref) struct cb_toc *here = NULL, *apart = NULL;
    struct cb_strbuf a cb_cleanup_strbuf = CB_STRBUF_INIT, b cb_cleanup_strbuf = CB_STRBUF_INIT;
    c->asked = 0;
    ok(cb_foreign_table(&w, &apart, &f->err));
    assert_int_equal(c->asked, with_users);
    assert_true(cb_streq(cb_toc_find(apart, "etc/passwd")->inline_data, with_users ? USERS : NULL));
    ok(cb_foreign_table_here(&w, &here, &f->err));
    cb_toc_print(&a, here);
    cb_toc_print(&b, apart);
    assert_int_equal(a.len, b.len);
    assert_memory_equal(a.buf, b.buf, a.len);
}

static void check_damage(struct fixture *f, struct carrier *c)
{
    const struct cb_foreign_reader users = { read_range, c };
    struct cb_foreign_work w = work_of(c, &users);
    struct cb_toc *none = NULL;
    c->fail = -CB_ELOCAL;
    fails(cb_foreign_table(&w, &none, &f->err), CB_ELOCAL);
    assert_non_null(strstr(cb_error_text(&f->err), "nobody answers"));
    c->fail = -CB_ECANCELED;
    fails(cb_foreign_table(&w, &none, &f->err), CB_ECANCELED);
    c->fail = 0;
    w.raw.len--;
    fails(cb_foreign_table(&w, &none, &f->err), CB_EVERIFY);
    w.raw.len++;
    w.place.digest.raw[3] ^= 1;
    fails(cb_foreign_table(&w, &none, &f->err), CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&f->err), "another digest"));
    assert_null(none);
}

static void the_same_comes_of_it(void **state)
{
    static const enum cb_compression v[] = { CB_COMPRESSION_GZIP, CB_COMPRESSION_ZSTD };
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        struct carrier c CB_CLEANUP(carrier_done);
        carrier_make(&c, v[i]);
        check_same(*state, &c, false);
        check_same(*state, &c, true);
        check_damage(*state, &c);
    }
}

static const char *crashes(CB_UNUSED int root)
{
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
    return NULL;
}

static int with_crash(void **state)
{
    return start(state, crashes);
}

static void a_crash_is_told(void **state)
{
    struct fixture *f = *state;
    struct carrier c CB_CLEANUP(carrier_done);
    struct cb_toc *none = NULL;
    carrier_make(&c, CB_COMPRESSION_ZSTD);
    const struct cb_foreign_work w = work_of(&c, NULL);
    fails(cb_foreign_table(&w, &none, &f->err), CB_EVERIFY);
    assert_non_null(strstr(cb_error_text(&f->err), "crashed (Segmentation fault)"));
    assert_null(none);
}

/* ---- lies ---- */

static struct {
    struct cb_helper_head head;
    struct cb_helper_range range;
    unsigned times;
} lie;

/* It knows no numbers, but only one descriptor takes messages, and only there answers come. */
static const char *lies(CB_UNUSED int root)
{
    struct cb_helper_message *m = cb_malloc(sizeof *m);
    for (int fd = 0; fd < 64; fd++)
        for (unsigned i = 0; i < lie.times; i++) {
            if (cb_helper_send(fd, &lie.head, &lie.range, -1) < 0)
                break;
            while (lie.times > 1 && cb_helper_receive(fd, m, true, CB_HELPER_NO_WAIT) > 0)
                continue;
        }
    return "it was believed";
}

static void check_lie(struct cb_helper_range range, unsigned times, bool with_users)
{
    void *state = NULL;
    struct carrier c CB_CLEANUP(carrier_done);
    struct cb_toc *none = NULL;
    carrier_make(&c, CB_COMPRESSION_GZIP);
    const struct cb_foreign_reader users = { read_range, &c };
    const struct cb_foreign_work w = work_of(&c, with_users ? &users : NULL);
    lie.head = (struct cb_helper_head){ .type = CB_HELPER_RANGE, .n = sizeof range };
    lie.range = range;
    lie.times = times;
    assert_int_equal(start(&state, lies), 0);
    struct fixture *f = state;
    fails(cb_foreign_table(&w, &none, &f->err), CB_EVERIFY);
    if (!strstr(cb_error_text(&f->err), "answers nonsense"))
        fail_msg("%llu+%llu: %s", (unsigned long long)range.offset, (unsigned long long)range.len,
                 cb_error_text(&f->err));
    assert_true(c.asked < 1000);
    assert_int_equal(stop(&state), 0);
}

static void lies_are_not_believed(CB_UNUSED void **state)
{
    check_lie((struct cb_helper_range){ 0, 0 }, 1, true);
    check_lie((struct cb_helper_range){ 0, CB_MAX_FOREIGN_PART + 1 }, 1, true);
    check_lie((struct cb_helper_range){ 0, UINT64_MAX }, 1, true);
    check_lie((struct cb_helper_range){ 0, 10 }, 1, false);
    check_lie((struct cb_helper_range){ 0, 10 }, 1000, true);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_comes_of_it, with_none, stop),
        cmocka_unit_test_setup_teardown(a_crash_is_told, with_crash, stop),
        cmocka_unit_test(lies_are_not_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
