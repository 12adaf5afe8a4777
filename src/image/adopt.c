/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"

static int adopt_image(struct cb_importer *m, const struct cb_image *i, struct cb_error *err)
{
    int r = 0;
    for (size_t k = 0; r == 0 && k < i->manifest.n_layers; k++)
        r = cb_import_layer(m, &i->manifest.layers[k], &i->config.diff_ids[k], err);
    return r;
}

int cb_image_adopt(struct cb_store *s, const struct cb_descriptor *desc, struct cb_error *err)
{
    struct cb_image_tree tree cb_cleanup_image_tree = { 0 };
    struct cb_importer m = { .store = s, .dirfd = -1 };
    int r = cb_image_tree_load(s, desc, &tree, err);
    for (size_t i = 0; r == 0 && i < tree.n; i++)
        if (tree.v[i].is_image)
            r = adopt_image(&m, &tree.v[i].image, err);
    return r;
}
