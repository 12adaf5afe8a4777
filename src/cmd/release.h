/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Options of `build` and `push` about the tags that they move, and the receipt of it, which `rollback` reads. */

#include "build/build.h"
#include "cmd/opt.h"

struct release_options {
    bool immutable;
    struct cb_strvec expect_old;
    const char *receipt, *join;
    struct cb_strvec expect;
};
extern const struct cb_opt release_opts[];
#define CB_OPT_GROUP_RELEASE(offset) { "tags that are pushed", release_opts, offset }
/* Those of `build` alone. */
extern const struct cb_opt join_opts[];
struct join_values {
    struct cb_join join;
    struct cb_platform *expect;
};
/* *out NULL where nothing is joined. -CB_EUSAGE. values outlives it; join_values_done. */
int join_options_take(const struct release_options *o, struct join_values *values, const struct cb_join **out,
                      struct cb_error *err) CB_WUR;
void join_values_done(struct join_values *v);
void release_options_done(struct release_options *o);
struct cb_release_policy release_policy(const struct release_options *o); /* borrows */

/* JSON: {"version": 1, "created": RFC 3339, "complete": bool, "digest": D, "tags": [{"name": "HOST/REPO:TAG",
 * "old": D or null, "new": D, "moved": bool}]}. After a failure (not complete) only tags that stay moved are in it, and
 * without any nothing is written. */
int receipt_write(const char *path, const struct cb_build_result *res, bool complete, struct cb_error *err) CB_WUR;
/* The tags of it that were moved. -CB_ECONF names the file and what is wrong. *v is owned; receipt_free. */
int receipt_read(const char *path, const struct cb_cancel *cancel, struct cb_rollback **v, size_t *n,
                 struct cb_error *err) CB_WUR;
void receipt_free(struct cb_rollback *v, size_t n);
