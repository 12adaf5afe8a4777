/* SPDX-License-Identifier: Apache-2.0 */
#include "image/private.h"

int cb_export_oci_tar(const struct cb_export_options *o, int fd, struct cb_error *err)
{
    struct cb_tar_out t cb_cleanup_tar_out = { 0 };
    struct cb_strbuf index cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_export_index(&index, o, NULL);
    int r = cb_tar_out_open(&t, fd, o, err);
    if (r == 0 && (r = cb_export_blobs(&t, o, err)) == 0 &&
        (r = cb_tar_out_text(&t, "index.json", (struct cb_slice){ index.buf, index.len }, err)) == 0 &&
        (r = cb_tar_out_text(&t, "oci-layout", CB_SLICE(CB_OCI_LAYOUT), err)) == 0)
        r = cb_tar_out_finish(&t, err);
    if (r < 0)
        cb_error_wrap(err, "export as OCI archive");
    return r;
}

/* ---- into a directory ---- */

static int put_blobs(const struct cb_export_options *o, const struct cb_layout_out *l, struct cb_error *err)
{
    struct cb_export_list list;
    int r = 0;
    cb_export_list(o, &list);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        cb_autosource struct cb_blob_source *src = NULL;
        if (cb_layout_out_has(l, &list.v[i]))
            continue;
        cb_export_tell(o, &list.v[i], false);
        r = cb_store_blob_source(o->store, &list.v[i].digest, &src, err);
        if (r == 0)
            r = cb_layout_out_blob(l, &list.v[i], src, o->cancel, err);
        if (r == 0)
            cb_export_tell(o, &list.v[i], true);
    }
    free(list.v);
    return r;
}

static void print_index(void *arg, const struct cb_index *onto, struct cb_strbuf *out)
{
    cb_export_index(out, arg, onto);
}

int cb_export_oci_dir(const struct cb_export_options *o, const char *path, struct cb_error *err)
{
    struct cb_layout_out l cb_cleanup_layout_out = CB_LAYOUT_OUT_INIT;
    struct cb_layout_index index = { print_index, (void *)(uintptr_t)o };
    int r = cb_layout_out_open(&l, path, err);
    /* Blobs come before the index that refers to them. */
    if (r == 0 && (r = put_blobs(o, &l, err)) == 0)
        r = cb_layout_out_index(&l, &index, err);
    if (r < 0)
        cb_error_wrap(err, "export to the OCI layout %s", path);
    return r;
}
