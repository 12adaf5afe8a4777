/* SPDX-License-Identifier: Apache-2.0 */
/* An image configuration is changed as JSON: what is not named here stays, known to us or not. */
#include "edit/private.h"
#include "util/alloc.h"
#include "util/encode.h"

void cb_edit_config_done(struct cb_edit_config *c)
{
    cb_strvec_done(&c->env);
    cb_strvec_done(&c->unset_env);
    cb_strmap_done(&c->labels);
    cb_strvec_done(&c->unset_labels);
    cb_strvec_done(&c->add_ports);
}

bool cb_edit_config_is_empty(const struct cb_edit_config *c)
{
    return !c->env.n && !c->unset_env.n && !c->labels.n && !c->unset_labels.n && !c->add_ports.n && !c->entrypoint &&
           !c->cmd && !c->user && !c->workdir && !c->stop_signal && !c->platform;
}

/* ---- members ---- */

/* The member of that type, made where it is absent or null. NULL and err where it is something else. */
static json_t *member(json_t *o, const char *key, json_type type, struct cb_error *err)
{
    json_t *v = json_object_get(o, key);
    if (v && json_typeof(v) == type)
        return v;
    if (v && !json_is_null(v)) {
        cb_error_set(err, CB_EVERIFY, "the configuration's \"%s\" is not what it should be", key);
        return NULL;
    }
    cb_json_put(o, key, type == JSON_OBJECT ? json_object() : json_array());
    return json_object_get(o, key);
}

static void set_text(json_t *o, const char *key, const char *value)
{
    if (value && *value)
        cb_json_put(o, key, cb_json_string(value));
    else if (value)
        json_object_del(o, key);
}

static void set_list(json_t *o, const char *key, const struct cb_arglist *a)
{
    if (a && a->set && a->args.n)
        cb_json_put(o, key, cb_json_from_strvec(&a->args));
    else if (a)
        json_object_del(o, key);
}

/* ---- the environment ---- */

static size_t find_variable(const json_t *env, const char *key, size_t len)
{
    size_t i;
    json_t *v;
    json_array_foreach(env, i, v) {
        const char *s = json_string_value(v);
        if (s && strncmp(s, key, len) == 0 && s[len] == '=')
            return i;
    }
    return SIZE_MAX;
}

static int apply_env(const struct cb_edit_config *c, json_t *config, struct cb_error *err)
{
    if (!c->env.n && !c->unset_env.n)
        return 0;
    json_t *env = member(config, "Env", JSON_ARRAY, err);
    if (!env)
        return -CB_EVERIFY;
    for (size_t i = 0; i < c->unset_env.n; i++) {
        size_t at = find_variable(env, c->unset_env.v[i], strlen(c->unset_env.v[i]));
        if (at != SIZE_MAX)
            json_array_remove(env, at);
    }
    for (size_t i = 0; i < c->env.n; i++) {
        const char *text = c->env.v[i];
        size_t at = find_variable(env, text, strcspn(text, "="));
        if (at != SIZE_MAX)
            json_array_set_new(env, at, cb_json_string(text));
        else
            json_array_append_new(env, cb_json_string(text));
    }
    if (json_array_size(env) == 0)
        json_object_del(config, "Env");
    return 0;
}

static int apply_labels(const struct cb_edit_config *c, json_t *config, struct cb_error *err)
{
    if (!c->labels.n && !c->unset_labels.n)
        return 0;
    json_t *labels = member(config, "Labels", JSON_OBJECT, err);
    if (!labels)
        return -CB_EVERIFY;
    for (size_t i = 0; i < c->unset_labels.n; i++)
        json_object_del(labels, c->unset_labels.v[i]);
    for (size_t i = 0; i < c->labels.n; i++)
        cb_json_put(labels, c->labels.v[i].key, cb_json_string(c->labels.v[i].value));
    if (json_object_size(labels) == 0)
        json_object_del(config, "Labels");
    return 0;
}

