/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
#include "util/strvec.h"

/* Prints lines whose cells \t separates so that these stand below each other. A column takes min, or what is widest in
 * it and gap behind that; the last cell of a line is in none. */
void cb_columns_print(const struct cb_strvec *lines, size_t min, size_t gap);
