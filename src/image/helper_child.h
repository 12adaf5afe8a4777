/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The files that only a helper runs. Where it cannot tell, cbpush is gone or wants no more: it ends. */

#include "image/helper.h"

struct cb_helper_self {
    const struct cb_helper_job *job;
    int sock, filled, freed, root, plain;
    const struct cb_helper_ring *ring;
    const uint8_t *bytes;
    uint8_t *out; /* READ: the memory for what comes of it */
    int out_filled, out_freed;
    /* The answer about lower layers that is in use. */
    struct cb_toc *answer;
    struct cb_helper_message *m;
};

void cb_helper_tell(const struct cb_helper_self *h, struct cb_helper_head head, const void *payload);
void cb_helper_tell_result(const struct cb_helper_self *h, const struct cb_unpack_result *res);
/* The next message, into h->m. An error that it carries is returned. */
int cb_helper_hear(struct cb_helper_self *h, enum cb_helper_type type, struct cb_error *err) CB_WUR;

/* The answer to a question that was told: bytes, and a descriptor where one came (else -1). */
int cb_helper_hear_answer(struct cb_helper_self *h, struct cb_strbuf *out, int *fd, struct cb_error *err) CB_WUR;

/* helper_child_foreign.c */
int cb_helper_tell_foreign(struct cb_helper_self *h, struct cb_blob_source *source, struct cb_error *err) CB_WUR;
/* helper_child_read.c: the life of one that only reads. source: taken. */
int cb_helper_give(struct cb_helper_self *h, struct cb_blob_source *source, struct cb_error *err) CB_WUR;
