/* SPDX-License-Identifier: Apache-2.0 */
#include "build/slot_private.h"
#include "util/alloc.h"

#define COPY_BUF (256u << 10)

void cb_slot_short_digest(char out[32], const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    snprintf(out, 32, "%.19s", cb_digest_text(d, text));
}

/* ---- where the bytes come from ---- */

static int open_origin(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e,
                       struct cb_blob_source **out, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { .media_type = cb_strdup(e->media_type ? e->media_type : ""),
                                                     .digest = e->digest, .size = e->size };
    int r = cb_error_set(err, CB_ENOTFOUND, "no repository is known that has it");
    for (size_t i = 0; i < l->n_origins; i++) {
        const struct cb_layer_origin *o = &l->origins[i];
        if (!cb_digest_eq(&o->digest, &e->digest))
            continue;
        r = cb_registry_blob(s->env->registry, o->host, o->repo, &d, out, err);
        if (r == 0 || r == -CB_ECANCELED)
            return r;
    }
    return s->place && r < 0 ? s->place->ops->blob(s->place, &d, out, err) : r;
}

int cb_slot_open_blob(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e,
                      struct cb_blob_source **out, struct cb_error *err)
{
    int r = cb_store_blob_source(s->env->store, &e->digest, out, err);
    return r == -CB_ENOTFOUND ? open_origin(s, l, e, out, err) : r;
}

int cb_slot_source(struct cb_slot *s, const struct cb_digest *blob, struct cb_blob_source **out, struct cb_error *err)
{
    struct cb_layer l cb_cleanup_layer = { 0 };
    cb_slot_layer(s, &l);
    for (size_t i = 0; i < l.n_encodings; i++)
        if (cb_digest_eq(&l.encodings[i].digest, blob))
            return cb_slot_open_blob(s, &l, &l.encodings[i], out, err);
    return cb_error_set(err, CB_ENOTFOUND, "no such blob of it is known");
}

const struct cb_layer_encoding *cb_slot_stored_encoding(const struct cb_slot *s, const struct cb_layer *l)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_store_blob_has(s->env->store, &l->encodings[i].digest, NULL))
            return &l->encodings[i];
    return NULL;
}

bool cb_slot_encoding_there(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e)
{
    bool origin = false;
    for (size_t i = 0; !origin && i < l->n_origins; i++)
        origin = cb_digest_eq(&l->origins[i].digest, &e->digest);
    return origin || cb_store_blob_has(s->env->store, &e->digest, NULL);
}

const struct cb_layer_encoding *cb_slot_any_encoding(const struct cb_slot *s, const struct cb_layer *l)
{
    const struct cb_layer_encoding *e = cb_slot_stored_encoding(s, l);
    for (size_t i = 0; !e && i < l->n_encodings; i++)
        if (cb_slot_encoding_there(s, l, &l->encodings[i]))
            e = &l->encodings[i];
    return e ? e : l->n_encodings ? &l->encodings[0] : NULL;
}

/* Under s->mu. Unset: any will do. */
static const struct cb_digest *named_blob(const struct cb_slot *s)
{
    return s->parent && !cb_digest_is_set(&s->named) ? &s->manifest_digest : &s->named;
}

static const struct cb_layer_encoding *wanted_encoding(struct cb_slot *s, const struct cb_layer *l)
{
    pthread_mutex_lock(&s->mu);
    struct cb_digest wanted = *named_blob(s);
    pthread_mutex_unlock(&s->mu);
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_digest_eq(&l->encodings[i].digest, &wanted))
            return &l->encodings[i];
    return cb_slot_any_encoding(s, l);
}

/* ---- a source that reports to a step ---- */

struct counted {
    struct cb_blob_source base;
    struct cb_blob_source *inner;
    struct cb_step *step;
    char id[32];
    uint64_t n, total, told;
    bool *open; /* until its end, where the bytes are known to be those of the digest */
};

