/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/layer.h"

#include "layer/inflate.h"
#include "layer/isal_lib.h"
#include "layer/reader_priv.h"
#include "util/alloc.h"

struct tar_reader {
    struct cb_layer_reader base;
    struct cb_layer_read_options o;
    struct cb_plain *plain;
    struct archive *a;
    uint64_t fed;              /* bytes that libarchive got */
    struct cb_entry_maker maker;
    struct cb_toc_builder *builder;
    bool opened, ended;
    int failed;                /* the code of the first failure: it stays */
    uint64_t n_entries;
    uint64_t data_bytes;       /* of files, holes included: against max_size */
    /* The current file, until its data has been read. */
    bool in_file;
    uint64_t left;
    struct cb_hasher *hasher;  /* NULL: digests are deferred */
    struct cb_strbuf inline_data;
    bool keep_inline;
};

/* libarchive gets the padding of the last entry where it is missing. Whether more is missing the guard says. */
static la_ssize_t on_read(CB_UNUSED struct archive *a, void *arg, const void **buf)
{
    struct tar_reader *r = arg;
    static const char zeros[CB_TAR_BLOCK];
    size_t n = cb_plain_next(r->plain, buf);
    if (n == 0) {
        n = cb_tar_padding(r->fed);
        *buf = zeros;
    }
    r->fed += n;
    return (la_ssize_t)n;
}

/* Tar and nothing else (1H): no other format is known to this handle, and no filter. */
static void prepare_archive(struct tar_reader *r)
{
    r->a = archive_read_new();
    if (!r->a || archive_read_support_format_tar(r->a) != ARCHIVE_OK ||
        archive_read_support_format_empty(r->a) != ARCHIVE_OK)
        abort(); /* libarchive fails here only without memory */
}

int cb_layer_load(struct cb_error *err)
{
    int r = cb_archive_load(err);
    return r < 0 ? r : cb_isal_load(err);
}

const char *cb_layer_library(void)
{
    return cb_archive_load(NULL) < 0 ? "libarchive (cannot be loaded)" : archive_version_string();
}

/* Where it was begun only in part, too. */
static void reader_free(struct cb_layer_reader *b)
{
    struct tar_reader *r = (struct tar_reader *)b;
    archive_read_free(r->a);
    cb_plain_free(r->plain);
    cb_toc_builder_free(r->builder);
    cb_hasher_free(r->hasher);
    cb_strbuf_done(&r->inline_data);
    cb_strbuf_done(&r->maker.path);
    cb_strbuf_done(&r->maker.link);
    cb_strbuf_done(&r->maker.scratch);
    free(r);
}

/* Damage to the bytes explains what libarchive makes of them, so it is told first. */
static int archive_failed(struct tar_reader *r, struct cb_error *err)
{
    int code = cb_plain_blame(r->plain, err);
    if (code < 0)
        return code;
    const char *why = archive_error_string(r->a);
    return cb_error_set(err, CB_EVERIFY, "tar: %s", why ? why : "damaged archive");
}

static int over_budget(const struct tar_reader *r, struct cb_error *err)
{
    return cb_error_set(err, CB_EVERIFY, "unpacks to more than the allowed %llu bytes",
                        (unsigned long long)r->o.max_size);
}

/* ---- data ---- */

static int start_file(struct tar_reader *r, struct cb_error *err)
{
    const struct cb_entry *e = &r->maker.e;
    if (__builtin_add_overflow(r->data_bytes, e->size, &r->data_bytes) ||
        (r->o.max_size && r->data_bytes > r->o.max_size))
        return over_budget(r, err);
    r->in_file = true;
    r->left = e->size;
    r->keep_inline = cb_toc_wants_inline(e->path, e->size);
    cb_strbuf_reset(&r->inline_data);
    return 0;
}

static int read_data(struct tar_reader *r, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    *got = 0;
    n = (size_t)CB_MIN((uint64_t)n, r->left);
    if (!n)
        return 0;
    int code = cb_cancel_check(r->o.cancel, err);
    if (code < 0)
        return code;
    la_ssize_t k = archive_read_data(r->a, buf, n);
    if (k < 0)
        return archive_failed(r, err);
    if (k == 0 && r->maker.e.offset != UINT64_MAX)
        return archive_failed(r, err);
    if (k == 0) { /* a hole at the end of a sparse file */
        memset(buf, 0, n);
        k = (la_ssize_t)n;
    }
    *got = (size_t)k;
    r->left -= *got;
    if (r->hasher)
        cb_hasher_update(r->hasher, buf, *got);
    if (r->keep_inline)
        cb_strbuf_add(&r->inline_data, buf, *got);
    return 0;
}

static void take_sum(const struct tar_reader *r, struct cb_sum *out)
{
    struct cb_digest sum;
    if (!r->hasher) {
        cb_sum_defer(out);
        return;
    }
    cb_hasher_finish(r->hasher, &sum);
    cb_sum_take(out, &sum);
}

static int end_file(struct tar_reader *r, struct cb_error *err)
{
    char sink[16 << 10];
    size_t got;
    if (!r->in_file)
        return 0;
    while (r->left) {
        int code = read_data(r, sink, sizeof sink, &got, err);
        if (code < 0)
            return code;
    }
    r->in_file = false;
    take_sum(r, &r->maker.e.digest);
    r->maker.e.inline_data = r->keep_inline ? r->inline_data.buf : NULL;
    return cb_toc_builder_add(r->builder, &r->maker.e, err);
}

