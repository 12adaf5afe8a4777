/* SPDX-License-Identifier: Apache-2.0 */
#include "build/failed.h"
#include "build/internal.h"
#include "build/push_toc.h"
#include "build/release.h"
#include "util/alloc.h"

struct target {
    const struct cb_reference **tags; /* of one host and repository; without a tag: by digest */
    size_t n, cap;
    struct cb_push *push;
    struct cb_step *step;
    bool begun;
};

struct cb_pusher {
    const struct cb_build_env *env;
    struct target *targets;
    size_t n, cap;
    struct cb_format format;
    pthread_mutex_t mu;
    bool ended;                       /* nothing is added any more */
    struct cb_error error;            /* of an early add or check; told at the end */
    struct cb_release_policy policy;
    struct cb_pool *checks;           /* NULL: none runs */
    struct cb_cancel *on_refusal;
    struct cb_toc_push *tables;
    bool pins;                        /* manifests will name the tables of new layers */
    bool builds;                      /* something new is being made */
    struct cb_tags_ahead *ahead;      /* borrowed; NULL: nobody looked */
    enum { UNASKED, SEND_NOW, ASK_FIRST } known_tables; /* what the targets have may be kept there already */
};

static struct target *target_of(struct cb_pusher *p, const struct cb_reference *ref)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->targets[i].tags[0]->host, ref->host) && !strcmp(p->targets[i].tags[0]->repo, ref->repo))
            return &p->targets[i];
    CB_GROW(p->targets, p->n, p->cap);
    p->targets[p->n] = (struct target){ 0 };
    return &p->targets[p->n++];
}

static void show_blob(void *arg, const struct cb_digest *d, uint64_t current, uint64_t total,
                      const struct cb_push_result *done)
{
    struct target *t = arg;
    char text[CB_DIGEST_TEXT_MAX], id[64];
    static const char *const how[] = { " present", " mounted", "", " copied" };
    snprintf(id, sizeof id, "%.19s", cb_digest_text(d, text));
    if (!done) {
        cb_step_status(t->step, id, current, total);
        return;
    }
    cb_step_status(t->step, id, total, total);
    cb_step_status_done(t->step, id);
    const char *from = done->mounted_from;
    if (*how[done->outcome])
        cb_step_logf(t->step, "%s%s%s%s", id, how[done->outcome], from ? " from " : "", from ? from : "");
}

static int begin_target(struct cb_pusher *p, struct target *t, struct cb_error *err)
{
    cb_autofree char *name = cb_asprintf("pushing to %s/%s", t->tags[0]->host, t->tags[0]->repo);
    struct cb_push_options o = { .target = t->tags[0], .on_blob = show_blob, .arg = t };
    t->step = cb_step_new(p->env->progress, name);
    return cb_push_begin(p->env->registry, &o, &t->push, err);
}

struct cb_pusher *cb_pusher_new(const struct cb_build_env *env, const struct cb_push_tree_options *o,
                                struct cb_error *err)
{
    CB_AUTO(cb_pusher_free) struct cb_pusher *p = CB_NEW(struct cb_pusher);
    p->env = env;
    p->format = (struct cb_format){ CB_COMPRESSION_GZIP, CB_LEVEL_DEFAULT };
    p->policy = o->release;
    p->tables = cb_toc_push_new(env);
    pthread_mutex_init(&p->mu, NULL);
    for (size_t i = 0; i < o->n_targets; i++) {
        struct target *t = target_of(p, &o->targets[i]);
        CB_GROW(t->tags, t->n, t->cap);
        t->tags[t->n++] = &o->targets[i];
    }
    for (size_t i = 0; i < p->n; i++)
        if (begin_target(p, &p->targets[i], err) < 0)
            return NULL;
    return CB_TAKE(p);
}

void cb_pusher_stop(struct cb_pusher *p)
{
    for (size_t i = 0; i < p->n; i++)
        cb_push_stop(p->targets[i].push);
}

