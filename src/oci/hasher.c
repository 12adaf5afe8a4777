/* SPDX-License-Identifier: Apache-2.0 */
/* The hashing half of digest.h, on OpenSSL's EVP. */
#include <openssl/evp.h>

#include "oci/digest.h"
#include "util/alloc.h"

#define PENDING 1024

struct cb_hasher {
    enum cb_digest_alg alg;
    size_t n_pending;         /* short pieces are collected: a call of OpenSSL costs more than copying them */
    uint8_t pending[PENDING];
    EVP_MD *md;
    EVP_MD_CTX *ctx;
};

/* These calls fail only where memory is out or OpenSSL has no provider: there is no going on without hashes. */
static void must(bool ok)
{
    if (!ok)
        abort();
}

static void start(struct cb_hasher *h)
{
    must(EVP_DigestInit_ex2(h->ctx, h->md, NULL) == 1);
}

struct cb_hasher *cb_hasher_new(enum cb_digest_alg alg)
{
    struct cb_hasher *h = CB_NEW(struct cb_hasher);
    h->alg = alg == CB_DIGEST_SHA512 ? CB_DIGEST_SHA512 : CB_DIGEST_SHA256;
    /* Fetched once: a look-up costs more than hashing a small block does. */
    h->md = EVP_MD_fetch(NULL, h->alg == CB_DIGEST_SHA512 ? "SHA2-512" : "SHA2-256", NULL);
    h->ctx = EVP_MD_CTX_new();
    must(h->md && h->ctx);
    start(h);
    return h;
}

void cb_hasher_free(struct cb_hasher *h)
{
    if (!h)
        return;
    EVP_MD_CTX_free(h->ctx);
    EVP_MD_free(h->md);
    free(h);
}

static void flush(struct cb_hasher *h)
{
    if (h->n_pending)
        must(EVP_DigestUpdate(h->ctx, h->pending, h->n_pending) == 1);
    h->n_pending = 0;
}

void cb_hasher_update(struct cb_hasher *h, const void *buf, size_t n)
{
    if (n > PENDING - h->n_pending)
        flush(h);
    if (n >= PENDING) {
        must(EVP_DigestUpdate(h->ctx, buf, n) == 1);
    } else if (n) {
        memcpy(h->pending + h->n_pending, buf, n);
        h->n_pending += n;
    }
}

void cb_hasher_finish(struct cb_hasher *h, struct cb_digest *out)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    flush(h);
    must(EVP_DigestFinal_ex(h->ctx, raw, &len) == 1);
    must(len == cb_digest_len(h->alg));
    *out = (struct cb_digest){ .alg = h->alg };
    memcpy(out->raw, raw, len);
    start(h);
}

void cb_digest_of(struct cb_digest *out, const void *buf, size_t n)
{
    unsigned char raw[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    must(EVP_Digest(n ? buf : "", n, raw, &len, EVP_sha256(), NULL) == 1);
    must(len == cb_digest_len(CB_DIGEST_SHA256));
    *out = (struct cb_digest){ .alg = CB_DIGEST_SHA256 };
    memcpy(out->raw, raw, len);
}

static void put_le64(uint8_t out[static 8], uint64_t v)
{
    for (size_t i = 0; i < 8; i++)
        out[i] = (uint8_t)(v >> (8 * i));
}

static void add_length(struct cb_hasher *h, uint64_t len)
{
    uint8_t le[8];
    put_le64(le, len);
    cb_hasher_update(h, le, sizeof le);
}

void cb_hasher_field_bytes(struct cb_hasher *h, const void *buf, size_t n)
{
    add_length(h, n);
    cb_hasher_update(h, buf, n);
}

void cb_hasher_field(struct cb_hasher *h, const char *s)
{
    /* No string is this long, so that NULL is told from every one of them. */
    if (!s)
        add_length(h, UINT64_MAX);
    else
        cb_hasher_field_bytes(h, s, strlen(s));
}

void cb_hasher_field_u64(struct cb_hasher *h, uint64_t v)
{
    uint8_t le[8];
    put_le64(le, v);
    cb_hasher_field_bytes(h, le, sizeof le);
}

void cb_hasher_field_digest(struct cb_hasher *h, const struct cb_digest *d)
{
    uint8_t bytes[1 + CB_DIGEST_MAX_BYTES];
    size_t len = cb_digest_len(d->alg);
    bytes[0] = (uint8_t)d->alg;
    memcpy(bytes + 1, d->raw, len);
    cb_hasher_field_bytes(h, bytes, 1 + len);
}
