/* SPDX-License-Identifier: Apache-2.0 */
/* A helper that gives entries and bytes: it runs ahead of cbpush as far as the memory goes. */
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "image/helper_child.h"

#define TOLD_AT_ONCE ((size_t)64 << 10)  /* bytes that cbpush is woken for */
#define PIECE ((size_t)64 << 10)         /* of a file */
#define ROOM_FOR_PIECES ((size_t)16 << 10)

struct out {
    const struct cb_helper_self *h;
    uint64_t put, told, freed;
};

static void flush(struct out *o)
{
    const uint64_t n = o->put - o->told;
    if (n && write(o->h->out_filled, &n, sizeof n) != (ssize_t)sizeof n)
        _exit(1);
    o->told = o->put;
}

static size_t room(const struct out *o)
{
    return CB_HELPER_RING - (size_t)(o->put - o->freed);
}

static void wait_for_room(struct out *o, size_t least)
{
    while (room(o) < least) {
        struct pollfd p = { .fd = o->h->out_freed, .events = POLLIN };
        uint64_t n = 0;
        flush(o);
        if (poll(&p, 1, -1) < 0 && errno != EINTR)
            _exit(1);
        if (read(o->h->out_freed, &n, sizeof n) == (ssize_t)sizeof n)
            o->freed += n;
    }
}

/* In one piece, from there on. */
static size_t straight(uint64_t at)
{
    return CB_HELPER_RING - (size_t)(at % CB_HELPER_RING);
}

static void copy_to(struct out *o, uint64_t at, const void *buf, size_t n)
{
    size_t first = CB_MIN(n, straight(at));
    memcpy(o->h->out + at % CB_HELPER_RING, buf, first);
    memcpy(o->h->out, (const char *)buf + first, n - first);
}

static void advance(struct out *o, size_t n)
{
    o->put += n;
    if (o->put - o->told >= TOLD_AT_ONCE)
        flush(o);
}

static void put(struct out *o, const void *buf, size_t n)
{
    const char *p = buf;
    while (n) {
        wait_for_room(o, 1);
        size_t k = CB_MIN(n, room(o));
        copy_to(o, o->put, p, k);
        advance(o, k);
        p += k;
        n -= k;
    }
}

static void put_entry(struct out *o, const struct cb_entry *e, struct cb_strbuf *scratch)
{
    cb_strbuf_reset(scratch);
    cb_entry_print(scratch, e);
    const struct cb_helper_record record = { CB_HELPER_ENTRY, (uint32_t)scratch->len };
    put(o, &record, sizeof record);
    put(o, scratch->buf, scratch->len);
}

/* Read to where it goes; what goes before it is known only then. */
static int put_piece(struct out *o, struct cb_layer_reader *reader, size_t *got, struct cb_error *err)
{
    struct cb_helper_record record = { .type = CB_HELPER_DATA };
    wait_for_room(o, ROOM_FOR_PIECES);
    uint64_t at = o->put + sizeof record;
    size_t n = CB_MIN(CB_MIN(room(o) - sizeof record, straight(at)), PIECE);
    int r = cb_layer_reader_read(reader, o->h->out + at % CB_HELPER_RING, n, got, err);
    if (r < 0 || *got == 0)
        return r;
    record.n = (uint32_t)*got;
    copy_to(o, o->put, &record, sizeof record);
    advance(o, sizeof record + *got);
    return 0;
}

static int give_entries(struct out *o, struct cb_layer_reader *reader, struct cb_error *err)
{
    struct cb_strbuf scratch cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_entry *e = NULL;
    int r;
    while ((r = cb_layer_reader_next(reader, &e, err)) == 0 && e) {
        put_entry(o, e, &scratch);
        for (size_t got = e->type == CB_ENTRY_FILE; r == 0 && got;)
            r = put_piece(o, reader, &got, err);
        if (r < 0)
            break;
    }
    flush(o);
    return r;
}

static int finish(struct cb_helper_self *h, struct cb_layer_reader *reader, struct cb_error *err)
{
    struct cb_unpack_result res = { 0 };
    int r = cb_helper_hear(h, CB_HELPER_FINISH, err);
    if (r == 0)
        r = cb_layer_reader_finish(reader, NULL, &res.diff_id, &res.size, h->m->head.value ? &res.toc : NULL, err);
    if (r == 0)
        cb_helper_tell_result(h, &res);
    return r;
}

int cb_helper_give(struct cb_helper_self *h, struct cb_blob_source *source, struct cb_error *err)
{
    const struct cb_helper_job *job = h->job;
    struct cb_layer_read_options ro = { .source = source, .raw_tar_ok = job->raw, .max_size = job->max_size,
                                        .max_entries = job->max_entries, .threads = job->threads };
    struct out o = { .h = h };
    struct cb_layer_reader *reader = cb_layer_reader_new(&ro, err);
    if (!reader)
        return -CB_EVERIFY;
    int r = job->data ? give_entries(&o, reader, err) : 0;
    if (r == 0 && job->data)
        cb_helper_tell(h, (struct cb_helper_head){ .type = CB_HELPER_ENDED }, NULL);
    return r < 0 ? r : finish(h, reader, err);
}
