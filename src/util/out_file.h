/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A file that the user named for what is made: there under its name only when it is whole. What is no regular file (a
 * device, a pipe, a link to something) is written as it is; "-" is standard output, but never a terminal
 * (-CB_EUSAGE). */

#include "util/fs.h"

struct cb_out_file {
    int fd;
    char *name;                        /* in dirfd; NULL: written as it is */
    struct cb_tmpfile tmp;
    int dirfd;
};
#define CB_OUT_FILE_INIT { .fd = -1, .dirfd = -1, .tmp = CB_TMPFILE_INIT }
int cb_out_file_open(struct cb_out_file *f, const char *path, struct cb_error *err) CB_WUR;
/* Also where open failed. r: what came of writing; returns it, or why the file could not be put in place. */
int cb_out_file_close(struct cb_out_file *f, int r, struct cb_error *err) CB_WUR;
/* Whether what is written there comes out on our standard output, whatever its name. */
bool cb_out_file_is_stdout(const char *path);
