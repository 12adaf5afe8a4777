/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/mediatype.h"
#include "registry/endpoint.h"
#include "registry/hosts.h"
#include "util/alloc.h"

/* ---- files and rules ---- */

static json_t *configuration(struct cb_registry *r, const struct cb_explain_options *o, struct cb_error *err)
{
    const struct cb_reference *ref = o->ref;
    cb_autofree char *name = cb_asprintf("%s/%s", ref->host, ref->repo);
    const struct reg_hosts *toml = NULL;
    size_t matched;
    const struct reg_rule *rule = reg_conf_match(&r->known->conf, name, &matched);
    if (reg_hosts_of(r, ref->host, &toml, err) < 0)
        return NULL;
    json_t *c = json_object();
    cb_json_put(c, "registries_conf", cb_json_from_strvec(&r->known->conf.files));
    cb_json_put(c, "rule", rule ? cb_json_string(rule->prefix) : json_null());
    cb_json_put(c, "hosts_toml", toml ? cb_json_string(toml->file) : json_null());
    return c;
}

/* ---- one place ---- */

/* Of a header only the name: the value may be a secret. */
static json_t *header_names(const struct cb_strvec *headers)
{
    json_t *list = json_array();
    for (size_t i = 0; i < headers->n; i++) {
        cb_autofree char *name = cb_strndup(headers->v[i], strcspn(headers->v[i], ":"));
        json_array_append_new(list, cb_json_string(name));
    }
    return list;
}

static json_t *tls(const struct reg_host *h, const char *base)
{
    json_t *t = json_object();
    bool https = cb_starts_with(base, "https:");
    cb_json_put_string(t, "scheme", https ? "https" : "http");
    if (!https)
        return t;
    cb_json_put(t, "verified", json_boolean(!h->tls.insecure));
    cb_json_put(t, "ca", cb_json_from_strvec(&h->tls.ca_files));
    cb_json_put_string(t, "client_certificate", h->tls.client_cert);
    return t;
}

static void put_host(json_t *p, const struct cb_registry *r, const struct reg_endpoint *e, const char *base)
{
    const struct reg_host *h = e->h;
    cb_autofree char *url = cb_asprintf("%s%s", base, h->api);
    cb_json_put_string(p, "url", url);
    cb_json_put(p, "tls", tls(h, base));
    cb_json_put_string(p, "socket", h->tls.unix_socket);
    cb_autofree char *proxy = h->tls.unix_socket ? NULL : cb_http_proxy_shown(r->o.http, url);
    cb_json_put(p, "proxy", proxy ? cb_json_string(proxy) : json_null());
    if (h->headers.n)
        cb_json_put(p, "headers", header_names(&h->headers));
    cb_json_put_string(p, "ns", h->ns);
}

static bool was_granted(const json_t *list, const char *repo, const char *action)
{
    cb_autofree char *start = cb_asprintf("repository:%s:", repo);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *scope = json_string_value(json_array_get(list, i));
        if (!cb_starts_with(scope, start))
            continue;
        cb_autofree char *have = cb_asprintf(",%s,", scope + strlen(start));
        cb_autofree char *want = cb_asprintf(",%s,", action);
        if (strstr(have, want))
            return true;
    }
    return false;
}

/* What a token says of itself; a registry may be of another mind. */
static json_t *mount_chances(const struct cb_explain_options *o, const json_t *auth)
{
    const json_t *granted = json_object_get(auth, "granted");
    json_t *m = json_object();
    cb_json_put_string(m, "from", o->mount_from);
    bool opaque = json_object_get(auth, "challenge") && !granted;
    bool source = !granted || was_granted(granted, o->mount_from, "pull");
    bool target = !granted || was_granted(granted, o->ref->repo, "push");
    bool refused = json_object_get(auth, "token_error");
    cb_json_put_string(m, "chance", refused || !source || !target ? "none" : opaque ? "unknown" : "good");
    cb_json_put_string(m, "why",
                       refused   ? "there is no token for both: the blob is uploaded with the target's alone"
                       : !source ? "the token does not give pull of the source: the blob is uploaded"
                       : !target ? "the token does not give push of the target"
                       : opaque  ? "the token, or a password in its place, does not say what it is good for"
                                 : "the token gives pull of the source and push of the target");
    return m;
}

/* A registry's /v2/ takes any token: whether it may push stands in the token, if anywhere. */
static int check_push(const struct reg_endpoint *e, const json_t *p, struct cb_error *err)
{
    const json_t *granted = json_object_get(p, "granted");
    if (!granted || was_granted(granted, e->repo, "push"))
        return 0;
    return cb_error_set(err, CB_EAUTH, "%s: the token gives no push of %s", e->host, e->repo);
}

