/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Options of other builders' `build` that have nothing to do here: one warning. Anything that is neither in here nor in
 * the other tables is unknown. */

#include "cmd/opt.h"
#include "util/error.h"

struct compat_options {
    struct cb_strvec ignored;
};
extern const struct cb_opt compat_opts[];
void compat_options_done(struct compat_options *o);
/* The one warning, on standard error; nothing where nothing was ignored. */
void compat_warn(const struct cb_strvec *ignored);
