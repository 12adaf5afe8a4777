/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>

#include "build/fetch.h"
#include "http/http.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/path.h"

#define ALNUM "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define MAX_URL 4096

void cb_git_ref_done(struct cb_git_ref *g)
{
    free(g->scheme);
    free(g->url);
    free(g->ref);
    free(g->checksum);
    free(g->subdir);
    *g = (struct cb_git_ref){ 0 };
}

/* ---- forms ---- */

char *cb_url_scheme(const char *text)
{
    size_t n = strspn(text, ALNUM "+.-");
    if (n == 0 || strncmp(text + n, "://", 3) != 0)
        return NULL;
    char *scheme = cb_strndup(text, n);
    for (char *p = scheme; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    return scheme;
}

bool cb_url_is_http(const char *text)
{
    cb_autofree char *scheme = cb_url_scheme(text);
    return cb_streq(scheme, "http") || cb_streq(scheme, "https");
}

/* user@host:path; the length of what stands before the path, or 0. */
static size_t scp_prefix(const char *text)
{
    size_t user = strspn(text, ALNUM "-_");
    if (user == 0 || text[user] != '@')
        return 0;
    size_t host = strspn(text + user + 1, ALNUM "-.");
    const char *end = text + user + 1 + host;
    return host && *end == ':' ? (size_t)(end + 1 - text) : 0;
}

bool cb_git_is_ref(const char *text, bool context)
{
    cb_autofree char *scheme = cb_url_scheme(text);
    if (cb_streq(scheme, "ssh") || cb_streq(scheme, "git"))
        return true;
    if (cb_streq(scheme, "http") || cb_streq(scheme, "https")) {
        const char *authority = strstr(text, "://") + 3;
        const char *slash = authority + strcspn(authority, "/?#");
        size_t n = strcspn(slash, "?#");
        return n > 4 && !strncmp(slash + n - 4, ".git", 4);
    }
    if (scheme)
        return false;
    return (context && cb_starts_with(text, "github.com/")) || scp_prefix(text) > 0;
}

bool cb_git_is_checksum(const char *text)
{
    size_t n = strspn(text, "0123456789abcdef");
    return text[n] == '\0' && n >= 7 && n <= 64;
}

bool cb_git_is_commit(const char *text)
{
    size_t n = strlen(text);
    return cb_git_is_checksum(text) && (n == 40 || n == 64);
}

/* ---- what is in the words ---- */

static bool has_control(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f)
            return true;
    return false;
}

static char *decode(const char *s, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_percent_decode(&sb, s, strlen(s)) || has_control(sb.buf, sb.len)) {
        cb_error_set(err, CB_ECONF, "percent-encoding that is wrong or hides a control character");
        return NULL;
    }
    return cb_strbuf_detach(&sb, NULL);
}

/* What git check-ref-format allows, and nothing that an option or another revision syntax could be. */
static bool is_ref_name(const char *ref)
{
    size_t n = strlen(ref);
    if (n == 0 || n > 1024 || strchr("-/.#", ref[0]) || ref[n - 1] == '/' || ref[n - 1] == '.')
        return false;
    if (strpbrk(ref, " ~^:?*[\\\"'`$|;&<>()") || strstr(ref, "..") || strstr(ref, "@{") || strstr(ref, "//") ||
        strstr(ref, "/."))
        return false;
    return !cb_ends_with(ref, ".lock") && strcmp(ref, "@") != 0;
}

static int set_ref(struct cb_git_ref *g, const char *ref, struct cb_error *err)
{
    if (!is_ref_name(ref))
        return cb_error_set(err, CB_ECONF, "\"%s\" is no name of a branch, tag or commit", ref);
    if (g->ref && strcmp(g->ref, ref) != 0)
        return cb_error_set(err, CB_ECONF, "two references: %s and %s", g->ref, ref);
    free(g->ref);
    g->ref = cb_strdup(ref);
    return 0;
}

static int set_subdir(struct cb_git_ref *g, const char *dir, struct cb_error *err)
{
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_path_normalize(&normal, dir, strlen(dir)))
        return cb_error_set(err, CB_ECONF, "subdirectory \"%s\": it must stay inside the repository", dir);
    if (g->subdir && strcmp(g->subdir, normal.buf) != 0)
        return cb_error_set(err, CB_ECONF, "two subdirectories: %s and %s", g->subdir, normal.buf);
    free(g->subdir);
    g->subdir = normal.len ? cb_strdup(normal.buf) : NULL;
    return 0;
}

static int set_checksum(struct cb_git_ref *g, const char *text, struct cb_error *err)
{
    if (!cb_git_is_checksum(text))
        return cb_error_set(err, CB_ECONF, "\"%s\" is no commit: write 7 to 64 lower-case hexadecimal digits", text);
    free(g->checksum);
    g->checksum = cb_strdup(text);
    return 0;
}

