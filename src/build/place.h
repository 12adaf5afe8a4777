/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The entries of a layer that is made without a root file system: where sources land on what is below, which directories have to
 * be made, what replaces what. Only the table of the layers below is asked. */

#include "build/select.h"

enum cb_data_kind { CB_DATA_NONE, CB_DATA_ITEM, CB_DATA_MEM, CB_DATA_SPOOL };

struct cb_placed {
    struct cb_entry e;             /* path, link owned */
    enum cb_data_kind kind;
    const struct cb_item *item;
    const char *mem;               /* borrowed */
    uint64_t spool_offset;
};

struct cb_placer;
struct cb_placer_options {
    const struct cb_stack *base;   /* NULL: empty */
    bool chown;                    /* uid, gid are for everything that is placed, made parents included */
    uint32_t uid, gid;
    bool chmod;
    uint32_t mode;
    int64_t now;                   /* time of directories that are made, s */
};
struct cb_placer *cb_placer_new(const struct cb_placer_options *o);
void cb_placer_free(struct cb_placer *p);
CB_DEFINE_CLEANUP(struct cb_placer *, cb_placer_free)

/* The normal-form path that an absolute path means, links below followed ("" = root). *exists, *is_dir of what is there. */
int cb_placer_resolve(struct cb_placer *p, const char *path, struct cb_strbuf *out, bool *exists, bool *is_dir,
                      struct cb_error *err) CB_WUR;
/* Makes a directory (0755, owner as the options say) and its parents where they are not there. */
int cb_placer_mkdirs(struct cb_placer *p, const char *path, struct cb_error *err) CB_WUR;
/* Puts one entry at a normal-form path whose parents are made. A directory onto a directory keeps what is there; a file replaces a file
 * or link; file onto directory and directory onto file are -CB_ECONF. e is copied; its path is ignored. */
int cb_placer_put(struct cb_placer *p, const char *path, const struct cb_entry *e, struct cb_placed **out, struct cb_error *err) CB_WUR;
/* The same for a directory that archives bring: its attributes replace those that are there. */
int cb_placer_put_dir(struct cb_placer *p, const char *path, const struct cb_entry *e, struct cb_error *err) CB_WUR;
/* Hard links whose file was not placed (left out, replaced) become files of their own. Once, when all is placed. */
void cb_placer_settle(struct cb_placer *p);
/* Everything that was placed, in path order. */
size_t cb_placer_count(const struct cb_placer *p);
const struct cb_placed *cb_placer_at(struct cb_placer *p, size_t i);
/* A whole selection by COPY's rules: dest as the planner gave it. */
int cb_placer_selection(struct cb_placer *p, const struct cb_selection *s, const char *dest, bool several, struct cb_error *err) CB_WUR;
/* Inline files (heredocs). */
int cb_placer_inline(struct cb_placer *p, const struct cb_copy_op *op, bool several, struct cb_error *err) CB_WUR;
