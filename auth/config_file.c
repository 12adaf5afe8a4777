/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <strings.h>

#include "auth/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/limits.h"

#define DOCKER_SERVER "https://index.docker.io/v1/"
#define PATH_RANK 32 /* and more: a key with a path */

/* ---- keys ---- */

static bool is_docker(const char *host)
{
    return !strcasecmp(host, "docker.io");
}

const char *auth_server_name(const char *host)
{
    return is_docker(host) ? DOCKER_SERVER : host;
}

/* How well a name is the host's: Docker Hub goes by several. */
static unsigned name_rank(const char *name, size_t n, const char *host)
{
    static const char *const hub[] = { "registry-1.docker.io", "index.docker.io", "docker.io" };
    for (unsigned i = 0; is_docker(host) && i < CB_COUNTOF(hub); i++)
        if (strlen(hub[i]) == n && !strncasecmp(hub[i], name, n))
            return 8 + i;
    return strlen(host) == n && !strncasecmp(host, name, n) ? 15 : 0;
}

/* "ns/x" of "ns/x/y", on a path boundary. */
static bool path_leads(const char *path, size_t n, const char *repo)
{
    return !strncmp(path, repo, n) && (!repo[n] || repo[n] == '/');
}

unsigned auth_key_rank(const char *key, const char *host, const char *repo)
{
    const char *name = cb_starts_with(key, "https://") ? key + 8 : cb_starts_with(key, "http://") ? key + 7 : key;
    size_t n = strcspn(name, "/");
    unsigned rank = name_rank(name, n, host);
    if (rank && is_docker(host) && !strcmp(key, DOCKER_SERVER))
        return 31;
    if (!rank || name != key)
        return rank ? rank / 2 : 0; /* Docker's older keys are URLs; only their host counts */
    const char *path = name[n] ? name + n + 1 : "";
    size_t len = strlen(path);
    while (len && path[len - 1] == '/')
        len--;
    if (!len)
        return rank + 1;
    return repo && path_leads(path, len, repo) ? PATH_RANK * (unsigned)CB_MIN(len, (size_t)CB_MAX_REFERENCE) + rank
                                               : 0;
}

static const json_t *find_entry(const json_t *auths, const struct auth_query *q, enum auth_reach reach,
                                const char **at)
{
    const json_t *best = NULL;
    const char *key;
    json_t *value;
    unsigned most = reach == AUTH_OF_PATH ? PATH_RANK - 1 : 0;
    json_object_foreach ((json_t *)(uintptr_t)auths, key, value) {
        unsigned rank = auth_key_rank(key, q->host, reach == AUTH_OF_PATH ? q->repo : NULL);
        if (rank > most) {
            best = value;
            most = rank;
            *at = key;
        }
    }
    return best;
}

/* ---- entries ---- */

static int decode_auth(const char *text, struct cb_credential *out, const char *where, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_base64_decode(&sb, text, strlen(text)))
        return cb_error_set(err, CB_ECONF, "%s: \"auth\" is not base64", where);
    char *colon = memchr(sb.buf, ':', sb.len);
    if (colon) {
        *colon = '\0';
        out->username = cb_strdup(sb.buf);
        out->password = cb_strdup(colon + 1); /* ends at a NUL: some writers pad with them */
    }
    explicit_bzero(sb.buf, sb.len);
    return colon ? 0 : cb_error_set(err, CB_ECONF, "%s: \"auth\" is not USER:PASSWORD", where);
}

static void take(char **to, const char *value)
{
    if (!*to && value && *value)
        *to = cb_strdup(value);
}

