/* SPDX-License-Identifier: Apache-2.0 */
/* Edits of what a registry has: what they keep, what they send, and when the tag moves. */
#include "edit_fixture.h"

static char *entry(struct rig *g, const char *digest, const char *rest)
{
    cb_autofree char *key = cb_asprintf("app/manifests/%s", digest);
    const struct fake_thing *t = fake_get(&g->c->one, key);
    assert_non_null(t);
    return cb_asprintf("{ \"mediaType\": \"%s\", \"digest\": \"%s\", \"size\": %zu%s }", t->type, digest,
                       t->body.len, rest);
}

/* Of two platforms, with an attestation for each. *amd, *arm: digests. */
static void put_index(struct rig *g, char **amd, char **arm)
{
    struct cb_digest d;
    cb_autofree char *blob = put_blob(&g->c->one, "app", "{}");
    cb_autofree char *proof = cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"config\":"
                                          "{\"mediaType\":\"" CB_MT_OCI_EMPTY "\",\"digest\":\"%s\",\"size\":2},"
                                          "\"layers\":[]}", blob);
    *amd = cb_strdup(put_image(g, "app", NULL, "amd64"));
    *arm = cb_strdup(put_image(g, "app", NULL, "arm64"));
    fake_put_manifest(&g->c->one, "app", NULL, CB_MT_OCI_MANIFEST, proof, &d);
    cb_autofree char *p = text_of(&d);
    cb_autofree char *of_amd = cb_asprintf(", \"platform\": {\"architecture\": \"unknown\", \"os\": \"unknown\"}, "
                                           "\"annotations\": {\"vnd.docker.reference.digest\": \"%s\"}", *amd);
    cb_autofree char *of_arm = cb_asprintf(", \"platform\": {\"architecture\": \"unknown\", \"os\": \"unknown\"}, "
                                           "\"annotations\": {\"vnd.docker.reference.digest\": \"%s\"}", *arm);
    cb_autofree char *a = entry(g, *amd, ", \"odd\": 1, \"platform\": {\"architecture\": \"amd64\", "
                                         "\"os\": \"linux\"}");
    cb_autofree char *b = entry(g, *arm, ", \"odd\": 2, \"platform\": {\"architecture\": \"arm64\", \"os\": \"linux\","
                                         " \"variant\": \"v8\"}");
    cb_autofree char *c = entry(g, p, of_amd), *e = entry(g, p, of_arm);
    cb_autofree char *index = cb_asprintf("{ \"schemaVersion\": 2, \"mediaType\": \"" CB_MT_OCI_INDEX "\", \"odd\": 0,"
                                          " \"manifests\": [ %s, %s, %s, %s ] }", a, b, c, e);
    fake_put_manifest(&g->c->one, "app", "1", CB_MT_OCI_INDEX, index, NULL);
}

/* What a name of the registry stands for, as JSON (owned by the caller). */
static json_t *stored(struct rig *g, const char *key)
{
    const struct fake_thing *t = fake_get(&g->c->one, key);
    return t ? cb_json_parse(t->body.buf, t->body.len, NULL) : NULL;
}

static void assert_bytes(struct rig *g, const char *key, const char *same_as)
{
    const struct fake_thing *a = fake_get(&g->c->one, key), *b = fake_get(&g->c->one, same_as);
    assert_non_null(a);
    assert_non_null(b);
    assert_string_equal(a->body.buf, b->body.buf);
}

/* ---- the edit ---- */

static int set_label(void *arg, struct cb_edit_draft *d, struct cb_error *err)
{
    const struct rig *g = arg;
    struct cb_edit_config c = { 0 };
    cb_strmap_set(&c.labels, g->label, "1");
    int r = cb_edit_config_apply(&c, d->config, err);
    cb_edit_config_done(&c);
    return r;
}

static int set_annotation(void *arg CB_UNUSED, json_t *manifest, const struct cb_platform *p CB_UNUSED,
                          struct cb_error *err CB_UNUSED)
{
    cb_edit_annotate(manifest, "k", "v");
    return 0;
}

static void take_note(void *arg, const char *line)
{
    cb_strbuf_addf(&((struct rig *)arg)->notes, "%s\n", line);
}

