/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#include "registry/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"
#include "util/toml.h"

static void rule_done(struct reg_rule *r)
{
    for (size_t i = 0; i < r->n_mirrors; i++)
        free(r->mirrors[i].location);
    free(r->mirrors);
    free(r->prefix);
    free(r->location);
}

void reg_conf_done(struct reg_conf *c)
{
    for (size_t i = 0; i < c->n; i++)
        rule_done(&c->rules[i]);
    free(c->rules);
    cb_strvec_done(&c->credential_helpers);
    cb_strvec_done(&c->files);
    *c = (struct reg_conf){ 0 };
}

/* ---- one table ---- */

static char *trimmed(const char *s)
{
    size_t n = strlen(s);
    while (n && s[n - 1] == '/')
        n--;
    return cb_strndup(s, n);
}

static int check_name(const char *key, const char *value, unsigned line, struct cb_error *err)
{
    if (value && strstr(value, "://"))
        return cb_error_set(err, CB_ECONF, "line %u: %s = \"%s\": write it without a scheme", line, key, value);
    return 0;
}

static int parse_pull_from(const char *text, struct reg_mirror *m, struct cb_error *err)
{
    m->digest_only = !strcmp(text, "digest-only");
    m->tag_only = !strcmp(text, "tag-only");
    if (m->digest_only || m->tag_only || !strcmp(text, "all"))
        return 0;
    return cb_error_set(err, CB_ECONF, "pull-from-mirror = \"%s\": all, digest-only or tag-only", text);
}

static int parse_mirror(const struct cb_toml *t, bool digest_only, struct reg_mirror *m, struct cb_error *err)
{
    const char *location = NULL, *from = NULL;
    int r = cb_toml_get_string(t, "location", &location, err);
    if (r == 0)
        r = cb_toml_get_bool(t, "insecure", &m->insecure, err);
    if (r == 0)
        r = cb_toml_get_string(t, "pull-from-mirror", &from, err);
    if (r == 0 && (!location || !*location))
        r = cb_error_set(err, CB_ECONF, "line %u: a mirror without location", t->line);
    if (r == 0)
        r = check_name("location", location, t->line, err);
    if (r == 0 && from && digest_only)
        r = cb_error_set(err, CB_ECONF, "line %u: pull-from-mirror and mirror-by-digest-only contradict each other",
                         t->line);
    m->digest_only = digest_only;
    if (r == 0 && from && (r = parse_pull_from(from, m, err)) < 0)
        cb_error_wrap(err, "line %u", t->line);
    if (r == 0)
        m->location = trimmed(location);
    return r;
}

static int parse_mirrors(const struct cb_toml *t, struct reg_rule *rule, struct cb_error *err)
{
    const struct cb_toml *list = cb_toml_get(t, "mirror");
    bool digest_only = false;
    int r = cb_toml_get_bool(t, "mirror-by-digest-only", &digest_only, err);
    if (r < 0 || !list)
        return r;
    if (list->type != CB_TOML_ARRAY)
        return cb_error_set(err, CB_ECONF, "line %u: mirror is no array of tables", list->line);
    rule->mirrors = cb_calloc(list->n + 1, sizeof *rule->mirrors);
    for (size_t i = 0; r == 0 && i < list->n; i++) {
        if (list->item[i]->type != CB_TOML_TABLE)
            return cb_error_set(err, CB_ECONF, "line %u: a mirror that is no table", list->item[i]->line);
        r = parse_mirror(list->item[i], digest_only, &rule->mirrors[rule->n_mirrors++], err);
    }
    return r;
}