static int read_entry(const json_t *o, const char *where, struct cb_credential *out, struct cb_error *err)
{
    const char *auth = NULL, *user = NULL, *pass = NULL, *identity = NULL, *registry = NULL;
    if (!json_is_object(o))
        return cb_error_set(err, CB_ECONF, "%s: not an object", where);
    if (cb_json_get_string(o, "auth", &auth, err) < 0 || cb_json_get_string(o, "username", &user, err) < 0 ||
        cb_json_get_string(o, "password", &pass, err) < 0 ||
        cb_json_get_string(o, "identitytoken", &identity, err) < 0 ||
        cb_json_get_string(o, "registrytoken", &registry, err) < 0) {
        cb_error_wrap(err, "%s", where);
        if (err)
            err->code = CB_ECONF;
        return -CB_ECONF;
    }
    int r = auth && *auth ? decode_auth(auth, out, where, err) : 0;
    if (r < 0)
        return r;
    take(&out->username, user);
    take(&out->password, pass);
    take(&out->identity_token, identity);
    take(&out->registry_token, registry);
    return cb_credential_is_set(out);
}

/* ---- helpers ---- */

const char *auth_file_helper(const json_t *root, const char *host)
{
    const char *key, *helper = NULL;
    json_t *value;
    unsigned most = 0;
    json_object_foreach (json_object_get(root, "credHelpers"), key, value) {
        unsigned rank = auth_key_rank(key, host, NULL);
        if (rank > most) {
            helper = json_string_value(value);
            most = rank;
        }
    }
    if (!most)
        helper = json_string_value(json_object_get(root, "credsStore"));
    return helper && *helper ? helper : NULL; /* "" for a host: no helper there, whatever the store */
}

int auth_source_ask_helper(const struct auth_source *src, const char *helper, const struct auth_query *q,
                           struct cb_credential *out, struct cb_error *err)
{
    const char *server = auth_server_name(q->host);
    cb_autofree char *key = cb_asprintf("%s|%s", helper, server);
    struct auth_found *f = auth_found_of(src->helped, key);
    int r = cb_turn_take(&f->turn, q->cancel, err);
    if (r < 0)
        return r;
    if (!f->done) {
        cb_credential_done(&f->cred);
        cb_error_done(&f->failure);
        r = auth_helper_get(helper, server, q->cancel, &f->cred, &f->failure);
        f->done = r != -CB_ECANCELED;
    }
    if (f->failure.code != CB_OK) {
        r = cb_error_copy(err, &f->failure);
    } else if (cb_credential_is_set(&f->cred)) {
        auth_credential_copy(out, &f->cred);
        out->key = cb_strdup(server);
        r = 1;
    }
    cb_turn_give(&f->turn);
    if (r < 0)
        cb_error_wrap(err, "%s", src->name);
    return r;
}

/* ---- the whole ---- */

static int check_strings(const json_t *o, const char *what, struct cb_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)o, key, value)
        if (!json_is_string(value))
            return cb_error_set(err, CB_ECONF, "\"%s\": \"%.200s\" is not a string", what, key);
    return 0;
}

static int check_root(const json_t *root, struct cb_error *err)
{
    static const char *const known[] = { "auths", "credHelpers", "credsStore", NULL };
    const json_t *auths = NULL, *helpers = NULL;
    const char *store = NULL;
    if (!json_is_object(root))
        return cb_error_set(err, CB_ECONF, "not a JSON object");
    int r = cb_json_check_keys(root, known, err);
    if (r == 0)
        r = cb_json_get_object(root, "auths", &auths, err);
    if (r == 0)
        r = cb_json_get_object(root, "credHelpers", &helpers, err);
    if (r == 0)
        r = cb_json_get_string(root, "credsStore", &store, err);
    return r < 0 ? r : check_strings(helpers, "credHelpers", err);
}

/* What the parser quotes where it stopped may be a password. */
static void forget_quoted(struct cb_error *e)
{
    char *near = e->msg ? strstr(e->msg, " near ") : NULL;
    if (near)
        *near = '\0';
}

/* A variable that GitLab calls one of type file holds a path. */
static const char *no_json_remedy(const char *name, const struct cb_strbuf *text)
{
    char first = text->buf[strspn(text->buf, " \t\r\n")];
    return strcmp(name, AUTH_IN_PLACE) != 0 || first == '{' || first == '['
               ? ""
               : " (it is the JSON text itself; a file is named by REGISTRY_AUTH_FILE)";
}

