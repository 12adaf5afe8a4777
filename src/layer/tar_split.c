/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/tar_split.h"

#include <zstd.h>

#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"

#define LEVEL 3

struct cb_zstd_text {
    ZSTD_CCtx *ctx;
    struct cb_strbuf out;
    uint64_t size;
};

struct cb_zstd_text *cb_zstd_text_new(void)
{
    struct cb_zstd_text *z = CB_NEW(struct cb_zstd_text);
    z->out = (struct cb_strbuf)CB_STRBUF_INIT;
    z->ctx = ZSTD_createCCtx();
    if (!z->ctx || ZSTD_isError(ZSTD_CCtx_setParameter(z->ctx, ZSTD_c_compressionLevel, LEVEL)))
        abort(); /* only without memory */
    return z;
}

void cb_zstd_text_free(struct cb_zstd_text *z)
{
    if (!z)
        return;
    ZSTD_freeCCtx(z->ctx);
    cb_strbuf_done(&z->out);
    free(z);
}

static int step(struct cb_zstd_text *z, ZSTD_inBuffer *in, ZSTD_EndDirective how, size_t *left, struct cb_error *err)
{
    size_t room = ZSTD_CStreamOutSize();
    cb_strbuf_reserve(&z->out, room);
    ZSTD_outBuffer out = { z->out.buf + z->out.len, room, 0 };
    *left = ZSTD_compressStream2(z->ctx, &out, in, how);
    if (ZSTD_isError(*left))
        return cb_error_set(err, CB_EINTERNAL, "zstd: %s", ZSTD_getErrorName(*left));
    cb_strbuf_setlen(&z->out, z->out.len + out.pos);
    return 0;
}

int cb_zstd_text_add(struct cb_zstd_text *z, const void *buf, size_t n, struct cb_error *err)
{
    ZSTD_inBuffer in = { buf, n, 0 };
    size_t left;
    int r = 0;
    z->size += n;
    while (r == 0 && in.pos < in.size)
        r = step(z, &in, ZSTD_e_continue, &left, err);
    return r;
}

int cb_zstd_text_finish(struct cb_zstd_text *z, const struct cb_strbuf **out, uint64_t *text_size, struct cb_error *err)
{
    ZSTD_inBuffer none = { "", 0, 0 };
    size_t left = 1;
    int r = 0;
    while (r == 0 && left)
        r = step(z, &none, ZSTD_e_end, &left, err);
    *out = &z->out;
    *text_size = z->size;
    return r;
}

/* ---- */

struct cb_tar_split {
    struct cb_zstd_text *text;
    struct cb_strbuf line;
    uint64_t position;
};

struct cb_tar_split *cb_tar_split_new(void)
{
    struct cb_tar_split *t = CB_NEW(struct cb_tar_split);
    t->text = cb_zstd_text_new();
    t->line = (struct cb_strbuf)CB_STRBUF_INIT;
    return t;
}

void cb_tar_split_free(struct cb_tar_split *t)
{
    if (!t)
        return;
    cb_zstd_text_free(t->text);
    cb_strbuf_done(&t->line);
    free(t);
}

static int end_line(struct cb_tar_split *t, struct cb_error *err)
{
    cb_strbuf_addf(&t->line, ",\"position\":%llu}\n", (unsigned long long)t->position++);
    return cb_zstd_text_add(t->text, t->line.buf, t->line.len, err);
}

int cb_tar_split_bytes(struct cb_tar_split *t, const void *buf, size_t n, struct cb_error *err)
{
    cb_strbuf_reset(&t->line);
    cb_strbuf_adds(&t->line, "{\"type\":2,\"payload\":\"");
    cb_base64_encode(&t->line, buf, n);
    cb_strbuf_addch(&t->line, '"');
    return end_line(t, err);
}

int cb_tar_split_file(struct cb_tar_split *t, const char *name, uint64_t size, uint64_t crc, struct cb_error *err)
{
    uint8_t sum[8];
    cb_autojson json_t *o = json_object();
    cb_strbuf_reset(&t->line);
    cb_json_put(o, "type", json_integer(1));
    cb_json_put_string(o, "name", name);
    if (size)
        cb_json_put(o, "size", json_integer((json_int_t)size));
    cb_json_print(&t->line, o);
    cb_strbuf_setlen(&t->line, t->line.len - 1);
    for (unsigned i = 0; i < 8; i++)
        sum[i] = (uint8_t)(crc >> (56 - 8 * i));
    cb_strbuf_adds(&t->line, size ? ",\"payload\":\"" : ",\"payload\":null");
    if (size) {
        cb_base64_encode(&t->line, sum, sizeof sum);
        cb_strbuf_addch(&t->line, '"');
    }
    return end_line(t, err);
}

int cb_tar_split_finish(struct cb_tar_split *t, const struct cb_strbuf **out, uint64_t *text_size, struct cb_error *err)
{
    return cb_zstd_text_finish(t->text, out, text_size, err);
}
