/* SPDX-License-Identifier: Apache-2.0 */
#include "build/slot.h"

#include <fcntl.h>
#include <unistd.h>

#include "build/entry_hash.h"
#include "build/slot_private.h"
#include "util/alloc.h"

#define ASKERS 16
#define ALL_TARS ((size_t)4 << 20)

struct cb_slots *cb_slots_new(const struct cb_build_env *env)
{
    struct cb_slots *t = CB_NEW(struct cb_slots);
    t->env = env;
    pthread_mutex_init(&t->mu, NULL);
    t->by_diff_id = cb_hashmap_new();
    t->askers = cb_pool_new("ask", ASKERS);
    t->fetchers = cb_pool_new("fetch", CB_SLOT_FETCHERS);
    t->hashers = cb_pool_new("hash", CB_MAX(env->cpu ? cb_pool_threads(env->cpu) : 0, (unsigned)CB_LAYER_EARLY_PARTS));
    t->views = cb_stack_cache_new();
    return t;
}

static void slot_free(struct cb_slot *s)
{
    cb_layer_done(&s->layer);
    cb_strmap_done(&s->annotations);
    cb_strbuf_done(&s->small);
    cb_strbuf_done(&s->tar);
    cb_toc_unref(s->toc);
    cb_toc_index_unref(s->index);
    cb_toc_unref(s->told);
    cb_toc_unref(s->sketch);
    cb_slot_early_free(s->early);
    cb_error_done(&s->error);
    cb_close_p(&s->tree_fd);
    pthread_cond_destroy(&s->cond);
    pthread_mutex_destroy(&s->mu);
    free(s->ready);
    free(s);
}

void cb_slots_free(struct cb_slots *t)
{
    if (!t)
        return;
    cb_pool_free(t->askers);
    cb_pool_free(t->fetchers);
    cb_pool_free(t->hashers);
    cb_stack_cache_free(t->views);
    for (size_t i = 0; i < t->n; i++)
        slot_free(t->all[i]);
    free(t->all);
    cb_hashmap_free(t->by_diff_id);
    pthread_mutex_destroy(&t->mu);
    free(t);
}

void cb_slots_convert_parents(struct cb_slots *t)
{
    t->converts = true;
}

const struct cb_build_env *cb_slots_env(const struct cb_slots *t)
{
    return t->env;
}

/* ---- into the table ---- */

/* Under t->mu. */
static struct cb_slot *slot_new(struct cb_slots *t)
{
    struct cb_slot *s = CB_NEW(struct cb_slot);
    s->owner = t;
    s->env = t->env;
    s->tree_fd = -1;
    s->seq = t->n;
    pthread_mutex_init(&s->mu, NULL);
    pthread_cond_init(&s->cond, NULL);
    CB_GROW(t->all, t->n, t->cap);
    t->all[t->n++] = s;
    return s;
}

/* Under t->mu. */
static struct cb_slot *find_or_new(struct cb_slots *t, const struct cb_digest *diff_id)
{
    char text[CB_DIGEST_TEXT_MAX];
    struct cb_slot *s = cb_hashmap_get(t->by_diff_id, cb_digest_text(diff_id, text));
    if (s)
        return s;
    s = slot_new(t);
    s->layer.diff_id = *diff_id;
    s->layer.size = UINT64_MAX;
    cb_hashmap_put(t->by_diff_id, text, s);
    return s;
}

/* Under s->mu: what is known already comes first, so that it is tried first. */
static void learn(struct cb_slot *s, const struct cb_layer *l)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        cb_layer_add_encoding(&s->layer, &l->encodings[i]);
    for (size_t i = 0; i < l->n_origins; i++)
        cb_layer_add_origin(&s->layer, &l->origins[i].digest, l->origins[i].host, l->origins[i].repo);
    if (s->layer.size == UINT64_MAX)
        s->layer.size = l->size;
}

/* Two parents that do not say the same of one layer are not believed: either could lie to who builds on the other. */
static void learn_pin(struct cb_slot *s, const struct cb_strmap *annotations)
{
    struct cb_toc_pin pin;
    cb_toc_pin_read(&pin, annotations);
    if (!s->parent)
        s->pin = pin;
    else if (!cb_toc_pin_eq(&s->pin, &pin))
        s->pin = (struct cb_toc_pin){ 0 };
    if (!s->small.len)
        (void)cb_toc_pin_decode(&s->pin, cb_strmap_get(annotations, CB_ANN_TOC_DATA), &s->small);
}

