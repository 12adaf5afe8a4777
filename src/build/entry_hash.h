/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What an entry is, whatever its time: one part of every digest that stands for contents. */

#include "layer/layer.h"

void cb_hash_entry(struct cb_hasher *h, const struct cb_entry *e);
