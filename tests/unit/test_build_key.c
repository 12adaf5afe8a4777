/* SPDX-License-Identifier: Apache-2.0 */
/* What must change a cache key, and what must not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "build/entry_hash.h"
#include "build/key.h"
#include "build/select.h"
#include "build/stack_cache.h"
#include "build_trees.h"

/* A step, what it stands on, and what it gets: everything that a key is made from. */
struct step {
    struct cb_key_base kb;
    struct cb_strvec hosts;
    struct cb_vertex v;
    struct cb_digest base, from;
    bool has_base, has_from;
};

static struct cb_digest digest(const char *text)
{
    struct cb_digest d;
    cb_digest_of(&d, text, strlen(text));
    return d;
}

static void set(char **field, const char *text)
{
    free(*field);
    *field = cb_strdup_or_null(text);
}

static void step_init(struct step *s, enum cb_vertex_kind kind)
{
    *s = (struct step){ .kb = { .clamp_mtime = INT64_MAX }, .v.kind = kind, .has_base = true };
    set(&s->v.platform.arch, "amd64");
    s->base = digest("base");
    s->from = digest("from");
    s->has_from = kind == CB_VERTEX_COPY;
    s->kb.hosts = &s->hosts;
    s->v.copy.unpack = -1;
    if (kind == CB_VERTEX_RUN) {
        cb_strvec_push(&s->v.run.argv, "/bin/sh");
        cb_strvec_push(&s->v.run.argv, "-c");
        cb_strvec_push(&s->v.run.argv, "make");
        cb_strvec_push(&s->v.run.key_env, "PATH=/bin");
        cb_strvec_push(&s->v.run.env, "PATH=/bin");
        set(&s->v.run.cwd, "/");
    } else if (kind == CB_VERTEX_COPY) {
        cb_strvec_push(&s->v.copy.sources, "a");
        set(&s->v.copy.dest, "/b");
    } else {
        set(&s->v.mkdir.path, "/w");
    }
}

static void step_done(struct step *s)
{
    struct cb_vertex *v = &s->v;
    cb_strvec_done(&s->hosts);
    cb_platform_done(&v->platform);
    cb_strvec_done(&v->run.argv);
    cb_strvec_done(&v->run.env);
    cb_strvec_done(&v->run.key_env);
    cb_strvec_done(&v->copy.sources);
    cb_strvec_done(&v->copy.exclude);
    cb_strvec_done(&v->copy.file_names);
    cb_strvec_done(&v->copy.file_bodies);
    for (size_t i = 0; i < v->run.n_mounts; i++) {
        struct cb_run_mount *m = &v->run.mounts[i];
        char **const texts[] = { &m->target, &m->source, &m->id, &m->env };
        for (size_t k = 0; k < CB_COUNTOF(texts); k++)
            set(texts[k], NULL);
    }
    free(v->run.mounts);
    cb_remote_op_done(&v->remote);
    char **const fields[] = { &v->run.cwd, &v->run.user, &v->run.script, &v->run.script_path, &v->copy.dest,
                              &v->copy.chown, &v->copy.chmod, &v->mkdir.path, &v->mkdir.user, &v->name, &v->note };
    for (size_t i = 0; i < CB_COUNTOF(fields); i++)
        set(fields[i], NULL);
}

static struct cb_digest key_of(const struct step *s)
{
    struct cb_digest d;
    cb_key_definition(&s->kb, &s->v, s->has_base ? &s->base : NULL, s->has_from ? &s->from : NULL, &d);
    return d;
}

/* ---- one change each ---- */

