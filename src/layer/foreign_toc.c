/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/foreign_toc.h"

#include "layer/reader_priv.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/hashmap.h"
#include "util/timeutil.h"

#define MAX_MODE 0xffffu /* type bits of a tar's mode may be there */

struct run { /* the parts of one file */
    size_t first, n;
};

struct cb_foreign_toc {
    struct cb_toc *table;
    struct cb_foreign_part *parts;
    size_t n_parts, cap_parts;
    struct run *runs;
    size_t n_runs, cap_runs;
    struct cb_hashmap *by_path; /* path → its run's place, plus one: the last file of that name */
};

/* One member of "entries". */
struct row {
    const char *name, *type, *link, *time, *digest, *chunk_digest;
    uint64_t size, mode, uid, gid, major, minor;
    uint64_t offset, end, inner, chunk_size, chunk_offset;
    const json_t *xattrs;
};

struct parser {
    const struct cb_foreign_place *place;
    struct cb_foreign_toc *t;
    struct cb_toc_builder *builder;
    struct cb_entry_maker maker;
    struct archive_entry *ae;
    struct cb_strbuf name, value;
    uint64_t size, covered;    /* of the file whose chunks may follow */
    uint64_t file_end;         /* in the blob; 0: not told */
};

void cb_foreign_toc_free(struct cb_foreign_toc *t)
{
    if (!t)
        return;
    cb_toc_unref(t->table);
    free(t->parts);
    free(t->runs);
    cb_hashmap_free(t->by_path);
    free(t);
}

struct cb_toc *cb_foreign_toc_table(const struct cb_foreign_toc *t)
{
    return t->table;
}

const struct cb_foreign_part *cb_foreign_toc_parts(const struct cb_foreign_toc *t, const char *path, size_t *n)
{
    const struct cb_entry *e = cb_toc_find(t->table, path);
    uintptr_t at = e && e->type == CB_ENTRY_FILE ? (uintptr_t)cb_hashmap_get(t->by_path, path) : 0;
    *n = at ? t->runs[at - 1].n : 0;
    return *n ? &t->parts[t->runs[at - 1].first] : NULL;
}

/* ---- JSON ---- */

static const char *const keys[] = {
    "name",      "type",      "linkName", "modtime",   "digest",    "chunkDigest", "size",        "mode", "uid",
    "gid",       "devMajor",  "devMinor", "offset",    "endOffset", "innerOffset", "chunkSize",   "chunkOffset",
    "xattrs",    "chunkType", NULL,
};

static int read_row(const json_t *o, struct row *w, struct cb_error *err)
{
    const struct {
        const char *key, **to;
    } strings[] = { { "name", &w->name },   { "type", &w->type },     { "linkName", &w->link },
                    { "modtime", &w->time }, { "digest", &w->digest }, { "chunkDigest", &w->chunk_digest } };
    const struct {
        const char *key;
        uint64_t *to;
    } numbers[] = { { "size", &w->size },           { "mode", &w->mode },           { "uid", &w->uid },
                    { "gid", &w->gid },             { "devMajor", &w->major },      { "devMinor", &w->minor },
                    { "offset", &w->offset },       { "endOffset", &w->end },       { "innerOffset", &w->inner },
                    { "chunkSize", &w->chunk_size }, { "chunkOffset", &w->chunk_offset } };
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "an entry is no object");
    *w = (struct row){ .name = "", .type = "", .link = "", .time = "", .digest = "", .chunk_digest = "" };
    int r = cb_json_check_keys(o, keys, err);
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(strings); i++)
        r = cb_json_get_string(o, strings[i].key, strings[i].to, err);
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(numbers); i++)
        r = cb_json_get_u64(o, numbers[i].key, numbers[i].to, err);
    return r < 0 ? r : cb_json_get_object(o, "xattrs", &w->xattrs, err);
}

/* ---- one entry as libarchive would give it ---- */

