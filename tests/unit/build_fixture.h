/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A store, a pool and what else a build works with, without a registry; layers that are made from a few words. */

#include "build_trees.h"
#include "store_fixture.h"

#include <limits.h>

#include "build/build.h"

struct build_fixture {
    struct fixture f;              /* first: the store fixture's functions take it */
    struct cb_pool *cpu;
    struct cb_cancel *cancel;
    struct cb_build_env env;
};

static inline CB_UNUSED int build_setup(void **state)
{
    void *inner = NULL;
    if (setup(&inner) != 0)
        return -1;
    struct build_fixture *b = CB_NEW(struct build_fixture);
    b->f = *(struct fixture *)inner;
    free(inner);
    b->cpu = cb_pool_new("cpu", 2);
    b->cancel = cb_cancel_new(NULL);
    b->env = (struct cb_build_env){ .store = b->f.s, .cpu = b->cpu, .cancel = b->cancel,
                                    .id_mode = geteuid() == 0 ? CB_ID_REAL_ROOT : CB_ID_SINGLE };
    *state = b;
    return 0;
}

static inline CB_UNUSED int build_teardown(void **state)
{
    struct build_fixture *b = *state;
    struct fixture *inner = CB_NEW(struct fixture);
    void *p = inner;
    cb_pool_free(b->cpu);
    cb_cancel_free(b->cancel);
    *inner = b->f;
    free(b);
    return teardown(&p);
}

struct made_layer {
    struct cb_layer layer;
    struct cb_toc *toc;
};

static inline CB_UNUSED void made_layer_done(struct made_layer *m)
{
    cb_layer_done(&m->layer);
    cb_toc_unref(m->toc);
}

/* One file of that text in a layer, its blob in the store. */
static inline CB_UNUSED struct made_layer build_layer(struct build_fixture *b, const char *path, const char *text,
                                                     enum cb_compression c)
{
    struct fixture *f = &b->f;
    struct made_layer m = { 0 };
    cb_autosink struct cb_blob_sink *sink = NULL;
    ok(cb_store_blob_sink(f->s, &sink, &f->err));
    struct cb_layer_write_options wo = { .format = { c, CB_LEVEL_DEFAULT }, .clamp_mtime = INT64_MAX, .sink = sink };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, &f->err);
    assert_non_null(w);
    struct cb_entry e = { .path = path, .type = CB_ENTRY_FILE, .mode = 0644, .size = strlen(text), .mtime = TREE_TIME };
    cb_autosource struct cb_blob_source *src = cb_blob_source_from_mem(text, e.size);
    ok(cb_layer_writer_add(w, &e, src, &f->err));
    ok(cb_layer_writer_finish(w, &m.layer, &m.toc, &f->err));
    return m;
}

/* How a manifest would name its only encoding. */
static inline CB_UNUSED struct cb_descriptor layer_desc(const struct made_layer *m)
{
    const struct cb_layer_encoding *e = &m->layer.encodings[0];
    return (struct cb_descriptor){ .media_type = e->media_type, .digest = e->digest, .size = e->size };
}