static int parse_names(const struct cb_toml *t, struct reg_rule *rule, struct cb_error *err)
{
    const char *prefix = NULL, *location = NULL;
    int r = cb_toml_get_string(t, "prefix", &prefix, err);
    if (r == 0)
        r = cb_toml_get_string(t, "location", &location, err);
    if (r == 0)
        r = check_name("prefix", prefix, t->line, err);
    if (r == 0)
        r = check_name("location", location, t->line, err);
    if (r < 0)
        return r;
    rule->prefix = trimmed(prefix && *prefix ? prefix : location ? location : "");
    rule->location = trimmed(location ? location : "");
    if (!*rule->prefix)
        return cb_error_set(err, CB_ECONF, "line %u: a registry with neither prefix nor location", t->line);
    if (cb_starts_with(rule->prefix, "*.") && *rule->location)
        return cb_error_set(err, CB_ECONF, "line %u: a prefix with * cannot have a location", t->line);
    if (strchr(rule->prefix + (cb_starts_with(rule->prefix, "*.") ? 1 : 0), '*'))
        return cb_error_set(err, CB_ECONF, "line %u: prefix = \"%s\": * stands only for the first part of a host",
                            t->line, rule->prefix);
    return 0;
}

static int parse_rule(const struct cb_toml *t, struct reg_rule *rule, struct cb_error *err)
{
    if (t->type != CB_TOML_TABLE)
        return cb_error_set(err, CB_ECONF, "line %u: a registry that is no table", t->line);
    int r = parse_names(t, rule, err);
    if (r == 0)
        r = cb_toml_get_bool(t, "insecure", &rule->insecure, err);
    if (r == 0)
        r = cb_toml_get_bool(t, "blocked", &rule->blocked, err);
    return r < 0 ? r : parse_mirrors(t, rule, err);
}

/* A later file's rule replaces an earlier one of the same prefix. */
static struct reg_rule *slot_for(struct reg_conf *c, struct reg_rule *rule)
{
    for (size_t i = 0; i < c->n; i++)
        if (!strcasecmp(c->rules[i].prefix, rule->prefix)) {
            rule_done(&c->rules[i]);
            return &c->rules[i];
        }
    CB_GROW(c->rules, c->n, c->cap);
    return &c->rules[c->n++];
}

/* A later file's list replaces an earlier one; an empty one does not. */
static int parse_helpers(struct reg_conf *c, const struct cb_toml *root, struct cb_error *err)
{
    struct cb_strvec list cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = cb_toml_get_strings(root, "credential-helpers", false, &list, err);
    if (r == 0 && list.n)
        cb_strvec_copy(&c->credential_helpers, &list);
    return r;
}

int reg_conf_parse(struct reg_conf *c, const char *name, const char *text, size_t len, struct cb_error *err)
{
    CB_AUTO(cb_toml_free) struct cb_toml *root = cb_toml_parse(text, len, err);
    if (!root)
        return cb_error_wrap(err, "%s", name);
    const struct cb_toml *list = cb_toml_get(root, "registry"), *old = cb_toml_get(root, "registries");
    if (old) /* its [registries.block] must not go unnoticed */
        return cb_error_set(err, CB_ECONF, "%s: line %u: [registries.…] is the old form: write [[registry]]", name,
                            old->line);
    if (list && list->type != CB_TOML_ARRAY)
        return cb_error_set(err, CB_ECONF, "%s: line %u: write [[registry]]", name, list->line);
    if (parse_helpers(c, root, err) < 0)
        return cb_error_wrap(err, "%s", name);
    for (size_t i = 0; list && i < list->n; i++) {
        struct reg_rule rule = { 0 };
        int r = parse_rule(list->item[i], &rule, err);
        if (r < 0) {
            rule_done(&rule);
            return cb_error_wrap(err, "%s", name);
        }
        *slot_for(c, &rule) = rule;
    }
    return 0;
}

/* ---- files ---- */

static int load_file(struct reg_conf *c, const char *path, bool must, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (cb_file_slurp(path, CB_MAX_CONFIG_FILE, &text, &e) < 0) {
        if (!must && (e.sys_errno == ENOENT || e.sys_errno == ENOTDIR))
            return -CB_ENOTFOUND;
        cb_error_move(err, &e);
        if (err)
            err->code = CB_ECONF;
        return -CB_ECONF;
    }
    cb_strvec_push(&c->files, path);
    return reg_conf_parse(c, path, text.buf, text.len, err);
}

