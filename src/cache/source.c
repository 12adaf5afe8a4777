/* SPDX-License-Identifier: Apache-2.0 */
/* Records out of a place, before anything runs. */
#include "cache/private.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/hashmap.h"
#include "util/limits.h"
#include "util/thread.h"

#define WIDTH 16 /* requests at a time: each is small and waits for a round trip */

/* What is known of a key. */
struct entry {
    struct cb_cache_found found;
    bool good; /* its blobs are there */
    bool lost; /* they were not: another record may have taken its place since */
};

/* A set that was read; others point into it. */
struct kept {
    struct kept *next;
    struct cb_cache_set set;
};

struct cb_cache_source {
    struct cb_cache_source_options o;
    struct cb_cache_place *place;
    struct cb_cache_key *key;   /* or NULL */
    pthread_mutex_t begin_mu;   /* taken before mu */
    pthread_mutex_t mu;
    size_t strange;             /* records without a signature of the key, that nobody was told of yet */
    struct kept *kept;
    struct cb_hashmap *entries; /* key → entry */
    struct cb_hashmap *contents; /* content → one of those */
    struct cb_hashmap *tables;  /* diff id → the first layer of a record that counts and has a table */
    struct cb_hashmap *bad;     /* key → the place: what stands there is no record of it */
    struct cb_hashmap *blobs;   /* digest → the place: it is there */
    bool begun;                 /* the run index was asked for */
    bool images;                /* it is an image: there are no artifacts of steps */
    bool dead;                  /* it does not answer */
};

struct cb_cache_place *cb_cache_source_place(const struct cb_cache_source *s)
{
    return s->place;
}

/* ---- trouble ---- */

static void give_up(struct cb_cache_source *s, const struct cb_error *e)
{
    pthread_mutex_lock(&s->mu);
    bool first = !s->dead;
    s->dead = true;
    pthread_mutex_unlock(&s->mu);
    if (first && e->code != CB_ECANCELED)
        cb_progress_note(s->o.progress, true, "warning: the cache in %s cannot be read: %s: building without it",
                         s->place->text, cb_error_text(e));
}

static bool is_dead(struct cb_cache_source *s)
{
    pthread_mutex_lock(&s->mu);
    bool dead = s->dead;
    pthread_mutex_unlock(&s->mu);
    return dead;
}

const struct cb_cache_layer *cb_cache_source_table(struct cb_cache_source *s, const struct cb_digest *diff_id)
{
    char text[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&s->mu);
    const struct cb_cache_layer *l = s->dead ? NULL : cb_hashmap_get(s->tables, cb_digest_text(diff_id, text));
    pthread_mutex_unlock(&s->mu);
    return l;
}

bool cb_cache_source_answers(struct cb_cache_source *s)
{
    return !is_dead(s);
}

/* A record that is wrong is none; a place that does not answer is none at all. */
static void tell(struct cb_cache_source *s, const char *name, const struct cb_error *e)
{
    if (e->code == CB_EVERIFY)
        cb_progress_note(s->o.progress, true, "warning: the cache record %.12s in %s is not used: %s", name,
                         s->place->text, cb_error_text(e));
    else if (e->code != CB_ENOTFOUND)
        give_up(s, e);
}

/* ---- what was read ---- */

static const char *key_text(const struct cb_digest *key, char buf[static CB_DIGEST_TEXT_MAX])
{
    return cb_digest_hex(key, buf);
}

/* Under mu. */
static struct entry *entry_of(struct cb_cache_source *s, const struct cb_digest *key)
{
    char hex[CB_DIGEST_TEXT_MAX];
    return cb_hashmap_get(s->entries, key_text(key, hex));
}

/* Under mu. */
static void take_tables(struct cb_cache_source *s, const struct cb_cache_set *set, const struct cb_cache_step *step)
{
    char text[CB_DIGEST_TEXT_MAX];
    for (size_t i = 0; i < step->n_layers; i++) {
        struct cb_cache_layer *l = &set->layers[step->layers[i]];
        if (cb_digest_is_set(&l->toc) && !cb_hashmap_get(s->tables, cb_digest_text(&l->diff_id, text)))
            cb_hashmap_put(s->tables, text, l);
    }
}

