/* SPDX-License-Identifier: Apache-2.0 */
#include <strings.h>

#include "oci/mediatype.h"
#include "registry/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"

/* What is asked for, and what is found of it. */
struct search {
    struct cb_registry *r;
    const struct reg_endpoint *e;
    const struct cb_digest *subject;
    const char *artifact_type; /* or NULL */
    struct cb_index *out;
    size_t cap;
};

static char *first_path(const struct search *x)
{
    struct cb_strbuf sb = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_strbuf_addf(&sb, "%s/referrers/%s", x->e->repo, cb_digest_text(x->subject, digest));
    if (x->artifact_type) {
        cb_strbuf_adds(&sb, "?artifactType=");
        cb_percent_encode(&sb, x->artifact_type, strlen(x->artifact_type));
    }
    return cb_strbuf_detach(&sb, NULL);
}

/* "OCI-Filters-Applied: artifactType" */
static bool is_filtered(const struct cb_http_reply *reply)
{
    const char *list = cb_http_header(reply, "OCI-Filters-Applied");
    for (const char *p = list ? list + strspn(list, ", ") : ""; *p; p += strspn(p, ", ")) {
        size_t n = strcspn(p, ", ");
        if (n == strlen("artifactType") && !strncasecmp(p, "artifactType", n))
            return true;
        p += n;
    }
    return false;
}

/* What is wanted of a list is moved over. */
static int take(struct search *x, struct cb_index *from, bool filtered, struct cb_error *err)
{
    for (size_t i = 0; i < from->n_manifests; i++) {
        struct cb_descriptor *d = &from->manifests[i];
        if (x->artifact_type && !filtered && !cb_streq(d->artifact_type, x->artifact_type))
            continue;
        if (x->out->n_manifests == CB_MAX_INDEX_MANIFESTS)
            return cb_error_set(err, CB_EVERIFY, "there are more than %d", CB_MAX_INDEX_MANIFESTS);
        CB_GROW(x->out->manifests, x->out->n_manifests, x->cap);
        x->out->manifests[x->out->n_manifests++] = *d;
        *d = (struct cb_descriptor){ 0 };
    }
    return 0;
}

static int take_page(struct search *x, const struct reg_answer *page, struct cb_error *err)
{
    struct cb_index index cb_cleanup_index = { 0 };
    const char *type = cb_http_header(page->reply, "Content-Type");
    int s = cb_index_parse(&index, page->body.buf, page->body.len, type, err);
    return s < 0 ? s : take(x, &index, is_filtered(page->reply), err);
}

/* Registries that do not know the API say so in several ways; some give a page for people instead. */
static bool has_api(const struct cb_http_reply *reply)
{
    const char *type = cb_http_header(reply, "Content-Type");
    switch (cb_http_status(reply)) {
    case 200:
        return type && !strncasecmp(type, CB_MT_OCI_INDEX, strlen(CB_MT_OCI_INDEX));
    case 400:
    case 404:
    case 405:
    case 501:
        return false;
    default:
        return true;
    }
}

static int ask(struct search *x, const char *url, struct reg_answer *out, struct cb_error *err)
{
    cb_autofree char *path = url ? NULL : first_path(x);
    struct cb_scope scope = { x->e->repo, "pull" };
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    struct reg_request q = { .method = "GET", .path = path, .url = url, .scopes = &scope, .n_scopes = 1 };
    cb_strvec_push(&headers, "Accept: " CB_MT_OCI_INDEX);
    q.headers = &headers;
    int s = reg_get(x->r, x->e, &q, out, err);
    if (s < 0 || (!url && !has_api(out->reply)))
        return s < 0 ? s : 1;
    return cb_http_status(out->reply) == 200 ? 0 : reg_reply_error(out->reply, err, "%s/%s", x->e->host, x->e->repo);
}

/* 1: the registry has no such API. */
static int by_api(struct search *x, struct cb_error *err)
{
    CB_CLEANUP(reg_pages_done) struct reg_pages pages = { 0 };
    do {
        CB_CLEANUP(reg_answer_done) struct reg_answer page = { .body = CB_STRBUF_INIT };
        int s = ask(x, pages.url, &page, err);
        if (s == 0)
            s = take_page(x, &page, err);
        if (s == 0)
            s = reg_pages_next(&pages, page.reply, err);
        if (s != 0)
            return s;
    } while (pages.url);
    return 0;
}

static int by_tag(struct search *x, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    struct cb_index index cb_cleanup_index = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int s = reg_fallback_fetch(x->r, x->e, x->subject, &f, &e);
    if (s == -CB_ENOTFOUND)
        return 0;
    if (s < 0)
        return cb_error_move(err, &e);
    s = cb_index_parse(&index, f.body.buf, f.body.len, NULL, err);
    return s < 0 ? s : take(x, &index, false, err);
}

int reg_referrers_api(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_digest *subject,
                      struct cb_error *err)
{
    CB_CLEANUP(reg_answer_done) struct reg_answer answer = { .body = CB_STRBUF_INIT };
    struct search x = { .r = r, .e = e, .subject = subject };
    int s = ask(&x, NULL, &answer, err);
    return s < 0 ? s : s == 0;
}

int cb_registry_referrers(struct cb_registry *r, const struct cb_reference *subject, const char *artifact_type,
                          struct cb_index *out, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    struct search x = { .r = r, .e = &e, .subject = &subject->digest, .artifact_type = artifact_type, .out = out };
    *out = (struct cb_index){ .media_type = cb_strdup(CB_MT_OCI_INDEX) };
    int s = reg_endpoint_location(r, subject->host, subject->repo, &e, err);
    if (s == 0)
        s = by_api(&x, err);
    if (s == 1)
        s = by_tag(&x, err);
    if (s == 0)
        return 0;
    cb_index_done(out);
    cb_error_wrap(err, "referrers");
    return s;
}

int cb_registry_has_referrers(struct cb_registry *r, const struct cb_reference *subject, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    int s = reg_endpoint_location(r, subject->host, subject->repo, &e, err);
    return s < 0 ? s : reg_referrers_api(r, &e, &subject->digest, err);
}
