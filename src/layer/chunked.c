/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/chunked.h"

#include <endian.h>
#include <time.h>

#include "layer/tar.h"
#include "layer/tar_split.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/utf8.h"

#define FRAME_HEAD 8u /* of a skippable frame */
#define LAST_TIME INT64_C(253402300799) /* of the year 9999 */

struct chunk {
    uint64_t at, size;
    struct cb_block_made made;
};
struct row {
    size_t text, len;        /* of c->text: the object without its end */
    size_t name_len;         /* of that, the object with only the name */
    size_t first, n;         /* chunks */
    struct cb_digest digest; /* of what tar has as a file, else NONE */
};

struct cb_chunked {
    enum cb_foreign_toc_kind kind;
    struct cb_strbuf text, name;
    struct row *rows;
    size_t n_rows, cap_rows;
    struct chunk *chunks;
    size_t n_chunks, cap_chunks;
    uint64_t at;             /* in the current file */
    struct cb_tar_split *split; /* ZSTD_CHUNKED */
    struct cb_crc64 *crc;
    uint64_t padding;        /* behind the last file, not told to split yet */
};

struct cb_chunked *cb_chunked_new(enum cb_foreign_toc_kind kind)
{
    struct cb_chunked *c = CB_NEW(struct cb_chunked);
    c->kind = kind;
    c->text = c->name = (struct cb_strbuf)CB_STRBUF_INIT;
    if (kind == CB_FOREIGN_ZSTD_CHUNKED) {
        c->split = cb_tar_split_new();
        c->crc = CB_NEW(struct cb_crc64);
        cb_crc64_init(c->crc);
    }
    return c;
}

void cb_chunked_free(struct cb_chunked *c)
{
    if (!c)
        return;
    cb_strbuf_done(&c->text);
    cb_strbuf_done(&c->name);
    free(c->rows);
    free(c->chunks);
    cb_tar_split_free(c->split);
    free(c->crc);
    free(c);
}

void cb_chunked_on_block(void *chunked, const struct cb_block_made *m)
{
    struct cb_chunked *c = chunked;
    c->chunks[m->mark].made = *m;
}

/* ---- entries ---- */

static bool is_utf8(const char *s)
{
    size_t left = strlen(s), n = 0;
    uint32_t cp;
    for (; left && (n = cb_utf8_decode(s, left, &cp)) > 0; s += n)
        left -= n;
    return !left;
}

int cb_chunked_check(const struct cb_chunked *c, const struct cb_entry *e, struct cb_error *err)
{
    static const char *const own[] = { CB_ESTARGZ_TOC, CB_ESTARGZ_LANDMARK, ".prefetch.landmark" };
    for (size_t i = 0; c->kind == CB_FOREIGN_ESTARGZ && i < CB_COUNTOF(own); i++)
        if (!strcmp(e->path, own[i]))
            return cb_error_set(err, CB_ECONF, "in an eStargz layer that is the name of a file of the format");
    if (!is_utf8(e->path) || (e->link && !is_utf8(e->link)))
        return cb_error_set(err, CB_ECONF, "a name that is no UTF-8 has no place in the table of %s: use %s",
                            c->kind == CB_FOREIGN_ESTARGZ ? "an eStargz layer" : "a zstd:chunked layer",
                            c->kind == CB_FOREIGN_ESTARGZ ? "gzip" : "zstd");
    return 0;
}

static const char *type_name(enum cb_entry_type t)
{
    switch (t) {
    case CB_ENTRY_DIR:
        return "dir";
    case CB_ENTRY_SYMLINK:
        return "symlink";
    case CB_ENTRY_HARDLINK:
        return "hardlink";
    case CB_ENTRY_CHAR:
        return "char";
    case CB_ENTRY_BLOCK:
        return "block";
    case CB_ENTRY_FIFO:
        return "fifo";
    default:
        return "reg"; /* whiteouts too */
    }
}