static int rewrite(struct rig *g, const char *from, const char *to, struct cb_edit_rewrite *w,
                   struct cb_edit_pushed *out)
{
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_reference target cb_cleanup_reference = { 0 };
    cb_autofree char *a = cb_asprintf("%s/%s", g->c->one.host, from), *b = cb_asprintf("%s/%s", g->c->one.host, to);
    assert_int_equal(cb_edit_source_parse(&source, &g->env, a, NULL), 0);
    assert_int_equal(cb_reference_parse(&target, b, NULL), 0);
    w->source = &source;
    w->target = &target;
    w->arg = g;
    w->note = take_note;
    w->note_arg = g;
    cb_error_done(&g->err);
    g->err = (struct cb_error)CB_ERROR_INIT;
    return cb_edit_rewrite(w, out, &g->err);
}

#define ok(call)                                                                                                     \
    do {                                                                                                             \
        if ((call) < 0)                                                                                              \
            fail_msg("%s: %s", #call, cb_error_text(&g->err));                                                       \
    } while (0)

/* ---- one image ---- */

static void members_that_nobody_knows_survive(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label, .manifest = set_annotation };
    put_image(g, "app", "1", "amd64");
    ok(rewrite(g, "app:1", "app:1", &w, &p));
    cb_autojson json_t *m = stored(g, "app/manifests/1");
    assert_true(p.moved);
    assert_true(json_is_true(json_array_get(json_object_get(json_object_get(m, "odd"), "deep"), 0)));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(m, "config"), "odd")), 1);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(m, "layers"), 0), "odd")), 2);
    assert_string_equal(json_string_value(json_object_get(json_object_get(m, "annotations"), "k")), "v");
    cb_autofree char *key = cb_asprintf("app/blobs/%s", json_string_value(
        json_object_get(json_object_get(m, "config"), "digest")));
    cb_autojson json_t *c = stored(g, key);
    assert_int_equal(json_array_size(json_object_get(c, "odd")), 2);
    json_t *labels = json_object_get(json_object_get(c, "config"), "Labels");
    assert_int_equal(json_object_size(labels), 2);
}

static void a_layer_is_never_fetched(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label };
    put_image(g, "app", "1", "amd64");
    ok(rewrite(g, "app:1", "other:1", &w, &p));
    cb_autofree char *get = cb_asprintf("GET /v2/app/blobs/%s", g->layer);
    assert_int_equal(fake_count(&g->c->one, get), 0);
    assert_int_equal(p.mounted, 1);
    assert_int_equal(p.sent, 1);
    cb_autofree char *there = cb_asprintf("other/blobs/%s", g->layer);
    assert_non_null(fake_get(&g->c->one, there));
}

static void an_edit_that_changes_nothing_sends_nothing(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label };
    g->label = "old";
    put_image(g, "app", "1", "amd64");
    ok(rewrite(g, "app:1", "app:1", &w, &p));
    assert_false(p.moved);
    assert_int_equal(fake_count(&g->c->one, "PUT "), 0);
    assert_int_equal(fake_count(&g->c->one, "POST "), 0);
    cb_autofree char *digest = text_of(&p.desc.digest);
    assert_string_equal(digest, g->manifest);
}

static void without_a_tag_nothing_is_tagged(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label };
    put_image(g, "app", "1", "amd64");
    cb_autofree char *before = cb_strdup(fake_get(&g->c->one, "app/manifests/1")->body.buf);
    cb_autofree char *from = cb_asprintf("app@%s", g->manifest);
    ok(rewrite(g, from, "app", &w, &p));
    assert_false(p.moved);
    assert_string_equal(fake_get(&g->c->one, "app/manifests/1")->body.buf, before);
    cb_autofree char *digest = text_of(&p.desc.digest), *key = cb_asprintf("app/manifests/%s", digest);
    assert_non_null(fake_get(&g->c->one, key));
}

