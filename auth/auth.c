/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include "auth/private.h"
#include "util/alloc.h"
#include "util/hashmap.h"
#include "util/timeutil.h"

/* One set of scopes at one registry. */
struct entry {
    pthread_mutex_t mu;          /* one fetch at a time */
    char *header;                /* "Bearer …", "Basic …", or NULL */
    int64_t renew_at;            /* monotonic ns; INT64_MAX: never */
};

struct cb_auth {
    struct cb_auth_options o;
    char *authfile, *creds, *creds_host, *last_realm;
    pthread_mutex_t mu;
    struct cb_hashmap *entries;  /* "base_url|scopes" → entry */
    struct cb_hashmap *creds_by_repo; /* "host/repo" → credential */
    struct auth_sources sources;
};

void auth_secret_free(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

void cb_credential_done(struct cb_credential *c)
{
    auth_secret_free(c->password);
    auth_secret_free(c->identity_token);
    auth_secret_free(c->registry_token);
    free(c->username);
    free(c->source);
    *c = (struct cb_credential){ 0 };
}

bool cb_credential_is_set(const struct cb_credential *c)
{
    return (c->username && *c->username) || c->identity_token || c->registry_token;
}

static void credential_copy(struct cb_credential *to, const struct cb_credential *from)
{
    to->username = cb_strdup_or_null(from->username);
    to->password = cb_strdup_or_null(from->password);
    to->identity_token = cb_strdup_or_null(from->identity_token);
    to->registry_token = cb_strdup_or_null(from->registry_token);
    to->source = cb_strdup_or_null(from->source);
}

struct cb_auth *cb_auth_new(const struct cb_auth_options *o)
{
    struct cb_auth *a = CB_NEW(struct cb_auth);
    a->o = *o;
    a->authfile = cb_strdup_or_null(o->authfile);
    a->creds = cb_strdup_or_null(o->creds);
    pthread_mutex_init(&a->mu, NULL);
    a->entries = cb_hashmap_new();
    a->creds_by_repo = cb_hashmap_new();
    auth_sources_find(&a->sources, a->authfile);
    return a;
}

void cb_auth_free(struct cb_auth *a)
{
    const char *key;
    void *v;
    if (!a)
        return;
    for (size_t it = 0; cb_hashmap_next(a->entries, &it, &key, &v);) {
        struct entry *e = v;
        auth_secret_free(e->header);
        pthread_mutex_destroy(&e->mu);
        free(e);
    }
    for (size_t it = 0; cb_hashmap_next(a->creds_by_repo, &it, &key, &v);) {
        cb_credential_done(v);
        free(v);
    }
    cb_hashmap_free(a->entries);
    cb_hashmap_free(a->creds_by_repo);
    auth_sources_done(&a->sources);
    free(a->authfile);
    auth_secret_free(a->creds);
    free(a->creds_host);
    free(a->last_realm);
    pthread_mutex_destroy(&a->mu);
    free(a);
}

void cb_auth_set_creds_host(struct cb_auth *a, const char *host)
{
    free(a->creds_host);
    a->creds_host = cb_strdup(host);
}

const char *cb_auth_last_realm(struct cb_auth *a)
{
    return a->last_realm;
}

/* ---- which credential ---- */

static void from_option(const struct cb_auth *a, struct cb_credential *out)
{
    const char *colon = strchrnul(a->creds, ':');
    out->username = cb_strndup(a->creds, (size_t)(colon - a->creds));
    out->password = cb_strdup(*colon ? colon + 1 : "");
    out->source = cb_strdup("--creds");
}

static int search(struct cb_auth *a, const char *host, const char *repo, struct cb_credential *out, struct cb_error *err)
{
    int r = 0;
    if (a->creds && cb_streq(a->creds_host, host)) {
        from_option(a, out);
        return 0;
    }
    for (size_t i = 0; r == 0 && i < a->sources.n; i++)
        r = auth_file_lookup(&a->sources.v[i], host, repo, a->o.cancel, out, err);
    if (r >= 0 && a->o.note) {
        cb_autofree char *line = cb_asprintf("credentials for %s: %s", host, r ? out->source : "none (anonymous)");
        a->o.note(a->o.note_arg, line);
    }
    return r < 0 ? r : 0;
}

int cb_auth_lookup(struct cb_auth *a, const char *host, const char *repo, struct cb_credential *out, struct cb_error *err)
{
    cb_autofree char *key = cb_asprintf("%s/%s", host, repo ? repo : "");
    int r = 0;
    *out = (struct cb_credential){ 0 };
    pthread_mutex_lock(&a->mu);
    struct cb_credential *c = cb_hashmap_get(a->creds_by_repo, key);
    if (!c) {
        c = CB_NEW(struct cb_credential);
        r = search(a, host, repo, c, err);
        if (r == 0)
            cb_hashmap_put(a->creds_by_repo, key, c);
    }
    if (r == 0)
        credential_copy(out, c);
    pthread_mutex_unlock(&a->mu);
    if (r < 0) {
        cb_credential_done(c);
        free(c);
        return cb_error_wrap(err, "credentials for %s", host);
    }
    return 0;
}

/* ---- what was learnt ---- */

static void scope_list(const struct cb_scope *scopes, size_t n, struct cb_strvec *out)
{
    for (size_t i = 0; i < n; i++) {
        cb_autofree char *text = cb_asprintf("repository:%s:%s", scopes[i].repo, scopes[i].actions);
        if (!cb_strvec_has(out, text))
            cb_strvec_push(out, text);
    }
}

static char *entry_key(const struct cb_auth_target *t, const struct cb_strvec *scopes)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, t->base_url);
    for (size_t i = 0; i < scopes->n; i++)
        cb_strbuf_addf(&sb, "|%s", scopes->v[i]);
    return cb_strbuf_detach(&sb, NULL);
}

