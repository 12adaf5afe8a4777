/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A lock whose holder may take long: who waits for it can be cancelled. First come, first served; not recursive. */

#include <pthread.h>
#include <stdbool.h>

#include "util/cancel.h"

struct cb_turn_waiter;
struct cb_turn {
    pthread_mutex_t mu;
    bool taken;
    struct cb_turn_waiter *first; /* on their stacks */
};
void cb_turn_init(struct cb_turn *t);
void cb_turn_done(struct cb_turn *t); /* nobody has it or waits */
/* -CB_ECANCELED where c (or NULL) was cancelled while somebody else had it; -CB_ELOCAL without a descriptor. */
int cb_turn_take(struct cb_turn *t, const struct cb_cancel *c, struct cb_error *err) CB_WUR;
void cb_turn_give(struct cb_turn *t);
size_t cb_turn_waiting(struct cb_turn *t); /* how many do */
