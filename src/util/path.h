/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The only way to touch a tree that we did not write ourselves: a descriptor of its root and a relative path.
 * Rules R1 and R2: openat2(2), then one component with O_NOFOLLOW, then only f*-calls.
 *
 * IN_ROOT resolves symbolic links as chroot(2) would (absolute targets start at the root descriptor, `..` stops there).
 * BENEATH refuses symbolic links that leave, and `..` that leaves. NOFOLLOW refuses every symbolic link on the way. */

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "util/error.h"
#include "util/strbuf.h"

enum cb_resolve {
    CB_RESOLVE_IN_ROOT,
    CB_RESOLVE_BENEATH,
    CB_RESOLVE_NOFOLLOW,
};

/* openat2 with O_CLOEXEC added and magic links refused; EAGAIN is retried for a bounded time. Returns the descriptor or
 * a negative errno (not a cb_code: the callers branch on ENOENT, ELOOP, ENOTDIR). An empty or "." or "/" path is the
 * root. */
int cb_path_openat(int rootfd, const char *path, int flags, mode_t mode, enum cb_resolve how);
/* Opens many files below one root to be read, most of them in the directory of the one before: that is not looked up
 * again. They are not noted as read (O_NOATIME) where that may be. Of one thread. */
struct cb_path_cursor {
    int root;  /* borrowed */
    char *dir; /* the last one, and a descriptor of it or a negative errno; or NULL */
    int fd;
};
#define CB_PATH_CURSOR(rootfd) { .root = (rootfd), .fd = -1 }
/* As cb_path_openat by NOFOLLOW. */
int cb_path_cursor_open(struct cb_path_cursor *c, const char *path, int flags);
void cb_path_cursor_done(struct cb_path_cursor *c);
#define cb_cleanup_path_cursor CB_CLEANUP(cb_path_cursor_done)
/* The parent directory of path, resolved, O_PATH|O_DIRECTORY; *base points into path at the last component. The last
 * component is never "." or "..", and no slash stands behind it (that would follow a link): -EINVAL then. */
int cb_path_open_parent(int rootfd, const char *path, enum cb_resolve how, const char **base);
/* mkdir -p below the root, each component made by mkdirat in the directory held open, existing symbolic links resolved
 * by `how`. Returns a descriptor (O_RDONLY|O_DIRECTORY) of the last or a negative errno. */
int cb_path_mkdirs(int rootfd, const char *path, mode_t mode, enum cb_resolve how);
/* fstatat of one path, last component not followed. 0 or a negative errno. */
int cb_path_lstat(int rootfd, const char *path, struct stat *st, enum cb_resolve how);

/* The text functions replace what is in out. cb_path_clean and cb_path_join allow their arguments to point into it.
 *
 * Lexical normal form of an untrusted name: no leading '/', no "." or empty components. False if it has "..", a NUL, a
 * component over 255 bytes or is over 4096 bytes. "" stands for the root. */
bool cb_path_normalize(struct cb_strbuf *out, const char *path, size_t len);
/* Go's path.Clean / filepath.Clean (the Dockerfile's semantics: "..", may lead out). */
void cb_path_clean(struct cb_strbuf *out, const char *path);
/* path.Clean(join(base, rel)) ; an absolute rel replaces base. */
void cb_path_join(struct cb_strbuf *out, const char *base, const char *rel);
/* Takes the first component of "a/b/c" off, with the '/' behind it; the caller's. "" where two '/' meet. */
char *cb_path_shift(struct cb_strbuf *path);
bool cb_path_is_within(const char *path, const char *outer); /* or is it; of clean paths; "" has all */
const char *cb_path_base(const char *path); /* behind the last '/', points into path */
