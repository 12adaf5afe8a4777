/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Content digests (OCI image-spec, descriptor.md "Digests"): algorithm and raw bytes, parsed once. Paths and URLs are
 * made from the struct only, never from text that came from outside (rule R13). Registered algorithms: sha256,
 * sha512. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/strbuf.h"
#include "util/trace.h"

enum cb_digest_alg { CB_DIGEST_NONE = 0, CB_DIGEST_SHA256, CB_DIGEST_SHA512 };
#define CB_DIGEST_MAX_BYTES 64
#define CB_DIGEST_TEXT_MAX (7 + 128 + 1) /* "sha512:" + hex + NUL */

struct cb_digest {
    enum cb_digest_alg alg; /* NONE: no digest */
    uint8_t raw[CB_DIGEST_MAX_BYTES];
};

size_t cb_digest_len(enum cb_digest_alg alg); /* bytes */
const char *cb_digest_alg_name(enum cb_digest_alg alg);
/* "sha256:<64 lower-case hex>"; everything else is -CB_EVERIFY and *out untouched. */
int cb_digest_parse(struct cb_digest *out, const char *text, struct cb_error *err) CB_WUR;
bool cb_digest_eq(const struct cb_digest *a, const struct cb_digest *b); /* NONE equals nothing */
int cb_digest_cmp(const struct cb_digest *a, const struct cb_digest *b); /* for sorting */
static inline CB_UNUSED bool cb_digest_is_set(const struct cb_digest *d)
{
    return d->alg != CB_DIGEST_NONE;
}
/* "sha256:…"; returns buf. */
const char *cb_digest_text(const struct cb_digest *d, char buf[static CB_DIGEST_TEXT_MAX]);
/* The hex part alone; returns buf. */
const char *cb_digest_hex(const struct cb_digest *d, char buf[static CB_DIGEST_TEXT_MAX]);
void cb_strbuf_add_digest(struct cb_strbuf *sb, const struct cb_digest *d);
/* Of what a span is; nothing where d is NULL or NONE. */
void cb_span_digest(struct cb_span *s, const char *key, const struct cb_digest *d);

/* A sha256 where there are very many of them, as in tables of files. */
struct cb_sum {
    bool known;
    uint8_t raw[32];
};
void cb_sum_take(struct cb_sum *out, const struct cb_digest *d); /* unknown where d is no sha256 */
struct cb_digest cb_sum_digest(const struct cb_sum *s);          /* NONE where it is unknown */
bool cb_sum_eq(const struct cb_sum *a, const struct cb_sum *b);  /* what is unknown equals nothing */
void cb_sum_of(struct cb_sum *out, const void *buf, size_t n);   /* of bytes in memory */
/* One that is still to be computed, in a table that nobody keeps: known, but of nothing. */
void cb_sum_defer(struct cb_sum *out);

/* Of bytes in memory, sha256. */
void cb_digest_of(struct cb_digest *out, const void *buf, size_t n);

/* Incremental. */
struct cb_hasher;
struct cb_hasher *cb_hasher_new(enum cb_digest_alg alg);
void cb_hasher_free(struct cb_hasher *h);
CB_DEFINE_CLEANUP(struct cb_hasher *, cb_hasher_free)
void cb_hasher_update(struct cb_hasher *h, const void *buf, size_t n);
void cb_hasher_finish(struct cb_hasher *h, struct cb_digest *out); /* then it is reset and may be used again */
/* Canonical encoding for keys: a length-prefixed (LE64) field, so that no two field lists hash alike. NULL differs
 * from "". */
void cb_hasher_field(struct cb_hasher *h, const char *s);
void cb_hasher_field_bytes(struct cb_hasher *h, const void *buf, size_t n);
void cb_hasher_field_u64(struct cb_hasher *h, uint64_t v);
void cb_hasher_field_digest(struct cb_hasher *h, const struct cb_digest *d);
