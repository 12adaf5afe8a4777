/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/limits.h"

/* Registries whose token server is known to live elsewhere. */
static const struct {
    const char *registry, *realm;
} known[] = {
    { "registry-1.docker.io", "auth.docker.io" },
    { "registry.gitlab.com", "gitlab.com" },
    { "nvcr.io", "authn.nvidia.com" },
};

/* ---- realms that were approved at login ---- */

static char *realms_path(void)
{
    const char *x = getenv("XDG_CONFIG_HOME"), *h = getenv("HOME");
    return x && *x ? cb_asprintf("%s/cbpush", x) : cb_asprintf("%s/.config/cbpush", h && *h ? h : "/root");
}

static json_t *read_realms(void)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *dir = realms_path();
    cb_autofree char *path = cb_asprintf("%s/realms.json", dir);
    if (cb_file_slurp(path, CB_MAX_CONFIG_FILE, &text, NULL) < 0)
        return json_object();
    json_t *o = cb_json_parse(text.buf, text.len, NULL);
    if (json_is_object(o))
        return o;
    json_decref(o);
    return json_object();
}

static bool is_approved(const char *host, const char *realm)
{
    cb_autojson json_t *o = read_realms();
    cb_autofree char *key = auth_lower(host);
    return cb_streq(json_string_value(json_object_get(o, key)), realm);
}

static bool is_own_host(const char *host, const char *realm)
{
    struct cb_url a cb_cleanup_url = { 0 }, b cb_cleanup_url = { 0 };
    cb_autofree char *url = cb_asprintf("https://%s/", host);
    return cb_url_parse(&a, url, NULL) == 0 && cb_url_parse(&b, realm, NULL) == 0 && !strcmp(a.host, b.host) &&
           a.port == b.port;
}

int auth_realm_approve(const char *host, const char *realm, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (is_own_host(host, realm))
        return 0;
    cb_autofree char *dir = realms_path();
    cb_autofree char *key = auth_lower(host);
    int r = cb_fs_mkdirs(dir, 0700, err);
    if (r < 0)
        return r;
    cb_autoclose int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "%s", dir);
    (void)!cb_fs_lock(fd, NULL);
    cb_autojson json_t *o = read_realms();
    json_object_set_new(o, key, cb_json_string(realm));
    cb_json_print_pretty(&text, o);
    r = cb_fs_write_file(fd, "realms.json", text.buf, text.len, 0600, err);
    if (r < 0)
        cb_error_wrap(err, "%s", dir);
    return r;
}

/* ---- the rule (D4) ---- */

static bool is_known_pair(const struct cb_url *base, const struct cb_url *realm)
{
    for (size_t i = 0; i < CB_COUNTOF(known); i++)
        if (!strcmp(base->host, known[i].registry) && !strcmp(realm->host, known[i].realm) && base->port == 443 &&
            realm->port == 443)
            return true;
    return false;
}

static bool is_address(const char *host)
{
    struct in_addr a;
    return *host == '[' || inet_pton(AF_INET, host, &a) == 1;
}

bool auth_realm_allowed(const struct cb_auth_target *t, const char *realm, const char **reason)
{
    struct cb_url base cb_cleanup_url = { 0 }, u cb_cleanup_url = { 0 };
    *reason = "it is not a valid http or https URL";
    if (cb_url_parse(&u, realm, NULL) < 0 || cb_url_parse(&base, t->base_url, NULL) < 0)
        return false;
    *reason = "it is not encrypted";
    if (!strcmp(u.scheme, "http") && strcmp(base.scheme, "http") != 0)
        return false;
    *reason = "it is the registry's own host and port";
    if (!strcmp(u.host, base.host) && u.port == base.port)
        return true;
    *reason = "it is on this machine, as the registry is";
    if (cb_host_is_loopback(u.host) && cb_host_is_loopback(base.host))
        return true;
    *reason = "it is not encrypted";
    if (strcmp(u.scheme, "https") != 0)
        return false;
    *reason = "it is known to be this registry's";
    if (is_known_pair(&base, &u))
        return true;
    /* Who names its token server by a bare address of elsewhere is after that address. */
    bool hidden = is_address(u.host) && strcmp(u.host, base.host) != 0;
    *reason = "it was approved at login";
    if (!hidden && (t->approve_realm || is_approved(t->host, realm)))
        return true;
    *reason = "it is on another host than the registry";
    return false;
}
