/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The caches of --cache-from. */

#include "build/build.h"

/* Records older than that do not count: --cache-ttl. INT64_MIN: all do. */
int64_t cb_build_cache_limit(const struct cb_build_options *o);

struct cb_cache_in;
struct cb_cache_hit {
    const struct cb_cache_set *set;
    const struct cb_cache_step *step;
    struct cb_cache_place *place;
};
/* run: name of the run index of a cache that names none. *out NULL: there are no caches. */
int cb_cache_in_open(const struct cb_build_env *env, const struct cb_build_options *o, const char *run,
                     struct cb_cache_in **out, struct cb_error *err) CB_WUR;
void cb_cache_in_free(struct cb_cache_in *in);
CB_DEFINE_CLEANUP(struct cb_cache_in *, cb_cache_in_free)
/* Asks all of them, the next one for what those before do not have. */
void cb_cache_in_fetch(struct cb_cache_in *in, const struct cb_digest *keys, size_t n);
bool cb_cache_in_find(struct cb_cache_in *in, const struct cb_digest *key, struct cb_cache_hit *out);
/* Of what was read: a record of a step that got the same. Its last layer is the step's own, if it added one. */
bool cb_cache_in_find_content(struct cb_cache_in *in, const struct cb_digest *content, struct cb_cache_hit *out);
bool cb_cache_in_has_content(struct cb_cache_in *in, const char *note); /* of any step of this note */
/* Of what was read: a layer of a record that has its table, and the cache that tells of it; or NULL. */
const struct cb_cache_layer *cb_cache_in_table(struct cb_cache_in *in, const struct cb_digest *diff_id,
                                               struct cb_cache_place **place);
/* Asks the place for a record that it had not; whether it has it now, or any has (place NULL). From any thread. */
bool cb_cache_in_again(struct cb_cache_in *in, const struct cb_cache_place *place, const struct cb_digest *key);
/* Whether it is one of them, and has answered so far. in may be NULL. */
bool cb_cache_in_reads(const struct cb_cache_in *in, const struct cb_cache_place *place);
/* What a place that is also written to has of this key, as far as it was read. in may be NULL. */
enum cb_cache_state cb_cache_in_state(struct cb_cache_in *in, const struct cb_cache_place *place,
                                      const struct cb_digest *key);
/* The name of the run index of a build whose cache names none: the same for the next build of the same image. */
char *cb_cache_run_name(const struct cb_build_options *o, const struct cb_reference *first_tag);