/* Under mu. */
static void take_step(struct cb_cache_source *s, const struct cb_cache_set *set, const struct cb_cache_step *step)
{
    char hex[CB_DIGEST_TEXT_MAX];
    struct entry *e = entry_of(s, &step->key);
    if (step->created < s->o.newer_than || (e && !e->lost))
        return;
    if (s->key && !cb_cache_verify(s->key, set, step)) {
        s->strange++;
        return;
    }
    if (!e) {
        e = CB_NEW(struct entry);
        cb_hashmap_put(s->entries, key_text(&step->key, hex), e);
    }
    *e = (struct entry){ .found = { set, step } };
    if (cb_digest_is_set(&step->content) && !cb_hashmap_get(s->contents, key_text(&step->content, hex)))
        cb_hashmap_put(s->contents, hex, e);
    take_tables(s, set, step);
}

/* Takes the set: all steps, or that of a key (NULL: all). */
static void take_set(struct cb_cache_source *s, struct cb_cache_set *set, const struct cb_digest *only)
{
    struct kept *k = CB_NEW(struct kept);
    k->set = *set;
    *set = (struct cb_cache_set){ 0 };
    pthread_mutex_lock(&s->mu);
    k->next = s->kept;
    s->kept = k;
    for (size_t i = 0; i < k->set.n_steps; i++)
        if (!only || cb_digest_eq(&k->set.steps[i].key, only))
            take_step(s, &k->set, &k->set.steps[i]);
    pthread_mutex_unlock(&s->mu);
}

/* ---- the records of an image ---- */

/* Where the manifest has the blobs of these diff ids, and by which tables it pins them. */
static void fill_blobs(struct cb_cache_set *set, const struct cb_image_config *c, const struct cb_manifest *m)
{
    for (size_t i = 0; i < set->n_layers; i++)
        for (size_t k = 0; k < m->n_layers && !cb_digest_is_set(&set->layers[i].blob.digest); k++) {
            int compression = cb_mt_layer_compression(m->layers[k].media_type);
            if (!cb_digest_eq(&set->layers[i].diff_id, &c->diff_ids[k]) || compression < 0)
                continue;
            struct cb_layer_encoding *e = &set->layers[i].blob;
            e->digest = m->layers[k].digest;
            e->size = m->layers[k].size;
            e->compression = (enum cb_compression)compression;
            e->media_type = cb_strdup(m->layers[k].media_type);
            e->engine = cb_strdup("");
            struct cb_toc_pin pin;
            if (!cb_toc_pin_read(&pin, &m->layers[k].annotations) || pin.size > CB_CACHE_MAX_TOC)
                continue;
            set->layers[i].toc = pin.digest;
            set->layers[i].toc_size = pin.size;
            if (cb_toc_pin_has_data(&pin, &m->layers[k].annotations))
                set->layers[i].toc_data = cb_strdup(cb_strmap_get(&m->layers[k].annotations, CB_ANN_TOC_DATA));
        }
}

static int read_config(struct cb_cache_source *s, const struct cb_manifest *m, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT, records cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_image_config c cb_cleanup_image_config = { 0 };
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    int r = cache_slurp(s->place, &m->config, CB_MAX_MANIFEST, &text, err);
    if (r == 0)
        r = cb_image_config_parse(&c, text.buf, text.len, err);
    if (r == 0)
        r = cb_image_config_check(&c, m->n_layers, err);
    if (r < 0)
        return r;
    cb_autojson json_t *o = cb_json_parse(text.buf, text.len, err);
    const json_t *inlined = o ? json_object_get(o, CB_CONFIG_CACHE) : NULL;
    if (!inlined)
        return 0;
    cb_json_print(&records, inlined);
    r = cb_cache_set_parse(&set, records.buf, records.len, err);
    if (r < 0)
        return r;
    fill_blobs(&set, &c, m);
    take_set(s, &set, NULL);
    return 0;
}

static int read_image(struct cb_cache_source *s, const struct cb_strbuf *body, unsigned depth, struct cb_error *err);

/* A registry may have only some of the images that an index lists. */
static int read_listed(struct cb_cache_source *s, const struct cb_strbuf *body, unsigned depth, struct cb_error *err)
{
    struct cb_index index cb_cleanup_index = { 0 };
    int r = cb_index_parse(&index, body->buf, body->len, NULL, err);
    for (size_t i = 0; r == 0 && i < index.n_manifests && i < CB_CACHE_MAX_IMAGES; i++) {
        struct cb_strbuf one cb_cleanup_strbuf = CB_STRBUF_INIT;
        char text[CB_DIGEST_TEXT_MAX];
        if (index.manifests[i].platform && cb_streq(index.manifests[i].platform->os, "unknown"))
            continue; /* an attestation */
        r = s->place->ops->get(s->place, cb_digest_text(&index.manifests[i].digest, text), &one, err);
        if (r == 0)
            r = read_image(s, &one, depth + 1, err);
        if (r == -CB_ENOTFOUND) {
            cb_error_done(err);
            r = 0;
        }
    }
    return r;
}

