/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "edit/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"

void cb_edit_tables_done(struct cb_edit_tables *t)
{
    for (size_t i = 0; i < t->n; i++) {
        cb_toc_unref(t->tocs[i]);
        cb_close_p(&t->spools[i]);
    }
    free(t->tocs);
    free(t->spools);
    *t = (struct cb_edit_tables){ 0 };
}

/* ---- a file that blobs are kept in for a while ---- */

static int fd_write(struct cb_blob_sink *s, const void *buf, size_t n, struct cb_error *err)
{
    return cb_fd_write_all(((struct edit_fd_sink *)s)->fd, buf, n, err);
}

/* Its name is somebody else's business. */
static int fd_commit(struct cb_blob_sink *s CB_UNUSED, const struct cb_digest *d CB_UNUSED, uint64_t size CB_UNUSED,
                     struct cb_error *err CB_UNUSED)
{
    return 0;
}

static void fd_sink_close(struct cb_blob_sink *s CB_UNUSED)
{
}

void edit_fd_sink_init(struct edit_fd_sink *s, int fd)
{
    static const struct cb_blob_sink_ops ops = { fd_write, fd_commit, fd_sink_close };
    *s = (struct edit_fd_sink){ { &ops }, fd };
}

/* ---- reading ---- */

static int read_toc(struct cb_blob_source *src, const struct cb_digest *diff_id, const struct cb_edit_env *env,
                    struct cb_toc **out, struct cb_error *err)
{
    struct cb_layer_read_options o = { .source = src, .cancel = env->cancel };
    CB_AUTO(cb_layer_reader_free) struct cb_layer_reader *reader = cb_layer_reader_new(&o, err);
    int r = reader ? cb_layer_reader_finish(reader, diff_id, NULL, NULL, out, err) : -CB_EVERIFY;
    return r < 0 ? r : cb_store_toc_put(env->store, diff_id, *out, err);
}

struct reading {
    struct cb_edit_tables *t;
    size_t only;
    bool keep;
};

static int fetch_toc(struct reading *g, size_t i, struct cb_error *err)
{
    struct cb_edit_tables *t = g->t;
    const struct cb_edit_env *env = t->source->env;
    const struct cb_descriptor *d = &t->image->image.manifest.layers[i];
    struct edit_fd_sink sink;
    struct cb_blob_source *src = NULL;
    bool keep = g->keep && !cb_store_blob_has(env->store, &d->digest, NULL);
    int r = keep ? cb_store_spool(env->store, &t->spools[i], err) : 0;
    if (r == 0)
        r = cb_edit_source_layer(t->source, d, &t->image->image.config.diff_ids[i], &src, err);
    if (r < 0)
        return r;
    edit_fd_sink_init(&sink, t->spools[i]);
    src = cb_edit_watched(src, env->step, d);
    return read_toc(keep ? cb_blob_source_tee(src, &sink.base) : src, &t->image->image.config.diff_ids[i], env,
                    &t->tocs[i], err);
}

static int read_one(void *arg, size_t i, struct cb_error *err)
{
    struct reading *g = arg;
    struct cb_edit_tables *t = g->t;
    char text[CB_DIGEST_TEXT_MAX];
    if (g->only != SIZE_MAX && g->only != i)
        return 0;
    int r = cb_store_toc_get(t->source->env->store, &t->image->image.config.diff_ids[i], &t->tocs[i], NULL);
    if (r == 0 || (r = fetch_toc(g, i, err)) == 0)
        return 0;
    cb_error_wrap(err, "layer %s", cb_digest_text(&t->image->image.manifest.layers[i].digest, text));
    return r;
}

int cb_edit_tables_read(struct cb_edit_tables *out, const struct cb_edit_source *s, const struct cb_edit_image *i,
                        size_t only, bool keep, struct cb_error *err)
{
    struct cb_edit_tables t cb_cleanup_edit_tables = { .source = s, .image = i };
    struct reading g = { .t = &t, .only = only, .keep = keep };
    t.n = i->image.manifest.n_layers;
    t.tocs = cb_calloc(t.n + 1, sizeof *t.tocs);
    t.spools = cb_calloc(t.n + 1, sizeof *t.spools);
    for (size_t k = 0; k < t.n; k++)
        t.spools[k] = -1;
    int r = cb_edit_each(s->env, t.n, read_one, &g, err);
    if (r < 0)
        return r;
    *out = t;
    t = (struct cb_edit_tables){ 0 };
    return 0;
}

struct cb_stack *cb_edit_tables_stack(const struct cb_edit_tables *t)
{
    return cb_stack_new(t->tocs, t->n);
}

int cb_edit_tables_blob(const struct cb_edit_tables *t, size_t layer, struct cb_blob_source **out,
                        struct cb_error *err)
{
    const struct cb_descriptor *d = &t->image->image.manifest.layers[layer];
    if (t->spools[layer] < 0) {
        int r = cb_edit_source_layer(t->source, d, &t->image->image.config.diff_ids[layer], out, err);
        if (r == 0)
            *out = cb_edit_watched(*out, t->source->env->step, d);
        return r;
    }
    int fd = fcntl(t->spools[layer], F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    *out = cb_blob_source_from_fd(fd, 0, d->size);
    return 0;
}

/* ---- which layer ---- */

static bool begins(const struct cb_digest *d, const char *text)
{
    char full[CB_DIGEST_TEXT_MAX];
    cb_digest_text(d, full);
    const char *colon = strchr(full, ':');
    return cb_starts_with(full, text) || cb_starts_with(colon + 1, text);
}

static int by_digest(const struct cb_edit_image *i, const char *text, size_t *out, struct cb_error *err)
{
    size_t n = i->image.manifest.n_layers, found = n;
    for (size_t k = 0; k < n; k++) {
        if (!begins(&i->image.manifest.layers[k].digest, text) && !begins(&i->image.config.diff_ids[k], text))
            continue;
        if (found < n && !cb_digest_eq(&i->image.config.diff_ids[found], &i->image.config.diff_ids[k]))
            return cb_error_set(err, CB_EUSAGE, "--layer %s: several layers begin so", text);
        found = k;
    }
    *out = found;
    return found < n ? 0 : cb_error_set(err, CB_EUSAGE, "--layer %s: the image has no such layer", text);
}

int cb_edit_layer_find(const struct cb_edit_image *i, const char *text, size_t *out, struct cb_error *err)
{
    size_t n = i->image.manifest.n_layers;
    bool from_top = *text == '-';
    uint64_t v = 0;
    /* Digests are told from numbers by their length. */
    if (strlen(text) >= 6 || !cb_parse_u64(text + from_top, UINT32_MAX, &v))
        return by_digest(i, text, out, err);
    if (from_top ? v < 1 || v > n : v >= n)
        return cb_error_set(err, CB_EUSAGE, "--layer %s: the image has %zu layers, 0 to %zu, or -1 for the topmost",
                            text, n, n ? n - 1 : 0);
    *out = (size_t)(from_top ? n - v : v);
    return 0;
}