int64_t cb_pusher_heard(const struct cb_pusher *p)
{
    int64_t last = 0;
    for (size_t i = 0; i < p->n; i++)
        last = CB_MAX(last, cb_push_heard(p->targets[i].push));
    return last;
}

void cb_pusher_free(struct cb_pusher *p)
{
    if (!p)
        return;
    cb_pool_free(p->checks);
    for (size_t i = 0; i < p->n; i++) {
        cb_push_free(p->targets[i].push);
        free(p->targets[i].tags);
    }
    free(p->targets);
    cb_toc_push_free(p->tables);
    cb_error_done(&p->error);
    pthread_mutex_destroy(&p->mu);
    free(p);
}

void cb_pusher_set_format(struct cb_pusher *p, const struct cb_format *f)
{
    p->format = *f;
}

void cb_pusher_set_pins(struct cb_pusher *p, bool pins)
{
    p->pins = pins;
}

void cb_pusher_set_ahead(struct cb_pusher *p, struct cb_tags_ahead *ahead)
{
    p->ahead = ahead;
}

static void begin_step(struct cb_pusher *p, struct target *t)
{
    pthread_mutex_lock(&p->mu);
    if (!t->begun)
        cb_step_begin(t->step);
    t->begun = true;
    pthread_mutex_unlock(&p->mu);
}

/* ---- before ---- */

static void keep_error(struct cb_pusher *p, struct cb_error *e)
{
    pthread_mutex_lock(&p->mu);
    if (!p->error.code)
        cb_error_move(&p->error, e);
    pthread_mutex_unlock(&p->mu);
}

static void check_job(void *arg)
{
    struct cb_pusher *p = arg;
    for (size_t i = 0; i < p->n; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        /* A registry that is out of reach now may be there when the image is. */
        if (cb_push_check(p->targets[i].push, &e) != -CB_EAUTH)
            continue;
        keep_error(p, &e);
        cb_cancel_trigger(p->on_refusal, 0);
        return;
    }
}

static void list_tags(struct cb_pusher *p, struct cb_release *r)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        n += p->targets[i].n;
    *r = (struct cb_release){ .registry = p->env->registry, .policy = &p->policy, .v = cb_calloc(n + 1, sizeof *r->v) };
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->targets[i].n; k++)
            if (p->targets[i].tags[k]->tag)
                r->v[r->n++] = (struct cb_release_tag){ .ref = p->targets[i].tags[k], .push = p->targets[i].push };
}

int cb_pusher_check(struct cb_pusher *p, struct cb_cancel *cancel, struct cb_error *err)
{
    struct cb_release rel CB_CLEANUP(cb_release_done) = { 0 };
    p->on_refusal = cancel;
    p->builds = true;
    p->checks = cb_pool_new("check", 1);
    cb_pool_submit(p->checks, check_job, p);
    list_tags(p, &rel);
    int r = cb_release_check(&rel, err);
    return r < 0 ? cb_error_wrap(err, "push") : 0;
}

int cb_pusher_early_failure(struct cb_pusher *p, struct cb_error *err)
{
    pthread_mutex_lock(&p->mu);
    int r = p->error.code ? cb_error_copy(err, &p->error) : 0;
    pthread_mutex_unlock(&p->mu);
    return r < 0 ? cb_error_wrap(err, "push") : 0;
}

/* ---- blobs ---- */

static int open_stored(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err)
{
    const struct cb_build_env *env = arg;
    return cb_store_blob_source(env->store, d, out, err);
}

static int add_to_targets(struct cb_pusher *p, const struct cb_push_blob *b, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        begin_step(p, &p->targets[i]);
        r = cb_push_add(p->targets[i].push, b, err);
    }
    return r;
}

