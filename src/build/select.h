/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the sources of a COPY or ADD name, in the context or in another result: the matches of each pattern, each with
 * all that is in it, attributes and content digests known. No data is held. Sources that are symbolic links are
 * followed inside the root, those in a directory are copied as they are. --exclude is matched below each match, never
 * against the match itself (as BuildKit does, whatever its manual says). With --parents a match is what the paths start
 * at, and only what the pattern names below it is in it. */

#include "build/graph.h"
#include "util/arena.h"
#include "util/path.h"

struct cb_context;
struct cb_item_more;
/* There are as many of them as files: what another result knows is there (se), and what few have is elsewhere (more).
 * cb_item_entry puts it together. */
struct cb_item {
    const char *rel;                 /* below the match; "" is the match itself */
    const char *link;                /* of a SYMLINK; of a HARDLINK: rel of another item of the match; or NULL */
    const struct cb_stack_entry *se; /* in another result; NULL: in a context, see cb_item_found */
    uint8_t type;                    /* enum cb_entry_type */
    uint16_t mode;
    uint16_t before;                 /* bytes of the path in front of rel: see cb_item_path */
    bool is_socket;                  /* in the context: becomes an empty FILE */
    bool on_the_way;                 /* a directory that is not meant itself, but something below it is; or of which
                                      * no layer says anything (a root) */
};
struct cb_found {
    struct cb_item_more *more;       /* or NULL */
    int64_t mtime;                   /* s */
    uint64_t size;                   /* of the data */
    struct cb_sum digest;            /* of the data */
};
struct cb_context_item { /* as all are made whose se is NULL */
    struct cb_item item;
    struct cb_found found;
};
static inline CB_UNUSED struct cb_found *cb_item_found(const struct cb_item *it)
{
    return &((struct cb_context_item *)(uintptr_t)it)->found;
}
struct cb_item_more {
    size_t target;                   /* HARDLINK: index of the item it is a name of */
    uint32_t dev_major, dev_minor;
    uint32_t n_xattrs;
    struct cb_xattr *xattrs;         /* owned, with what they point to */
};
/* All of it, path = rel; borrowed. */
void cb_item_entry(const struct cb_item *it, struct cb_entry *out);
/* In a context: where to open it, without links; rel is its end. */
static inline CB_UNUSED const char *cb_item_path(const struct cb_item *it)
{
    return it->rel - it->before;
}

struct cb_match {
    char *name;                      /* last component of the source: what it is called in a directory; "" of a root */
    bool is_dir;
    bool wildcard;                   /* came from a pattern */
    bool partial;                    /* in the context: not all that is there is in it */
    bool foreign;                    /* in the context: something has another owner, or leads out of a tree (a FIFO) */
    struct cb_item **items;          /* in path order, the match itself first */
    size_t n, cap;
    struct cb_arena *arenas;         /* of the items and their strings; the first is that of cb_match_add */
    size_t n_arenas;
};

struct cb_selection {
    struct cb_match *v;
    size_t n, cap;
    struct cb_stack *stack;          /* kept for se; or NULL */
    struct cb_context *context;      /* that of paths; or NULL */
};
void cb_selection_done(struct cb_selection *s);
/* All that matters of it but times. */
void cb_selection_digest(const struct cb_selection *s, struct cb_digest *out);

/* ---- the context ---- */
/* path: a directory. ignore may be NULL (kept by the caller until free). */
struct cb_context *cb_context_open(const char *path, const struct cb_df_ignore *ignore, struct cb_error *err);
/* The same of a directory that is open; fd is taken. */
struct cb_context *cb_context_from_fd(int fd, const struct cb_df_ignore *ignore);
/* Digests of unchanged files are taken from the store, and kept there (build/stat_cache.h). store is borrowed until
 * free. */
void cb_context_remember(struct cb_context *c, struct cb_store *store);
/* A pipeline keeps the store where its cache is kept, in the directory that it builds: it is no part of the context,
 * and left out. It changes while it would be read. */
