/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Repositories kept like others: a specification in YAML, a plan of what is to be done, and its doing.
 *
 *   mirrors:
 *     - source: registry.example/team/app        # a repository
 *       target: mirror.example/team/app          # or targets: [ … ]
 *       tags:                                    # a list means exact; absent: all
 *         exact: [ latest ]                      # these, whatever else is said
 *         glob: [ "1.*" ]                        # fnmatch(3)
 *         regex: [ "v[0-9]+" ]                   # POSIX extended, of the whole tag
 *         semver: ">=1.2 <3 || ~4.1"             # see semver.h
 *         prerelease: true                       # semver: also of versions that the range does not name
 *         newest: 5                              # the highest N of what glob, regex and semver choose
 *         by: semver                             # or created: of the image's configuration, two or three GETs a tag
 *         exclude: { exact: […], glob: […], regex: […] }
 *       platforms: [ linux/amd64 ]               # default: everything
 *       referrers: true                          # default: true; top: new ones of a tag's own manifest only
 *       delete: false                            # tags that the filter chooses and the source has no more
 *   defaults: { platforms, referrers, delete }   # for those that do not say
 *
 * Unknown keys are errors. A tag costs one HEAD on either side while nothing changes; see plan.c for what else
 * costs. */

#include "copy/copy.h"

struct cb_mirror_spec;
/* -CB_ECONF with `name:LINE: …`. */
int cb_mirror_spec_parse(const char *name, const char *text, size_t len, struct cb_mirror_spec **out,
                         struct cb_error *err) CB_WUR;
void cb_mirror_spec_free(struct cb_mirror_spec *s);
CB_DEFINE_CLEANUP(struct cb_mirror_spec *, cb_mirror_spec_free)

/* The hosts that it names, each once. */
void cb_mirror_spec_hosts(const struct cb_mirror_spec *s, struct cb_strvec *out);

/* ---- plans ---- */
enum cb_mirror_action {
    CB_MIRROR_SKIP,
    CB_MIRROR_COPY,
    CB_MIRROR_DELETE,
    CB_MIRROR_REFER /* only what refers to it */
};
enum cb_mirror_outcome { CB_MIRROR_OPEN, CB_MIRROR_DONE, CB_MIRROR_CURRENT /* was done before */, CB_MIRROR_FAILED };
struct cb_mirror_tag {
    char *tag;
    enum cb_mirror_action action;
    const char *reason;      /* one of a few words */
    struct cb_digest source; /* now there; NONE where it is to be deleted */
    struct cb_digest target; /* there before; NONE: nothing */
    struct cb_digest result; /* there afterwards */
    struct cb_digest referrers; /* over what refers to the result at the source, NONE: nothing */
    enum cb_mirror_outcome outcome;
    struct cb_error error; /* of FAILED */
    struct cb_copy_manifest *manifest; /* of the source, where it was kept; or NULL */
};
struct cb_mirror_pair { /* one source, one target */
    struct cb_place source, target;
    struct cb_platform *platforms;
    size_t n_platforms;
    bool referrers;
    struct cb_mirror_tag *v; /* sorted by tag */
    size_t n, cap;
    struct cb_error error; /* why it could not be planned at all */
};
struct cb_mirror_plan {
    struct cb_mirror_pair *v;
    size_t n, cap;
};
void cb_mirror_plan_done(struct cb_mirror_plan *p);
#define cb_cleanup_mirror_plan CB_CLEANUP(cb_mirror_plan_done)
/* Fails only where it is interrupted: what cannot be read is in the pairs' and tags' errors. at_once: it will be done
 * right away, so that manifests that are to be copied are kept, as far as 4 MiB hold them. */
int cb_mirror_plan_make(const struct cb_copy_env *env, const struct cb_mirror_spec *spec, bool at_once,
                        struct cb_mirror_plan *out, struct cb_error *err) CB_WUR;
void cb_mirror_plan_print(const struct cb_mirror_plan *p, struct cb_strbuf *out);
int cb_mirror_plan_read(struct cb_mirror_plan *out, const char *text, size_t len, struct cb_error *err) CB_WUR;
size_t cb_mirror_plan_count(const struct cb_mirror_plan *p, enum cb_mirror_action a);

/* ---- doing ---- */
struct cb_mirror_options {
    bool fresh;          /* the plan has just been made: nobody asks whether it still holds */
    bool force;          /* do it although it does not hold any more */
    uint64_t max_delete; /* where the plan has more, none is done */
    /* Instead of the targets: an OCI layout of what they lack. */
    const char *bundle;
    const struct cb_strvec *have; /* layouts, or references, of what is on the other side */
    void (*told)(void *arg, const struct cb_mirror_pair *p, const struct cb_mirror_tag *t); /* from any thread */
    void *arg;
};
/* Goes on after failures; the worst one is the error, in the words "N of M failed: …". */
int cb_mirror_apply(const struct cb_copy_env *env, struct cb_mirror_plan *p, const struct cb_mirror_options *o,
                    struct cb_error *err) CB_WUR;
/* The failures of a plan as one error; 0 where there are none. */
int cb_mirror_worst(const struct cb_mirror_plan *p, struct cb_error *err) CB_WUR;

/* A bundle into the registries that it was made for. to: NULL, or HOST[/PATH] that takes the place of the target's
 * host. -CB_ENOTFOUND where a blob is neither in the bundle nor there. */
struct cb_mirror_load {
    const char *dir, *to;
    void (*told)(void *arg, const char *target, const struct cb_digest *d);
    void *arg;
};
int cb_mirror_load(const struct cb_copy_env *env, const struct cb_mirror_load *o, struct cb_error *err) CB_WUR;
