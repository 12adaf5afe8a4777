/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define NS INT64_C(1000000000)

static json_t *credential(const struct cb_credential *c)
{
    if (!cb_credential_is_set(c))
        return json_null();
    json_t *o = json_object();
    cb_json_put_string(o, "source", c->source);
    cb_json_put_string(o, "key", c->key);
    if (c->username && *c->username)
        cb_json_put_string(o, "user", c->username);
    cb_json_put_string(o, "kind",
                       c->registry_token   ? "registry token"
                       : c->identity_token ? "identity token"
                                           : "password");
    return o;
}

static void put_url(json_t *o, const char *key, const char *url)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!url)
        return;
    cb_strbuf_add_url_redacted(&sb, url);
    cb_json_put_string(o, key, sb.buf);
}

static json_t *challenge(const struct auth_challenge *c)
{
    json_t *o = json_object();
    bool bearer = !strcmp(c->scheme, "bearer");
    cb_json_put_string(o, "scheme", bearer ? "Bearer" : "Basic");
    if (bearer)
        put_url(o, "realm", cb_strmap_get(&c->params, "realm"));
    cb_json_put_string(o, "service", cb_strmap_get(&c->params, "service"));
    cb_json_put_string(o, "scope", cb_strmap_get(&c->params, "scope"));
    return o;
}

static void put_token(json_t *o, const struct auth_token *t)
{
    json_t *granted = auth_jwt_access(t->value);
    if (granted) {
        cb_json_put(o, "granted", granted);
        cb_json_put(o, "verified", json_false());
    }
    cb_json_put(o, "expires_in", json_integer((t->ends - cb_time_monotonic() + NS - 1) / NS));
}

struct told {
    struct cb_auth *a;
    const struct cb_auth_target *t;
    struct cb_credential cred;
    struct cb_strvec scopes;
    json_t *o;
};

static void told_done(struct told *x)
{
    cb_credential_done(&x->cred);
    cb_strvec_done(&x->scopes);
}

static bool tell_realm(struct told *x, const char *realm)
{
    const char *why = "the challenge names none";
    bool may = realm && auth_realm_allowed(x->t, realm, &why);
    json_t *about = json_object();
    cb_json_put(about, "may_have_credentials", json_boolean(may));
    cb_json_put_string(about, "why", why);
    cb_json_put(x->o, "realm", about);
    return may;
}

/* A token of its own: nothing of this is kept for later requests. */
static void ask_for_token(struct told *x, const struct auth_challenge *c)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_auth_target t = *x->t;
    struct auth_token token = { 0 };
    const char *realm = cb_strmap_get(&c->params, "realm");
    bool may = tell_realm(x, realm);
    if (!realm)
        return;
    if (!may)
        t.private_ok = t.plain_http = false;
    struct auth_token_request q = { .target = &t,
                                    .realm = realm,
                                    .service = cb_strmap_get(&c->params, "service"),
                                    .scopes = &x->scopes,
                                    .cred = may && cb_credential_is_set(&x->cred) ? &x->cred : NULL };
    if (auth_token_fetch(x->a->o.http, &q, &token, &e) < 0)
        cb_json_put_string(x->o, "token_error", cb_error_text(&e));
    else
        put_token(x->o, &token);
    auth_secret_free(token.value);
}

static void answer_to(struct told *x, const struct cb_http_reply *reply)
{
    CB_CLEANUP(auth_challenges_done) struct auth_challenges all = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (auth_challenge_read(reply, &all, &e) < 0) {
        cb_json_put_string(x->o, "token_error", cb_error_text(&e));
        return;
    }
    const struct auth_challenge *bearer = auth_challenge_pick(&all, "bearer"),
                                *c = bearer ? bearer : auth_challenge_pick(&all, "basic");
    if (!c)
        return;
    cb_json_put(x->o, "challenge", challenge(c));
    if (bearer && !x->cred.registry_token)
        ask_for_token(x, bearer);
}

json_t *cb_auth_explain(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_http_reply *reply,
                        const struct cb_auth_ask *ask)
{
    CB_CLEANUP(told_done) struct told x = { .a = a, .t = t, .o = json_object() };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct auth_query q = { .host = t->host, .repo = ask->scopes[0].repo, .actions = ask->scopes[0].actions };
    if (auth_lookup(a, &q, &x.cred, &e) < 0) {
        cb_json_put_string(x.o, "credentials_error", cb_error_text(&e));
        return x.o;
    }
    cb_json_put(x.o, "credentials", credential(&x.cred));
    auth_scope_list(ask->scopes, ask->n, &x.scopes);
    cb_json_put(x.o, "asked", cb_json_from_strvec(&x.scopes));
    if (reply && cb_http_status(reply) == 401)
        answer_to(&x, reply);
    return x.o;
}
