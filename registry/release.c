/* SPDX-License-Identifier: Apache-2.0 */
/* Tags that move together: what they stand for now, whether we may move them, and moving them. */
#include "registry/private.h"
#include "util/alloc.h"

#define TAGS_AT_ONCE 10 /* as many as every registry has to take that takes several (distribution-spec) */

void cb_tag_state_done(struct cb_tag_state *s)
{
    free(s->etag);
    *s = (struct cb_tag_state){ 0 };
}

int cb_push_tag_state(struct cb_push *p, const char *tag, struct cb_tag_state *out, struct cb_error *err)
{
    return reg_tag_state(p->r, &p->e, tag, out, err);
}

int cb_registry_target_tag(struct cb_registry *r, const struct cb_reference *ref, const struct cb_cancel *cancel,
                           struct cb_tag_state *out, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    int s = reg_endpoint_push(r, ref->host, ref->repo, &e, err);
    e.push = true;
    e.cancel = cancel;
    return s < 0 ? s : reg_tag_state(r, &e, ref->tag, out, err);
}

/* ---- moving ---- */

/* Whether the reply says that this tag was set: OCI-Tag, once for each or all in one. */
static bool says_tag(const struct cb_http_reply *reply, const char *tag)
{
    const char *value;
    for (size_t i = 0; (value = cb_http_header_nth(reply, "OCI-Tag", i)) != NULL; i++)
        for (const char *p = value; *p;) {
            size_t n = strcspn(p, ",");
            struct cb_slice one = cb_slice_trim((struct cb_slice){ p, n });
            if (one.len == strlen(tag) && !memcmp(one.ptr, tag, one.len))
                return true;
            p += n + (p[n] == ',');
        }
    return false;
}

/* PUT by digest with ?tag=a&tag=b: all of them or none. Registries that do not know it store the manifest. */
static int move_together(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move **v, size_t n,
                         struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_strbuf_add_digest(&name, &m->desc->digest);
    for (size_t i = 0; i < n; i++)
        cb_strbuf_addf(&name, "%ctag=%s", i ? '&' : '?', v[i]->tag);
    struct reg_put put = { .name = name.buf, .media_type = m->desc->media_type, .body = m->body, .once = true };
    int s = reg_manifest_put(p->r, &p->e, &put, &reply, &e);
    if (s == -CB_ECANCELED || s == -CB_EAUTH)
        return cb_error_move(err, &e);
    for (size_t i = 0; s == 0 && i < n; i++)
        v[i]->moved = says_tag(reply, v[i]->tag);
    return 0;
}

/* The ETag that HEAD gave makes it a compare and swap at registries that know it. */
static int move_one(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move *v, struct cb_error *err)
{
    cb_autofree char *condition = !v->guarded                     ? NULL
                                  : v->old->there && v->old->etag ? cb_asprintf("If-Match: %s", v->old->etag)
                                  : !v->old->there                ? cb_strdup("If-None-Match: *")
                                                                  : NULL;
    struct reg_put put = { .name = v->tag, .media_type = m->desc->media_type, .body = m->body,
                           .condition = condition };
    int s = push_put(p, &put, NULL, err);
    if (s == 1)
        return cb_error_set(err, CB_EVERIFY, "%s/%s/manifests/%s was moved by somebody else meanwhile", p->e.host,
                            p->e.repo, v->tag);
    v->moved = s == 0;
    return s;
}

/* A manifest with a subject goes by its digest first: that keeps the list of its subject, where the registry does
 * not. */
static int keep_referrers(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_error *err)
{
    CB_CLEANUP(reg_referrer_done) struct reg_referrer referrer = { 0 };
    int s = reg_referrer_read(&referrer, m->desc, m->body, err);
    return s < 0 || !referrer.entry ? s : cb_push_manifest(p, m->desc, m->body.ptr, m->body.len, err);
}

int cb_push_move_tags(struct cb_push *p, const struct cb_tag_manifest *m, struct cb_tag_move *v, size_t n,
                      struct cb_error *err)
{
    struct cb_tag_move *together[TAGS_AT_ONCE];
    size_t k = 0;
    int s = n > 0 ? keep_referrers(p, m, err) : 0;
    for (size_t i = 0; s == 0 && i < n && k < TAGS_AT_ONCE; i++)
        if (!v[i].guarded && !v[i].moved)
            together[k++] = &v[i];
    if (s == 0 && k > 1)
        s = move_together(p, m, together, k, err);
    for (size_t i = 0; s == 0 && i < n; i++)
        if (!v[i].moved)
            s = move_one(p, m, &v[i], err);
    return s;
}