static int reader_read(struct cb_layer_reader *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct tar_reader *r = (struct tar_reader *)b;
    *got = 0;
    if (r->failed)
        return cb_error_set(err, (enum cb_code)-r->failed, "layer has failed before");
    if (!r->in_file)
        return 0;
    int code = read_data(r, buf, n, got, err);
    if (code < 0) {
        r->failed = code;
        cb_error_wrap(err, "%s", r->maker.path.buf);
    }
    return code;
}

/* ---- entries ---- */

static int next_header(struct tar_reader *r, struct archive_entry **ae, struct cb_error *err)
{
    if (!r->opened && archive_read_open(r->a, r, NULL, on_read, NULL) != ARCHIVE_OK)
        return archive_failed(r, err);
    r->opened = true;
    int code = archive_read_next_header(r->a, ae);
    if (code == ARCHIVE_EOF) {
        *ae = NULL;
        return 0;
    }
    /* WARN: names are no text in this locale. They stay bytes, which is what we want. */
    return code == ARCHIVE_OK || code == ARCHIVE_WARN ? 0 : archive_failed(r, err);
}

/* An entry of the tar; *skip where it has no effect. */
static int read_entry(struct tar_reader *r, bool *skip, struct cb_error *err)
{
    struct archive_entry *ae;
    struct cb_tar_member member;
    int code = next_header(r, &ae, err);
    *skip = false;
    r->ended = code == 0 && !ae;
    if (code < 0 || r->ended)
        return code;
    if (++r->n_entries > r->o.max_entries)
        return cb_error_set(err, CB_EVERIFY, "more than %llu entries", (unsigned long long)r->o.max_entries);
    if (!cb_plain_member(r->plain, &member)) {
        code = cb_plain_blame(r->plain, err);
        return code < 0 ? code : cb_error_set(err, CB_EVERIFY, "tar can be read in two ways");
    }
    r->maker.seen = r->builder;
    code = cb_entry_make(&r->maker, ae, &member, skip, err);
    free(member.name);
    if (code < 0 || *skip)
        return code;
    return r->maker.e.type == CB_ENTRY_FILE ? start_file(r, err) : cb_toc_builder_add(r->builder, &r->maker.e, err);
}

static int reader_next(struct cb_layer_reader *b, const struct cb_entry **e, struct cb_error *err)
{
    struct tar_reader *r = (struct tar_reader *)b;
    *e = NULL;
    if (r->failed)
        return cb_error_set(err, (enum cb_code)-r->failed, "layer has failed before");
    int code = end_file(r, err);
    bool skip = true;
    while (code == 0 && skip && !r->ended) {
        code = cb_cancel_check(r->o.cancel, err);
        if (code == 0)
            code = read_entry(r, &skip, err);
    }
    if (code < 0) {
        r->failed = code;
        return code;
    }
    *e = r->ended ? NULL : &r->maker.e;
    return 0;
}

/* ---- the end ---- */

static int read_to_end(struct tar_reader *r, const struct cb_digest *expect, struct cb_plain_result *res,
                  struct cb_error *err)
{
    const struct cb_entry *e;
    struct cb_tar_member member;
    int code = r->failed ? cb_error_set(err, (enum cb_code)-r->failed, "layer has failed before") : 0;
    while (code == 0 && !r->ended)
        code = reader_next(&r->base, &e, err);
    if (code < 0 || (code = cb_plain_finish(r->plain, res, err)) < 0)
        return code;
    if (cb_plain_member(r->plain, &member)) {
        free(member.name);
        return cb_error_set(err, CB_EVERIFY, "tar can be read in two ways");
    }
    return r->hasher ? cb_layer_check_diff_id(expect, &res->diff_id, err) : 0;
}

static int reader_finish(struct cb_layer_reader *b, const struct cb_digest *expect, struct cb_layer_read_result *out,
                         struct cb_error *err)
{
    struct tar_reader *r = (struct tar_reader *)b;
    struct cb_plain_result res = { 0 };
    int code = read_to_end(r, expect, &res, err);
    r->failed = code < 0 ? code : -CB_EINTERNAL;
    if (code < 0)
        return code;
    out->diff_id = res.diff_id;
    out->size = res.size;
    if (out->want_toc)
        out->toc = cb_toc_builder_finish(r->builder);
    return 0;
}

struct cb_layer_reader *cb_layer_reader_here(const struct cb_layer_read_options *o, struct cb_error *err)
{
    static const struct cb_layer_reader_ops ops = { reader_next, reader_read, reader_finish, reader_free };
    if (cb_archive_load(err) < 0) {
        o->source->ops->close(o->source);
        return NULL;
    }
    struct tar_reader *r = CB_NEW(struct tar_reader);
    r->base.ops = &ops;
    r->o = *o;
    if (!r->o.max_entries || r->o.max_entries > CB_MAX_LAYER_ENTRIES)
        r->o.max_entries = CB_MAX_LAYER_ENTRIES;
    r->builder = cb_toc_builder_new();
    r->hasher = o->defer_digests ? NULL : cb_hasher_new(CB_DIGEST_SHA256);
    r->inline_data = (struct cb_strbuf)CB_STRBUF_INIT;
    r->maker = (struct cb_entry_maker){
        .raw = o->raw_tar_ok, .path = CB_STRBUF_INIT, .link = CB_STRBUF_INIT, .scratch = CB_STRBUF_INIT };
    prepare_archive(r);
    r->plain = cb_plain_start(&(struct cb_plain_options){ .source = o->source, .foreign = o->raw_tar_ok,
                                                          .max_size = o->max_size, .copy_fd = o->plain_fd,
                                                          .unhashed = o->defer_digests, .threads = o->threads,
                                                          .cancel = o->cancel }, err);
    if (r->plain)
        return &r->base;
    reader_free(&r->base);
    return NULL;
}
