/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/hosts.h"

#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "registry/private.h"
#include "util/alloc.h"
#include "util/limits.h"
#include "util/path.h"
#include "util/timeutil.h"
#include "util/toml.h"

#define MAX_HOSTS 64
#define MAX_HEADERS 32
#define MAX_DIAL_NS (INT64_C(3600) * 1000000000)

static void entry_done(struct reg_hosts_entry *e)
{
    free(e->url);
    free(e->authority);
    free(e->api);
    cb_http_tls_done(&e->tls);
    cb_strvec_wipe(&e->headers);
}

void reg_hosts_done(struct reg_hosts *h)
{
    for (size_t i = 0; i < h->n; i++)
        entry_done(&h->v[i]);
    free(h->v);
    free(h->file);
    *h = (struct reg_hosts){ 0 };
}

/* ---- the URL ---- */

static int wrong_url(const char *url, const char *why, struct cb_error *err)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_url_redacted(&shown, url);
    return cb_error_set(err, CB_ECONF, "\"%.500s\": %s", shown.buf, why);
}

static int take_socket(struct reg_hosts_entry *e, bool override, struct cb_error *err)
{
    const char *path = cb_starts_with(e->url, "unix://") ? e->url + strlen("unix://") : "";
    if (*path != '/' || strlen(path) > 107)
        return wrong_url(e->url, "write unix:///PATH, of at most 107 bytes", err);
    if (override)
        return wrong_url(e->url, "override_path means nothing for a socket", err);
    e->tls.unix_socket = cb_strdup(path);
    e->authority = cb_strdup("");
    e->api = cb_strdup("/v2");
    e->plain = true;
    return 0;
}

static char *api_path(const char *path, bool override)
{
    size_t n = strlen(path);
    while (n && path[n - 1] == '/')
        n--;
    bool whole = override || (n >= 3 && !strncmp(path + n - 3, "/v2", 3));
    return cb_asprintf("%.*s%s", (int)n, path, whole ? "" : "/v2");
}

static int take_url(struct reg_hosts_entry *e, bool override, struct cb_error *err)
{
    struct cb_url u cb_cleanup_url = { 0 };
    struct cb_error why cb_cleanup_error = CB_ERROR_INIT;
    if (cb_starts_with(e->url, "unix:"))
        return take_socket(e, override, err);
    cb_autofree char *full = strstr(e->url, "://") ? cb_strdup(e->url) : cb_asprintf("https://%s", e->url);
    if (strpbrk(full, "?#"))
        return wrong_url(e->url, "a query has no place here", err);
    if (cb_url_parse(&u, full, &why) < 0)
        return wrong_url(e->url, cb_error_text(&why), err);
    e->plain = !strcmp(u.scheme, "http");
    e->authority = u.port == (e->plain ? 80u : 443u) ? cb_strdup(u.host) : cb_asprintf("%s:%u", u.host, u.port);
    e->api = api_path(u.path_query, override);
    return 0;
}

/* ---- its table ---- */

static int check_keys(const struct cb_toml *t, bool root, struct cb_error *err)
{
    static const char *const known[] = { "capabilities", "ca",           "client", "skip_verify", "override_path",
                                         "header",       "dial_timeout", "server", "host" };
    for (size_t i = 0; i < t->n; i++) {
        bool found = false;
        for (size_t k = 0; k < CB_COUNTOF(known) - (root ? 0 : 2); k++)
            found = found || !strcmp(t->item[i]->key, known[k]);
        if (!found)
            return cb_error_set(err, CB_ECONF, "line %u: \"%.200s\" is not known", t->item[i]->line, t->item[i]->key);
    }
    return 0;
}

