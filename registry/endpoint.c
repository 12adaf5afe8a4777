/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/private.h"
#include "util/alloc.h"

bool reg_is_loopback(const char *host)
{
    cb_autofree char *name = *host == '[' ? cb_strndup(host, strcspn(host, "]") + 1) : cb_strndup(host, strcspn(host, ":"));
    return cb_starts_with(name, "127.") || !strcmp(name, "localhost") || !strcmp(name, "[::1]");
}

void reg_host_free(struct reg_host *h)
{
    cb_http_tls_done(&h->tls);
    pthread_mutex_destroy(&h->mu);
    free(h->name);
    free(h->authority);
    free(h);
}

static bool is_listed(const struct cb_strvec *list, const char *host)
{
    cb_autofree char *name = cb_strndup(host, *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":"));
    return list && (cb_strvec_has(list, host) || cb_strvec_has(list, name));
}

/* Under r->mu. insecure: by a rule of registries.conf. */
static struct reg_host *make_host(struct cb_registry *r, const char *name, bool insecure, struct cb_error *err)
{
    struct reg_host *h = CB_NEW(struct reg_host);
    bool named = cb_strvec_has(&r->named, name);
    h->name = cb_strdup(name);
    h->authority = cb_strdup(strcmp(name, "docker.io") ? name : "registry-1.docker.io");
    h->loopback = reg_is_loopback(name);
    h->insecure = insecure || is_listed(r->o.insecure, name) || (r->o.tls_verify == 0 && named);
    h->tls.insecure = h->insecure;
    h->user_named = true;
    h->plain = h->insecure || h->loopback ? -1 : 0;
    pthread_mutex_init(&h->mu, NULL);
    if (reg_certs_find(&h->tls, r->o.cert_dir && named ? r->o.cert_dir : NULL, name, err) < 0) {
        reg_host_free(h);
        return NULL;
    }
    return h;
}

static const struct reg_host *host_of(struct cb_registry *r, const char *name, bool insecure, struct cb_error *err)
{
    pthread_mutex_lock(&r->mu);
    struct reg_host *h = cb_hashmap_get(r->hosts, name);
    if (!h && (h = make_host(r, name, insecure, err)))
        cb_hashmap_put(r->hosts, name, h);
    pthread_mutex_unlock(&r->mu);
    return h;
}

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

/* Replaces the prefix of host/repo by a location. */
static int add_rewritten(struct cb_registry *r, struct reg_endpoints *out, const char *name, const char *prefix, const char *location,
                         bool insecure, struct cb_error *err)
{
    size_t skip = cb_starts_with(prefix, "*.") ? 0 : strlen(prefix);
    cb_autofree char *text = *location ? cb_asprintf("%s%s", location, cb_starts_with(prefix, "*.") ? strchrnul(name, '/') : name + skip)
                                       : cb_strdup(name);
    char *slash = strchr(text, '/');
    if (!slash)
        return cb_error_set(err, CB_ECONF, "registries.conf: \"%s\" leaves no repository in \"%s\"", location, text);
    *slash = '\0';
    struct reg_endpoint e = { .host = cb_strdup(text), .repo = cb_strdup(slash + 1) };
    if (!cb_reference_valid_host(e.host) || !cb_reference_valid_repo(e.repo)) {
        int bad = cb_error_set(err, CB_ECONF, "registries.conf: location \"%s\" makes no valid name", location);
        reg_endpoint_done(&e);
        return bad;
    }
    e.h = host_of(r, e.host, insecure, err);
    if (!e.h) {
        reg_endpoint_done(&e);
        return -CB_ECONF;
    }
    CB_GROW(out->v, out->n, out->cap);
    out->v[out->n++] = e;
    return 0;
}

int reg_endpoints_pull(struct cb_registry *r, const char *host, const char *repo, const char *tag, bool by_digest,
                       struct reg_endpoints *out, struct cb_error *err)
{
    const struct reg_rule *rule = reg_conf_match(&r->conf, host, repo, tag);
    cb_autofree char *name = cb_asprintf("%s/%s", host, repo);
    int e = 0;
    if (!rule)
        return add_rewritten(r, out, name, name, "", false, err);
    if (rule->blocked)
        return cb_error_set(err, CB_EAUTH, "%s is blocked by registries.conf", name);
    for (size_t i = 0; e == 0 && i < rule->n_mirrors; i++) {
        const struct reg_mirror *m = &rule->mirrors[i];
        if (!(by_digest ? m->tag_only : m->digest_only))
            e = add_rewritten(r, out, name, rule->prefix, m->location, m->insecure, err);
    }
    return e < 0 ? e : add_rewritten(r, out, name, rule->prefix, rule->location, rule->insecure, err);
}

int reg_endpoint_push(struct cb_registry *r, const char *host, const char *repo, struct reg_endpoint *out, struct cb_error *err)
{
    const struct reg_rule *rule = reg_conf_match(&r->conf, host, repo, NULL);
    bool insecure = rule && rule->insecure && !*rule->location;
    if (rule && rule->blocked)
        return cb_error_set(err, CB_EAUTH, "%s/%s is blocked by registries.conf", host, repo);
    if (rule && rule->insecure && !strncmp(rule->location, host, strlen(host)))
        insecure = true;
    out->h = host_of(r, host, insecure, err);
    if (!out->h)
        return -CB_ECONF;
    out->host = cb_strdup(host);
    out->repo = cb_strdup(repo);
    return 0;
}