static int counted_read(struct cb_blob_source *b, void *buf, size_t n, size_t *got, struct cb_error *err)
{
    struct counted *c = (struct counted *)b;
    int r = cb_blob_read(c->inner, buf, n, got, err);
    if (r < 0)
        return r;
    c->n += *got;
    *c->open = *got != 0;
    if (*got == 0 || c->n - c->told >= COPY_BUF) {
        c->told = c->n;
        cb_step_status(c->step, c->id, c->n, c->total);
    }
    return 0;
}

static void counted_close(struct cb_blob_source *b)
{
    struct counted *c = (struct counted *)b;
    c->inner->ops->close(c->inner);
    free(c);
}

static const struct cb_blob_source_ops counted_ops = { counted_read, counted_close };

static struct cb_blob_source *counted_new(struct cb_blob_source *inner, struct cb_step *step,
                                          const struct cb_layer_encoding *e, bool *open)
{
    struct counted *c = CB_NEW(struct counted);
    c->base.ops = &counted_ops;
    c->inner = inner;
    c->step = step;
    c->open = open;
    *open = true;
    c->total = e->size;
    cb_slot_short_digest(c->id, &e->digest);
    cb_step_status(step, c->id, 0, e->size);
    return &c->base;
}

/* ---- bringing ---- */

/* Under s->mu. A table is only read where it is asked for. */
static void load_table(struct cb_slot *s, unsigned needs)
{
    struct cb_lookup_layer l = { 0 };
    if (s->toc)
        return;
    if (needs & CB_NEED_CONTENT) {
        cb_slot_recall_content(s);
        if (!s->parent && !cb_digest_is_set(&s->content))
            needs |= CB_NEED_TOC;
    }
    if (needs & (CB_NEED_TOC | CB_NEED_PROOF)) {
        if (cb_store_toc_get(s->env->store, &s->layer.diff_id, &s->toc, NULL) < 0)
            s->toc = NULL;
        return;
    }
    if (!(needs & (CB_NEED_LOOKUP | CB_NEED_SKETCH)) || s->index)
        return;
    if (cb_store_toc_open(s->env->store, &s->layer.diff_id, &l, NULL) == 0) {
        s->toc = l.toc;
        s->index = l.index;
    }
}

unsigned cb_slot_check_have(struct cb_slot *s, unsigned needs)
{
    unsigned have = 0;
    int fd = -1;
    load_table(s, needs);
    if (s->toc)
        have |= s->unproven ? CB_NEED_TOC : CB_NEED_TOC | CB_NEED_PROOF;
    if (s->toc || s->index)
        have |= CB_NEED_LOOKUP | CB_NEED_SKETCH;
    if (s->toc || s->parent || cb_digest_is_set(&s->content))
        have |= CB_NEED_CONTENT;
    const struct cb_tree_name alone = { &s->layer.diff_id, NULL };
    if (s->tree_fd >= 0 || cb_store_tree_open(s->env->store, &alone, &fd, NULL) == 0)
        have |= CB_NEED_TREE | CB_NEED_DATA;
    cb_close_p(&fd);
    bool blob = cb_slot_stored_encoding(s, &s->layer) != NULL;
    if (blob)
        have |= CB_NEED_DATA;
    if (cb_digest_is_set(named_blob(s)))
        blob = cb_store_blob_has(s->env->store, named_blob(s), NULL);
    if (blob)
        have |= CB_NEED_BLOB;
    return have;
}

struct bring {
    struct cb_slot *slot;
    struct cb_layer layer;                    /* a copy */
    const struct cb_layer_encoding *encoding; /* the one that is read */
    bool remote;
    unsigned missing;
    const struct cb_slot_want *want;
    const struct cb_toc *guess;               /* the slot's, before */
    struct cb_toc *toc;
    bool told;                                /* toc is somebody's word */
    bool partial, took_lower;                 /* not all below were given along, and they were asked for */
    struct cb_layer_early *early;             /* or without digests, and this is what makes them */
};