static void put_number(json_t *o, const char *key, uint64_t v)
{
    if (v)
        cb_json_put(o, key, json_integer((json_int_t)v));
}

/* What RFC 3339 has no year for is left out, as is the beginning of all times. */
static void put_time(json_t *o, int64_t sec)
{
    time_t t = (time_t)sec;
    struct tm tm;
    char text[32];
    if (sec && sec <= LAST_TIME && gmtime_r(&t, &tm) && tm.tm_year > -1900 &&
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm))
        cb_json_put_string(o, "modtime", text);
}

static void put_xattrs(json_t *o, const struct cb_entry *e)
{
    if (!e->n_xattrs || e->type == CB_ENTRY_HARDLINK)
        return;
    json_t *x = json_object();
    for (size_t i = 0; i < e->n_xattrs; i++) {
        cb_cleanup_strbuf struct cb_strbuf value = CB_STRBUF_INIT;
        cb_base64_encode(&value, e->xattrs[i].value, e->xattrs[i].len);
        cb_json_put_string(x, e->xattrs[i].name, value.buf ? value.buf : "");
    }
    cb_json_put(o, "xattrs", x);
}

/* The keys are the same in both formats. */
static void add_row(struct cb_chunked *c, const struct cb_entry *e)
{
    bool is_device = e->type == CB_ENTRY_CHAR || e->type == CB_ENTRY_BLOCK;
    struct row row = { .text = c->text.len, .first = c->n_chunks };
    cb_autojson json_t *o = json_object();
    cb_json_put_string(o, "name", c->name.buf);
    cb_json_print(&c->text, o);
    row.name_len = c->text.len - 1 - row.text;
    cb_strbuf_setlen(&c->text, row.text);
    cb_json_put_string(o, "type", type_name(e->type));
    cb_json_put_string(o, "linkName", e->link);
    put_number(o, "mode", e->mode);
    put_number(o, "size", e->type == CB_ENTRY_FILE ? e->size : 0);
    put_number(o, "uid", e->uid);
    put_number(o, "gid", e->gid);
    put_time(o, e->mtime);
    put_number(o, "devMajor", is_device ? e->dev_major : 0);
    put_number(o, "devMinor", is_device ? e->dev_minor : 0);
    put_xattrs(o, e);
    cb_json_print(&c->text, o);
    cb_strbuf_setlen(&c->text, c->text.len - 1);
    row.len = c->text.len - row.text;
    CB_GROW(c->rows, c->n_rows, c->cap_rows);
    c->rows[c->n_rows++] = row;
}

static int split_bytes(struct cb_chunked *c, const void *p, size_t n, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf all = CB_STRBUF_INIT;
    static const char zeros[CB_TAR_BLOCK];
    cb_strbuf_add(&all, zeros, (size_t)c->padding);
    cb_strbuf_add(&all, p, n);
    c->padding = 0;
    return cb_tar_split_bytes(c->split, all.buf, all.len, err);
}

int cb_chunked_entry(struct cb_chunked *c, const struct cb_entry *e, const struct cb_strbuf *header,
                     struct cb_error *err)
{
    cb_strbuf_reset(&c->name);
    cb_tar_name(&c->name, e);
    add_row(c, e);
    c->at = 0;
    if (c->crc)
        c->crc->value = 0;
    return c->split ? split_bytes(c, header->buf, header->len, err) : 0;
}

int cb_chunked_begin_chunk(struct cb_chunked *c, struct cb_block_pipe *pipe, size_t n, struct cb_error *err)
{
    int r = cb_block_pipe_cut(pipe, err);
    if (r < 0)
        return r;
    CB_GROW(c->chunks, c->n_chunks, c->cap_chunks);
    c->chunks[c->n_chunks] = (struct chunk){ .at = c->at, .size = n };
    c->rows[c->n_rows - 1].n++;
    c->at += n;
    cb_block_pipe_mark(pipe, c->n_chunks++, n);
    return 0;
}

void cb_chunked_data(struct cb_chunked *c, const void *buf, size_t n)
{
    if (c->crc)
        cb_crc64_update(c->crc, buf, n);
}

