/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"

int cb_image_unpack_tar(struct cb_blob_source *source, int root_fd, const struct cb_cancel *cancel,
                        struct cb_error *err)
{
    struct cb_unpack_job j = { .source = source, .root_fd = root_fd, .raw = true, .single_id = true, .cancel = cancel };
    struct cb_unpack_marks_options mo = { .root_fd = root_fd, .single_id = true };
    struct cb_unpack_result res CB_CLEANUP(cb_unpack_result_done) = { 0 };
    int r = cb_unpack_run(&j, &res, err);
    return r < 0 ? r : cb_unpack_marks_apply(&res.marks, &mo, err);
}