static int put_request(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_explain_options *o,
                       json_t *p, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strvec accept cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_scope scope = { e->repo, o->push ? "pull,push" : "pull" };
    char digest[CB_DIGEST_TEXT_MAX];
    const struct cb_reference *ref = o->ref;
    const char *what = cb_digest_is_set(&ref->digest) ? cb_digest_text(&ref->digest, digest) : ref->tag;
    cb_autofree char *path =
        o->push ? cb_strdup("") : cb_asprintf("%s/manifests/%s", e->repo, what ? what : "latest");
    cb_strvec_push(&accept, "Accept: " CB_MT_ACCEPT_MANIFESTS);
    struct reg_request q = {
        .method = o->push ? "GET" : "HEAD", .path = path, .scopes = &scope, .n_scopes = 1, .headers = &accept
    };
    int s = reg_send(r, e, &q, &reply, err);
    if (s < 0)
        return s;
    cb_autofree char *name = cb_asprintf("%s %s/%s", q.method, e->h->api, path);
    cb_json_put_string(p, "request", name);
    cb_json_put(p, "status", json_integer(cb_http_status(reply)));
    if (cb_http_status(reply) < 300)
        return 0;
    if (cb_http_status(reply) == 404 && !o->push)
        return reg_manifest_not_found(e, ref, reply, err);
    return reg_reply_error(reply, err, "%s", e->host);
}

static void put_auth(struct cb_registry *r, const struct cb_auth_target *t, const struct cb_http_reply *reply,
                     const struct cb_auth_ask *ask, json_t *p)
{
    cb_autojson json_t *auth = cb_auth_explain(r->o.auth, t, reply, ask);
    json_object_update(p, auth);
}

static int put_place(struct cb_registry *r, const struct reg_endpoint *e, const struct cb_explain_options *o,
                     json_t *p, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_scope scopes[] = { { e->repo, o->push ? "pull,push" : "pull" }, { o->mount_from, "pull" } };
    struct cb_auth_ask ask = { .scopes = scopes, .n = o->mount_from ? 2 : 1 };
    struct cb_auth_target t;
    cb_autofree char *base = NULL;
    int s = reg_ping(r, e, &t, &base, &reply, err);
    if (base)
        put_host(p, r, e, base);
    if (s < 0)
        return s;
    put_auth(r, &t, reply, &ask, p);
    if (o->mount_from)
        cb_json_put(p, "mount", mount_chances(o, p));
    s = put_request(r, e, o, p, err);
    return s == 0 && o->push ? check_push(e, p, err) : s;
}

/* ---- the whole ---- */

static int endpoints(struct cb_registry *r, const struct cb_explain_options *o, struct reg_endpoints *all,
                     struct cb_error *err)
{
    const struct cb_reference *ref = o->ref;
    struct reg_wanted w = { .host = ref->host, .repo = ref->repo, .tag = ref->tag, .digest = &ref->digest };
    struct reg_endpoint e;
    if (!o->push)
        return reg_endpoints_pull(r, &w, all, err);
    int s = reg_endpoint_push(r, ref->host, ref->repo, &e, err);
    if (s < 0)
        return s;
    CB_GROW(all->v, all->n, all->cap);
    all->v[all->n++] = e;
    return 0;
}

/* A pull is well with the first place that is; the last one's failure is the whole's. */
static int put_places(struct cb_registry *r, const struct cb_explain_options *o, json_t *list, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoints_done) struct reg_endpoints all = { 0 };
    struct cb_error last cb_cleanup_error = CB_ERROR_INIT;
    int s = endpoints(r, o, &all, err);
    if (s < 0)
        return s;
    bool well = false;
    for (size_t i = 0; i < all.n; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        json_t *p = json_object();
        cb_json_put_string(p, "host", all.v[i].host);
        cb_json_put_string(p, "repository", all.v[i].repo);
        cb_json_put_string(p, "role", i + 1 < all.n ? "mirror" : "registry");
        json_array_append_new(list, p);
        s = put_place(r, &all.v[i], o, p, &e);
        if (s == -CB_ECANCELED)
            return cb_error_move(err, &e);
        if (s < 0)
            cb_json_put_string(p, "error", cb_error_text(&e));
        well = well || s == 0;
        (void)cb_error_move(&last, &e);
    }
    return well ? 0 : cb_error_move(err, &last);
}

int cb_registry_explain(struct cb_registry *r, const struct cb_explain_options *o, json_t **out, struct cb_error *err)
{
    cb_autofree char *text = cb_reference_text(o->ref);
    *out = json_object();
    cb_json_put_string(*out, "reference", text);
    cb_json_put_string(*out, "action", o->push ? "push" : "pull");
    json_t *c = configuration(r, o, err), *list = json_array();
    if (c)
        cb_json_put(*out, "configuration", c);
    cb_json_put(*out, "endpoints", list);
    return c ? put_places(r, o, list, err) : -CB_ECONF;
}
