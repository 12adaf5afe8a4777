/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/limits.h"
#include "util/path.h"

/* A file that is read, changed and written while its directory is locked. */
struct config {
    char *path;   /* as the user knows it */
    char *target; /* what it is behind symbolic links: dotfiles are kept so */
    int dir;
    json_t *root;
};
#define CONFIG_INIT                                                                                                  \
    {                                                                                                                \
        .dir = -1                                                                                                    \
    }

static void config_done(struct config *c)
{
    free(c->path);
    free(c->target);
    cb_close_p(&c->dir);
    json_decref(c->root);
}

static int find_target(struct config *c, struct cb_error *err)
{
    struct stat st;
    c->target = canonicalize_file_name(c->path);
    if (!c->target && lstat(c->path, &st) == 0 && S_ISLNK(st.st_mode))
        return cb_error_set(err, CB_ECONF, "%s is a symbolic link to nothing", c->path);
    if (!c->target)
        c->target = cb_strdup(c->path);
    return 0;
}

static int open_dir(struct config *c, struct cb_error *err)
{
    const char *base = cb_path_base(c->target);
    cb_autofree char *dir = base > c->target ? cb_strndup(c->target, (size_t)(base - c->target)) : cb_strdup(".");
    int r = cb_fs_mkdirs(dir, 0700, err);
    if (r < 0)
        return r;
    c->dir = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (c->dir < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", dir);
    /* Some file systems have no locks: then the last of two at once wins, and the file is whole all the same. */
    (void)!cb_fs_lock(c->dir, NULL);
    return 0;
}

static int config_open(struct config *c, const char *authfile, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    c->path = auth_login_path(authfile);
    int r = find_target(c, err);
    if (r == 0)
        r = open_dir(c, err);
    if (r < 0)
        return r;
    if (cb_file_slurp(c->target, CB_MAX_CONFIG_FILE, &text, &e) < 0 && e.sys_errno != ENOENT)
        return cb_error_move(err, &e);
    c->root = auth_file_parse(c->path, &text, err);
    explicit_bzero(text.buf, text.len);
    if (!c->root)
        cb_error_wrap(err, "left as it is");
    return c->root ? 0 : -CB_ECONF;
}

/* 0600, whatever it was (E1); root that writes a user's file leaves it the user's. */
static int config_write(const struct config *c, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_tmpfile t cb_cleanup_tmpfile = CB_TMPFILE_INIT;
    struct stat st;
    cb_json_print_pretty(&text, c->root);
    int r = cb_tmpfile_open(&t, c->dir, 0600, err);
    if (r == 0)
        r = cb_fd_write_all(t.fd, text.buf, text.len, err);
    if (r == 0 && geteuid() == 0 && stat(c->target, &st) == 0 && fchown(t.fd, st.st_uid, st.st_gid) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "owner");
    if (r == 0)
        r = cb_tmpfile_replace(&t, c->dir, cb_path_base(c->target), err);
    explicit_bzero(text.buf, text.len);
    if (r < 0)
        cb_error_wrap(err, "%s", c->path);
    return r;
}

/* Drops every entry that is for the host alone, however it is written. */
static bool drop_entries(struct config *c, const char *host)
{
    struct cb_strvec keys cb_cleanup_strvec = CB_STRVEC_INIT;
    json_t *auths = json_object_get(c->root, "auths"), *value;
    const char *key;
    json_object_foreach (auths, key, value) {
        if (auth_key_rank(key, host, NULL))
            cb_strvec_push(&keys, key);
    }
    for (size_t i = 0; i < keys.n; i++)
        json_object_del(auths, keys.v[i]);
    return keys.n > 0;
}

static void add_entry(struct config *c, const struct cb_login *l)
{
    struct cb_strbuf pair cb_cleanup_strbuf = CB_STRBUF_INIT, auth cb_cleanup_strbuf = CB_STRBUF_INIT;
    json_t *auths = json_object_get(c->root, "auths"), *entry = json_object();
    if (!json_is_object(auths)) {
        auths = json_object();
        json_object_set_new(c->root, "auths", auths);
    }
    cb_strbuf_addf(&pair, "%s:%s", l->username, l->password);
    cb_base64_encode(&auth, pair.buf, pair.len);
    json_object_set_new(entry, "auth", json_string(auth.buf));
    json_object_set_new(auths, auth_server_name(l->host), entry);
    explicit_bzero(pair.buf, pair.len);
    explicit_bzero(auth.buf, auth.len);
}

/* With a helper nothing of it stays in the file: a look-up would fall back to that. */
static int store(struct config *c, const struct cb_login *l, char **where, struct cb_error *err)
{
    const char *helper = auth_file_helper(c->root, l->host);
    cb_autofree char *name = helper ? cb_asprintf("docker-credential-%s", helper) : cb_strdup(c->path);
    int r = helper ? auth_helper_store(helper, auth_server_name(l->host), l->username, l->password, err) : 0;
    if (r < 0)
        return r;
    bool dropped = drop_entries(c, l->host);
    if (!helper)
        add_entry(c, l);
    r = !helper || dropped ? config_write(c, err) : 0;
    *where = r == 0 ? CB_TAKE(name) : NULL;
    return r;
}

int cb_auth_store_login(const struct cb_login *l, char **where, struct cb_error *err)
{
    CB_CLEANUP(config_done) struct config c = CONFIG_INIT;
    *where = NULL;
    if (!*l->username || strchr(l->username, ':'))
        return cb_error_set(err, CB_EUSAGE, "a user name must not be empty or contain ':'");
    int r = config_open(&c, l->authfile, err);
    if (r == 0)
        r = store(&c, l, where, err);
    if (r < 0)
        return r;
    r = l->realm ? auth_realm_approve(l->host, l->realm, err) : 0;
    if (r < 0)
        free(CB_TAKE(*where));
    return r;
}

int cb_auth_remove_login(const char *host, const char *authfile, char **where, struct cb_error *err)
{
    CB_CLEANUP(config_done) struct config c = CONFIG_INIT;
    cb_autofree char *path = auth_login_path(authfile);
    *where = NULL;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return cb_error_set(err, CB_ENOTFOUND, "not logged in to %s (there is no %s)", host, path);
    int r = config_open(&c, authfile, err);
    if (r < 0)
        return r;
    const char *helper = auth_file_helper(c.root, host);
    cb_autofree char *name = helper ? cb_asprintf("docker-credential-%s", helper) : NULL;
    int h = helper ? auth_helper_erase(helper, auth_server_name(host), err) : -CB_ENOTFOUND;
    if (h < 0 && h != -CB_ENOTFOUND)
        return h;
    bool dropped = drop_entries(&c, host);
    if (h < 0 && !dropped)
        return cb_error_set(err, CB_ENOTFOUND, "not logged in to %s (looked in %s)", host, name ? name : c.path);
    r = dropped ? config_write(&c, err) : 0;
    *where = r < 0 ? NULL : h == 0 ? CB_TAKE(name) : cb_strdup(c.path);
    return r;
}