/* layer: where else it can be had; NULL: only in the store. */
static int add_blob(struct cb_pusher *p, const struct cb_layer *layer, const struct cb_descriptor *desc, bool fresh,
                    struct cb_error *err)
{
    size_t max = layer ? layer->n_origins : 0, n = 0;
    const char **hosts = cb_calloc(max + 1, sizeof *hosts), **repos = cb_calloc(max + 1, sizeof *repos);
    for (size_t i = 0; i < max; i++)
        if (cb_digest_eq(&layer->origins[i].digest, &desc->digest)) {
            hosts[n] = layer->origins[i].host;
            repos[n++] = layer->origins[i].repo;
        }
    struct cb_push_blob b = { .desc = *desc, .origin_hosts = hosts, .origin_repos = repos, .n_origins = n,
                              .arg = (void *)(uintptr_t)p->env, .fresh = fresh };
    if (cb_store_blob_has(p->env->store, &desc->digest, NULL))
        b.open = open_stored;
    int r = add_to_targets(p, &b, err);
    free(hosts);
    free(repos);
    return r;
}

static int add_slot(struct cb_pusher *p, struct cb_slot *s, const struct cb_layer_encoding *e, struct cb_error *err)
{
    struct cb_layer layer cb_cleanup_layer = { 0 };
    struct cb_descriptor desc = { .media_type = e->media_type, .digest = e->digest, .size = e->size };
    if (e->media_type && cb_mt_is_foreign_layer(e->media_type))
        return 0;
    cb_slot_layer(s, &layer);
    return add_blob(p, &layer, &desc, cb_slot_is_fresh(s), err);
}

/* Tables that were there before are not asked for one by one where the artifact that keeps them may be there. */
static bool tables_can_wait(struct cb_pusher *p)
{
    pthread_mutex_lock(&p->mu);
    if (p->known_tables == UNASKED) {
        p->known_tables = ASK_FIRST;
        for (size_t i = 0; i < p->n; i++)
            if (!cb_toc_push_knows(p->env, p->targets[i].tags[0]))
                p->known_tables = SEND_NOW;
    }
    bool wait = p->known_tables == ASK_FIRST;
    pthread_mutex_unlock(&p->mu);
    return wait;
}

static void add_table(struct cb_pusher *p, struct cb_slot *s, const struct cb_toc_pin *pin)
{
    for (size_t i = 0; i < p->n; i++)
        cb_toc_push_add(p->tables, p->targets[i].push, s, pin);
}

/* Of a layer that a manifest will name; a parent's are known by its manifest, or when somebody has looked at it. */
static void add_early_table(struct cb_pusher *p, struct cb_slot *s)
{
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    struct cb_toc_pin pin = { 0 };
    cb_slot_annotations(s, &annotations);
    bool parents = cb_slot_is_parent(s);
    bool pinned = parents ? cb_toc_pin_read(&pin, &annotations) : cb_slot_pin(s, &pin);
    bool blob = parents ? !cb_toc_pin_has_data(&pin, &annotations) : pin.size > CB_TOC_SMALL;
    if (p->pins && pinned && blob && (cb_slot_is_fresh(s) || !tables_can_wait(p)))
        add_table(p, s, &pin);
}

void cb_pusher_parent(void *pusher, struct cb_slot *s)
{
    struct cb_pusher *p = pusher;
    struct cb_strmap annotations cb_cleanup_strmap = { 0 };
    struct cb_toc_pin pin = { 0 };
    if (!p->pins || !cb_slot_is_parent(s))
        return;
    cb_slot_annotations(s, &annotations);
    bool ours = !cb_toc_pin_read(&pin, &annotations) && !cb_build_carries_table(&annotations);
    if (ours && cb_slot_pin(s, &pin) && pin.size > CB_TOC_SMALL && !tables_can_wait(p))
        add_table(p, s, &pin);
}

void cb_pusher_ahead(void *pusher, unsigned layers)
{
    struct cb_pusher *p = pusher;
    for (size_t i = 0; i < p->n; i++)
        cb_push_ahead(p->targets[i].push, layers + 1);
}

void cb_pusher_layer(void *pusher, struct cb_slot *s)
{
    struct cb_pusher *p = pusher;
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    struct cb_error local cb_cleanup_error = CB_ERROR_INIT;
    bool empty = false;
    if (cb_slot_wait(s, &empty, NULL) < 0 || empty || !cb_slot_encoding_known(s, &p->format, &e))
        return;
    if (add_slot(p, s, &e, &local) < 0)
        keep_error(p, &local);
    else
        add_early_table(p, s);
}

