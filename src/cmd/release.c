/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/release.h"

#include <unistd.h>

#include "cmd/build_result.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/limits.h"
#include "util/timeutil.h"

#define VERSION_1 1
#define MAX_TAGS 10000
#define MAX_ID 1000

#define AT(field) offsetof(struct release_options, field)
const struct cb_opt release_opts[] = {
    { "immutable", 0, CB_OPT_FLAG, AT(immutable), NULL, "fail rather than move a tag that stands for something else",
      NULL },
    { "expect-old", 0, CB_OPT_LIST, AT(expect_old), "[NAME:TAG=]DIGEST|none",
      "move tags only from there; without a name: every tag", NULL },
    { "receipt", 0, CB_OPT_STRING, AT(receipt), "FILE", "write what each tag was and is there, for `cbpush rollback`",
      NULL },
    CB_OPT_END,
};

const struct cb_opt join_opts[] = {
    { "join", 0, CB_OPT_STRING, AT(join), "ID", "push one platform of an index; others come from other machines",
      NULL },
    { "expect", 0, CB_OPT_LIST, AT(expect), "OS/ARCH,…", "the platforms of that index", NULL },
    CB_OPT_END,
};

void release_options_done(struct release_options *o)
{
    cb_strvec_done(&o->expect_old);
    cb_strvec_done(&o->expect);
}

int join_options_take(const struct release_options *o, struct join_values *values, const struct cb_join **out,
                      struct cb_error *err)
{
    *out = NULL;
    if (!o->join && !o->expect.n)
        return 0;
    if (!o->join || !*o->join || !o->expect.n)
        return cb_error_set(err, CB_EUSAGE, "--join ID and --expect OS/ARCH,… go together");
    if (strlen(o->join) > MAX_ID)
        return cb_error_set(err, CB_EUSAGE, "--join: an ID has at most %d characters", MAX_ID);
    int r = cb_platforms_parse(&o->expect, &values->expect, &values->join.n_expect, err);
    if (r < 0)
        return cb_error_wrap(err, "--expect");
    values->join.id = o->join;
    values->join.expect = values->expect;
    *out = &values->join;
    return 0;
}

void join_values_done(struct join_values *v)
{
    cb_platforms_free(v->expect, v->join.n_expect);
}

struct cb_release_policy release_policy(const struct release_options *o)
{
    return (struct cb_release_policy){ .immutable = o->immutable, .expect_old = &o->expect_old };
}

/* ---- the receipt ---- */

static json_t *digest_json(const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    return cb_digest_is_set(d) ? json_string(cb_digest_text(d, text)) : json_null();
}

/* What the tags stand for. */
static const struct cb_digest *top_digest(const struct cb_build_result *res)
{
    return res->joined.media_type ? &res->joined.digest : &res->desc.digest;
}

static json_t *tags_json(const struct cb_build_result *res)
{
    json_t *list = json_array();
    for (size_t i = 0; i < res->n_tags; i++) {
        const struct cb_build_tag *t = &res->tags[i];
        if (!t->pushed || t->by_digest)
            continue;
        json_t *o = json_object();
        cb_json_put(o, "name", cb_json_string(t->name));
        json_object_set_new(o, "old", digest_json(&t->old));
        json_object_set_new(o, "new", digest_json(top_digest(res)));
        json_object_set_new(o, "moved", json_boolean(t->moved));
        json_array_append_new(list, o);
    }
    return list;
}

int receipt_write(const char *path, const struct cb_build_result *res, bool complete, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT, time cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *o = json_object();
    if (!path || (!complete && res->n_tags == 0))
        return 0;
    cb_time_format(&time, cb_time_now());
    json_object_set_new(o, "version", json_integer(VERSION_1));
    json_object_set_new(o, "created", json_string(time.buf));
    json_object_set_new(o, "complete", json_boolean(complete));
    json_object_set_new(o, "digest", digest_json(top_digest(res)));
    json_object_set_new(o, "tags", tags_json(res));
    cb_json_print_pretty(&text, o);
    return cb_report_write_n(path, text.buf, text.len, err);
}

static int read_digest(const json_t *tag, const char *key, bool may_be_null, struct cb_digest *out,
                       struct cb_error *err)
{
    const json_t *j = json_object_get(tag, key);
    *out = (struct cb_digest){ 0 };
    if (may_be_null && json_is_null(j))
        return 0;
    if (!json_is_string(j))
        return cb_error_set(err, CB_ECONF, "\"%s\" is no digest", key);
    return cb_digest_parse(out, json_string_value(j), err);
}

static int read_tag(const json_t *tag, struct cb_rollback *out, struct cb_error *err)
{
    const char *name = json_string_value(json_object_get(tag, "name"));
    if (!name)
        return cb_error_set(err, CB_ECONF, "a tag has no \"name\"");
    int r = cb_reference_parse(&out->ref, name, err);
    if (r == 0 && (!out->ref.tag || cb_digest_is_set(&out->ref.digest)))
        return cb_error_set(err, CB_ECONF, "\"%s\" is no NAME:TAG", name);
    if (r == 0)
        r = read_digest(tag, "old", true, &out->old, err);
    return r < 0 ? r : read_digest(tag, "new", false, &out->now, err);
}

static int read_tags(const json_t *o, struct cb_rollback **v, size_t *n, struct cb_error *err)
{
    const json_t *list = json_object_get(o, "tags");
    size_t count = json_array_size(list);
    int r = 0;
    if (json_integer_value(json_object_get(o, "version")) != VERSION_1)
        return cb_error_set(err, CB_ECONF, "this is no receipt of version 1");
    if (!json_is_array(list) || count > MAX_TAGS)
        return cb_error_set(err, CB_ECONF, "\"tags\" is no list, or longer than %d", MAX_TAGS);
    *v = cb_calloc(count + 1, sizeof **v);
    for (size_t i = 0; r == 0 && i < count; i++) {
        const json_t *tag = json_array_get(list, i);
        if (json_is_true(json_object_get(tag, "moved")))
            r = read_tag(tag, &(*v)[(*n)++], err);
    }
    return r;
}

int receipt_read(const char *path, const struct cb_cancel *cancel, struct cb_rollback **v, size_t *n,
                 struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    *v = NULL;
    *n = 0;
    struct cb_input input = { STDIN_FILENO, cancel };
    bool standard = !strcmp(path, "-");
    int r = standard ? cb_input_slurp(&input, CB_MAX_MANIFEST, &text, err)
                     : cb_file_slurp(path, CB_MAX_MANIFEST, &text, err);
    if (r < 0)
        return cb_error_wrap(err, "receipt %s", standard ? "on standard input" : path);
    cb_autojson json_t *o = cb_json_parse(text.buf, text.len, err);
    r = o ? read_tags(o, v, n, err) : -CB_ECONF;
    return r < 0 ? cb_error_set(err, CB_ECONF, "receipt %s: %s", path, cb_error_text(err)) : 0;
}

void receipt_free(struct cb_rollback *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        cb_reference_done(&v[i].ref);
    free(v);
}
