/* SPDX-License-Identifier: Apache-2.0 */
#include "build/cache_out.h"

#include <limits.h>

#include "build/cache_out_private.h"
#include "build/failed.h"
#include "build/internal.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define WIDTH 8         /* steps at a time: most of them wait for a blob */
#define SILENCE (3 * CB_SECOND) /* who says nothing for so long is not waited for when the build has failed */
#define FRESH (24 * 3600 * CB_SECOND) /* so long an unchanged run index is good: its age says when it was used last */

/* A place of --cache-to. */
struct target {
    const struct cb_cache_spec *spec;
    struct cb_cache_place *place;
    struct cb_cache_key *key; /* signs; or NULL */
    struct cb_error error; /* the first */
    size_t put, had;
    bool told_of_loss;
};

/* Steps that were told of, each once. */
struct job {
    struct cb_cache_out *out;
    struct cb_vertex *v;
    struct cache_step *step; /* NULL: it could not be told */
    struct job *next;
};

struct cb_cache_out {
    struct cb_cache_out_options o;
    char *run;
    struct target *v;
    size_t n;
    struct cb_pool *pool;
    void (*on_written)(void *arg, struct cb_vertex *v);
    void *on_written_arg;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    struct job *jobs;
    unsigned open;    /* jobs that are not done */
    unsigned copying; /* of them, those that wait for nobody */
};

/* ---- one step to one place ---- */

static void fail(struct cb_cache_out *out, struct target *t, struct cb_error *e)
{
    pthread_mutex_lock(&out->mu);
    if (!t->error.code)
        cb_error_move(&t->error, e);
    pthread_mutex_unlock(&out->mu);
    cb_error_done(e);
}

static void count(struct cb_cache_out *out, size_t *n)
{
    pthread_mutex_lock(&out->mu);
    if (n)
        ++*n;
    pthread_mutex_unlock(&out->mu);
}

/* What a blob of a step is opened by, as long as its place is open. */
static int open_blob(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err)
{
    const struct cache_step *x = arg;
    for (uint32_t i = 0; i < x->set.n_layers; i++) {
        const struct cb_cache_layer *layer = &x->set.layers[i];
        if (cb_digest_eq(&layer->blob.digest, d))
            return cb_slot_source(x->slots[i], d, out, err);
        if (cb_digest_eq(&layer->toc, d))
            return cache_step_table(x, i, out, err);
    }
    return cb_error_set(err, CB_EINTERNAL, "a blob that the step does not have");
}

struct origins {
    const char **hosts, **repos;
    size_t n;
};

static void add_origin(struct origins *o, const char *host, const char *repo)
{
    if (!host)
        return;
    o->hosts = cb_reallocarray(o->hosts, o->n + 1, sizeof *o->hosts);
    o->repos = cb_reallocarray(o->repos, o->n + 1, sizeof *o->repos);
    o->hosts[o->n] = host;
    o->repos[o->n++] = repo;
}

static int add_blob(const struct target *t, struct cache_step *x, const struct cb_descriptor *d,
                    const struct origins *from, struct cb_error *err)
{
    struct cb_push_blob b = { .desc = *d, .open = open_blob, .arg = x, .origin_hosts = from->hosts,
                              .origin_repos = from->repos, .n_origins = from->n };
    return t->place->ops->add(t->place, &b, err);
}

/* What goes to an image in the same registry is sent there, and mounted here. */
static void wait_for_push(const struct cb_cache_out *out, const struct target *t, const struct cache_step *x,
                          uint32_t at, struct origins *from)
{
    const char *repo = NULL;
    if (!out->o.pusher || !t->place->host || !x->v->state->in_result)
        return;
    repo = cb_pusher_wait_layer(out->o.pusher, x->slots[at], &x->set.layers[at].blob.digest, t->place->host);
    add_origin(from, repo ? t->place->host : NULL, repo);
}