static int file_type(const char *type, mode_t *out, struct cb_error *err)
{
    static const struct {
        const char *name;
        mode_t type;
    } types[] = { { "reg", AE_IFREG },  { "dir", AE_IFDIR },   { "symlink", AE_IFLNK }, { "hardlink", AE_IFREG },
                  { "char", AE_IFCHR }, { "block", AE_IFBLK }, { "fifo", AE_IFIFO } };
    for (size_t i = 0; i < CB_COUNTOF(types); i++)
        if (!strcmp(type, types[i].name)) {
            *out = types[i].type;
            return 0;
        }
    return cb_error_set(err, CB_EVERIFY, "entry of the unknown type \"%.32s\"", type);
}

/* Go's zero time is none. */
static int read_time(const char *text, int64_t *sec, struct cb_error *err)
{
    int64_t ns = 0;
    if (*text && !cb_starts_with(text, "0001-01-01T") && !cb_time_parse(text, &ns))
        return cb_error_set(err, CB_EVERIFY, "modtime \"%.40s\" is no time", text);
    *sec = ns / 1000000000 - (ns % 1000000000 < 0);
    return 0;
}

static int read_xattrs(struct parser *p, const json_t *o, struct cb_error *err)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)o, key, v) {
        cb_strbuf_reset(&p->value);
        if (!json_is_string(v) || !cb_base64_decode(&p->value, json_string_value(v), json_string_length(v)))
            return cb_error_set(err, CB_EVERIFY, "extended attribute %.64s is no base64", key);
        archive_entry_xattr_add_entry(p->ae, key, p->value.buf ? p->value.buf : "", p->value.len);
    }
    return 0;
}

static bool is_lossy(const char *text)
{
    return strstr(text, "\xef\xbf\xbd") != NULL;
}

static int fill(struct parser *p, const struct row *w, struct cb_error *err)
{
    mode_t type = 0;
    int64_t sec = 0;
    int r = file_type(w->type, &type, err);
    if (r < 0 || (r = read_time(w->time, &sec, err)) < 0)
        return r;
    if (w->mode > MAX_MODE || w->uid > UINT32_MAX || w->gid > UINT32_MAX || w->size > INT64_MAX)
        return cb_error_set(err, CB_EVERIFY, "mode, owner or size is out of range");
    if (is_lossy(w->name) || is_lossy(w->link))
        return cb_error_set(err, CB_EVERIFY, "a name that JSON could not hold");
    archive_entry_clear(p->ae);
    archive_entry_set_pathname(p->ae, w->name);
    archive_entry_set_filetype(p->ae, type);
    archive_entry_set_perm(p->ae, (mode_t)(w->mode & 07777));
    archive_entry_set_uid(p->ae, (int64_t)w->uid);
    archive_entry_set_gid(p->ae, (int64_t)w->gid);
    archive_entry_set_mtime(p->ae, sec, 0);
    archive_entry_set_size(p->ae, (int64_t)w->size);
    archive_entry_set_rdevmajor(p->ae, w->major);
    archive_entry_set_rdevminor(p->ae, w->minor);
    if (!strcmp(w->type, "hardlink"))
        archive_entry_set_hardlink(p->ae, w->link);
    else if (type == AE_IFLNK)
        archive_entry_set_symlink(p->ae, w->link);
    return w->xattrs ? read_xattrs(p, w->xattrs, err) : 0;
}

/* ---- data ---- */

static int read_digest(const char *text, struct cb_digest *out, struct cb_error *err)
{
    int r = *text ? cb_digest_parse(out, text, err) : 0;
    if (r == 0 && cb_digest_is_set(out) && out->alg != CB_DIGEST_SHA256)
        r = cb_error_set(err, CB_EVERIFY, "a digest that is no sha256");
    return r;
}

