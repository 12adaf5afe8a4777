/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "layer/toc.h"
#include "util/encode.h"
#include "util/limits.h"

void cb_toc_pin_of(struct cb_toc_pin *out, const struct cb_toc *t)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_toc_print(&text, t);
    *out = (struct cb_toc_pin){ .size = text.len };
    cb_digest_of(&out->digest, text.buf, text.len);
}

bool cb_toc_pin_read(struct cb_toc_pin *out, const struct cb_strmap *annotations)
{
    const char *digest = cb_strmap_get(annotations, CB_ANN_TOC_DIGEST);
    const char *size = cb_strmap_get(annotations, CB_ANN_TOC_SIZE);
    struct cb_toc_pin pin = { 0 };
    *out = (struct cb_toc_pin){ 0 };
    if (!digest || !size || cb_digest_parse(&pin.digest, digest, NULL) < 0 || pin.digest.alg != CB_DIGEST_SHA256)
        return false;
    if (!cb_parse_u64(size, CB_MAX_TOC_BLOB, &pin.size) || !pin.size)
        return false;
    *out = pin;
    return true;
}

bool cb_toc_pin_decode(const struct cb_toc_pin *pin, const char *data, struct cb_strbuf *out)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest sum;
    if (!data || pin->size > CB_TOC_SMALL || !cb_base64_decode(&text, data, strnlen(data, 2 * CB_TOC_SMALL)))
        return false;
    cb_digest_of(&sum, text.buf, text.len);
    if (text.len != pin->size || !cb_digest_eq(&sum, &pin->digest))
        return false;
    if (out)
        cb_strbuf_add(out, text.buf, text.len);
    return true;
}

bool cb_toc_pin_has_data(const struct cb_toc_pin *pin, const struct cb_strmap *annotations)
{
    return cb_toc_pin_decode(pin, cb_strmap_get(annotations, CB_ANN_TOC_DATA), NULL);
}

void cb_toc_pin_remove(struct cb_strmap *annotations)
{
    (void)cb_strmap_remove(annotations, CB_ANN_TOC_DIGEST);
    (void)cb_strmap_remove(annotations, CB_ANN_TOC_SIZE);
    (void)cb_strmap_remove(annotations, CB_ANN_TOC_DATA);
}

void cb_toc_pin_write(const struct cb_toc_pin *pin, const struct cb_strbuf *table, struct cb_strmap *annotations)
{
    struct cb_strbuf data cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX], size[24];
    snprintf(size, sizeof size, "%" PRIu64, pin->size);
    cb_strmap_set(annotations, CB_ANN_TOC_DIGEST, cb_digest_text(&pin->digest, digest));
    cb_strmap_set(annotations, CB_ANN_TOC_SIZE, size);
    if (!table)
        return;
    cb_base64_encode(&data, table->buf, table->len);
    cb_strmap_set(annotations, CB_ANN_TOC_DATA, data.buf);
}

bool cb_toc_pin_eq(const struct cb_toc_pin *a, const struct cb_toc_pin *b)
{
    return cb_digest_eq(&a->digest, &b->digest) && a->size == b->size;
}
