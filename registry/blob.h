/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How a blob is read: blob.c in one stream, ranges.c in several at once. */

#include <stdatomic.h>

#include "registry/private.h"

/* The bytes of one blob, or of a part of it. A broken connection is resumed where it broke; where that cannot be, the
 * next place goes on: the digest at the end is for the whole. Behind the endpoints stand foreign URLs, where the user
 * allowed them. */
struct remote {
    struct cb_blob_source base;
    struct cb_registry *r;
    struct reg_endpoints all;
    size_t at, n_urls;
    struct cb_descriptor desc;
    struct cb_http_reply *reply;
    uint64_t offset, end; /* the next byte; behind the last one of the part, 0: of the blob */
    uint64_t skip, resumed_at;
    unsigned resumes;
    bool no_range;
    char *coding; /* Content-Encoding of what came last, or NULL */
    bool whole; /* the reply is of all of the blob, whatever was asked for */
    const atomic_bool *stop; /* or NULL: nobody wants it any more, so it is not resumed */
    struct reg_failures failures;
};
/* Connected. *out is closed by its ops. */
int reg_remote_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                    struct remote **out, struct cb_error *err) CB_WUR;
/* What is read next is this part. */
void reg_remote_part(struct remote *x, uint64_t from, uint64_t end);
bool reg_remote_ranges(const struct remote *x); /* who answers now says that it knows ranges */

/* ---- ranges.c ---- */
#define REG_RANGES_FROM (UINT64_C(64) << 20)
/* In several ranges at a time where that proves faster, else in one stream; not verified. */
int reg_ranges_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                    struct cb_blob_source **out, struct cb_error *err) CB_WUR;