/* A frame of a zstd:chunked file has nothing but the file. */
int cb_chunked_end(struct cb_chunked *c, struct cb_block_pipe *pipe, const struct cb_entry *e, struct cb_error *err)
{
    uint64_t size = e->type == CB_ENTRY_FILE ? e->size : 0;
    struct row *row = &c->rows[c->n_rows - 1];
    if (e->type == CB_ENTRY_FILE)
        row->digest = cb_sum_digest(&e->digest);
    else if (e->type == CB_ENTRY_WHITEOUT || e->type == CB_ENTRY_OPAQUE)
        cb_digest_of(&row->digest, "", 0);
    if (!c->split)
        return 0;
    c->padding = cb_tar_padding(size);
    int r = size ? cb_block_pipe_cut(pipe, err) : 0;
    return r < 0 ? r : cb_tar_split_file(c->split, c->name.buf, size, c->crc->value, err);
}

/* ---- the text ---- */

static void add_digest(struct cb_strbuf *out, const char *key, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_strbuf_addf(out, ",\"%s\":\"%s\"", key, cb_digest_text(d, text));
}

static void add_number(struct cb_strbuf *out, const char *key, uint64_t v)
{
    cb_strbuf_addf(out, ",\"%s\":%llu", key, (unsigned long long)v);
}

/* eStargz wants the digest of every chunk, zstd:chunked where the file's own does not say it. */
static void add_chunk(const struct cb_chunked *c, const struct row *row, const struct chunk *x, struct cb_strbuf *out)
{
    add_number(out, "offset", x->made.offset);
    if (row->n > 1)
        add_number(out, "chunkSize", x->size);
    if (x->at)
        add_number(out, "chunkOffset", x->at);
    if (row->n > 1 || c->kind == CB_FOREIGN_ESTARGZ)
        add_digest(out, "chunkDigest", &x->made.digest);
}

static void add_row_text(const struct cb_chunked *c, const struct row *row, struct cb_strbuf *out)
{
    const struct chunk *x = c->chunks + row->first;
    cb_strbuf_add(out, c->text.buf + row->text, row->len);
    if (cb_digest_is_set(&row->digest) && (row->n || c->kind == CB_FOREIGN_ESTARGZ))
        add_digest(out, "digest", &row->digest);
    if (row->n)
        add_chunk(c, row, x, out);
    if (row->n && c->kind == CB_FOREIGN_ZSTD_CHUNKED)
        add_number(out, "endOffset", x[row->n - 1].made.end);
    cb_strbuf_addch(out, '}');
    for (size_t i = 1; i < row->n; i++) {
        cb_strbuf_addch(out, ',');
        cb_strbuf_add(out, c->text.buf + row->text, row->name_len);
        cb_strbuf_adds(out, ",\"type\":\"chunk\"");
        add_chunk(c, row, &x[i], out);
        cb_strbuf_addch(out, '}');
    }
}

void cb_chunked_estargz_text(const struct cb_chunked *c, struct cb_strbuf *out)
{
    cb_strbuf_adds(out, "{\"version\":1,\"entries\":[");
    for (size_t i = 0; i < c->n_rows; i++) {
        if (i)
            cb_strbuf_addch(out, ',');
        add_row_text(c, &c->rows[i], out);
    }
    cb_strbuf_adds(out, "]}");
}

void cb_chunked_estargz_footer(struct cb_strbuf *out, uint64_t toc_offset)
{
    cb_strbuf_add(out, "\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0", 16);
    cb_strbuf_addf(out, "%016llxSTARGZ", (unsigned long long)toc_offset);
    cb_strbuf_add(out, "\x01\0\0\xff\xff\0\0\0\0\0\0\0\0", 13);
}

/* ---- zstd:chunked ---- */