static void change_no_change(struct step *s CB_UNUSED) {}
static void change_argv_word(struct step *s) { cb_strvec_push(&s->v.run.argv, "x"); }
static void change_env_value(struct step *s) { cb_env_set(&s->v.run.key_env, "PATH", "/x"); }
static void change_env_more(struct step *s) { cb_env_set(&s->v.run.key_env, "A", ""); }
static void change_cwd(struct step *s) { set(&s->v.run.cwd, "/x"); }
static void change_user(struct step *s) { set(&s->v.run.user, "bob"); }
static void change_user_empty(struct step *s) { set(&s->v.run.user, ""); }
static void change_network_none(struct step *s) { s->v.run.network = CB_NETWORK_NONE; }
static void change_script(struct step *s) { set(&s->v.run.script, "#!/bin/sh"); }
static void change_script_path(struct step *s) { set(&s->v.run.script_path, "/dev/pipes/X"); }
static void change_arch(struct step *s) { set(&s->v.platform.arch, "arm64"); }
static void change_os(struct step *s) { set(&s->v.platform.os, "windows"); }
static void change_variant(struct step *s) { set(&s->v.platform.variant, "v3"); }
static void change_single_id(struct step *s) { s->kb.single_id = true; }
static void change_hosts(struct step *s) { cb_strvec_push(&s->hosts, "a 1.2.3.4"); }
static void change_epoch(struct step *s) { s->kb.clamp_mtime = 0; }
static void change_base(struct step *s) { s->base = digest("other"); }
static void change_no_base(struct step *s) { s->has_base = false; }
static void change_from(struct step *s) { s->from = digest("other"); }
static void change_no_from(struct step *s) { s->has_from = false; }
static void change_from_scratch(struct step *s) { s->v.from_scratch = true; }
static void change_dest(struct step *s) { set(&s->v.copy.dest, "/b/"); }
static void change_sources(struct step *s) { cb_strvec_push(&s->v.copy.sources, "c"); }
static void change_chown(struct step *s) { set(&s->v.copy.chown, "1:1"); }
static void change_chmod(struct step *s) { set(&s->v.copy.chmod, "644"); }
static void change_exclude(struct step *s) { cb_strvec_push(&s->v.copy.exclude, "*.o"); }
static void change_is_add(struct step *s) { s->v.copy.add = true; }
static void change_unpack(struct step *s) { s->v.copy.unpack = 0; }
static void change_file_name(struct step *s)
{
    cb_strvec_push(&s->v.copy.file_names, "EOF");
    cb_strvec_push(&s->v.copy.file_bodies, "");
}
static void change_path(struct step *s) { set(&s->v.mkdir.path, "/x"); }
static void change_mkdir_user(struct step *s) { set(&s->v.mkdir.user, "bob"); }
static void change_authorized(struct step *s) { s->v.remote.authorized = true; }
static void change_commit(struct step *s) { set(&s->v.remote.commit, "c"); }
static void change_remote_name(struct step *s) { set(&s->v.remote.name, "n"); }
/* must not */
static void change_proxy(struct step *s) { cb_env_set(&s->v.run.env, "HTTP_PROXY", "http://p"); }
static void change_name(struct step *s) { set(&s->v.name, "[2/9] RUN make"); }
static void change_note(struct step *s) { set(&s->v.note, "RUN make"); }
static void change_span(struct step *s) { s->v.span = (struct cb_df_span){ 4, 5 }; }
static void change_id(struct step *s) { s->v.id = 7; }
static void change_network_private(struct step *s) { s->v.run.network = CB_NETWORK_PRIVATE; }

/* One mount; a change of it after that. */
static struct cb_run_mount *add_mount(struct step *s)
{
    s->v.run.mounts = cb_calloc(2, sizeof *s->v.run.mounts);
    s->v.run.n_mounts = 1;
    set(&s->v.run.mounts[0].target, "/m");
    set(&s->v.run.mounts[0].source, "");
    set(&s->v.run.mounts[0].id, "i");
    return s->v.run.mounts;
}
static void change_mount(struct step *s) { add_mount(s); }
static void change_mount_twice(struct step *s) { add_mount(s); s->v.run.n_mounts = 2; }
static void change_mount_type(struct step *s) { add_mount(s)->type = CB_DF_MOUNT_SECRET; }
static void change_mount_target(struct step *s) { set(&add_mount(s)->target, "/n"); }
static void change_mount_source(struct step *s) { set(&add_mount(s)->source, "s"); }
static void change_mount_id(struct step *s) { set(&add_mount(s)->id, "j"); }
static void change_mount_env(struct step *s) { set(&add_mount(s)->env, "E"); }
static void change_mount_kind(struct step *s) { add_mount(s)->from_kind = CB_MOUNT_FROM_CONTEXT; }
static void change_mount_ro(struct step *s) { add_mount(s)->readonly = true; }
static void change_mount_required(struct step *s) { add_mount(s)->required = true; }
static void change_mount_sharing(struct step *s) { add_mount(s)->sharing = CB_SHARING_LOCKED; }
static void change_mount_fresh(struct step *s) { add_mount(s)->fresh = true; }
static void change_mount_mode(struct step *s) { add_mount(s)->mode = 0700; }
static void change_mount_uid(struct step *s) { add_mount(s)->uid = 1; }
static void change_mount_gid(struct step *s) { add_mount(s)->gid = 1; }
static void change_mount_size(struct step *s) { add_mount(s)->size = 1; }
static void change_shown(struct step *s) { s->from = digest("shown"); s->has_from = true; }

struct change {
    const char *name;
    void (*make)(struct step *s);
};
#define C(f) { #f, change_##f }

