/* SPDX-License-Identifier: Apache-2.0 */
#include "build/failed.h"
#include "build/internal.h"
#include "build/slot_private.h"
#include "util/alloc.h"

#define FACT "estargz" /* "DIFF-ID ENGINE" → diff id of what it becomes */

/* It is only written to be read again soon, by us. */
struct cb_format cb_build_working_format(const struct cb_format *f)
{
    return cb_format_is_estargz(f) ? (struct cb_format){ CB_COMPRESSION_ZSTD, 1, false } : *f;
}

static char *fact_key(const struct cb_build *b, const struct cb_slot *s)
{
    char text[CB_DIGEST_TEXT_MAX], engine[64];
    cb_format_engine(&b->format, engine, sizeof engine);
    return cb_asprintf("%s %s", cb_digest_text(cb_slot_diff_id(s), text), engine);
}

/* Made by an earlier build, and still there. */
static struct cb_slot *find_made(struct cb_build *b, const char *key)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest diff_id = { 0 };
    struct cb_slot *s = NULL;
    if (b->o->no_cache || cb_store_fact_get(b->env->store, FACT, key, &text, NULL) < 0 ||
        cb_digest_parse(&diff_id, text.buf, NULL) < 0 || cb_slots_stored(b->slots, &diff_id, &s, NULL) < 0)
        return NULL;
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    return cb_slot_encoding_known(s, &b->format, &e) ? s : NULL;
}

static int make(struct cb_build *b, struct cb_slot *from, const char *key, struct cb_slot **out, struct cb_error *err)
{
    cb_autosink struct cb_blob_sink *sink = NULL;
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    struct cb_layer layer cb_cleanup_layer = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    int r = cb_store_blob_sink_known(b->env->store, &sink, err);
    if (r < 0)
        return r;
    struct cb_layer_write_options wo = { .format = b->format, .pool = b->env->cpu, .sink = sink,
                                         .clamp_mtime = INT64_MAX, .cancel = b->cancel };
    r = cb_slots_need(b->slots, &from, 1, CB_NEED_BLOB, NULL, err);
    if (r == 0)
        r = cb_slot_transcode(from, &wo, &layer, &toc, err);
    if (r == 0)
        r = cb_solver_keep_layer(&b->solver, &layer, toc, err);
    if (r == 0)
        r = cb_store_fact_put(b->env->store, FACT, key, cb_digest_text(&layer.diff_id, text), err);
    if (r == 0)
        *out = cb_slots_made(b->slots, &layer, toc);
    return r;
}

/* Parents' layers only where all are to be converted, and they are none yet. */
static bool is_to_be_made(const struct cb_build *b, struct cb_slot *s)
{
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    if (!cb_slot_is_parent(s))
        return cb_format_is_estargz(&b->format);
    return cb_build_forces_compression(b->o) && !cb_slot_encoding_known(s, &b->format, &e);
}

static int convert(struct cb_build *b, struct cb_slot **slot, struct cb_error *err)
{
    bool empty = false;
    int r = cb_slot_is_parent(*slot) ? 0 : cb_slot_wait(*slot, &empty, err);
    if (r < 0 || empty || !is_to_be_made(b, *slot))
        return r;
    cb_autofree char *key = fact_key(b, *slot);
    struct cb_slot *made = find_made(b, key);
    if (!made)
        r = make(b, *slot, key, &made, err);
    if (r == 0)
        *slot = made;
    return r;
}

static int convert_image(struct cb_build *b, struct cb_solved *m, bool push, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < m->n; i++) {
        r = convert(b, &m->layers[i], err);
        if (r == 0 && push)
            cb_pusher_layer(b->pusher, m->layers[i]);
    }
    return r;
}

int cb_build_estargz(struct cb_build *b, bool push, struct cb_error *err)
{
    int r = 0;
    const char *name = cb_format_name(&b->format);
    if (!cb_format_is_estargz(&b->format) && !(b->format.chunked && cb_build_forces_compression(b->o)))
        return 0;
    cb_autofree char *title = cb_asprintf("writing %s layers", name);
    struct cb_step *step = cb_step_new(b->env->progress, title);
    cb_step_begin(step);
    for (size_t i = 0; r == 0 && i < b->plan.n_images; i++)
        r = convert_image(b, &b->solver.images[i], push, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", name);
        cb_step_error(step, cb_error_text(err));
    } else {
        cb_step_done(step);
    }
    return r;
}