static int add_layer(const struct cb_cache_out *out, const struct target *t, struct cache_step *x, uint32_t at,
                     struct cb_error *err)
{
    const struct cb_cache_layer *l = &x->set.layers[at];
    const struct cb_cache_place *used = x->from[at];
    struct origins from = { 0 }, toc_from = { 0 };
    struct cb_layer known cb_cleanup_layer = { 0 };
    struct cb_descriptor d = { .media_type = l->blob.media_type, .digest = l->blob.digest, .size = l->blob.size };
    struct cb_descriptor toc = { .media_type = (char *)(uintptr_t)CB_MT_TOC, .digest = l->toc, .size = l->toc_size };
    bool has_blob = cb_digest_is_set(&d.digest);
    cb_slot_layer(x->slots[at], &known);
    if (has_blob)
        wait_for_push(out, t, x, at, &from);
    for (size_t i = 0; i < known.n_origins; i++)
        if (cb_digest_eq(&known.origins[i].digest, &d.digest))
            add_origin(&from, known.origins[i].host, known.origins[i].repo);
    if (used)
        add_origin(&toc_from, used->host, used->repo);
    int r = has_blob ? add_blob(t, x, &d, &from, err) : 0;
    if (r == 0 && cb_digest_is_set(&toc.digest) && !l->toc_data)
        r = add_blob(t, x, &toc, &toc_from, err);
    free(from.hosts);
    free(from.repos);
    free(toc_from.hosts);
    free(toc_from.repos);
    return r;
}

/* As the place has it: signed by the key that is used there. */
static int add_record(const struct target *t, const struct cache_step *x, struct cb_cache_set *to, struct cb_error *err)
{
    struct cb_cache_step *step = cb_cache_set_copy(to, &x->set, &x->set.steps[0]);
    return step && t->key ? cb_cache_sign(t->key, to, step, err) : 0;
}

/* Whether it takes the place of what is there: that is no good, or was not to be used, so the step was run again. */
static bool is_anew(const struct cb_cache_out *out, const struct target *t, const struct cb_vertex *v)
{
    const struct cb_build_options *o = out->o.o;
    return cb_cache_in_state(out->o.in, t->place, &v->state->key) == CB_CACHE_BAD ||
           (v->state->executed && (o->no_cache || v->state->anew || o->cache_ttl > 0));
}

/* Where that failed for want of something, a table that a cache told of may be in no cache any more: whether it can do
 * without. Of a cache that does not answer nothing more is asked. */
static bool drop_lost(struct cb_cache_out *out, struct target *t, struct cache_step *x, int r)
{
    if (r != -CB_ENOTFOUND || !x || !cache_step_drop_lost(x, t->place))
        return false;
    pthread_mutex_lock(&out->mu);
    bool told = t->told_of_loss;
    t->told_of_loss = true;
    pthread_mutex_unlock(&out->mu);
    if (!told)
        cb_progress_note(out->o.env->progress, true, "warning: tables of contents of layers are lost: the cache in %s "
                         "is written without them", t->place->text);
    return true;
}

/* Its layers, and then what names them. */
static int bring_step(struct cb_cache_out *out, struct target *t, struct cache_step *x, bool anew, struct cb_error *err)
{
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    const struct cb_cache_step *step = &x->set.steps[0];
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    struct cb_cache_artifact_options ao = { .set = &set, .type = CB_MT_CACHE_STEP, .layers = x->own,
                                            .n_layers = x->n_own, .created = step->created };
    char hex[CB_DIGEST_TEXT_MAX];
    int r = 0;
    for (size_t i = 0; r == 0 && i < x->n_own; i++)
        r = add_layer(out, t, x, x->own[i], err);
    if (r == 0)
        r = add_record(t, x, &set, err);
    if (r == 0)
        r = cb_cache_artifact_make(&a, &ao, err);
    return r < 0 ? r : t->place->ops->put(t->place, cb_digest_hex(&step->key, hex), &a, anew, err);
}

static int put_step(struct cb_cache_out *out, struct target *t, struct cache_step *x, struct cb_error *err)
{
    struct cb_error first cb_cleanup_error = CB_ERROR_INIT;
    char hex[CB_DIGEST_TEXT_MAX];
    bool anew = is_anew(out, t, x->v);
    int r = anew ? 0 : t->place->ops->exists(t->place, cb_digest_hex(&x->set.steps[0].key, hex), err);
    if (r != 0) {
        count(out, r > 0 ? &t->had : NULL);
        return CB_MIN(r, 0);
    }
    r = bring_step(out, t, x, anew, &first);
    if (drop_lost(out, t, x, r))
        r = bring_step(out, t, x, anew, err);
    else if (r < 0)
        r = cb_error_move(err, &first);
    count(out, r == 0 ? &t->put : NULL);
    return r;
}

static bool wants(const struct target *t, const struct cb_vertex *v)
{
    return t->spec->all_steps || v->state->in_result;
}

static void set_copying(struct cb_cache_out *out, const struct target *t, bool begins)
{
    pthread_mutex_lock(&out->mu);
    if (!t->place->ops->heard && begins)
        out->copying++;
    else if (!t->place->ops->heard)
        out->copying--;
    pthread_mutex_unlock(&out->mu);
}