static void learn_parent(struct cb_slot *s, const struct cb_slot_parent *p)
{
    const struct cb_descriptor *d = p->desc;
    int c = cb_mt_layer_compression(d->media_type);
    struct cb_layer_encoding e = { .digest = d->digest, .size = d->size, .media_type = d->media_type,
                                   .compression = c < 0 ? CB_COMPRESSION_NONE : (enum cb_compression)c,
                                   .engine = (char *)(uintptr_t) "" };
    learn_pin(s, &d->annotations);
    cb_slot_learn_foreign(s, d);
    s->parent = true;
    cb_layer_encoding_annotate(&e, &d->annotations);
    cb_layer_add_encoding(&s->layer, &e);
    cb_strmap_done(&e.annotations);
    if (p->host)
        cb_layer_add_origin(&s->layer, &d->digest, p->host, p->repo);
    if (!p->preferred && cb_digest_is_set(&s->manifest_digest))
        return;
    s->manifest_digest = d->digest;
    cb_strmap_done(&s->annotations);
    cb_strmap_copy(&s->annotations, &d->annotations);
}

struct cb_slot *cb_slots_parent(struct cb_slots *t, const struct cb_digest *diff_id, const struct cb_slot_parent *p)
{
    struct cb_layer known cb_cleanup_layer = { 0 };
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = find_or_new(t, diff_id);
    pthread_mutex_lock(&s->mu);
    bool first = s->layer.n_encodings == 0;
    learn_parent(s, p);
    if (first && cb_store_layer_get(t->env->store, diff_id, &known, NULL) == 0)
        learn(s, &known);
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&t->mu);
    return s;
}

static bool obtainable(const struct cb_slot *s, const struct cb_layer *l)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_slot_encoding_there(s, l, &l->encodings[i]))
            return true;
    return false;
}

int cb_slots_stored(struct cb_slots *t, const struct cb_digest *diff_id, struct cb_slot **out, struct cb_error *err)
{
    struct cb_layer known cb_cleanup_layer = { 0 };
    int r = 0;
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = find_or_new(t, diff_id);
    pthread_mutex_lock(&s->mu);
    if (s->unproven)
        r = cb_error_set(err, CB_ENOTFOUND, "what is known of its table is another image's word");
    else if (s->layer.n_encodings == 0) {
        r = cb_store_layer_get(t->env->store, diff_id, &known, err);
        if (r == 0 && !obtainable(s, &known))
            r = cb_error_set(err, CB_ENOTFOUND, "the bytes of a recorded layer are gone");
        if (r == 0)
            learn(s, &known);
    }
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&t->mu);
    if (r == 0)
        *out = s;
    return r;
}

/* Under s->mu. A table that is known, or that the parent's manifest names, comes first. */
static void learn_table(struct cb_slot *s, const struct cb_slot_cached *c)
{
    if (s->toc || cb_digest_is_set(&s->pin.digest) || !cb_digest_is_set(&c->layer->toc))
        return;
    s->pin = (struct cb_toc_pin){ c->layer->toc, c->layer->toc_size };
    cb_strbuf_reset(&s->small);
    (void)cb_toc_pin_decode(&s->pin, c->layer->toc_data, &s->small);
    s->place = c->place;
    s->pinned_by_cache = true;
}

void cb_slot_parent_cached(struct cb_slot *s, const struct cb_slot_cached *c)
{
    pthread_mutex_lock(&s->mu);
    learn_table(s, c);
    pthread_mutex_unlock(&s->mu);
}

struct cb_cache_place *cb_slot_pinned_by(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    struct cb_cache_place *p = s->pinned_by_cache && !s->unpinned ? s->place : NULL;
    pthread_mutex_unlock(&s->mu);
    return p;
}

/* Under s->mu. What the store has seen unpack comes first, as long as it can be had. */
static void learn_cached(struct cb_slot *s, const struct cb_slot_cached *c)
{
    const struct cb_cache_layer *l = c->layer;
    struct cb_layer known cb_cleanup_layer = { 0 };
    if (s->layer.n_encodings == 0 && !s->parent) {
        bool seen = cb_store_layer_get(s->env->store, &l->diff_id, &known, NULL) == 0 && obtainable(s, &known);
        if (seen)
            learn(s, &known);
        s->hearsay = !seen;
    }
    cb_layer_add_encoding(&s->layer, &l->blob);
    if (c->place->host)
        cb_layer_add_origin(&s->layer, &l->blob.digest, c->place->host, c->place->repo);
    if (s->layer.size == UINT64_MAX)
        s->layer.size = l->size;
    s->place = c->place;
    if (s->hearsay)
        learn_table(s, c);
}