const char *cb_pusher_wait_layer(struct cb_pusher *p, struct cb_slot *s, const struct cb_digest *blob, const char *host)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct target *t = &p->targets[i];
        if (strcmp(t->tags[0]->host, host))
            continue;
        if (!p->ended)
            cb_pusher_layer(p, s);
        if (cb_push_wait_blob(t->push, blob, NULL) == 0)
            return t->tags[0]->repo;
    }
    return NULL;
}

/* ---- the end ---- */

/* With tags, or without them because they are known; by digest in any case. */
static int is_current(const struct target *t, const struct cb_descriptor *desc, bool tags, bool *current,
                      struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    int r = 0;
    cb_digest_text(&desc->digest, digest);
    for (size_t k = 0; r == 0 && *current && k < t->n; k++) {
        const char *tag = t->tags[k]->tag;
        if (!tag || tags)
            r = cb_push_tag_current(t->push, desc, tag ? tag : digest, current, err);
    }
    return r;
}

int cb_pusher_current(struct cb_pusher *p, const struct cb_descriptor *desc, bool *current, struct cb_error *err)
{
    int known = p->ahead ? cb_tags_ahead_are(p->ahead, &desc->digest, err) : -CB_ENOTFOUND;
    if (known < 0 && known != -CB_ENOTFOUND)
        return known;
    *current = known < 0 ? p->n > 0 : known > 0;
    for (size_t i = 0; *current && i < p->n; i++) {
        int r = is_current(&p->targets[i], desc, known < 0, current, err);
        if (r < 0)
            return r;
    }
    p->ended = *current;
    return 0;
}

static void report_blobs(struct target *t, struct cb_build_result *res)
{
    const struct cb_push_result *v;
    size_t n = cb_push_results(t->push, &v);
    res->blobs = cb_reallocarray(res->blobs, res->n_blobs + n + 1, sizeof *res->blobs);
    for (size_t i = 0; i < n; i++)
        res->blobs[res->n_blobs++] = (struct cb_build_blob){ v[i].digest, v[i].size, v[i].sent, v[i].outcome };
}

static int remember_layer(struct cb_pusher *p, const struct target *t, struct cb_slot *s, struct cb_error *err)
{
    struct cb_layer origin cb_cleanup_layer = { .diff_id = *cb_slot_diff_id(s), .size = UINT64_MAX };
    struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
    if (!cb_slot_encoding_known(s, &p->format, &e))
        return 0;
    cb_layer_add_origin(&origin, &e.digest, t->tags[0]->host, t->tags[0]->repo);
    return cb_store_layer_put(p->env->store, &origin, err);
}

static size_t layers_of(const struct cb_push_part *part)
{
    return part->layers ? part->manifest->n_layers : 0;
}

/* Where its blobs are now: the next build mounts them from there. */
static int remember_origins(struct cb_pusher *p, const struct target *t, const struct cb_push_set *set,
                            struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; i < set->n; i++)
        for (size_t k = 0; r == 0 && k < layers_of(&set->v[i]); k++)
            r = remember_layer(p, t, set->v[i].layers[k], err);
    return r;
}

static int add_layers(struct cb_pusher *p, const struct cb_push_part *part, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < layers_of(part); i++) {
        struct cb_layer_encoding e cb_cleanup_layer_encoding = { 0 };
        r = cb_slot_encoding(part->layers[i], &p->format, &e, err);
        if (r == 0)
            r = add_slot(p, part->layers[i], &e, err);
    }
    for (size_t i = 0; r == 0 && !part->layers && i < part->manifest->n_layers; i++)
        r = add_blob(p, NULL, &part->manifest->layers[i], false, err);
    return r;
}

