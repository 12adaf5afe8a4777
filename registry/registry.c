/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/registry.h"

#include "registry/endpoint.h"
#include "registry/private.h"
#include "util/alloc.h"

struct cb_registry *cb_registry_new(const struct cb_registry_options *o, struct cb_error *err)
{
    CB_AUTO(cb_registry_free) struct cb_registry *r = CB_NEW(struct cb_registry);
    r->o = *o;
    r->o.registries_conf = NULL; /* used here, and perhaps gone later */
    r->known = CB_NEW(struct reg_known);
    pthread_mutex_init(&r->known->mu, NULL);
    cb_turn_init(&r->known->fallback);
    r->known->hosts = cb_hashmap_new();
    r->known->tomls = cb_hashmap_new();
    r->known->doubted = cb_hashmap_new();
    r->known->ranges.waits = 50;
    r->known->ranges.gain = 20;
    if (reg_conf_load(&r->known->conf, o->registries_conf, err) < 0)
        return NULL;
    return CB_TAKE(r);
}

struct cb_registry *cb_registry_until(struct cb_registry *r, const struct cb_cancel *c)
{
    struct cb_registry *view = CB_NEW(struct cb_registry);
    *view = *r;
    view->o.cancel = c;
    view->client = r->client ? r->client : r;
    view->ahead = NULL;
    return view;
}

const struct cb_cancel *reg_until(const struct cb_registry *r)
{
    return r->client ? r->o.cancel : NULL;
}

void cb_registry_grace(struct cb_registry *r, int64_t ns)
{
    cb_http_grace(r->o.http, ns);
}

static void known_free(struct reg_known *k)
{
    const char *key;
    void *h;
    for (size_t it = 0; cb_hashmap_next(k->hosts, &it, &key, &h);)
        reg_host_free(h);
    cb_hashmap_free(k->hosts);
    reg_hosts_table_done(k->tomls);
    cb_hashmap_free(k->doubted);
    reg_conf_done(&k->conf);
    cb_strvec_done(&k->named);
    pthread_mutex_destroy(&k->mu);
    cb_turn_done(&k->fallback);
    free(k);
}

void cb_registry_free(struct cb_registry *r)
{
    if (!r)
        return;
    reg_ahead_done(r);
    if (!r->client)
        known_free(r->known);
    free(r);
}

const struct cb_strvec *cb_registry_credential_helpers(const struct cb_registry *r)
{
    return &r->known->conf.credential_helpers;
}

void cb_registry_name_host(struct cb_registry *r, const char *host)
{
    pthread_mutex_lock(&r->known->mu);
    if (!cb_strvec_has(&r->known->named, host))
        cb_strvec_push(&r->known->named, host);
    pthread_mutex_unlock(&r->known->mu);
}

void cb_registry_expect(struct cb_registry *r, unsigned fetched, unsigned sent)
{
    atomic_store(&r->known->fetched, fetched);
    atomic_store(&r->known->sent, sent);
}

/* GET /v2/ as this user; a registry that asks nobody takes anybody. *url: owned. */
static int ping(struct cb_registry *r, struct cb_auth *auth, const char *host, char **url, struct cb_error *err)
{
    CB_AUTO(cb_http_reply_free) struct cb_http_reply *reply = NULL;
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    struct reg_request q = { .method = "GET", .path = "", .auth = auth, .approve_realm = auth != NULL };
    int s = reg_endpoint_push(r, host, "login", &e, err);
    if (s == 0)
        s = reg_send(r, &e, &q, &reply, err);
    if (s == 0 && cb_http_status(reply) == 200)
        *url = cb_strndup(cb_http_url(reply), strcspn(cb_http_url(reply), "?"));
    if (s < 0 || cb_http_status(reply) == 200)
        return s;
    return cb_http_status(reply) == 404
               ? cb_error_set(err, CB_ENET, "%s answers, but is no registry: there is no /v2/", host)
               : reg_reply_error(reply, err, "registry %s", host);
}

int cb_registry_ping(struct cb_registry *r, const char *host, char **url, struct cb_error *err)
{
    return ping(r, NULL, host, url, err);
}

int cb_registry_check_login(struct cb_registry *r, const char *host, const char *username, const char *password,
                            char **realm, struct cb_error *err)
{
    *realm = NULL;
    if (!*username || strchr(username, ':'))
        return cb_error_set(err, CB_EUSAGE, "a user name must not be empty or contain ':'");
    cb_autofree char *creds = cb_asprintf("%s:%s", username, password);
    struct cb_auth_options ao = { .creds = creds, .http = r->o.http, .cancel = r->o.cancel };
    CB_AUTO(cb_auth_free) struct cb_auth *auth = cb_auth_new(&ao);
    explicit_bzero(creds, strlen(creds));
    cb_auth_set_creds_host(auth, host);
    cb_registry_name_host(r, host);
    cb_autofree char *url = NULL;
    int s = ping(r, auth, host, &url, err);
    if (s == 0)
        *realm = cb_auth_last_realm(auth);
    return s;
}
