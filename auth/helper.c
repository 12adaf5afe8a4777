/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>

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
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == 0x7f)
            return false;
    return true;
}

static int call(const char *helper, const char *verb, const char *input, const struct cb_cancel *cancel,
                struct cb_proc_result *res, struct cb_error *err)
{
    cb_autofree char *program = cb_asprintf("docker-credential-%s", helper);
    const char *argv[] = { program, verb, NULL };
    if (!valid_name(helper))
        return cb_error_set(err, CB_ECONF, "credential helper \"%s\": not a valid name", helper);
    struct cb_proc_spec spec = { .argv = argv, .input = input, .input_len = strlen(input), .timeout_ms = 30000, .cancel = cancel };
    int r = cb_proc_run(&spec, res, err);
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_EAUTH, "credential helper %s is configured but not installed", program);
    return r;
}

static int failed(const char *helper, const struct cb_proc_result *res, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_strbuf *said = res->out.len ? &res->out : &res->err;
    cb_strbuf_add_sanitized(&text, said->buf, CB_MIN(said->len, (size_t)300), false);
    return cb_error_set(err, CB_EAUTH, "docker-credential-%s failed with status %d: %s", helper, res->status, text.buf);
}

int auth_helper_get(const char *helper, const char *server, const struct cb_cancel *cancel, struct cb_credential *out, struct cb_error *err)
{
    struct cb_proc_result res cb_cleanup_proc_result = { .out = CB_STRBUF_INIT, .err = CB_STRBUF_INIT };
    const char *user = NULL, *secret = NULL;
    if (!valid_server(server))
        return cb_error_set(err, CB_ECONF, "a registry name with control characters");
    int r = call(helper, "get", server, cancel, &res, err);
    if (r < 0)
        return r;
    if (res.status != 0 && (strstr(res.out.buf, "credentials not found") || strstr(res.err.buf, "credentials not found")))
        return 0;
    if (res.status != 0)
        return failed(helper, &res, err);
    cb_autojson json_t *o = cb_json_parse(res.out.buf, res.out.len, err);
    explicit_bzero(res.out.buf, res.out.len);
    if (!o || cb_json_get_string(o, "Username", &user, err) < 0 || cb_json_get_string(o, "Secret", &secret, err) < 0)
        return cb_error_set(err, CB_EAUTH, "docker-credential-%s: not the answer of a credential helper", helper);
    out->source = cb_asprintf("docker-credential-%s", helper);
    if (user && !strcmp(user, "<token>")) {
        out->identity_token = cb_strdup(secret ? secret : "");
    } else {
        out->username = cb_strdup(user ? user : "");
        out->password = cb_strdup(secret ? secret : "");
    }
    return cb_credential_is_set(out);
}

int auth_helper_store(const char *helper, const char *server, const char *user, const char *secret, struct cb_error *err)
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
        return cb_error_set(err, CB_EUSAGE, "a registry name with control characters");
    int r = call(helper, "erase", server, NULL, &res, err);
    return r == 0 && res.status ? failed(helper, &res, err) : r;
}
