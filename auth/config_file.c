/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/private.h"

#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/limits.h"

void auth_host_keys(const char *host, const char *keys[static 5])
{
    size_t n = 0;
    if (!strcmp(host, "docker.io")) {
        keys[n++] = "https://index.docker.io/v1/";
        keys[n++] = "docker.io";
        keys[n++] = "index.docker.io";
        keys[n++] = "registry-1.docker.io";
    } else {
        keys[n++] = host;
    }
    keys[n] = NULL;
}

char *auth_key_host(const char *key)
{
    const char *p = cb_starts_with(key, "https://") ? key + 8 : cb_starts_with(key, "http://") ? key + 7 : key;
    return cb_strndup(p, strcspn(p, "/"));
}

static const json_t *get_exact(const json_t *auths, const char *host, const char *repo)
{
    cb_autofree char *key = repo && *repo ? cb_asprintf("%s/%s", host, repo) : cb_strdup(host);
    for (;;) {
        const json_t *o = json_object_get(auths, key);
        if (o)
            return o;
        char *slash = strrchr(key, '/');
        if (!slash)
            return NULL;
        *slash = '\0';
    }
}

/* Docker's older keys are URLs; only their host counts. */
static const json_t *get_by_url(const json_t *auths, const char *host)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)auths, key, value) {
        if (!cb_starts_with(key, "http"))
            continue;
        cb_autofree char *h = auth_key_host(key);
        if (!strcmp(h, host))
            return value;
    }
    return NULL;
}

static const json_t *find_entry(const json_t *auths, const char *host, const char *repo)
{
    const char *keys[5];
    const json_t *o = NULL;
    auth_host_keys(host, keys);
    for (size_t i = 0; !o && keys[i]; i++)
        o = get_exact(auths, keys[i], cb_starts_with(keys[i], "https://") ? NULL : repo);
    return o ? o : get_by_url(auths, host);
}

static int decode_auth(const char *text, struct cb_credential *out, const char *name, struct cb_error *err)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_base64_decode(&sb, text, strlen(text)))
        return cb_error_set(err, CB_ECONF, "%s: an \"auth\" is not base64", name);
    char *colon = memchr(sb.buf, ':', sb.len);
    if (!colon)
        return cb_error_set(err, CB_ECONF, "%s: an \"auth\" is not USER:PASSWORD", name);
    *colon = '\0';
    out->username = cb_strdup(sb.buf);
    out->password = cb_strdup(colon + 1); /* ends at a NUL: some writers pad with them */
    explicit_bzero(sb.buf, sb.len);
    return 0;
}

static int read_entry(const json_t *o, const char *name, struct cb_credential *out, struct cb_error *err)
{
    const char *auth = NULL, *user = NULL, *pass = NULL, *identity = NULL, *registry = NULL;
    if (cb_json_get_string(o, "auth", &auth, err) < 0 || cb_json_get_string(o, "username", &user, err) < 0 ||
        cb_json_get_string(o, "password", &pass, err) < 0 || cb_json_get_string(o, "identitytoken", &identity, err) < 0 ||
        cb_json_get_string(o, "registrytoken", &registry, err) < 0)
        return cb_error_set(err, CB_ECONF, "%s: an entry of \"auths\" is malformed", name);
    int r = auth && *auth ? decode_auth(auth, out, name, err) : 0;
    if (r < 0)
        return r;
    if (!out->username && user)
        out->username = cb_strdup(user);
    if (!out->password && pass)
        out->password = cb_strdup(pass);
    if (identity && *identity)
        out->identity_token = cb_strdup(identity);
    if (registry && *registry)
        out->registry_token = cb_strdup(registry);
    out->source = cb_strdup(name);
    return cb_credential_is_set(out);
}

const char *auth_file_helper(const json_t *root, const char *host)
{
    const char *keys[5], *helper = NULL;
    const json_t *helpers = json_object_get(root, "credHelpers");
    auth_host_keys(host, keys);
    for (size_t i = 0; !helper && keys[i]; i++)
        helper = json_string_value(json_object_get(helpers, keys[i]));
    if (!helper)
        helper = json_string_value(json_object_get(root, "credsStore"));
    return helper && *helper ? helper : NULL;
}

static int lookup_root(const json_t *root, const struct auth_source *src, const char *host, const char *repo,
                       const struct cb_cancel *cancel, struct cb_credential *out, struct cb_error *err)
{
    const char *helper = auth_file_helper(root, host), *keys[5];
    auth_host_keys(host, keys);
    if (helper) {
        int r = auth_helper_get(helper, keys[0], cancel, out, err);
        if (r != 0)
            return r < 0 ? cb_error_wrap(err, "%s", src->name) : r;
    }
    const json_t *entry = find_entry(json_object_get(root, "auths"), host, repo);
    return json_is_object(entry) ? read_entry(entry, src->name, out, err) : 0;
}

int auth_file_lookup(const struct auth_source *src, const char *host, const char *repo, const struct cb_cancel *cancel,
                     struct cb_credential *out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (src->text) {
        cb_strbuf_adds(&text, src->text);
    } else if (cb_file_slurp(src->name, CB_MAX_CONFIG_FILE, &text, &e) < 0) {
        if (e.sys_errno == ENOENT || e.sys_errno == ENOTDIR || e.sys_errno == EACCES)
            return 0;
        return cb_error_move(err, &e);
    }
    if (text.len == 0)
        return 0;
    cb_autojson json_t *root = cb_json_parse(text.buf, text.len, &e);
    explicit_bzero(text.buf, text.len);
    if (!root || !json_is_object(root))
        return cb_error_set(err, CB_ECONF, "%s is not valid JSON: %s", src->name, root ? "no object" : cb_error_text(&e));
    return lookup_root(root, src, host, repo, cancel, out, err);
}
