/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/auth.h"

#include <errno.h>
#include <stdarg.h>
#include <strings.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"

struct cb_auth *cb_auth_new(const struct cb_auth_options *o)
{
    struct cb_auth *a = CB_NEW(struct cb_auth);
    a->o = *o;
    a->given[AUTH_BOTH].creds = cb_strdup_or_null(o->creds);
    a->given[AUTH_PULL].creds = cb_strdup_or_null(o->pull_creds);
    a->given[AUTH_PUSH].creds = cb_strdup_or_null(o->push_creds);
    a->apart = o->push_authfile || o->pull_authfile;
    pthread_mutex_init(&a->mu, NULL);
    a->entries = cb_hashmap_new();
    a->known = cb_hashmap_new();
    auth_found_init(&a->found);
    a->tokens = cb_hashmap_new();
    a->sources.cancel = a->push_sources.cancel = o->cancel;
    auth_sources_find(&a->sources, o->pull_authfile ? o->pull_authfile : o->authfile);
    if (a->apart)
        auth_sources_find(&a->push_sources, o->push_authfile ? o->push_authfile : o->authfile);
    /* the caller's may be gone */
    a->o.authfile = a->o.creds = a->o.push_authfile = a->o.pull_authfile = a->o.pull_creds = a->o.push_creds = NULL;
    return a;
}

static void free_entries(struct cb_hashmap *entries)
{
    const char *key;
    void *v;
    for (size_t it = 0; cb_hashmap_next(entries, &it, &key, &v);) {
        struct auth_entry *e = v;
        auth_secret_free(e->header);
        free(e->withheld);
        cb_error_done(&e->ahead);
        cb_turn_done(&e->turn);
        free(e);
    }
    cb_hashmap_free(entries);
}

static void free_known(struct cb_hashmap *known)
{
    const char *key;
    void *v;
    for (size_t it = 0; cb_hashmap_next(known, &it, &key, &v);) {
        struct auth_known *k = v;
        free(k->realm);
        free(k->service);
        free(k);
    }
    cb_hashmap_free(known);
}

void cb_auth_free(struct cb_auth *a)
{
    if (!a)
        return;
    free_entries(a->entries);
    free_known(a->known);
    auth_token_table_done(a->tokens);
    auth_found_done(&a->found);
    auth_sources_done(&a->sources);
    auth_sources_done(&a->push_sources);
    for (size_t i = 0; i < AUTH_SIDES; i++) {
        auth_secret_free(a->given[i].creds);
        free(a->given[i].host);
    }
    free(a->last_realm);
    pthread_mutex_destroy(&a->mu);
    free(a);
}

void cb_auth_set_helpers(struct cb_auth *a, const struct cb_strvec *helpers)
{
    auth_sources_set_helpers(&a->sources, helpers);
    if (a->apart)
        auth_sources_set_helpers(&a->push_sources, helpers);
}

static void set_host(struct cb_auth *a, enum auth_side side, const char *host)
{
    pthread_mutex_lock(&a->mu);
    free(a->given[side].host);
    a->given[side].host = cb_strdup_or_null(host);
    pthread_mutex_unlock(&a->mu);
}

void cb_auth_set_creds_host(struct cb_auth *a, const char *host)
{
    set_host(a, AUTH_BOTH, host);
}

void cb_auth_set_side_hosts(struct cb_auth *a, const char *pull, const char *push)
{
    set_host(a, AUTH_PULL, pull);
    set_host(a, AUTH_PUSH, push);
}

char *cb_auth_last_realm(struct cb_auth *a)
{
    pthread_mutex_lock(&a->mu);
    char *realm = cb_strdup_or_null(a->last_realm);
    pthread_mutex_unlock(&a->mu);
    return realm;
}

void auth_note(const struct cb_auth *a, const char *fmt, ...)
{
    va_list ap;
    if (!a->o.note)
        return;
    va_start(ap, fmt);
    cb_autofree char *line = cb_vasprintf(fmt, ap);
    va_end(ap);
    a->o.note(a->o.note_arg, line);
}

/* ---- which credential ---- */

/* Under mu. */
static bool is_for(const struct auth_given *g, const char *host)
{
    return g->creds && g->host && !strcasecmp(g->host, host);
}

static bool changes_something(const char *actions)
{
    return actions && (auth_has_action(actions, "push", 4) || auth_has_action(actions, "delete", 6));
}