static void check_kind(enum cb_vertex_kind kind, const struct change *changes, size_t n, bool differ)
{
    struct cb_digest *keys = cb_calloc(n + 1, sizeof *keys);
    struct step s;
    step_init(&s, kind);
    keys[n] = key_of(&s);
    step_done(&s);
    for (size_t i = 0; i < n; i++) {
        step_init(&s, kind);
        changes[i].make(&s);
        keys[i] = key_of(&s);
        step_done(&s);
        if (cb_digest_eq(&keys[i], &keys[n]) == differ)
            fail_msg("kind %d, %s: the key is %s", (int)kind, changes[i].name, differ ? "the same" : "another");
        for (size_t k = 0; differ && k < i; k++)
            if (cb_digest_eq(&keys[i], &keys[k]))
                fail_msg("kind %d: %s and %s have the same key", (int)kind, changes[i].name, changes[k].name);
    }
    free(keys);
}

static void test_run(void **state)
{
    (void)state;
    static const struct change yes[] = { C(argv_word), C(env_value), C(env_more), C(cwd), C(user), C(user_empty),
                                         C(network_none), C(script), C(script_path), C(arch), C(os), C(variant),
                                         C(single_id), C(hosts), C(epoch), C(base), C(no_base),
                                         C(mount), C(mount_twice), C(mount_type),
                                         C(mount_target), C(mount_source), C(mount_id), C(mount_env), C(mount_kind),
                                         C(mount_ro), C(mount_required), C(mount_sharing), C(mount_fresh),
                                         C(mount_mode), C(mount_uid), C(mount_gid), C(mount_size), C(shown) };
    static const struct change no[] = { C(no_change), C(proxy), C(name), C(note), C(span), C(id), C(network_private) };
    check_kind(CB_VERTEX_RUN, yes, CB_COUNTOF(yes), true);
    check_kind(CB_VERTEX_RUN, no, CB_COUNTOF(no), false);
}

static void test_copy(void **state)
{
    (void)state;
    static const struct change yes[] = { C(dest), C(sources), C(chown), C(chmod), C(exclude), C(is_add), C(unpack),
                                         C(file_name), C(epoch), C(base), C(no_base), C(from), C(no_from),
                                         C(from_scratch) };
    static const struct change no[] = { C(no_change), C(name), C(note), C(span), C(id), C(arch), C(single_id),
                                        C(hosts) };
    check_kind(CB_VERTEX_COPY, yes, CB_COUNTOF(yes), true);
    check_kind(CB_VERTEX_COPY, no, CB_COUNTOF(no), false);
}

static void test_mkdir(void **state)
{
    (void)state;
    static const struct change yes[] = { C(path), C(mkdir_user), C(epoch), C(base), C(no_base) };
    static const struct change no[] = { C(no_change), C(name), C(note), C(arch), C(hosts) };
    check_kind(CB_VERTEX_MKDIR, yes, CB_COUNTOF(yes), true);
    check_kind(CB_VERTEX_MKDIR, no, CB_COUNTOF(no), false);
}

/* What others fetched by their credentials is not found without any. */
static void test_remote(void **state)
{
    (void)state;
    static const struct change git[] = { C(authorized), C(commit), C(epoch), C(base) };
    static const struct change http[] = { C(authorized), C(remote_name), C(epoch), C(base) };
    check_kind(CB_VERTEX_GIT, git, CB_COUNTOF(git), true);
    check_kind(CB_VERTEX_HTTP, http, CB_COUNTOF(http), true);
}

/* Fields are framed: what moves from one to the next is another key. */
static void test_no_two_ways_to_read(void **state)
{
    (void)state;
    struct step a, b;
    step_init(&a, CB_VERTEX_RUN);
    step_init(&b, CB_VERTEX_RUN);
    cb_strvec_push(&a.v.run.argv, "x");
    cb_strvec_push(&b.v.run.key_env, "x");
    struct cb_digest ka = key_of(&a), kb = key_of(&b);
    assert_false(cb_digest_eq(&ka, &kb));
    step_done(&a);
    step_done(&b);
    step_init(&a, CB_VERTEX_COPY);
    step_init(&b, CB_VERTEX_COPY);
    cb_strvec_done(&a.v.copy.sources);
    cb_strvec_done(&b.v.copy.sources);
    cb_strvec_push(&a.v.copy.sources, "ab");
    cb_strvec_push(&a.v.copy.sources, "c");
    cb_strvec_push(&b.v.copy.sources, "a");
    cb_strvec_push(&b.v.copy.sources, "bc");
    ka = key_of(&a);
    kb = key_of(&b);
    assert_false(cb_digest_eq(&ka, &kb));
    step_done(&a);
    step_done(&b);
}

