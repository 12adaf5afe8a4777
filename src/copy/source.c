/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"

int cb_copy_source_open(const struct cb_copy_env *env, const struct cb_place *from, struct cb_copy_source **out,
                        struct cb_error *err)
{
    static int (*const open[])(const struct cb_copy_env *, const struct cb_place *, struct cb_copy_source **,
                               struct cb_error *) = {
        [CB_AT_REGISTRY] = copy_source_registry,      [CB_AT_OCI_DIR] = copy_source_layout,
        [CB_AT_OCI_ARCHIVE] = copy_source_layout,     [CB_AT_DOCKER_ARCHIVE] = copy_source_docker,
        [CB_AT_STORE] = copy_source_store,            [CB_AT_DIR] = copy_source_dir,
    };
    return open[from->transport](env, from, out, err);
}

void cb_copy_source_close(struct cb_copy_source *s)
{
    if (s)
        s->ops->close(s);
}

int cb_copy_source_tags(struct cb_copy_source *s, struct cb_strvec *out, struct cb_error *err)
{
    if (!s->ops->tags)
        return cb_error_set(err, CB_EUSAGE, "%s has no list of tags: copy one image", s->place->text);
    return s->ops->tags(s, out, err);
}
