/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/config.h"
#include "oci/json.h"

static void put_text(json_t *o, const char *key, const char *s)
{
    cb_json_put_string(o, key, s && *s ? s : NULL);
}

static void put_list(json_t *o, const char *key, const struct cb_strvec *list)
{
    if (list->n)
        cb_json_put(o, key, cb_json_from_strvec(list));
}

/* Set and empty is not the same as absent: it takes away what a parent or the shell would give. */
static void put_args(json_t *o, const char *key, const struct cb_arglist *a)
{
    if (a->set)
        cb_json_put(o, key, cb_json_from_strvec(&a->args));
}

static void put_set(json_t *o, const char *key, const struct cb_strvec *names)
{
    if (!names->n)
        return;
    cb_cleanup_strvec struct cb_strvec sorted = CB_STRVEC_INIT;
    cb_strvec_copy(&sorted, names);
    cb_strvec_sort(&sorted);
    json_t *m = json_object();
    for (size_t i = 0; i < sorted.n; i++)
        cb_json_put(m, sorted.v[i], json_object());
    cb_json_put(o, key, m);
}

static void put_number(json_t *o, const char *key, int64_t v)
{
    if (v)
        cb_json_put(o, key, json_integer(v));
}

static json_t *healthcheck_json(const struct cb_healthcheck *h)
{
    json_t *o = json_object();
    put_list(o, "Test", &h->test);
    put_number(o, "Interval", h->interval);
    put_number(o, "Timeout", h->timeout);
    put_number(o, "StartPeriod", h->start_period);
    put_number(o, "StartInterval", h->start_interval);
    put_number(o, "Retries", (int64_t)h->retries);
    return o;
}

static json_t *run_config_json(const struct cb_image_config *c)
{
    json_t *o = json_object();
    put_text(o, "User", c->user);
    put_set(o, "ExposedPorts", &c->exposed_ports);
    put_list(o, "Env", &c->env);
    put_args(o, "Entrypoint", &c->entrypoint);
    put_args(o, "Cmd", &c->cmd);
    put_set(o, "Volumes", &c->volumes);
    put_text(o, "WorkingDir", c->working_dir);
    if (c->labels.n)
        cb_json_put(o, "Labels", cb_json_from_strmap(&c->labels));
    put_text(o, "StopSignal", c->stop_signal);
    if (c->args_escaped)
        cb_json_put(o, "ArgsEscaped", json_true());
    if (c->healthcheck)
        cb_json_put(o, "Healthcheck", healthcheck_json(c->healthcheck));
    put_list(o, "OnBuild", &c->on_build);
    put_args(o, "Shell", &c->shell);
    return o;
}

static json_t *rootfs_json(const struct cb_image_config *c)
{
    char text[CB_DIGEST_TEXT_MAX];
    json_t *o = json_object(), *ids = json_array();
    cb_json_put_string(o, "type", "layers");
    for (size_t i = 0; i < c->n_diff_ids; i++)
        if (json_array_append_new(ids, cb_json_string(cb_digest_text(&c->diff_ids[i], text))) < 0)
            abort();
    cb_json_put(o, "diff_ids", ids);
    return o;
}

static json_t *history_json(const struct cb_history *h)
{
    json_t *o = json_object();
    put_text(o, "created", h->created);
    put_text(o, "created_by", h->created_by);
    put_text(o, "author", h->author);
    put_text(o, "comment", h->comment);
    if (h->empty_layer)
        cb_json_put(o, "empty_layer", json_true());
    return o;
}

void cb_image_config_print(struct cb_strbuf *out, const struct cb_image_config *c)
{
    cb_autojson json_t *o = json_object();
    put_text(o, "created", c->created);
    put_text(o, "author", c->author);
    cb_json_put_string(o, "architecture", c->platform.arch ? c->platform.arch : "");
    put_text(o, "variant", c->platform.variant);
    cb_json_put_string(o, "os", c->platform.os ? c->platform.os : "");
    put_text(o, "os.version", c->platform.os_version);
    cb_json_put(o, "config", run_config_json(c));
    cb_json_put(o, "rootfs", rootfs_json(c));
    if (c->n_history) {
        json_t *a = json_array();
        for (size_t i = 0; i < c->n_history; i++)
            if (json_array_append_new(a, history_json(&c->history[i])) < 0)
                abort();
        cb_json_put(o, "history", a);
    }
    json_t *cache = c->cache ? cb_json_parse(c->cache, strlen(c->cache), NULL) : NULL;
    if (cache)
        cb_json_put(o, CB_CONFIG_CACHE, cache);
    cb_json_print(out, o);
}
