/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <unistd.h>

#include "auth/private.h"
#include "util/alloc.h"
#include "util/proc.h"

/* E3: a plain name, so that no path and no option can hide in it. */
static bool valid_name(const char *s)
{
    if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s))
        return false;
    for (; *s; s++)
        if (!islower((unsigned char)*s) && !isdigit((unsigned char)*s) && !strchr("._-", *s))
            return false;
    return true;
}

/* E4 */
static bool valid_server(const char *s)
{
    if (!*s || *s == '-')
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '%')
            return false;
    return true;
}

/* What a helper of a cloud, a keyring or a CI system lives by; the rest of our environment is not its business (E7). */
static bool is_passed_on(const char *entry)
{
    static const char *const names[] = {
        "PATH=",
        "HOME=",
        "USER=",
        "LOGNAME=",
        "LANG=",
        "LC_",
        "TMPDIR=",
        "XDG_",
        "DBUS_SESSION_BUS_ADDRESS=",
        "DISPLAY=",
        "WAYLAND_DISPLAY=",
        "GNUPGHOME=",
        "GPG_TTY=",
        "PASSWORD_STORE_",
        "DOCKER_",
        "AWS_",
        "ECS_",
        "GOOGLE_",
        "GCE_",
        "CLOUDSDK_",
        "AZURE_",
        "ACR_",
        "MSI_",
        "IDENTITY_",
        "IMDS_",
        "KUBERNETES_",
        "GITLAB_",
        "GITHUB_",
        "CI_",
        "OCI_",
        "http_proxy=",
        "https_proxy=",
        "all_proxy=",
        "no_proxy=",
        "HTTP_PROXY=",
        "HTTPS_PROXY=",
        "ALL_PROXY=",
        "NO_PROXY=",
        "SSL_CERT_FILE=",
        "SSL_CERT_DIR=",
    };
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        if (cb_starts_with(entry, names[i]))
            return true;
    return false;
}

static int call(const char *helper, const char *verb, const char *input, const struct cb_cancel *cancel,
                struct cb_proc_result *res, struct cb_error *err)
{
    struct cb_strvec env cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *program = cb_asprintf("docker-credential-%s", helper);
    const char *argv[] = { program, verb, NULL };
    if (!valid_name(helper))
        return cb_error_set(err, CB_ECONF, "credential helper \"%.200s\": not a valid name", helper);
    for (char **e = environ; e && *e; e++)
        if (is_passed_on(*e))
            cb_strvec_push(&env, *e);
    static const char *const nothing[] = { NULL };
    struct cb_proc_spec spec = { .argv = argv,
                                 .env = env.n ? (const char *const *)env.v : nothing,
                                 .input = input,
                                 .input_len = strlen(input),
                                 .timeout_ms = 30000,
                                 .cancel = cancel };
    int r = cb_proc_run(&spec, res, err);
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_EAUTH, "credential helper %s is configured but not installed", program);
    return r;
}

static bool says_not_found(const struct cb_proc_result *res)
{
    return res->status != 0 &&
           (strstr(res->out.buf, "credentials not found") || strstr(res->err.buf, "credentials not found"));
}

/* A script may fail after it has answered, or tell all that it does (set -x). */
static bool holds_secret(const struct cb_strbuf *said)
{
    return strstr(said->buf, "Secret\"") != NULL;
}

static int failed(const char *helper, const struct cb_proc_result *res, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_strbuf *from = res->out.len ? &res->out : &res->err;
    struct cb_slice said = cb_slice_trim((struct cb_slice){ from->buf, CB_MIN(from->len, (size_t)300) });
    if (holds_secret(from))
        cb_strbuf_adds(&text, "what it said holds a secret, and is not shown");
    else
        cb_strbuf_add_sanitized(&text, said.ptr, said.len, false);
    return cb_error_set(err, CB_EAUTH, "docker-credential-%s failed with status %d%s%s", helper, res->status,
                        text.len ? ": " : "", text.buf);
}

static int bad_answer(const char *helper, struct cb_error *err)
{
    return cb_error_set(err, CB_EAUTH, "docker-credential-%s: not the answer of a credential helper", helper);
}

static int read_answer(const char *helper, const json_t *o, struct cb_credential *out, struct cb_error *err)
{
    const char *user = NULL, *secret = NULL;
    if (!json_is_object(o) || cb_json_get_string(o, "Username", &user, NULL) < 0 ||
        cb_json_get_string(o, "Secret", &secret, NULL) < 0 || !user || !secret)
        return bad_answer(helper, err);
    if (!*secret)
        return 0;
    out->source = cb_asprintf("docker-credential-%s", helper);
    if (!strcmp(user, "<token>")) {
        out->identity_token = cb_strdup(secret);
    } else {
        out->username = cb_strdup(user);
        out->password = cb_strdup(secret);
    }
    return cb_credential_is_set(out);
}

int auth_helper_read(const char *helper, const char *text, size_t len, struct cb_credential *out,
                     struct cb_error *err)
{
    cb_autojson json_t *o = cb_json_parse(text, len, NULL);
    return o ? read_answer(helper, o, out, err) : bad_answer(helper, err);
}

static int get(const char *helper, const struct cb_proc_result *res, struct cb_credential *out, struct cb_error *err)
{
    if (says_not_found(res))
        return 0;
    if (res->status != 0)
        return failed(helper, res, err);
    return auth_helper_read(helper, res->out.buf, res->out.len, out, err);
}

int auth_helper_get(const char *helper, const char *server, const struct cb_cancel *cancel, struct cb_credential *out,
                    struct cb_error *err)
{
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    if (!valid_server(server))
        return cb_error_set(err, CB_ECONF, "a registry name that no helper may see");
    int r = call(helper, "get", server, cancel, &res, err);
    if (r == 0)
        r = get(helper, &res, out, err);
    explicit_bzero(res.out.buf, res.out.len);
    return r;
}

int auth_helper_store(const char *helper, const char *server, const char *user, const char *secret,
                      struct cb_error *err)
{
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *o = json_pack("{s:s,s:s,s:s}", "ServerURL", server, "Username", user, "Secret", secret);
    if (!valid_server(server) || !o)
        return cb_error_set(err, CB_EUSAGE, "user name and password must be UTF-8");
    cb_json_print(&text, o);
    int r = call(helper, "store", text.buf, NULL, &res, err);
    explicit_bzero(text.buf, text.len);
    return r == 0 && res.status ? failed(helper, &res, err) : r;
}

int auth_helper_erase(const char *helper, const char *server, struct cb_error *err)
{
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    if (!valid_server(server))
        return cb_error_set(err, CB_EUSAGE, "a registry name that no helper may see");
    int r = call(helper, "erase", server, NULL, &res, err);
    if (r == 0 && says_not_found(&res))
        return cb_error_set(err, CB_ENOTFOUND, "docker-credential-%s has no credentials for %s", helper, server);
    return r == 0 && res.status ? failed(helper, &res, err) : r;
}