static void an_artifact_is_no_image(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label }, a = { .manifest = set_annotation };
    cb_autofree char *blob = put_blob(&g->c->one, "app", "{}");
    cb_autofree char *m = cb_asprintf("{\"schemaVersion\":2,\"mediaType\":\"" CB_MT_OCI_MANIFEST "\",\"artifactType\":"
                                      "\"a/b\",\"config\":{\"mediaType\":\"" CB_MT_OCI_EMPTY "\",\"digest\":\"%s\","
                                      "\"size\":2},\"layers\":[]}", blob);
    fake_put_manifest(&g->c->one, "app", "1", CB_MT_OCI_MANIFEST, m, NULL);
    assert_int_equal(rewrite(g, "app:1", "app:1", &w, &p), -CB_ECONF);
    ok(rewrite(g, "app:1", "app:1", &a, &p));
    assert_true(p.moved);
}

static void docker_images_have_no_annotations_until_they_are_oci(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .manifest = set_annotation };
    put_image(g, "app", "x", "amd64");
    const struct fake_thing *t = fake_get(&g->c->one, "app/manifests/x");
    cb_autojson json_t *o = cb_json_parse(t->body.buf, t->body.len, NULL);
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_json_put(o, "mediaType", json_string(CB_MT_DOCKER_MANIFEST));
    cb_json_print(&body, o);
    fake_put_manifest(&g->c->one, "app", "1", CB_MT_DOCKER_MANIFEST, body.buf, NULL);
    assert_int_equal(rewrite(g, "app:1", "app:1", &w, &p), -CB_EUSAGE);
    assert_int_equal(fake_count(&g->c->one, "PUT "), 0);
    w.oci = true;
    ok(rewrite(g, "app:1", "app:1", &w, &p));
    assert_string_equal(p.desc.media_type, CB_MT_OCI_MANIFEST);
}

/* ---- the tag ---- */

static bool steal_tag(struct fake *f, struct server_request *r, bool *keep CB_UNUSED)
{
    if (!strcmp(r->method, "PUT") && strstr(r->path, "/app/manifests/sha256:"))
        fake_put_manifest(f, "app", "1", CB_MT_OCI_MANIFEST, "{\"stolen\":1}", NULL);
    return false;
}

static void a_tag_that_somebody_else_moved_meanwhile_stays(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label };
    put_image(g, "app", "1", "amd64");
    g->c->one.hook = steal_tag;
    assert_int_equal(rewrite(g, "app:1", "app:1", &w, &p), -CB_ENET);
    assert_string_equal(fake_get(&g->c->one, "app/manifests/1")->body.buf, "{\"stolen\":1}");
}

static bool refuse_uploads(struct fake *f CB_UNUSED, struct server_request *r, bool *keep)
{
    if (strcmp(r->method, "POST") != 0)
        return false;
    *keep = fake_error(r, 403, "DENIED");
    return true;
}

static void a_tag_moves_only_when_everything_is_there(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label };
    put_image(g, "app", "1", "amd64");
    cb_autofree char *before = cb_strdup(fake_get(&g->c->one, "app/manifests/1")->body.buf);
    g->c->one.hook = refuse_uploads;
    assert_int_equal(rewrite(g, "app:1", "app:1", &w, &p), -CB_EAUTH);
    assert_int_equal(fake_count(&g->c->one, "PUT /v2/app/manifests/"), 0);
    assert_string_equal(fake_get(&g->c->one, "app/manifests/1")->body.buf, before);
}

/* ---- an index ---- */

static const char *digest_at(const json_t *index, size_t i)
{
    return json_string_value(json_object_get(json_array_get(json_object_get(index, "manifests"), i), "digest"));
}

static void every_image_of_an_index_is_edited_and_attestations_go(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_edit_rewrite w = { .image = set_label };
    cb_autofree char *amd = NULL, *arm = NULL;
    put_index(g, &amd, &arm);
    ok(rewrite(g, "app:1", "app:1", &w, &p));
    cb_autojson json_t *i = stored(g, "app/manifests/1");
    assert_int_equal(json_array_size(json_object_get(i, "manifests")), 2);
    assert_string_not_equal(digest_at(i, 0), amd);
    assert_string_not_equal(digest_at(i, 1), arm);
    assert_int_equal(json_integer_value(json_object_get(json_array_get(json_object_get(i, "manifests"), 1), "odd")), 2);
    assert_non_null(json_object_get(i, "odd"));
    assert_non_null(strstr(g->notes.buf, "attestation"));
}

