/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Layers are read in processes of their own (rule R3): decompressors, tar and the writing of files, for bytes that
 * anybody may have made. Inside of image; image.h has what others need.
 *
 *   cbpush ──exec of itself──► server ──fork, one a layer──► helper (shut in: util/confine.h)
 *
 * cbpush (helper.c) reads the blob, whose digest is checked there as ever, into memory that it shares with the helper,
 * which cannot write to it. The helper (helper_child.c) answers over a socket: questions for what lower layers have,
 * and in the end the table, the diff id and what is to be marked in the tree. All of that is taken for hostile. The
 * server (helper_server.c) forks, kills and reaps; it begins with the first layer that is read or expected, and has
 * nothing of what cbpush knows. */

#include <stdatomic.h>
#include <sys/types.h>

#include "image/private.h"

#define CB_HELPERS_FD 3 /* the server's end of its socket, when it is executed */

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
    CB_HELPER_ENDED,      /* there are no more entries. The answer: FINISH */
    CB_HELPER_VERDICT,    /* value: whether it is one */
    CB_HELPER_DONE,       /* value: size; digest: the diff id */
    CB_HELPER_ERROR,      /* code, sys_errno; payload: the text */
    CB_HELPER_RANGE,      /* payload: cb_helper_range. The answer: these bytes */
    /* to it */
    CB_HELPER_ANSWER,     /* value: bytes that follow in parts; code, sys_errno and text where it is an error */
    CB_HELPER_PART,       /* payload */
    CB_HELPER_FINISH,     /* read to the end; value: whether the table is wanted */
};
struct cb_helper_range {
    uint64_t offset, len; /* of the blob that the table is of */
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

/* ---- entries and bytes on their way out: records in a ring of CB_HELPER_RING bytes ---- */
enum cb_helper_record_type {
    CB_HELPER_ENTRY = 1, /* as cb_entry_print has it; behind a FILE all of its bytes in DATA */
    CB_HELPER_DATA,
};
struct cb_helper_record {
    uint32_t type, n; /* n: bytes that follow */
};

/* ---- what the server is asked for: one packet with descriptors ---- */
enum cb_helper_fd {
    CB_HELPER_SOCK, CB_HELPER_LIFE, CB_HELPER_MEMORY, CB_HELPER_FILLED, CB_HELPER_FREED,
    CB_HELPER_TREE, /* UNPACK: a directory, or none; TO_FILE: a file; and behind it nothing */
    CB_HELPER_OUT = CB_HELPER_TREE, /* READ: the memory; eventfds that count bytes put into it and given back */
    CB_HELPER_OUT_FILLED, CB_HELPER_OUT_FREED,
    CB_HELPER_FDS
};
enum cb_helper_kind {
    CB_HELPER_UNPACK,
    CB_HELPER_TO_FILE, /* the tar as it is */
    CB_HELPER_READ,
    CB_HELPER_PROBE, /* whether an archive begins there */
    CB_HELPER_FOREIGN, /* a table of another format; the diff id it tells is the digest of what it was given */
    CB_HELPER_TRIAL, /* it says READY and ends */
};
struct cb_helper_job {
    enum cb_helper_kind kind;
    bool single_id, raw, progress;
    bool defer_digests; /* TO_FILE */
    bool lower; /* there are layers below that may be asked about */
    bool data;  /* READ: entries are wanted, not only the table */
    uint64_t max_entries; /* READ */
    struct cb_foreign_place place; /* FOREIGN */
    bool users; /* the same: they are read too */
    unsigned threads; /* that may inflate what is not needed yet */
    struct cb_digest diff_id;
    uint64_t max_size;
};
/* What the server says over LIFE when the helper is gone. */
struct cb_helper_end {
    int fork_errno; /* it was never there */
    int status;     /* as from waitpid(2) */
    bool lost;      /* the server did not say it, but is gone, and all helpers with it */
};

/* helper_server.c: the life of the server, which ends with its parent. */
CB_NORETURN void cb_helper_serve(int sock, const struct cb_helper_options *o);
/* helper_child.c: the life of a helper. */
CB_NORETURN void cb_helper_main(const struct cb_helper_job *job, const int fds[CB_HELPER_FDS],
                                const struct cb_helper_options *o);
/* Once in the server, so that nothing is looked for in files when it no longer can be. */
void cb_helper_warm_up(void);

/* ---- helper_start.c ---- */
bool cb_helper_is_there(void); /* or will be when it is first needed */
/* Its socket, borrowed. Starts it where that is still to be done; -CB_ELOCAL. */
int cb_helper_server(struct cb_error *err) CB_WUR;

/* ---- helper_link.c: one helper, from cbpush's side ---- */
struct cb_helper_link {
    struct cb_blob_source *source; /* borrowed */
    const struct cb_cancel *cancel;
    int sock, life, memory, filled, freed;
    struct cb_helper_ring *ring;
    uint8_t *bytes;
    uint64_t sent, taken;   /* of the blob */
    bool source_ended, ready, done, gone;
    unsigned held;
    struct cb_strbuf toc;
    uint64_t received;      /* bytes of messages */
    struct cb_helper_message *m;
};
void cb_helper_link_init(struct cb_helper_link *h, struct cb_blob_source *source, const struct cb_cancel *cancel);
void cb_helper_link_done(struct cb_helper_link *h); /* kills it, too, but does not wait */
/* more: the descriptors from CB_HELPER_TREE on, ended by -1. */
int cb_helper_link_start(struct cb_helper_link *h, const struct cb_helper_job *job, const int *more,
                         struct cb_error *err) CB_WUR;
/* Kills it where it runs, and waits. Again, or where none was started: as if it had been killed. */
struct cb_helper_end cb_helper_link_end(struct cb_helper_link *h);
/* Why there is no result; -CB_EVERIFY or -CB_ELOCAL. */
int cb_helper_blame(struct cb_helper_end end, struct cb_error *err) CB_WUR;
int cb_helper_no_sense(struct cb_error *err) CB_WUR;
/* 1: there is a message, in h->m; 0: none now, and h->gone where there will be none. */
int cb_helper_link_hear(struct cb_helper_link *h, struct cb_error *err) CB_WUR;
/* What all helpers say; -CB_EVERIFY for other messages. An ERROR is one. */
int cb_helper_link_take(struct cb_helper_link *h, struct cb_error *err) CB_WUR;
/* expect: the only diff id that it may tell, or NULL. Where digests are deferred it tells none. */
int cb_helper_link_take_done(struct cb_helper_link *h, const struct cb_digest *expect,
                             struct cb_layer_read_result *out, struct cb_error *err) CB_WUR;
/* More of the blob where there is room for much; never waits for the helper. */
int cb_helper_link_feed(struct cb_helper_link *h, struct cb_error *err) CB_WUR;
/* More of the blob, or else waits until something happens, at the descriptor `also` (or -1) too. */
int cb_helper_link_step(struct cb_helper_link *h, int also, struct cb_error *err) CB_WUR;

/* The answer to a question: bytes (and a descriptor, or -1), or why there are none. That the helper is gone is no
 * failure here. */
int cb_helper_link_answer(struct cb_helper_link *h, const struct cb_strbuf *bytes, int fd, struct cb_error *err) CB_WUR;
int cb_helper_link_answer_error(struct cb_helper_link *h, const struct cb_error *e, struct cb_error *err) CB_WUR;

/* ---- helper_reader.c: what cb_layer_reader_new makes where there are helpers ---- */
struct cb_layer_reader *cb_helper_reader(const struct cb_layer_read_options *o, struct cb_error *err);

/* ---- helper_probe.c ---- 1, 0: what cannot be inflated is none; fails where the helper does. */
int cb_helper_begins_archive(struct cb_blob_source *src, struct cb_error *err) CB_WUR;

/* ---- helper_foreign.c ---- cb_foreign_table of layer */
int cb_helper_foreign_table(const struct cb_foreign_work *w, struct cb_toc **out, struct cb_error *err) CB_WUR;

/* ---- helper.c: cb_unpack_read in a helper. Takes the source, whatever comes of it ---- */
int cb_helper_read(const struct cb_unpack_job *j, struct cb_unpack_result *res, struct cb_error *err) CB_WUR;
