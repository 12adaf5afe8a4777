/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of mirroring share. */

#include <regex.h>

#include "mirror/mirror.h"
#include "mirror/semver.h"
#include "util/hashmap.h"

/* ---- filter.c: which tags ---- */
struct mirror_patterns {
    struct cb_strvec exact, globs;
    regex_t *regex;
    size_t n_regex;
};
enum mirror_order { MIRROR_BY_SEMVER, MIRROR_BY_CREATED };
struct mirror_filter {
    struct mirror_patterns in, out;
    struct mirror_range *semver; /* or NULL */
    bool prerelease;
    size_t newest; /* 0: all */
    enum mirror_order by;
};
void mirror_filter_done(struct mirror_filter *f);
/* A regular expression, of the whole tag. */
int mirror_patterns_add_regex(struct mirror_patterns *p, const char *text, struct cb_error *err) CB_WUR;
/* Whether nothing but exact names can be chosen, so that no list is needed. */
bool mirror_filter_is_exact(const struct mirror_filter *f);
/* Without regard to `newest`. What clients keep by digest (referrers, cosign's) is chosen by its exact name only. */
bool mirror_filter_takes(const struct mirror_filter *f, const char *tag);
/* Those of `all` that are chosen, each once, sorted; exact names too where all does not have them. created: when the
 * image of a tag was made (ns), or an error; asked only for MIRROR_BY_CREATED. */
struct mirror_chooser {
    int (*created)(void *arg, const char *tag, int64_t *when, struct cb_error *err);
    void *arg;
};
int mirror_filter_choose(const struct mirror_filter *f, const struct cb_strvec *all, const struct mirror_chooser *c,
                         struct cb_strvec *out, struct cb_error *err) CB_WUR;
/* sha256-HEX, sha256-HEX.sig and the like. */
bool mirror_is_digest_tag(const char *tag);

/* ---- spec.c ---- */
struct mirror_entry {
    struct cb_place source;
    struct cb_place *targets;
    size_t n_targets;
    struct mirror_filter filter;
    struct cb_platform *platforms;
    size_t n_platforms;
    bool has_platforms, referrers, deletes;
    bool top_only; /* of an index, new referrers are looked for of itself, and not of its parts */
};
struct cb_mirror_spec {
    struct mirror_entry *v;
    size_t n;
};

/* ---- plan.c ---- */
const char *mirror_reason(const char *word); /* the constant of that text, or NULL */
struct cb_mirror_tag *mirror_plan_add(struct cb_mirror_pair *p, const char *tag);
/* What the target will have for what the source has, by platforms. */
struct mirror_result {
    struct cb_digest digest;
    struct cb_strvec parts; /* digests of what an index lists; empty where nobody asks for their referrers */
};
void mirror_result_done(struct mirror_result *x);

/* ---- refer.c: what refers to a tag's image and to its parts, and whether it was brought already ---- */
struct mirror_watch {
    const struct cb_copy_env *env;
    const struct cb_place *source;
    struct cb_hashmap *tags; /* all of the source, or NULL: not known */
    pthread_mutex_t mu;
    pthread_cond_t changed;
    struct cb_hashmap *subjects; /* digest → struct subject: tags, targets and indexes share them */
    int api;                     /* whether its registry lists referrers: -1 not asked yet */
};
void mirror_watch_init(struct mirror_watch *w, const struct cb_copy_env *env, const struct cb_place *source,
                       const struct cb_strvec *tags);
void mirror_watch_done(struct mirror_watch *w);
/* A digest over what refers to it and to its parts, NONE for nothing. With a list of the tags, a registry without the
 * referrers API is asked only for tags that are there; one with it, once a subject. */
int mirror_watch_state(struct mirror_watch *w, const struct mirror_result *of, struct cb_digest *out,
                       struct cb_error *err) CB_WUR;
/* Whether a state has been brought to the target before, and that it has. Kept in the store: what is forgotten is only
 * brought again. */
bool mirror_watch_brought(const struct cb_copy_env *env, const struct cb_mirror_pair *p, const struct cb_mirror_tag *t);
void mirror_watch_keep(const struct cb_copy_env *env, const struct cb_mirror_pair *p, const struct cb_mirror_tag *t);

/* ---- bundle.c ---- */
struct mirror_bundle;
/* Reads what the other side has. */
int mirror_bundle_open(const struct cb_copy_env *env, const struct cb_mirror_options *o, struct mirror_bundle **out,
                       struct cb_error *err) CB_WUR;
void mirror_bundle_free(struct mirror_bundle *b);
CB_DEFINE_CLEANUP(struct mirror_bundle *, mirror_bundle_free)
const struct cb_place *mirror_bundle_place(const struct mirror_bundle *b);
/* For cb_copy_target_options; arg is the bundle. Notes what it says yes to. */
bool mirror_bundle_lacks(void *arg, const struct cb_descriptor *d);
/* Writes missing.json. */
int mirror_bundle_finish(struct mirror_bundle *b, struct cb_error *err) CB_WUR;
#define MIRROR_MISSING "missing.json" /* { "blobs": [ { digest, size, repository } ] } */