/* What is only read where something is copied to may be read by who writes it; nothing is written by who may read. */
static enum auth_side side_of(struct cb_auth *a, const struct auth_query *q)
{
    enum auth_side side = AUTH_SIDES;
    pthread_mutex_lock(&a->mu);
    if (is_for(&a->given[AUTH_PULL], q->host) && !changes_something(q->actions))
        side = AUTH_PULL;
    else if (is_for(&a->given[AUTH_PUSH], q->host))
        side = AUTH_PUSH;
    else if (is_for(&a->given[AUTH_BOTH], q->host))
        side = AUTH_BOTH;
    pthread_mutex_unlock(&a->mu);
    return side;
}

static void from_option(const struct cb_auth *a, enum auth_side side, struct cb_credential *out)
{
    static const char *const options[] = { "--creds", "--src-creds", "--dest-creds" };
    const char *creds = a->given[side].creds, *colon = strchrnul(creds, ':');
    out->username = cb_strndup(creds, (size_t)(colon - creds));
    out->password = cb_strdup(*colon ? colon + 1 : "");
    out->source = cb_strdup("the command line");
    out->key = cb_strdup(options[side]);
}

static void note_unreadable(const struct cb_auth *a, const struct auth_sources *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct auth_source *src = &s->v[i];
        if (src->kind <= AUTH_OLD && !src->text && access(src->name, R_OK) < 0 && errno == EACCES)
            auth_note(a, "credentials: %s may not be read, and is passed over", src->name);
    }
}

static int search(struct cb_auth *a, const struct auth_query *q, struct cb_credential *out, struct cb_error *err)
{
    struct auth_sources *s = a->apart && changes_something(q->actions) ? &a->push_sources : &a->sources;
    int r = 0;
    enum auth_side side = side_of(a, q);
    if (side != AUTH_SIDES) {
        from_option(a, side, out);
        r = 1;
    } else {
        note_unreadable(a, s);
        r = auth_sources_lookup(s, q, out, err);
    }
    if (r > 0)
        auth_note(a, "credentials for %s%s%s: %s (%s)", q->host, q->repo ? "/" : "", q->repo ? q->repo : "",
                  out->source, out->key);
    else if (r == 0)
        auth_note(a, "credentials for %s: none (anonymous)", q->host);
    return r < 0 ? r : 0;
}

int auth_lookup(struct cb_auth *a, const struct auth_query *wanted, struct cb_credential *out, struct cb_error *err)
{
    struct auth_query q = *wanted;
    cb_autofree char *name = auth_lower(q.host);
    cb_autofree char *key = cb_asprintf("%s/%s %s", name, q.repo ? q.repo : "", q.actions ? q.actions : "");
    struct auth_found *f = auth_found_of(&a->found, key);
    q.host = name;
    q.cancel = wanted->cancel ? wanted->cancel : a->o.cancel;
    *out = (struct cb_credential){ 0 };
    int r = cb_turn_take(&f->turn, q.cancel, err);
    if (r < 0)
        return r;
    if (!f->done) {
        r = search(a, &q, &f->cred, err);
        f->done = r == 0;
    }
    if (r == 0)
        auth_credential_copy(out, &f->cred);
    else
        cb_credential_done(&f->cred);
    cb_turn_give(&f->turn);
    if (r < 0)
        cb_error_wrap(err, "credentials for %s", wanted->host);
    return r;
}

int cb_auth_lookup(struct cb_auth *a, const char *host, const char *repo, struct cb_credential *out,
                   struct cb_error *err)
{
    struct auth_query q = { .host = host, .repo = repo, .actions = "pull" };
    return auth_lookup(a, &q, out, err);
}

/* ---- what is known for a set of scopes ---- */

static char *entry_key(const struct cb_auth_target *t, const struct cb_strvec *scopes)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_adds(&sb, t->base_url);
    for (size_t i = 0; i < scopes->n; i++) /* in their order: the first decides whose credentials are taken */
        cb_strbuf_addf(&sb, "|%s", scopes->v[i]);
    return cb_strbuf_detach(&sb, NULL);
}

struct auth_entry *auth_entry_of(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_strvec *scopes)
{
    cb_autofree char *key = entry_key(t, scopes);
    pthread_mutex_lock(&a->mu);
    struct auth_entry *e = cb_hashmap_get(a->entries, key);
    if (!e) {
        e = CB_NEW(struct auth_entry);
        cb_turn_init(&e->turn);
        cb_hashmap_put(a->entries, key, e);
    }
    pthread_mutex_unlock(&a->mu);
    return e;
}
