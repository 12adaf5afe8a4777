/* SPDX-License-Identifier: Apache-2.0 */
/* What validate finds, and indexes that are put together. */
#include "edit_fixture.h"
#include "layer_support.h"
#include "util/encode.h"

struct findings {
    struct cb_strbuf wrong;
    size_t fine;
};

static void take_finding(void *arg, const struct cb_edit_finding *f)
{
    struct findings *v = arg;
    v->fine += !f->wrong;
    if (f->wrong)
        cb_strbuf_addf(&v->wrong, "%.*s: %s\n", (int)strcspn(f->what, " "), f->what, f->wrong);
}

/* What is wrong with app:1, a line a finding; *fine: how many hold. */
static char *validate(struct rig *g, bool fast, size_t *fine)
{
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct findings v = { .wrong = CB_STRBUF_INIT };
    struct cb_edit_validate_options o = { .fast = fast, .tell = take_finding, .arg = &v };
    cb_autofree char *text = cb_asprintf("%s/app:1", g->c->one.host);
    size_t wrong = 99, lines = 0;
    assert_int_equal(cb_edit_source_parse(&source, &g->env, text, NULL), 0);
    if (cb_edit_validate(&source, &o, &wrong, &g->err) < 0)
        fail_msg("%s", cb_error_text(&g->err));
    for (const char *p = v.wrong.buf; *p; p++)
        lines += *p == '\n';
    assert_int_equal(wrong, lines);
    *fine = v.fine;
    return cb_strbuf_detach(&v.wrong, NULL);
}

/* An image of one layer, each part as a test wants it. */
struct parts {
    const char *layer_type, *diff_id, *index_platform;
    const char *data; /* of the config, in its descriptor */
    int size_off; /* of the layer, in its descriptor */
    bool no_blob;
};

