/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <strings.h>

#include "registry/endpoint.h"
#include "util/alloc.h"

bool reg_same_host(const char *a, const char *b)
{
    return strcasecmp(a, b) == 0;
}

/* "h" of "h:5000", "[::1]" of "[::1]:5000". */
static char *without_port(const char *host)
{
    return cb_strndup(host, *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":"));
}

/* A name that only begins like an address is none. */
bool reg_is_loopback(const char *host)
{
    cb_autofree char *name = without_port(host);
    struct in_addr a;
    if (inet_pton(AF_INET, name, &a) == 1)
        return ntohl(a.s_addr) >> 24 == 127;
    return reg_same_host(name, "localhost") || !strcmp(name, "[::1]");
}

/* ---- hosts ---- */

void reg_host_free(struct reg_host *h)
{
    cb_http_tls_done(&h->tls);
    cb_turn_done(&h->probe);
    pthread_mutex_destroy(&h->mu);
    free(h->name);
    free(h->authority);
    free(h->api);
    free(h->ns);
    cb_strvec_wipe(&h->headers);
    free(h);
}

static bool is_among(const struct cb_strvec *list, const char *host)
{
    for (size_t i = 0; list && i < list->n; i++)
        if (reg_same_host(list->v[i], host))
            return true;
    return false;
}

static bool is_listed(const struct cb_strvec *list, const char *host)
{
    cb_autofree char *name = without_port(host);
    return is_among(list, host) || is_among(list, name) || is_among(list, "*");
}

/* The values of "HOST=VALUE" for this host, one after the other. */
static const char *next_value(const struct cb_strvec *list, const char *host, size_t *i)
{
    while (list && *i < list->n) {
        const char *word = list->v[(*i)++], *eq = strchr(word, '=');
        cb_autofree char *key = eq ? cb_strndup(word, (size_t)(eq - word)) : NULL;
        if (key && reg_same_host(key, host))
            return eq + 1;
    }
    return NULL;
}

static int add_certs(struct cb_registry *r, struct reg_host *h, struct cb_error *err)
{
    const char *v;
    for (size_t i = 0; (v = next_value(r->o.certs, h->name, &i));)
        cb_strvec_push(&h->tls.ca_files, v);
    for (size_t i = 0; (v = next_value(r->o.client_certs, h->name, &i));) {
        const char *comma = strchr(v, ',');
        if (!comma)
            return cb_error_set(err, CB_EUSAGE, "client certificate of %s: write HOST=CERT,KEY", h->name);
        free(h->tls.client_cert);
        free(h->tls.client_key);
        h->tls.client_cert = cb_strndup(v, (size_t)(comma - v));
        h->tls.client_key = cb_strdup(comma + 1);
    }
    return 0;
}

struct reg_host_how reg_host_how(const struct cb_registry *r, const char *name, bool rule_insecure)
{
    bool named = is_among(&r->known->named, name);
    bool insecure = rule_insecure || is_listed(r->o.insecure, name) || (r->o.tls_verify == 0 && named);
    return (struct reg_host_how){ .insecure = insecure, .named = named };
}

struct reg_host *reg_host_make(struct cb_registry *r, const char *name, struct reg_host_how how, struct cb_error *err)
{
    struct reg_host *h = CB_NEW(struct reg_host);
    h->name = cb_strdup(name);
    h->authority = cb_strdup(reg_same_host(name, "docker.io") ? "registry-1.docker.io" : name);
    h->api = cb_strdup("/v2");
    h->loopback = reg_is_loopback(name);
    h->insecure = how.insecure;
    h->tls.insecure = how.insecure || is_listed(r->o.unverified, name);
    h->plain = how.insecure || h->loopback ? -1 : 0;
    cb_turn_init(&h->probe);
    pthread_mutex_init(&h->mu, NULL);
    if (reg_certs_find(&h->tls, how.named ? r->o.cert_dir : NULL, name, err) < 0 || add_certs(r, h, err) < 0) {
        reg_host_free(h);
        return NULL;
    }
    return h;
}

/* The same host may be insecure for one prefix and not for another: those are two. rule_insecure: by registries.conf.
 */
static const struct reg_host *host_of(struct cb_registry *r, const char *name, bool rule_insecure,
                                      struct cb_error *err)
{
    pthread_mutex_lock(&r->known->mu);
    struct reg_host_how how = reg_host_how(r, name, rule_insecure);
    cb_autofree char *key = cb_asprintf("%s %d %d", name, how.insecure, how.named);
    struct reg_host *h = cb_hashmap_get(r->known->hosts, key);
    if (!h && (h = reg_host_make(r, name, how, err)))
        cb_hashmap_put(r->known->hosts, key, h);
    pthread_mutex_unlock(&r->known->mu);
    return h;
}

/* ---- endpoints ---- */

void reg_endpoint_done(struct reg_endpoint *e)
{
    free(e->host);
    free(e->repo);
    *e = (struct reg_endpoint){ 0 };
}

void reg_endpoints_done(struct reg_endpoints *e)
{
    for (size_t i = 0; i < e->n; i++)
        reg_endpoint_done(&e->v[i]);
    free(e->v);
    *e = (struct reg_endpoints){ 0 };
}

