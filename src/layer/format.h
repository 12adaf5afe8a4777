/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How layers are written: the words of command lines for it, and which blobs are that already.
 *
 * Bytes depend on the format, the level and the version of the engine, and on nothing else. "fast" is an engine of its
 * own: ISA-L's level 1, whose bytes are the same on every x86-64 with SSE4.2, and others elsewhere. So it exists on
 * those only, and only where cbpush was built with ISA-L; there is no other engine instead. */

#include <limits.h>
#include <stdbool.h>

#include "oci/mediatype.h"
#include "util/error.h"

#define CB_LEVEL_DEFAULT INT_MIN       /* gzip 5, zstd 3 */
#define CB_LEVEL_FAST (INT_MIN + 1)    /* of gzip */

#define CB_ENGINE_FAST "isal-" /* how the names of its engine begin */

struct cb_format {
    enum cb_compression compression;
    int level;                         /* gzip 0–12, zstd 1–22, or one of the above */
    bool chunked;                      /* with a table, each file by itself: gzip as eStargz, zstd as zstd:chunked */
};

#define CB_FORMAT_NAMES "gzip, estargz, zstd, zstd:chunked, uncompressed"
#define CB_FORMAT_VALUES "gzip|estargz|zstd|zstd:chunked|uncompressed" /* the same, for completion */
#define CB_FORMAT_LEVELS "0 to 12 or fast for gzip, 1 to 22 for zstd"

/* Leaves the level. "none" is "uncompressed". -CB_EUSAGE names those that there are. */
int cb_format_parse(struct cb_format *f, const char *name, struct cb_error *err) CB_WUR;
/* A number or "fast", whatever the compression. -CB_EUSAGE. */
int cb_format_parse_level(struct cb_format *f, const char *text, struct cb_error *err) CB_WUR;
const char *cb_format_name(const struct cb_format *f);
/* Docker's media types have no name for zstd, and its manifests no annotations. */
static inline CB_UNUSED bool cb_format_needs_oci(const struct cb_format *f)
{
    return f->compression == CB_COMPRESSION_ZSTD || f->chunked;
}
static inline CB_UNUSED bool cb_format_is_estargz(const struct cb_format *f)
{
    return f->compression == CB_COMPRESSION_GZIP && f->chunked;
}
/* In codec.c: "libdeflate-1.14/5"; "" for none. */
void cb_format_engine(const struct cb_format *f, char *buf, size_t n);
/* In codec.c: whether there is such a level, and its engine in this program and on this processor. -CB_EUSAGE. */
int cb_format_check(const struct cb_format *f, struct cb_error *err) CB_WUR;

struct cb_format_made {
    enum cb_compression compression;
    bool chunked;
    const char *engine; /* "" where it is not known */
};
/* Whether somebody who wants f can be given a blob that was made so: the default level is any, but of another
 * engine. */
bool cb_format_serves(const struct cb_format *f, const struct cb_format_made *m);
