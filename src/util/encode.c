/* SPDX-License-Identifier: Apache-2.0 */
#include "util/encode.h"

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void cb_hex_encode(char *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits[in[i] >> 4];
        out[2 * i + 1] = hex_digits[in[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_value_lower(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool cb_hex_decode(uint8_t *out, const char *hex, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int high = hex_value_lower(hex[2 * i]);
        /* Looked at only behind a good digit: the string may end here. */
        int low = high < 0 ? -1 : hex_value_lower(hex[2 * i + 1]);
        if (low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

void cb_base64_encode(struct cb_strbuf *out, const void *in, size_t n)
{
    const uint8_t *p = in;
    for (size_t i = 0; i < n; i += 3) {
        size_t have = CB_MIN(n - i, (size_t)3);
        uint32_t v = (uint32_t)p[i] << 16;
        v |= have > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        v |= have > 2 ? (uint32_t)p[i + 2] : 0;
        char quad[4];
        for (size_t k = 0; k < 4; k++)
            quad[k] = k <= have ? base64_digits[v >> (18 - 6 * k) & 63] : '=';
        cb_strbuf_add(out, quad, sizeof quad);
    }
}

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* digits counts what came in; what is left of it over groups of four decides which padding is right. */
static bool base64_padding_ok(size_t digits, size_t pads)
{
    size_t rest = digits % 4;
    return rest != 1 && (pads == 0 || pads == (4 - rest) % 4);
}

bool cb_base64_decode(struct cb_strbuf *out, const char *in, size_t n)
{
    size_t before = out->len, digits = 0, pads = 0;
    uint32_t v = 0;
    unsigned bits = 0;
    cb_strbuf_reserve(out, n / 4 * 3 + 3);
    for (size_t i = 0; i < n; i++) {
        if (in[i] == '\r' || in[i] == '\n')
            continue;
        int d = in[i] == '=' ? 0 : base64_value(in[i]);
        if (d < 0 || (pads && in[i] != '=')) {
            cb_strbuf_setlen(out, before);
            return false;
        }
        if (in[i] == '=') {
            pads++;
            continue;
        }
        digits++;
        v = v << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            cb_strbuf_addch(out, (char)(v >> bits & 0xff));
        }
    }
    if (!base64_padding_ok(digits, pads))
        cb_strbuf_setlen(out, before);
    return base64_padding_ok(digits, pads);
}

static bool is_unreserved(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void cb_percent_encode(struct cb_strbuf *out, const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (is_unreserved(s[i]))
            cb_strbuf_addch(out, s[i]);
        else
            cb_strbuf_addf(out, "%%%02X", (unsigned)(unsigned char)s[i]);
    }
}

static int hex_value(char c)
{
    return hex_value_lower(c >= 'A' && c <= 'F' ? (char)(c - 'A' + 'a') : c);
}

bool cb_percent_decode(struct cb_strbuf *out, const char *s, size_t n)
{
    size_t before = out->len;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '%') {
            cb_strbuf_addch(out, s[i]);
            continue;
        }
        int high = n - i > 2 ? hex_value(s[i + 1]) : -1;
        int low = n - i > 2 ? hex_value(s[i + 2]) : -1;
        if (high < 0 || low < 0) {
            cb_strbuf_setlen(out, before);
            return false;
        }
        cb_strbuf_addch(out, (char)(high << 4 | low));
        i += 2;
    }
    return true;
}
