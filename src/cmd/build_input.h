/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The command line of `build`: what was said (struct build_options, filled from the option table) and what it means
 * (struct cb_build_options). */

#include "cmd/build_attest.h"
#include "cmd/build_cache.h"
#include "cmd/build_compat.h"
#include "cmd/build_image.h"
#include "cmd/build_limits.h"
#include "cmd/build_result.h"
#include "cmd/build_secrets.h"
#include "cmd/release.h"
#include "cmd/session.h"

struct build_options {
    struct cb_common common;
    const char *call, *file, *target, *push, *pull, *network, *iidfile, *metadata_file;
    struct cb_strvec tags, build_args, labels, annotations, outputs, add_host, secrets, ssh, contexts, platforms;
    bool no_cache, no_stat_cache, quiet, check, explain;
    struct limit_options limits;
    struct image_options image;
    struct result_options results;
    struct release_options release;
    struct attest_options attest;
    struct compat_options compat;
    struct cache_options cache;
};
#define BUILD_OPTIONS_INIT { .common = CB_COMMON_INIT, .image = IMAGE_OPTIONS_INIT }

#define BUILD_PUSH_BESIDE_TAG "beside -t, --push takes no name: that is another -t"

/* Everything cb_build_options needs in its own types. */
struct build_input {
    struct build_options cli;
    struct cb_strvec operands, args, hosts;
    struct cb_strmap labels, contexts;
    struct cb_annotations annotations;
    struct limit_values limits;
    struct image_values image;
    struct join_values join;
    struct attest_values attest;
    struct cb_output *outputs;
    size_t n_outputs;
    struct cb_platform *platforms;
    size_t n_platforms;
    struct build_secrets secrets;
    struct cache_values cache;
    struct cb_build_options o;
};

extern const struct cb_opt build_opts[];
extern const struct cb_opt_group build_groups[];
/* What the command line says, in the types of the builder; checks what can be checked before anything is opened. */
int build_input_take(struct build_input *in, struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
void build_input_done(struct build_input *in);
/* Builds what was taken, reports, writes the files for scripts. *status as of a verb. */
int build_run(struct build_input *in, const struct cb_process *p, int *status, struct cb_error *err) CB_WUR;

/* ---- build_dest.c ---- */
/* Whether the files that are written at the end can be, as far as a look tells. -CB_EUSAGE, -CB_ELOCAL. */
int build_check_files(const struct build_input *in, struct cb_error *err) CB_WUR;

/* ---- build_context.c: all -CB_EUSAGE ---- */
/* --build-context NAME=VALUE, names as they are looked up. */
int build_take_contexts(struct build_input *in, struct cb_error *err) CB_WUR;
/* CONTEXT and -f: whether they can go together, and what is never fetched. */
int build_check_context(const struct cb_build_options *o, struct cb_error *err) CB_WUR;