static struct entry *entry_of(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_strvec *scopes)
{
    cb_autofree char *key = entry_key(t, scopes);
    pthread_mutex_lock(&a->mu);
    struct entry *e = cb_hashmap_get(a->entries, key);
    if (!e) {
        e = CB_NEW(struct entry);
        pthread_mutex_init(&e->mu, NULL);
        cb_hashmap_put(a->entries, key, e);
    }
    pthread_mutex_unlock(&a->mu);
    return e;
}

char *cb_auth_header(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_scope *scopes, size_t n)
{
    struct cb_strvec list cb_cleanup_strvec = CB_STRVEC_INIT;
    scope_list(scopes, n, &list);
    struct entry *e = entry_of(a, t, &list);
    pthread_mutex_lock(&e->mu);
    char *h = e->header && cb_time_monotonic() < e->renew_at ? cb_strdup(e->header) : NULL;
    pthread_mutex_unlock(&e->mu);
    return h;
}

/* ---- a challenge ---- */

struct ask {
    struct cb_auth *a;
    const struct cb_auth_target *t;
    struct cb_strvec scopes;
    struct cb_credential cred;
    struct entry *e;
    const char *tried;
};

static void set_header(struct entry *e, char *header, int64_t renew_at)
{
    auth_secret_free(e->header);
    e->header = header;
    e->renew_at = renew_at;
}

static int no_better(const struct ask *q, struct cb_error *err)
{
    const char *scope = q->scopes.n ? q->scopes.v[0] : "the registry";
    if (cb_credential_is_set(&q->cred))
        return cb_error_set(err, CB_EAUTH, "%s: the credentials from %s are refused for %s", q->t->host, q->cred.source, scope);
    return cb_error_set(err, CB_EAUTH, "%s: not allowed anonymously for %s: log in with `cbpush login %s`", q->t->host, scope, q->t->host);
}

static int answer_basic(struct ask *q, struct cb_error *err)
{
    if (!q->cred.username || !*q->cred.username || (q->tried && cb_starts_with(q->tried, "Basic ")))
        return no_better(q, err);
    set_header(q->e, auth_basic_header(&q->cred), INT64_MAX);
    return 0;
}