static int add(struct cb_registry *r, struct reg_endpoints *out, const char *name, bool insecure,
               struct cb_error *err)
{
    const char *slash = strchr(name, '/');
    if (!slash)
        return cb_error_set(err, CB_ECONF, "registries.conf: no repository is left in \"%s\"", name);
    struct reg_endpoint e = { .host = cb_strndup(name, (size_t)(slash - name)), .repo = cb_strdup(slash + 1),
                              .cancel = reg_until(r) };
    int s = 0;
    if (!cb_reference_valid_host(e.host) || !cb_reference_valid_repo(e.repo))
        s = cb_error_set(err, CB_ECONF, "registries.conf: \"%s\" is no valid name", name);
    else if (!(e.h = host_of(r, e.host, insecure, err)))
        s = -CB_ECONF;
    if (s < 0) {
        reg_endpoint_done(&e);
        return s;
    }
    CB_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = e;
    return 0;
}

static char *full_name(const struct reg_wanted *w)
{
    char digest[CB_DIGEST_TEXT_MAX] = "";
    bool by_digest = w->digest && cb_digest_is_set(w->digest);
    if (by_digest)
        cb_digest_text(w->digest, digest);
    return cb_asprintf("%s/%s%s%s%s%s", w->host, w->repo, w->tag ? ":" : "", w->tag ? w->tag : "",
                       by_digest ? "@" : "", digest);
}

static bool may_serve(const struct reg_mirror *m, const struct reg_wanted *w)
{
    bool by_digest = w->digest && cb_digest_is_set(w->digest);
    return w->blob || !(by_digest ? m->tag_only : m->digest_only);
}

static int add_mirrors(struct cb_registry *r, const struct reg_wanted *w, struct reg_endpoints *out,
                       struct cb_error *err)
{
    const char *location;
    int s = 0;
    for (size_t i = 0; s == 0 && (location = next_value(r->o.mirrors, w->host, &i));) {
        cb_autofree char *there = cb_asprintf("%s/%s", location, w->repo);
        s = add(r, out, there, false, err);
    }
    return s;
}

int reg_endpoints_pull(struct cb_registry *r, const struct reg_wanted *w, struct reg_endpoints *out,
                       struct cb_error *err)
{
    cb_autofree char *full = full_name(w);
    cb_autofree char *name = cb_asprintf("%s/%s", w->host, w->repo);
    const struct reg_hosts *toml = NULL;
    size_t matched = 0;
    int s = add_mirrors(r, w, out, err);
    if (s < 0 || (out->n && r->o.only_mirrors))
        return s;
    const struct reg_rule *rule = reg_conf_match(&r->known->conf, full, &matched);
    if (rule && rule->blocked)
        return cb_error_set(err, CB_EAUTH, "%s is blocked by registries.conf", name);
    if ((s = reg_hosts_of(r, w->host, &toml, err)) < 0 || toml)
        return s < 0 ? s : reg_hosts_pull(r, toml, w, out, err);
    if (!rule)
        return add(r, out, name, false, err);
    const char *rest = name + CB_MIN(matched, strlen(name)); /* a prefix may go as far as the tag */
    for (size_t i = 0; s == 0 && i < rule->n_mirrors; i++) {
        cb_autofree char *there = cb_asprintf("%s%s", rule->mirrors[i].location, rest);
        if (may_serve(&rule->mirrors[i], w))
            s = add(r, out, there, rule->mirrors[i].insecure, err);
    }
    cb_autofree char *there = *rule->location ? cb_asprintf("%s%s", rule->location, rest) : cb_strdup(name);
    return s < 0 ? s : add(r, out, there, rule->insecure, err);
}

int reg_endpoint_location(struct cb_registry *r, const char *host, const char *repo, struct reg_endpoint *out,
                          struct cb_error *err)
{
    CB_CLEANUP(reg_endpoints_done) struct reg_endpoints all = { 0 };
    struct reg_wanted w = { .host = host, .repo = repo };
    int s = reg_endpoints_pull(r, &w, &all, err);
    if (s == 0)
        *out = all.v[--all.n];
    return s;
}

/* What a rule says of its location holds for the host itself only where that is the location. */
static bool is_push_insecure(const struct reg_rule *rule, const char *host)
{
    cb_autofree char *there = cb_strndup(rule->location, strcspn(rule->location, "/"));
    return rule->insecure && (!*there || reg_same_host(there, host));
}

int reg_endpoint_push(struct cb_registry *r, const char *host, const char *repo, struct reg_endpoint *out,
                      struct cb_error *err)
{
    cb_autofree char *name = cb_asprintf("%s/%s", host, repo);
    struct reg_wanted w = { .host = host, .repo = repo };
    const struct reg_hosts *toml = NULL;
    size_t matched;
    const struct reg_rule *rule = reg_conf_match(&r->known->conf, name, &matched);
    if (rule && rule->blocked)
        return cb_error_set(err, CB_EAUTH, "%s is blocked by registries.conf", name);
    int s = reg_hosts_of(r, host, &toml, err);
    if (s < 0 || toml)
        return s < 0 ? s : reg_hosts_push(r, toml, &w, out, err);
    const struct reg_host *h = host_of(r, host, rule && is_push_insecure(rule, host), err);
    if (!h)
        return -CB_ECONF;
    *out = (struct reg_endpoint){ .host = cb_strdup(host), .repo = cb_strdup(repo), .h = h, .cancel = reg_until(r) };
    return 0;
}
