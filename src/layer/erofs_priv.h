/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The two halves of the EROFS writer: erofs_tree.c makes nodes of a table, erofs.c gives them places and writes. */

#include "layer/erofs.h"
#include "layer/toc_priv.h"

#define CB_EROFS_NONE UINT32_MAX

struct cb_erofs_node {
    const struct cb_entry *e; /* WHITEOUT too; NULL: an implied directory that no layer lists */
    struct cb_slice name;     /* "" of the root */
    uint32_t parent;          /* of the root: itself */
    uint32_t first, last, next; /* children in the order of the table, or CB_EROFS_NONE */
    uint32_t n_children;
    uint32_t same;            /* a hard link: the node whose inode it is, or CB_EROFS_NONE */
    uint32_t links;
    uint64_t at;              /* of the inode, from the beginning of the metadata; a multiple of 32 */
    uint64_t data, size;      /* of directories and long links: from there too; of files: in the tar */
    struct cb_entry *inherited; /* e of an implied directory: what a lower layer says; owned */
    bool dir, opaque;
    bool in_inode;            /* a link whose text stands behind the inode */
};
struct cb_erofs_tree {
    struct cb_erofs_node *v; /* v[0] is the root; parents come before what is in them */
    size_t n, cap;
    uint32_t *of_entry;      /* place in the table → node */
};
/* 1: not to be shown so. */
int cb_erofs_tree_make(struct cb_erofs_tree *t, const struct cb_erofs_options *o) CB_WUR;
void cb_erofs_tree_done(struct cb_erofs_tree *t);
