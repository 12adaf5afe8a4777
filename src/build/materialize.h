/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A match of a selection written out as files: what of the context a mount shows where it may not show all, and what a
 * cache directory begins with. */

#include "build/select.h"

struct cb_materialize {
    const struct cb_match *match;
    int dir;
    const char *name;            /* what the match itself is called, a path in dir; "": it is dir, a directory */
    /* The bytes of a FILE. The descriptor becomes the caller's. */
    int (*open)(void *arg, const struct cb_item *it, int *fd, struct cb_error *err);
    void *arg;
    bool owners;                 /* from the entries; else all is ours */
    const struct cb_cancel *cancel;
};
/* Modes, times, links and FIFOs as they are; device nodes that may not be made here are left out, and so are extended
 * attributes. dir is a tree of ours: it has no links in which a path could go astray. */
int cb_materialize(const struct cb_materialize *o, struct cb_error *err) CB_WUR;
