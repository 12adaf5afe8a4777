/* SPDX-License-Identifier: Apache-2.0 */
/* gzip, member after member. ISA-L is about three times as fast as zlib; both check CRC and length. */
#ifndef HAVE_ISAL
#include <zlib.h>
#endif

#include "layer/gzip_header.h"
#include "layer/inflate_priv.h"
#include "layer/isal_lib.h"
#include "util/alloc.h"

struct gzip {
    struct cb_inflate_input *in;
    struct cb_members *members; /* from the second one on, where there are threads for them */
    bool in_member; /* bytes of one have been read and its end has not */
#ifdef HAVE_ISAL
    struct cb_gzip_header header;
    struct inflate_state z;
#else
    z_stream z;
#endif
};

#ifdef HAVE_ISAL

static const char *reason(int r)
{
    switch (r) {
    case ISAL_INCORRECT_CHECKSUM:
        return "checksum or length does not hold";
    default:
        return "damaged data";
    }
}

static int engine_open(struct gzip *g, struct cb_error *err)
{
    int r = cb_isal_load(err);
    if (r < 0)
        return r;
    isal_inflate_init(&g->z);
    g->z.crc_flag = ISAL_GZIP_NO_HDR_VER;
    return 0;
}

static void engine_close(CB_UNUSED struct gzip *g)
{
}

static void engine_reset(struct gzip *g)
{
    isal_inflate_reset(&g->z);
    g->z.crc_flag = ISAL_GZIP_NO_HDR_VER;
    g->header = (struct cb_gzip_header){ 0 };
}

static const char *take_header(struct gzip *g)
{
    const char *bad = NULL;
    size_t n = cb_gzip_header_take(&g->header, g->in->p, g->in->n, &bad);
    g->in->p += n;
    g->in->n -= n;
    return bad;
}

/* One step over the input window; *ended at the end of a member. NULL, or what is wrong. */
static const char *engine_step(struct gzip *g, uint8_t *out, uint32_t room, uint32_t *made, bool *ended)
{
    const char *bad = g->header.whole ? NULL : take_header(g);
    if (bad || !g->header.whole)
        return bad;
    uint32_t n = (uint32_t)g->in->n;
    g->z.next_in = (uint8_t *)(uintptr_t)g->in->p;
    g->z.avail_in = n;
    g->z.next_out = out;
    g->z.avail_out = room;
    int r = isal_inflate(&g->z);
    g->in->p += n - g->z.avail_in;
    g->in->n = g->z.avail_in;
    *made = room - g->z.avail_out;
    *ended = g->z.block_state == ISAL_BLOCK_FINISH;
    return r < 0 || r == ISAL_NEED_DICT ? reason(r) : NULL;
}

#else

static int engine_open(struct gzip *g, struct cb_error *err)
{
    return inflateInit2(&g->z, 15 + 16) == Z_OK ? 0 : cb_error_set(err, CB_EINTERNAL, "cannot start gzip");
}

static void engine_close(struct gzip *g)
{
    inflateEnd(&g->z);
}

static void engine_reset(struct gzip *g)
{
    inflateReset(&g->z);
}

static const char *engine_step(struct gzip *g, uint8_t *out, uint32_t room, uint32_t *made, bool *ended)
{
    uint32_t n = (uint32_t)g->in->n;
    g->z.next_in = (uint8_t *)(uintptr_t)g->in->p;
    g->z.avail_in = n;
    g->z.next_out = out;
    g->z.avail_out = room;
    int r = inflate(&g->z, Z_NO_FLUSH);
    g->in->p += n - g->z.avail_in;
    g->in->n = g->z.avail_in;
    *made = room - g->z.avail_out;
    *ended = r == Z_STREAM_END;
    if (r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR)
        return NULL;
    return g->z.msg ? g->z.msg : "damaged data";
}

#endif

static void *gzip_open(struct cb_inflate_input *in, struct cb_error *err)
{
    struct gzip *g = CB_NEW(struct gzip);
    g->in = in;
    if (engine_open(g, err) == 0)
        return g;
    free(g);
    return NULL;
}

static void gzip_close(void *state)
{
    struct gzip *g = state;
    engine_close(g);
    cb_members_free(g->members);
    free(g);
}

static void end_member(struct gzip *g)
{
    engine_reset(g);
    if (g->members || g->in->threads < 2)
        return;
    g->members = cb_members_new(g->in);
    g->in = cb_members_rest(g->members);
}

static int gzip_read(void *state, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct gzip *g = state;
    uint32_t room = (uint32_t)CB_MIN(n, (size_t)1 << 30), made = 0;
    *got = 0;
    while (!made) {
        bool ended = false;
        int r = g->members && !g->in_member ? cb_members_read(g->members, buf, n, got, err) : 0;
        if (r < 0 || *got)
            return r;
        r = cb_inflate_fill(g->in, err);
        if (r < 0)
            return r;
        if (!g->in->n && !g->in_member)
            return 0;
        size_t before = g->in->n;
        const char *bad = engine_step(g, buf, room, &made, &ended);
        if (bad)
            return cb_error_set(err, CB_EVERIFY, "gzip: %s", bad);
        if (!ended && !made && g->in->n == before)
            return cb_error_set(err, CB_EVERIFY, "gzip: the stream is cut off");
        g->in_member = !ended;
        if (ended)
            end_member(g);
    }
    *got = made;
    return 0;
}

const struct cb_inflate_engine cb_inflate_gzip = { "gzip", gzip_open, gzip_read, gzip_close };