static int add_rest(struct cb_pusher *p, const struct cb_push_set *set, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < set->n; i++) {
        if (!set->v[i].manifest)
            continue;
        r = add_layers(p, &set->v[i], err);
        if (r == 0)
            r = add_blob(p, NULL, &set->v[i].manifest->config, p->builds, err);
    }
    return r;
}

/* ---- manifests ---- */

/* What an index lists goes by its digest, before the index. */
static int put_parts(struct cb_pusher *p, const struct target *t, const struct cb_push_set *set, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i + 1 < set->n; i++) {
        struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
        r = cb_store_blob_get(p->env->store, &set->v[i].desc->digest, CB_MAX_MANIFEST, &body, err);
        if (r == 0)
            r = cb_push_manifest(t->push, set->v[i].desc, body.buf, body.len, err);
    }
    return r;
}

static const struct cb_reference *by_digest(const struct target *t)
{
    for (size_t k = 0; k < t->n; k++)
        if (!t->tags[k]->tag)
            return t->tags[k];
    return NULL;
}

/* Nobody looks before: a PUT of what is there takes no longer than the look. */
static int put_by_digest(struct cb_pusher *p, const struct cb_tag_manifest *m, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++)
        if (by_digest(&p->targets[i]))
            r = cb_push_manifest_blind(p->targets[i].push, m->desc, m->body, NULL, err);
    return r;
}

static void report_by_digest(const struct cb_pusher *p, struct cb_build_result *res)
{
    res->tags = cb_reallocarray(res->tags, res->n_tags + p->n + 1, sizeof *res->tags);
    for (size_t i = 0; i < p->n; i++)
        if (by_digest(&p->targets[i]))
            res->tags[res->n_tags++] = (struct cb_build_tag){
                .name = cb_reference_text(by_digest(&p->targets[i])), .pushed = true, .by_digest = true
            };
}

/* What has no tag to go by first: it can stay, whatever becomes of the tags. */
static int put_top(struct cb_pusher *p, struct cb_release *rel, const struct cb_descriptor *desc,
                   struct cb_build_result *res, struct cb_error *err)
{
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_store_blob_get(p->env->store, &desc->digest, CB_MAX_MANIFEST, &body, err);
    struct cb_tag_manifest m = { desc, { body.buf, body.len } };
    if (r == 0)
        r = put_by_digest(p, &m, err);
    if (r == 0)
        r = cb_release_run(rel, &m, err);
    cb_release_report(rel, r < 0, res);
    if (r == 0)
        report_by_digest(p, res);
    return r;
}

/* ---- all of it ---- */

/* What goes on beside the push. */
struct beside {
    struct cb_pusher *p;
    const struct cb_push_set *set;
    struct cb_release *release;
    bool again, kept; /* the tables, everywhere */
    int remembered;   /* where the blobs are; or why not, and error */
    struct cb_error error;
};

static void add_tables(struct cb_pusher *p, const struct target *t, const struct cb_push_part *part)
{
    for (size_t i = 0; i < layers_of(part); i++) {
        const struct cb_strmap *annotations = &part->manifest->layers[i].annotations;
        struct cb_toc_pin pin;
        if (cb_toc_pin_read(&pin, annotations) && !cb_toc_pin_has_data(&pin, annotations))
            cb_toc_push_add(p->tables, t->push, part->layers[i], &pin);
    }
}

static bool keep_tables_of(const struct beside *x, const struct target *t, const struct cb_push_part *part)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_toc_target to = { t->push, t->tags[0], t->step };
    if (!layers_of(part) || cb_toc_push_has(x->p->tables, &to, part))
        return true;
    add_tables(x->p, t, part);
    if (cb_toc_push_keep(x->p->tables, &to, part, &e) == 0)
        return true;
    if (x->again)
        cb_step_logf(t->step, "the tables of contents are not kept: %s", cb_error_text(&e));
    return false;
}

static void keep_tables(void *arg)
{
    struct beside *x = arg;
    bool kept = true;
    for (size_t i = 0; i < x->p->n; i++)
        for (size_t k = 0; k < x->set->n; k++)
            kept = keep_tables_of(x, &x->p->targets[i], &x->set->v[k]) && kept;
    x->kept = kept;
    x->again = true;
}

