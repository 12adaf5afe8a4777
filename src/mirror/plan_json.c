/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/private.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/limits.h"

#define PLAN_VERSION 1
#define MAX_PAIRS 100000

static const char *const actions[] = { "skip", "copy", "delete", "referrers" };
static const char *const outcomes[] = { NULL, "done", "current", "failed" };

const char *mirror_reason(const char *word)
{
    static const char *const words[] = { "new", "changed", "same", "gone from the source", "other referrers",
                                         "not looked at" };
    for (size_t i = 0; word && i < CB_COUNTOF(words); i++)
        if (!strcmp(words[i], word))
            return words[i];
    return NULL;
}

/* ---- out ---- */

static void put_digest(json_t *o, const char *key, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_json_put(o, key, cb_digest_is_set(d) ? json_string(cb_digest_text(d, text)) : json_null());
}

static json_t *tag_json(const struct cb_mirror_tag *t)
{
    json_t *o = json_object();
    cb_json_put(o, "tag", cb_json_string(t->tag));
    cb_json_put(o, "action", json_string(actions[t->action]));
    cb_json_put_string(o, "reason", t->reason);
    put_digest(o, "source", &t->source);
    put_digest(o, "target", &t->target);
    put_digest(o, "result", &t->result);
    put_digest(o, "referrers", &t->referrers);
    cb_json_put_string(o, "outcome", outcomes[t->outcome]);
    if (t->error.code)
        cb_json_put(o, "error", cb_json_string(cb_error_text(&t->error)));
    return o;
}

static json_t *pair_json(const struct cb_mirror_pair *p)
{
    json_t *o = json_object(), *tags = json_array(), *platforms = json_array();
    for (size_t i = 0; i < p->n_platforms; i++) {
        struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
        cb_strbuf_add_platform(&text, &p->platforms[i]);
        json_array_append_new(platforms, json_string(text.buf));
    }
    for (size_t i = 0; i < p->n; i++)
        json_array_append_new(tags, tag_json(&p->v[i]));
    cb_json_put(o, "source", cb_json_string(p->source.text));
    cb_json_put(o, "target", cb_json_string(p->target.text));
    cb_json_put(o, "platforms", platforms);
    cb_json_put(o, "referrers", json_boolean(p->referrers));
    cb_json_put(o, "tags", tags);
    if (p->error.code)
        cb_json_put(o, "error", cb_json_string(cb_error_text(&p->error)));
    return o;
}

void cb_mirror_plan_print(const struct cb_mirror_plan *p, struct cb_strbuf *out)
{
    cb_autojson json_t *o = json_object();
    json_t *mirrors = json_array();
    for (size_t i = 0; i < p->n; i++)
        json_array_append_new(mirrors, pair_json(&p->v[i]));
    cb_json_put(o, "version", json_integer(PLAN_VERSION));
    cb_json_put(o, "mirrors", mirrors);
    cb_json_print_pretty(out, o);
}

/* ---- in ---- */

static int get_digest(const json_t *o, const char *key, struct cb_digest *out, struct cb_error *err)
{
    const char *text = NULL;
    int r = cb_json_get_string(o, key, &text, err);
    return r < 0 || !text ? r : cb_digest_parse(out, text, err);
}

static int get_action(const json_t *o, struct cb_mirror_tag *t, struct cb_error *err)
{
    const char *text = NULL;
    int r = cb_json_get_string(o, "action", &text, err);
    for (size_t i = 0; r == 0 && text && i < CB_COUNTOF(actions); i++)
        if (!strcmp(text, actions[i])) {
            t->action = (enum cb_mirror_action)i;
            return 0;
        }
    return r < 0 ? r : cb_error_set(err, CB_EVERIFY, "action: skip, copy, delete or referrers");
}

