/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the tests of src/layer share: tars built header by header, sources that read in odd sizes, sinks in memory. */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "layer/layer.h"
#include "util/alloc.h"

/* ---- numbers that are the same in every run ---- */
static inline CB_UNUSED uint64_t sup_random(uint64_t *state)
{
    *state += 0x9e3779b97f4a7c15u;
    uint64_t z = *state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* ---- tar ---- */
struct sup_header {
    const char *name;
    char type;              /* '0' … */
    uint64_t size;          /* as the header says */
    const char *link, *prefix;
    unsigned mode, uid, gid, major, minor;
    int64_t mtime;
    const char *raw_size;   /* 12 bytes instead of size */
    const char *magic;      /* 8 bytes; NULL: ustar 00 */
    bool bad_sum;
};

static inline CB_UNUSED void sup_octal(char *field, int digits, uint64_t v)
{
    for (int i = digits - 1; i >= 0; i--, v >>= 3)
        field[i] = (char)('0' + (v & 7));
}

static inline CB_UNUSED void sup_field(char *to, const char *from, size_t max)
{
    if (from)
        memcpy(to, from, CB_MIN(strlen(from), max));
}

static inline CB_UNUSED void sup_head(struct cb_strbuf *t, const struct sup_header *h)
{
    char b[512] = { 0 };
    unsigned sum = 0;
    sup_field(b, h->name, 100);
    sup_octal(b + 100, 7, h->mode ? h->mode : h->type == '5' ? 0755 : 0644);
    sup_octal(b + 108, 7, h->uid);
    sup_octal(b + 116, 7, h->gid);
    if (h->raw_size)
        memcpy(b + 124, h->raw_size, 12);
    else
        sup_octal(b + 124, 11, h->size);
    sup_octal(b + 136, 11, (uint64_t)h->mtime);
    b[156] = h->type;
    sup_field(b + 157, h->link, 100);
    memcpy(b + 257, h->magic ? h->magic : "ustar\00000", 8);
    sup_octal(b + 329, 7, h->major);
    sup_octal(b + 337, 7, h->minor);
    sup_field(b + 345, h->prefix, 155);
    memset(b + 148, ' ', 8);
    for (size_t i = 0; i < sizeof b; i++)
        sum += (unsigned char)b[i];
    sup_octal(b + 148, 6, sum + h->bad_sum);
    b[154] = '\0';
    cb_strbuf_add(t, b, sizeof b);
}

static inline CB_UNUSED void sup_body(struct cb_strbuf *t, const void *p, size_t n)
{
    static const char zeros[512];
    cb_strbuf_add(t, p, n);
    cb_strbuf_add(t, zeros, -n & 511);
}

static inline CB_UNUSED void sup_add(struct cb_strbuf *t, char type, const char *name, const char *link)
{
    sup_head(t, &(struct sup_header){ .name = name, .type = type, .link = link });
}

static inline CB_UNUSED void sup_file(struct cb_strbuf *t, const char *name, const char *text)
{
    sup_head(t, &(struct sup_header){ .name = name, .type = '0', .size = strlen(text) });
    sup_body(t, text, strlen(text));
}

static inline CB_UNUSED void sup_ext(struct cb_strbuf *t, char type, const void *p, size_t n)
{
    const char *name = type == 'L' || type == 'K' ? "././@LongLink" : "pax";
    sup_head(t, &(struct sup_header){ .name = name, .type = type, .size = n });
    sup_body(t, p, n);
}

static inline CB_UNUSED void sup_record(struct cb_strbuf *pax, const char *key, const char *value)
{
    size_t rest = strlen(key) + strlen(value) + 3, total = rest + 1;
    while (total != rest + (size_t)snprintf(NULL, 0, "%zu", total))
        total++;
    cb_strbuf_addf(pax, "%zu %s=%s\n", total, key, value);
}

static inline CB_UNUSED void sup_pax(struct cb_strbuf *t, const char *key, const char *value)
{
    cb_cleanup_strbuf struct cb_strbuf pax = CB_STRBUF_INIT;
    sup_record(&pax, key, value);
    sup_ext(t, 'x', pax.buf, pax.len);
}

static inline CB_UNUSED void sup_end(struct cb_strbuf *t)
{
    static const char zeros[1024];
    cb_strbuf_add(t, zeros, sizeof zeros);
}

/* ---- a source that gives at most `step` bytes at a time ---- */
/* As what a source calls does: who reads cannot rely on what lay above its stack. */
static __attribute__((noinline)) void sup_dirty_stack(int byte)
{
    char junk[16384];
    memset(junk, byte, sizeof junk);
    __asm__ volatile("" : : "r"(junk) : "memory");
}
struct sup_source {
    struct cb_blob_source base;
    const char *p;
    size_t n, step;
};
static inline int sup_source_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got,
                                  CB_UNUSED struct cb_error *err)
{
    struct sup_source *m = (struct sup_source *)s;
    sup_dirty_stack((int)m->n);
    *got = CB_MIN(CB_MIN(n, m->n), m->step);
    memcpy(buf, m->p, *got);
    m->p += *got;
    m->n -= *got;
    return 0;
}
static inline void sup_source_close(struct cb_blob_source *s)
{
    free(s);
}
static inline CB_UNUSED struct cb_blob_source *sup_source(const void *p, size_t n, size_t step)
{
    static const struct cb_blob_source_ops ops = { sup_source_read, sup_source_close };
    struct sup_source *m = CB_NEW(struct sup_source);
    *m = (struct sup_source){ { &ops }, p, n, step };
    return &m->base;
}