static int is_conf(const struct dirent *d)
{
    return cb_ends_with(d->d_name, ".conf") && d->d_name[0] != '.';
}

static int load_dir(struct reg_conf *c, const char *path, struct cb_error *err)
{
    struct dirent **names = NULL;
    int n = scandir(path, &names, is_conf, alphasort), r = 0;
    if (n < 0 && errno != ENOENT && errno != ENOTDIR)
        return cb_error_sys(err, CB_ECONF, errno, "%s", path);
    for (int i = 0; i < n; i++) {
        cb_autofree char *file = cb_asprintf("%s/%s", path, names[i]->d_name);
        if (r == 0)
            r = load_file(c, file, true, err);
        free(names[i]);
    }
    free(names);
    return r;
}

int reg_conf_load(struct reg_conf *c, const char *path, struct cb_error *err)
{
    const char *env = getenv("CONTAINERS_REGISTRIES_CONF"), *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
    cb_autofree char *dir =
        xdg && *xdg ? cb_asprintf("%s/containers", xdg) : cb_asprintf("%s/.config/containers", home ? home : "/root");
    cb_autofree char *user = cb_asprintf("%s/registries.conf", dir);
    cb_autofree char *user_d = cb_asprintf("%s/registries.conf.d", dir);
    if (path || (env && *env))
        return load_file(c, path ? path : env, true, err);
    int r = load_file(c, user, false, err);
    if (r == -CB_ENOTFOUND)
        r = load_file(c, "/etc/containers/registries.conf", false, err);
    if (r == 0 || r == -CB_ENOTFOUND)
        r = load_dir(c, "/etc/containers/registries.conf.d", err);
    return r < 0 ? r : load_dir(c, user_d, err);
}

/* ---- matching ---- */

/* Host names without regard to case, paths with. */
static bool same_start(const char *name, const char *prefix)
{
    size_t host = strcspn(prefix, "/"), n = strlen(prefix);
    return !strncasecmp(name, prefix, host) && !strncmp(name + host, prefix + host, n - host);
}

/* ':' behind a host is not the end of its name: another port is another registry. */
static bool is_boundary(const char *prefix, char next)
{
    return !next || next == '/' || (strchr(prefix, '/') && (next == ':' || next == '@'));
}

/* "*.example.com[:port][/path]": any depth below; without a port in it, any port. */
static size_t match_wildcard(const char *suffix, const char *name)
{
    size_t want = strcspn(suffix, "/"), host = strcspn(name, "/");
    size_t have = memchr(suffix, ':', want) ? host : strcspn(name, ":/");
    const char *path = suffix + want;
    if (have <= want || strncasecmp(name + have - want, suffix, want) != 0)
        return 0;
    size_t n = strlen(path);
    if (n && (strncmp(name + host, path, n) != 0 || !is_boundary("/", name[host + n])))
        return 0;
    return host + n;
}

static size_t match_length(const char *prefix, const char *name)
{
    if (cb_starts_with(prefix, "*."))
        return match_wildcard(prefix + 1, name);
    size_t n = strlen(prefix);
    return strlen(name) >= n && same_start(name, prefix) && is_boundary(prefix, name[n]) ? n : 0;
}

/* Of two that match as much, the one that says more exactly what. */
static bool is_closer(const struct reg_rule *a, const struct reg_rule *b)
{
    bool wild_a = *a->prefix == '*', wild_b = *b->prefix == '*';
    return wild_a != wild_b ? !wild_a : strlen(a->prefix) > strlen(b->prefix);
}

const struct reg_rule *reg_conf_match(const struct reg_conf *c, const char *name, size_t *matched)
{
    const struct reg_rule *best = NULL;
    *matched = 0;
    for (size_t i = 0; i < c->n; i++) {
        size_t n = match_length(c->rules[i].prefix, name);
        if (n && (n > *matched || (n == *matched && is_closer(&c->rules[i], best)))) {
            best = &c->rules[i];
            *matched = n;
        }
    }
    return best;
}