/* Into the store, nothing else. */
static int copy_blob(const struct bring *b, struct cb_blob_source *src, struct cb_error *err)
{
    const struct cb_build_env *env = b->slot->env;
    cb_autosink struct cb_blob_sink *sink = NULL;
    cb_autofree char *buf = cb_malloc(COPY_BUF);
    int r = cb_store_blob_sink_known(env->store, &sink, err);
    for (size_t got = 1; r == 0 && got;) {
        r = cb_cancel_check(env->cancel, err);
        if (r == 0)
            r = cb_blob_read(src, buf, COPY_BUF, &got, err);
        if (r == 0 && got)
            r = sink->ops->write(sink, buf, got, err);
    }
    return r < 0 ? r : sink->ops->commit(sink, &b->encoding->digest, b->encoding->size, err);
}

/* Only earlier slots are waited for, or two images that have the same layers in another order could wait for each
 * other; nor those in the making, which may need this thread. */
static bool may_ask(const struct bring *b, const struct cb_slot *lower)
{
    return lower->tree_fd < 0 && (lower->seq < b->slot->seq || b->want->lower_there);
}

static int bring_one(struct cb_slot *s, const struct cb_slot_want *w, bool *later, struct cb_error *err);

/* Called in the middle of unpacking. */
static int need_lower(void *arg, bool trees, struct cb_error *err)
{
    struct bring *b = arg;
    bool later = false;
    int r = 0;
    for (size_t i = 0; r == 0 && i < b->want->n_below; i++) {
        struct cb_slot *s = b->want->below[i];
        /* In the store, by their diff ids: so not only early. */
        struct cb_slot_want w = { .needs = CB_NEED_TOC | CB_NEED_PROOF | (trees ? CB_NEED_TREE : 0u),
                                  .step = b->want->step, .below = b->want->below, .n_below = i };
        if (may_ask(b, s) && !b->want->lower_there)
            r = bring_one(s, &w, &later, err);
    }
    b->partial = b->partial || later;
    return r;
}

static size_t list_lower(struct bring *b, struct cb_digest *out)
{
    size_t n = 0;
    for (size_t i = 0; i < b->want->n_below; i++) {
        struct cb_slot *s = b->want->below[i];
        if (may_ask(b, s))
            out[n++] = *cb_slot_diff_id(s);
        else
            b->partial = true;
    }
    return n;
}

/* Of everything but where its bytes come from. lower: room for all below. */
static struct cb_layer_intake intake_of(struct bring *b, struct cb_digest *lower)
{
    const struct cb_build_env *env = b->slot->env;
    return (struct cb_layer_intake){
        .store = env->store, .diff_id = b->layer.diff_id, .guess = b->guess, .guess_size = b->layer.size,
        .want_tree = (b->missing & CB_NEED_TREE) != 0, .userxattr = env->id_mode != CB_ID_REAL_ROOT,
        .single_id = env->id_mode == CB_ID_SINGLE, .cancel = env->cancel, .lower = lower,
        .n_lower = list_lower(b, lower), .lower_partial = b->partial, .took_lower = &b->took_lower,
        .need_lower = need_lower, .need_lower_arg = b,
    };
}

/* For a table alone the layer is only read through: what a build does not need costs no room on the disk. */
static int take_in(struct bring *b, struct cb_blob_source *src, const bool *open, struct cb_error *err)
{
    const struct cb_build_env *env = b->slot->env;
    cb_autosink struct cb_blob_sink *sink = NULL;
    bool keep = b->remote && b->missing != CB_NEED_TOC;
    int r = keep ? cb_store_blob_sink_known(env->store, &sink, err) : 0;
    if (r < 0) {
        src->ops->close(src);
        return r;
    }
    cb_autofree struct cb_digest *lower = cb_calloc(b->want->n_below + 1, sizeof *lower);
    struct cb_layer_intake in = intake_of(b, lower);
    in.source = sink ? cb_blob_source_tee(src, sink) : src;
    in.toc = &b->toc;
    in.early = in.want_tree && cb_slots_let_early(b->slot->owner, b->encoding->size) ? &b->early : NULL;
    r = cb_image_intake(&in, NULL, &b->layer.size, err);
    if (r == 0 && *open)
        r = cb_error_set(err, CB_EVERIFY, "there is more of it than a layer");
    if (r == 0 && sink)
        r = sink->ops->commit(sink, &b->encoding->digest, b->encoding->size, err);
    if (r < 0)
        cb_layer_early_free(CB_TAKE(b->early));
    return r;
}

