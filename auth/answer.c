/* SPDX-License-Identifier: Apache-2.0 */
/* From what a registry asks for to what is sent. */
#include "auth/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define NS INT64_C(1000000000)
#define BODY_NS (20 * NS) /* of a token's life that should be left for a request with a body */

struct ask {
    struct cb_auth *a;
    const struct cb_auth_target *t;
    const char *tried;
    bool again, sends;
    const struct cb_cancel *cancel; /* or NULL */
    struct cb_strvec scopes;
    struct cb_credential cred;
    struct auth_entry *e;
};

static struct ask ask_of(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_auth_ask *ask)
{
    struct ask q = { .a = a, .t = t, .tried = ask->tried, .again = ask->again, .sends = ask->sends,
                     .cancel = ask->cancel ? ask->cancel : a->o.cancel };
    auth_scope_list(ask->scopes, ask->n, &q.scopes);
    q.e = auth_entry_of(a, t, &q.scopes);
    return q;
}

static void ask_done(struct ask *q)
{
    cb_strvec_done(&q->scopes);
    cb_credential_done(&q->cred);
}

/* ---- what is learnt of a registry ---- */

static void learn(struct ask *q, const char *realm, const char *service)
{
    struct auth_known *k = CB_NEW(struct auth_known);
    *k = (struct auth_known){ .basic = !realm,
                              .realm = cb_strdup_or_null(realm),
                              .service = cb_strdup_or_null(service) };
    pthread_mutex_lock(&q->a->mu);
    struct auth_known *old = cb_hashmap_put(q->a->known, q->t->base_url, k);
    pthread_mutex_unlock(&q->a->mu);
    if (old) {
        free(old->realm);
        free(old->service);
        free(old);
    }
}

static bool recall(struct ask *q, struct auth_known *out)
{
    pthread_mutex_lock(&q->a->mu);
    const struct auth_known *k = cb_hashmap_get(q->a->known, q->t->base_url);
    if (k)
        *out = (struct auth_known){ .basic = k->basic,
                                    .realm = cb_strdup_or_null(k->realm),
                                    .service = cb_strdup_or_null(k->service) };
    pthread_mutex_unlock(&q->a->mu);
    return k != NULL;
}

/* For ever. */
static void set_header(struct auth_entry *e, char *header)
{
    auth_secret_free(e->header);
    e->header = header;
    e->renew_at = e->ends = INT64_MAX;
}

static bool lasts(const struct ask *q, int64_t renew_at, int64_t ends)
{
    int64_t now = cb_time_monotonic();
    return now < renew_at && (!q->sends || now < ends - BODY_NS);
}

static bool is_current(const struct ask *q)
{
    return q->e->header && lasts(q, q->e->renew_at, q->e->ends);
}

static int look_up(struct ask *q, const struct cb_scope *first, struct cb_error *err)
{
    struct auth_query query = { .host = q->t->host,
                                .repo = first ? first->repo : NULL,
                                .actions = first ? first->actions : NULL,
                                .cancel = q->cancel };
    return auth_lookup(q->a, &query, &q->cred, err);
}

/* ---- answers ---- */

static void none_found(const struct ask *q, const char *scope, struct cb_error *err)
{
    struct cb_strbuf missing cb_cleanup_strbuf = CB_STRBUF_INIT;
    auth_sources_missing(&missing);
    cb_error_set(err, CB_EAUTH,
                 "%s: %s is not allowed without credentials, or there is no such repository: "
                 "`cbpush login %s` logs in%s",
                 q->t->host, scope, q->t->host, missing.buf);
}

static int no_better(const struct ask *q, struct cb_error *err)
{
    const char *scope = q->scopes.n ? q->scopes.v[0] : "any request";
    if (q->e->withheld)
        cb_error_set(err, CB_EAUTH, "%s: %s is refused: %s", q->t->host, scope, q->e->withheld);
    else if (cb_credential_is_set(&q->cred))
        cb_error_set(err, CB_EAUTH, "%s: the credentials from %s are refused for %s", q->t->host, q->cred.source,
                     scope);
    else
        none_found(q, scope, err);
    if (err)
        err->http_status = 401;
    return -CB_EAUTH;
}

static bool has_password(const struct ask *q)
{
    return q->cred.username && *q->cred.username;
}

