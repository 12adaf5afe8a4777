/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The upload of one blob, in parts (distribution-spec "Pushing blobs"; reference §2.5; safety 3a):
 *   upload.c          whole or in chunks; sessions that are lost, and how often one begins anew
 *   upload_session.c  POST, Location, the registry's word about how far a session is
 *   upload_body.c     the bytes, from any offset on
 *   upload_whole.c    one PUT with everything
 *   upload_chunks.c   PATCH after PATCH, and going on after each kind of fault
 *   upload_journal.c  what another process left, and what is left to another
 *   upload_limits.c   what a host takes at once, remembered for the life of the client */

#include "registry/private.h"

/* How a request of an upload ended; failures for good are negative codes. */
enum upload_step {
    UPLOAD_ON,      /* it took what it was given */
    UPLOAD_DONE,    /* it has the blob */
    UPLOAD_ASK,     /* how far it is is not known: to be asked */
    UPLOAD_LOST,    /* the session is gone: HEAD, and another one from the beginning */
    UPLOAD_SMALLER, /* too much at once, nothing of it was taken */
    UPLOAD_WHOLE,   /* it knows no chunks: all in one PUT, in another session */
    UPLOAD_CHUNKED, /* too much for one PUT: in chunks, in another session */
};

/* ---- upload_body.c ---- */
/* A request's body: part of the blob. The source stays open from one request to the next. */
struct upload_body {
    struct push_blob *b;
    struct cb_blob_source *src; /* NULL: not open */
    bool remote;                /* src streams from another registry */
    uint64_t at;                /* of src: the next byte that it gives */
    uint64_t from, length;      /* of the request */
    uint64_t pos;               /* how much of the request was pulled */
    uint64_t sent;              /* of the request, in the try that runs; as far as curl has taken it */
    bool opening;               /* ahead, by another thread, which alone touches src, at, remote; under the push's mu */
};
/* Asks for a source that is far away, while the target is asked for an upload. */
void upload_body_ahead(struct upload_body *x);
void upload_body_part(struct upload_body *x, uint64_t from, uint64_t length);
/* pull, rewind, on_sent of a request that sends the part. */
void upload_body_fill(struct upload_body *x, struct reg_request *q);
void upload_body_done(struct upload_body *x);

/* ---- one upload ---- */
struct upload {
    struct push_blob *b;
    struct upload_body body;
    struct push_session at; /* url NULL: none is open */
    uint64_t offset;        /* so much the registry has, by its word or by our count */
    uint64_t reached;       /* no byte from here on was sent in this session */
    uint64_t mark;          /* how far it was when faults were counted from 0 */
    unsigned faults;        /* since then */
    unsigned lost;          /* how often the blob began anew */
    uint64_t said;          /* by the last answer about the session: so much is there, UINT64_MAX: it does not tell */
    bool gone;              /* the registry does not know it (any more) */
    bool renewed;           /* the last chunk was answered with 401: once is enough */
    bool doubtful;          /* the offset may be off by a byte, or bytes were sent twice: a refusal proves it wrong */
    bool spliced;           /* went on after a fault: a wrong digest may be our own doing */
    bool whole;             /* PATCH is not known here, or was not for this blob */
    struct cb_error why;    /* the last fault */
    void *entry;            /* in the journal, or NULL */
};
/* After a request that got no reply: whether it is worth going on. The step, or what s says. */
int upload_failed(struct upload *u, int s, int step, struct cb_error *e, struct cb_error *err);
/* Waits before another try: longer each time, or what the registry asked for. -CB_ENET where that is too long. */
int upload_pause(struct upload *u, unsigned tries, struct cb_error *err) CB_WUR;
void upload_note_wait(struct push_blob *b, const struct cb_http_reply *reply);
bool upload_is_transient(unsigned status);
void upload_session_drop(struct upload *u);

/* ---- upload_session.c ---- */
/* POST. UPLOAD_ON: u->at is set; UPLOAD_DONE where the registry has the blob already. */
int upload_open(struct upload *u, struct cb_error *err) CB_WUR;
/* The newest Location, where there is one. */
int upload_follow(struct upload *u, const struct cb_http_reply *reply, struct cb_error *err) CB_WUR;
/* GET of the session. UPLOAD_ON: u->offset is what it said, or as before where it does not tell; UPLOAD_LOST. refused:
 * the last request was refused as a whole, so that a registry without this request still has its session. */
int upload_ask(struct upload *u, bool refused, struct cb_error *err) CB_WUR;
/* How much a Range header of an upload ("0-9", also "bytes=0-9") says is there: 10. UINT64_MAX where there is none that
 * can be read. "0-0" is 1, and may mean 0 (spec). */
uint64_t upload_range(const char *value);
/* session + ?digest= or &digest=. Owned. */
char *upload_url_with_digest(const char *session, const struct cb_digest *d);

/* ---- upload_whole.c, upload_chunks.c: UPLOAD_DONE, LOST, CHUNKED or WHOLE ---- */
int upload_whole(struct upload *u, struct cb_error *err) CB_WUR;
int upload_chunks(struct upload *u, struct cb_error *err) CB_WUR;

/* ---- upload_journal.c: does nothing without a journal ---- */
/* Makes the entry ours; where the registry still has what was left, u goes on with that. Fails only when cancelled. */
int upload_journal_take(struct upload *u, struct cb_error *err) CB_WUR;
void upload_journal_note(struct upload *u); /* the session as it is */
void upload_journal_close(struct upload *u, bool done);

/* ---- upload_limits.c ---- */
bool upload_wants_chunks(const struct upload *u);
/* The next chunk's length, before the blob's end is minded. */
uint64_t upload_chunk_size(const struct upload *u);
/* A chunk of n bytes went in ns: larger ones are tried while they go fast, smaller ones where they take too long. */
void upload_chunk_taken(const struct upload *u, uint64_t n, int64_t ns);
/* A chunk or a whole blob of n bytes is too much. -CB_ENET where less is not possible. */
int upload_chunk_refused(const struct upload *u, uint64_t n, struct cb_error *err) CB_WUR;
void upload_whole_refused(const struct upload *u, uint64_t n);
enum upload_trait { UPLOAD_CHUNKS_WORK, UPLOAD_NO_CHUNKS, UPLOAD_RANGE_STUCK };
void upload_learn(const struct upload *u, enum upload_trait t);
bool upload_knows(const struct upload *u, enum upload_trait t);
