/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/timeutil.h"

#define NS 1000000000
#define DEFAULT_LIFE 60
#define MAX_LIFE (24 * 3600)
#define MAX_BROKEN 2 /* answers that we ask for once more */

char *auth_basic_header(const struct cb_credential *c)
{
    struct cb_strbuf pair cb_cleanup_strbuf = CB_STRBUF_INIT, out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&pair, "%s:%s", c->username ? c->username : "", c->password ? c->password : "");
    cb_strbuf_adds(&out, "Basic ");
    cb_base64_encode(&out, pair.buf, pair.len);
    explicit_bzero(pair.buf, pair.len);
    return cb_strbuf_detach(&out, NULL);
}

/* ---- the request ---- */

static void add_field(struct cb_strbuf *sb, const char *key, const char *value)
{
    cb_strbuf_addf(sb, "%s%s=", sb->len ? "&" : "", key);
    cb_percent_encode(sb, value, strlen(value));
}

/* The query of a GET: scope repeated. The realm's own query stays in front. */
static char *get_url(const struct auth_token_request *q)
{
    struct cb_strbuf query cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (q->service)
        add_field(&query, "service", q->service);
    for (size_t i = 0; i < q->scopes->n; i++)
        add_field(&query, "scope", q->scopes->v[i]);
    size_t n = strcspn(q->realm, "#");
    cb_autofree char *realm = cb_strndup(q->realm, n);
    if (!query.len)
        return CB_TAKE(realm);
    return cb_asprintf("%s%c%s", realm, strchr(realm, '?') ? '&' : '?', query.buf);
}

/* RFC 6749: by refresh token, or by password. */
static void oauth_form(const struct auth_token_request *q, bool refresh, struct cb_strbuf *form)
{
    struct cb_strbuf scope cb_cleanup_strbuf = CB_STRBUF_INIT;
    add_field(form, "grant_type", refresh ? "refresh_token" : "password");
    if (q->service)
        add_field(form, "service", q->service);
    add_field(form, "client_id", "cbpush");
    for (size_t i = 0; i < q->scopes->n; i++)
        cb_strbuf_addf(&scope, "%s%s", i ? " " : "", q->scopes->v[i]);
    if (scope.len)
        add_field(form, "scope", scope.buf);
    if (refresh) {
        add_field(form, "refresh_token", q->cred->identity_token);
        return;
    }
    add_field(form, "username", q->cred->username);
    add_field(form, "password", q->cred->password);
}

/* The registry's own TLS settings, as far as they may go to this host: what it trusts more goes on (a company's CA
 * signs both), who we are does not leave the origin, and blind trust does not leave the host. */
static void realm_tls(const struct auth_token_request *q, struct cb_http_tls *out)
{
    struct cb_url base cb_cleanup_url = { 0 }, u cb_cleanup_url = { 0 };
    const struct cb_http_tls *from = q->target->tls;
    if (!from || cb_url_parse(&base, q->target->base_url, NULL) < 0 || cb_url_parse(&u, q->realm, NULL) < 0)
        return;
    cb_strvec_copy(&out->ca_files, &from->ca_files);
    out->insecure = from->insecure && !strcmp(base.host, u.host);
    if (cb_url_same_origin(&base, &u)) {
        out->client_cert = cb_strdup_or_null(from->client_cert);
        out->client_key = cb_strdup_or_null(from->client_key);
        out->unix_socket = cb_strdup_or_null(from->unix_socket);
    }
}

/* ---- the answer ---- */

/* Digits are the rule, but a fraction is met too; what is no sensible number counts as absent. */
static int64_t lifetime(const json_t *o)
{
    const json_t *v = json_object_get(o, "expires_in");
    double seconds = json_is_number(v) ? json_number_value(v) : DEFAULT_LIFE;
    return (int64_t)CB_MIN(CB_MAX(seconds, (double)DEFAULT_LIFE), (double)MAX_LIFE);
}

/* What RFC 6750 lets a token consist of, roughly: it becomes a header. */
static bool is_token(const char *s)
{
    for (const char *p = s; *p; p++)
        if (*p <= ' ' || *p >= 0x7f)
            return false;
    return *s != '\0';
}

static int read_token(const json_t *o, struct auth_token *out, struct cb_error *err)
{
    const char *token = NULL, *access = NULL;
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "not a JSON object");
    if (cb_json_get_string(o, "token", &token, err) < 0 || cb_json_get_string(o, "access_token", &access, err) < 0)
        return -CB_EVERIFY;
    if (!token || !*token)
        token = access;
    if (!token || !is_token(token))
        return cb_error_set(err, CB_EAUTH, "it holds no token");
    out->value = cb_strdup(token);
    int64_t now = cb_time_monotonic(), life = lifetime(o);
    out->renew_at = now + life * 9 / 10 * NS;
    out->ends = now + life * NS;
    return 0;
}

static int take_token(struct cb_http_reply *reply, struct auth_token *out, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_http_slurp(reply, &body, err);
    if (r < 0)
        return r;
    cb_autojson json_t *o = cb_json_parse(body.buf, body.len, err);
    explicit_bzero(body.buf, body.len);
    r = o ? read_token(o, out, err) : -CB_EVERIFY;
    if (r < 0)
        cb_error_wrap(err, "the token server's answer");
    return r;
}

/* As it is, and as it stood in the form. */
static void hide_refresh_token(struct cb_strbuf *text, const char *token)
{
    struct cb_strbuf encoded cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_percent_encode(&encoded, token, strlen(token));
    cb_http_hide(text, token, strlen(token));
    cb_http_hide(text, encoded.buf, encoded.len);
    explicit_bzero(encoded.buf, encoded.len);
}

