/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Bytes that nobody can guess, for names and seeds. */

#include <stddef.h>

/* From getrandom(2); a machine that cannot give any ends the program. */
void cb_random_bytes(void *buf, size_t n);
