/* SPDX-License-Identifier: Apache-2.0 */
/* The strict numbers of encode.h. */
#include "util/encode.h"

static bool parse_digits(const char *s, size_t n, unsigned base, uint64_t max, uint64_t *out)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] >= (char)('0' + base))
            return false;
        if (cb_mul_overflow(v, base, &v) || cb_add_overflow(v, (unsigned)(s[i] - '0'), &v))
            return false;
    }
    if (!n || v > max)
        return false;
    *out = v;
    return true;
}

bool cb_parse_u64(const char *s, uint64_t max, uint64_t *out)
{
    return parse_digits(s, strlen(s), 10, max, out);
}

bool cb_parse_u32(const char *s, uint32_t *out)
{
    uint64_t v;
    if (!cb_parse_u64(s, UINT32_MAX, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

bool cb_parse_octal(const char *s, uint32_t max, uint32_t *out)
{
    uint64_t v;
    if (!parse_digits(s, strlen(s), 8, max, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

/* "", "b", "k", "kb", "kib" and so on, any case: the power of two, or -1. */
static int unit_shift(const char *s)
{
    static const char letters[] = "kmgtp";
    int shift = 0;
    const char *letter = *s ? strchr(letters, *s | 0x20) : NULL;
    if (letter) {
        shift = 10 * (int)(letter - letters + 1);
        s++;
        if ((*s | 0x20) == 'i')
            s++;
    }
    if ((*s | 0x20) == 'b')
        s++;
    return *s ? -1 : shift;
}

/* 0.d1d2… of 2^shift bytes, cut to whole bytes; digits that can no longer count are only checked for being digits. */
static bool parse_fraction(const char *s, size_t n, int shift, uint64_t *bytes)
{
    uint64_t digits = 0, scale = 1;
    for (size_t i = 0; i < n; i++) {
        if (s[i] < '0' || s[i] > '9')
            return false;
        if (i < 18) {
            digits = digits * 10 + (uint64_t)(s[i] - '0');
            scale *= 10;
        }
    }
    *bytes = (uint64_t)(((unsigned __int128)digits << shift) / scale);
    return n > 0;
}

bool cb_parse_bytes(const char *s, uint64_t *out)
{
    size_t whole = strspn(s, "0123456789");
    size_t fraction = s[whole] == '.' ? strspn(s + whole + 1, "0123456789") : 0;
    const char *unit = s + whole + (s[whole] == '.' ? fraction + 1 : 0);
    int shift = unit_shift(unit);
    uint64_t v, part = 0;
    if (shift < 0 || !parse_digits(s, whole, 10, UINT64_MAX >> shift, &v))
        return false;
    if (s[whole] == '.' && !parse_fraction(s + whole + 1, fraction, shift, &part))
        return false;
    uint64_t total;
    if (cb_add_overflow(v << shift, part, &total))
        return false;
    *out = total;
    return true;
}