static int take_fragment(struct cb_git_ref *g, char *fragment, struct cb_error *err)
{
    char *colon = strchr(fragment, ':');
    if (colon)
        *colon = '\0';
    int r = *fragment ? set_ref(g, fragment, err) : 0;
    return r == 0 && colon ? set_subdir(g, colon + 1, err) : r;
}

/* ---- the query ---- */

struct query {
    struct cb_git_ref *g;
    char *full; /* refs/heads/… or refs/tags/… of branch= or tag= */
};

static int take_bool(const char *key, const char *value, bool *out, struct cb_error *err)
{
    static const char *const yes[] = { "", "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "0", "f", "F", "false", "FALSE", "False" };
    for (size_t i = 0; i < CB_COUNTOF(yes); i++)
        if (!strcmp(value, yes[i])) {
            *out = true;
            return 0;
        }
    for (size_t i = 0; i < CB_COUNTOF(no); i++)
        if (!strcmp(value, no[i])) {
            *out = false;
            return 0;
        }
    return cb_error_set(err, CB_ECONF, "%s=%s: true or false", key, value);
}

static int take_full(struct query *q, const char *prefix, const char *value, struct cb_error *err)
{
    if (q->full)
        return cb_error_set(err, CB_ECONF, "branch and tag exclude each other");
    q->full = cb_starts_with(value, prefix) ? cb_strdup(value) : cb_asprintf("%s%s", prefix, value);
    return 0;
}

static int take_mtime(struct cb_git_ref *g, const char *value, struct cb_error *err)
{
    g->mtime_checkout = !strcmp(value, "checkout");
    if (!g->mtime_checkout && strcmp(value, "commit") != 0)
        return cb_error_set(err, CB_ECONF, "mtime=%s: checkout or commit", value);
    return 0;
}

static int take_switch(struct query *q, const char *key, const char *value, struct cb_error *err)
{
    if (!strcmp(key, "keep-git-dir"))
        return take_bool(key, value, &q->g->keep_git_dir, err);
    if (!strcmp(key, "fetch-by-commit"))
        return take_bool(key, value, &q->g->fetch_by_commit, err);
    q->g->submodules_said = true;
    return take_bool(key, value, &q->g->submodules, err);
}

static bool is_switch(const char *key)
{
    return !strcmp(key, "keep-git-dir") || !strcmp(key, "submodules") || !strcmp(key, "fetch-by-commit");
}

static int take_pair(struct query *q, const char *key, const char *value, struct cb_error *err)
{
    if (is_switch(key))
        return take_switch(q, key, value, err);
    if (!*value)
        return cb_error_set(err, CB_ECONF, "%s has no value", key);
    if (!strcmp(key, "ref"))
        return set_ref(q->g, value, err);
    if (!strcmp(key, "tag"))
        return take_full(q, "refs/tags/", value, err);
    if (!strcmp(key, "branch"))
        return take_full(q, "refs/heads/", value, err);
    if (!strcmp(key, "subdir"))
        return set_subdir(q->g, value, err);
    if (!strcmp(key, "checksum") || !strcmp(key, "commit"))
        return set_checksum(q->g, value, err);
    if (!strcmp(key, "mtime"))
        return take_mtime(q->g, value, err);
    return cb_error_set(err, CB_ECONF, "\"%s\" is not known: ref, tag, branch, commit, checksum, subdir, keep-git-dir, "
                        "submodules, mtime or fetch-by-commit", key);
}

static int take_word(struct query *q, const char *word, struct cb_strvec *seen, struct cb_error *err)
{
    const char *eq = strchrnul(word, '=');
    cb_autofree char *raw = cb_strndup(word, (size_t)(eq - word));
    cb_autofree char *key = decode(raw, err), *value = key ? decode(*eq ? eq + 1 : "", err) : NULL;
    if (!value)
        return -CB_ECONF;
    if (cb_strvec_has(seen, key))
        return cb_error_set(err, CB_ECONF, "%s stands twice", key);
    cb_strvec_push(seen, key);
    return take_pair(q, key, value, err);
}

static int take_query(struct cb_git_ref *g, const char *text, struct cb_error *err)
{
    struct cb_strvec seen cb_cleanup_strvec = CB_STRVEC_INIT;
    struct query q = { .g = g };
    int r = 0;
    while (r == 0 && *text) {
        size_t n = strcspn(text, "&");
        cb_autofree char *word = cb_strndup(text, n);
        r = *word ? take_word(&q, word, &seen, err) : 0;
        text += n + (text[n] != '\0');
    }
    if (r == 0 && q.full)
        r = set_ref(g, q.full, err);
    free(q.full);
    return r;
}

/* ---- where it is ---- */

static int check_http(const char *url, struct cb_error *err)
{
    struct cb_url u cb_cleanup_url = { 0 };
    int r = cb_url_parse(&u, url, err);
    return r < 0 ? cb_error_set(err, CB_ECONF, "%s", cb_error_text(err)) : 0;
}

/* [user@]host[:port]/path behind ssh:// and git://. What begins with '-' would be an option of ssh. */
static int check_authority(const char *rest, bool user_ok, struct cb_error *err)
{
    size_t n = strcspn(rest, "/");
    const char *path = rest + n;
    cb_autofree char *authority = cb_strndup(rest, n);
    char *at = strrchr(authority, '@'), *host = at ? at + 1 : authority;
    if (at && (!user_ok || authority == at || authority[0] == '-' ||
               strspn(authority, ALNUM "-_.") != (size_t)(at - authority)))
        return cb_error_set(err, CB_ECONF, "the user name is not allowed here: passwords are never taken from a URL");
    size_t name = *host == '[' ? strspn(host + 1, "0123456789abcdefABCDEF:.") + 2 : strspn(host, ALNUM "-._");
    if (name == 0 || name > strlen(host) || *host == '-' || (*host == '[' && host[name - 1] != ']'))
        return cb_error_set(err, CB_ECONF, "there is no host in it");
    uint64_t port = 0;
    if (host[name] && (host[name] != ':' || !cb_parse_u64(host + name + 1, 65535, &port) || port == 0))
        return cb_error_set(err, CB_ECONF, "the port is wrong");
    if (strlen(path) < 2 || path[1] == '-')
        return cb_error_set(err, CB_ECONF, "there is no path in it");
    return 0;
}

static int check_scp(const char *base, size_t prefix, struct cb_error *err)
{
    const char *host = strchr(base, '@') + 1;
    if (*base == '-' || *host == '-' || *host == '.')
        return cb_error_set(err, CB_ECONF, "there is no host in it");
    if (!base[prefix] || base[prefix] == '-')
        return cb_error_set(err, CB_ECONF, "there is no path in it");
    return 0;
}

static int take_base(struct cb_git_ref *g, const char *base, struct cb_error *err)
{
    cb_autofree char *scheme = cb_url_scheme(base);
    if (!scheme && cb_starts_with(base, "github.com/")) {
        g->scheme = cb_strdup("https");
        g->url = cb_asprintf("https://%s", base);
        return check_http(g->url, err);
    }
    g->scheme = cb_strdup(scheme ? scheme : "ssh");
    if (!scheme) {
        g->url = cb_strdup(base);
        return check_scp(base, scp_prefix(base), err);
    }
    const char *rest = strstr(base, "://") + 3;
    g->url = cb_asprintf("%s://%s", scheme, rest);
    if (cb_url_is_http(g->url))
        return check_http(g->url, err);
    return check_authority(rest, !strcmp(scheme, "ssh"), err);
}

static int parse(struct cb_git_ref *g, const char *text, struct cb_error *err)
{
    size_t n = strcspn(text, "#"), b = strcspn(text, "?#");
    cb_autofree char *base = cb_strndup(text, b);
    cb_autofree char *query = text[b] == '?' ? cb_strndup(text + b + 1, n - b - 1) : cb_strdup("");
    bool url = strstr(base, "://") || cb_starts_with(base, "github.com/");
    const char *raw = text[n] ? text + n + 1 : "";
    cb_autofree char *fragment = url ? decode(raw, err) : cb_strdup(raw);
    if (!fragment)
        return -CB_ECONF;
    int r = take_base(g, base, err);
    if (r == 0)
        r = take_fragment(g, fragment, err);
    if (r == 0)
        r = take_query(g, query, err);
    if (r == 0 && g->checksum && !g->ref)
        g->ref = cb_strdup(g->checksum);
    if (r == 0 && g->fetch_by_commit && (!g->checksum || !cb_git_is_commit(g->checksum)))
        r = cb_error_set(err, CB_ECONF, "fetch-by-commit needs a whole commit: add commit=…");
    return r;
}

int cb_git_ref_parse(struct cb_git_ref *out, const char *text, struct cb_error *err)
{
    struct cb_strbuf shown cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    *out = (struct cb_git_ref){ 0 };
    int r = 0;
    if (strlen(text) > MAX_URL || has_control(text, strlen(text)) || strchr(text, ' '))
        r = cb_error_set(&e, CB_ECONF, "too long, or with blanks or control characters in it");
    if (r == 0)
        r = parse(out, text, &e);
    if (r == 0)
        return 0;
    cb_git_ref_done(out);
    cb_strbuf_add_url_redacted(&shown, text);
    return cb_error_set(err, CB_ECONF, "git repository %s: %s", shown.buf, cb_error_text(&e));
}

/* ---- names of files ---- */

char *cb_url_file_name(const char *url)
{
    struct cb_strbuf name cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *authority = strstr(url, "://");
    if (!authority)
        return NULL;
    const char *path = authority + 3 + strcspn(authority + 3, "/?#");
    size_t n = strcspn(path, "?#");
    if (!cb_percent_decode(&name, path, n) || strlen(name.buf) != name.len)
        return NULL;
    const char *base = cb_path_base(name.buf);
    bool bad = !*base || !strcmp(base, ".") || !strcmp(base, "..") || strlen(base) > CB_MAX_NAME ||
               has_control(base, strlen(base));
    return bad ? NULL : cb_strdup(base);
}
