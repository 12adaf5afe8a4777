/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Strict UTF-8 (RFC 3629). */

#include <stddef.h>
#include <stdint.h>

/* Decodes one character of the n ≥ 1 bytes at p: how many bytes it took, or 0 if they are no UTF-8 (overlong forms,
 * surrogates, beyond U+10FFFF, cut off). */
size_t cb_utf8_decode(const char *p, size_t n, uint32_t *cp);
/* Writes the form of cp, which is no surrogate and at most U+10FFFF; returns its length. */
size_t cb_utf8_encode(char out[static 4], uint32_t cp);
