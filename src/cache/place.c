/* SPDX-License-Identifier: Apache-2.0 */
#include "cache/private.h"
#include "util/alloc.h"
#include "util/limits.h"

int cb_cache_place_open(const struct cb_cache_place_options *o, struct cb_cache_place **out, struct cb_error *err)
{
    int r = o->spec->type == CB_CACHE_LOCAL ? cache_local_open(o, out, err) : cache_registry_open(o, out, err);
    const char *run = o->spec->type == CB_CACHE_LOCAL ? o->spec->tag : o->spec->ref.tag;
    if (r < 0)
        return cb_error_wrap(err, "cache %s", o->spec->text);
    (*out)->run = cb_strdup(run ? run : o->run);
    return 0;
}

void cb_cache_place_close(struct cb_cache_place *p)
{
    if (!p)
        return;
    free(CB_TAKE(p->text));
    free(CB_TAKE(p->run));
    p->ops->close(p);
}

/* ---- tables ---- */

struct toc_source {
    struct cb_blob_source base;
    struct cb_strbuf text;
    struct cb_blob_source *inner;
};

static int toc_read(struct cb_blob_source *s, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    return cb_blob_read(((struct toc_source *)s)->inner, buf, n, got, err);
}

static void toc_close(struct cb_blob_source *s)
{
    struct toc_source *t = (struct toc_source *)s;
    t->inner->ops->close(t->inner);
    cb_strbuf_done(&t->text);
    free(t);
}

int cb_cache_toc_source(const struct cb_toc *toc, struct cb_blob_source **out)
{
    static const struct cb_blob_source_ops ops = { .read = toc_read, .close = toc_close };
    struct toc_source *t = CB_NEW(struct toc_source);
    t->base.ops = &ops;
    t->text = (struct cb_strbuf)CB_STRBUF_INIT;
    cb_toc_print(&t->text, toc);
    t->inner = cb_blob_source_from_mem(t->text.buf, t->text.len);
    *out = &t->base;
    return 0;
}

/* ---- reading ---- */

int cache_slurp(struct cb_cache_place *p, const struct cb_descriptor *d, uint64_t max, struct cb_strbuf *out,
                struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    if (d->size > max)
        return cb_error_set(err, CB_EVERIFY, "%llu bytes are too many", (unsigned long long)d->size);
    int r = p->ops->blob(p, d, &src, err);
    return r < 0 ? r : cb_blob_read_all(src, d->size, out, err);
}

int cache_get(struct cb_cache_place *p, const char *name, struct cb_cache_artifact *out, struct cb_strbuf *body,
              struct cb_error *err)
{
    int r = p->ops->get(p, name, body, err);
    if (r == 0)
        r = cb_cache_artifact_parse(out, body->buf, body->len, err);
    if (r == 0 && out->config.len == 0)
        r = cache_slurp(p, &out->manifest.config, CB_MAX_MANIFEST, &out->config, err);
    return r;
}
