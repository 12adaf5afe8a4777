/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registry/private.h"
#include "util/alloc.h"

static bool is_file(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static int take_client(struct cb_http_tls *tls, const char *dir, const char *name, struct cb_error *err)
{
    cb_autofree char *stem = cb_strndup(name, strlen(name) - 5);
    cb_autofree char *key = cb_asprintf("%s/%s.key", dir, stem);
    if (!is_file(key))
        return cb_error_set(err, CB_ECONF, "%s/%s has no key: %s is missing", dir, name, key);
    if (!tls->client_cert) {
        tls->client_cert = cb_asprintf("%s/%s", dir, name);
        tls->client_key = CB_TAKE(key);
    }
    return 0;
}

static int check_key(const char *dir, const char *name, struct cb_error *err)
{
    cb_autofree char *stem = cb_strndup(name, strlen(name) - 4);
    cb_autofree char *cert = cb_asprintf("%s/%s.cert", dir, stem);
    return is_file(cert) ? 0
                         : cb_error_set(err, CB_ECONF, "%s/%s has no certificate: %s is missing", dir, name, cert);
}

static int take_file(struct cb_http_tls *tls, const char *dir, const char *name, struct cb_error *err)
{
    if (*name == '.')
        return 0;
    if (cb_ends_with(name, ".crt"))
        cb_strvec_pushf(&tls->ca_files, "%s/%s", dir, name);
    if (cb_ends_with(name, ".key"))
        return check_key(dir, name, err);
    return cb_ends_with(name, ".cert") ? take_client(tls, dir, name, err) : 0;
}

/* must: the user named it. */
static int take_dir(struct cb_http_tls *tls, const char *dir, bool must, struct cb_error *err)
{
    struct dirent **names = NULL;
    int n = scandir(dir, &names, NULL, alphasort), r = 0;
    if (n < 0 && (must || (errno != ENOENT && errno != ENOTDIR && errno != EACCES)))
        return cb_error_sys(err, CB_ECONF, errno, "certificates: %s", dir);
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = take_file(tls, dir, names[i]->d_name, err);
        free(names[i]);
    }
    free(names);
    return r;
}

void reg_certs_dirs(struct cb_strvec *out)
{
    const char *home = getenv("HOME"), *xdg = getenv("XDG_CONFIG_HOME");
    if (xdg && *xdg)
        cb_strvec_pushf(out, "%s/containers/certs.d", xdg);
    else
        cb_strvec_pushf(out, "%s/.config/containers/certs.d", home && *home ? home : "/root");
    cb_strvec_push(out, "/etc/containers/certs.d");
    cb_strvec_push(out, "/etc/docker/certs.d");
}

int reg_certs_find(struct cb_http_tls *tls, const char *cert_dir, const char *host, struct cb_error *err)
{
    struct cb_strvec dirs cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = 0;
    if (cert_dir)
        return take_dir(tls, cert_dir, true, err);
    reg_certs_dirs(&dirs);
    for (size_t i = 0; r == 0 && i < dirs.n; i++) {
        cb_autofree char *dir = cb_asprintf("%s/%s", dirs.v[i], host);
        r = take_dir(tls, dir, false, err);
    }
    return r;
}
