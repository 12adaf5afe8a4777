/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the steps of a build were made from, under labels for people, and as the store keeps it from one build to the
 * next: so that it can be told why a step was run again (explain.c). Not the keys, which are made elsewhere, but all
 * that goes into them. Of secrets and agents only the ids. Texts are sanitized: they can be printed, and have no line
 * breaks. */

#include "build/solve.h"

#define CB_INPUTS_MAX ((size_t)4 << 20) /* bytes in the store */
#define CB_INPUTS_HASHES (CB_INPUTS_MAX / 4 * 3) /* of them for files by their hashes */

struct cb_step_inputs {
    enum cb_vertex_kind kind;
    char *stage;                        /* name or number; "": it belongs to none */
    unsigned position;                  /* in its stage, from 1; of what belongs to none: among its kind, from 0 */
    char *platform;
    char *text;                         /* the instruction */
    struct cb_digest key;
    struct cb_strvec labels, values;    /* what is the step's own; parallel, in the order in which it is told of them */
    struct cb_strvec causes, cause_keys; /* results that it stands on, or takes from; parallel */
    const struct cb_vertex **cause_of;  /* the same, of this build; NULL where it was read from the store */
    /* Of the context, in a fixed order: path and what is there ("f644 0123456789ab 0"), parallel. Read from the store,
     * many are only hashes: paths and whats are empty then, each file has CB_FILE_HASH digits. Or too many for that:
     * n_files and files_sum are all there is. */
    struct cb_strvec paths, whats;
    struct cb_strbuf hashes;
    size_t n_files;
    uint64_t files_sum;
    const struct cb_vertex *vertex;     /* of this build; or NULL */
};
#define CB_FILE_HASH 24                 /* 12 of the path, 12 of what is there */

struct cb_inputs {
    struct cb_digest goal;              /* of all that the build makes; NONE: it was not finished */
    struct cb_step_inputs *v;           /* in the order of the plan */
    size_t n, cap;
};
void cb_inputs_done(struct cb_inputs *in);
#define cb_cleanup_inputs CB_CLEANUP(cb_inputs_done)
void cb_step_inputs_done(struct cb_step_inputs *s);

/* ---- inputs.c: of a plan that was prepared ---- */
void cb_inputs_of_build(const struct cb_solver *s, struct cb_inputs *out);
void cb_inputs_goal(const struct cb_solver *s, struct cb_digest *out);

/* ---- inputs_files.c ---- */
#define CB_INPUTS_NAMED 4096 /* files of a step that are kept by name */
void cb_inputs_add_files(struct cb_step_inputs *to, const struct cb_selection *sel);
/* Of more files, in place of a selection, which is freed: what is kept of them in the end, a quarter of the memory. */
void cb_inputs_note(struct cb_noted_files *out, struct cb_selection *sel);
void cb_inputs_add_noted(struct cb_step_inputs *to, const struct cb_noted_files *noted);
void cb_file_hash(char out[static CB_FILE_HASH + 1], const char *path, const char *what);
/* The first file that differs, and how many more do: "requirements.txt changed (sha256:ab… → sha256:cd…)". False: none.
 * was and is get its digests, where there are two. */
struct cb_files_change {
    struct cb_strbuf text, path, was, is;
};
#define CB_FILES_CHANGE_INIT                                                                                         \
    {                                                                                                                \
        CB_STRBUF_INIT, CB_STRBUF_INIT, CB_STRBUF_INIT, CB_STRBUF_INIT                                               \
    }
void cb_files_change_done(struct cb_files_change *c);
bool cb_files_differ(const struct cb_step_inputs *old, const struct cb_step_inputs *now, struct cb_files_change *out);

/* ---- inputs_text.c: lines, the last the sha256 of all before it ---- */
void cb_inputs_print(struct cb_strbuf *out, const struct cb_inputs *in);
/* False: torn, or of another version. */
bool cb_inputs_parse(struct cb_inputs *out, const char *text, size_t len);
/* The goal of a text of which at least the first CB_INPUTS_HEAD bytes are there; true where it is this one. */
#define CB_INPUTS_HEAD 96
bool cb_inputs_text_is_of(const char *text, size_t len, const struct cb_digest *goal);
