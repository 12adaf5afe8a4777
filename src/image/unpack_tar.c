/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"

static int unpack(struct cb_unpack *u, struct cb_layer_reader *reader, const struct cb_cancel *cancel,
                  struct cb_error *err)
{
    struct cb_layer_intake in = { .cancel = cancel };
    struct cb_unpack_marks_options mo = { .root_fd = u->o.root_fd, .single_id = true };
    int r = cb_unpack_layer(u, reader, &in, err);
    if (r == 0)
        r = cb_unpack_finish(u, err);
    if (r == 0)
        r = cb_unpack_marks_apply(&u->marks, &mo, err);
    return r < 0 ? r : cb_layer_reader_finish(reader, NULL, NULL, NULL, NULL, err);
}

int cb_image_unpack_tar(struct cb_blob_source *source, int root_fd, const struct cb_cancel *cancel,
                        struct cb_error *err)
{
    struct cb_layer_read_options ro = { .source = source, .raw_tar_ok = true, .cancel = cancel };
    struct cb_unpack_options uo = { .root_fd = root_fd, .flat = true, .single_id = true, .clamp_mtime = INT64_MAX };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    if (!reader)
        return -CB_EVERIFY;
    struct cb_unpack u cb_cleanup_unpack = { .at_fd = -1, .at = CB_STRBUF_INIT, .at_real = CB_STRBUF_INIT };
    int r = cb_unpack_init(&u, &uo, err);
    return r < 0 ? r : unpack(&u, reader, cancel, err);
}