void cb_context_leave_out(struct cb_context *c, const struct cb_store *store);
/* Whether it was met so far. */
bool cb_context_met_store(const struct cb_context *c);
/* All has been found: what is to be kept goes to the store, and its memory is given back. c may be NULL. */
void cb_context_found_all(struct cb_context *c);
void cb_context_free(struct cb_context *c);
CB_DEFINE_CLEANUP(struct cb_context *, cb_context_free)
/* Finds and hashes. A plain source that is not there is -CB_ECONF with what could be meant. */
int cb_context_select(struct cb_context *c, const struct cb_copy_op *op, const struct cb_build_env *env,
                      struct cb_selection *out, struct cb_error *err) CB_WUR;
/* One path ("" = all), not a pattern: a match. It may have been left out: -CB_ECONF as well. */
int cb_context_select_path(struct cb_context *c, const char *path, const struct cb_build_env *env,
                           struct cb_selection *out, struct cb_error *err) CB_WUR;
/* The same once more, as it is now; c is not touched. What is in out can be compared, and not opened. */
int cb_context_select_again(const struct cb_context *c, const char *path, const struct cb_build_env *env,
                            struct cb_selection *out, struct cb_error *err) CB_WUR;
/* The bytes of an item; fails where the file is no longer what was hashed (size, type). */
int cb_context_source(const struct cb_context *c, const struct cb_item *it, struct cb_blob_source **out,
                      struct cb_error *err) CB_WUR;
/* The same of many, one after the other. */
struct cb_path_cursor cb_context_cursor(const struct cb_context *c /* or NULL: for none */);
int cb_context_source_in(struct cb_path_cursor *in, const struct cb_item *it, struct cb_blob_source **out,
                         struct cb_error *err) CB_WUR;
int cb_context_fd(const struct cb_context *c);
/* For progress: what was read so far, and how many files did not have to be. */
struct cb_context_work {
    uint64_t files, bytes, known;
};
void cb_context_stats(struct cb_context *c, struct cb_context_work *out);

/* ---- another result ---- */
int cb_stage_select(struct cb_stack *stack, const struct cb_copy_op *op, struct cb_selection *out,
                    struct cb_error *err) CB_WUR;

/* One path ("" = all), not a pattern. */
int cb_stage_select_path(struct cb_stack *stack, const char *path, struct cb_selection *out,
                         struct cb_error *err) CB_WUR;

/* ---- shared ---- */
/* Which of what is below a match is meant: --exclude, and --parents. */
struct cb_filter {
    struct cb_df_ignore *exclude;    /* or NULL */
    struct cb_df_ignore *parents;    /* leaves out all but the pattern; or NULL */
};
/* below: the pattern of --parents, or NULL. */
int cb_filter_open(struct cb_filter *f, const struct cb_copy_op *op, const char *below, struct cb_error *err) CB_WUR;
void cb_filter_done(struct cb_filter *f);
#define cb_cleanup_filter CB_CLEANUP(cb_filter_done)
bool cb_filter_leaves_out(const struct cb_filter *f, const char *rel); /* NULL: nothing */
/* For a walker at a directory that is left out: might something below it be meant? */
bool cb_filter_may_take(const struct cb_filter *f, const char *rel);
/* Length of the components in front of the first that has a wildcard, with their slash. */
size_t cb_copy_plain_prefix(const char *pattern);
/* The pattern of --parents for source i, or NULL. */
const char *cb_copy_below(const struct cb_copy_op *op, size_t i);
/* Adds a match (which moves when another is added), an item. */
struct cb_match *cb_selection_add(struct cb_selection *s, const char *name, bool is_dir, bool wildcard);
struct cb_item *cb_item_new(struct cb_arena *a); /* in a context; empty */
void cb_item_done(struct cb_item *it);           /* but for what is in the arena */
struct cb_item_more *cb_item_more(struct cb_item *it); /* makes it where there is none */
void cb_item_set_xattrs(struct cb_item *it, const struct cb_xattr *v, uint32_t n); /* in place of none; copies */
void cb_match_take(struct cb_match *m, struct cb_item *it); /* it is the match's then, but for its memory */
void cb_match_take_arena(struct cb_match *m, struct cb_arena *a); /* which is empty then */
struct cb_item *cb_match_add(struct cb_match *m, const char *rel, const struct cb_entry *e); /* rel, e->link borrowed */
struct cb_item *cb_match_add_se(struct cb_match *m, const char *rel, const struct cb_stack_entry *se); /* borrowed */
void cb_match_pop(struct cb_match *m); /* takes the last item away */
void cb_selection_pop(struct cb_selection *s); /* the last match */