/* Of what was written a moment ago, which lies in memory. */
static int unpack_written(struct bring *b, const struct cb_layer_known *known, struct cb_error *err)
{
    cb_autofree struct cb_digest *lower = cb_calloc(b->want->n_below + 1, sizeof *lower);
    struct cb_layer_intake in = intake_of(b, lower);
    in.known = known;
    return cb_image_intake(&in, NULL, NULL, err);
}

static int fetch_once(struct bring *b, bool *open, struct cb_error *err)
{
    struct cb_blob_source *src = NULL;
    char id[32];
    int r = b->remote ? open_origin(b->slot, &b->layer, b->encoding, &src, err)
                      : cb_store_blob_source(b->slot->env->store, &b->encoding->digest, &src, err);
    if (r < 0)
        return r;
    src = counted_new(src, b->want->step, b->encoding, open);
    if (b->missing & (CB_NEED_TOC | CB_NEED_TREE)) {
        r = take_in(b, src, open, err);
    } else {
        r = copy_blob(b, src, err);
        src->ops->close(src);
    }
    cb_slot_short_digest(id, &b->encoding->digest);
    if (r == 0)
        cb_step_status_done(b->want->step, id);
    return r;
}

/* Its bytes are checked before anything reads them, and kept. */
static int fetch_checked(struct bring *b, bool *open, struct cb_error *err)
{
    struct cb_blob_source *src = NULL;
    int r = open_origin(b->slot, &b->layer, b->encoding, &src, err);
    if (r < 0)
        return r;
    src = counted_new(src, b->want->step, b->encoding, open);
    r = copy_blob(b, src, err);
    src->ops->close(src);
    b->remote = r < 0;
    return r < 0 ? r : fetch_once(b, open, err);
}

/* What came garbled is asked for again; another place may have it right. Who unpacks stumbles before the digest is
 * known, so that the first time says nothing of the place. Not a layer whose bytes are right, and still wrong. */
