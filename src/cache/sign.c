/* SPDX-License-Identifier: Apache-2.0 */
/* Signatures of records: ed25519 (RFC 8032) over a digest of everything that counts, field by field, so that it does
 * not matter in which set a record stands. The note is for people, and is not part of it. */
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>

#include "cache/private.h"
#include "util/alloc.h"
#include "util/secret.h"

#define KEY_MAX (64u << 10)

struct cb_cache_key {
    EVP_PKEY *pkey;
};

/* Never asks at a terminal for a passphrase. */
static int no_passphrase(char *buf, int size, int rw, void *arg)
{
    (void)buf, (void)size, (void)rw, (void)arg;
    return 0;
}

int cb_cache_key_read(const char *path, bool secret, struct cb_cache_key **out, struct cb_error *err)
{
    CB_AUTO(cb_secret_free) struct cb_secret *pem = NULL;
    int r = cb_secret_read(path, KEY_MAX, &pem, err);
    if (r < 0)
        return r;
    BIO *bio = BIO_new_mem_buf(cb_secret_data(pem), (int)cb_secret_size(pem));
    EVP_PKEY *pkey = secret ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL)
                            : PEM_read_bio_PUBKEY(bio, NULL, no_passphrase, NULL);
    BIO_free(bio);
    if (!pkey || !EVP_PKEY_is_a(pkey, "ED25519")) {
        EVP_PKEY_free(pkey);
        return cb_error_set(err, CB_EUSAGE, "%s is no %s ed25519 key in PEM: openssl genpkey -algorithm ed25519%s",
                            path, secret ? "private" : "public", secret ? "" : "; openssl pkey -pubout");
    }
    *out = CB_NEW(struct cb_cache_key);
    (*out)->pkey = pkey;
    return 0;
}

void cb_cache_key_free(struct cb_cache_key *k)
{
    if (k)
        EVP_PKEY_free(k->pkey);
    free(k);
}

static void digest_layer(struct cb_hasher *h, const struct cb_cache_layer *l)
{
    bool blob = cb_digest_is_set(&l->blob.digest), toc = cb_digest_is_set(&l->toc);
    cb_hasher_field_digest(h, &l->diff_id);
    cb_hasher_field_u64(h, l->size);
    cb_hasher_field_u64(h, blob);
    if (blob) {
        cb_hasher_field_digest(h, &l->blob.digest);
        cb_hasher_field_u64(h, l->blob.size);
        cb_hasher_field(h, l->blob.media_type);
        cb_hasher_field(h, l->blob.engine ? l->blob.engine : "");
    }
    cb_hasher_field_u64(h, toc);
    if (toc) {
        cb_hasher_field_digest(h, &l->toc);
        cb_hasher_field_u64(h, l->toc_size);
    }
}

static void digest_step(const struct cb_cache_set *set, const struct cb_cache_step *step, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    bool told = cb_digest_is_set(&step->content);
    cb_hasher_field(h, told ? "cbpush-cache-record/2" : "cbpush-cache-record/1");
    cb_hasher_field_digest(h, &step->key);
    cb_hasher_field_u64(h, step->whole);
    cb_hasher_field_u64(h, (uint64_t)step->created);
    cb_hasher_field_u64(h, step->n_layers);
    for (size_t i = 0; i < step->n_layers; i++)
        digest_layer(h, &set->layers[step->layers[i]]);
    if (told) {
        cb_hasher_field_digest(h, &step->content);
        cb_hasher_field_u64(h, step->added);
    }
    cb_hasher_finish(h, out);
}

bool cache_sign_digest(const struct cb_cache_key *k, const struct cb_digest *d, uint8_t out[static CB_CACHE_SIGNATURE])
{
    size_t n = CB_CACHE_SIGNATURE;
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool done = ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
                EVP_DigestSign(ctx, out, &n, d->raw, cb_digest_len(d->alg)) == 1 && n == CB_CACHE_SIGNATURE;
    EVP_MD_CTX_free(ctx);
    return done;
}

bool cache_verify_digest(const struct cb_cache_key *k, const struct cb_digest *d,
                         const uint8_t signature[static CB_CACHE_SIGNATURE])
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, k->pkey) == 1 &&
                EVP_DigestVerify(ctx, signature, CB_CACHE_SIGNATURE, d->raw, cb_digest_len(d->alg)) == 1;
    EVP_MD_CTX_free(ctx);
    return good;
}

int cb_cache_sign(const struct cb_cache_key *k, const struct cb_cache_set *set, struct cb_cache_step *step,
                  struct cb_error *err)
{
    struct cb_digest d;
    digest_step(set, step, &d);
    step->is_signed = cache_sign_digest(k, &d, step->signature);
    return step->is_signed ? 0 : cb_error_set(err, CB_ELOCAL, "a cache record cannot be signed");
}

bool cb_cache_verify(const struct cb_cache_key *k, const struct cb_cache_set *set, const struct cb_cache_step *step)
{
    struct cb_digest d;
    digest_step(set, step, &d);
    return step->is_signed && cache_verify_digest(k, &d, step->signature);
}