/* A file's first or next part; where each ends is found when what follows is known. */
static int add_part(struct parser *p, const struct row *w, struct cb_error *err)
{
    struct cb_foreign_toc *t = p->t;
    uint64_t left = p->size - p->covered;
    struct cb_foreign_part part = { .at = p->covered, .size = w->chunk_size ? w->chunk_size : left,
                                    .offset = w->offset, .inner = w->inner };
    if (w->chunk_offset != p->covered || part.size > left)
        return cb_error_set(err, CB_EVERIFY, "its chunks overlap, or leave gaps");
    if (!w->offset || w->offset >= p->place->offset || w->inner > INT64_MAX)
        return cb_error_set(err, CB_EVERIFY, "its data is not inside the layer");
    int r = read_digest(w->chunk_digest, &part.digest, err);
    if (r < 0)
        return r;
    CB_GROW(t->parts, t->n_parts, t->cap_parts);
    t->parts[t->n_parts++] = part;
    t->runs[t->n_runs - 1].n++;
    p->covered += part.size;
    return 0;
}

/* zstd:chunked says where each file ends. */
static int end_file(struct parser *p, struct cb_error *err)
{
    struct cb_foreign_toc *t = p->t;
    if (p->covered != p->size)
        return cb_error_set(err, CB_EVERIFY, "the last file's chunks are not all of it");
    if (!p->size || p->place->kind != CB_FOREIGN_ZSTD_CHUNKED)
        return 0;
    const struct run *run = &t->runs[t->n_runs - 1];
    for (size_t i = 0; i < run->n; i++) {
        struct cb_foreign_part *x = &t->parts[run->first + i];
        x->end = i + 1 < run->n ? x[1].offset : p->file_end;
        if (x->end <= x->offset || x->end > p->place->offset)
            return cb_error_set(err, CB_EVERIFY, "the data of a file is not inside the layer");
    }
    return 0;
}

static int begin_file(struct parser *p, const struct row *w, struct cb_entry *e, struct cb_error *err)
{
    struct cb_foreign_toc *t = p->t;
    struct cb_digest of_data = { 0 };
    int r = read_digest(w->digest, &of_data, err);
    if (r < 0)
        return r;
    cb_sum_take(&e->digest, &of_data);
    if (!e->size)
        cb_sum_of(&e->digest, "", 0);
    if (!e->digest.known)
        return cb_error_set(err, CB_EVERIFY, "no digest of its data");
    p->size = e->size;
    p->covered = 0;
    p->file_end = w->end;
    CB_GROW(t->runs, t->n_runs, t->cap_runs);
    t->runs[t->n_runs++] = (struct run){ .first = t->n_parts };
    cb_hashmap_put(t->by_path, e->path, (void *)(uintptr_t)t->n_runs);
    return p->size ? add_part(p, w, err) : 0;
}

/* ---- entries ---- */

static int add_entry(struct parser *p, const struct row *w, struct cb_error *err)
{
    bool skip = false;
    cb_strbuf_reset(&p->name);
    cb_strbuf_adds(&p->name, w->name);
    while (p->name.len && p->name.buf[p->name.len - 1] == '/')
        cb_strbuf_setlen(&p->name, p->name.len - 1);
    int r = end_file(p, err);
    p->size = p->covered = 0;
    if (r < 0 || (r = fill(p, w, err)) < 0)
        return r;
    struct cb_tar_member member = { .name = p->name.buf ? p->name.buf : (char[]){ "" }, .sparse = true,
                                    .type = strcmp(w->type, "hardlink") ? '0' : '1' };
    r = cb_entry_make(&p->maker, p->ae, &member, &skip, err);
    if (r == 0 && !skip && p->maker.e.type == CB_ENTRY_FILE)
        r = begin_file(p, w, &p->maker.e, err);
    return r < 0 || skip ? r : cb_toc_builder_add(p->builder, &p->maker.e, err);
}

static int add_row(struct parser *p, const struct row *w, struct cb_error *err)
{
    bool chunk = !strcmp(w->type, "chunk");
    int r = chunk && !p->size ? cb_error_set(err, CB_EVERIFY, "a chunk of no file") : 0;
    if (r == 0)
        r = chunk ? add_part(p, w, err) : add_entry(p, w, err);
    if (r < 0)
        cb_error_wrap(err, "%.200s", w->name);
    return r;
}

