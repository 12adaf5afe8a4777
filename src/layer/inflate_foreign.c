/* SPDX-License-Identifier: Apache-2.0 */
/* bzip2 and xz, by the decoders inside libarchive. Where it was built without one it would start a program: refused. */
#include "layer/archive_lib.h"
#include "layer/inflate_priv.h"
#include "util/alloc.h"

struct foreign {
    struct cb_inflate_input *in;
    struct archive *a;
    struct cb_error input_err; /* why reading the input failed */
    bool opened;
};

static la_ssize_t on_read(CB_UNUSED struct archive *a, void *arg, const void **buf)
{
    struct foreign *f = arg;
    if (cb_inflate_fill(f->in, &f->input_err) < 0)
        return -1;
    size_t n = f->in->n;
    *buf = f->in->p;
    f->in->n = 0; /* p is good until the next fill */
    return (la_ssize_t)n;
}

static void foreign_close(void *state)
{
    struct foreign *f = state;
    archive_read_free(f->a);
    cb_error_done(&f->input_err);
    free(f);
}

static void *foreign_open(struct cb_inflate_input *in, struct cb_error *err)
{
    if (cb_archive_load(err) < 0)
        return NULL;
    struct foreign *f = CB_NEW(struct foreign);
    f->in = in;
    f->a = archive_read_new();
    if (!f->a)
        abort();
    bool bzip2 = in->n && *in->p == 'B';
    int r = bzip2 ? archive_read_support_filter_bzip2(f->a) : archive_read_support_filter_xz(f->a);
    if (r == ARCHIVE_OK && archive_read_support_format_raw(f->a) == ARCHIVE_OK &&
        archive_read_support_format_empty(f->a) == ARCHIVE_OK)
        return f;
    foreign_close(f);
    cb_error_set(err, CB_ECONF, "this build cannot read %s", bzip2 ? "bzip2" : "xz");
    return NULL;
}

static int failed(struct foreign *f, struct cb_error *err)
{
    if (f->input_err.code)
        return cb_error_move(err, &f->input_err);
    const char *why = archive_error_string(f->a);
    return cb_error_set(err, CB_EVERIFY, "%s", why ? why : "damaged archive");
}

static int foreign_read(void *state, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct foreign *f = state;
    struct archive_entry *e;
    *got = 0;
    if (!f->opened) {
        if (archive_read_open(f->a, f, NULL, on_read, NULL) != ARCHIVE_OK)
            return failed(f, err);
        f->opened = true;
        int r = archive_read_next_header(f->a, &e);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r != ARCHIVE_OK)
            return failed(f, err);
    }
    la_ssize_t r = archive_read_data(f->a, buf, n);
    if (r < 0)
        return failed(f, err);
    *got = (size_t)r;
    return 0;
}

const struct cb_inflate_engine cb_inflate_foreign = { "foreign", foreign_open, foreign_read, foreign_close };
