/* SPDX-License-Identifier: Apache-2.0 */
#include "util/utf8.h"

size_t cb_utf8_decode(const char *p, size_t n, uint32_t *cp)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned char first = (unsigned char)p[0];
    if (first < 0x80) {
        *cp = first;
        return 1;
    }
    size_t len = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || len > n)
        return 0;
    uint32_t c = first & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        unsigned char b = (unsigned char)p[i];
        if ((b & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (b & 0x3fu);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *cp = c;
    return len;
}

size_t cb_utf8_encode(char out[static 4], uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t len = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3f));
        cp >>= 6;
    }
    out[0] = (char)((0xf00u >> len & 0xf0) | cp);
    return len;
}
