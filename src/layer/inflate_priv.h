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
    unsigned threads;  /* that may inflate what is not needed yet; 0: none */
    uint64_t ahead;    /* bytes that they made and that were read */
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

/* inflate_members.c: members of gzip that were inflated before it was their turn. From the end of the first one on. */
struct cb_members;
struct cb_members *cb_members_new(struct cb_inflate_input *in); /* borrowed */
void cb_members_free(struct cb_members *m);
/* Where a member begins: up to n bytes, or 0 where the next one has to be read from rest. */
int cb_members_read(struct cb_members *m, void *buf, size_t n, size_t *got, struct cb_error *err) CB_WUR;
struct cb_inflate_input *cb_members_rest(struct cb_members *m);