static void unlearn_cached(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    if (s->hearsay)
        cb_layer_drop_encodings(&s->layer);
    if (s->pinned_by_cache) {
        s->pin = (struct cb_toc_pin){ 0 };
        cb_strbuf_reset(&s->small);
    }
    s->pinned_by_cache = false;
    s->place = NULL;
    pthread_mutex_unlock(&s->mu);
}

int cb_slots_cached(struct cb_slots *t, const struct cb_slot_cached *c, struct cb_slot **out, struct cb_error *err)
{
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = find_or_new(t, &c->layer->diff_id);
    pthread_mutex_lock(&s->mu);
    learn_cached(s, c);
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&t->mu);
    *out = s;
    int r = c->place->host ? 0 : cb_slots_need(t, &s, 1, CB_NEED_BLOB, NULL, err);
    if (r < 0)
        unlearn_cached(s);
    return r;
}

bool cb_slot_is_hearsay(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool h = s->hearsay;
    pthread_mutex_unlock(&s->mu);
    return h;
}

struct cb_slot *cb_slots_made(struct cb_slots *t, const struct cb_layer *layer, struct cb_toc *toc)
{
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = find_or_new(t, &layer->diff_id);
    pthread_mutex_lock(&s->mu);
    s->fresh = s->layer.n_encodings == 0;
    learn(s, layer);
    if (!s->toc && toc)
        s->toc = cb_toc_ref(toc);
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&t->mu);
    return s;
}

void cb_slot_keep_tar(struct cb_slot *s, struct cb_strbuf *tar)
{
    struct cb_slots *t = s->owner;
    pthread_mutex_lock(&t->mu);
    pthread_mutex_lock(&s->mu);
    if (tar->len && !s->tar.len && tar->len <= ALL_TARS - t->tars) {
        t->tars += tar->len;
        s->tar = *tar;
        *tar = (struct cb_strbuf)CB_STRBUF_INIT;
    }
    pthread_mutex_unlock(&s->mu);
    pthread_mutex_unlock(&t->mu);
}

void cb_slots_release_tar(struct cb_slots *t, size_t n)
{
    pthread_mutex_lock(&t->mu);
    t->tars -= n;
    pthread_mutex_unlock(&t->mu);
}

