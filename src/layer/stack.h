/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* An ordered list of TOCs, lowest first, seen as one tree: whiteouts and opaque directories applied. Answers path
 * questions (symbolic links resolved inside the root, as chroot would) without a byte of file data. */

#include "layer/toc.h"

struct cb_stack; /* immutable; reference counted, safe from any thread */

/* tocs: n references are taken. n = 0 is the empty tree. Linear in the number of entries, but that each layer costs a
 * copy of the view so far (32 bytes an entry). */
struct cb_stack *cb_stack_new(struct cb_toc *const *tocs, size_t n);
/* The same plus one on top; cheaper where `on` is small. */
struct cb_stack *cb_stack_push(const struct cb_stack *base, struct cb_toc *on);
struct cb_stack *cb_stack_ref(struct cb_stack *s);
void cb_stack_unref(struct cb_stack *s);
CB_DEFINE_CLEANUP(struct cb_stack *, cb_stack_unref)
size_t cb_stack_layers(const struct cb_stack *s);
struct cb_toc *cb_stack_toc(const struct cb_stack *s, size_t layer); /* borrowed */

/* A visible entry. For HARDLINK, `e` is the link's own entry with the attributes of the inode, which may be in a lower
 * layer, and `data` the FILE entry whose layer holds the bytes; a link to a pipe, device or symbolic link of a lower
 * layer is listed as that. */
struct cb_stack_entry {
    const struct cb_entry *e;
    size_t layer;              /* index of the layer that holds e */
    const struct cb_entry *data; /* FILE entry with the bytes, for FILE and HARDLINK; else NULL */
    size_t data_layer;
};

/* All visible entries in path order, whiteouts gone; a directory that only exists as a parent of something is listed
 * with mode 0755, 0:0 (layer = that of its first child). */
size_t cb_stack_count(const struct cb_stack *s);
const struct cb_stack_entry *cb_stack_at(const struct cb_stack *s, size_t i);
size_t cb_stack_lower_bound(const struct cb_stack *s, const char *path);
/* Exactly this normal-form path, no link followed; NULL where there is none. */
const struct cb_stack_entry *cb_stack_find(const struct cb_stack *s, const char *path);
/* Index just behind the last entry below the directory at index i. */
size_t cb_stack_subtree_end(const struct cb_stack *s, size_t i);

/* Who answers cb_stack_find's question: a stack, or what need not make one (lookup.h). *hit is NULL where there is
 * nothing; it is valid as long as whoever answers. */
struct cb_finder {
    int (*find)(void *arg, const char *path, const struct cb_stack_entry **hit, struct cb_error *err) CB_WUR;
    void *arg;
};
struct cb_finder cb_stack_finder(const struct cb_stack *s);

enum cb_follow { CB_FOLLOW_PARENTS, CB_FOLLOW_ALL };
/* Resolves links in path (all, or all but the last component). *resolved gets the normal-form path ("" = root),
 * whether it exists or not: components that do not exist are kept as they are. *hit is NULL where it does not exist or
 * is the root. -CB_ECONF past CB_MAX_SYMLINKS, or where a component that is no directory stands in the way. */
int cb_stack_resolve(const struct cb_stack *s, const char *path, enum cb_follow follow, struct cb_strbuf *resolved,
                     const struct cb_stack_entry **hit, struct cb_error *err) CB_WUR;
int cb_finder_resolve(const struct cb_finder *f, const char *path, enum cb_follow follow, struct cb_strbuf *resolved,
                      const struct cb_stack_entry **hit, struct cb_error *err) CB_WUR;

/* USER and --chown: "bob", "1000", "bob:staff", "1000:1000" looked up in the stack's /etc/passwd and /etc/group (which
 * are inline in its TOCs). Numbers are strict decimal u32 and never looked up as names (R23, C8). A user without
 * ":group" gets the user's primary group; a number that is no user's: gid 0. number_gid_is_uid (--chown): a number
 * without a group has gid = uid, whatever the image says of it; "root" is 0 without being looked up; ":group" is of
 * user 0, and "user:" is "user". Unknown names: -CB_ECONF; "root" is 0 also where the image has no such file.
 * 4294967295 is no id. */
struct cb_user {
    uint32_t uid, gid;
    uint32_t *groups;   /* supplementary: USER has gid among them, and others only where no group was named */
    size_t n_groups;
    char *home;         /* "/root", or "/" */
    char *name;         /* or NULL */
};
void cb_user_done(struct cb_user *u);
#define cb_cleanup_user CB_CLEANUP(cb_user_done)
int cb_stack_user(const struct cb_stack *s, const char *text, bool number_gid_is_uid, struct cb_user *out,
                  struct cb_error *err) CB_WUR;
int cb_finder_user(const struct cb_finder *f, const char *text, bool number_gid_is_uid, struct cb_user *out,
                   struct cb_error *err) CB_WUR;
