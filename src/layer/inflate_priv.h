/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One decoder: an engine over the window of input that inflate.c keeps filled. */

#include "layer/inflate.h"

struct cb_inflate_input {
    struct cb_blob_source *src;
    const uint8_t *p;  /* next byte */
    size_t n;          /* bytes at p */
    bool ended;        /* src has no more behind them */
    uint8_t *buf;
};
/* More bytes where there are none; n stays 0 at the end. */
int cb_inflate_fill(struct cb_inflate_input *in, struct cb_error *err) CB_WUR;

struct cb_inflate_engine {
    const char *name;
    void *(*open)(struct cb_inflate_input *in, struct cb_error *err); /* NULL and err */
    int (*read)(void *engine, void *buf, size_t n, size_t *got, struct cb_error *err);
    void (*close)(void *engine);
};
extern const struct cb_inflate_engine cb_inflate_plain, cb_inflate_gzip, cb_inflate_zstd, cb_inflate_foreign;
