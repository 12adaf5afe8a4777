/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The error chain. Every function that can fail takes `struct cb_error *err` last and returns 0 or a negative
 * `enum cb_code`. The setters return that negative code, so that failing is one line:
 *
 *     if (fd < 0)
 *         return cb_error_sys(err, CB_ELOCAL, errno, "open %s", path);
 *
 * and every boundary adds its context in front:
 *
 *     if ((r = cb_tree_open(path, &tree, err)) < 0)
 *         return cb_error_wrap(err, "layer %s", name);
 *
 * so that the user reads one sentence chain. `err` may be NULL where the caller does not care for the text. A message
 * never holds a secret: URLs in it have gone through cb_url_redact. The struct owns msg; CB_ERROR_INIT or zeroes. */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "util/macros.h"

/* What went wrong, in the terms that decide what to do next. The first eight are exit codes as they stand. */
enum cb_code {
    CB_OK = 0,
    CB_ESTEP = 1,      /* a build step (or the container of `run`) failed */
    CB_EUSAGE = 2,     /* the command line is wrong */
    CB_EAUTH = 3,      /* 401, 403, no or wrong credentials */
    CB_ENET = 4,       /* network or registry: worth another try */
    CB_ECONF = 5,      /* Dockerfile, reference or configuration wrong */
    CB_ELOCAL = 6,     /* disk, memory, descriptors, permissions on this machine */
    CB_EVERIFY = 7,    /* digest, size or format of what we were given does not hold */
    CB_ENOTFOUND = 20, /* asked for by name, not there (exit 4 with an http_status, else 5) */
    CB_ECANCELED = 21, /* a signal or the first failure stopped the work */
    CB_EINTERNAL = 22, /* cannot happen; exit 70 */
};

struct cb_error {
    enum cb_code code;
    int sys_errno;    /* 0 where no system call was at fault */
    int http_status;  /* 0 where no HTTP reply was at fault */
    int exit_status;  /* of the process, for CB_ESTEP */
    bool no_room;     /* ENOSPC or EDQUOT, while there was no room where cb_error_watch_room looks */
    char *msg;
};

#define CB_ERROR_INIT { 0 }

void cb_error_done(struct cb_error *err);
#define cb_cleanup_error CB_CLEANUP(cb_error_done)

/* Each returns -code. A message that is already there is replaced. */
int cb_error_set(struct cb_error *err, enum cb_code code, const char *fmt, ...) CB_PRINTF(3, 4);
/* The text of sys_errno is added after ": ", and what helps against EMFILE and ENOSYS. ENOSPC, EDQUOT, EMFILE, ENFILE,
 * ENOMEM turn any code into CB_ELOCAL. */
int cb_error_sys(struct cb_error *err, enum cb_code code, int sys_errno, const char *fmt, ...) CB_PRINTF(4, 5);
/* The same errno, for an error that comes with its text. */
void cb_error_note_errno(struct cb_error *err, int sys_errno);
/* A directory whose file system can be given room: by the time that a failure is told, half-written files are gone and
 * there is some again. Borrowed; one at a time, and forget is of no effect when it is another. */
void cb_error_watch_room(int dirfd);
void cb_error_forget_room(int dirfd);
/* Puts "fmt: " in front of the message that is there; returns its -code (-CB_EINTERNAL where err is NULL or empty:
 * so keep the code yourself where err may be NULL). */
int cb_error_wrap(struct cb_error *err, const char *fmt, ...) CB_PRINTF(2, 3);
/* Puts more behind the message that is there, as it is. */
void cb_error_append(struct cb_error *err, const char *fmt, ...) CB_PRINTF(2, 3);
/* Moves *src to *dst (dst may be NULL: src is emptied). Returns -code. */
int cb_error_move(struct cb_error *dst, struct cb_error *src);
/* A deep copy, for one failure that several waiters must hear of. Returns -code. */
int cb_error_copy(struct cb_error *dst, const struct cb_error *src);
/* "message" or the code's name; never NULL. */
const char *cb_error_text(const struct cb_error *err);
/* The process exit code for an error: the table of DESIGN 5. */
int cb_error_exit_code(const struct cb_error *err);