static int answer_basic(struct ask *q, struct cb_error *err)
{
    if (!has_password(q) || (q->tried && cb_starts_with(q->tried, "Basic ")))
        return no_better(q, err);
    set_header(q->e, auth_basic_header(&q->cred));
    return 0;
}

static char *why_withheld(const struct ask *q, const char *realm, const char *reason)
{
    struct cb_strbuf url cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_url_redacted(&url, realm);
    return cb_asprintf(
        "token server %.500s did not get the credentials from %s, because %s; `cbpush login %s` approves it", url.buf,
        q->cred.source, reason, q->t->host);
}

static bool is_refused(const struct ask *q, const char *token)
{
    return q->tried && cb_starts_with(q->tried, "Bearer ") && !strcmp(q->tried + 7, token);
}

/* One that another repository's or host's request brought does as well, unless it was just refused. */
static int get_token(struct ask *q, const struct auth_token_request *req, struct cb_error *err)
{
    struct auth_kept_token *k = auth_token_kept(q->a, req);
    struct auth_token got = { 0 };
    int r = cb_turn_take(&k->turn, q->cancel, err);
    if (r < 0)
        return r;
    if (!k->token.value || !lasts(q, k->token.renew_at, k->token.ends) || is_refused(q, k->token.value)) {
        r = auth_token_fetch(q->a->o.http, req, &got, err);
        if (r == 0) {
            auth_secret_free(k->token.value);
            k->token = got;
        }
    }
    if (r == 0) {
        set_header(q->e, cb_asprintf("Bearer %s", k->token.value));
        q->e->renew_at = k->token.renew_at;
        q->e->ends = k->token.ends;
    }
    cb_turn_give(&k->turn);
    return r;
}

static int fetch_token(struct ask *q, const char *realm, const char *service, struct cb_error *err)
{
    const char *reason = NULL;
    bool allowed = auth_realm_allowed(q->t, realm, &reason), set = cb_credential_is_set(&q->cred);
    struct cb_auth_target t = *q->t;
    struct auth_token_request req = { .target = &t,
                                      .realm = realm,
                                      .service = service,
                                      .scopes = &q->scopes,
                                      .cancel = q->cancel,
                                      .cred = allowed && set ? &q->cred : NULL };
    free(q->e->withheld);
    q->e->withheld = set && !allowed ? why_withheld(q, realm, reason) : NULL;
    if (!allowed)
        t.private_ok = t.plain_http = false;
    if (q->e->withheld)
        auth_note(q->a, "%s: %s", q->t->host, q->e->withheld);
    int r = get_token(q, &req, err);
    if (r < 0 && r != -CB_ECANCELED && q->e->withheld)
        cb_error_wrap(err, "%s", q->e->withheld);
    if (r < 0)
        cb_error_wrap(err, "%s", q->t->host);
    return r;
}

static int fetch_bearer(struct ask *q, const char *realm, const char *service, struct cb_error *err)
{
    int r = fetch_token(q, realm, service, err);
    if (r < 0)
        return r;
    q->e->asked = q->scopes.n;
    pthread_mutex_lock(&q->a->mu);
    if (!q->e->withheld) {
        free(q->a->last_realm);
        q->a->last_realm = cb_strdup(realm);
    }
    pthread_mutex_unlock(&q->a->mu);
    return 0;
}

static bool take_registry_token(struct ask *q)
{
    cb_autofree char *header = q->cred.registry_token ? cb_asprintf("Bearer %s", q->cred.registry_token) : NULL;
    if (!header)
        return false;
    bool take = !cb_streq(q->tried, header);
    if (take)
        set_header(q->e, CB_TAKE(header));
    else
        explicit_bzero(header, strlen(header));
    return take;
}

