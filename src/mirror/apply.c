/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/private.h"
#include "util/alloc.h"

struct run {
    const struct cb_copy_env *env;
    const struct cb_mirror_options *o;
    struct cb_mirror_plan *plan;
    struct mirror_bundle *bundle; /* or NULL */
    bool may_delete;
    size_t deletes;
    pthread_mutex_t mu;
    struct cb_hashmap *where; /* digest of a blob → struct cb_strvec: host and repo by turns */
};
struct pair_run {
    struct run *run;
    struct cb_mirror_pair *p;
    struct cb_copy_source *from;
    struct cb_copy_target *to;
    char *prefix;
};

/* ---- blobs that this run has seen at a target: the next repository there mounts them ---- */

static void blob_landed(void *arg, const struct cb_digest *d)
{
    struct pair_run *x = arg;
    char text[CB_DIGEST_TEXT_MAX];
    cb_digest_text(d, text);
    pthread_mutex_lock(&x->run->mu);
    struct cb_strvec *v = cb_hashmap_get(x->run->where, text);
    if (!v) {
        v = CB_NEW(struct cb_strvec);
        cb_hashmap_put(x->run->where, text, v);
    }
    if (v->n < 8) {
        cb_strvec_push(v, x->p->target.ref.host);
        cb_strvec_push(v, x->p->target.ref.repo);
    }
    pthread_mutex_unlock(&x->run->mu);
}

static void blob_known(void *arg, const struct cb_digest *d, struct cb_strvec *hosts, struct cb_strvec *repos)
{
    struct pair_run *x = arg;
    char text[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&x->run->mu);
    const struct cb_strvec *v = cb_hashmap_get(x->run->where, cb_digest_text(d, text));
    for (size_t i = 0; v && i + 1 < v->n; i += 2)
        if (!strcmp(v->v[i], x->p->target.ref.host)) {
            cb_strvec_push(hosts, v->v[i]);
            cb_strvec_push(repos, v->v[i + 1]);
        }
    pthread_mutex_unlock(&x->run->mu);
}

static void where_free(struct cb_hashmap *m)
{
    size_t it = 0;
    const char *key;
    void *value;
    while (cb_hashmap_next(m, &it, &key, &value)) {
        cb_strvec_done(value);
        free(value);
    }
    cb_hashmap_free(m);
}

/* ---- whether the plan still holds ---- */

static int moved(const struct cb_mirror_pair *p, const struct cb_mirror_tag *t, bool source, struct cb_error *err)
{
    return cb_error_set(err, CB_EVERIFY, "%s:%s is not what it was when the plan was made: plan again, or --force",
                        source ? p->source.text : p->target.text, t->tag);
}

static int check_source(const struct pair_run *x, const struct cb_mirror_tag *t, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_reference_copy(&ref, &x->p->source.ref);
    ref.tag = cb_strdup(t->tag);
    int r = cb_registry_head(x->run->env->registry, &ref, &d, &e);
    if (r < 0 && r != -CB_ENOTFOUND)
        return cb_error_move(err, &e);
    bool same = t->action == CB_MIRROR_DELETE ? r < 0 : r == 0 && cb_digest_eq(&d.digest, &t->source);
    return same ? 0 : moved(x->p, t, true, err);
}

/* 1: it was done before. */
static int check_target(const struct pair_run *x, const struct cb_mirror_tag *t, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_copy_target_head(x->to, t->tag, &d, &e);
    if (r < 0 && r != -CB_ENOTFOUND)
        return cb_error_move(err, &e);
    bool deleted = t->action == CB_MIRROR_DELETE;
    if (deleted ? r < 0 : t->action == CB_MIRROR_COPY && cb_digest_eq(&d.digest, &t->result))
        return 1;
    bool same = cb_digest_is_set(&t->target) ? cb_digest_eq(&d.digest, &t->target) : !cb_digest_is_set(&d.digest);
    return same ? 0 : moved(x->p, t, false, err);
}

static int check(const struct pair_run *x, const struct cb_mirror_tag *t, struct cb_error *err)
{
    if (x->run->o->fresh || x->run->o->force || x->run->bundle)
        return 0;
    int r = check_target(x, t, err);
    return r != 0 ? r : check_source(x, t, err);
}

/* ---- one tag ---- */

static int do_delete(struct pair_run *x, const struct cb_mirror_tag *t, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (x->run->bundle)
        return cb_error_set(err, CB_EUSAGE, "a bundle deletes nothing");
    if (!x->run->may_delete)
        return cb_error_set(err, CB_ECONF, "%zu tags would be deleted, and --max-delete is %llu: nothing is deleted",
                            x->run->deletes, (unsigned long long)x->run->o->max_delete);
    cb_reference_copy(&ref, &x->p->target.ref);
    ref.tag = cb_strdup(t->tag);
    return cb_registry_tag_delete(x->run->env->registry, &ref, err);
}

