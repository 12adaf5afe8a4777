/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bytes from one descriptor to another that may be slower, one of them the end of a pipe of the step's own. Never waits
 * but at the end. */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/cancel.h"
#include "util/error.h"

struct cb_relay {
    int from, to;  /* -1: it is over */
    int *ours;     /* which of them is ours to close when it is */
    bool quiet;    /* what cannot be written is nobody's loss: the step does not read its input */
    size_t at, n;  /* of buf: not written yet */
    char buf[64 << 10];
};
/* What it waits for. */
void cb_relay_poll(const struct cb_relay *r, struct pollfd *p);
/* A reader that has gone is no failure: the pipe is closed, and whoever writes to it is told as usual. */
int cb_relay_serve(struct cb_relay *r, short revents, struct cb_error *err) CB_WUR;
/* Nothing is added any more: the rest is written, unless nobody takes it and cancel says that nobody waits. */
int cb_relay_finish(struct cb_relay *r, const struct cb_cancel *cancel, struct cb_error *err) CB_WUR;
