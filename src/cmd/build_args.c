/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "cmd/build_image.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/input.h"
#include "util/limits.h"

void build_args_add(const char *arg, struct cb_strvec *out)
{
    const char *eq = strchrnul(arg, '=');
    cb_autofree char *key = cb_strndup(arg, (size_t)(eq - arg));
    const char *value = *eq ? eq + 1 : getenv(key);
    if (value && *key)
        cb_env_set(out, key, value);
}

int build_args_file(const char *path, const struct cb_cancel *cancel, struct cb_strvec *out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_input_slurp_path(path, cancel, CB_MAX_CONFIG_FILE, &text, err);
    if (r < 0) {
        if (err && r == -CB_ENOTFOUND)
            err->code = CB_EUSAGE;
        cb_error_wrap(err, "--build-arg-file");
        return err ? -(int)err->code : r;
    }
    for (char *line = text.buf, *next; *line; line = next) {
        char *end = strchrnul(line, '\n');
        next = *end ? end + 1 : end;
        *end = '\0';
        if (end > line && end[-1] == '\r')
            end[-1] = '\0';
        if (*line && *line != '#')
            build_args_add(line, out);
    }
    return 0;
}

/* ---- proxies ---- */

/* In both spellings, unless one of them was given. */
static void add_proxy(struct cb_strvec *out, const char *upper, const char *lower, const char *value)
{
    if (!value || !*value || cb_env_get(out, upper) || cb_env_get(out, lower))
        return;
    cb_env_set(out, upper, value);
    cb_env_set(out, lower, value);
}

static const struct { const char *key, *upper, *lower; } proxy_names[] = {
    { "httpProxy", "HTTP_PROXY", "http_proxy" }, { "httpsProxy", "HTTPS_PROXY", "https_proxy" },
    { "noProxy", "NO_PROXY", "no_proxy" },       { "ftpProxy", "FTP_PROXY", "ftp_proxy" },
    { "allProxy", "ALL_PROXY", "all_proxy" },
};

int build_args_proxies(const char *text, size_t len, const char *engine, struct cb_strvec *out, struct cb_error *err)
{
    if (!cb_slice_trim((struct cb_slice){ text, len }).len)
        return 0;
    cb_autojson json_t *root = cb_json_parse(text, len, err);
    const json_t *proxies = NULL, *mine = NULL;
    int r = root ? cb_json_get_object(root, "proxies", &proxies, err) : -CB_ECONF;
    if (r == 0 && proxies && engine)
        r = cb_json_get_object(proxies, engine, &mine, err);
    if (r == 0 && proxies && !mine)
        r = cb_json_get_object(proxies, "default", &mine, err);
    for (size_t i = 0; r == 0 && mine && i < CB_COUNTOF(proxy_names); i++) {
        const char *value = NULL;
        r = cb_json_get_string(mine, proxy_names[i].key, &value, err);
        add_proxy(out, proxy_names[i].upper, proxy_names[i].lower, value);
    }
    if (r < 0 && err)
        err->code = CB_ECONF;
    return r < 0 ? -CB_ECONF : 0;
}

static int config_proxies(struct cb_strvec *out, struct cb_error *err)
{
    const char *dir = getenv("DOCKER_CONFIG"), *home = getenv("HOME"), *engine = getenv("DOCKER_HOST");
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *path = dir && *dir ? cb_asprintf("%s/config.json", dir)
                                         : cb_asprintf("%s/.docker/config.json", home && *home ? home : "/root");
    if (cb_file_slurp(path, CB_MAX_CONFIG_FILE, &text, NULL) < 0)
        return 0; /* whoever needs credentials of it tells what is wrong with it */
    int r = build_args_proxies(text.buf, text.len, engine, out, err);
    return r < 0 ? cb_error_wrap(err, "%s", path) : 0;
}

static void environment_proxies(struct cb_strvec *out)
{
    for (size_t i = 0; i < CB_COUNTOF(proxy_names); i++) {
        const char *lower = getenv(proxy_names[i].lower);
        add_proxy(out, proxy_names[i].upper, proxy_names[i].lower, lower ? lower : getenv(proxy_names[i].upper));
    }
}

int build_args_take(const struct image_options *cli, const struct cb_strvec *given, const struct cb_cancel *cancel,
                    struct cb_strvec *out, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < cli->arg_files.n; i++)
        r = build_args_file(cli->arg_files.v[i], cancel, out, err);
    for (size_t i = 0; r == 0 && i < given->n; i++) {
        if (!*given->v[i] || *given->v[i] == '=')
            r = cb_error_set(err, CB_EUSAGE, "--build-arg %s: write NAME=VALUE", given->v[i]);
        build_args_add(given->v[i], out);
    }
    if (cli->http_proxy)
        environment_proxies(out);
    return r < 0 ? r : config_proxies(out, err);
}

/* ---- switches ---- */

/* A switch that is not there is off, as an empty one. */
static int take_switch(const struct cb_strvec *args, const char *key, bool *on, struct cb_error *err)
{
    static const char *const yes[] = { "1", "t", "T", "true", "TRUE", "True" };
    static const char *const no[] = { "", "0", "f", "F", "false", "FALSE", "False" };
    const char *value = cb_env_get(args, key);
    *on = false;
    for (size_t i = 0; value && i < CB_COUNTOF(yes); i++)
        *on = *on || !strcmp(value, yes[i]);
    for (size_t i = 0; value && !*on && i < CB_COUNTOF(no); i++)
        value = strcmp(value, no[i]) ? value : NULL;
    return !value || *on ? 0 : cb_error_set(err, CB_EUSAGE, "--build-arg %s=%s: true or false", key, value);
}

int build_args_switches(const struct cb_strvec *args, struct cb_build_options *o, struct cb_strvec *cache_to,
                        struct cb_error *err)
{
    bool cached, index;
    const char *hostname = cb_env_get(args, "BUILDKIT_SANDBOX_HOSTNAME");
    o->run_hostname = hostname && *hostname ? hostname : NULL;
    int r = take_switch(args, "BUILDKIT_CONTEXT_KEEP_GIT_DIR", &o->keep_git_dir, err);
    if (r == 0)
        r = take_switch(args, "BUILDKIT_INLINE_CACHE", &cached, err);
    if (r == 0)
        r = take_switch(args, "BUILDKIT_MULTI_PLATFORM", &index, err);
    if (r < 0)
        return r;
    if (index && o->n_platforms < 2)
        return cb_error_set(err, CB_EUSAGE, "--build-arg BUILDKIT_MULTI_PLATFORM: the image of one platform gets no "
                                            "index: leave it out, or give --platform several");
    if (cached)
        cb_strvec_push(cache_to, "type=inline");
    return 0;
}
