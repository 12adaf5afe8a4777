/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "auth/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/limits.h"
#include "util/path.h"

static const char *server_key(const char *host)
{
    return strcmp(host, "docker.io") ? host : "https://index.docker.io/v1/";
}

static int read_config(const char *path, json_t **out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_file_slurp(path, CB_MAX_CONFIG_FILE, &text, &e);
    if (r < 0 && e.sys_errno != ENOENT)
        return cb_error_move(err, &e);
    *out = text.len ? cb_json_parse(text.buf, text.len, &e) : json_object();
    if (!*out || !json_is_object(*out)) {
        json_decref(CB_TAKE(*out));
        return cb_error_set(err, CB_ECONF, "%s is not valid JSON, and is left as it is: %s", path, cb_error_text(&e));
    }
    return 0;
}

/* A symbolic link to the file (dotfiles are kept so) is followed; what it points to is replaced, 0600 (E1). */
static int write_config(const char *path, const json_t *root, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *real = canonicalize_file_name(path);
    const char *target = real ? real : path;
    const char *base = cb_path_base(target);
    cb_autofree char *dir = base > target ? cb_strndup(target, (size_t)(base - target)) : cb_strdup(".");
    struct cb_tmpfile t cb_cleanup_tmpfile = CB_TMPFILE_INIT;
    cb_json_print_pretty(&text, root);
    int r = cb_fs_mkdirs(dir, 0700, err);
    if (r < 0)
        return r;
    cb_autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", dir);
    r = cb_tmpfile_open(&t, fd, 0600, err);
    if (r == 0)
        r = cb_fd_write_all(t.fd, text.buf, text.len, err);
    if (r == 0)
        r = cb_tmpfile_replace(&t, fd, base, err);
    explicit_bzero(text.buf, text.len);
    return r < 0 ? cb_error_wrap(err, "%s", path) : 0;
}

static json_t *member(json_t *root, const char *key)
{
    json_t *o = json_object_get(root, key);
    if (!json_is_object(o)) {
        o = json_object();
        json_object_set_new(root, key, o);
    }
    return o;
}

static int store_in_file(json_t *root, const char *path, const struct cb_login *l, struct cb_error *err)
{
    struct cb_strbuf pair cb_cleanup_strbuf = CB_STRBUF_INIT, auth cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&pair, "%s:%s", l->username, l->password);
    cb_base64_encode(&auth, pair.buf, pair.len);
    json_t *entry = json_object();
    json_object_set_new(entry, "auth", json_string(auth.buf));
    json_object_set_new(member(root, "auths"), server_key(l->host), entry);
    int r = write_config(path, root, err);
    explicit_bzero(pair.buf, pair.len);
    explicit_bzero(auth.buf, auth.len);
    return r;
}

int cb_auth_store_login(const struct cb_login *l, char **where, struct cb_error *err)
{
    cb_autofree char *path = auth_login_path(l->authfile);
    cb_autojson json_t *root = NULL;
    int r = read_config(path, &root, err);
    if (r == 0 && strchr(l->username, ':'))
        r = cb_error_set(err, CB_EUSAGE, "a user name must not contain ':'");
    if (r < 0)
        return r;
    const char *helper = auth_file_helper(root, l->host);
    if (helper) {
        r = auth_helper_store(helper, server_key(l->host), l->username, l->password, err);
        *where = r == 0 ? cb_asprintf("docker-credential-%s", helper) : NULL;
    } else {
        r = store_in_file(root, path, l, err);
        *where = r == 0 ? cb_strdup(path) : NULL;
    }
    return r == 0 && l->realm ? auth_realm_approve(l->host, l->realm, err) : r;
}

int cb_auth_remove_login(const char *host, const char *authfile, char **where, struct cb_error *err)
{
    cb_autofree char *path = auth_login_path(authfile);
    cb_autojson json_t *root = NULL;
    const char *keys[5];
    bool found = false;
    int r = read_config(path, &root, err);
    if (r < 0)
        return r;
    const char *helper = auth_file_helper(root, host);
    if (helper) {
        r = auth_helper_erase(helper, server_key(host), err);
        *where = r == 0 ? cb_asprintf("docker-credential-%s", helper) : NULL;
        return r;
    }
    auth_host_keys(host, keys);
    for (size_t i = 0; keys[i]; i++)
        found = json_object_del(json_object_get(root, "auths"), keys[i]) == 0 || found;
    if (!found)
        return cb_error_set(err, CB_ENOTFOUND, "not logged in to %s (looked in %s)", host, path);
    r = write_config(path, root, err);
    *where = r == 0 ? cb_strdup(path) : NULL;
    return r;
}
