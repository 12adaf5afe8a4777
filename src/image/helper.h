/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Layers are read in processes of their own (rule R3): decompressors, tar and the writing of files, for bytes that
 * anybody may have made. Inside of image; image.h has what others need.
 *
 *   cbpush ──fork, before it has threads──► server ──fork, one a layer──► helper (shut in: util/confine.h)
 *
 * cbpush (helper.c) reads the blob, whose digest is checked there as ever, into memory that it shares with the helper,
 * which cannot write to it. The helper (helper_child.c) answers over a socket: questions for what lower layers have,
 * and in the end the table, the diff id and what is to be marked in the tree. All of that is taken for hostile. The
 * server (helper_server.c) forks, kills and reaps, and is of before any secret was read. */

#include <stdatomic.h>
#include <sys/types.h>

#include "image/private.h"

/* ---- the memory that blobs go through ---- */
#define CB_HELPER_RING ((size_t)1 << 20)
#define CB_HELPER_PAGE ((size_t)4096)
struct cb_helper_ring {
    _Atomic uint64_t head; /* bytes that were put in so far */
    _Atomic uint32_t ended; /* there are no more */
};

/* ---- messages: one packet each ---- */
enum cb_helper_type {
    /* from the helper */
    CB_HELPER_READY = 1,  /* value: what holds, enum cb_confine */
    CB_HELPER_PROGRESS,   /* value: bytes */
    CB_HELPER_LOWER_DIR,  /* payload: a path. The answer: a table of one entry or none */
    CB_HELPER_LOWER_FILE, /* the same; a FILE comes with a descriptor */
    CB_HELPER_TOC,        /* payload: a part of the table */
    CB_HELPER_OPAQUE,     /* payload: a path */
    CB_HELPER_DEVICE,     /* payload: a path; device */
    CB_HELPER_DONE,       /* value: size; digest: the diff id */
    CB_HELPER_ERROR,      /* code, sys_errno; payload: the text */
    /* to it */
    CB_HELPER_ANSWER,     /* value: bytes that follow in parts; code, sys_errno and text where it is an error */
    CB_HELPER_PART,       /* payload */
};
#define CB_HELPER_PAYLOAD (32u << 10)
struct cb_helper_head {
    uint32_t type, n; /* n: bytes of payload */
    int32_t code, sys_errno;
    uint64_t value;
    struct cb_digest digest;
    struct cb_unpack_device device;
};
struct cb_helper_message {
    struct cb_helper_head head;
    char payload[CB_HELPER_PAYLOAD + 1]; /* a NUL behind it */
    int fd;                              /* that came with it, or -1; whoever receives closes it */
};
/* The head's n is the payload's length. fd: passed along, or -1. Negative errno. */
int cb_helper_send(int sock, struct cb_helper_head *h, const void *payload, int fd) CB_WUR;
/* 1; 0 at the end; or a negative errno: EPROTO for what is no message. A descriptor is taken only where fds is true.
 * Never waits where wait is false: -EAGAIN. */
enum cb_helper_wait { CB_HELPER_WAIT, CB_HELPER_NO_WAIT };
int cb_helper_receive(int sock, struct cb_helper_message *m, bool fds, enum cb_helper_wait wait) CB_WUR;
/* Payload of any length, in parts of that type. */
int cb_helper_send_parts(int sock, enum cb_helper_type type, const void *buf, size_t n) CB_WUR;

/* ---- what the server is asked for: one packet with CB_HELPER_FDS descriptors, or one less without a tree ---- */
enum cb_helper_fd { CB_HELPER_SOCK, CB_HELPER_LIFE, CB_HELPER_MEMORY, CB_HELPER_FILLED, CB_HELPER_FREED, CB_HELPER_TREE,
                    CB_HELPER_FDS };
struct cb_helper_job {
    bool single_id, raw, progress;
    bool lower; /* there are layers below that may be asked about */
    bool trial; /* it says READY and ends */
    bool plain; /* what stands in the place of the tree is the file that gets the tar */
    struct cb_digest diff_id;
    uint64_t max_size;
};
/* What the server says over LIFE when the helper is gone. */
struct cb_helper_end {
    int fork_errno; /* it was never there */
    int status;     /* as from waitpid(2) */
};

/* helper_server.c: the life of the server, which ends with its parent. */
CB_NORETURN void cb_helper_serve(int sock, const struct cb_helper_options *o);
/* helper_child.c: the life of a helper. */
CB_NORETURN void cb_helper_main(const struct cb_helper_job *job, const int fds[CB_HELPER_FDS],
                                const struct cb_helper_options *o);
/* Once in the server, so that nothing is looked for in files when it no longer can be. */
void cb_helper_warm_up(void);

/* helper.c: cb_unpack_read in a helper. Takes the source, whatever comes of it. */
bool cb_helper_is_there(void);
int cb_helper_read(const struct cb_unpack_job *j, struct cb_unpack_result *res, struct cb_error *err) CB_WUR;