static void the_images_of_other_platforms_keep_their_bytes(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_platform want cb_cleanup_platform = { 0 };
    struct cb_edit_rewrite w = { .image = set_label, .platforms = &want, .n_platforms = 1 };
    cb_autofree char *amd = NULL, *arm = NULL;
    assert_int_equal(cb_platform_parse(&want, "linux/arm64", NULL), 0);
    put_index(g, &amd, &arm);
    ok(rewrite(g, "app:1", "copy:1", &w, &p));
    cb_autojson json_t *i = stored(g, "copy/manifests/1");
    assert_int_equal(json_array_size(json_object_get(i, "manifests")), 3); /* the attestation of amd64 holds */
    assert_string_equal(digest_at(i, 0), amd);
    assert_string_not_equal(digest_at(i, 1), arm);
    cb_autofree char *copy = cb_asprintf("copy/manifests/%s", amd), *first = cb_asprintf("app/manifests/%s", amd);
    assert_bytes(g, copy, first);
    cb_autofree char *proof = cb_asprintf("copy/manifests/%s", digest_at(i, 2));
    assert_non_null(fake_get(&g->c->one, proof));
}

static void a_platform_that_is_not_there_is_an_error(void **state)
{
    struct rig *g = *state;
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    struct cb_platform want cb_cleanup_platform = { 0 };
    struct cb_edit_rewrite w = { .image = set_label, .platforms = &want, .n_platforms = 1 };
    cb_autofree char *amd = NULL, *arm = NULL;
    assert_int_equal(cb_platform_parse(&want, "linux/s390x", NULL), 0);
    put_index(g, &amd, &arm);
    assert_int_equal(rewrite(g, "app:1", "app:1", &w, &p), -CB_ECONF);
    put_image(g, "app", "2", "s390x");
    assert_int_equal(rewrite(g, "app:2", "app:2", &w, &p), -CB_EUSAGE);
    assert_int_equal(fake_count(&g->c->one, "PUT "), 0);
}

/* ---- an index of what others name ---- */

static void open_source(struct rig *g, const char *name, struct cb_edit_source *s)
{
    cb_autofree char *text = cb_asprintf("%s/%s", g->c->one.host, name);
    assert_int_equal(cb_edit_source_parse(s, &g->env, text, NULL), 0);
}

static void push_plan(struct rig *g, struct cb_edit_plan *plan, const char *to)
{
    struct cb_reference target cb_cleanup_reference = { 0 };
    struct cb_edit_pushed p cb_cleanup_edit_pushed = { 0 };
    cb_autofree char *text = cb_asprintf("%s/%s", g->c->one.host, to);
    assert_int_equal(cb_reference_parse(&target, text, NULL), 0);
    ok(cb_edit_plan_push(plan, &target, NULL, &p, &g->err));
}

static void an_index_that_is_taken_whole_keeps_its_bytes(void **state)
{
    struct rig *g = *state;
    struct cb_edit_source s cb_cleanup_edit_source = { 0 };
    struct cb_edit_doc top cb_cleanup_edit_doc = CB_EDIT_DOC_INIT;
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(&g->env);
    cb_autofree char *amd = NULL, *arm = NULL;
    put_index(g, &amd, &arm);
    open_source(g, "app:1", &s);
    ok(cb_edit_source_top(&s, &top, &g->err));
    ok(cb_edit_plan_tree(plan, &s, &top, &g->err));
    push_plan(g, plan, "copy:1");
    assert_bytes(g, "copy/manifests/1", "app/manifests/1");
    cb_autojson json_t *i = stored(g, "copy/manifests/1");
    cb_autofree char *proof = cb_asprintf("copy/manifests/%s", digest_at(i, 2));
    cb_autofree char *layer = cb_asprintf("copy/blobs/%s", g->layer);
    assert_non_null(fake_get(&g->c->one, proof));
    assert_non_null(fake_get(&g->c->one, layer));
}