static int apply_ports(const struct cb_edit_config *c, json_t *config, struct cb_error *err)
{
    json_t *ports = c->add_ports.n ? member(config, "ExposedPorts", JSON_OBJECT, err) : NULL;
    if (c->add_ports.n && !ports)
        return -CB_EVERIFY;
    for (size_t i = 0; i < c->add_ports.n; i++)
        if (!json_object_get(ports, c->add_ports.v[i]))
            cb_json_put(ports, c->add_ports.v[i], json_object());
    return 0;
}

static void apply_platform(const struct cb_platform *p, json_t *o)
{
    if (!p)
        return;
    set_text(o, "architecture", p->arch ? p->arch : "");
    set_text(o, "os", p->os ? p->os : "");
    set_text(o, "variant", p->variant ? p->variant : "");
    set_text(o, "os.version", p->os_version ? p->os_version : "");
}

static int check_workdir(const struct cb_edit_config *c, const json_t *o, struct cb_error *err)
{
    const char *os = json_string_value(json_object_get(o, "os"));
    if (!c->workdir || !*c->workdir || *c->workdir == '/' || cb_streq(os, "windows"))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "the working directory \"%s\" is not absolute: write /%s", c->workdir,
                        c->workdir);
}

/* What runs is what was asked for: a CMD that was meant for another entrypoint goes, as with Docker and crane. */
static void apply_command(const struct cb_edit_config *c, json_t *config)
{
    if (c->entrypoint)
        json_object_del(config, "Cmd");
    set_list(config, "Entrypoint", c->entrypoint);
    set_list(config, "Cmd", c->cmd);
}

int cb_edit_config_apply(const struct cb_edit_config *c, json_t *o, struct cb_error *err)
{
    json_t *config = json_is_object(o) ? member(o, "config", JSON_OBJECT, err) : NULL;
    if (!config)
        return cb_error_set(err, CB_EVERIFY, "the image configuration is no object with an object \"config\"");
    int r = check_workdir(c, o, err);
    if (r < 0 || (r = apply_env(c, config, err)) < 0 || (r = apply_labels(c, config, err)) < 0 ||
        (r = apply_ports(c, config, err)) < 0)
        return r;
    apply_command(c, config);
    set_text(config, "User", c->user);
    set_text(config, "WorkingDir", c->workdir);
    set_text(config, "StopSignal", c->stop_signal);
    apply_platform(c->platform, o);
    if (c->created)
        cb_json_put(o, "created", cb_json_string(c->created));
    return 0;
}

void cb_edit_history_add(json_t *o, const char *created, const char *created_by, const char *comment)
{
    json_t *history = json_object_get(o, "history");
    json_t *h = json_object();
    if (!json_is_array(history)) {
        cb_json_put(o, "history", json_array());
        history = json_object_get(o, "history");
    }
    cb_json_put_string(h, "created", created);
    cb_json_put_string(h, "created_by", created_by);
    cb_json_put_string(h, "comment", comment);
    json_array_append_new(history, h);
}

/* ---- ports ---- */

int cb_edit_ports_parse(struct cb_strvec *out, const char *text, struct cb_error *err)
{
    size_t n = strcspn(text, "/");
    const char *protocol = text[n] ? text + n + 1 : "tcp";
    cb_autofree char *range = cb_strndup(text, n);
    char *dash = strchr(range, '-');
    uint64_t first, last;
    if (dash)
        *dash = '\0';
    bool ok = cb_parse_u64(range, 65535, &first) && cb_parse_u64(dash ? dash + 1 : range, 65535, &last) &&
              first > 0 && first <= last &&
              (!strcmp(protocol, "tcp") || !strcmp(protocol, "udp") || !strcmp(protocol, "sctp"));
    if (!ok)
        return cb_error_set(err, CB_EUSAGE, "\"%s\" is no port: write 80, 53/udp or 8000-8002/tcp", text);
    for (; first <= last; first++)
        cb_strvec_pushf(out, "%u/%s", (unsigned)first, protocol);
    return 0;
}