/* eStargz: data goes on until the next member that data begins with, or the table. */
static int find_ends(struct parser *p, struct cb_error *err)
{
    uint64_t end = p->place->offset;
    for (size_t i = p->t->n_parts; i-- > 0;) {
        struct cb_foreign_part *x = &p->t->parts[i];
        if (i + 1 < p->t->n_parts && x[1].offset != x->offset)
            end = x[1].offset;
        x->end = end;
        if (x->end <= x->offset)
            return cb_error_set(err, CB_EVERIFY, "data is not in the order of the table");
    }
    return 0;
}

static int read_rows(struct parser *p, const json_t *root, struct cb_error *err)
{
    static const char *const known[] = { "version", "entries", "tarSplitDigest", NULL };
    const json_t *entries = NULL, *o;
    uint64_t version = 0;
    size_t i;
    int r = json_is_object(root) ? cb_json_check_keys(root, known, err) : cb_error_set(err, CB_EVERIFY, "no object");
    if (r < 0 || (r = cb_json_get_u64(root, "version", &version, err)) < 0 ||
        (r = cb_json_get_array(root, "entries", &entries, err)) < 0)
        return r;
    if (version != 1)
        return cb_error_set(err, CB_EVERIFY, "version %llu is not known", (unsigned long long)version);
    json_array_foreach((json_t *)(uintptr_t)entries, i, o) {
        struct row w;
        if ((r = read_row(o, &w, err)) < 0 || (r = add_row(p, &w, err)) < 0)
            return r;
    }
    r = end_file(p, err);
    return r < 0 || p->place->kind != CB_FOREIGN_ESTARGZ ? r : find_ends(p, err);
}

/* The last file of an eStargz layer. */
static int add_itself(struct parser *p, const char *text, size_t len, struct cb_error *err)
{
    struct cb_entry e = { .path = CB_ESTARGZ_TOC, .type = CB_ENTRY_FILE, .size = len, .offset = UINT64_MAX };
    cb_sum_of(&e.digest, text, len);
    return cb_toc_builder_add(p->builder, &e, err);
}

static int parse(struct parser *p, const char *text, size_t len, struct cb_error *err)
{
    if (len > CB_MAX_FOREIGN_TOC)
        return cb_error_set(err, CB_EVERIFY, "more than %u bytes", CB_MAX_FOREIGN_TOC);
    cb_autojson json_t *root = cb_json_parse(text, len, err);
    int r = root ? read_rows(p, root, err) : -CB_EVERIFY;
    return r < 0 || p->place->kind != CB_FOREIGN_ESTARGZ ? r : add_itself(p, text, len, err);
}

int cb_foreign_toc_parse(const struct cb_foreign_place *place, const char *text, size_t len,
                         struct cb_foreign_toc **out, struct cb_error *err)
{
    int r = cb_archive_load(err);
    if (r < 0)
        return r;
    struct parser p = { .place = place, .t = CB_NEW(struct cb_foreign_toc), .builder = cb_toc_builder_new(),
                        .ae = archive_entry_new(), .name = CB_STRBUF_INIT, .value = CB_STRBUF_INIT };
    p.maker = (struct cb_entry_maker){ .seen = p.builder, .path = CB_STRBUF_INIT, .link = CB_STRBUF_INIT,
                                       .scratch = CB_STRBUF_INIT };
    p.t->by_path = cb_hashmap_new();
    if (!p.ae)
        abort(); /* only without memory */
    r = parse(&p, text, len, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", place->kind == CB_FOREIGN_ESTARGZ ? "stargz.index.json" : "zstd:chunked manifest");
        cb_foreign_toc_free(p.t);
    } else {
        p.t->table = cb_toc_builder_finish(p.builder);
        *out = p.t;
    }
    cb_toc_builder_free(p.builder);
    archive_entry_free(p.ae);
    cb_strbuf_done(&p.name);
    cb_strbuf_done(&p.value);
    cb_strbuf_done(&p.maker.path);
    cb_strbuf_done(&p.maker.link);
    cb_strbuf_done(&p.maker.scratch);
    return r;
}
