/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The entries of a layer that is made without a root file system: where sources land on what is below, which
 * directories have to be made, what replaces what. Only tables of the layers below are asked, for the paths that
 * matter. */

#include "build/chmod.h"
#include "build/select.h"

enum cb_data_kind { CB_DATA_NONE, CB_DATA_ITEM, CB_DATA_MEM, CB_DATA_SPOOL };

struct cb_placed {
    struct cb_entry e;
    enum cb_data_kind kind;        /* where a FILE's bytes are; of a HARDLINK too, should it have to become one */
    const struct cb_item *item;
    const char *mem;               /* borrowed */
    uint64_t spool_offset;
    bool archived;                 /* an archive's entry, which says its time */
    bool dated;                    /* by cb_placer_dir_time */
};

struct cb_placer;
struct cb_placer_options {
    const struct cb_finder *base;  /* borrowed; NULL: empty */
    bool chown;                    /* uid, gid are for everything that is placed, made parents included */
    uint32_t uid, gid;
    struct cb_chmod chmod;         /* for everything that is placed; see cb_chmod_made for made parents */
    int64_t now;                   /* time of what has none: directories that are made, inline files; s */
};
struct cb_placer *cb_placer_new(const struct cb_placer_options *o);
void cb_placer_free(struct cb_placer *p);
CB_DEFINE_CLEANUP(struct cb_placer *, cb_placer_free)

/* The normal-form path that an absolute path means, links below followed ("" = root). *exists, *is_dir of what is
 * there. */
int cb_placer_resolve(struct cb_placer *p, const char *path, struct cb_strbuf *out, bool *exists, bool *is_dir,
                      struct cb_error *err) CB_WUR;
/* Makes a directory (mode and owner as the options say) and its parents where they are not there. */
int cb_placer_mkdirs(struct cb_placer *p, const char *path, struct cb_error *err) CB_WUR;
/* What is placed from now on. */
enum cb_placing {
    CB_PLACE_COPY,
    CB_PLACE_ARCHIVE_DEST, /* where an archive goes: directories that are made are 0755, whatever --chmod says */
    /* What is in it: it keeps its mode, directories that are made are 0755 0:0, and it replaces what stands in its
     * place, directories with all that is in them. */
    CB_PLACE_ARCHIVE,
};
void cb_placer_set(struct cb_placer *p, enum cb_placing what);
/* Puts one entry at a normal-form path; parents are made. A directory onto a directory gives it its owner and mode; a
 * file replaces a file or link; file onto directory and directory onto what is none are -CB_ECONF, but for archives. e
 * is copied; its path is ignored. *out is NULL where there was nothing to do; else it is to be completed, and valid
 * until the next call. */
int cb_placer_put(struct cb_placer *p, const char *path, const struct cb_entry *e, struct cb_placed **out,
                  struct cb_error *err) CB_WUR;
/* The same of an item, which is borrowed until the placer is freed. link: in place of its own, where it is a
 * HARDLINK. */
int cb_placer_put_item(struct cb_placer *p, const char *path, const struct cb_item *it, const char *link,
                       struct cb_error *err) CB_WUR;
/* Gives a directory another mode and nothing else; false where none is there, or what is below cannot be read. */
bool cb_placer_dir_mode(struct cb_placer *p, const char *path, uint32_t mode);
/* Why what is below could not be read (the finder's error); 0: it could. All functions above that can fail have failed
 * with it since. */
int cb_placer_check(const struct cb_placer *p, struct cb_error *err) CB_WUR;
/* What is placed at a path; false: nothing. out (or NULL) borrows all it points to until the next call that places. */
bool cb_placer_find(const struct cb_placer *p, const char *path, struct cb_placed *out);
/* Hard links whose file was not placed (left out, replaced) become files of their own. Once, when all is placed: only
 * what stands below can be asked after that. */
void cb_placer_settle(struct cb_placer *p);
/* Everything that was placed, and the directories that are there and hold it, in path order. */
size_t cb_placer_count(const struct cb_placer *p);
void cb_placer_at(struct cb_placer *p, size_t i, struct cb_placed *out); /* as cb_placer_find */

/* A whole selection by COPY's rules (BuildKit's), one match after the other:
 *  - links on the way to the destination are followed inside the root;
 *  - a directory's contents are merged into the destination, which is made where it is not there and keeps its
 *    attributes where it is; directories below it get those of the source;
 *  - a file goes below the destination by its name where that ends in '/' or is a directory by then, else it becomes
 *    the destination. A second one that would do so is -CB_ECONF (BuildKit lets the last one win). */
int cb_placer_selection(struct cb_placer *p, const struct cb_selection *s, const char *dest,
                        struct cb_error *err) CB_WUR;
/* Inline files (heredocs). */
int cb_placer_inline(struct cb_placer *p, const struct cb_copy_op *op, struct cb_error *err) CB_WUR;
int64_t cb_placer_now(const struct cb_placer *p);
/* Of a directory that was made: the time of what it was made for. */
void cb_placer_dir_time(struct cb_placer *p, const char *path, int64_t mtime);
