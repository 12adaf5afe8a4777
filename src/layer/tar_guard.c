/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "layer/tar.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"

/* Where the fields of a header are that we read: offset and length. */
enum {
    NAME = 0, NAME_LEN = 100,
    SIZE = 124, SIZE_LEN = 12,
    CHKSUM = 148, CHKSUM_LEN = 8,
    TYPE = 156,
    MAGIC = 257,
    PREFIX = 345, PREFIX_LEN = 155,
    GNU_IS_EXTENDED = 482,   /* of an old GNU sparse header: more blocks of its map follow */
    GNU_MORE_EXTENDED = 504, /* of such a block */
};

enum state { HEADER, SPARSE_MAP, EXTENSION, BODY, DONE };

/* What extension headers have said about the next member. */
struct pending {
    bool pax, long_name, long_link, has_size, has_mtime, sparse, pax_path, pax_linkpath;
    uint64_t size;
    int64_t mtime;
    struct cb_strbuf name;
};

struct cb_tar_guard {
    enum state state;
    uint64_t pos;            /* bytes seen */
    uint8_t block[CB_TAR_BLOCK];
    size_t have;             /* bytes in block */
    uint64_t skip;           /* BODY: bytes to come, with padding; EXTENSION: of text */
    uint64_t padding;        /* BODY: how many of those are padding */
    char ext_type;
    struct cb_strbuf ext;
    struct pending next;
    struct cb_tar_member member; /* being read: SPARSE_MAP */
    pthread_mutex_t lock;
    struct cb_tar_member *queue; /* [first, n) */
    size_t first, n, cap;
};

struct cb_tar_guard *cb_tar_guard_new(void)
{
    struct cb_tar_guard *g = CB_NEW(struct cb_tar_guard);
    g->ext = (struct cb_strbuf)CB_STRBUF_INIT;
    g->next.name = (struct cb_strbuf)CB_STRBUF_INIT;
    pthread_mutex_init(&g->lock, NULL);
    return g;
}

void cb_tar_guard_free(struct cb_tar_guard *g)
{
    if (!g)
        return;
    for (size_t i = g->first; i < g->n; i++)
        free(g->queue[i].name);
    free(g->queue);
    free(g->member.name);
    cb_strbuf_done(&g->ext);
    cb_strbuf_done(&g->next.name);
    pthread_mutex_destroy(&g->lock);
    free(g);
}

bool cb_tar_guard_take(struct cb_tar_guard *g, struct cb_tar_member *out)
{
    pthread_mutex_lock(&g->lock);
    bool there = g->first < g->n;
    if (there)
        *out = g->queue[g->first++];
    if (g->first == g->n)
        g->first = g->n = 0;
    pthread_mutex_unlock(&g->lock);
    return there;
}

static void give_member(struct cb_tar_guard *g)
{
    pthread_mutex_lock(&g->lock);
    if (g->first && g->n == g->cap) {
        memmove(g->queue, g->queue + g->first, (g->n - g->first) * sizeof *g->queue);
        g->n -= g->first;
        g->first = 0;
    }
    CB_GROW(g->queue, g->n, g->cap);
    g->queue[g->n++] = g->member;
    pthread_mutex_unlock(&g->lock);
    g->member = (struct cb_tar_member){ 0 };
}

static CB_PRINTF(3, 4) int bad(const struct cb_tar_guard *g, struct cb_error *err, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    cb_autofree char *what = cb_vasprintf(fmt, ap);
    va_end(ap);
    uint64_t at = g->pos - (g->state == HEADER ? CB_TAR_BLOCK : 0);
    return cb_error_set(err, CB_EVERIFY, "tar entry at byte %llu: %s", (unsigned long long)at, what);
}

