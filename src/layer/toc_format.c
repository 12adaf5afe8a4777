/* SPDX-License-Identifier: Apache-2.0 */
/* The stored form of a table: doc/toc.md. */
#include "layer/toc_priv.h"
#include "util/alloc.h"
#include "util/limits.h"
#include "util/path.h"

static const char MAGIC[8] = { 'c', 'b', 't', 'o', 'c', '\0', '\0', '\1' };
#define SUM_LEN CB_TOC_SUM_LEN
#define MIN_ENTRY 7 /* type, shared, suffix length and byte, mode, uid, gid; the time comes on top */

/* ---- writing ---- */

static void put_varint(struct cb_strbuf *out, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        cb_strbuf_addch(out, (char)(unsigned char)(v | 0x80));
    cb_strbuf_addch(out, (char)(unsigned char)v);
}

static void put_signed(struct cb_strbuf *out, int64_t v)
{
    put_varint(out, (uint64_t)v << 1 ^ (v < 0 ? UINT64_MAX : 0));
}

static void put_bytes(struct cb_strbuf *out, const void *p, size_t n)
{
    put_varint(out, n);
    cb_strbuf_add(out, p, n);
}

static void put_sum(struct cb_strbuf *out, const struct cb_sum *s)
{
    cb_strbuf_addch(out, s->known ? CB_DIGEST_SHA256 : CB_DIGEST_NONE);
    if (s->known)
        cb_strbuf_add(out, s->raw, sizeof s->raw);
}

static void put_path(struct cb_strbuf *out, const char *before, const char *path)
{
    size_t shared = 0;
    while (before[shared] && before[shared] == path[shared])
        shared++;
    put_varint(out, shared);
    put_bytes(out, path + shared, strlen(path + shared));
}

static void put_content(struct cb_strbuf *out, const struct cb_entry *e)
{
    put_varint(out, e->size);
    put_sum(out, &e->digest);
    if (e->type == CB_ENTRY_HARDLINK)
        return;
    put_varint(out, e->offset);
    cb_strbuf_addch(out, e->inline_data ? '\1' : '\0');
    if (e->inline_data)
        cb_strbuf_add(out, e->inline_data, e->size);
}

static void put_entry(struct cb_strbuf *out, const char *before, const struct cb_entry *e)
{
    cb_strbuf_addch(out, (char)(e->type | (e->n_xattrs ? 0x80 : 0)));
    put_path(out, before, e->path);
    put_varint(out, e->mode);
    put_varint(out, e->uid);
    put_varint(out, e->gid);
    put_signed(out, e->mtime);
    if (e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_HARDLINK)
        put_bytes(out, e->link, strlen(e->link));
    if (e->type == CB_ENTRY_FILE || e->type == CB_ENTRY_HARDLINK)
        put_content(out, e);
    if (e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK) {
        put_varint(out, e->dev_major);
        put_varint(out, e->dev_minor);
    }
    if (!e->n_xattrs)
        return;
    put_varint(out, e->n_xattrs);
    for (size_t i = 0; i < e->n_xattrs; i++) {
        put_bytes(out, e->xattrs[i].name, strlen(e->xattrs[i].name));
        put_bytes(out, e->xattrs[i].value, e->xattrs[i].len);
    }
}

void cb_toc_print_runs(struct cb_strbuf *out, const struct cb_toc *t, uint64_t *runs)
{
    size_t start = out->len;
    cb_strbuf_add(out, MAGIC, sizeof MAGIC);
    put_varint(out, t->n);
    const char *before = "";
    for (size_t i = 0; i < t->n; i++) {
        if (runs && i % CB_TOC_RUN == 0)
            runs[i / CB_TOC_RUN] = out->len - start;
        put_entry(out, before, &t->v[i]);
        before = t->v[i].path;
    }
    struct cb_digest sum;
    cb_digest_of(&sum, out->buf + start, out->len - start);
    cb_strbuf_add(out, sum.raw, SUM_LEN);
}

void cb_toc_print(struct cb_strbuf *out, const struct cb_toc *t)
{
    cb_toc_print_runs(out, t, NULL);
}

void cb_entry_print(struct cb_strbuf *out, const struct cb_entry *e)
{
    put_entry(out, "", e);
}

/* ---- reading ---- */

struct reader {
    const uint8_t *p, *end;
    bool bad; /* once set, every take yields nothing */
    struct cb_arena arena;
};

static size_t left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}

static uint64_t take_varint(struct reader *r, uint64_t max)
{
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64 && !r->bad && left(r); shift += 7) {
        uint8_t c = *r->p++;
        if (shift == 63 && c > 1)
            break;
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c & 0x80)
            continue;
        if ((c == 0 && shift) || v > max) /* one number has one form */
            break;
        return v;
    }
    r->bad = true;
    return 0;
}

static int64_t take_signed(struct reader *r)
{
    uint64_t u = take_varint(r, UINT64_MAX);
    return (int64_t)(u >> 1 ^ (u & 1 ? UINT64_MAX : 0));
}

static uint8_t take_byte(struct reader *r)
{
    if (r->bad || !left(r)) {
        r->bad = true;
        return 0;
    }
    return *r->p++;
}

