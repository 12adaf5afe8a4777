/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/config.h"
#include "oci/descriptor.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/limits.h"

/* Steps that make no layer are many in real images, but not thousands. */
#define MAX_HISTORY (16 * CB_MAX_LAYERS)

static int get_text(const json_t *o, const char *key, char **out, struct cb_error *err)
{
    const char *s = NULL;
    int r = cb_json_get_string(o, key, &s, err);
    if (r == 0 && s && *s)
        *out = cb_strdup(s);
    return r;
}

/* Whether s begins with the pattern, where '0' stands for any digit. */
static bool has_form(const char *s, const char *pattern)
{
    for (; *pattern; s++, pattern++)
        if (*pattern == '0' ? *s < '0' || *s > '9' : *s != *pattern)
            return false;
    return true;
}

static bool in_range(const char *two_digits, int low, int high)
{
    int v = (two_digits[0] - '0') * 10 + (two_digits[1] - '0');
    return v >= low && v <= high;
}

/* Go's clients refuse the whole config for one malformed time, so it must not get into ours. */
static bool is_rfc3339(const char *s)
{
    if (!has_form(s, "0000-00-00T00:00:00"))
        return false;
    if (!in_range(s + 5, 1, 12) || !in_range(s + 8, 1, 31) || !in_range(s + 11, 0, 23) || !in_range(s + 14, 0, 59) ||
        !in_range(s + 17, 0, 60))
        return false;
    s += 19;
    if (*s == '.') {
        size_t digits = strspn(s + 1, "0123456789");
        if (!digits)
            return false;
        s += 1 + digits;
    }
    if (*s == 'Z')
        return !s[1];
    bool offset = has_form(s, "+00:00") || has_form(s, "-00:00");
    return offset && in_range(s + 1, 0, 23) && in_range(s + 4, 0, 59) && !s[6];
}

static int get_time(const json_t *o, const char *key, char **out, struct cb_error *err)
{
    int r = get_text(o, key, out, err);
    if (r == 0 && *out && !is_rfc3339(*out))
        return cb_error_set(err, CB_EVERIFY, "\"%s\" is no RFC 3339 time: \"%.64s\"", key, *out);
    return r;
}

static int get_args(const json_t *o, const char *key, struct cb_arglist *out, struct cb_error *err)
{
    const json_t *a = NULL;
    int r = cb_json_get_array(o, key, &a, err);
    if (r < 0 || !a)
        return r;
    out->set = true;
    return cb_json_get_strvec(o, key, &out->args, err);
}

/* A Go map[string]struct{}: the keys, sorted. */
static int get_set(const json_t *o, const char *key, struct cb_strvec *out, struct cb_error *err)
{
    const json_t *m = NULL;
    int r = cb_json_get_object(o, key, &m, err);
    if (r < 0 || !m)
        return r;
    const char *name;
    json_t *v;
    json_object_foreach((json_t *)m, name, v) {
        if (!*name)
            return cb_error_set(err, CB_EVERIFY, "\"%s\" has an empty name", key);
        if (!json_is_object(v) && !json_is_null(v))
            return cb_error_set(err, CB_EVERIFY, "\"%s\".\"%.64s\" is not an object", key, name);
        cb_strvec_push(out, name);
    }
    cb_strvec_sort(out);
    return 0;
}

/* An entry without '=' would make some runtimes take the variable from the host (C9). The entry itself is not shown: it
 * may be a secret. */
static int get_env(const json_t *o, struct cb_strvec *out, struct cb_error *err)
{
    int r = cb_json_get_strvec(o, "Env", out, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < out->n; i++) {
        if (out->v[i][0] == '=')
            return cb_error_set(err, CB_EVERIFY, "\"Env\"[%zu] has an empty name", i);
        if (!strchr(out->v[i], '='))
            return cb_error_set(err, CB_EVERIFY, "\"Env\"[%zu] is not of the form NAME=value", i);
    }
    return 0;
}

static int get_duration(const json_t *o, const char *key, int64_t *out, struct cb_error *err)
{
    int r = cb_json_get_i64(o, key, out, err);
    if (r == 0 && *out < 0)
        return cb_error_set(err, CB_EVERIFY, "\"%s\" is negative", key);
    return r;
}

static int get_healthcheck(const json_t *o, struct cb_healthcheck **out, struct cb_error *err)
{
    static const char *const known[] = {
        "Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries", NULL,
    };
    const json_t *j = NULL;
    int r = cb_json_get_object(o, "Healthcheck", &j, err);
    if (r < 0 || !j)
        return r;
    struct cb_healthcheck *h = *out = CB_NEW(struct cb_healthcheck);
    if ((r = cb_json_check_keys(j, known, err)) < 0 || (r = cb_json_get_strvec(j, "Test", &h->test, err)) < 0 ||
        (r = get_duration(j, "Interval", &h->interval, err)) < 0 ||
        (r = get_duration(j, "Timeout", &h->timeout, err)) < 0 ||
        (r = get_duration(j, "StartPeriod", &h->start_period, err)) < 0 ||
        (r = get_duration(j, "StartInterval", &h->start_interval, err)) < 0 ||
        (r = cb_json_get_u64(j, "Retries", &h->retries, err)) < 0)
        cb_error_wrap(err, "Healthcheck");
    return r;
}

