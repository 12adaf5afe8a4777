/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Options of `docker run` that mean nothing for a container that lives as long as the command that started it, or that
 * would open its sandbox. They are known, so that each is refused with what to do instead. */

#include "cmd/opt.h"

struct refused_options {
    struct cb_strvec said;
    const char *restart;
};
extern const struct cb_opt refused_opts[];
void refused_options_done(struct refused_options *o);
int refused_options_check(const struct refused_options *o, struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
