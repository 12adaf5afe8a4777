/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* `imagetools`: images in registries, in the words of docker buildx. */

#include "build/build.h"
#include "cmd/cmd.h"
#include "cmd/remote.h"
#include "oci/json.h"

extern const struct cb_verb cb_verb_imagetools_inspect;

/* ---- imagetools_attested.c: inspect ---- */
struct imagetools_attested {
    const char *type;   /* how the type of the predicate begins */
    const char *member; /* what buildx calls it */
    const char *others; /* and the list of further ones; NULL: only the first counts */
};
/* {MEMBER: predicate, OTHERS: [predicate…]} of an index of one image, {PLATFORM: {…}} of several; what is not there is
 * left out. NULL and err. */
json_t *imagetools_attested(struct cb_remote *re, const struct cb_index *x, const struct imagetools_attested *a,
                            struct cb_error *err);

/* ---- imagetools_args.c: create ---- */
struct imagetools_words {
    const struct cb_strvec *tags, *files, *annotations, *platforms, *sources;
    bool append, dry_run;
};
struct imagetools_source {
    struct cb_reference ref;
    json_t *as; /* the descriptor that it was given as, or NULL */
};
struct imagetools_wanted {
    struct cb_reference *tags;
    size_t n_tags;
    struct cb_annotations annotations;
    struct imagetools_source *v; /* with append the first tag is the first of them */
    size_t n;
    struct cb_platform *platforms;
    size_t n_platforms;
};
/* -CB_EUSAGE with what to write instead. What was read before a failure is in w all the same. */
int imagetools_read(struct imagetools_wanted *w, const struct imagetools_words *words, struct cb_error *err) CB_WUR;
void imagetools_wanted_done(struct imagetools_wanted *w);
bool imagetools_same_repository(const struct cb_reference *a, const struct cb_reference *b);