static int do_copy(struct pair_run *x, struct cb_mirror_tag *t, struct cb_error *err)
{
    struct cb_copy_result res cb_cleanup_copy_result = { 0 };
    bool follow_tag = x->run->o->force; /* what is there now, whatever the plan says */
    struct cb_copy_options o = { .tag = follow_tag ? t->tag : NULL,
                                 .digest = follow_tag ? (struct cb_digest){ 0 } : t->source,
                                 .manifest = follow_tag ? NULL : t->manifest,
                                 .to_tag = t->tag,
                                 .platforms = x->p->platforms,
                                 .n_platforms = x->p->n_platforms,
                                 .referrers = x->p->referrers && cb_digest_is_set(&t->referrers),
                                 .blind = t->action == CB_MIRROR_COPY };
    int r = cb_copy_image(x->from, x->to, &o, &res, err);
    cb_copy_manifest_free(CB_TAKE(t->manifest));
    if (r == 0 && !follow_tag && !cb_digest_eq(&res.to.digest, &t->result))
        return cb_error_set(err, CB_EVERIFY, "it came out otherwise than planned");
    if (r == 0)
        t->result = res.to.digest;
    if (r == 0 && !x->run->bundle && !follow_tag)
        mirror_watch_keep(x->run->env, x->p, t);
    return r;
}

static int do_tag(void *arg, size_t i, struct cb_error *err)
{
    struct pair_run *x = arg;
    struct cb_mirror_tag *t = &x->p->v[i];
    if (t->action == CB_MIRROR_SKIP || t->outcome == CB_MIRROR_FAILED)
        return 0;
    int r = cb_cancel_check(x->run->env->cancel, &t->error);
    if (r == 0)
        r = check(x, t, &t->error);
    bool before = r == 1;
    if (r == 0)
        r = t->action == CB_MIRROR_DELETE ? do_delete(x, t, &t->error) : do_copy(x, t, &t->error);
    t->outcome = r < 0 ? CB_MIRROR_FAILED : before ? CB_MIRROR_CURRENT : CB_MIRROR_DONE;
    if (x->run->o->told)
        x->run->o->told(x->run->o->arg, x->p, t);
    return r == -CB_ECANCELED ? cb_error_copy(err, &t->error) : 0;
}

/* ---- one target ---- */

static bool has_work(const struct cb_mirror_pair *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->v[i].action != CB_MIRROR_SKIP && p->v[i].outcome != CB_MIRROR_FAILED)
            return true;
    return false;
}

static int open_target(struct pair_run *x, struct cb_error *err)
{
    struct run *run = x->run;
    struct cb_copy_target_options o = { .to = &x->p->target, .keep_going = true, .known = blob_known,
                                        .landed = blob_landed, .arg = x };
    x->prefix = cb_asprintf("%s/%s:", x->p->target.ref.host, x->p->target.ref.repo);
    if (run->bundle)
        o = (struct cb_copy_target_options){ .to = mirror_bundle_place(run->bundle), .keep_going = true,
                                             .prefix = x->prefix, .elsewhere = mirror_bundle_lacks,
                                             .arg = run->bundle };
    return cb_copy_target_open(run->env, &o, &x->to, err);
}

static int do_pair(struct run *run, struct cb_mirror_pair *p, struct cb_error *err)
{
    struct pair_run x = { .run = run, .p = p };
    if (p->error.code || !has_work(p))
        return 0;
    int r = cb_copy_source_open(run->env, &p->source, &x.from, &p->error);
    if (r == 0)
        r = open_target(&x, &p->error);
    if (r == 0)
        r = cb_copy_each(p->n, cb_push_width(run->env->jobs), do_tag, &x, err);
    bool canceled = r == -CB_ECANCELED;
    if (r == 0)
        r = cb_copy_target_finish(x.to, &p->error);
    cb_copy_target_close(x.to);
    cb_copy_source_close(x.from);
    free(x.prefix);
    return canceled ? -CB_ECANCELED : 0;
}

/* ---- all ---- */

struct worst {
    size_t n, failed;
    const struct cb_error *error;
};

static void weigh(struct worst *w, const struct cb_error *e)
{
    w->failed++;
    if (!w->error || cb_error_exit_code(e) > cb_error_exit_code(w->error))
        w->error = e;
}

int cb_mirror_worst(const struct cb_mirror_plan *p, struct cb_error *err)
{
    struct worst w = { 0 };
    for (size_t i = 0; i < p->n; i++) {
        const struct cb_mirror_pair *x = &p->v[i];
        w.n += x->n + (x->error.code != 0);
        if (x->error.code)
            weigh(&w, &x->error);
        for (size_t k = 0; k < x->n; k++)
            if (x->v[k].outcome == CB_MIRROR_FAILED)
                weigh(&w, &x->v[k].error);
    }
    if (!w.failed)
        return 0;
    cb_error_copy(err, w.error);
    return cb_error_wrap(err, "%zu of %zu failed, the worst", w.failed, w.n);
}

int cb_mirror_apply(const struct cb_copy_env *env, struct cb_mirror_plan *p, const struct cb_mirror_options *o,
                    struct cb_error *err)
{
    CB_AUTO(mirror_bundle_free) struct mirror_bundle *bundle = NULL;
    struct run run = { .env = env, .o = o, .plan = p, .deletes = cb_mirror_plan_count(p, CB_MIRROR_DELETE) };
    int r = o->bundle ? mirror_bundle_open(env, o, &bundle, err) : 0;
    if (r < 0)
        return r;
    run.bundle = bundle;
    run.may_delete = run.deletes <= o->max_delete;
    run.where = cb_hashmap_new();
    pthread_mutex_init(&run.mu, NULL);
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = do_pair(&run, &p->v[i], err);
    if (r == 0 && bundle)
        r = mirror_bundle_finish(bundle, err);
    where_free(run.where);
    pthread_mutex_destroy(&run.mu);
    return r < 0 ? r : cb_mirror_worst(p, err);
}
