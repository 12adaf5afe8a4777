/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/config.h"

#include "util/alloc.h"

static void history_done(struct cb_history *h)
{
    free(h->created);
    free(h->created_by);
    free(h->author);
    free(h->comment);
}

void cb_healthcheck_free(struct cb_healthcheck *h)
{
    if (!h)
        return;
    cb_strvec_done(&h->test);
    free(h);
}

struct cb_healthcheck *cb_healthcheck_copy(const struct cb_healthcheck *h)
{
    if (!h)
        return NULL;
    struct cb_healthcheck *copy = CB_NEW(struct cb_healthcheck);
    *copy = *h;
    copy->test = (struct cb_strvec)CB_STRVEC_INIT;
    cb_strvec_copy(&copy->test, &h->test);
    return copy;
}

void cb_arglist_clear(struct cb_arglist *a)
{
    cb_strvec_done(&a->args);
    a->set = false;
}

void cb_arglist_set(struct cb_arglist *a, const struct cb_strvec *args)
{
    cb_strvec_copy(&a->args, args);
    a->set = true;
}

static void arglist_copy(struct cb_arglist *dst, const struct cb_arglist *src)
{
    cb_strvec_copy(&dst->args, &src->args);
    dst->set = src->set;
}

void cb_image_config_done(struct cb_image_config *c)
{
    free(c->created);
    free(c->author);
    cb_platform_done(&c->platform);
    free(c->user);
    free(c->working_dir);
    free(c->stop_signal);
    cb_strvec_done(&c->env);
    cb_arglist_clear(&c->entrypoint);
    cb_arglist_clear(&c->cmd);
    cb_arglist_clear(&c->shell);
    cb_strvec_done(&c->exposed_ports);
    cb_strvec_done(&c->volumes);
    cb_strmap_done(&c->labels);
    cb_strvec_done(&c->on_build);
    cb_healthcheck_free(c->healthcheck);
    free(c->diff_ids);
    for (size_t i = 0; i < c->n_history; i++)
        history_done(&c->history[i]);
    free(c->history);
    free(c->cache);
    *c = (struct cb_image_config){ 0 };
}

void cb_image_config_copy(struct cb_image_config *dst, const struct cb_image_config *src)
{
    if (dst == src)
        return;
    cb_image_config_done(dst);
    dst->created = cb_strdup_or_null(src->created);
    dst->author = cb_strdup_or_null(src->author);
    cb_platform_copy(&dst->platform, &src->platform);
    dst->user = cb_strdup_or_null(src->user);
    dst->working_dir = cb_strdup_or_null(src->working_dir);
    dst->stop_signal = cb_strdup_or_null(src->stop_signal);
    cb_strvec_copy(&dst->env, &src->env);
    arglist_copy(&dst->entrypoint, &src->entrypoint);
    arglist_copy(&dst->cmd, &src->cmd);
    arglist_copy(&dst->shell, &src->shell);
    cb_strvec_copy(&dst->exposed_ports, &src->exposed_ports);
    cb_strvec_copy(&dst->volumes, &src->volumes);
    cb_strmap_copy(&dst->labels, &src->labels);
    cb_strvec_copy(&dst->on_build, &src->on_build);
    dst->healthcheck = cb_healthcheck_copy(src->healthcheck);
    dst->args_escaped = src->args_escaped;
    for (size_t i = 0; i < src->n_diff_ids; i++)
        cb_image_config_add_diff_id(dst, &src->diff_ids[i]);
    for (size_t i = 0; i < src->n_history; i++)
        cb_image_config_add_history(dst, &src->history[i]);
}

void cb_image_config_add_diff_id(struct cb_image_config *c, const struct cb_digest *diff_id)
{
    struct cb_digest d = *diff_id; /* which may be one of ours */
    c->diff_ids = cb_reallocarray(c->diff_ids, c->n_diff_ids + 1, sizeof *c->diff_ids);
    c->diff_ids[c->n_diff_ids++] = d;
}

void cb_image_config_add_history(struct cb_image_config *c, const struct cb_history *h)
{
    struct cb_history copy = {
        .created = cb_strdup_or_null(h->created),
        .created_by = cb_strdup_or_null(h->created_by),
        .author = cb_strdup_or_null(h->author),
        .comment = cb_strdup_or_null(h->comment),
        .empty_layer = h->empty_layer,
    };
    c->history = cb_reallocarray(c->history, c->n_history + 1, sizeof *c->history);
    c->history[c->n_history++] = copy;
}

static size_t told_layers(const struct cb_image_config *c)
{
    size_t filled = 0;
    for (size_t i = 0; i < c->n_history; i++)
        filled += !c->history[i].empty_layer;
    return filled;
}

size_t cb_image_config_untold(const struct cb_image_config *c)
{
    return c->n_diff_ids - CB_MIN(told_layers(c), c->n_diff_ids);
}

int cb_image_config_check(const struct cb_image_config *c, size_t n_layers, struct cb_error *err)
{
    if (c->n_diff_ids != n_layers)
        return cb_error_set(err, CB_EVERIFY, "image config: %zu diff_ids, but the manifest has %zu layers",
                            c->n_diff_ids, n_layers);
    size_t filled = told_layers(c);
    if (filled > n_layers)
        return cb_error_set(err, CB_EVERIFY, "image config: the history tells of %zu layers, but there are %zu", filled,
                            n_layers);
    return 0;
}