static void put_parts(struct rig *g, const struct parts *p)
{
    struct cb_strbuf tar cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_digest m;
    sup_file(&tar, "a", p->no_blob ? "never there" : "x");
    sup_end(&tar);
    fake_put_blob(&g->c->one, p->no_blob ? "elsewhere" : "app", tar.buf, tar.len, &d);
    cb_autofree char *layer = text_of(&d.digest);
    cb_autofree char *config = cb_asprintf("{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{},\"rootfs\":"
                                           "{\"type\":\"layers\",\"diff_ids\":[\"%s\"]}}",
                                           p->diff_id ? p->diff_id : layer);
    cb_autofree char *c = put_blob(&g->c->one, "app", config);
    struct cb_strbuf data cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (p->data) {
        cb_strbuf_adds(&data, ",\"data\":\"");
        cb_base64_encode(&data, *p->data ? p->data : config, strlen(*p->data ? p->data : config));
        cb_strbuf_adds(&data, "\"");
    }
    cb_autofree char *manifest = cb_asprintf(
        "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"config\":{\"mediaType\":\"" CB_MT_OCI_CONFIG
        "\",\"digest\":\"%s\",\"size\":%zu%s},\"layers\":[{\"mediaType\":\"%s\",\"digest\":\"%s\","
        "\"size\":%d}]}",
        c, strlen(config), data.buf, p->layer_type ? p->layer_type : CB_MT_OCI_LAYER, layer,
        (int)tar.len + p->size_off);
    fake_put_manifest(&g->c->one, "app", p->index_platform ? NULL : "1", CB_MT_OCI_MANIFEST, manifest, &m);
    if (!p->index_platform)
        return;
    cb_autofree char *digest = text_of(&m);
    cb_autofree char *index = cb_asprintf(
        "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":[{\"mediaType\":\""
        CB_MT_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":%zu,\"platform\":%s}]}",
        digest, strlen(manifest), p->index_platform);
    fake_put_manifest(&g->c->one, "app", "1", CB_MT_OCI_INDEX, index, NULL);
}

static void what_does_not_hold_is_named(void **state)
{
    static const struct {
        struct parts parts;
        bool fast;
        size_t fine;
        const char *wrong; /* what the only finding has in it; NULL: nothing is wrong */
    } cases[] = {
        { { 0 }, false, 3, NULL },
        { { 0 }, true, 3, NULL },
        { { .size_off = 1 }, true, 2, "layer: it has 2048 bytes, its descriptor says 2049" },
        { { .size_off = 1 }, false, 2, "layer: " },
        { { .no_blob = true }, true, 2, "layer: " },
        { { .no_blob = true }, false, 2, "layer: " },
        { { .layer_type = CB_MT_OCI_LAYER_GZIP }, false, 2, "its media type says gzip, it is no compression" },
        { { .layer_type = CB_MT_OCI_LAYER_GZIP }, true, 3, NULL },
        { { .diff_id = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
          false, 2, "layer: " },
        { { .data = "" }, false, 3, NULL },
        { { .data = "{}" }, false, 2, "manifest: the data of config sha256:" },
        { { .index_platform = "{\"architecture\":\"amd64\",\"os\":\"linux\"}" }, false, 4, NULL },
        { { .index_platform = "{\"architecture\":\"arm64\",\"os\":\"linux\"}" }, false, 3,
          "config: the index says that it is for linux/arm64, its configuration linux/amd64" },
    };
    struct rig *g = *state;
    for (size_t i = 0; i < CB_COUNTOF(cases); i++) {
        size_t fine = 0;
        put_parts(g, &cases[i].parts);
        cb_autofree char *wrong = validate(g, cases[i].fast, &fine);
        if (cases[i].wrong ? !strstr(wrong, cases[i].wrong) : *wrong != '\0')
            fail_msg("case %zu: «%s»", i, wrong);
        assert_int_equal(fine, cases[i].fine);
    }
}

static void what_an_index_lists_must_be_there_as_it_says(void **state)
{
    struct rig *g = *state;
    size_t fine = 0;
    put_image(g, "app", NULL, "amd64");
    cb_autofree char *index = cb_asprintf(
        "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":["
        "{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":7},"
        "{\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"digest\":\"%s\",\"size\":7,"
        "\"annotations\":{\"vnd.docker.reference.digest\":\"sha256:0\"}}]}", g->manifest, g->layer);
    fake_put_manifest(&g->c->one, "app", "1", CB_MT_OCI_INDEX, index, NULL);
    cb_autofree char *wrong = validate(g, true, &fine);
    assert_int_equal(fine, 1); /* the index itself */
    assert_non_null(strstr(wrong, "its descriptor says 7"));
    assert_non_null(strstr(wrong, "an attestation of an image that the index does not have"));
    assert_non_null(strstr(wrong, "not found"));
}

/* What lists the same thing ten times, in itself by another that does, says no more than who lists it once. */
static void what_is_listed_again_is_told_once(void **state)
{
    struct rig *g = *state;
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_edit_doc top cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(&g->env);
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    const char *type = CB_MT_OCI_MANIFEST;
    size_t fine = 0;
    put_image(g, "app", NULL, "amd64");
    cb_autofree char *digest = cb_strdup(g->manifest);
    cb_autofree char *image = cb_asprintf("%s/app@%s", g->c->one.host, digest);
    assert_int_equal(cb_edit_source_parse(&source, &g->env, image, NULL), 0);
    assert_int_equal(cb_edit_source_top(&source, &top, NULL), 0);
    size_t size = top.body.len;
    cb_edit_doc_done(&top);
    cb_edit_source_done(&source);
    for (int depth = 0; depth < 3; depth++) {
        struct cb_strbuf index cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_adds(&index, "{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_INDEX "\",\"manifests\":[");
        for (int i = 0; i < 10; i++)
            cb_strbuf_addf(&index, "%s{\"mediaType\":\"%s\",\"digest\":\"%s\",\"size\":%zu}", i ? "," : "", type,
                           digest, size);
        cb_strbuf_adds(&index, "]}");
        cb_descriptor_done(&d);
        cb_descriptor_of(&d, CB_MT_OCI_INDEX, index.buf, index.len);
        fake_put_manifest(&g->c->one, "app", depth == 2 ? "1" : NULL, CB_MT_OCI_INDEX, index.buf, NULL);
        free(digest);
        digest = text_of(&d.digest);
        size = index.len;
        type = CB_MT_OCI_INDEX;
    }
    cb_autofree char *wrong = validate(g, true, &fine);
    assert_string_equal(wrong, "");
    assert_int_equal(fine, 3 + 3); /* the indexes; manifest, config and layer */
    cb_autofree char *text = cb_asprintf("%s/app:1", g->c->one.host);
    assert_int_equal(cb_edit_source_parse(&source, &g->env, text, NULL), 0);
    assert_int_equal(cb_edit_source_top(&source, &top, NULL), 0);
    unsigned before = fake_count(&g->c->one, "GET ");
    assert_int_equal(cb_edit_plan_tree(plan, &source, &top, NULL), 0);
    assert_int_equal(fake_count(&g->c->one, "GET ") - before, 3);
}

static bool be_down(struct fake *f CB_UNUSED, struct server_request *r, bool *keep)
{
    if (!strstr(r->path, "/blobs/"))
        return false;
    *keep = fake_error(r, 403, "DENIED");
    return true;
}

static void what_cannot_be_looked_at_is_no_finding(void **state)
{
    struct rig *g = *state;
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct findings v = { .wrong = CB_STRBUF_INIT };
    struct cb_edit_validate_options o = { .tell = take_finding, .arg = &v };
    cb_autofree char *text = cb_asprintf("%s/app:1", g->c->one.host);
    size_t wrong = 0;
    put_image(g, "app", "1", "amd64");
    g->c->one.hook = be_down;
    assert_int_equal(cb_edit_source_parse(&source, &g->env, text, NULL), 0);
    assert_int_equal(cb_edit_validate(&source, &o, &wrong, &g->err), -CB_EAUTH);
    assert_string_equal(v.wrong.buf, "");
}

/* ---- putting an index together ---- */

static int add(struct rig *g, struct cb_edit_index *x, const char *what)
{
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    cb_autofree char *text = cb_asprintf("%s/%s", g->c->one.host, what);
    assert_int_equal(cb_edit_source_parse(&source, &g->env, text, NULL), 0);
    return cb_edit_index_add(x, &source, &g->err);
}

static void one_of_the_same_platform_takes_its_place(void **state)
{
    struct rig *g = *state;
    cb_autojson json_t *o = cb_edit_index_new(false);
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(&g->env);
    struct cb_edit_index x = { .o = o, .plan = plan };
    put_image(g, "app", "amd", "amd64");
    put_image(g, "app", "arm", "arm64");
    put_image(g, "other", "amd", "amd64");
    put_parts(g, &(struct parts){ 0 }); /* app:1, amd64 too */
    assert_int_equal(add(g, &x, "app:amd"), 0);
    assert_int_equal(add(g, &x, "app:arm"), 0);
    assert_int_equal(add(g, &x, "other:amd"), 0); /* the very same */
    assert_int_equal(x.added, 2);
    assert_int_equal(x.replaced, 0);
    json_t *list = json_object_get(o, "manifests");
    cb_autojson json_t *first = json_deep_copy(json_array_get(list, 0));
    x.refuse_same = true;
    assert_int_equal(add(g, &x, "app:1"), -CB_ECONF);
    x.refuse_same = false;
    assert_int_equal(add(g, &x, "app:1"), 0);
    assert_int_equal(x.replaced, 1);
    assert_int_equal(json_array_size(list), 2);
    assert_false(json_equal(first, json_array_get(list, 0)));
    assert_int_equal(cb_edit_index_remove(&x, "linux/s390x", &g->err), -CB_ENOTFOUND);
    assert_int_equal(cb_edit_index_remove(&x, "linux/arm64", &g->err), 0);
    assert_int_equal(cb_edit_index_remove(&x, json_string_value(json_object_get(json_array_get(list, 0), "digest")),
                                          &g->err), 0);
    assert_int_equal(json_array_size(list), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_does_not_hold_is_named, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(what_an_index_lists_must_be_there_as_it_says, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(what_is_listed_again_is_told_once, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_looked_at_is_no_finding, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(one_of_the_same_platform_takes_its_place, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
