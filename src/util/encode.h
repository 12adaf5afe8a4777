/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* hex, base64 (RFC 4648, standard alphabet), percent-encoding and strict numbers. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/macros.h"
#include "util/strbuf.h"

void cb_hex_encode(char *out /* 2n+1 */, const uint8_t *in, size_t n);
/* Lower case only; reads exactly 2n characters, fewer where one is wrong. */
bool cb_hex_decode(uint8_t *out, const char *hex, size_t n /* bytes */);
void cb_base64_encode(struct cb_strbuf *out, const void *in, size_t n);
/* Padding may be absent; NULs at the end stay; line ends are passed over, as Go does. The decoders add to out, and
 * leave it as it was when they fail. */
bool cb_base64_decode(struct cb_strbuf *out, const char *in, size_t n);
void cb_percent_encode(struct cb_strbuf *out, const char *s, size_t n); /* all but unreserved characters of RFC 3986 */
bool cb_percent_decode(struct cb_strbuf *out, const char *s, size_t n);

/* The whole string, digits only, no sign, no blanks, in range; false otherwise and *out untouched. */
bool cb_parse_u64(const char *s, uint64_t max, uint64_t *out);
bool cb_parse_u32(const char *s, uint32_t *out);
bool cb_parse_octal(const char *s, uint32_t max, uint32_t *out);
/* "64m", "2g", "512k", plain bytes; binary units as docker's memory flags. */
bool cb_parse_bytes(const char *s, uint64_t *out);
/* Checked arithmetic: false on overflow. */
#define cb_add_overflow(a, b, out) __builtin_add_overflow(a, b, out)
#define cb_mul_overflow(a, b, out) __builtin_mul_overflow(a, b, out)
