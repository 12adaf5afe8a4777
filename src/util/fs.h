/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Trusted places (our store, our temp directories, the user's output paths). Everything is relative to a descriptor. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/error.h"

/* mkdir -p by path name for directories that the user or the environment named; parents 0755, the last `mode`. */
int cb_fs_mkdirs(const char *path, mode_t mode, struct cb_error *err) CB_WUR;
/* Removes name below dirfd, whatever it is, never following a link and never crossing a mount; absent is success.
 * Directories without permissions are made accessible first. */
int cb_fs_remove_tree(int dirfd, const char *name, struct cb_error *err) CB_WUR;
int cb_fs_remove_contents(int dirfd, struct cb_error *err) CB_WUR;

/* A file that has no name until it is published. */
struct cb_tmpfile {
    int fd;        /* read-write, -1 when not open */
    int dirfd;     /* borrowed */
    char name[32]; /* its temporary name below dirfd, "" where O_TMPFILE gave it none */
};
#define CB_TMPFILE_INIT { .fd = -1, .dirfd = -1 }
int cb_tmpfile_open(struct cb_tmpfile *t, int dirfd, mode_t mode, struct cb_error *err) CB_WUR;
/* fdatasync, then gives it the name below dst_dirfd (same file system) unless one is there, then fsyncs that directory.
 * *existed tells that another won (not an error: R10). R6. */
int cb_tmpfile_publish(struct cb_tmpfile *t, int dst_dirfd, const char *name, bool *existed,
                       struct cb_error *err) CB_WUR;
/* The same but replaces what is there (configuration files). */
int cb_tmpfile_replace(struct cb_tmpfile *t, int dst_dirfd, const char *name, struct cb_error *err) CB_WUR;
void cb_tmpfile_done(struct cb_tmpfile *t); /* removes it unless published */
#define cb_cleanup_tmpfile CB_CLEANUP(cb_tmpfile_done)

/* A fresh directory below dirfd with a random name starting with prefix; name receives it. Returns its fd via *fd. */
int cb_fs_mkdtempat(int dirfd, const char *prefix, char name[static 64], mode_t mode, int *fd,
                    struct cb_error *err) CB_WUR;
int cb_fs_rename_noreplace(int from_dirfd, const char *from, int to_dirfd, const char *to); /* 0 or negative errno */
int cb_fs_exchange(int a_dirfd, const char *a, int b_dirfd, const char *b); /* the same, of two names at once */
int cb_fs_sync_dir(int dirfd, struct cb_error *err) CB_WUR;
bool cb_fs_is_empty(int dirfd); /* a directory; false also where it cannot be read */
/* Write a small file in one go: temp, sync, rename. */
int cb_fs_write_file(int dirfd, const char *name, const void *buf, size_t n, mode_t mode, struct cb_error *err) CB_WUR;
/* flock(2), exclusive, of an open descriptor: waits for as long as it takes (lock_wait.h: as long as is wanted). */
int cb_fs_lock(int fd, struct cb_error *err) CB_WUR;
/* A lock that is a file, which who has it may remove before closing *fd: 1 with *fd (flock'd, exclusive), 0: somebody
 * else has it. flags: O_RDWR | O_CREAT, or without O_CREAT (-CB_ENOTFOUND). */
int cb_fs_lock_file(int dirfd, const char *path, int flags, int *fd, struct cb_error *err) CB_WUR;
/* Sum of st_blocks*512 below name, hard links once. */
int cb_fs_disk_usage(int dirfd, const char *name, uint64_t *bytes, struct cb_error *err) CB_WUR;
