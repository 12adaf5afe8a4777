/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/digest.h"

#include "util/encode.h"

static const struct {
    const char *name;
    size_t bytes;
} algorithms[] = {
    [CB_DIGEST_NONE] = { "none", 0 },
    [CB_DIGEST_SHA256] = { "sha256", 32 },
    [CB_DIGEST_SHA512] = { "sha512", 64 },
};

size_t cb_digest_len(enum cb_digest_alg alg)
{
    return (size_t)alg < CB_COUNTOF(algorithms) ? algorithms[alg].bytes : 0;
}

const char *cb_digest_alg_name(enum cb_digest_alg alg)
{
    return (size_t)alg < CB_COUNTOF(algorithms) ? algorithms[alg].name : "unknown";
}

static enum cb_digest_alg algorithm_of(const char *text, size_t len)
{
    for (size_t i = CB_DIGEST_SHA256; i < CB_COUNTOF(algorithms); i++)
        if (strlen(algorithms[i].name) == len && memcmp(algorithms[i].name, text, len) == 0)
            return (enum cb_digest_alg)i;
    return CB_DIGEST_NONE;
}

int cb_digest_parse(struct cb_digest *out, const char *text, struct cb_error *err)
{
    if (!text || !*text)
        return cb_error_set(err, CB_EVERIFY, "the digest is empty");
    const char *colon = strchr(text, ':');
    if (!colon)
        return cb_error_set(err, CB_EVERIFY, "\"%.160s\" is no digest: it has no \"algorithm:\"", text);
    struct cb_digest d = { .alg = algorithm_of(text, (size_t)(colon - text)) };
    if (d.alg == CB_DIGEST_NONE)
        return cb_error_set(err, CB_EVERIFY, "the digest algorithm \"%.*s\" is not one of sha256, sha512",
                            (int)CB_MIN(colon - text, 64), text);
    size_t bytes = cb_digest_len(d.alg);
    if (strlen(colon + 1) != 2 * bytes)
        return cb_error_set(err, CB_EVERIFY, "\"%.160s\" is no digest: %s has %zu hexadecimal digits", text,
                            cb_digest_alg_name(d.alg), 2 * bytes);
    if (!cb_hex_decode(d.raw, colon + 1, bytes))
        return cb_error_set(err, CB_EVERIFY, "\"%.160s\" is no digest: only 0-9 and a-f may follow the colon", text);
    *out = d;
    return 0;
}

bool cb_digest_eq(const struct cb_digest *a, const struct cb_digest *b)
{
    return a->alg != CB_DIGEST_NONE && a->alg == b->alg && memcmp(a->raw, b->raw, cb_digest_len(a->alg)) == 0;
}

int cb_digest_cmp(const struct cb_digest *a, const struct cb_digest *b)
{
    if (a->alg != b->alg)
        return a->alg < b->alg ? -1 : 1;
    return memcmp(a->raw, b->raw, cb_digest_len(a->alg));
}

void cb_sum_take(struct cb_sum *out, const struct cb_digest *d)
{
    *out = (struct cb_sum){ .known = d->alg == CB_DIGEST_SHA256 };
    if (out->known)
        memcpy(out->raw, d->raw, sizeof out->raw);
}

struct cb_digest cb_sum_digest(const struct cb_sum *s)
{
    struct cb_digest d = { .alg = s->known ? CB_DIGEST_SHA256 : CB_DIGEST_NONE };
    if (s->known)
        memcpy(d.raw, s->raw, sizeof s->raw);
    return d;
}

bool cb_sum_eq(const struct cb_sum *a, const struct cb_sum *b)
{
    return a->known && b->known && memcmp(a->raw, b->raw, sizeof a->raw) == 0;
}

void cb_sum_of(struct cb_sum *out, const void *buf, size_t n)
{
    struct cb_digest d;
    cb_digest_of(&d, buf, n);
    cb_sum_take(out, &d);
}

void cb_sum_defer(struct cb_sum *out)
{
    *out = (struct cb_sum){ .known = true };
}

const char *cb_digest_hex(const struct cb_digest *d, char buf[static CB_DIGEST_TEXT_MAX])
{
    cb_hex_encode(buf, d->raw, cb_digest_len(d->alg));
    return buf;
}

const char *cb_digest_text(const struct cb_digest *d, char buf[static CB_DIGEST_TEXT_MAX])
{
    const char *name = cb_digest_alg_name(d->alg);
    size_t n = strlen(name);
    memcpy(buf, name, n);
    buf[n] = ':';
    cb_hex_encode(buf + n + 1, d->raw, cb_digest_len(d->alg));
    return buf;
}

void cb_strbuf_add_digest(struct cb_strbuf *sb, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_strbuf_adds(sb, cb_digest_text(d, text));
}

void cb_span_digest(struct cb_span *s, const char *key, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    if (s->begin && d && cb_digest_is_set(d))
        cb_span_text(s, key, cb_digest_text(d, text));
}