static int read_image(struct cb_cache_source *s, const struct cb_strbuf *body, unsigned depth, struct cb_error *err)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    const char *type = cb_manifest_detect(body->buf, body->len, NULL, err);
    if (!type || depth > CB_MAX_INDEX_DEPTH)
        return cb_error_set(err, CB_EVERIFY, "it is neither a build cache nor an image");
    if (cb_mt_is_index(type))
        return read_listed(s, body, depth, err);
    int r = cb_manifest_parse(&m, body->buf, body->len, NULL, err);
    bool image = r == 0 && (!strcmp(m.config.media_type, CB_MT_OCI_CONFIG) ||
                            !strcmp(m.config.media_type, CB_MT_DOCKER_CONFIG));
    return image ? read_config(s, &m, err) : r;
}

/* ---- asking ---- */

static int read_run(struct cb_cache_source *s, const char *name, struct cb_error *err)
{
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cache_get(s->place, name, &a, &body, err);
    if (r == -CB_EVERIFY && body.len && !a.manifest.artifact_type) {
        s->images = true;
        return read_image(s, &body, 0, err);
    }
    if (r == 0)
        r = cb_cache_set_parse(&set, a.config.buf, a.config.len, err);
    if (r == 0)
        take_set(s, &set, NULL);
    return r;
}

/* A repository without a tag may also be meant as the image that it has. */
static void begin(struct cb_cache_source *s)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const struct cb_cache_spec *spec = s->o.place.spec;
    bool untagged = spec->type == CB_CACHE_REGISTRY && !spec->ref.tag && !cb_digest_is_set(&spec->ref.digest);
    s->begun = true;
    int r = read_run(s, s->place->run, &e);
    if (r == -CB_ENOTFOUND && untagged) {
        cb_error_done(&e);
        r = read_run(s, "latest", &e);
        s->images = false;
    }
    if (r < 0)
        tell(s, s->place->run, &e);
}

struct job {
    struct cb_cache_source *s;
    struct cb_digest key;                  /* of a record */
    const struct cb_layer_encoding *blob;  /* or a blob */
};

static void note_bad(struct cb_cache_source *s, const char *hex)
{
    pthread_mutex_lock(&s->mu);
    cb_hashmap_put(s->bad, hex, s->place);
    pthread_mutex_unlock(&s->mu);
}

static void get_record(void *arg)
{
    const struct job *j = arg;
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    char hex[CB_DIGEST_TEXT_MAX];
    if (is_dead(j->s))
        return;
    key_text(&j->key, hex);
    int r = cache_get(j->s->place, hex, &a, &body, &e);
    if (r == 0)
        r = cb_cache_set_parse(&set, a.config.buf, a.config.len, &e);
    if (r == 0 && !cb_cache_set_find(&set, &j->key))
        r = cb_error_set(&e, CB_EVERIFY, "it is that of another step");
    if (r == -CB_EVERIFY)
        note_bad(j->s, hex);
    if (r < 0)
        tell(j->s, hex, &e);
    else
        take_set(j->s, &set, &j->key);
}

static void ask_blob(void *arg)
{
    const struct job *j = arg;
    struct cb_cache_source *s = j->s;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_descriptor d = { .digest = j->blob->digest, .size = j->blob->size,
                               .media_type = j->blob->media_type };
    char text[CB_DIGEST_TEXT_MAX];
    if (is_dead(s))
        return;
    int there = s->place->ops->has(s->place, &d, &e);
    if (there < 0) {
        give_up(s, &e);
    } else if (there) {
        pthread_mutex_lock(&s->mu);
        cb_hashmap_put(s->blobs, cb_digest_text(&d.digest, text), s->place);
        pthread_mutex_unlock(&s->mu);
    }
}

static void run_jobs(struct job *v, size_t n, void (*fn)(void *))
{
    struct cb_pool *pool = n > 1 ? cb_pool_new("cache", (unsigned)CB_MIN(n, (size_t)WIDTH)) : NULL;
    for (size_t i = 0; i < n; i++)
        if (pool)
            cb_pool_submit(pool, fn, &v[i]);
        else
            fn(&v[i]);
    cb_pool_free(pool);
}

