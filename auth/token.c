/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/timeutil.h"

#define NS 1000000000
#define DEFAULT_LIFE 60

char *auth_basic_header(const struct cb_credential *c)
{
    struct cb_strbuf pair cb_cleanup_strbuf = CB_STRBUF_INIT, out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&pair, "%s:%s", c->username ? c->username : "", c->password ? c->password : "");
    cb_strbuf_adds(&out, "Basic ");
    cb_base64_encode(&out, pair.buf, pair.len);
    explicit_bzero(pair.buf, pair.len);
    return cb_strbuf_detach(&out, NULL);
}

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
    if (!query.len)
        return cb_strdup(q->realm);
    return cb_asprintf("%s%c%s", q->realm, strchr(q->realm, '?') ? '&' : '?', query.buf);
}

static void refresh_form(const struct auth_token_request *q, struct cb_strbuf *form)
{
    struct cb_strbuf scope cb_cleanup_strbuf = CB_STRBUF_INIT;
    add_field(form, "grant_type", "refresh_token");
    if (q->service)
        add_field(form, "service", q->service);
    add_field(form, "client_id", "cbpush");
    for (size_t i = 0; i < q->scopes->n; i++)
        cb_strbuf_addf(&scope, "%s%s", i ? " " : "", q->scopes->v[i]);
    if (scope.len)
        add_field(form, "scope", scope.buf);
    add_field(form, "refresh_token", q->cred->identity_token);
}

static int read_token(struct cb_http_reply *reply, struct auth_token *out, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *token = NULL, *access = NULL;
    uint64_t life = DEFAULT_LIFE;
    int r = cb_http_slurp(reply, &body, err);
    if (r < 0)
        return r;
    cb_autojson json_t *o = cb_json_parse(body.buf, body.len, err);
    explicit_bzero(body.buf, body.len);
    if (!o || cb_json_get_string(o, "token", &token, err) < 0 || cb_json_get_string(o, "access_token", &access, err) < 0 ||
        cb_json_get_u64(o, "expires_in", &life, err) < 0)
        return cb_error_wrap(err, "the token server's answer");
    if (!token || !*token)
        token = access;
    if (!token || !*token || strpbrk(token, " \r\n\t"))
        return cb_error_set(err, CB_EAUTH, "the token server's answer holds no token");
    life = CB_MIN(CB_MAX(life, (uint64_t)DEFAULT_LIFE), (uint64_t)(24 * 3600));
    out->value = cb_strdup(token);
    out->renew_at = cb_time_monotonic() + (int64_t)(life * 9 / 10) * NS;
    return 0;
}

static int refused(const struct auth_token_request *q, unsigned status, struct cb_error *err)
{
    struct cb_strbuf url cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_url_redacted(&url, q->realm);
    bool denied = status == 401 || status == 403 || status == 400;
    if (denied && q->cred && cb_credential_is_set(q->cred))
        return cb_error_set(err, CB_EAUTH, "token server %s refused the credentials from %s (status %u)", url.buf,
                            q->cred->source ? q->cred->source : "the command line", status);
    return cb_error_set(err, denied ? CB_EAUTH : CB_ENET, "token server %s answered with status %u%s", url.buf, status,
                        denied ? ": log in first (cbpush login)" : "");
}

int auth_token_fetch(struct cb_http *http, const struct auth_token_request *q, struct auth_token *out, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    struct cb_strbuf form cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_strvec headers cb_cleanup_strvec = CB_STRVEC_INIT;
    bool refresh = q->cred && q->cred->identity_token;
    cb_autofree char *url = refresh ? cb_strdup(q->realm) : get_url(q);
    char *basic = !refresh && q->cred && q->cred->username && *q->cred->username ? auth_basic_header(q->cred) : NULL;
    struct cb_http_request req = { .method = refresh ? "POST" : "GET", .url = url, .tls = q->target->tls,
                                   .plain_http = q->target->plain_http, .private_ok = q->target->private_ok,
                                   .authorization = basic, .headers = &headers, .retry_unsafe = true, .max_body = CB_MAX_TOKEN };
    if (refresh) {
        refresh_form(q, &form);
        cb_strvec_push(&headers, "Content-Type: application/x-www-form-urlencoded");
        req.body.mem = form.buf;
        req.body.mem_len = form.len;
    }
    int r = cb_http_send(http, &req, &reply, err);
    auth_secret_free(basic);
    explicit_bzero(form.buf, form.len);
    if (r < 0)
        return cb_error_wrap(err, "fetch a token");
    unsigned status = cb_http_status(reply);
    return status == 200 ? read_token(reply, out, err) : refused(q, status, err);
}