static const void *take_raw(struct reader *r, size_t n)
{
    if (r->bad || left(r) < n) {
        r->bad = true;
        return NULL;
    }
    const void *p = r->p;
    r->p += n;
    return p;
}

/* A copy with a NUL behind it; never NULL. */
static const char *take_copy(struct reader *r, size_t n)
{
    const void *p = take_raw(r, n);
    if (!p || r->arena.total > CB_TOC_MAX_BYTES) {
        r->bad = true;
        return "";
    }
    return cb_arena_strndup(&r->arena, p, n);
}

static const char *take_text(struct reader *r, size_t max)
{
    size_t n = (size_t)take_varint(r, max);
    const char *s = take_copy(r, n);
    if (!n || strlen(s) != n)
        r->bad = true;
    return s;
}

static void take_sum(struct reader *r, struct cb_sum *s)
{
    uint8_t alg = take_byte(r);
    const void *p = alg == CB_DIGEST_SHA256 ? take_raw(r, sizeof s->raw) : NULL;
    r->bad = r->bad || alg > CB_DIGEST_SHA256;
    if (!p)
        return;
    s->known = true;
    memcpy(s->raw, p, sizeof s->raw);
}

static const char *take_path(struct reader *r, const char *before, struct cb_strbuf *scratch)
{
    size_t shared = (size_t)take_varint(r, strlen(before));
    size_t n = (size_t)take_varint(r, CB_MAX_PATH);
    const void *p = take_raw(r, n);
    if (r->bad || !p || shared + n > CB_MAX_PATH || r->arena.total > CB_TOC_MAX_BYTES ||
        (n && before[shared] == *(const char *)p)) { /* one table has one form */
        r->bad = true;
        return "";
    }
    char *path = cb_arena_chars(&r->arena, shared + n);
    memcpy(path, before, shared);
    memcpy(path + shared, p, n);
    cb_strbuf_reset(scratch);
    if (!cb_path_normalize(scratch, path, shared + n) || !cb_streq(scratch->buf, path) || !*path)
        r->bad = true;
    return path;
}

static void take_content(struct reader *r, struct cb_entry *e)
{
    e->size = take_varint(r, INT64_MAX);
    take_sum(r, &e->digest);
    if (e->type == CB_ENTRY_HARDLINK)
        return;
    e->offset = take_varint(r, UINT64_MAX);
    uint8_t has = take_byte(r);
    if (has > 1 || (has && !cb_toc_wants_inline(e->path, e->size)))
        r->bad = true;
    if (has && !r->bad)
        e->inline_data = take_copy(r, (size_t)e->size);
}

static void take_xattrs(struct reader *r, struct cb_entry *e)
{
    uint32_t n = (uint32_t)take_varint(r, CB_MAX_XATTRS);
    if (r->bad || !n) {
        r->bad = true;
        return;
    }
    struct cb_xattr *v = cb_arena_alloc(&r->arena, n * sizeof *v);
    for (size_t i = 0; i < n; i++) {
        v[i].name = take_text(r, CB_MAX_NAME);
        v[i].len = (size_t)take_varint(r, CB_MAX_XATTR_VALUE);
        v[i].value = take_copy(r, v[i].len);
        if (i && strcmp(v[i - 1].name, v[i].name) >= 0)
            r->bad = true;
    }
    e->xattrs = v;
    e->n_xattrs = n;
}

static void take_entry(struct reader *r, const char *before, struct cb_strbuf *scratch, struct cb_entry *e)
{
    uint8_t tag = take_byte(r);
    *e = (struct cb_entry){ .type = (enum cb_entry_type)(tag & 0x7f) };
    if (e->type < CB_ENTRY_WHITEOUT || e->type > CB_ENTRY_FIFO)
        r->bad = true;
    e->path = take_path(r, before, scratch);
    e->mode = (uint32_t)take_varint(r, 07777);
    e->uid = (uint32_t)take_varint(r, UINT32_MAX - 1);
    e->gid = (uint32_t)take_varint(r, UINT32_MAX - 1);
    e->mtime = take_signed(r);
    if (e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_HARDLINK)
        e->link = take_text(r, CB_MAX_PATH);
    if (e->type == CB_ENTRY_FILE || e->type == CB_ENTRY_HARDLINK)
        take_content(r, e);
    if (e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK) {
        e->dev_major = (uint32_t)take_varint(r, UINT32_MAX);
        e->dev_minor = (uint32_t)take_varint(r, UINT32_MAX);
    }
    if (tag & 0x80)
        take_xattrs(r, e);
}

static bool links_well(const struct cb_entry *e, struct cb_strbuf *scratch)
{
    if (e->type != CB_ENTRY_HARDLINK)
        return true;
    cb_strbuf_reset(scratch);
    return cb_path_normalize(scratch, e->link, strlen(e->link)) && cb_streq(scratch->buf, e->link);
}