static int read_tag(const json_t *o, struct cb_mirror_pair *p, struct cb_error *err)
{
    const char *tag = NULL, *reason = NULL, *failed = NULL;
    int r = cb_json_get_string(o, "tag", &tag, err);
    if (r == 0 && (!tag || !cb_reference_valid_tag(tag)))
        r = cb_error_set(err, CB_EVERIFY, "tag: missing, or none");
    if (r < 0)
        return r;
    struct cb_mirror_tag *t = mirror_plan_add(p, tag);
    if ((r = get_action(o, t, err)) < 0 || (r = cb_json_get_string(o, "reason", &reason, err)) < 0 ||
        (r = cb_json_get_string(o, "error", &failed, err)) < 0 ||
        (r = get_digest(o, "source", &t->source, err)) < 0 ||
        (r = get_digest(o, "target", &t->target, err)) < 0 || (r = get_digest(o, "result", &t->result, err)) < 0 ||
        (r = get_digest(o, "referrers", &t->referrers, err)) < 0)
        return r;
    t->reason = mirror_reason(reason);
    if (failed) {
        t->outcome = CB_MIRROR_FAILED;
        cb_error_set(&t->error, CB_ECONF, "the plan says: %s", failed);
        return 0;
    }
    bool needs_source = t->action == CB_MIRROR_COPY || t->action == CB_MIRROR_REFER;
    if (needs_source && (!cb_digest_is_set(&t->source) || !cb_digest_is_set(&t->result)))
        return cb_error_set(err, CB_EVERIFY, "%s: to be copied, but without digests", tag);
    if (t->action == CB_MIRROR_DELETE && !cb_digest_is_set(&t->target))
        return cb_error_set(err, CB_EVERIFY, "%s: to be deleted, but without the digest that it had", tag);
    return 0;
}

static int read_place(const json_t *o, const char *key, struct cb_place *out, struct cb_error *err)
{
    const char *text = NULL;
    int r = cb_json_get_string(o, key, &text, err);
    if (r == 0 && !text)
        r = cb_error_set(err, CB_EVERIFY, "%s is missing", key);
    if (r == 0)
        r = cb_place_parse(out, text, err) < 0 ? -CB_ECONF : 0;
    if (r == -CB_ECONF && err)
        err->code = CB_ECONF; /* it is a file's word */
    if (r == 0 && (out->transport != CB_AT_REGISTRY || out->ref.tag || cb_digest_is_set(&out->ref.digest)))
        r = cb_error_set(err, CB_EVERIFY, "%s: a repository is expected", key);
    return r;
}

static int read_pair(const json_t *o, struct cb_mirror_plan *plan, struct cb_error *err)
{
    struct cb_strvec platforms cb_cleanup_strvec = CB_STRVEC_INIT;
    const json_t *tags = NULL;
    const char *failed = NULL;
    CB_GROW(plan->v, plan->n, plan->cap);
    struct cb_mirror_pair *p = &plan->v[plan->n++];
    *p = (struct cb_mirror_pair){ 0 };
    int r = read_place(o, "source", &p->source, err);
    if (r < 0 || (r = read_place(o, "target", &p->target, err)) < 0 ||
        (r = cb_json_get_strvec(o, "platforms", &platforms, err)) < 0 ||
        (r = cb_platforms_parse(&platforms, &p->platforms, &p->n_platforms, err)) < 0 ||
        (r = cb_json_get_bool(o, "referrers", &p->referrers, err)) < 0 ||
        (r = cb_json_get_string(o, "error", &failed, err)) < 0 || (r = cb_json_get_array(o, "tags", &tags, err)) < 0)
        return r;
    if (failed)
        cb_error_set(&p->error, CB_ECONF, "the plan says: %s", failed);
    for (size_t i = 0; r == 0 && tags && i < json_array_size(tags); i++)
        r = read_tag(json_array_get(tags, i), p, err);
    return r;
}

static int read_plan(struct cb_mirror_plan *out, const json_t *o, struct cb_error *err)
{
    const json_t *mirrors = NULL;
    uint64_t version = 0;
    int r = json_is_object(o) ? cb_json_get_u64(o, "version", &version, err)
                              : cb_error_set(err, CB_EVERIFY, "no object");
    if (r == 0 && version != PLAN_VERSION)
        r = cb_error_set(err, CB_EVERIFY, "version %llu; this cbpush knows %d", (unsigned long long)version,
                         PLAN_VERSION);
    if (r == 0)
        r = cb_json_get_array(o, "mirrors", &mirrors, err);
    if (r == 0 && (!mirrors || json_array_size(mirrors) > MAX_PAIRS))
        r = cb_error_set(err, CB_EVERIFY, "mirrors: missing, or too many");
    for (size_t i = 0; r == 0 && i < json_array_size(mirrors); i++)
        r = read_pair(json_array_get(mirrors, i), out, err);
    return r;
}

int cb_mirror_plan_read(struct cb_mirror_plan *out, const char *text, size_t len, struct cb_error *err)
{
    *out = (struct cb_mirror_plan){ 0 };
    cb_autojson json_t *o = cb_json_parse(text, len, err);
    int r = o ? read_plan(out, o, err) : -CB_EVERIFY;
    if (r < 0) {
        cb_mirror_plan_done(out);
        return cb_error_wrap(err, "the plan");
    }
    return 0;
}
