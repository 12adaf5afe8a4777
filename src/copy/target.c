/* SPDX-License-Identifier: Apache-2.0 */
#include "copy/private.h"

int cb_copy_target_open(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                        struct cb_copy_target **out, struct cb_error *err)
{
    static int (*const open[])(const struct cb_copy_env *, const struct cb_copy_target_options *,
                               struct cb_copy_target **, struct cb_error *) = {
        [CB_AT_REGISTRY] = copy_target_registry,      [CB_AT_OCI_DIR] = copy_target_layout,
        [CB_AT_OCI_ARCHIVE] = copy_target_archive,    [CB_AT_DOCKER_ARCHIVE] = copy_target_archive,
        [CB_AT_STORE] = copy_target_store,            [CB_AT_DIR] = copy_target_dir,
    };
    if (o->to->transport != CB_AT_REGISTRY && cb_digest_is_set(&o->to->digest))
        return cb_error_set(err, CB_EUSAGE, "%s: a target is named by a tag, not by a digest", o->to->text);
    return open[o->to->transport](env, o, out, err);
}

int cb_copy_target_finish(struct cb_copy_target *t, struct cb_error *err)
{
    return t->ops->finish ? t->ops->finish(t, err) : 0;
}

void cb_copy_target_close(struct cb_copy_target *t)
{
    if (t)
        t->ops->close(t);
}

int cb_copy_target_head(struct cb_copy_target *t, const char *tag, struct cb_descriptor *out, struct cb_error *err)
{
    return t->ops->head(t, tag, out, err);
}

void cb_copy_target_survey(struct cb_copy_target *t)
{
    if (t->ops->survey)
        t->ops->survey(t);
}

bool cb_copy_target_is_bare(struct cb_copy_target *t)
{
    return t->ops->bare && t->ops->bare(t);
}

size_t cb_copy_target_blobs(struct cb_copy_target *t, const struct cb_push_result **out)
{
    return t->ops->blobs(t, out);
}