/* A parent is its layers: its configuration matters only where a step uses it. */
static void test_source(void **state)
{
    (void)state;
    struct cb_image_config a cb_cleanup_image_config = { 0 }, b cb_cleanup_image_config = { 0 };
    struct cb_digest ka, kb, one = digest("1"), two = digest("2");
    cb_image_config_add_diff_id(&a, &one);
    cb_image_config_add_diff_id(&b, &one);
    cb_env_set(&b.env, "A", "1");
    b.user = cb_strdup("bob");
    b.created = cb_strdup("2020-01-01T00:00:00Z");
    cb_key_source(&a, NULL, &ka);
    cb_key_source(&b, NULL, &kb);
    assert_true(cb_digest_eq(&ka, &kb));
    cb_image_config_add_diff_id(&b, &two);
    cb_key_source(&b, NULL, &kb);
    assert_false(cb_digest_eq(&ka, &kb));
    cb_image_config_add_diff_id(&a, &two);
    cb_key_source(&a, NULL, &ka);
    assert_true(cb_digest_eq(&ka, &kb));
}

/* What is placed by a manifest's word of its tables is no record for an image without that word. */
static void test_source_pins(void **state)
{
    (void)state;
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    struct cb_digest one = digest("1"), two = digest("2"), none, plain, first, second, other, carried, moved;
    struct cb_manifest m cb_cleanup_manifest = { .layers = cb_calloc(2, sizeof *m.layers), .n_layers = 2 };
    struct cb_toc_pin pin = { digest("table"), 10 };
    cb_image_config_add_diff_id(&c, &one);
    cb_image_config_add_diff_id(&c, &two);
    cb_key_source(&c, NULL, &none);
    cb_key_source(&c, &m, &plain);
    assert_true(cb_digest_eq(&none, &plain));
    cb_toc_pin_write(&pin, NULL, &m.layers[0].annotations);
    cb_key_source(&c, &m, &first);
    cb_strmap_done(&m.layers[0].annotations);
    cb_toc_pin_write(&pin, NULL, &m.layers[1].annotations);
    cb_key_source(&c, &m, &second);
    pin.digest = digest("another table");
    cb_toc_pin_write(&pin, NULL, &m.layers[1].annotations);
    cb_key_source(&c, &m, &other);
    assert_false(cb_digest_eq(&plain, &first));
    assert_false(cb_digest_eq(&first, &second));
    assert_false(cb_digest_eq(&second, &other));
    /* Those that layers carry count as much. */
    cb_strmap_set(&m.layers[1].annotations, CB_ANNOTATION_ESTARGZ_TOC, "sha256:1");
    cb_key_source(&c, &m, &carried);
    cb_strmap_set(&m.layers[1].annotations, CB_ANNOTATION_ESTARGZ_TOC, "sha256:2");
    cb_key_source(&c, &m, &moved);
    assert_false(cb_digest_eq(&other, &carried));
    assert_false(cb_digest_eq(&carried, &moved));
}

/* ---- entries ---- */

static struct cb_digest entry_digest(const struct cb_entry *e)
{
    struct cb_digest d;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hash_entry(h, e);
    cb_hasher_finish(h, &d);
    return d;
}

static void test_entry(void **state)
{
    (void)state;
    static const struct cb_xattr x = { "user.a", "1", 1 }, y = { "user.a", "2", 1 };
    const struct cb_entry plain = {
        .path = "a/b", .type = CB_ENTRY_FILE, .mode = 0644, .size = 3
    };
    struct cb_entry v[13];
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        v[i] = plain, cb_sum_of(&v[i].digest, "abc", 3);
    v[1].path = "a/c";
    v[2].type = CB_ENTRY_FIFO;
    v[3].mode = 04644;
    v[4].uid = 1;
    v[5].gid = 1;
    v[6].size = 4;
    cb_sum_of(&v[7].digest, "abd", 3);
    v[8].link = "";
    v[9].xattrs = &x;
    v[9].n_xattrs = 1;
    v[10].xattrs = &y;
    v[10].n_xattrs = 1;
    v[11].dev_major = 1;
    v[12].dev_minor = 1;
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        for (size_t k = 0; k < i; k++) {
            struct cb_digest a = entry_digest(&v[i]), b = entry_digest(&v[k]);
            if (cb_digest_eq(&a, &b))
                fail_msg("entries %zu and %zu are told apart by nothing", k, i);
        }
    /* Neither time nor place in the tar. */
    struct cb_entry same = plain;
    same.mtime = 99;
    same.offset = 512;
    struct cb_digest a = entry_digest(&same), b = entry_digest(&plain);
    assert_true(cb_digest_eq(&a, &b));
    /* A directory's size means nothing. */
    struct cb_entry d1 = { .path = "d", .type = CB_ENTRY_DIR, .size = 4096 },
                    d2 = { .path = "d", .type = CB_ENTRY_DIR };
    a = entry_digest(&d1);
    b = entry_digest(&d2);
    assert_true(cb_digest_eq(&a, &b));
}