/* ---- a sink in memory ---- */
struct sup_sink {
    struct cb_blob_sink base;
    struct cb_strbuf data;
    bool committed;
    size_t fail_after; /* bytes; 0: never */
};
static inline int sup_sink_write(struct cb_blob_sink *s, const void *buf, size_t n, struct cb_error *err)
{
    struct sup_sink *m = (struct sup_sink *)s;
    if (m->fail_after && m->data.len + n > m->fail_after)
        return cb_error_set(err, CB_ELOCAL, "disk full");
    cb_strbuf_add(&m->data, buf, n);
    return 0;
}
static inline int sup_sink_commit(struct cb_blob_sink *s, const struct cb_digest *d, uint64_t size,
                                  struct cb_error *err)
{
    struct sup_sink *m = (struct sup_sink *)s;
    struct cb_digest real;
    cb_digest_of(&real, m->data.buf, m->data.len);
    if (!cb_digest_eq(&real, d) || size != m->data.len)
        return cb_error_set(err, CB_EVERIFY, "sink: digest or size does not hold");
    m->committed = true;
    return 0;
}
static inline void sup_sink_close(CB_UNUSED struct cb_blob_sink *s)
{
}
static const struct cb_blob_sink_ops sup_sink_ops = { sup_sink_write, sup_sink_commit, sup_sink_close };
#define SUP_SINK_INIT { { &sup_sink_ops }, CB_STRBUF_INIT, false, 0 }

/* ---- reading a whole layer ---- */
struct sup_read {
    int code;
    struct cb_error err;
    struct cb_toc *toc;
    struct cb_digest diff_id;
    uint64_t size;
    struct cb_strbuf seen; /* the entries as they came: "type path\n" */
};
static inline CB_UNUSED void sup_read_done(struct sup_read *r)
{
    cb_error_done(&r->err);
    cb_toc_unref(r->toc);
    cb_strbuf_done(&r->seen);
}
static inline CB_UNUSED struct sup_read sup_read_with(const struct cb_layer_read_options *o)
{
    struct sup_read r = { .seen = CB_STRBUF_INIT };
    const struct cb_entry *e = NULL;
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *rd = cb_layer_reader_new(o, &r.err);
    assert_non_null(rd);
    do {
        r.code = cb_layer_reader_next(rd, &e, &r.err);
        if (r.code == 0 && e)
            cb_strbuf_addf(&r.seen, "%d %s\n", (int)e->type, e->path);
    } while (r.code == 0 && e);
    if (r.code == 0)
        r.code = cb_layer_reader_finish(rd, NULL, &r.diff_id, &r.size, &r.toc, &r.err);
    if (r.code < 0)
        assert_string_not_equal(cb_error_text(&r.err), "");
    return r;
}
static inline CB_UNUSED struct sup_read sup_read(const void *p, size_t n, bool raw)
{
    return sup_read_with(&(struct cb_layer_read_options){ .source = sup_source(p, n, 4093), .raw_tar_ok = raw });
}

/* ---- tables ---- */
static inline CB_UNUSED void sup_entry(struct cb_toc_builder *b, enum cb_entry_type type, const char *path,
                                       const char *link)
{
    struct cb_entry e = { .path = path, .type = type, .link = link, .mode = type == CB_ENTRY_DIR ? 0755 : 0644 };
    if (type == CB_ENTRY_FILE)
        cb_sum_of(&e.digest, path, strlen(path));
    const struct cb_entry *to = type == CB_ENTRY_HARDLINK ? cb_toc_builder_find(b, link) : NULL;
    if (to && (to->type == CB_ENTRY_FILE || to->type == CB_ENTRY_HARDLINK))
        e.digest = to->digest; /* as a reader does; what comes later is another file */
    assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
}
/* "d a", "f a/b", "l x > target", "h x > target", "w gone", "o opaque", one a line. */
static inline CB_UNUSED struct cb_toc *sup_toc(const char *spec)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    while (*spec) {
        size_t n = strcspn(spec, "\n");
        cb_autofree char *line = cb_strndup(spec, n);
        char *link = strstr(line, " > ");
        if (link)
            *link = '\0';
        static const char letters[] = "?wodflhcbp"; /* by enum cb_entry_type */
        enum cb_entry_type t = (enum cb_entry_type)(strchr(letters, *line) - letters);
        sup_entry(b, t, line + 2, link ? link + 3 : NULL);
        spec += n + (spec[n] == '\n');
    }
    return cb_toc_builder_finish(b);
}
/* A file that is nowhere. */
static inline CB_UNUSED int sup_memfd(struct cb_slice bytes)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes.ptr, bytes.len), (ssize_t)bytes.len);
    return fd;
}
/* On the layers of a stack; indexed: on their files. */
static inline CB_UNUSED struct cb_lookup *sup_lookup(const struct cb_stack *s, bool indexed)
{
    struct cb_lookup_layer v[16] = { { 0 } };
    size_t n = cb_stack_layers(s);
    assert_true(n <= CB_COUNTOF(v));
    for (size_t i = 0; i < n; i++) {
        cb_cleanup_strbuf struct cb_strbuf file = CB_STRBUF_INIT;
        v[i].toc = indexed ? NULL : cb_stack_toc(s, i);
        cb_toc_index_print(&file, cb_stack_toc(s, i));
        int fd = indexed ? sup_memfd((struct cb_slice){ file.buf, file.len }) : -1;
        if (indexed)
            assert_int_equal(cb_toc_index_open(fd, &v[i].index, NULL), 0);
    }
    struct cb_lookup *l = cb_lookup_new(v, n);
    for (size_t i = 0; i < n; i++)
        cb_toc_index_unref(v[i].index);
    return l;
}