/* Blanks, octal digits, then blanks or NULs to the end of the field; or big-endian binary with the top bit set. */
static bool parse_number(const uint8_t *f, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    if (f[0] == 0x80) {
        for (i = 1; i < len; i++) {
            if (v >> 55)
                return false;
            v = v << 8 | f[i];
        }
        *out = v;
        return true;
    }
    while (i < len && f[i] == ' ')
        i++;
    for (; i < len && f[i] >= '0' && f[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(f[i] - '0');
    *out = v;
    while (i < len && (f[i] == ' ' || f[i] == '\0'))
        i++;
    return i == len;
}

static bool is_blank(const uint8_t *b)
{
    static const uint8_t zeros[CB_TAR_BLOCK];
    return memcmp(b, zeros, sizeof zeros) == 0;
}

/* Some old writers summed signed characters. */
static bool checksum_holds(const uint8_t *b)
{
    uint64_t want;
    uint32_t u = 0, s = 0;
    for (size_t i = 0; i < CB_TAR_BLOCK; i++) {
        uint8_t c = i >= CHKSUM && i < CHKSUM + CHKSUM_LEN ? ' ' : b[i];
        u += c;
        s += c - (c & 0x80 ? 256u : 0u);
    }
    return parse_number(b + CHKSUM, CHKSUM_LEN, &want) && (want == u || want == s);
}

bool cb_tar_is_header(const uint8_t *block)
{
    return !is_blank(block) && checksum_holds(block);
}

/* ---- extension headers ---- */

static int once(const struct cb_tar_guard *g, bool *seen, const char *what, struct cb_error *err)
{
    if (*seen)
        return bad(g, err, "%s is given twice", what);
    *seen = true;
    return 0;
}

static int pax_text(struct cb_tar_guard *g, bool *seen, const char *key, struct cb_slice v, struct cb_error *err)
{
    if (!v.len || memchr(v.ptr, '\0', v.len))
        return bad(g, err, "PAX record %s is empty or has a NUL", key);
    return once(g, seen, key, err);
}

static int pax_size(struct cb_tar_guard *g, struct cb_slice v, struct cb_error *err)
{
    cb_autofree char *text = cb_strndup(v.ptr, v.len);
    if (strlen(text) != v.len || !cb_parse_u64(text, INT64_MAX / 2, &g->next.size))
        return bad(g, err, "PAX record size is not a size");
    return once(g, &g->next.has_size, "PAX record size", err);
}

/* "-1.5" is half a second before -1, which libarchive takes for half a second behind it. What has another form is left
 * to it. */
static void pax_mtime(struct cb_tar_guard *g, struct cb_slice v)
{
    cb_autofree char *text = cb_strndup(v.ptr, v.len);
    char *fraction = strchr(text, '.');
    if (fraction)
        *fraction++ = '\0';
    size_t digits = fraction ? strspn(fraction, "0123456789") : 0;
    bool minus = *text == '-', rest = fraction && strspn(fraction, "0") != digits;
    uint64_t sec = 0;
    g->next.has_mtime = strlen(text) + (fraction ? 1 + digits : 0) == v.len &&
                        cb_parse_u64(text + minus, INT64_MAX / 2, &sec);
    g->next.mtime = minus ? -(int64_t)sec - rest : (int64_t)sec;
}

/* A global record changes what follows for some readers and not for others. `git archive` writes a comment, and words
 * in lower case with a dot in them, of which POSIX has two families, say nothing to anybody. */
static bool is_remark(struct cb_slice key)
{
    static const char *const families[] = { "realtime.", "security." };
    bool free = key.len && key.ptr[0] >= 'a' && key.ptr[0] <= 'z' && memchr(key.ptr, '.', key.len);
    for (size_t i = 0; i < CB_COUNTOF(families); i++)
        free = free && !(key.len >= strlen(families[i]) && !memcmp(key.ptr, families[i], strlen(families[i])));
    return free || cb_slice_eq(key, "comment");
}

static int pax_record(struct cb_tar_guard *g, struct cb_slice key, struct cb_slice v, struct cb_error *err)
{
    if (g->ext_type == 'g')
        return is_remark(key) ? 0
                              : bad(g, err, "global PAX record %.*s", (int)CB_MIN(key.len, (size_t)64), key.ptr);
    if (cb_slice_eq(key, "size"))
        return pax_size(g, v, err);
    if (cb_slice_eq(key, "mtime"))
        pax_mtime(g, v);
    if (cb_slice_eq(key, "linkpath"))
        return pax_text(g, &g->next.pax_linkpath, "linkpath", v, err);
    bool sparse_name = cb_slice_eq(key, "GNU.sparse.name");
    if (key.len > 11 && memcmp(key.ptr, "GNU.sparse.", 11) == 0)
        g->next.sparse = true;
    if (!sparse_name && !cb_slice_eq(key, "path"))
        return 0;
    /* With both, GNU.sparse.name is the real one, and it comes first. */
    if (!sparse_name && g->next.sparse && g->next.name.len)
        return 0;
    int r = pax_text(g, &g->next.pax_path, "path", v, err);
    if (r == 0)
        cb_strbuf_add(&g->next.name, v.ptr, v.len);
    return r;
}

/* "LEN KEY=VALUE\n" over and over. */
static int parse_pax(struct cb_tar_guard *g, struct cb_error *err)
{
    const char *p = g->ext.buf, *end = p + g->ext.len;
    while (p < end) {
        size_t len = 0;
        const char *q = p;
        for (; q < end && *q >= '0' && *q <= '9' && len < CB_MAX_PAX; q++)
            len = len * 10 + (size_t)(*q - '0');
        const char *stop = p + len - 1;
        if (q == p || q == end || *q != ' ' || len > (size_t)(end - p) || stop <= q || *stop != '\n')
            return bad(g, err, "PAX record of a wrong length");
        const char *key = q + 1, *eq = memchr(key, '=', (size_t)(stop - key));
        if (!eq || eq == key)
            return bad(g, err, "PAX record without a key");
        int r = pax_record(g, (struct cb_slice){ key, (size_t)(eq - key) },
                           (struct cb_slice){ eq + 1, (size_t)(stop - eq - 1) }, err);
        if (r < 0)
            return r;
        p = stop + 1;
    }
    return 0;
}

static int end_extension(struct cb_tar_guard *g, struct cb_error *err)
{
    switch (g->ext_type) {
    case 'x':
    case 'g':
        return parse_pax(g, err);
    case 'L':
        if (g->next.name.len)
            return bad(g, err, "name is given twice");
        cb_strbuf_adds(&g->next.name, g->ext.buf);
        return g->next.name.len ? 0 : bad(g, err, "long name is empty");
    default:
        return 0;
    }
}

static int start_extension(struct cb_tar_guard *g, char type, uint64_t size, struct cb_error *err)
{
    int r = 0;
    if (size > CB_MAX_PAX || !size)
        return bad(g, err, "extension header of %llu bytes", (unsigned long long)size);
    if (type == 'x')
        r = once(g, &g->next.pax, "PAX header", err);
    else if (type == 'L')
        r = once(g, &g->next.long_name, "long name", err);
    else if (type == 'K')
        r = once(g, &g->next.long_link, "long link", err);
    /* A global header between an extension and its member ends the extension for some readers only. */
    else if (g->next.pax || g->next.long_name || g->next.long_link)
        r = bad(g, err, "global header in an odd place");
    g->ext_type = type;
    g->skip = size;
    cb_strbuf_reset(&g->ext);
    g->state = EXTENSION;
    return r;
}

/* ---- members ---- */

static void add_field(struct cb_strbuf *out, const uint8_t *f, size_t len)
{
    cb_strbuf_add(out, f, strnlen((const char *)f, len));
}

static char *member_name(struct cb_tar_guard *g)
{
    const uint8_t *b = g->block;
    struct cb_strbuf name = CB_STRBUF_INIT;
    if (g->next.name.len) {
        cb_strbuf_add(&name, g->next.name.buf, g->next.name.len);
    } else {
        if (memcmp(b + MAGIC, "ustar", 5) == 0 && memcmp(b + MAGIC, "ustar ", 6) != 0 && b[PREFIX]) {
            add_field(&name, b + PREFIX, PREFIX_LEN);
            if (name.buf[name.len - 1] != '/')
                cb_strbuf_addch(&name, '/');
        }
        add_field(&name, b + NAME, NAME_LEN);
    }
    while (name.len && name.buf[name.len - 1] == '/')
        cb_strbuf_setlen(&name, name.len - 1);
    return cb_strbuf_detach(&name, NULL);
}

static void forget_pending(struct cb_tar_guard *g)
{
    struct cb_strbuf name = g->next.name;
    cb_strbuf_reset(&name);
    g->next = (struct pending){ .name = name };
}

/* The header (with its sparse map) has been read; g->pos is where the data begins. */
static void end_member(struct cb_tar_guard *g)
{
    g->member.offset = g->pos;
    g->padding = cb_tar_padding(g->member.size);
    g->skip = g->member.size + g->padding;
    g->state = g->skip ? BODY : HEADER;
    give_member(g);
    forget_pending(g);
}

static int start_member(struct cb_tar_guard *g, char type, uint64_t size, struct cb_error *err)
{
    bool old_sparse = type == 'S';
    if ((g->next.long_name && g->next.pax_path) || (g->next.long_link && g->next.pax_linkpath))
        return bad(g, err, "name is given by GNU and by PAX headers");
    if (type == '\0' || type == '7' || old_sparse)
        type = '0';
    if (type < '0' || type > '6')
        return bad(g, err, "type '%c' (0x%02x) is not supported", type > ' ' && type < 127 ? type : '?', (uint8_t)type);
    size = g->next.has_size ? g->next.size : size;
    if (type != '0' && size)
        return bad(g, err, "an entry that is no file has a body");
    g->member = (struct cb_tar_member){
        .name = member_name(g), .type = type, .size = size, .sparse = g->next.sparse || old_sparse,
        .has_mtime = g->next.has_mtime, .mtime = g->next.mtime };
    if (old_sparse && g->block[GNU_IS_EXTENDED])
        g->state = SPARSE_MAP;
    else
        end_member(g);
    return 0;
}

static int on_header(struct cb_tar_guard *g, struct cb_error *err)
{
    uint64_t size;
    char type = (char)g->block[TYPE];
    if (is_blank(g->block)) {
        g->state = DONE;
        return g->next.pax || g->next.long_name || g->next.long_link ? bad(g, err, "extension header of nothing") : 0;
    }
    if (!checksum_holds(g->block))
        return bad(g, err, "wrong header checksum");
    if (!parse_number(g->block + SIZE, SIZE_LEN, &size) || size > INT64_MAX / 2)
        return bad(g, err, "size is not a number that can be");
    switch (type) {
    case 'x':
    case 'g':
    case 'L':
    case 'K':
        return start_extension(g, type, size, err);
    case 'V': /* a volume label */
        return size ? bad(g, err, "volume label with a body") : 0;
    default:
        return start_member(g, type, size, err);
    }
}

static int on_block(struct cb_tar_guard *g, struct cb_error *err)
{
    g->have = 0;
    if (g->state == HEADER)
        return on_header(g, err);
    if (!g->block[GNU_MORE_EXTENDED])
        end_member(g);
    return 0;
}

static int feed_extension(struct cb_tar_guard *g, const uint8_t *p, size_t n, size_t *used, struct cb_error *err)
{
    *used = (size_t)CB_MIN((uint64_t)n, g->skip);
    cb_strbuf_add(&g->ext, p, *used);
    g->skip -= *used;
    g->pos += *used;
    if (g->skip)
        return 0;
    int r = end_extension(g, err);
    g->padding = g->skip = cb_tar_padding(g->ext.len);
    g->state = g->skip ? BODY : HEADER;
    return r;
}

/* Takes some of the bytes. */
static int feed_some(struct cb_tar_guard *g, const uint8_t *p, size_t n, size_t *used, struct cb_error *err)
{
    if (g->state == EXTENSION)
        return feed_extension(g, p, n, used, err);
    if (g->state == DONE) {
        *used = n;
    } else if (g->state == BODY) {
        *used = (size_t)CB_MIN((uint64_t)n, g->skip);
        g->skip -= *used;
        if (!g->skip)
            g->state = HEADER;
    } else {
        *used = CB_MIN(n, sizeof g->block - g->have);
        memcpy(g->block + g->have, p, *used);
        g->have += *used;
        g->pos += *used;
        return g->have == sizeof g->block ? on_block(g, err) : 0;
    }
    g->pos += *used;
    return 0;
}

int cb_tar_guard_feed(struct cb_tar_guard *g, const void *buf, size_t n, struct cb_error *err)
{
    const uint8_t *p = buf;
    while (n) {
        size_t used = 0;
        int r = feed_some(g, p, n, &used, err);
        if (r < 0)
            return r;
        p += used;
        n -= used;
    }
    return 0;
}

int cb_tar_guard_end(struct cb_tar_guard *g, struct cb_error *err)
{
    /* Writers in Go that nobody closes (umoci insert) leave out the last padding, and readers in Go allow that. */
    bool whole = g->state == BODY && g->skip <= g->padding;
    bool between = whole || g->state == DONE || (g->state == HEADER && !g->have);
    if (!between || g->next.pax || g->next.long_name || g->next.long_link)
        return cb_error_set(err, CB_EVERIFY, "tar ends in the middle of an entry, at byte %llu",
                            (unsigned long long)g->pos);
    return 0;
}