static int take_capabilities(const struct cb_toml *t, struct reg_hosts_entry *e, struct cb_error *err)
{
    struct cb_strvec words cb_cleanup_strvec = CB_STRVEC_INIT;
    const struct cb_toml *said = cb_toml_get(t, "capabilities");
    int r = cb_toml_get_strings(t, "capabilities", false, &words, err);
    e->can_said = words.n > 0; /* an empty list is none, as in containerd */
    for (size_t i = 0; r == 0 && i < words.n; i++) {
        if (!strcmp(words.v[i], "pull"))
            e->can |= REG_CAN_PULL;
        else if (!strcmp(words.v[i], "resolve"))
            e->can |= REG_CAN_RESOLVE;
        else if (!strcmp(words.v[i], "push"))
            e->can |= REG_CAN_PUSH;
        else if (strcmp(words.v[i], "referrers") != 0)
            r = cb_error_set(err, CB_ECONF, "line %u: capability \"%.100s\": pull, resolve or push", said->line,
                             words.v[i]);
    }
    if (!e->can_said)
        e->can = REG_CAN_PULL | REG_CAN_RESOLVE | REG_CAN_PUSH;
    return r;
}

static char *beside(const char *file, const char *name)
{
    return *name == '/' ? cb_strdup(name) : cb_asprintf("%.*s%s", (int)(cb_path_base(file) - file), file, name);
}

/* "both.pem", ["both.pem"] or [["cert", "key"]]. */
static int take_client(const struct cb_toml *t, const char *file, struct reg_hosts_entry *e, struct cb_error *err)
{
    const struct cb_toml *c = cb_toml_get(t, "client");
    if (!c)
        return 0;
    unsigned line = c->line;
    if (c->type == CB_TOML_ARRAY && c->n > 1)
        return cb_error_set(err, CB_ECONF, "line %u: more than one client certificate; a pair is [[CERT, KEY]]",
                            line);
    if (c->type == CB_TOML_ARRAY && c->n == 1)
        c = c->item[0];
    if (c->type == CB_TOML_STRING) {
        e->tls.client_cert = beside(file, c->string);
        return 0;
    }
    if (c->type != CB_TOML_ARRAY || c->n != 2 || c->item[0]->type != CB_TOML_STRING ||
        c->item[1]->type != CB_TOML_STRING)
        return cb_error_set(err, CB_ECONF, "line %u: client is a file, or [[CERT, KEY]]", line);
    e->tls.client_cert = beside(file, c->item[0]->string);
    e->tls.client_key = beside(file, c->item[1]->string);
    return 0;
}

/* What it holds may be a secret: no message shows a value. */
static int take_headers(const struct cb_toml *t, struct reg_hosts_entry *e, struct cb_error *err)
{
    const struct cb_toml *table = cb_toml_get(t, "header");
    if (!table)
        return 0;
    if (table->type != CB_TOML_TABLE || table->n > MAX_HEADERS)
        return cb_error_set(err, CB_ECONF, "line %u: header is a table of at most %d", table->line, MAX_HEADERS);
    for (size_t i = 0; i < table->n; i++) {
        struct cb_strvec values cb_cleanup_strvec = CB_STRVEC_INIT;
        const char *name = table->item[i]->key;
        int r = cb_toml_get_strings(table, name, true, &values, err);
        if (r < 0)
            return r;
        for (size_t k = 0; k < values.n && k < MAX_HEADERS; k++)
            cb_strvec_pushf(&e->headers, "%s: %s", name, values.v[k]);
        if (!strcasecmp(name, "Authorization"))
            e->has_authorization = true;
        cb_strvec_wipe(&values);
    }
    return 0;
}

static int take_timeout(const struct cb_toml *t, struct reg_hosts_entry *e, struct cb_error *err)
{
    const char *text = NULL;
    int r = cb_toml_get_string(t, "dial_timeout", &text, err);
    if (r < 0 || !text)
        return r;
    if (!cb_duration_parse(text, &e->tls.connect_ns) || e->tls.connect_ns <= 0 || e->tls.connect_ns > MAX_DIAL_NS)
        return cb_error_set(err, CB_ECONF, "line %u: dial_timeout = \"%.100s\": write a duration such as \"5s\"",
                            cb_toml_get(t, "dial_timeout")->line, text);
    return 0;
}