json_t *auth_file_parse(const char *name, const struct cb_strbuf *text, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    /* A file that a variable of the CI was written to, and it was not set: Docker takes it for an empty one. */
    bool blank = cb_slice_trim((struct cb_slice){ text->buf, text->len }).len == 0;
    cb_autojson json_t *root = blank ? json_object() : cb_json_parse(text->buf, text->len, &e);
    if (root && check_root(root, &e) == 0)
        return CB_TAKE(root);
    if (!root)
        forget_quoted(&e);
    cb_error_set(err, CB_ECONF, "%s: %s%s", name, cb_error_text(&e), root ? "" : no_json_remedy(name, text));
    return NULL;
}

static int take_entry(const json_t *entry, const char *key, const struct auth_source *src, struct cb_credential *out,
                      struct cb_error *err)
{
    cb_autofree char *where = cb_asprintf("%s: \"%.200s\"", src->name, key);
    int r = read_entry(entry, where, out, err);
    if (r > 0) {
        out->source = cb_strdup(src->name);
        out->key = cb_strdup(key);
    } else {
        cb_credential_done(out);
    }
    return r;
}

int auth_root_lookup(const json_t *root, const struct auth_source *src, const struct auth_query *q,
                     enum auth_reach reach, struct cb_credential *out, struct cb_error *err)
{
    const char *helper = reach == AUTH_OF_HOST ? auth_file_helper(root, q->host) : NULL, *key = NULL;
    int r = helper ? auth_source_ask_helper(src, helper, q, out, err) : 0;
    if (r != 0)
        return r;
    const json_t *entry = find_entry(json_object_get(root, "auths"), q, reach, &key);
    return entry ? take_entry(entry, key, src, out, err) : 0;
}

/* A key whose entry holds nothing, as docker leaves them beside a helper, does not hide a shorter one. */
unsigned auth_root_path_rank(const json_t *root, const struct auth_query *q)
{
    struct cb_credential c cb_cleanup_credential = { 0 };
    const char *key = NULL;
    const json_t *entry = find_entry(json_object_get(root, "auths"), q, AUTH_OF_PATH, &key);
    if (!entry || read_entry(entry, key, &c, NULL) <= 0)
        return 0;
    return auth_key_rank(key, q->host, q->repo);
}

/* ---- the file of a source ---- */

static bool is_nothing(const struct auth_source *src, const struct cb_error *e)
{
    return !src->must && (e->sys_errno == ENOENT || e->sys_errno == ENOTDIR || e->sys_errno == EACCES);
}

static json_t *parse_old(const struct auth_source *src, const struct cb_strbuf *text, struct cb_error *err)
{
    struct cb_strbuf whole cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&whole, "{\"auths\": %s}", text->len ? text->buf : "{}");
    json_t *root = auth_file_parse(src->name, &whole, err);
    explicit_bzero(whole.buf, whole.len);
    return root;
}

/* A FIFO in the place of a file that is looked for anyway is somebody's trap. */
static int slurp(const struct auth_source *src, struct cb_strbuf *text, struct cb_error *err)
{
    if (src->named)
        return cb_input_slurp_path(src->name, src->cancel, CB_MAX_CONFIG_FILE, text, err);
    return cb_file_slurp(src->name, CB_MAX_CONFIG_FILE, text, err);
}

static json_t *read_source(const struct auth_source *src, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (src->text) {
        cb_strbuf_adds(&text, src->text);
    } else if (slurp(src, &text, &e) < 0) {
        if (is_nothing(src, &e))
            return NULL;
        if (e.code != CB_ECANCELED)
            e.code = CB_ECONF;
        cb_error_move(err, &e);
        return NULL;
    }
    json_t *root = src->kind == AUTH_OLD ? parse_old(src, &text, err) : auth_file_parse(src->name, &text, err);
    explicit_bzero(text.buf, text.len);
    return root;
}

const json_t *auth_source_root(struct auth_source *src, struct cb_error *err)
{
    pthread_mutex_lock(&src->mu);
    if (!src->root && !src->failed.code)
        src->root = read_source(src, &src->failed);
    if (src->failed.code)
        (void)!cb_error_copy(err, &src->failed);
    const json_t *root = src->root;
    pthread_mutex_unlock(&src->mu);
    return root;
}
