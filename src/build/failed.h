/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* For functions that tell of a failure by NULL. */

#include "util/error.h"

static inline CB_UNUSED int cb_failed(const struct cb_error *err)
{
    return err && err->code ? -(int)err->code : -(int)CB_EINTERNAL;
}