static int take_table(const struct cb_toml *t, const char *file, struct reg_hosts_entry *e, struct cb_error *err)
{
    struct cb_strvec ca cb_cleanup_strvec = CB_STRVEC_INIT;
    bool override = false;
    int r = take_capabilities(t, e, err);
    if (r == 0)
        r = cb_toml_get_strings(t, "ca", true, &ca, err);
    if (r == 0)
        r = take_client(t, file, e, err);
    if (r == 0)
        r = cb_toml_get_bool(t, "skip_verify", &e->tls.insecure, err);
    if (r == 0)
        r = cb_toml_get_bool(t, "override_path", &override, err);
    if (r == 0)
        r = take_headers(t, e, err);
    if (r == 0)
        r = take_timeout(t, e, err);
    for (size_t i = 0; i < ca.n; i++)
        cb_strvec_take(&e->tls.ca_files, beside(file, ca.v[i]));
    if (r == 0 && take_url(e, override, err) < 0)
        r = cb_error_wrap(err, "line %u", t->line);
    return r;
}

/* ---- the file ---- */

static struct reg_hosts_entry *new_entry(struct reg_hosts *h, const char *url)
{
    CB_GROW(h->v, h->n, h->cap);
    h->v[h->n] = (struct reg_hosts_entry){ .url = cb_strdup(url) };
    return &h->v[h->n++];
}

static int take_mirrors(struct reg_hosts *h, const struct cb_toml *list, struct cb_error *err)
{
    int r = 0;
    if (list->type != CB_TOML_TABLE || list->n > MAX_HOSTS)
        return cb_error_set(err, CB_ECONF, "line %u: write [host.\"URL\"], at most %d", list->line, MAX_HOSTS);
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        const struct cb_toml *t = list->item[i];
        if (t->type != CB_TOML_TABLE)
            return cb_error_set(err, CB_ECONF, "line %u: write [host.\"URL\"]", t->line);
        r = check_keys(t, false, err);
        if (r == 0)
            r = take_table(t, h->file, new_entry(h, t->key), err);
    }
    return r;
}

static int take_root(struct reg_hosts *h, const struct cb_toml *root, const char *host, struct cb_error *err)
{
    const struct cb_toml *mirrors = cb_toml_get(root, "host");
    const char *server = NULL;
    cb_autofree char *own = cb_asprintf("%s://%s", reg_is_loopback(host) ? "http" : "https",
                                        reg_same_host(host, "docker.io") ? "registry-1.docker.io" : host);
    int r = check_keys(root, true, err);
    if (r == 0)
        r = cb_toml_get_string(root, "server", &server, err);
    if (r == 0 && mirrors)
        r = take_mirrors(h, mirrors, err);
    if (r < 0)
        return r;
    struct reg_hosts_entry *e = new_entry(h, server && *server ? server : own);
    e->implied = !server || !*server;
    return take_table(root, h->file, e, err);
}

int reg_hosts_parse(struct reg_hosts *h, const char *file, const char *host, struct cb_slice text,
                    struct cb_error *err)
{
    h->file = cb_strdup(file);
    CB_AUTO(cb_toml_free) struct cb_toml *root = cb_toml_parse(text.ptr, text.len, err);
    int r = root ? take_root(h, root, host, err) : -CB_ECONF;
    return r < 0 ? cb_error_wrap(err, "%s", file) : 0;
}

/* ---- where it is ---- */

/* "host_5000_" of "host:5000", as containerd names directories where ':' cannot be. */
static char *with_underscores(const char *host)
{
    const char *colon = strrchr(host, ':');
    bool port = colon && colon > host && !strchr(colon, ']');
    return port ? cb_asprintf("%.*s_%s_", (int)(colon - host), host, colon + 1) : cb_strdup(host);
}

char *reg_hosts_file(const char *host)
{
    struct cb_strvec dirs cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *alias = with_underscores(host);
    const char *names[] = { alias, host, "_default" };
    reg_certs_dirs(&dirs);
    cb_strvec_push(&dirs, "/etc/containerd/certs.d");
    for (size_t n = 0; n < CB_COUNTOF(names); n++)
        for (size_t i = 0; i < dirs.n; i++) {
            cb_autofree char *path = cb_asprintf("%s/%s/hosts.toml", dirs.v[i], names[n]);
            if (access(path, F_OK) == 0)
                return CB_TAKE(path);
        }
    return NULL;
}
