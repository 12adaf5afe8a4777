/* SPDX-License-Identifier: Apache-2.0 */
#include <unistd.h>

#include "layer/inflate.h"
#include "layer/layer.h"
#include "layer/tar.h"
#include "util/alloc.h"
#include "util/fd.h"

/* Reads by pread, so that the descriptor's offset stays where it is. */
struct peek {
    struct cb_blob_source base;
    int fd;
    uint64_t off;
};

static int peek_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct peek *p = (struct peek *)s;
    int r = cb_fd_pread_full(p->fd, buf, n, p->off, got, err);
    if (r == 0)
        p->off += *got;
    return r;
}

static void peek_close(CB_UNUSED struct cb_blob_source *s)
{
}

bool cb_layer_begins_archive(struct cb_blob_source *src)
{
    CB_AUTO(cb_inflate_free) struct cb_inflate *i = cb_inflate_new(src, true);
    uint8_t block[CB_TAR_BLOCK];
    size_t have = 0, got = 1;
    while (have < sizeof block && got) {
        if (cb_inflate_read(i, block + have, sizeof block - have, &got, NULL) < 0)
            return false;
        have += got;
    }
    return have == sizeof block && cb_tar_is_header(block);
}

int cb_layer_is_archive(int fd, struct cb_error *err)
{
    static const struct cb_blob_source_ops ops = { peek_read, peek_close };
    struct peek p = { .base = { &ops }, .fd = fd };
    const struct cb_layer_elsewhere *elsewhere = cb_layer_elsewhere();
    uint8_t block[CB_TAR_BLOCK];
    size_t n = 0;
    int r = cb_fd_pread_full(fd, block, sizeof block, 0, &n, err);
    if (r < 0)
        return r;
    if (cb_inflate_is_plain(block, n))
        return n == sizeof block && cb_tar_is_header(block);
    return elsewhere ? elsewhere->begins_archive(&p.base, err) : cb_layer_begins_archive(&p.base);
}