static void get_records(struct cb_cache_source *s, const struct cb_digest *keys, size_t n)
{
    struct job *jobs = cb_calloc(n + 1, sizeof *jobs);
    size_t m = 0;
    pthread_mutex_lock(&s->mu);
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = entry_of(s, &keys[i]);
        if (!e || e->lost)
            jobs[m++] = (struct job){ .s = s, .key = keys[i] };
    }
    pthread_mutex_unlock(&s->mu);
    if (!s->images)
        run_jobs(jobs, m, get_record);
    free(jobs);
}

/* ---- whether the blobs are there ---- */

struct asking {
    struct job *v;
    size_t n, cap;
    struct cb_hashmap *seen;
};

/* Under mu. */
static void ask_for(struct cb_cache_source *s, struct asking *a, const struct cb_layer_encoding *e)
{
    char text[CB_DIGEST_TEXT_MAX];
    if (!cb_digest_is_set(&e->digest) || cb_hashmap_get(s->blobs, cb_digest_text(&e->digest, text)) ||
        cb_hashmap_put(a->seen, text, s))
        return;
    if (s->o.have && s->o.have(s->o.arg, &e->digest)) {
        cb_hashmap_put(s->blobs, text, s->place);
        return;
    }
    CB_GROW(a->v, a->n, a->cap);
    a->v[a->n++] = (struct job){ .s = s, .blob = e };
}

static void ask_blobs(struct cb_cache_source *s, const struct cb_digest *keys, size_t n)
{
    struct asking a = { .seen = cb_hashmap_new() };
    pthread_mutex_lock(&s->mu);
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = entry_of(s, &keys[i]);
        for (size_t k = 0; e && !e->good && k < e->found.step->n_layers; k++)
            ask_for(s, &a, &e->found.set->layers[e->found.step->layers[k]].blob);
    }
    pthread_mutex_unlock(&s->mu);
    run_jobs(a.v, a.n, ask_blob);
    free(a.v);
    cb_hashmap_free(a.seen);
}

/* Under mu. A parent's, too: the parent has it. */
static bool has_blob(const struct cb_cache_source *s, const struct cb_cache_layer *l)
{
    char text[CB_DIGEST_TEXT_MAX];
    const struct cb_digest *d = &l->blob.digest;
    return !cb_digest_is_set(d) || cb_hashmap_get(s->blobs, cb_digest_text(d, text));
}

/* Under mu. */
static bool has_all(const struct cb_cache_source *s, const struct entry *e)
{
    bool all = true;
    for (size_t i = 0; all && i < e->found.step->n_layers; i++)
        all = has_blob(s, &e->found.set->layers[e->found.step->layers[i]]);
    return all;
}

static void judge(struct cb_cache_source *s, const struct cb_digest *key)
{
    char hex[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&s->mu);
    struct entry *e = entry_of(s, key);
    if (e)
        e->good = !s->dead && has_all(s, e);
    bool lost = e && !e->good && !s->dead;
    if (e)
        e->lost = lost;
    if (lost)
        cb_hashmap_put(s->bad, key_text(key, hex), s->place);
    pthread_mutex_unlock(&s->mu);
    if (lost)
        cb_progress_note(s->o.progress, true, "warning: the cache record %.12s in %s is not used: a blob of it is gone",
                         key_text(key, hex), s->place->text);
}

void cb_cache_source_fetch(struct cb_cache_source *s, const struct cb_digest *keys, size_t n)
{
    pthread_mutex_lock(&s->begin_mu);
    if (!s->begun)
        begin(s);
    pthread_mutex_unlock(&s->begin_mu);
    if (!is_dead(s))
        get_records(s, keys, n);
    if (!is_dead(s))
        ask_blobs(s, keys, n);
    for (size_t i = 0; i < n; i++)
        judge(s, &keys[i]);
    pthread_mutex_lock(&s->mu);
    bool strange = s->strange > 0;
    s->strange = 0;
    pthread_mutex_unlock(&s->mu);
    if (strange)
        cb_progress_note(s->o.progress, true, "warning: records in %s that %s did not sign are not used",
                         s->place->text, s->o.place.spec->key_file);
}

bool cb_cache_source_find(struct cb_cache_source *s, const struct cb_digest *key, struct cb_cache_found *out)
{
    pthread_mutex_lock(&s->mu);
    const struct entry *e = entry_of(s, key);
    bool found = e && e->good;
    if (found)
        *out = e->found;
    pthread_mutex_unlock(&s->mu);
    return found;
}

