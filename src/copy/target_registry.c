/* SPDX-License-Identifier: Apache-2.0 */
#include <stdatomic.h>

#include "copy/private.h"
#include "util/alloc.h"

/* What a worker needs to open a blob, as long as the push lives. */
struct opening {
    struct cb_copy_source *from;
    struct cb_descriptor desc;
    const char *text; /* instead of what the source has, or NULL */
    struct opening *next;
};

struct pushing {
    struct cb_copy_target base;
    struct cb_push *push;
    pthread_mutex_t mu;
    struct opening *openings;
    atomic_bool surveyed, unknown; /* it was not known before that something is there */
};

static void show_blob(void *arg, const struct cb_digest *d, uint64_t current, uint64_t total,
                      const struct cb_push_result *done)
{
    static const char *const how[] = { " present", " mounted", "", "" };
    struct pushing *p = arg;
    struct cb_step *step = p->base.env->step;
    char text[CB_DIGEST_TEXT_MAX], id[64];
    snprintf(id, sizeof id, "%.19s", cb_digest_text(d, text));
    cb_step_status(step, id, done ? total : current, total);
    if (!done)
        return;
    cb_step_status_done(step, id);
    if (*how[done->outcome])
        cb_step_logf(step, "%s%s%s%s", id, how[done->outcome], done->mounted_from ? " from " : "",
                     done->mounted_from ? done->mounted_from : "");
    if (p->base.o.landed)
        p->base.o.landed(p->base.o.arg, d);
}

static int head(struct cb_copy_target *t, const char *tag, struct cb_descriptor *out, struct cb_error *err)
{
    return cb_push_tag_head(((struct pushing *)t)->push, tag, out, err);
}

/* ---- whether anything is there ---- */

#define FACT "pushed-to"

static char *place_key(const struct pushing *p)
{
    const struct cb_reference *ref = &p->base.o.to->ref;
    return cb_asprintf("%s/%s", ref->host, ref->repo);
}

/* Where an image was brought before, something is. */
static void survey(struct cb_copy_target *t)
{
    struct pushing *p = (struct pushing *)t;
    struct cb_strbuf known cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *key = place_key(p);
    if (atomic_exchange(&p->surveyed, true) || cb_store_fact_get(t->env->store, FACT, key, &known, NULL) == 0)
        return;
    atomic_store(&p->unknown, true);
    cb_push_survey(p->push);
}

static bool is_bare(struct cb_copy_target *t)
{
    return cb_push_is_bare(((struct pushing *)t)->push);
}

static void keep_in_mind(struct pushing *p)
{
    cb_autofree char *key = place_key(p);
    if (atomic_exchange(&p->unknown, false))
        (void)!cb_store_fact_put(p->base.env->store, FACT, key, "", NULL);
}

/* ---- blobs ---- */

static int open_blob(void *arg, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out, struct cb_error *err)
{
    struct opening *o = arg;
    if (o->text) {
        *out = cb_blob_source_from_mem(o->text, strlen(o->text));
        return 0;
    }
    return o->from->ops->blob(o->from, &o->desc, out, err);
}

static struct opening *keep_opening(struct pushing *p, struct cb_copy_source *from, const struct cb_descriptor *d)
{
    struct opening *o = CB_NEW(struct opening);
    o->from = from;
    cb_descriptor_copy(&o->desc, d);
    pthread_mutex_lock(&p->mu);
    o->next = p->openings;
    p->openings = o;
    pthread_mutex_unlock(&p->mu);
    return o;
}

/* extra: the copy does without it where it cannot be had. text: its bytes, where they are known. */
struct what {
    const struct cb_descriptor *desc;
    const char *text;
    bool extra;
};

