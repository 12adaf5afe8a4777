/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The terminal of `run -it`: a pty of the step's own /dev/pts whose master is copied to and from the caller's. */

#include <poll.h>
#include <termios.h>

#include "exec/sandbox.h"

#define CB_PTY_RESIZE_MS 200 /* how soon a change of the window's size is passed on */

struct cb_pty_copy {
    struct cb_sandbox *sb;   /* NULL: no terminal */
    int input;               /* the caller's, -1 at its end */
    bool raw;                /* `input` is a terminal in raw mode; `saved` is what it was */
    struct termios saved;
    unsigned short rows, columns;
    char pending[4096];      /* read from input, not yet taken by the master */
    size_t from, to;
};
/* All of them do nothing where the step has no terminal. */
void cb_pty_begin(struct cb_pty_copy *c, struct cb_sandbox *sb);
void cb_pty_poll(const struct cb_pty_copy *c, struct pollfd *master, struct pollfd *input);
int cb_pty_serve(struct cb_pty_copy *c, short master, short input, struct cb_error *err) CB_WUR;
void cb_pty_drain(struct cb_pty_copy *c);
void cb_pty_end(struct cb_pty_copy *c); /* the caller's terminal is as it was */