int cb_slots_pending(struct cb_slots *t, int tree_fd, struct cb_slot **out, struct cb_error *err)
{
    int own = fcntl(tree_fd, F_DUPFD_CLOEXEC, 3);
    if (own < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    pthread_mutex_lock(&t->mu);
    struct cb_slot *s = slot_new(t);
    s->pending = true;
    s->tree_fd = own;
    pthread_mutex_unlock(&t->mu);
    *out = s;
    return 0;
}

/* ---- waiting ---- */

void cb_slot_complete(struct cb_slot *s, const struct cb_layer *layer, struct cb_toc *toc, const struct cb_error *err)
{
    struct cb_slot_ready *ready = NULL;
    size_t n = 0;
    pthread_mutex_lock(&s->mu);
    if (err) {
        s->failed = cb_error_copy(&s->error, err);
    } else if (layer) {
        cb_layer_copy(&s->layer, layer);
        s->toc = cb_toc_ref(toc);
        s->fresh = true;
    } else {
        s->empty = true;
    }
    s->pending = false;
    if (!s->failed) {
        ready = CB_TAKE(s->ready);
        n = s->n_ready;
        s->n_ready = 0;
    }
    pthread_cond_broadcast(&s->cond);
    pthread_mutex_unlock(&s->mu);
    for (size_t i = 0; i < n; i++)
        ready[i].fn(ready[i].arg, s);
    free(ready);
}

int cb_slot_wait(struct cb_slot *s, bool *empty, struct cb_error *err)
{
    pthread_mutex_lock(&s->mu);
    while (s->pending)
        pthread_cond_wait(&s->cond, &s->mu);
    int r = s->failed ? cb_error_copy(err, &s->error) : 0;
    if (empty)
        *empty = s->empty;
    pthread_mutex_unlock(&s->mu);
    return r;
}

bool cb_slot_is_pending(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool p = s->pending;
    pthread_mutex_unlock(&s->mu);
    return p;
}

bool cb_slot_is_parent(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool p = s->parent;
    pthread_mutex_unlock(&s->mu);
    return p;
}

bool cb_slot_is_fresh(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    bool fresh = s->fresh && !s->parent && s->layer.n_origins == 0;
    pthread_mutex_unlock(&s->mu);
    return fresh;
}

void cb_slot_on_ready(struct cb_slot *s, void (*fn)(void *arg, struct cb_slot *s), void *arg)
{
    pthread_mutex_lock(&s->mu);
    bool now = !s->pending && !s->failed;
    if (s->pending) {
        CB_GROW(s->ready, s->n_ready, s->cap_ready);
        s->ready[s->n_ready++] = (struct cb_slot_ready){ fn, arg };
    }
    pthread_mutex_unlock(&s->mu);
    if (now)
        fn(arg, s);
}

/* ---- what it is ---- */

const struct cb_digest *cb_slot_diff_id(const struct cb_slot *s)
{
    return &s->layer.diff_id;
}

void cb_slot_layer(struct cb_slot *s, struct cb_layer *out)
{
    *out = (struct cb_layer){ 0 };
    pthread_mutex_lock(&s->mu);
    cb_layer_copy(out, &s->layer);
    pthread_mutex_unlock(&s->mu);
}

/* Under s->mu: what is said of the blob that the parent's manifest names, and not of the layer. */
static void drop_tables_within(const struct cb_slot *s, struct cb_strmap *annotations)
{
    for (size_t i = 0; i < s->layer.n_encodings; i++) {
        const struct cb_layer_encoding *e = &s->layer.encodings[i];
        for (size_t k = 0; cb_digest_eq(&e->digest, &s->manifest_digest) && k < e->annotations.n; k++)
            (void)cb_strmap_remove(annotations, e->annotations.v[k].key);
    }
}

void cb_slot_annotations(struct cb_slot *s, struct cb_strmap *out)
{
    *out = (struct cb_strmap){ 0 };
    pthread_mutex_lock(&s->mu);
    cb_strmap_copy(out, &s->annotations);
    if (s->parent && cb_digest_is_set(&s->named) && !cb_digest_eq(&s->named, &s->manifest_digest))
        drop_tables_within(s, out);
    pthread_mutex_unlock(&s->mu);
}

bool cb_slot_pin(struct cb_slot *s, struct cb_toc_pin *out)
{
    pthread_mutex_lock(&s->mu);
    bool known = cb_toc_pin_read(out, &s->annotations);
    if (!known && !cb_digest_is_set(&s->own_pin.digest) && !s->unproven) {
        if (cb_store_toc_pin(s->env->store, &s->layer.diff_id, &s->own_pin, NULL) < 0)
            s->own_pin = (struct cb_toc_pin){ 0 };
        if (s->toc && !cb_digest_is_set(&s->own_pin.digest))
            cb_toc_pin_of(&s->own_pin, s->toc);
    }
    if (!known)
        *out = s->pinned_by_cache && !s->unpinned && !cb_digest_is_set(&s->own_pin.digest) ? s->pin : s->own_pin;
    pthread_mutex_unlock(&s->mu);
    return cb_digest_is_set(&out->digest);
}

/* Under s->mu. As it would be written now. */
static int print_table(struct cb_slot *s, const struct cb_toc_pin *pin, struct cb_strbuf *out)
{
    cb_autosource struct cb_blob_source *src = NULL;
    if (s->toc) {
        cb_toc_print(out, s->toc);
        return 0;
    }
    int r = cb_store_toc_source(s->env->store, &s->layer.diff_id, pin, &src, NULL);
    return r < 0 ? r : cb_blob_read_all(src, CB_TOC_SMALL, out, NULL);
}

bool cb_slot_small_table(struct cb_slot *s, const struct cb_toc_pin *pin, struct cb_strbuf *out)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest sum;
    if (pin->size > CB_TOC_SMALL)
        return false;
    pthread_mutex_lock(&s->mu);
    bool told = s->small.len && cb_toc_pin_eq(&s->pin, pin);
    if (told)
        cb_strbuf_add(&text, s->small.buf, s->small.len);
    bool known = told || print_table(s, pin, &text) == 0;
    pthread_mutex_unlock(&s->mu);
    cb_digest_of(&sum, text.buf, text.len);
    if (!known || !cb_digest_eq(&sum, &pin->digest))
        return false;
    if (out)
        cb_strbuf_add(out, text.buf, text.len);
    return true;
}