static int parse_run_config(struct cb_image_config *c, const json_t *top, struct cb_error *err)
{
    static const char *const known[] = { "User",        "ExposedPorts", "Env",        "Entrypoint", "Cmd",
                                         "Volumes",     "WorkingDir",   "Labels",     "StopSignal", "ArgsEscaped",
                                         "Healthcheck", "OnBuild",      "Shell",      NULL };
    const json_t *o = NULL;
    int r = cb_json_get_object(top, "config", &o, err);
    if (r < 0 || !o)
        return r;
    if ((r = cb_json_check_keys(o, known, err)) < 0 || (r = get_text(o, "User", &c->user, err)) < 0 ||
        (r = get_set(o, "ExposedPorts", &c->exposed_ports, err)) < 0 || (r = get_env(o, &c->env, err)) < 0 ||
        (r = get_args(o, "Entrypoint", &c->entrypoint, err)) < 0 || (r = get_args(o, "Cmd", &c->cmd, err)) < 0 ||
        (r = get_set(o, "Volumes", &c->volumes, err)) < 0 ||
        (r = get_text(o, "WorkingDir", &c->working_dir, err)) < 0 ||
        (r = cb_json_get_strmap(o, "Labels", &c->labels, err)) < 0 ||
        (r = get_text(o, "StopSignal", &c->stop_signal, err)) < 0 ||
        (r = cb_json_get_bool(o, "ArgsEscaped", &c->args_escaped, err)) < 0 ||
        (r = get_healthcheck(o, &c->healthcheck, err)) < 0 ||
        (r = cb_json_get_strvec(o, "OnBuild", &c->on_build, err)) < 0)
        return r;
    return get_args(o, "Shell", &c->shell, err);
}

static int parse_diff_ids(struct cb_image_config *c, const json_t *a, struct cb_error *err)
{
    if (json_array_size(a) > CB_MAX_LAYERS)
        return cb_error_set(err, CB_EVERIFY, "%zu diff_ids are more than %d", json_array_size(a), CB_MAX_LAYERS);
    size_t i;
    json_t *v;
    json_array_foreach(a, i, v) {
        struct cb_digest d;
        int r = cb_digest_parse(&d, json_string_value(v), err);
        if (r < 0) {
            cb_error_wrap(err, "diff_ids[%zu]", i);
            return r;
        }
        cb_image_config_add_diff_id(c, &d);
    }
    return 0;
}

static int parse_rootfs(struct cb_image_config *c, const json_t *top, struct cb_error *err)
{
    static const char *const known[] = { "type", "diff_ids", NULL };
    const json_t *o = NULL, *ids = NULL;
    const char *type = NULL;
    int r = cb_json_get_object(top, "rootfs", &o, err);
    if (r < 0 || !o)
        return r;
    if ((r = cb_json_check_keys(o, known, err)) < 0 || (r = cb_json_get_string(o, "type", &type, err)) < 0 ||
        (r = cb_json_get_array(o, "diff_ids", &ids, err)) < 0)
        return r;
    if (!cb_streq(type, "layers"))
        return cb_error_set(err, CB_EVERIFY, "\"rootfs\".\"type\" is not \"layers\"");
    return ids ? parse_diff_ids(c, ids, err) : 0;
}

static int parse_history_entry(struct cb_history *h, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "created", "created_by", "author", "comment", "empty_layer", NULL };
    int r;
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "it is not an object");
    if ((r = cb_json_check_keys(o, known, err)) < 0 || (r = get_time(o, "created", &h->created, err)) < 0 ||
        (r = get_text(o, "created_by", &h->created_by, err)) < 0 || (r = get_text(o, "author", &h->author, err)) < 0 ||
        (r = get_text(o, "comment", &h->comment, err)) < 0)
        return r;
    return cb_json_get_bool(o, "empty_layer", &h->empty_layer, err);
}

static int parse_history(struct cb_image_config *c, const json_t *top, struct cb_error *err)
{
    const json_t *a = NULL;
    int r = cb_json_get_array(top, "history", &a, err);
    if (r < 0 || !a)
        return r;
    if (json_array_size(a) > MAX_HISTORY)
        return cb_error_set(err, CB_EVERIFY, "%zu history entries are more than %d", json_array_size(a), MAX_HISTORY);
    c->history = cb_calloc(json_array_size(a), sizeof *c->history);
    size_t i;
    json_t *v;
    json_array_foreach(a, i, v) {
        c->n_history = i + 1; /* first, so that what half an entry holds is freed too */
        if ((r = parse_history_entry(&c->history[i], v, err)) < 0) {
            cb_error_wrap(err, "history[%zu]", i);
            return r;
        }
    }
    return 0;
}

static int parse_top(struct cb_image_config *c, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "created", "author", "architecture", "variant", "os", "os.version",
                                         "config",  "rootfs", "history",      NULL };
    int r;
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "it is not a JSON object");
    if ((r = cb_json_check_keys(o, known, err)) < 0 || (r = get_time(o, "created", &c->created, err)) < 0 ||
        (r = get_text(o, "author", &c->author, err)) < 0 ||
        (r = cb_platform_from_json(&c->platform, o, err)) < 0 || (r = parse_run_config(c, o, err)) < 0 ||
        (r = parse_rootfs(c, o, err)) < 0)
        return r;
    return parse_history(c, o, err);
}

static int parse_body(struct cb_image_config *c, const char *body, size_t len, struct cb_error *err)
{
    if (len > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_EVERIFY, "it is larger than %u bytes", CB_MAX_MANIFEST);
    cb_autojson json_t *o = cb_json_parse(body, len, err);
    return o ? parse_top(c, o, err) : -CB_EVERIFY;
}

int cb_image_config_parse(struct cb_image_config *out, const char *body, size_t len, struct cb_error *err)
{
    cb_cleanup_image_config struct cb_image_config c = { 0 };
    int r = parse_body(&c, body, len, err);
    if (r < 0) {
        cb_error_wrap(err, "image config");
        return r;
    }
    cb_image_config_done(out);
    *out = c;
    c = (struct cb_image_config){ 0 };
    return 0;
}
