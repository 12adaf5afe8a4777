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
    const struct cb_cancel *cancel; /* or NULL */
    bool once; /* until it is open: what fails is not tried again */
    size_t at, n_urls;
    struct cb_descriptor desc;
    struct cb_http_reply *reply;
    uint64_t offset, end; /* the next byte; behind the last one of the part, 0: of the blob */
    uint64_t skip, resumed_at;
    unsigned resumes;
    bool no_range;
    char *coding; /* Content-Encoding of what came last, or NULL */
    bool whole; /* the reply is of all of the blob, whatever was asked for */
    uint64_t gave; /* the places of `all` that bytes came from, a bit each */
    bool gave_foreign;
    const atomic_bool *stop; /* or NULL: nobody wants it any more, so it is not resumed */
    struct reg_failures failures;
};
/* Connected. *out is closed by its ops. */
int reg_remote_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                    struct remote **out, struct cb_error *err) CB_WUR;
/* What is read next is this part. */
void reg_remote_part(struct remote *x, uint64_t from, uint64_t end);
bool reg_remote_ranges(const struct remote *x); /* who answers now says that it knows ranges */

/* ---- doubt.c: who gave bytes, and what becomes of them where these are wrong ---- */
struct reg_givers {
    struct reg_endpoints places; /* in the order in which they were asked */
    bool foreign;
    char *coding; /* Content-Encoding of what came, or NULL */
};
void reg_givers_add(struct reg_givers *g, const struct remote *x);
void reg_givers_done(struct reg_givers *g);
struct reg_judged_source {
    struct cb_blob_source *source; /* taken */
    void (*givers)(const struct cb_blob_source *source, struct reg_givers *out);
};
/* Verifies what it reads; wrong bytes are put down to a place that gave some, and the error names all of them. */
struct cb_blob_source *reg_judged(struct cb_registry *r, const struct cb_descriptor *d,
                                  const struct reg_judged_source *inner);

/* ---- ranges.c ---- */
#define REG_RANGES_FROM (UINT64_C(64) << 20)
/* In several ranges at a time where that proves faster, else in one stream. */
int reg_ranges_open(struct cb_registry *r, const struct reg_blob_place *at, const struct cb_descriptor *desc,
                    struct cb_blob_source **out, struct cb_error *err) CB_WUR;