static void put_everywhere(struct cb_cache_out *out, struct job *j)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    for (size_t i = 0; i < out->n; i++) {
        struct target *t = &out->v[i];
        if (!wants(t, j->v) || (cb_cache_in_state(out->o.in, t->place, &j->v->state->key) == CB_CACHE_GOOD &&
                                !is_anew(out, t, j->v)))
            continue;
        set_copying(out, t, true);
        if (put_step(out, t, j->step, &e) < 0) {
            cb_error_wrap(&e, "%s", j->v->note ? j->v->note : "a step");
            fail(out, t, &e);
        }
        set_copying(out, t, false);
    }
}

static void run_job(void *arg)
{
    struct job *j = arg;
    struct cb_cache_out *out = j->out;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    j->step = cache_describe(&out->o, j->v, &e);
    if (j->step)
        put_everywhere(out, j);
    for (size_t i = 0; !j->step && i < out->n; i++) {
        struct cb_error copy cb_cleanup_error = CB_ERROR_INIT;
        cb_error_copy(&copy, &e);
        fail(out, &out->v[i], &copy);
    }
    if (out->on_written)
        out->on_written(out->on_written_arg, j->v);
    pthread_mutex_lock(&out->mu);
    out->open--;
    pthread_cond_broadcast(&out->cond);
    pthread_mutex_unlock(&out->mu);
}

struct cb_cache_place *cb_cache_out_claims(struct cb_cache_out *out, const struct cb_vertex *v,
                                           const struct cb_cache_spec **spec)
{
    for (size_t i = 0; i < out->n; i++) {
        const struct target *t = &out->v[i];
        if (t->spec->no_claim || !wants(t, v) || !cb_cache_in_reads(out->o.in, t->place))
            continue;
        *spec = t->spec;
        return t->place;
    }
    return NULL;
}

void cb_cache_out_on_written(struct cb_cache_out *out, void (*fn)(void *arg, struct cb_vertex *v), void *arg)
{
    out->on_written = fn;
    out->on_written_arg = arg;
}

void cb_cache_out_drain(struct cb_cache_out *out)
{
    if (out)
        cb_pool_free(CB_TAKE(out->pool));
}

static int64_t last_heard(const struct cb_cache_out *out)
{
    int64_t last = out->o.pusher ? cb_pusher_heard(out->o.pusher) : 0;
    for (size_t i = 0; i < out->n; i++) {
        const struct cb_cache_place *p = out->v[i].place;
        last = CB_MAX(last, p->ops->heard ? p->ops->heard(p) : 0);
    }
    return last;
}

/* Until all is written, or nothing has moved for a while. */
static void wait_while_heard(struct cb_cache_out *out)
{
    int64_t begun = cb_time_monotonic();
    pthread_mutex_lock(&out->mu);
    while (out->open) {
        int64_t now = cb_time_monotonic(), last = out->copying ? now : CB_MAX(begun, last_heard(out));
        if (now - last >= SILENCE || cb_canceled(out->o.env->cancel))
            break;
        int64_t until = now + CB_MIN(last + SILENCE - now, CB_SECOND / 10);
        struct timespec ts = { .tv_sec = until / CB_SECOND, .tv_nsec = until % CB_SECOND };
        (void)pthread_cond_clockwait(&out->cond, &out->mu, CLOCK_MONOTONIC, &ts);
    }
    pthread_mutex_unlock(&out->mu);
}

void cb_cache_out_stop(struct cb_cache_out *out)
{
    if (!out)
        return;
    wait_while_heard(out);
    if (out->o.pusher)
        cb_pusher_stop(out->o.pusher);
    for (size_t i = 0; i < out->n; i++)
        if (out->v[i].place->ops->stop)
            out->v[i].place->ops->stop(out->v[i].place);
    cb_cache_out_drain(out);
}

void cb_cache_out_step(struct cb_cache_out *out, struct cb_vertex *v)
{
    bool wanted = false;
    v = v->state->vertex;
    for (size_t i = 0; i < out->n && !v->state->unsure; i++)
        wanted = wanted || wants(&out->v[i], v);
    pthread_mutex_lock(&out->mu);
    for (const struct job *j = out->jobs; wanted && j; j = j->next)
        wanted = j->v != v;
    struct job *j = wanted ? CB_NEW(struct job) : NULL;
    if (j) {
        *j = (struct job){ .out = out, .v = v, .next = out->jobs };
        out->jobs = j;
        out->open++;
    }
    pthread_mutex_unlock(&out->mu);
    if (j)
        cb_pool_submit(out->pool, run_job, j);
}

/* ---- the end ---- */