static int answer_bearer(struct ask *q, const struct auth_challenge *c, struct cb_error *err)
{
    const char *realm = cb_strmap_get(&c->params, "realm"), *service = cb_strmap_get(&c->params, "service");
    bool insufficient = cb_streq(cb_strmap_get(&c->params, "error"), "insufficient_scope");
    bool tried = q->tried && cb_starts_with(q->tried, "Bearer ");
    if (take_registry_token(q))
        return 0;
    if (!realm)
        return cb_error_set(err, CB_EVERIFY, "%s asks for a token and names no realm", q->t->host);
    learn(q, realm, service);
    if (tried)
        auth_scope_add(&q->scopes, cb_strmap_get(&c->params, "scope"));
    /* A token of the same scopes is worth it only in place of one that may have been too old: kept from before, or
     * after a long wait for our turn at the host. */
    bool young = cb_time_monotonic() < q->e->renew_at && (q->again || insufficient);
    if (tried && young && q->scopes.n <= q->e->asked)
        return no_better(q, err);
    return fetch_bearer(q, realm, service, err);
}

static int answer(struct ask *q, const struct auth_challenges *c, struct cb_error *err)
{
    const struct auth_challenge *bearer = auth_challenge_pick(c, "bearer");
    if (bearer)
        return answer_bearer(q, bearer, err);
    if (auth_challenge_pick(c, "basic")) {
        learn(q, NULL, NULL);
        return answer_basic(q, err);
    }
    return cb_error_set(err, CB_EAUTH, "%s refuses, and offers no way to authenticate that is known (Bearer, Basic)",
                        q->t->host);
}

int cb_auth_challenge(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_http_reply *reply,
                      const struct cb_auth_ask *ask, struct cb_error *err)
{
    CB_CLEANUP(ask_done) struct ask q = ask_of(a, t, ask);
    CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
    int r = auth_challenge_read(reply, &c, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", t->host);
        return r;
    }
    r = look_up(&q, ask->n ? &ask->scopes[0] : NULL, err);
    if (r == 0)
        r = cb_turn_take(&q.e->turn, q.cancel, err);
    if (r < 0)
        return r;
    /* Another thread may have brought a better one while we waited. */
    bool fresh = is_current(&q) && !cb_streq(q.e->header, q.tried);
    /* A password that was just refused is not tried twice: accounts are locked for that. */
    if (!fresh && !q.tried && q.e->not_ahead && q.e->ahead.code == CB_EAUTH)
        r = cb_error_copy(err, &q.e->ahead);
    else if (!fresh)
        r = answer(&q, &c, err);
    cb_turn_give(&q.e->turn);
    return r;
}

/* ---- ahead of a challenge ---- */

void cb_auth_learn(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_http_reply *reply)
{
    CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
    struct ask q = { .a = a, .t = t };
    if (cb_http_status(reply) != 401 || auth_challenge_read(reply, &c, NULL) < 0)
        return;
    const struct auth_challenge *bearer = auth_challenge_pick(&c, "bearer");
    const char *realm = bearer ? cb_strmap_get(&bearer->params, "realm") : NULL;
    if (realm || (!bearer && auth_challenge_pick(&c, "basic")))
        learn(&q, realm, realm ? cb_strmap_get(&bearer->params, "service") : NULL);
}

/* In our turn at e. A failure is not the user's business: the request goes without, and its 401 tells. One that was
 * given up says nothing to the next. */
static void fetch_ahead(struct ask *q, const struct auth_known *k, const struct cb_scope *first)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = look_up(q, first, &e);
    if (r == 0 && k->basic && has_password(q))
        set_header(q->e, auth_basic_header(&q->cred));
    else if (r == 0 && !k->basic && !take_registry_token(q))
        r = fetch_bearer(q, k->realm, k->service, &e);
    if (r == -CB_ECANCELED)
        return;
    q->e->not_ahead = r < 0;
    if (r < 0)
        auth_note(q->a, "no token ahead of the request: %s", cb_error_text(&e));
    (void)cb_error_move(&q->e->ahead, &e);
}

char *cb_auth_header(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_auth_ask *ask)
{
    CB_CLEANUP(ask_done) struct ask q = ask_of(a, t, ask);
    struct auth_known k = { 0 };
    if (cb_turn_take(&q.e->turn, q.cancel, NULL) < 0)
        return NULL;
    if (!is_current(&q) && !q.e->not_ahead && recall(&q, &k))
        fetch_ahead(&q, &k, ask->n ? &ask->scopes[0] : NULL);
    char *h = is_current(&q) ? cb_strdup(q.e->header) : NULL;
    cb_turn_give(&q.e->turn);
    free(k.realm);
    free(k.service);
    return h;
}