static int fetch(struct bring *b, struct cb_error *err)
{
    bool open = false;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = fetch_once(b, &open, &e);
    for (bool first = true; r == -CB_EVERIFY && open && b->remote; first = false) {
        if (!cb_registry_blob_again(b->slot->env->registry, &b->encoding->digest) && !first)
            break;
        cb_error_done(&e);
        open = false;
        r = fetch_checked(b, &open, &e);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

int cb_slot_record_verified(const struct cb_slot *s, const struct cb_layer *l, const struct cb_layer_encoding *e,
                            struct cb_error *err)
{
    struct cb_layer v cb_cleanup_layer = { .diff_id = l->diff_id, .size = l->size };
    cb_layer_add_encoding(&v, e);
    for (size_t i = 0; i < l->n_origins; i++)
        cb_layer_add_origin(&v, &l->origins[i].digest, l->origins[i].host, l->origins[i].repo);
    return cb_store_layer_put(s->env->store, &v, err);
}

/* A table that is told serves only where nothing else of the layer is here or will be needed: else it is read from
 * that. */
static int ask(struct bring *b, struct cb_error *err)
{
    struct cb_slot *s = b->slot;
    pthread_mutex_lock(&s->mu);
    bool may = b->missing == CB_NEED_TOC && !s->unproven && !(s->have & ~(unsigned)CB_NEED_TOLD) && cb_slot_is_told(s);
    pthread_mutex_unlock(&s->mu);
    int r = may ? cb_slot_told(s, &b->layer, b->want->step, &b->toc, err) : 0;
    b->told = b->toc != NULL;
    return r;
}

static int bring_missing(struct bring *b, struct cb_error *err)
{
    char id[32];
    b->encoding = b->missing & CB_NEED_BLOB ? NULL : cb_slot_stored_encoding(b->slot, &b->layer);
    if (!b->encoding)
        b->encoding = wanted_encoding(b->slot, &b->layer);
    b->remote = b->encoding && !cb_store_blob_has(b->slot->env->store, &b->encoding->digest, NULL);
    cb_slot_short_digest(id, b->encoding ? &b->encoding->digest : &b->layer.diff_id);
    struct cb_span span cb_cleanup_span = cb_span_begin("layer", b->remote ? "fetch layer" : "take layer");
    cb_span_digest(&span, "digest", b->encoding ? &b->encoding->digest : NULL);
    cb_span_digest(&span, "diff_id", &b->layer.diff_id);
    cb_span_number(&span, "bytes", b->encoding ? b->encoding->size : 0);
    int r = b->encoding ? fetch(b, err) : cb_error_set(err, CB_ENOTFOUND, "no blob of it is known");
    if (r < 0) {
        cb_error_wrap(err, "layer %s", id);
        return r;
    }
    bool proven = b->missing & (CB_NEED_TOC | CB_NEED_TREE) && !b->early;
    return proven ? cb_slot_record_verified(b->slot, &b->layer, b->encoding, err) : 0;
}

static int bring_all(struct bring *b, struct cb_error *err)
{
    struct cb_slot *s = b->slot;
    cb_slot_layer(s, &b->layer);
    int r = ask(b, err);
    if (r < 0 || b->told)
        return r;
    if (b->want->told_only)
        return 1;
    pthread_mutex_lock(&s->mu);
    b->missing |= s->supposed & ~s->have;
    b->guess = s->toc;
    struct cb_layer_known known = { .toc = s->toc, .tar = s->tar.buf, .size = s->tar.len, .diff_id = s->layer.diff_id };
    pthread_mutex_unlock(&s->mu);
    bool written = known.size && known.toc && b->missing == CB_NEED_TREE;
    return written ? unpack_written(b, &known, err) : bring_missing(b, err);
}

void cb_slot_suppose(struct cb_slot *s, unsigned needs)
{
    pthread_mutex_lock(&s->mu);
    s->supposed |= needs;
    pthread_mutex_unlock(&s->mu);
}

void cb_slot_expect(struct cb_slot *s, unsigned needs)
{
    pthread_mutex_lock(&s->mu);
    s->expected |= needs;
    pthread_mutex_unlock(&s->mu);
}

void cb_slot_expect_names(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    s->names = true;
    pthread_mutex_unlock(&s->mu);
}

/* One for the layers that it stands on here. */
static bool has_tree_on(struct cb_slot *s, const struct cb_slot_want *w)
{
    struct cb_digest below;
    const struct cb_tree_name name = { &s->layer.diff_id, &below };
    cb_autoclose int fd = -1;
    return cb_slots_chain(w->below, w->n_below, &below) && cb_store_tree_open(s->env->store, &name, &fd, NULL) == 0;
}

/* Under s->mu. For whoever needs more than a table one that was only told is none. */
static unsigned find_missing(struct cb_slot *s, const struct cb_slot_want *w)
{
    const unsigned by_table = CB_NEED_LOOKUP | CB_NEED_SKETCH | CB_NEED_CONTENT, needs = w->needs;
    if ((s->have & needs) != needs)
        s->have |= cb_slot_check_have(s, needs);
    unsigned missing = needs & ~s->have;
    if (missing & CB_NEED_TREE && has_tree_on(s, w))
        missing &= ~(unsigned)CB_NEED_TREE;
    if (missing & by_table)
        missing = (missing & ~by_table) | CB_NEED_TOC;
    if (s->unproven && needs & ~(unsigned)CB_NEED_TOLD)
        missing |= CB_NEED_TOC | CB_NEED_PROOF;
    return missing ? missing | (s->expected & ~s->have) : 0;
}

/* Under s->mu. Of a slot that somebody brings something else of, too. */
static bool has_now(struct cb_slot *s, const struct cb_slot_want *w, unsigned *missing)
{
    *missing = cb_slot_has_early(s, w) ? 0 : find_missing(s, w);
    return !*missing;
}

/* 0: nothing is missing; else it is us who bring it. Fails where somebody else did not bring it. */
static int begin(struct cb_slot *s, const struct cb_slot_want *w, unsigned *missing, struct cb_error *err)
{
    int r = 0;
    pthread_mutex_lock(&s->mu);
    while (!has_now(s, w, missing) && s->busy) {
        cb_slot_hurry(s);
        pthread_cond_wait(&s->cond, &s->mu);
    }
    if (s->failed)
        r = cb_error_copy(err, &s->error);
    if (r < 0)
        *missing = 0;
    s->busy = s->busy || *missing != 0;
    pthread_mutex_unlock(&s->mu);
    return r;
}

static int end(struct bring *b, int r, struct cb_error *err)
{
    struct cb_slot *s = b->slot;
    if (r == 0 && !b->told)
        r = cb_slot_prove(s, err);
    pthread_mutex_lock(&s->mu);
    s->busy = false;
    if (r == 0) {
        s->layer.size = b->layer.size;
        s->unproven = s->unproven || b->told;
        if (!s->toc)
            s->toc = CB_TAKE(b->toc);
        s->have |= cb_slot_check_have(s, b->want->needs);
        if (find_missing(s, b->want))
            r = cb_error_set(err, CB_EINTERNAL, "a layer was brought and is not there");
    }
    size_t tar = s->have & CB_NEED_TREE ? s->tar.len : 0;
    if (tar)
        cb_strbuf_done(&s->tar);
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    if (tar)
        cb_slots_release_tar(s->owner, tar);
    return r;
}

/* What is wanted may be there now. */
static int end_early(struct bring *b, struct cb_error *err)
{
    struct cb_slot *s = b->slot;
    cb_slot_begin_early(s, CB_TAKE(b->early), &b->layer, b->encoding, b->toc);
    pthread_mutex_lock(&s->mu);
    bool enough = cb_slot_has_early(s, b->want);
    pthread_mutex_unlock(&s->mu);
    return enough ? 0 : cb_slot_settle(s, err);
}

/* *later: it takes from layers that were made later, and was not brought. */
static int bring_one(struct cb_slot *s, const struct cb_slot_want *w, bool *later, struct cb_error *err)
{
    struct bring b = { .slot = s, .want = w };
    bool empty;
    *later = false;
    int r = cb_slot_wait(s, &empty, err);
    if (r == 0 && !empty)
        r = begin(s, w, &b.missing, err);
    if (r < 0 || !b.missing)
        return r;
    r = cb_cancel_check(s->env->cancel, err);
    if (r == 0)
        r = bring_all(&b, err);
    r = r == 0 && b.early ? end_early(&b, err) : end(&b, r, err);
    *later = r < 0 && b.partial && b.took_lower && !w->lower_there;
    cb_layer_early_free(b.early);
    cb_toc_unref(b.toc);
    cb_layer_done(&b.layer);
    return r;
}

/* While nobody waits for s. */
static int bring_lower(const struct cb_slot_want *w, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < w->n_below; i++) {
        struct cb_slot_want lower = { .needs = CB_NEED_TOC | CB_NEED_PROOF | CB_NEED_TREE, .step = w->step,
                                      .below = w->below, .n_below = i };
        if (w->below[i]->tree_fd < 0)
            r = cb_slot_bring(w->below[i], &lower, err);
    }
    return r;
}

int cb_slot_bring(struct cb_slot *s, const struct cb_slot_want *w, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_slot_want again = *w;
    again.lower_there = true;
    bool later = false;
    if (s->tree_fd >= 0 && w->needs == CB_NEED_TREE)
        return 0;
    int r = bring_one(s, w, &later, &e);
    if (later && (r = bring_lower(w, err)) == 0)
        return bring_one(s, &again, &later, err);
    return r < 0 && !later ? cb_error_move(err, &e) : r;
}