/* ---- by content ---- */

bool cb_cache_source_has_content(struct cb_cache_source *s, const char *note)
{
    size_t it = 0;
    const char *key;
    void *entry;
    bool found = false;
    pthread_mutex_lock(&s->mu);
    while (!found && !s->dead && cb_hashmap_next(s->contents, &it, &key, &entry))
        found = cb_streq(((const struct entry *)entry)->found.step->note, note);
    pthread_mutex_unlock(&s->mu);
    return found;
}

/* The layers below are the asking step's own. */
bool cb_cache_source_find_content(struct cb_cache_source *s, const struct cb_digest *content,
                                  struct cb_cache_found *out)
{
    char hex[CB_DIGEST_TEXT_MAX];
    struct asking a = { .seen = cb_hashmap_new() };
    pthread_mutex_lock(&s->mu);
    const struct entry *e = s->dead ? NULL : cb_hashmap_get(s->contents, key_text(content, hex));
    const struct cb_cache_found found = e ? e->found : (struct cb_cache_found){ 0 };
    /* The record may be another than the one that was listed here. */
    const struct cb_cache_step *step = e && cb_digest_eq(&found.step->content, content) ? found.step : NULL;
    const struct cb_cache_layer *own = NULL;
    if (step && step->added)
        own = &found.set->layers[step->layers[step->n_layers - 1]];
    if (own && !e->good)
        ask_for(s, &a, &own->blob);
    pthread_mutex_unlock(&s->mu);
    run_jobs(a.v, a.n, ask_blob);
    free(a.v);
    cb_hashmap_free(a.seen);
    pthread_mutex_lock(&s->mu);
    bool there = step && !s->dead && (!own || has_blob(s, own));
    pthread_mutex_unlock(&s->mu);
    if (there)
        *out = found;
    return there;
}

enum cb_cache_state cb_cache_source_state(struct cb_cache_source *s, const struct cb_digest *key)
{
    char hex[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&s->mu);
    const struct entry *e = entry_of(s, key);
    bool bad = cb_hashmap_get(s->bad, key_text(key, hex)) != NULL;
    enum cb_cache_state state = e && e->good ? CB_CACHE_GOOD : bad ? CB_CACHE_BAD : CB_CACHE_UNKNOWN;
    pthread_mutex_unlock(&s->mu);
    return state;
}

/* ---- opening ---- */

int cb_cache_source_open(const struct cb_cache_source_options *o, struct cb_cache_source **out, struct cb_error *err)
{
    struct cb_cache_place *place = NULL;
    CB_AUTO(cb_cache_key_free) struct cb_cache_key *key = NULL;
    int r = o->place.spec->key_file ? cb_cache_key_read(o->place.spec->key_file, false, &key, err) : 0;
    if (r < 0)
        return cb_error_wrap(err, "--cache-from");
    r = cb_cache_place_open(&o->place, &place, err);
    if (r < 0)
        return r;
    struct cb_cache_source *s = CB_NEW(struct cb_cache_source);
    s->o = *o;
    s->o.place.run = NULL; /* the caller's; the place has it */
    s->place = place;
    s->key = CB_TAKE(key);
    s->entries = cb_hashmap_new();
    s->contents = cb_hashmap_new();
    s->tables = cb_hashmap_new();
    s->blobs = cb_hashmap_new();
    s->bad = cb_hashmap_new();
    pthread_mutex_init(&s->begin_mu, NULL);
    pthread_mutex_init(&s->mu, NULL);
    *out = s;
    return 0;
}

void cb_cache_source_close(struct cb_cache_source *s)
{
    size_t it = 0;
    const char *key;
    void *entry;
    if (!s)
        return;
    while (cb_hashmap_next(s->entries, &it, &key, &entry))
        free(entry);
    while (s->kept) {
        struct kept *k = s->kept;
        s->kept = k->next;
        cb_cache_set_done(&k->set);
        free(k);
    }
    cb_hashmap_free(s->entries);
    cb_hashmap_free(s->contents);
    cb_hashmap_free(s->tables);
    cb_hashmap_free(s->blobs);
    cb_hashmap_free(s->bad);
    cb_cache_place_close(s->place);
    cb_cache_key_free(s->key);
    pthread_mutex_destroy(&s->mu);
    pthread_mutex_destroy(&s->begin_mu);
    free(s);
}