static struct cache_step *step_of(const struct cb_cache_out *out, const struct cb_vertex *v)
{
    for (const struct job *j = out->jobs; j; j = j->next)
        if (j->v == v)
            return j->step;
    return NULL;
}

/* In the order of the plan: the same build gives the same index. */
static int gather(const struct cb_cache_out *out, const struct target *t, const struct cb_plan *plan,
                  struct cb_cache_set *set, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < plan->n; i++) {
        const struct cb_vertex *v = plan->vertices[i];
        const struct cache_step *x = v->state->vertex == v && wants(t, v) ? step_of(out, v) : NULL;
        if (x)
            r = add_record(t, x, set, err);
    }
    return r;
}

/* Whether there is another thing under the name of the run index, or the same: then nothing is written. */
static int look_at_run(const struct target *t, const struct cb_cache_artifact *a, bool *same, struct cb_error *err)
{
    struct cb_cache_artifact old cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int64_t when = 0;
    int r = t->place->ops->get(t->place, t->place->run, &body, &e);
    if (r < 0)
        return r == -CB_ENOTFOUND ? 0 : cb_error_move(err, &e);
    if (cb_cache_artifact_parse(&old, body.buf, body.len, NULL) < 0 ||
        strcmp(old.manifest.artifact_type, CB_MT_CACHE_RUN))
        return cb_error_set(err, CB_ECONF, "the tag %s is no cache, and is left as it is: name another one",
                            t->place->run);
    const char *created = cb_strmap_get(&old.manifest.annotations, "org.opencontainers.image.created");
    *same = cb_digest_eq(&old.manifest.config.digest, &a->manifest.config.digest) && created &&
            cb_time_parse(created, &when) && when > cb_time_now() - FRESH;
    return 0;
}

/* Steps that were there already have brought no blobs: the place is asked whether it still has them. All of a step's
 * layers, not its own alone: its record may tell of one below in another compression than that one's own record. */
static int add_present(const struct cb_cache_out *out, const struct target *t, const struct cb_plan *plan,
                       struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < plan->n; i++) {
        const struct cb_vertex *v = plan->vertices[i];
        struct cache_step *x = v->state->vertex == v && wants(t, v) ? step_of(out, v) : NULL;
        for (uint32_t k = 0; r == 0 && x && k < x->set.n_layers; k++)
            r = add_layer(out, t, x, k, err);
    }
    return r;
}

static int bring_run(struct cb_cache_out *out, struct target *t, const struct cb_plan *plan, struct cb_error *err)
{
    struct cb_cache_set set cb_cleanup_cache_set = { 0 };
    struct cb_cache_artifact a cb_cleanup_cache_artifact = CB_CACHE_ARTIFACT_INIT;
    bool same = false;
    int r = gather(out, t, plan, &set, err);
    if (r < 0 || set.n_steps == 0)
        return r;
    struct cb_cache_artifact_options ao = { .set = &set, .type = CB_MT_CACHE_RUN, .created = cb_time_now() };
    r = cb_cache_artifact_make(&a, &ao, err);
    if (r == 0)
        r = look_at_run(t, &a, &same, err);
    if (r < 0 || same)
        return r;
    r = add_present(out, t, plan, err);
    return r < 0 ? r : t->place->ops->put(t->place, t->place->run, &a, true, err);
}

static int put_run(struct cb_cache_out *out, struct target *t, const struct cb_plan *plan, struct cb_error *err)
{
    struct cb_error first cb_cleanup_error = CB_ERROR_INIT;
    bool dropped = false;
    int r = bring_run(out, t, plan, &first);
    for (const struct job *j = out->jobs; j; j = j->next)
        dropped = (wants(t, j->v) && drop_lost(out, t, j->step, r)) || dropped;
    if (dropped)
        return bring_run(out, t, plan, err);
    return r < 0 ? cb_error_move(err, &first) : 0;
}

static void end_target(struct cb_cache_out *out, struct target *t, const struct cb_plan *plan)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *name = cb_asprintf("[internal] writing the cache in %s", t->place->text);
    struct cb_step *step = cb_step_new(out->o.env->progress, name);
    cb_step_begin(step);
    if (!t->error.code && put_run(out, t, plan, &e) < 0)
        fail(out, t, &e);
    cb_step_logf(step, "%zu steps written, %zu were there", t->put, t->had);
    if (!t->error.code) {
        cb_step_done(step);
    } else if (t->spec->ignore_error) {
        cb_step_warn(step, "not all was written: %s", cb_error_text(&t->error));
        cb_step_done(step);
    } else {
        cb_step_error(step, cb_error_text(&t->error));
    }
}