struct cb_toc *cb_slot_toc(struct cb_slot *s)
{
    pthread_mutex_lock(&s->mu);
    struct cb_toc *toc = s->toc;
    pthread_mutex_unlock(&s->mu);
    return toc;
}

bool cb_slots_chain(struct cb_slot *const *v, size_t n, struct cb_digest *out)
{
    *out = (struct cb_digest){ 0 };
    for (size_t i = 0; i < n; i++) {
        if (v[i]->tree_fd >= 0)
            return false;
        cb_chain_add(out, &v[i]->layer.diff_id);
    }
    return true;
}

int cb_slot_tree(struct cb_slot *const *v, size_t i, int *fd, struct cb_error *err)
{
    struct cb_slot *s = v[i];
    if (s->tree_fd < 0) {
        struct cb_digest below;
        bool on_chain = cb_slot_is_on_chain(s) && cb_slots_chain(v, i, &below);
        const struct cb_tree_name name = { &s->layer.diff_id, on_chain ? &below : NULL };
        int r = cb_slot_early_tree(s, name.below, fd, err);
        return r < 1 ? r : cb_store_tree_open(s->env->store, &name, fd, err);
    }
    *fd = fcntl(s->tree_fd, F_DUPFD_CLOEXEC, 3);
    return *fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor") : 0;
}

struct cb_stack *cb_slots_stack(struct cb_slots *t, struct cb_slot *const *v, size_t n)
{
    struct cb_toc **tocs = cb_calloc(n + 1, sizeof *tocs);
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if ((tocs[m] = cb_slot_toc(v[i])) != NULL)
            m++;
    struct cb_stack *s = cb_stack_cache_get(t->views, tocs, m);
    free(tocs);
    return s;
}

struct cb_lookup *cb_slots_lookup(struct cb_slot *const *v, size_t n)
{
    struct cb_lookup_layer *of = cb_calloc(n + 1, sizeof *of);
    size_t m = 0;
    for (size_t i = 0; i < n; i++) {
        pthread_mutex_lock(&v[i]->mu);
        of[m] = (struct cb_lookup_layer){ v[i]->toc, v[i]->index };
        if (!of[m].toc && !of[m].index)
            of[m].toc = v[i]->sketch;
        pthread_mutex_unlock(&v[i]->mu);
        m += of[m].toc || of[m].index;
    }
    struct cb_lookup *l = cb_lookup_new(of, m);
    free(of);
    return l;
}

/* Changes with what is hashed, and with what a table says of the same layer. */
#define CONTENT "cbpush-content/1"
#define NOTED 1024 /* entries: of tables of more it is noted, so that the next build need not read them */

void cb_slot_recall_content(struct cb_slot *s)
{
    char key[CB_DIGEST_TEXT_MAX];
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_digest_is_set(&s->content) || s->parent)
        return;
    if (cb_store_fact_get(s->env->store, CONTENT, cb_digest_text(&s->layer.diff_id, key), &text, NULL) < 0 ||
        cb_digest_parse(&s->content, text.buf, NULL) < 0)
        s->content = (struct cb_digest){ 0 };
}

static void hash_content(struct cb_slot *s)
{
    char key[CB_DIGEST_TEXT_MAX], text[CB_DIGEST_TEXT_MAX];
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, CONTENT);
    for (size_t i = 0; i < cb_toc_count(s->toc); i++)
        cb_hash_entry(h, cb_toc_at(s->toc, i));
    cb_hasher_finish(h, &s->content);
    if (cb_toc_count(s->toc) > NOTED && !s->unproven)
        (void)!cb_store_fact_put(s->env->store, CONTENT, cb_digest_text(&s->layer.diff_id, key),
                                 cb_digest_text(&s->content, text), NULL);
}

bool cb_slot_content(struct cb_slot *s, struct cb_digest *out)
{
    pthread_mutex_lock(&s->mu);
    bool empty = s->empty;
    if (!s->parent && s->toc && !cb_digest_is_set(&s->content))
        hash_content(s);
    *out = !s->parent && cb_digest_is_set(&s->content) ? s->content : s->layer.diff_id;
    pthread_mutex_unlock(&s->mu);
    return !empty;
}