static void add_frame(struct cb_strbuf *out, const void *p, size_t n)
{
    uint32_t size = htole32((uint32_t)n);
    cb_strbuf_add(out, "\x50\x2a\x4d\x18", 4);
    cb_strbuf_add(out, &size, sizeof size);
    cb_strbuf_add(out, p, n);
}

static int zstd_manifest(const struct cb_chunked *c, const struct cb_strbuf *split, struct cb_zstd_text *z,
                         struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf row = CB_STRBUF_INIT;
    struct cb_digest d;
    cb_strbuf_adds(&row, "{\"version\":1,\"entries\":[");
    int r = 0;
    for (size_t i = 0; r == 0 && i < c->n_rows; i++) {
        if (i)
            cb_strbuf_addch(&row, ',');
        add_row_text(c, &c->rows[i], &row);
        r = cb_zstd_text_add(z, row.buf, row.len, err);
        cb_strbuf_reset(&row);
    }
    cb_strbuf_addch(&row, ']');
    cb_digest_of(&d, split->buf, split->len);
    add_digest(&row, "tarSplitDigest", &d);
    cb_strbuf_addch(&row, '}');
    return r < 0 ? r : cb_zstd_text_add(z, row.buf, row.len, err);
}

struct zstd_places {
    uint64_t offset, length, text; /* of the manifest */
    uint64_t split_offset, split_length, split_text;
};

static void annotate(struct cb_strmap *m, const struct zstd_places *p, const struct cb_digest *d)
{
    char text[96], digest[CB_DIGEST_TEXT_MAX];
    cb_strmap_set(m, CB_ANNOTATION_CHUNKED_TOC, cb_digest_text(d, digest));
    snprintf(text, sizeof text, "%llu:%llu:%llu:1", (unsigned long long)p->offset, (unsigned long long)p->length,
             (unsigned long long)p->text);
    cb_strmap_set(m, CB_ANNOTATION_CHUNKED_AT, text);
    snprintf(text, sizeof text, "%llu:%llu:%llu", (unsigned long long)p->split_offset,
             (unsigned long long)p->split_length, (unsigned long long)p->split_text);
    cb_strmap_set(m, CB_ANNOTATION_CHUNKED_TAR_SPLIT, text);
}

static void add_footer(struct cb_strbuf *out, const struct zstd_places *p)
{
    uint64_t v[8] = { p->offset, p->length, p->text, 1, p->split_offset, p->split_length, p->split_text, 0 };
    for (size_t i = 0; i < 7; i++)
        v[i] = htole64(v[i]);
    memcpy(&v[7], "GNUlInUx", 8);
    add_frame(out, v, sizeof v);
}

int cb_chunked_zstd_tail(struct cb_chunked *c, uint64_t blob_size, struct cb_strbuf *out,
                         struct cb_strmap *annotations, struct cb_error *err)
{
    static const char zeros[2 * CB_TAR_BLOCK];
    CB_AUTO(cb_zstd_text_free) struct cb_zstd_text *z = cb_zstd_text_new();
    const struct cb_strbuf *split, *toc;
    struct zstd_places p = { .offset = blob_size + FRAME_HEAD };
    struct cb_digest d;
    int r = split_bytes(c, zeros, sizeof zeros, err);
    if (r < 0 || (r = cb_tar_split_finish(c->split, &split, &p.split_text, err)) < 0 ||
        (r = zstd_manifest(c, split, z, err)) < 0 || (r = cb_zstd_text_finish(z, &toc, &p.text, err)) < 0)
        return r;
    if (toc->len > UINT32_MAX || split->len > UINT32_MAX)
        return cb_error_set(err, CB_ECONF, "a layer with too many entries for the table of zstd:chunked: use zstd");
    p.length = toc->len;
    p.split_offset = p.offset + p.length + FRAME_HEAD;
    p.split_length = split->len;
    add_frame(out, toc->buf, toc->len);
    add_frame(out, split->buf, split->len);
    add_footer(out, &p);
    cb_digest_of(&d, toc->buf, toc->len);
    annotate(annotations, &p, &d);
    return 0;
}
