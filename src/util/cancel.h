/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* One token for one piece of work that can be stopped: by a signal or by the first failure. It is handed down; there is
 * no global one. Safe from any thread and from a signal handler. */

#include <stdbool.h>
#include <stdint.h>

#include "util/error.h"

struct cb_cancel;
/* parent may be NULL; cancelling a parent cancels its children, which must be freed before it. */
struct cb_cancel *cb_cancel_new(struct cb_cancel *parent);
/* One that is also cancelled by itself, so many ns from now. */
struct cb_cancel *cb_cancel_new_for(struct cb_cancel *parent, int64_t ns);
void cb_cancel_free(struct cb_cancel *c);
CB_DEFINE_CLEANUP(struct cb_cancel *, cb_cancel_free)
void cb_cancel_trigger(struct cb_cancel *c, int signo /* 0: not a signal */);
bool cb_canceled(const struct cb_cancel *c); /* NULL is never cancelled */
/* By itself, whatever became of that ancestor. */
bool cb_canceled_below(const struct cb_cancel *c, const struct cb_cancel *top);
int cb_cancel_signal(const struct cb_cancel *c); /* the signal that did it, or 0 */
/* An eventfd that becomes readable (and stays so) on cancel; owned by the token. */
int cb_cancel_fd(const struct cb_cancel *c);
/* 0, or -CB_ECANCELED with "interrupted". */
int cb_cancel_check(const struct cb_cancel *c, struct cb_error *err) CB_WUR;
/* SIGINT, SIGTERM, SIGHUP trigger c; a SIGINT more than a second later kills the process the
 * default way (timeout(1) sends two at once). Once, from main. */
int cb_cancel_on_signals(struct cb_cancel *c, struct cb_error *err) CB_WUR;
/* What is written to fd before that kills: a literal, or NULL for nothing. */
void cb_cancel_last_words(int fd, const char *text);