static int add(struct cb_copy_target *t, struct cb_copy_source *from, const struct what *what, struct cb_error *err)
{
    struct cb_strvec hosts cb_cleanup_strvec = CB_STRVEC_INIT, repos cb_cleanup_strvec = CB_STRVEC_INIT;
    struct pushing *p = (struct pushing *)t;
    if (t->o.known)
        t->o.known(t->o.arg, &what->desc->digest, &hosts, &repos);
    if (from->ops->origins)
        from->ops->origins(from, &what->desc->digest, &hosts, &repos);
    struct cb_push_blob b = { .desc = *what->desc,
                              .origin_hosts = (const char *const *)hosts.v,
                              .origin_repos = (const char *const *)repos.v,
                              .n_origins = hosts.n,
                              .open = what->text || !from->ops->remote ? open_blob : NULL, .optional = what->extra };
    if (b.open) {
        struct opening *o = keep_opening(p, from, what->desc);
        o->text = what->text;
        b.arg = o;
    }
    return cb_push_add(p->push, &b, err);
}

static int add_blob(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                    struct cb_error *err)
{
    return add(t, from, &(struct what){ .desc = d }, err);
}

static void add_extra(struct cb_copy_target *t, struct cb_copy_source *from, const struct cb_descriptor *d,
                      const char *text)
{
    (void)!add(t, from, &(struct what){ d, text, true }, NULL);
}

static int put_beside(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body,
                      struct cb_error *err)
{
    return cb_push_beside(((struct pushing *)t)->push, d, body, NULL, err);
}

static int wait_blob(struct cb_copy_target *t, const struct cb_digest *d, struct cb_error *err)
{
    return cb_push_wait_blob(((struct pushing *)t)->push, d, err);
}

/* ---- manifests ---- */

/* One that refers to another is listed by the registry, or by us. */
static int put_manifest(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body,
                        bool subject CB_UNUSED, struct cb_error *err)
{
    return cb_push_manifest_blind(((struct pushing *)t)->push, d, body, NULL, err);
}

/* The engine has looked already. */
static int put_tag(struct cb_copy_target *t, const struct cb_descriptor *d, struct cb_slice body, const char *tag,
                   struct cb_error *err)
{
    struct cb_push *push = ((struct pushing *)t)->push;
    const struct cb_reference *ref = &t->o.to->ref;
    char want[CB_DIGEST_TEXT_MAX], have[CB_DIGEST_TEXT_MAX];
    if (tag) {
        int r = cb_push_manifest_blind(push, d, body, tag, err);
        if (r == 0)
            keep_in_mind((struct pushing *)t);
        return r;
    }
    if (cb_digest_is_set(&ref->digest) && !cb_digest_eq(&ref->digest, &d->digest))
        return cb_error_set(err, CB_EVERIFY, "the target asks for %s, and the source is %s",
                            cb_digest_text(&ref->digest, want), cb_digest_text(&d->digest, have));
    return cb_push_manifest_blind(push, d, body, NULL, err);
}

static size_t blobs(struct cb_copy_target *t, const struct cb_push_result **out)
{
    return cb_push_results(((struct pushing *)t)->push, out);
}

static void close_it(struct cb_copy_target *t)
{
    struct pushing *p = (struct pushing *)t;
    cb_push_free(p->push);
    for (struct opening *o = p->openings, *next; o; o = next) {
        next = o->next;
        cb_descriptor_done(&o->desc);
        free(o);
    }
    pthread_mutex_destroy(&p->mu);
    free(p);
}

static const struct cb_copy_target_ops ops = {
    .head = head, .blob = add_blob, .wait_blob = wait_blob, .manifest = put_manifest, .tag = put_tag,
    .blobs = blobs, .extra = add_extra, .beside = put_beside, .survey = survey, .bare = is_bare, .largest_first = true,
    .close = close_it,
};

int copy_target_registry(const struct cb_copy_env *env, const struct cb_copy_target_options *o,
                         struct cb_copy_target **out, struct cb_error *err)
{
    struct pushing *p = CB_NEW(struct pushing);
    p->base = (struct cb_copy_target){ &ops, env, *o };
    pthread_mutex_init(&p->mu, NULL);
    struct cb_push_options po = { .target = &o->to->ref, .jobs = env->jobs, .on_blob = show_blob, .arg = p,
                                  .keep_going = o->keep_going, .mount_first = true };
    int r = cb_push_begin(env->registry, &po, &p->push, err);
    if (r < 0)
        close_it(&p->base);
    else
        *out = &p->base;
    return r;
}
