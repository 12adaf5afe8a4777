/* SPDX-License-Identifier: Apache-2.0 */
/* A layer reader whose work is done by a helper. What that has put into the memory may change at any time: it is copied
 * once, and what was copied is looked at. */
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "image/helper.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/thread.h"

#define GIVEN_BACK_AT_ONCE ((uint64_t)128 << 10)

/* How it stands with entries: after the first of these there will be no more bytes than are there. */
enum conclusion { GOES_ON, ENDED, FAILED, GONE };

struct apart {
    struct cb_layer_reader base;
    struct cb_layer_read_options o;
    struct cb_helper_link link;
    bool started;
    int failed;              /* the code of the first failure: it stays */
    /* ---- the memory ---- */
    int out, filled, freed;
    const uint8_t *bytes;
    uint64_t put, taken, given_back;
    enum conclusion conclusion;
    struct cb_error why;     /* FAILED */
    /* ---- the entry ---- */
    struct cb_entry_parser *parser;
    struct cb_strbuf text;
    const struct cb_entry *e;
    uint64_t left;           /* of the file, and the part of it that */
    uint32_t record;         /* is left of the current record */
    uint64_t n_entries, data_bytes;
};

/* ---- the beginning ---- */

static int make_out(struct apart *r, struct cb_error *err)
{
    r->out = memfd_create("cbpush-entries", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (r->out < 0 || ftruncate(r->out, (off_t)CB_HELPER_RING) < 0 ||
        fcntl(r->out, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "make memory for entries");
    void *p = mmap(NULL, CB_HELPER_RING, PROT_READ, MAP_SHARED, r->out, 0);
    if (p == MAP_FAILED)
        return cb_error_sys(err, CB_ELOCAL, errno, "map memory for entries");
    r->bytes = p;
    r->filled = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    r->freed = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return r->filled < 0 || r->freed < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "make an eventfd") : 0;
}

/* data: not only the table. */
static int start(struct apart *r, bool data, struct cb_error *err)
{
    const struct cb_helper_job job = { .kind = CB_HELPER_READ, .raw = r->o.raw_tar_ok, .data = data,
                                       .max_size = r->o.max_size, .max_entries = r->o.max_entries,
                                       .threads = cb_cpu_count() };
    if (r->started)
        return 0;
    r->started = true;
    int k = make_out(r, err);
    const int more[] = { r->out, r->filled, r->freed, -1 };
    return k < 0 ? k : cb_helper_link_start(&r->link, &job, more, err);
}

/* ---- bytes ---- */

static int note_filled(struct apart *r, struct cb_error *err)
{
    uint64_t n = 0;
    if (read(r->filled, &n, sizeof n) != (ssize_t)sizeof n)
        return 0;
    if (n > CB_HELPER_RING - (r->put - r->given_back))
        return cb_helper_no_sense(err);
    r->put += n;
    return 0;
}

static int hear(struct apart *r, bool *heard, struct cb_error *err)
{
    struct cb_helper_link *l = &r->link;
    int k = cb_helper_link_hear(l, err);
    *heard = k > 0;
    if (k < 0)
        return k;
    if (k > 0 && l->m->head.type == CB_HELPER_ENDED && l->ready)
        r->conclusion = ENDED;
    else if (k > 0 && cb_helper_link_take(l, &r->why) < 0)
        r->conclusion = FAILED;
    else if (l->gone)
        r->conclusion = GONE;
    return 0;
}

static int conclude(struct apart *r, bool *end, struct cb_error *err)
{
    *end = r->conclusion == ENDED;
    if (r->conclusion == FAILED)
        return cb_error_copy(err, &r->why);
    return *end ? 0 : cb_helper_blame(cb_helper_link_end(&r->link), err);
}

/* Until there is a byte, or *end. What was said holds only when nothing is there any more. */
static int await(struct apart *r, bool *end, struct cb_error *err)
{
    int k = 0;
    *end = false;
    while (k == 0 && r->put == r->taken) {
        bool heard = false;
        if (r->conclusion == GOES_ON)
            k = hear(r, &heard, err);
        if (k == 0)
            k = note_filled(r, err);
        if (k < 0 || r->put != r->taken)
            break;
        if (r->conclusion != GOES_ON)
            return conclude(r, end, err);
        if (!heard)
            k = cb_helper_link_step(&r->link, r->filled, err);
    }
    return k;
}

/* The helper gets room, and more to do, before it runs dry. */
static int give_back(struct apart *r, struct cb_error *err)
{
    const uint64_t n = r->taken - r->given_back;
    if (n < GIVEN_BACK_AT_ONCE)
        return 0;
    r->given_back = r->taken;
    if (write(r->freed, &n, sizeof n) != (ssize_t)sizeof n)
        return cb_error_sys(err, CB_ELOCAL, errno, "give memory back");
    return cb_helper_link_feed(&r->link, err);
}

/* Some bytes, at least one; to NULL: passed over. */
static int take_some(struct apart *r, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    bool end;
    int k = await(r, &end, err);
    if (k < 0 || end)
        return k < 0 ? k : cb_helper_no_sense(err);
    size_t at = (size_t)(r->taken % CB_HELPER_RING);
    *got = CB_MIN(CB_MIN(n, (size_t)(r->put - r->taken)), CB_HELPER_RING - at);
    if (buf)
        memcpy(buf, r->bytes + at, *got);
    r->taken += *got;
    return give_back(r, err);
}

static int take(struct apart *r, void *buf, size_t n, struct cb_error *err)
{
    char *p = buf;
    int k = 0;
    for (size_t got = 0; k == 0 && n; n -= got, p += got) {
        got = 0;
        k = take_some(r, p, n, &got, err);
    }
    return k;
}

static int take_record(struct apart *r, enum cb_helper_record_type type, uint64_t max, uint32_t *n,
                       struct cb_error *err)
{
    struct cb_helper_record record = { 0 };
    int k = take(r, &record, sizeof record, err);
    if (k == 0 && (record.type != (uint32_t)type || record.n == 0 || record.n > max))
        k = cb_helper_no_sense(err);
    *n = record.n;
    return k;
}

/* ---- data ---- */

/* A part of the current file; to NULL: passed over. */
static int take_data(struct apart *r, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    int k = r->record ? 0 : take_record(r, CB_HELPER_DATA, r->left, &r->record, err);
    if (k == 0)
        k = take_some(r, buf, CB_MIN(n, (size_t)r->record), got, err);
    if (k < 0)
        return k;
    r->record -= (uint32_t)*got;
    r->left -= *got;
    return 0;
}

static int read_data(struct cb_layer_reader *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct apart *r = (struct apart *)b;
    *got = 0;
    if (r->failed)
        return cb_error_set(err, (enum cb_code)-r->failed, "layer has failed before");
    if (!r->left || !n)
        return 0;
    int k = cb_cancel_check(r->o.cancel, err);
    if (k == 0)
        k = take_data(r, buf, n, got, err);
    r->failed = k;
    return k;
}

/* ---- entries ---- */

/* As many bytes as it says there are, but no more memory than have come. */
static int take_text(struct apart *r, struct cb_error *err)
{
    char buf[4096];
    uint32_t n = 0;
    int k = take_record(r, CB_HELPER_ENTRY, CB_MAX_ENTRY_TEXT, &n, err);
    cb_strbuf_reset(&r->text);
    for (size_t got = 0; k == 0 && n; n -= (uint32_t)got) {
        got = 0;
        k = take_some(r, buf, CB_MIN(sizeof buf, (size_t)n), &got, err);
        cb_strbuf_add(&r->text, buf, got);
    }
    return k;
}

static int take_entry(struct apart *r, struct cb_error *err)
{
    int k = take_text(r, err);
    if (k < 0)
        return k;
    if (cb_entry_parse(r->parser, r->text.buf, r->text.len, &r->e, NULL) < 0 || r->e->inline_data ||
        ++r->n_entries > r->o.max_entries)
        return cb_helper_no_sense(err);
    r->left = r->e->type == CB_ENTRY_FILE ? r->e->size : 0;
    if (__builtin_add_overflow(r->data_bytes, r->left, &r->data_bytes) ||
        (r->o.max_size && r->data_bytes > r->o.max_size))
        return cb_helper_no_sense(err);
    return 0;
}

static int pass_over(struct apart *r, struct cb_error *err)
{
    int k = 0;
    for (size_t got; k == 0 && r->left;)
        k = take_data(r, NULL, SIZE_MAX, &got, err);
    return k;
}

static int next_entry(struct apart *r, const struct cb_entry **e, struct cb_error *err)
{
    bool end = false;
    int k = cb_cancel_check(r->o.cancel, err);
    if (k == 0)
        k = start(r, true, err);
    if (k == 0)
        k = pass_over(r, err);
    if (k == 0)
        k = await(r, &end, err);
    if (k == 0 && !end)
        k = take_entry(r, err);
    *e = k == 0 && !end ? r->e : NULL;
    return k;
}

static int next(struct cb_layer_reader *b, const struct cb_entry **e, struct cb_error *err)
{
    struct apart *r = (struct apart *)b;
    *e = NULL;
    if (r->failed)
        return cb_error_set(err, (enum cb_code)-r->failed, "layer has failed before");
    r->failed = next_entry(r, e, err);
    return r->failed;
}

/* ---- the end ---- */

static int ask_for_result(struct apart *r, bool toc, struct cb_error *err)
{
    struct cb_helper_head head = { .type = CB_HELPER_FINISH, .value = toc };
    int k = cb_helper_send(r->link.sock, &head, NULL, -1);
    /* That it is gone shows where its next message should be. */
    return k == 0 || k == -EPIPE || k == -ECONNRESET ? 0 : cb_helper_no_sense(err);
}

static int take_result(struct apart *r, struct cb_layer_read_result *out, struct cb_error *err)
{
    struct cb_helper_link *l = &r->link;
    int k = ask_for_result(r, out->want_toc, err);
    while (k == 0 && !l->done) {
        k = cb_helper_link_hear(l, err);
        if (k > 0)
            k = l->m->head.type == CB_HELPER_DONE ? cb_helper_link_take_done(l, NULL, out, err)
                                                  : cb_helper_link_take(l, err);
        else if (k == 0)
            k = l->gone ? cb_helper_blame(cb_helper_link_end(l), err) : cb_helper_link_step(l, -1, err);
    }
    return k;
}

static int finish(struct cb_layer_reader *b, const struct cb_digest *expect, struct cb_layer_read_result *out,
                  struct cb_error *err)
{
    struct apart *r = (struct apart *)b;
    const struct cb_entry *e = NULL;
    int k = r->failed ? cb_error_set(err, (enum cb_code)-r->failed, "layer has failed before") : 0;
    if (k == 0 && !r->started)
        k = start(r, false, err);
    else if (k == 0)
        while ((k = next_entry(r, &e, err)) == 0 && e)
            continue;
    if (k == 0)
        k = take_result(r, out, err);
    if (k == 0)
        k = cb_layer_check_diff_id(expect, &out->diff_id, err);
    r->failed = k < 0 ? k : -CB_EINTERNAL;
    if (k < 0)
        cb_toc_unref(CB_TAKE(out->toc));
    return k;
}

static void apart_free(struct cb_layer_reader *b)
{
    struct apart *r = (struct apart *)b;
    (void)cb_helper_link_end(&r->link);
    cb_helper_link_done(&r->link);
    cb_close_p(&r->out);
    cb_close_p(&r->filled);
    cb_close_p(&r->freed);
    if (r->bytes)
        munmap((void *)(uintptr_t)r->bytes, CB_HELPER_RING);
    cb_entry_parser_free(r->parser);
    cb_strbuf_done(&r->text);
    cb_error_done(&r->why);
    r->o.source->ops->close(r->o.source);
    free(r);
}

/* It starts when something is wanted of it: what, is known then. */
struct cb_layer_reader *cb_helper_reader(const struct cb_layer_read_options *o, CB_UNUSED struct cb_error *err)
{
    static const struct cb_layer_reader_ops ops = { next, read_data, finish, apart_free };
    struct apart *r = CB_NEW(struct apart);
    *r = (struct apart){ .base = { .ops = &ops }, .o = *o, .out = -1, .filled = -1, .freed = -1,
                         .text = CB_STRBUF_INIT, .why = CB_ERROR_INIT, .parser = cb_entry_parser_new() };
    if (!r->o.max_entries || r->o.max_entries > CB_MAX_LAYER_ENTRIES)
        r->o.max_entries = CB_MAX_LAYER_ENTRIES;
    cb_helper_link_init(&r->link, o->source, o->cancel);
    return &r->base;
}