static void look_ahead(void *arg)
{
    const struct beside *x = arg;
    cb_release_look_ahead(x->release, x->p->ahead);
}

/* The steps are done. */
static void drop_mounts(void *store)
{
    cb_store_drop_mounts(store);
}

/* Every blob is there, whatever becomes of the tags: our own disk is waited for beside these, and not behind them. */
static void remember(void *arg)
{
    struct beside *x = arg;
    for (size_t i = 0; x->remembered == 0 && i < x->p->n; i++)
        x->remembered = remember_origins(x->p, &x->p->targets[i], x->set, &x->error);
    cb_store_settle_index(x->p->env->store);
}

/* Every blob, everywhere; meanwhile one looks at the tag. */
static int wait_blobs(struct cb_pusher *p, struct beside *x, struct cb_error *err)
{
    int r = 0;
    struct cb_pool *pool = cb_pool_new("look", 1);
    cb_pool_submit(pool, look_ahead, x);
    cb_pool_submit(pool, drop_mounts, p->env->store);
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = cb_push_wait(p->targets[i].push, err);
    if (r < 0)
        cb_pusher_stop(p);
    cb_pool_free(pool);
    return r;
}

/* Manifests, then tags. */
static int send_manifests(struct cb_pusher *p, const struct beside *x, struct cb_build_result *res,
                          struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = put_parts(p, &p->targets[i], x->set, err);
    return r < 0 ? r : put_top(p, x->release, x->set->v[x->set->n - 1].desc, res, err);
}

/* What keeps the tables needs nothing of the image but its name, and the tags do not wait for it. It is tried again
 * behind them: a subject may come after what refers to it (distribution-spec), but not every registry has read that. */
static int send_all(struct cb_pusher *p, struct beside *x, struct cb_build_result *res, struct cb_error *err)
{
    int r = add_rest(p, x->set, err);
    struct cb_pool *pool = cb_pool_new("beside", 2);
    if (r == 0)
        cb_pool_submit(pool, keep_tables, x);
    r = r < 0 ? r : wait_blobs(p, x, err);
    if (r == 0)
        cb_pool_submit(pool, remember, x);
    if (r == 0)
        r = send_manifests(p, x, res, err);
    if (r < 0)
        cb_pusher_stop(p);
    cb_pool_free(pool);
    if (r == 0 && !x->kept)
        keep_tables(x);
    if (r == 0 && x->remembered < 0)
        r = cb_error_move(err, &x->error);
    cb_error_done(&x->error);
    return r;
}

/* All blobs and manifests everywhere, then the tags: none moves before everything under it is known to be there. */
static int push_all(struct cb_pusher *p, const struct cb_push_set *set, struct cb_build_result *res,
                    struct cb_error *err)
{
    struct cb_release rel CB_CLEANUP(cb_release_done) = { 0 };
    struct beside beside = { .p = p, .set = set, .release = &rel, .error = CB_ERROR_INIT };
    list_tags(p, &rel);
    int r = send_all(p, &beside, res, err);
    for (size_t i = 0; r == 0 && i < p->n; i++)
        report_blobs(&p->targets[i], res);
    return r;
}

int cb_pusher_finish(struct cb_pusher *p, const struct cb_push_set *set, struct cb_build_result *res,
                     struct cb_error *err)
{
    int r = cb_pusher_early_failure(p, err);
    for (size_t i = 0; i < p->n; i++)
        cb_push_ahead(p->targets[i].push, 0);
    if (r == 0 && (r = push_all(p, set, res, err)) < 0)
        cb_error_wrap(err, "push");
    for (size_t i = 0; i < p->n; i++) {
        if (r == 0)
            cb_step_done(p->targets[i].step);
        else if (p->targets[i].begun)
            cb_step_error(p->targets[i].step, cb_error_text(err));
    }
    p->ended = true;
    return r;
}