/* The annotations of the one, the platform of the other; what is passed over is not pushed either. */
static void a_manifest_is_listed_as_its_descriptor_says(void **state)
{
    struct rig *g = *state;
    struct cb_platform want cb_cleanup_platform = { 0 };
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(&g->env);
    cb_autojson json_t *index = cb_edit_index_new(false);
    cb_autojson json_t *as = json_pack("{s:{s:s},s:{s:s}}", "annotations", "a", "b", "platform", "architecture",
                                       "arm64");
    struct cb_edit_index x = { .o = index, .plan = plan, .platforms = &want, .n_platforms = 1, .pass_over = true };
    assert_int_equal(cb_platform_parse(&want, "linux/arm64", NULL), 0);
    cb_autofree char *other = cb_strdup(put_image(g, "app", "2", "s390x"));
    put_image(g, "app", "1", "amd64");
    for (int i = 1; i <= 2; i++) {
        struct cb_edit_source s cb_cleanup_edit_source = { 0 };
        open_source(g, i == 1 ? "app:1" : "app:2", &s);
        x.as = i == 1 ? as : NULL;
        ok(cb_edit_index_add(&x, &s, &g->err));
    }
    assert_true(cb_edit_index_has(&x, &want));
    assert_int_equal(json_array_size(json_object_get(index, "manifests")), 1);
    const json_t *entry = json_array_get(json_object_get(index, "manifests"), 0);
    const json_t *platform = json_object_get(entry, "platform");
    assert_string_equal(json_string_value(json_object_get(json_object_get(entry, "annotations"), "a")), "b");
    assert_string_equal(json_string_value(json_object_get(platform, "os")), "linux");
    assert_string_equal(json_string_value(json_object_get(platform, "architecture")), "arm64");
    push_plan(g, plan, "copy:1");
    cb_autofree char *key = cb_asprintf("copy/manifests/%s", other);
    assert_null(fake_get(&g->c->one, key));
}

/* Windows has an image a version; who names none means all of them. */
static void a_platform_without_a_version_means_every_version(void **state)
{
    struct rig *g = *state;
    struct cb_platform want cb_cleanup_platform = { 0 };
    CB_AUTO(cb_edit_plan_free) struct cb_edit_plan *plan = cb_edit_plan_new(&g->env);
    cb_autojson json_t *index = cb_edit_index_new(false);
    struct cb_edit_index x = { .o = index, .plan = plan, .platforms = &want, .n_platforms = 1, .refuse_same = true };
    static const char *const versions[] = { "10.0.17763.1", "10.0.20348.2" };
    assert_int_equal(cb_platform_parse(&want, "windows/amd64", NULL), 0);
    put_image(g, "app", "1", "amd64");
    put_image(g, "app", "2", "arm64"); /* another digest */
    for (int i = 0; i < 2; i++) {
        struct cb_edit_source s cb_cleanup_edit_source = { 0 };
        cb_autojson json_t *as = json_pack("{s:{s:s,s:s,s:s}}", "platform", "os", "windows", "architecture", "amd64",
                                           "os.version", versions[i]);
        open_source(g, i ? "app:2" : "app:1", &s);
        x.as = as;
        ok(cb_edit_index_add(&x, &s, &g->err));
    }
    assert_true(cb_edit_index_has(&x, &want));
    assert_int_equal(json_array_size(json_object_get(index, "manifests")), 2);
    ok(cb_edit_index_remove(&x, "windows/amd64", &g->err));
    assert_int_equal(x.removed, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(members_that_nobody_knows_survive, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_layer_is_never_fetched, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(an_edit_that_changes_nothing_sends_nothing, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(without_a_tag_nothing_is_tagged, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(an_artifact_is_no_image, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(docker_images_have_no_annotations_until_they_are_oci, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_tag_that_somebody_else_moved_meanwhile_stays, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_tag_moves_only_when_everything_is_there, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(every_image_of_an_index_is_edited_and_attestations_go, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_images_of_other_platforms_keep_their_bytes, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_platform_that_is_not_there_is_an_error, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(an_index_that_is_taken_whole_keeps_its_bytes, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_manifest_is_listed_as_its_descriptor_says, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(a_platform_without_a_version_means_every_version, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