/* The server's own words, where it has some: three forms are met. */
static void add_words(const struct auth_token_request *q, struct cb_http_reply *reply, struct cb_strbuf *out)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_http_slurp(reply, &body, NULL) < 0)
        return;
    cb_http_scrub(reply, &body);
    if (q->cred && q->cred->identity_token)
        hide_refresh_token(&body, q->cred->identity_token);
    cb_autojson json_t *o = cb_json_parse(body.buf, body.len, NULL);
    const json_t *first = json_array_get(json_object_get(o, "errors"), 0);
    const char *words = json_string_value(json_object_get(o, "details"));
    words = words ? words : json_string_value(json_object_get(first, "message"));
    words = words ? words : json_string_value(json_object_get(o, "error_description"));
    if (!words || !*words)
        return;
    cb_strbuf_adds(out, ": ");
    cb_strbuf_add_sanitized(out, words, CB_MIN(strlen(words), (size_t)300), false);
}

static int refused(const struct auth_token_request *q, struct cb_http_reply *reply, struct cb_error *err)
{
    struct cb_strbuf url cb_cleanup_strbuf = CB_STRBUF_INIT, words cb_cleanup_strbuf = CB_STRBUF_INIT;
    unsigned status = cb_http_status(reply);
    bool denied = status == 401 || status == 403 || status == 400, known = q->cred && cb_credential_is_set(q->cred);
    cb_strbuf_add_url_redacted(&url, q->realm);
    add_words(q, reply, &words);
    if (denied && known)
        cb_error_set(err, CB_EAUTH, "token server %.500s refuses the credentials from %s (status %u%s)", url.buf,
                     q->cred->source, status, words.buf);
    else
        cb_error_set(err, denied ? CB_EAUTH : CB_ENET, "token server %.500s answers with status %u%s%s", url.buf,
                     status, words.buf, denied ? "; log in first (cbpush login)" : "");
    if (err)
        err->http_status = (int)status;
    return denied ? -CB_EAUTH : -CB_ENET;
}

/* ---- both ---- */

enum way {
    BY_GET,      /* with Basic credentials, or none */
    BY_PASSWORD, /* the OAuth2 form */
    BY_REFRESH,  /* the same, with an identity token */
};

static bool has_password(const struct cb_credential *c)
{
    return c && c->username && *c->username && c->password && *c->password;
}

/* A secret in the body would be carried on by a redirect: so none is followed. */
static int send_request(struct cb_http *http, const struct auth_token_request *q, const struct cb_http_tls *tls,
                        enum way way, struct cb_http_reply **reply, struct cb_error *err)
{
    struct cb_strbuf form cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    bool get = way == BY_GET, known = q->cred && q->cred->username && *q->cred->username;
    cb_autofree char *url = get ? get_url(q) : cb_strdup(q->realm);
    char *basic = get && known ? auth_basic_header(q->cred) : NULL;
    struct cb_http_request req = { .method = get ? "GET" : "POST",
                                   .url = url,
                                   .cancel = q->cancel,
                                   .tls = tls,
                                   .plain_http = q->target->plain_http,
                                   .private_ok = q->target->private_ok,
                                   .no_redirect = !get,
                                   .authorization = basic,
                                   .headers = &headers,
                                   .retry_unsafe = true,
                                   .max_body = CB_MAX_TOKEN };
    if (!get) {
        oauth_form(q, way == BY_REFRESH, &form);
        cb_strvec_push(&headers, "Content-Type: application/x-www-form-urlencoded");
        req.body.mem = form.buf;
        req.body.mem_len = form.len;
    }
    int r = cb_http_send(http, &req, reply, err);
    auth_secret_free(basic);
    explicit_bzero(form.buf, form.len);
    if (r < 0)
        cb_error_wrap(err, "fetch a token");
    return r;
}

/* Some servers have only one of the two forms, and say so with these: GCR 404, others 405; Artifactory answers 401 to
 * a refresh token, and a password may do. A password that is refused is not tried twice. */
static bool other_way(const struct auth_token_request *q, unsigned status, enum way *way)
{
    bool lacks = status == 404 || status == 405 || (status == 401 && *way == BY_REFRESH);
    if (!lacks || !has_password(q->cred))
        return false;
    *way = *way == BY_REFRESH ? BY_GET : BY_PASSWORD;
    return true;
}

/* *broken: it said yes, and then the token did not come. */
static int fetch_once(struct cb_http *http, const struct auth_token_request *q, struct auth_token *out, bool *broken,
                      struct cb_error *err)
{
    CB_CLEANUP(cb_http_tls_done) struct cb_http_tls tls = { 0 };
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    enum way way = q->cred && q->cred->identity_token ? BY_REFRESH : BY_GET;
    realm_tls(q, &tls);
    int r = send_request(http, q, &tls, way, &reply, err);
    while (r == 0 && other_way(q, cb_http_status(reply), &way)) {
        bool last = way == BY_PASSWORD;
        cb_http_reply_free(CB_TAKE(reply));
        r = send_request(http, q, &tls, way, &reply, err);
        if (last)
            break;
    }
    if (r < 0)
        return r;
    if (cb_http_status(reply) != 200)
        return refused(q, reply, err);
    r = take_token(reply, out, err);
    *broken = r == -CB_ENET;
    return r;
}

/* An answer that breaks off in its body is beyond the client's own tries. */
int auth_token_fetch(struct cb_http *http, const struct auth_token_request *q, struct auth_token *out,
                     struct cb_error *err)
{
    struct cb_span span cb_cleanup_span = cb_span_begin("auth", "fetch a token");
    for (unsigned i = 0;; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        bool broken = false;
        int r = fetch_once(http, q, out, &broken, &e);
        if (r == 0 || !broken || i == MAX_BROKEN)
            return r < 0 ? cb_error_move(err, &e) : 0;
    }
}
