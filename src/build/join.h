/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Platforms that are built on different machines become one index (--join). Each machine pushes its image under a
 * meeting tag of its own; the one that finds those of all platforms makes the index, moves the tags and takes the
 * meeting tags away. Two that find it at once make the same index. */

#include "build/build.h"

/* A repository's tags, and where its machines meet. */
struct cb_join_place {
    const struct cb_reference **tags; /* that move in the end; borrowed */
    size_t n;
    struct cb_reference meeting;      /* of our own platform */
    char *key;                        /* of ID and tags: lower-case hex */
};
struct cb_join_places {
    struct cb_join_place *v;
    size_t n;
};
void cb_join_places_done(struct cb_join_places *p);
/* -CB_EUSAGE where the platform that is built is none of those expected. */
int cb_join_places_make(struct cb_join_places *out, const struct cb_join *join, const struct cb_platform *own,
                        const struct cb_reference *tags, size_t n_tags, struct cb_error *err) CB_WUR;

struct cb_join_work {
    const struct cb_build_env *env;
    const struct cb_join *join;
    const struct cb_release_policy *policy;
    const struct cb_platform *own;
    const struct cb_descriptor *desc;      /* of our image, which every meeting tag of ours stands for by now */
    const struct cb_strmap *annotations;   /* of the index */
    bool docker_types;
};
/* Looks who is there. All are: *out is the index, res->tags are those that moved. Else *out stays empty, and the user
 * is told who is waited for. */
int cb_join_finish(const struct cb_join_work *w, const struct cb_join_places *places, struct cb_descriptor *out,
                   struct cb_build_result *res, struct cb_error *err) CB_WUR;
