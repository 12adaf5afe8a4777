/* SPDX-License-Identifier: Apache-2.0 */
/* The tables of contents that an image's manifest pins (doc/toc.md) come along. The annotations name them, so nobody
 * looks for the artifact that keeps them: it is made anew, which makes the same one. A layout gets the tables alone,
 * since tools that look for the only image in it would find two. A table that is not there is left out: who builds
 * there reads the layer. */
#include "copy/private.h"
#include "util/alloc.h"

static void each_table(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_node *n)
{
    struct cb_descriptor config cb_cleanup_descriptor = { 0 };
    bool any = false;
    for (size_t i = 0; i < n->manifest.n_layers; i++) {
        const struct cb_strmap *annotations = &n->manifest.layers[i].annotations;
        struct cb_toc_pin pin;
        if (!cb_toc_pin_read(&pin, annotations) || cb_toc_pin_has_data(&pin, annotations))
            continue;
        struct cb_descriptor d = { .media_type = (char *)(uintptr_t) CB_MT_TOC, .digest = pin.digest,
                                   .size = pin.size };
        to->ops->extra(to, from, &d, NULL);
        any = true;
    }
    if (!any || !to->ops->beside)
        return;
    cb_descriptor_of(&config, CB_MT_OCI_EMPTY, cb_image_tables_config, strlen(cb_image_tables_config));
    to->ops->extra(to, from, &config, cb_image_tables_config);
}

void copy_tables_begin(struct cb_copy_source *from, struct cb_copy_target *to, const struct copy_tree *tree)
{
    for (size_t i = 0; to->ops->extra && i < tree->n; i++)
        if (!tree->v[i]->is_index)
            each_table(from, to, tree->v[i]);
}

static bool arrived(void *arg, const struct cb_toc_pin *pin)
{
    struct cb_copy_target *to = arg;
    return to->ops->wait_blob(to, &pin->digest, NULL) == 0;
}

static void keep(struct cb_copy_target *to, const struct copy_node *n, const struct cb_strvec *done)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_image_tables t = { &n->desc, &n->manifest, arrived, to };
    char text[CB_DIGEST_TEXT_MAX];
    if (!cb_image_tables_artifact(&t, &desc, &body) || !to->ops->beside)
        return;
    if (cb_strvec_has(done, cb_digest_text(&desc.digest, text)))
        return; /* as a referrer */
    struct cb_digest nothing;
    cb_digest_of(&nothing, cb_image_tables_config, strlen(cb_image_tables_config));
    int r = to->ops->wait_blob(to, &nothing, &e);
    if (r == 0)
        r = to->ops->beside(to, &desc, (struct cb_slice){ body.buf, body.len }, &e);
    if (r < 0)
        cb_step_logf(to->env->step, "the tables of contents are not kept: %s", cb_error_text(&e));
}

void copy_tables_end(struct cb_copy_target *to, const struct copy_tree *tree, const struct cb_strvec *done)
{
    for (size_t i = 0; to->ops->extra && i < tree->n; i++)
        if (!tree->v[i]->is_index)
            keep(to, tree->v[i], done);
}
