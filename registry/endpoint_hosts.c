/* SPDX-License-Identifier: Apache-2.0 */
/* Endpoints as a hosts.toml says. */
#include "registry/endpoint.h"
#include "registry/hosts.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

void reg_hosts_table_done(struct cb_hashmap *tomls)
{
    const char *key;
    void *v;
    for (size_t it = 0; cb_hashmap_next(tomls, &it, &key, &v);) {
        reg_hosts_done(v);
        free(v);
    }
    cb_hashmap_free(tomls);
}

/* A host without a file gets an empty one, so that it is looked for once. */
static int load(const char *host, struct reg_hosts *h, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *file = reg_hosts_file(host);
    if (!file)
        return 0;
    if (cb_file_slurp(file, CB_MAX_CONFIG_FILE, &text, err) < 0) {
        if (err)
            err->code = CB_ECONF;
        return -CB_ECONF;
    }
    return reg_hosts_parse(h, file, host, (struct cb_slice){ text.buf, text.len }, err);
}

static int find(struct cb_registry *r, const char *host, struct reg_hosts **out, struct cb_error *err)
{
    *out = cb_hashmap_get(r->known->tomls, host);
    if (*out)
        return 0;
    struct reg_hosts *h = CB_NEW(struct reg_hosts);
    int s = load(host, h, err);
    if (s < 0) {
        reg_hosts_done(h);
        free(h);
        return s;
    }
    cb_hashmap_put(r->known->tomls, host, h);
    *out = h;
    return 0;
}

int reg_hosts_of(struct cb_registry *r, const char *host, const struct reg_hosts **out, struct cb_error *err)
{
    struct reg_hosts *h = NULL;
    pthread_mutex_lock(&r->known->mu);
    int s = find(r, host, &h, err);
    pthread_mutex_unlock(&r->known->mu);
    *out = s == 0 && h->file ? h : NULL;
    return s;
}

/* ---- one of its places ---- */

/* Whose credentials and certificates: Docker Hub's go by the name that is written, and so do a socket's. */
static const char *name_of(const struct reg_hosts_entry *t, const char *host)
{
    bool hub = reg_same_host(host, "docker.io") && reg_same_host(t->authority, "registry-1.docker.io");
    return hub || !*t->authority ? host : t->authority;
}

static void add_toml(struct reg_host *h, const struct reg_hosts_entry *t, const char *host)
{
    free(h->authority);
    free(h->api);
    h->authority = cb_strdup(*t->authority ? t->authority : host);
    h->api = cb_strdup(t->api);
    if (!t->implied)
        h->plain = t->plain;
    h->tls.insecure = h->tls.insecure || t->tls.insecure;
    for (size_t i = 0; i < t->tls.ca_files.n; i++)
        cb_strvec_push(&h->tls.ca_files, t->tls.ca_files.v[i]);
    if (t->tls.client_cert) {
        free(h->tls.client_cert);
        free(h->tls.client_key);
        h->tls.client_cert = cb_strdup(t->tls.client_cert);
        h->tls.client_key = cb_strdup_or_null(t->tls.client_key);
    }
    h->tls.unix_socket = cb_strdup_or_null(t->tls.unix_socket);
    h->tls.connect_ns = t->tls.connect_ns;
    cb_strvec_copy(&h->headers, &t->headers);
    h->has_authorization = t->has_authorization;
    if (!reg_same_host(name_of(t, host), host))
        h->ns = cb_strdup(host);
}

static const struct reg_host *toml_host(struct cb_registry *r, const struct reg_hosts *all, size_t i,
                                        const char *host, struct cb_error *err)
{
    const struct reg_hosts_entry *t = &all->v[i];
    const char *name = name_of(t, host);
    pthread_mutex_lock(&r->known->mu);
    struct reg_host_how how = reg_host_how(r, name, false);
    cb_autofree char *key = cb_asprintf("%s %s %zu %d", all->file, host, i, how.named);
    struct reg_host *h = cb_hashmap_get(r->known->hosts, key);
    if (!h && (h = reg_host_make(r, name, how, err))) {
        add_toml(h, t, host);
        cb_hashmap_put(r->known->hosts, key, h);
    }
    pthread_mutex_unlock(&r->known->mu);
    return h;
}

static int add(struct cb_registry *r, const struct reg_hosts *all, size_t i, const struct reg_wanted *w,
               struct reg_endpoint *out, struct cb_error *err)
{
    const struct reg_host *h = toml_host(r, all, i, w->host, err);
    if (!h)
        return -CB_ECONF;
    *out = (struct reg_endpoint){ .host = cb_strdup(name_of(&all->v[i], w->host)), .repo = cb_strdup(w->repo), .h = h,
                                  .cancel = reg_until(r) };
    return 0;
}

/* What comes by digest is verified; who says what a tag is has to be trusted with that. */
static bool may_serve(const struct reg_hosts_entry *t, const struct reg_wanted *w)
{
    bool by_digest = w->blob || (w->digest && cb_digest_is_set(w->digest));
    unsigned need = REG_CAN_PULL | (by_digest ? 0u : (unsigned)REG_CAN_RESOLVE);
    return (t->can & need) == need;
}

int reg_hosts_pull(struct cb_registry *r, const struct reg_hosts *all, const struct reg_wanted *w,
                   struct reg_endpoints *out, struct cb_error *err)
{
    int s = 0;
    size_t before = out->n;
    for (size_t i = 0; s == 0 && i < all->n; i++) {
        struct reg_endpoint e;
        if (!may_serve(&all->v[i], w) || (s = add(r, all, i, w, &e, err)) < 0)
            continue;
        CB_GROW(out->v, out->n, out->cap);
        out->v[out->n++] = e;
    }
    if (s == 0 && out->n == before)
        s = cb_error_set(err, CB_ECONF, "%s: no host of it may serve %s/%s%s", all->file, w->host, w->repo,
                         w->tag ? " by tag (capability \"resolve\")" : "");
    return s;
}

/* A mirror is pushed to only where that is said: a push goes where its name says. */
int reg_hosts_push(struct cb_registry *r, const struct reg_hosts *all, const struct reg_wanted *w,
                   struct reg_endpoint *out, struct cb_error *err)
{
    for (size_t i = 0; i < all->n; i++) {
        const struct reg_hosts_entry *t = &all->v[i];
        bool server = i + 1 == all->n;
        if ((t->can & REG_CAN_PUSH) && (t->can_said || server))
            return add(r, all, i, w, out, err);
    }
    return cb_error_set(err, CB_ECONF, "%s: no host of it may be pushed to", all->file);
}
