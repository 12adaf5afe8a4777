/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/codec.h"
#include "layer/isal_lib.h"

const struct cb_codec *cb_codec_find(const struct cb_format *f)
{
    switch (f->compression) {
    case CB_COMPRESSION_GZIP:
        return f->level == CB_LEVEL_FAST ? &cb_codec_gzip_fast : &cb_codec_gzip;
    case CB_COMPRESSION_ZSTD:
        return &cb_codec_zstd;
    default:
        return NULL;
    }
}

int cb_codec_level(const struct cb_codec *c, const struct cb_format *f)
{
    return f->level == CB_LEVEL_DEFAULT || f->level == CB_LEVEL_FAST ? c->default_level : f->level;
}

static int check_fast(const struct cb_format *f, struct cb_error *err)
{
    if (f->compression != CB_COMPRESSION_GZIP)
        return cb_error_set(err, CB_EUSAGE, "there is no compression level \"fast\" but of gzip: " CB_FORMAT_LEVELS);
    switch (cb_codec_gzip_fast_state()) {
    case CB_ENGINE_HERE:
        return cb_isal_load(err);
    case CB_ENGINE_OTHER_CPU:
        return cb_error_set(err, CB_EUSAGE, "compression level \"fast\" needs an x86-64 processor with SSE4.2: what "
                                            "others make of it are other bytes; use 1");
    case CB_ENGINE_NOT_BUILT:
        break;
    }
    return cb_error_set(err, CB_EUSAGE, "compression level \"fast\" needs ISA-L, which this cbpush was built without "
                                        "(Debian: libisal-dev); use 1");
}

int cb_format_check(const struct cb_format *f, struct cb_error *err)
{
    if (f->level == CB_LEVEL_FAST)
        return check_fast(f, err);
    const struct cb_codec *codec = cb_codec_find(f);
    if (!codec || f->level == CB_LEVEL_DEFAULT || (f->level >= codec->min_level && f->level <= codec->max_level))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "%s has no compression level %d: " CB_FORMAT_LEVELS, codec->name, f->level);
}

void cb_format_engine(const struct cb_format *f, char *buf, size_t n)
{
    const struct cb_codec *codec = cb_codec_find(f);
    *buf = '\0';
    if (codec)
        codec->engine(buf, n, cb_codec_level(codec, f));
}