int cb_cache_out_finish(struct cb_cache_out *out, const struct cb_plan *plan, struct cb_error *err)
{
    int r = 0;
    if (!out)
        return 0;
    for (size_t i = 0; i < plan->n; i++) {
        struct cb_vertex *v = plan->vertices[i];
        struct cb_solve_state *st = v->state;
        if (v->kind == CB_VERTEX_SOURCE || st->vertex != v)
            continue;
        if (st->executed || st->done || st->hit || cb_look_up(st->solver, v))
            cb_cache_out_step(out, v);
    }
    cb_pool_free(CB_TAKE(out->pool));
    for (size_t i = 0; i < out->n; i++) {
        struct target *t = &out->v[i];
        end_target(out, t, plan);
        if (r == 0 && t->error.code && !t->spec->ignore_error) {
            r = cb_error_copy(err, &t->error);
            cb_error_wrap(err, "the image is made, but the cache in %s could not be written", t->place->text);
        }
    }
    return r;
}

/* ---- opening ---- */

static int check_spec(const struct cb_cache_out_options *o, const struct cb_cache_spec *spec, struct cb_error *err)
{
    bool other = spec->format.compression != o->format.compression || spec->format.chunked != o->format.chunked;
    if (spec->compression_set && other)
        return cb_error_set(err, CB_EUSAGE, "--cache-to %s: the cache has layers as the image has them: say "
                            "--output …,compression=… instead", spec->text);
    if (spec->format.level != CB_LEVEL_DEFAULT && spec->format.level != o->format.level)
        return cb_error_set(err, CB_EUSAGE, "--cache-to %s: the cache has layers as the image has them: say "
                            "--compression-level instead", spec->text);
    return 0;
}

/* What others wrote, and nobody has vouched for, would be signed with the rest. */
static int check_trust(const struct cb_build_options *o, const struct cb_cache_spec *spec, struct cb_error *err)
{
    for (size_t i = 0; spec->key_file && i < o->n_cache_from; i++)
        if (!o->cache_from[i].key_file)
            return cb_error_set(err, CB_EUSAGE, "--cache-to %s signs what comes of --cache-from %s: give that a "
                                "verify-key=FILE, or leave it out", spec->text, o->cache_from[i].text);
    return 0;
}

static int open_target(struct cb_cache_out *x, const struct cb_cache_spec *spec, struct cb_error *err)
{
    struct target *t = &x->v[x->n];
    struct cb_cache_place_options po = { .spec = spec, .run = x->run, .registry = x->o.env->registry,
                                         .cancel = x->o.env->cancel, .write = true };
    int r = check_spec(&x->o, spec, err);
    if (r == 0)
        r = check_trust(x->o.o, spec, err);
    if (r < 0 || spec->type == CB_CACHE_INLINE)
        return r;
    x->n++;
    t->spec = spec;
    if (spec->key_file && (r = cb_cache_key_read(spec->key_file, true, &t->key, err)) < 0)
        return cb_error_wrap(err, "--cache-to");
    return cb_cache_place_open(&po, &t->place, err);
}

int cb_cache_out_open(const struct cb_cache_out_options *o, struct cb_cache_out **out, struct cb_error *err)
{
    CB_AUTO(cb_cache_out_free) struct cb_cache_out *x = CB_NEW(struct cb_cache_out);
    int r = 0;
    x->o = *o;
    x->o.run = x->run = cb_strdup(o->run);
    x->v = cb_calloc(o->o->n_cache_to + 1, sizeof *x->v);
    pthread_mutex_init(&x->mu, NULL);
    pthread_cond_init(&x->cond, NULL);
    for (size_t i = 0; r == 0 && i < o->o->n_cache_to; i++)
        r = open_target(x, &o->o->cache_to[i], err);
    if (r == 0 && x->n)
        x->pool = cb_pool_new("cache-out", WIDTH);
    *out = r == 0 && x->n ? CB_TAKE(x) : NULL;
    return r;
}

/* Places first: uploads open what steps have. */
void cb_cache_out_free(struct cb_cache_out *out)
{
    if (!out)
        return;
    cb_pool_free(out->pool);
    for (size_t i = 0; i < out->n; i++) {
        cb_cache_place_close(out->v[i].place);
        cb_cache_key_free(out->v[i].key);
        cb_error_done(&out->v[i].error);
    }
    while (out->jobs) {
        struct job *j = out->jobs;
        out->jobs = j->next;
        cache_step_free(j->step);
        free(j);
    }
    free(out->v);
    free(out->run);
    pthread_cond_destroy(&out->cond);
    pthread_mutex_destroy(&out->mu);
    free(out);
}