static int fetch_bearer(struct ask *q, const char *realm, const char *service, struct cb_error *err)
{
    struct auth_token token = { 0 };
    const char *reason = NULL;
    bool allowed = auth_realm_allowed(q->t, realm, &reason);
    struct cb_auth_target t = *q->t;
    struct auth_token_request req = { .target = &t, .realm = realm, .service = service, .scopes = &q->scopes,
                                      .cred = allowed && cb_credential_is_set(&q->cred) ? &q->cred : NULL };
    if (!allowed)
        t.private_ok = t.plain_http = false;
    int r = auth_token_fetch(q->a->o.http, &req, &token, err);
    if (r < 0 && !allowed && cb_credential_is_set(&q->cred))
        return cb_error_wrap(err, "token server %s did not get the credentials of %s, because %s; `cbpush login %s` approves it",
                             realm, q->t->host, reason, q->t->host);
    if (r < 0)
        return cb_error_wrap(err, "%s", q->t->host);
    set_header(q->e, cb_asprintf("Bearer %s", token.value), token.renew_at);
    auth_secret_free(token.value);
    return 0;
}

static void add_challenge_scopes(struct ask *q, const char *text)
{
    for (const char *p = text; p && *p;) {
        const char *end = strchrnul(p, ' ');
        cb_autofree char *one = cb_strndup(p, (size_t)(end - p));
        if (*one && !cb_strvec_has(&q->scopes, one) && q->scopes.n < 16 && q->tried)
            cb_strvec_push(&q->scopes, one);
        p = *end ? end + 1 : end;
    }
}

static int answer_bearer(struct ask *q, const struct auth_challenge *c, struct cb_error *err)
{
    const char *realm = cb_strmap_get(&c->params, "realm"), *error = cb_strmap_get(&c->params, "error");
    if (q->cred.registry_token && !(q->tried && strstr(q->tried, q->cred.registry_token))) {
        set_header(q->e, cb_asprintf("Bearer %s", q->cred.registry_token), INT64_MAX);
        return 0;
    }
    if (!realm)
        return cb_error_set(err, CB_EVERIFY, "%s asks for a token and names no realm", q->t->host);
    /* A fresh token was refused: only an expired one or a scope that was not asked for is worth another. */
    if (q->tried && cb_starts_with(q->tried, "Bearer ") && cb_streq(error, "insufficient_scope"))
        return no_better(q, err);
    add_challenge_scopes(q, cb_strmap_get(&c->params, "scope"));
    int r = fetch_bearer(q, realm, cb_strmap_get(&c->params, "service"), err);
    if (r == 0) {
        pthread_mutex_lock(&q->a->mu);
        free(q->a->last_realm);
        q->a->last_realm = cb_strdup(realm);
        pthread_mutex_unlock(&q->a->mu);
    }
    return r;
}

static int answer(struct ask *q, const struct auth_challenges *c, struct cb_error *err)
{
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].scheme, "bearer"))
            return answer_bearer(q, &c->v[i], err);
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp(c->v[i].scheme, "basic"))
            return answer_basic(q, err);
    return cb_error_set(err, CB_EAUTH, "%s refuses, and offers no way to authenticate that is known (Bearer, Basic)", q->t->host);
}

int cb_auth_challenge(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_http_reply *reply,
                      const struct cb_scope *scopes, size_t n, const char *tried, struct cb_error *err)
{
    struct ask q = { .a = a, .t = t, .tried = tried };
    struct auth_challenges c = { 0 };
    int r = cb_auth_lookup(a, t->host, n ? scopes[0].repo : NULL, &q.cred, err);
    for (size_t i = 0; r == 0 && i < 8; i++) {
        const char *v = cb_http_header_nth(reply, "WWW-Authenticate", i);
        if (!v)
            break;
        r = auth_challenge_parse(&c, v, err);
    }
    scope_list(scopes, n, &q.scopes);
    q.e = entry_of(a, t, &q.scopes);
    pthread_mutex_lock(&q.e->mu);
    /* Another thread may have brought a better one while we waited. */
    bool fresh = q.e->header && cb_time_monotonic() < q.e->renew_at && !cb_streq(q.e->header, tried);
    if (r == 0 && !fresh)
        r = answer(&q, &c, err);
    pthread_mutex_unlock(&q.e->mu);
    auth_challenges_done(&c);
    cb_strvec_done(&q.scopes);
    cb_credential_done(&q.cred);
    return r;
}
