/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The header of a gzip member (RFC 1952, 2.3), in pieces of any size. ISA-L 2.30 forgets what the flags said where it
 * gets one in two pieces, and passes over reserved ones. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cb_gzip_header {
    unsigned field; /* which one is read */
    size_t n;       /* bytes of it so far */
    uint8_t flags;
    bool whole;
    uint16_t length; /* of the extra field */
    uint16_t check;  /* as it is written */
    uint32_t crc;    /* of all that is before it */
};
/* Before the first byte: all zero. */

/* How many of n bytes belong to it; all of them, unless it is whole now. *bad: NULL, or what is wrong. */
size_t cb_gzip_header_take(struct cb_gzip_header *h, const uint8_t *p, size_t n, const char **bad);