/* In order, nothing twice, nothing below what is no directory, links to normal forms. */
static bool fits(const struct cb_entry *v, size_t i, struct cb_strbuf *scratch, size_t *solid)
{
    const struct cb_entry *e = &v[i];
    if (i && cb_entry_cmp(&v[i - 1], e) >= 0)
        return false;
    if (*solid < i && cb_path_is_below(e->path, v[*solid].path, strlen(v[*solid].path)))
        return false;
    if (!cb_entry_is_mark(e) && e->type != CB_ENTRY_DIR)
        *solid = i;
    return links_well(e, scratch);
}

static bool take_entries(struct reader *r, const char *before, struct cb_entry *v, size_t n)
{
    cb_cleanup_strbuf struct cb_strbuf scratch = CB_STRBUF_INIT;
    size_t solid = SIZE_MAX;
    for (size_t i = 0; i < n; i++) {
        take_entry(r, before, &scratch, &v[i]);
        if (r->bad || !fits(v, i, &scratch, &solid))
            return false;
        before = v[i].path;
    }
    return !left(r);
}

bool cb_toc_take_run(struct cb_slice bytes, const char *before, struct cb_entry *v, size_t n, struct cb_arena *arena)
{
    struct reader r = { .p = (const uint8_t *)bytes.ptr, .end = (const uint8_t *)bytes.ptr + bytes.len };
    bool ok = take_entries(&r, before, v, n);
    *arena = r.arena;
    return ok;
}

static bool sum_holds(const uint8_t *p, size_t len)
{
    struct cb_digest sum;
    cb_digest_of(&sum, p, len - SUM_LEN);
    return memcmp(sum.raw, p + len - SUM_LEN, SUM_LEN) == 0;
}

bool cb_toc_is_current(const void *buf, size_t len)
{
    return len >= sizeof MAGIC && memcmp(buf, MAGIC, sizeof MAGIC) == 0;
}

/* Whoever follows a link within the layer comes to a file, at once. */
static bool links_end(const struct cb_toc *t)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct cb_entry *e = &t->v[i], *to;
        if (e->type != CB_ENTRY_HARDLINK || !e->digest.known)
            continue;
        to = cb_toc_find(t, e->link);
        if (!to || to->type != CB_ENTRY_FILE || to->size != e->size || !cb_sum_eq(&to->digest, &e->digest))
            return false;
    }
    return true;
}

int cb_toc_parse(struct cb_toc **out, const void *buf, size_t len, struct cb_error *err)
{
    const uint8_t *p = buf;
    *out = NULL;
    if (len < sizeof MAGIC + 1 + SUM_LEN || memcmp(p, MAGIC, sizeof MAGIC - 1) != 0)
        return cb_error_set(err, CB_EVERIFY, "not a table of contents");
    if (p[sizeof MAGIC - 1] != (uint8_t)MAGIC[sizeof MAGIC - 1])
        return cb_error_set(err, CB_EVERIFY, "table of contents of unknown version %u", p[sizeof MAGIC - 1]);
    if (!sum_holds(p, len))
        return cb_error_set(err, CB_EVERIFY, "table of contents is damaged: its checksum does not hold");
    struct reader r = { .p = p + sizeof MAGIC, .end = p + len - SUM_LEN };
    size_t n = (size_t)take_varint(&r, CB_MAX_LAYER_ENTRIES);
    if (r.bad || n > left(&r) / MIN_ENTRY)
        return cb_error_set(err, CB_EVERIFY, "table of contents is malformed: entry count");
    struct cb_entry *v = n ? cb_reallocarray(NULL, n, sizeof *v) : NULL;
    if (!take_entries(&r, "", v, n)) {
        free(v);
        cb_arena_done(&r.arena);
        return cb_error_set(err, CB_EVERIFY, "table of contents is malformed near byte %zu", (size_t)(r.p - p));
    }
    CB_AUTO(cb_toc_unref) struct cb_toc *t = cb_toc_take(v, n, &r.arena);
    if (!links_end(t))
        return cb_error_set(err, CB_EVERIFY, "table of contents is malformed: a hard link to what is no such file");
    *out = CB_TAKE(t);
    return 0;
}

/* ---- an entry alone ---- */

struct cb_entry_parser {
    struct cb_arena arena;
    struct cb_strbuf scratch;
    struct cb_entry e;
};

struct cb_entry_parser *cb_entry_parser_new(void)
{
    struct cb_entry_parser *p = CB_NEW(struct cb_entry_parser);
    p->scratch = (struct cb_strbuf)CB_STRBUF_INIT;
    return p;
}

void cb_entry_parser_free(struct cb_entry_parser *p)
{
    if (!p)
        return;
    cb_arena_done(&p->arena);
    cb_strbuf_done(&p->scratch);
    free(p);
}

int cb_entry_parse(struct cb_entry_parser *p, const void *buf, size_t len, const struct cb_entry **e,
                   struct cb_error *err)
{
    cb_arena_reset(&p->arena);
    struct reader r = { .p = buf, .end = (const uint8_t *)buf + len, .arena = p->arena };
    take_entry(&r, "", &p->scratch, &p->e);
    p->arena = r.arena;
    if (r.bad || left(&r) || !links_well(&p->e, &p->scratch))
        return cb_error_set(err, CB_EVERIFY, "malformed entry");
    *e = &p->e;
    return 0;
}
