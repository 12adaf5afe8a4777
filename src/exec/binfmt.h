/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Interpreters that the kernel starts for programs of other architectures: the files of /proc/sys/fs/binfmt_misc. */

#include <stdbool.h>
#include <stddef.h>

struct cb_binfmt {
    char *name;
    char *interpreter; /* absolute path */
    bool fixed;        /* flag F: opened when it was registered, so that no root needs it */
};
void cb_binfmt_done(struct cb_binfmt *b);
/* The enabled registration that serves a program beginning with these bytes. dirfd: the directory of binfmt_misc.
 * False: none, or the file system is not mounted there. */
bool cb_binfmt_find(int dirfd, const void *program, size_t n, struct cb_binfmt *out);
