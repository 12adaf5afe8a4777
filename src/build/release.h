/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The end of a push: any number of tags in any number of repositories move to one manifest, or none does. */

#include "build/tags_ahead.h"

struct cb_release_tag {
    const struct cb_reference *ref;
    struct cb_push *push; /* of its repository */
    struct cb_tag_state old;
    bool moved;
};
/* Borrows all but the states. */
struct cb_release {
    struct cb_registry *registry;
    const struct cb_release_policy *policy;
    struct cb_release_tag *v; /* those of one repository stand together */
    size_t n;
    bool looked; /* v[].old are of a moment ago */
};
/* Makes one tag what it was; old unset: deletes it. push: of its repository. */
int cb_release_restore(struct cb_registry *registry, struct cb_push *push, const struct cb_reference *ref,
                       const struct cb_digest *old, struct cb_error *err) CB_WUR;
void cb_release_done(struct cb_release *r);

/* Before anything is built. Whether policy can still hold: -CB_EVERIFY where a tag is not what was expected; -CB_EUSAGE
 * for an expectation about no tag of the push. */
int cb_release_check(struct cb_release *r, struct cb_error *err) CB_WUR;
/* While blobs are on their way: looks at the tag of a release that has only one and expects nothing of it, so that the
 * end need not. A failure is left for the end. ahead: who may have looked a moment ago, or NULL. */
void cb_release_look_ahead(struct cb_release *r, struct cb_tags_ahead *ahead);
/* All that the manifest needs is in every repository. Looks at each tag, checks all against the policy, then moves
 * them. What was moved before one of them failed is moved back; err says what became of it. */
int cb_release_run(struct cb_release *r, const struct cb_tag_manifest *m, struct cb_error *err) CB_WUR;
/* What became of each tag, into res->tags; after a failure only those that stay moved. */
void cb_release_report(const struct cb_release *r, bool failed, struct cb_build_result *res);
