/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* flock(2) that waits, for as long as somebody wants it to. */

#include <stdbool.h>

#include "util/cancel.h"

struct cb_lock_wait {
    const struct cb_cancel *cancel; /* ends the wait; or NULL */
    void (*slow)(void *arg);        /* called once, when a second has passed; or NULL */
    void *slow_arg;
};
/* A lock that is free is taken whatever became of the token. -CB_ECANCELED, -CB_ELOCAL. */
int cb_lock_wait(int fd, bool exclusive, const struct cb_lock_wait *w, struct cb_error *err) CB_WUR;