static struct cb_digest selection_digest(const char *const *tree, const char *source)
{
    CB_AUTO(cb_stack_unref) struct cb_stack *s = tree_stack(tree);
    struct cb_copy_op op = { .unpack = -1 };
    struct cb_selection sel = { 0 };
    struct cb_digest d;
    cb_strvec_push(&op.sources, source);
    assert_int_equal(cb_stage_select(s, &op, &sel, NULL), 0);
    cb_selection_digest(&sel, &d);
    cb_selection_done(&sel);
    cb_strvec_done(&op.sources);
    return d;
}

#define L(...) (const char *const[]) { __VA_ARGS__, NULL }

static void test_selection(void **state)
{
    (void)state;
    struct cb_digest a = selection_digest(L("d d", "f d/x 644 0:0 1"), "d");
    struct cb_digest v[] = {
        selection_digest(L("d d", "f d/x 644 0:0 2"), "d"),
        selection_digest(L("d d", "f d/x 600 0:0 1"), "d"),
        selection_digest(L("d d 700", "f d/x 644 0:0 1"), "d"),
        selection_digest(L("d d", "f d/y 644 0:0 1"), "d"),
        selection_digest(L("d d", "f d/x 644 0:0 1", "d d/e"), "d"),
        selection_digest(L("d d", "f d/x 644 0:0 1"), "d/x"),
        selection_digest(L("d d"), "d"),
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        assert_false(cb_digest_eq(&a, &v[i]));
    struct cb_digest same = selection_digest(L("d d", "f d/x 644 0:0 1", "f other"), "d");
    assert_true(cb_digest_eq(&a, &same));
    /* What it is called in a directory counts too. */
    struct cb_digest x = selection_digest(L("f x 644 0:0 1"), "x"), y = selection_digest(L("f y 644 0:0 1"), "y");
    assert_false(cb_digest_eq(&x, &y));
}

/* ---- views ---- */

static void test_views_are_those_of_the_list(void **state)
{
    (void)state;
    struct cb_toc *t[6];
    CB_AUTO(cb_stack_cache_free) struct cb_stack_cache *c = cb_stack_cache_new();
    for (int i = 0; i < 6; i++) {
        cb_autofree char *file = cb_asprintf("f f%d 644 0:0 %d", i, i);
        cb_autofree char *gone = cb_asprintf("w f%d", i - 1);
        t[i] = i % 2 ? tree_toc(L(file, gone)) : tree_toc(L(file));
    }
    /* Beginnings, other ends, shorter ones, and more lists than are kept. */
    static const struct { int from, n; } lists[] = { { 0, 3 }, { 0, 6 }, { 0, 2 }, { 1, 3 }, { 2, 4 }, { 0, 0 },
                                                     { 3, 1 }, { 0, 6 }, { 4, 2 }, { 5, 1 }, { 0, 4 } };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++) {
        struct cb_toc **v = t + lists[i].from;
        size_t n = (size_t)lists[i].n;
        CB_AUTO(cb_stack_unref) struct cb_stack *got = cb_stack_cache_get(c, v, n), *want = cb_stack_new(v, n);
        assert_int_equal(cb_stack_layers(got), n);
        assert_int_equal(cb_stack_count(got), cb_stack_count(want));
        for (size_t k = 0; k < cb_stack_count(want); k++) {
            assert_string_equal(cb_stack_at(got, k)->e->path, cb_stack_at(want, k)->e->path);
            assert_int_equal(cb_stack_at(got, k)->layer, cb_stack_at(want, k)->layer);
        }
    }
    for (int i = 0; i < 6; i++)
        cb_toc_unref(t[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_run),       cmocka_unit_test(test_copy),      cmocka_unit_test(test_remote),
        cmocka_unit_test(test_mkdir),     cmocka_unit_test(test_no_two_ways_to_read),
        cmocka_unit_test(test_source),    cmocka_unit_test(test_source_pins), cmocka_unit_test(test_entry),
        cmocka_unit_test(test_selection), cmocka_unit_test(test_views_are_those_of_the_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
