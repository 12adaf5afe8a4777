/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be done. A source that is a list of exact tags costs nothing but one HEAD a tag; any other filter,
 * `delete` and referrers a list of the source's tags (a request for a thousand). Each tag costs a HEAD at every target,
 * unless that has none: this is asked once where nothing was ever brought there, and then a GET takes the place of the
 * source's HEAD, for what will be copied at once.
 * What refers to an image or to a part of it costs a HEAD a list or cosign's tag that is there; at a registry with the
 * referrers API, which lists no more than one subject at a time, a GET for each image and part, however many tags and
 * targets have it. `platforms` and referrers cost a GET for an index that was not seen before, `by: created` two or
 * three a tag, what is to be deleted a HEAD at the source. */
#include <stdatomic.h>

#include "mirror/private.h"
#include "oci/mediatype.h"
#include "util/alloc.h"

#define FACT "mirror-parts"
#define KEPT_MAX (4u << 20)

void cb_mirror_plan_done(struct cb_mirror_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        struct cb_mirror_pair *x = &p->v[i];
        for (size_t k = 0; k < x->n; k++) {
            free(x->v[k].tag);
            cb_error_done(&x->v[k].error);
            cb_copy_manifest_free(x->v[k].manifest);
        }
        free(x->v);
        cb_place_done(&x->source);
        cb_place_done(&x->target);
        cb_platforms_free(x->platforms, x->n_platforms);
        cb_error_done(&x->error);
    }
    free(p->v);
    *p = (struct cb_mirror_plan){ 0 };
}

size_t cb_mirror_plan_count(const struct cb_mirror_plan *p, enum cb_mirror_action a)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++)
        for (size_t k = 0; k < p->v[i].n; k++)
            n += p->v[i].v[k].action == a && p->v[i].v[k].outcome != CB_MIRROR_FAILED;
    return n;
}

struct cb_mirror_tag *mirror_plan_add(struct cb_mirror_pair *p, const char *tag)
{
    CB_GROW(p->v, p->n, p->cap);
    struct cb_mirror_tag *t = &p->v[p->n++];
    *t = (struct cb_mirror_tag){ .tag = cb_strdup(tag), .reason = mirror_reason("not looked at") };
    return t;
}

/* ---- a source ---- */

struct looked {
    struct cb_digest digest; /* NONE: not there */
    bool index;
    struct cb_error error;
    struct cb_copy_manifest *manifest; /* or NULL */
};
/* Of a whole plan. */
struct planning {
    struct cb_mirror_plan *plan;
    bool at_once;
    atomic_size_t kept; /* bytes of manifests */
};
struct target_state {
    struct cb_copy_target *target; /* or NULL, and why */
    struct cb_error error;
};
struct source_state {
    const struct cb_copy_env *env;
    const struct mirror_entry *e;
    struct planning *planning;
    struct target_state *targets; /* parallel to the entry's */
    struct cb_strvec all, chosen;
    bool listed;
    bool whole; /* manifests, and not only their digests: there is a target that has none yet */
    struct looked *v;     /* parallel to chosen */
    int64_t *created;     /* parallel to all; INT64_MIN: not asked */
    struct mirror_watch watch;
};

static void source_reference(const struct source_state *s, const char *tag, struct cb_reference *out)
{
    cb_reference_copy(out, &s->e->source.ref);
    out->tag = cb_strdup(tag);
}

static int look_at_head(struct source_state *s, const struct cb_reference *ref, struct looked *out)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    int r = cb_registry_head(s->env->registry, ref, &d, &out->error);
    out->digest = d.digest;
    out->index = r == 0 && cb_mt_is_index(d.media_type);
    return r;
}

/* It is not asked for again when it is copied. */
static int look_at_whole(struct source_state *s, const struct cb_reference *ref, struct looked *out)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int r = cb_registry_manifest(s->env->registry, ref, &f, &out->error);
    if (r < 0)
        return r;
    out->digest = f.desc.digest;
    out->index = cb_mt_is_index(f.desc.media_type);
    if (atomic_fetch_add(&s->planning->kept, f.body.len) + f.body.len > KEPT_MAX)
        return 0;
    out->manifest = CB_NEW(struct cb_copy_manifest);
    cb_descriptor_copy(&out->manifest->desc, &f.desc);
    out->manifest->body = (struct cb_strbuf)CB_STRBUF_INIT;
    cb_strbuf_add(&out->manifest->body, f.body.buf, f.body.len); /* what was read may have room for much more */
    return 0;
}

static int look_at_source(void *arg, size_t i, struct cb_error *err)
{
    struct source_state *s = arg;
    struct cb_reference ref cb_cleanup_reference = { 0 };
    int r = cb_cancel_check(s->env->cancel, err);
    if (r < 0)
        return r;
    source_reference(s, s->chosen.v[i], &ref);
    r = s->whole ? look_at_whole(s, &ref, &s->v[i]) : look_at_head(s, &ref, &s->v[i]);
    if (r == -CB_ENOTFOUND)
        cb_error_done(&s->v[i].error);
    return 0;
}

/* When the image was made; of an index, its first. */
static int ask_created(void *arg, size_t i, struct cb_error *err)
{
    struct source_state *s = arg;
    if (!mirror_filter_takes(&s->e->filter, s->all.v[i]) || mirror_is_digest_tag(s->all.v[i]))
        return 0;
    CB_AUTO(cb_copy_source_close) struct cb_copy_source *from = NULL;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_copy_source_open(s->env, &s->e->source, &from, &e);
    if (r == 0)
        r = cb_copy_when_created(from, s->all.v[i], &s->created[i], &e);
    if (r == 0 || r == -CB_ENOTFOUND) /* a tag that is gone, and listed all the same, comes last */
        return 0;
    cb_error_wrap(&e, "%s", s->all.v[i]);
    return cb_error_move(err, &e);
}

static int tell_created(void *arg, const char *tag, int64_t *when, struct cb_error *err)
{
    struct source_state *s = arg;
    for (size_t i = 0; i < s->all.n; i++)
        if (!strcmp(s->all.v[i], tag)) {
            *when = s->created[i];
            return 0;
        }
    return cb_error_set(err, CB_EINTERNAL, "%s was not asked for", tag);
}

static int list_source(struct source_state *s, struct cb_error *err)
{
    struct cb_list_options o = { 0 };
    const struct mirror_entry *e = s->e;
    struct cb_error error cb_cleanup_error = CB_ERROR_INIT;
    bool needed = !mirror_filter_is_exact(&e->filter) || e->deletes;
    if (!needed && !e->referrers)
        return 0;
    int r = cb_registry_tags(s->env->registry, e->source.ref.host, e->source.ref.repo, &o, &s->all, &error);
    s->listed = r == 0;
    /* For referrers it only saves questions. */
    return r < 0 && (needed || r == -CB_ECANCELED) ? cb_error_move(err, &error) : 0;
}

static bool has_bare_target(const struct source_state *s)
{
    for (size_t i = 0; i < s->e->n_targets; i++)
        if (s->targets[i].target && cb_copy_target_is_bare(s->targets[i].target))
            return true;
    return false;
}

static int read_source(struct source_state *s, struct cb_error *err)
{
    struct mirror_chooser c = { tell_created, s };
    const struct mirror_filter *f = &s->e->filter;
    int r = list_source(s, err);
    s->created = cb_calloc(s->all.n + 1, sizeof *s->created);
    if (r == 0 && f->newest && f->by == MIRROR_BY_CREATED)
        r = cb_copy_each(s->all.n, cb_push_width(s->env->jobs), ask_created, s, err);
    if (r == 0)
        r = mirror_filter_choose(f, &s->all, &c, &s->chosen, err);
    s->v = cb_calloc(s->chosen.n + 1, sizeof *s->v);
    s->whole = s->planning->at_once && has_bare_target(s);
    return r < 0 ? r : cb_copy_each(s->chosen.n, cb_push_width(s->env->jobs), look_at_source, s, err);
}

static void source_done(struct source_state *s)
{
    mirror_watch_done(&s->watch);
    for (size_t i = 0; s->v && i < s->chosen.n; i++) {
        cb_error_done(&s->v[i].error);
        cb_copy_manifest_free(s->v[i].manifest);
    }
    for (size_t i = 0; i < s->e->n_targets; i++) {
        cb_copy_target_close(s->targets[i].target);
        cb_error_done(&s->targets[i].error);
    }
    free(s->targets);
    cb_strvec_done(&s->all);
    cb_strvec_done(&s->chosen);
    free(s->v);
    free(s->created);
}

/* ---- a target ---- */

struct deciding {
    struct source_state *s;
    struct cb_mirror_pair *p;
    struct cb_copy_target *target;
    bool bare; /* it has no tags */
};

void mirror_result_done(struct mirror_result *x)
{
    cb_strvec_done(&x->parts);
}

static int resolve(const struct cb_copy_env *env, const struct cb_mirror_pair *p, const struct looked *source,
                   struct mirror_result *out, struct cb_error *err)
{
    CB_AUTO(cb_copy_source_close) struct cb_copy_source *s = NULL;
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_copy_options o = {
        .digest = source->digest, .platforms = p->platforms, .n_platforms = p->n_platforms
    };
    int r = cb_copy_source_open(env, &p->source, &s, err);
    if (r == 0)
        r = cb_copy_resolve(s, &o, &d, &out->parts, err);
    out->digest = d.digest;
    return r;
}

/* The result, then its parts, a line each. */
static bool recall_result(const struct cb_copy_env *env, const char *key, struct mirror_result *out)
{
    struct cb_strbuf known cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_store_fact_get(env->store, FACT, key, &known, NULL) < 0)
        return false;
    for (char *line = known.buf, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end)
            *end++ = '\0';
        if (cb_digest_is_set(&out->digest))
            cb_strvec_push(&out->parts, line);
        else if (cb_digest_parse(&out->digest, line, NULL) < 0)
            return false;
    }
    return cb_digest_is_set(&out->digest);
}

static void remember_result(const struct cb_copy_env *env, const char *key, const struct mirror_result *x)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_digest(&text, &x->digest);
    for (size_t i = 0; i < x->parts.n; i++)
        cb_strbuf_addf(&text, "\n%s", x->parts.v[i]);
    (void)!cb_store_fact_put(env->store, FACT, key, text.buf, NULL);
}

/* What the target will have, and with parts what that lists, where it is an index. Remembered in the store, as a digest
 * never comes to mean something else. */
static int find_result(const struct deciding *x, const struct looked *source, struct mirror_result *out,
                       struct cb_error *err)
{
    const struct cb_copy_env *env = x->s->env;
    const struct cb_mirror_pair *p = x->p;
    bool parts = p->referrers && !x->s->e->top_only;
    struct cb_strbuf key cb_cleanup_strbuf = CB_STRBUF_INIT;
    *out = (struct mirror_result){ 0 };
    if (!p->n_platforms && !(parts && source->index)) {
        out->digest = source->digest;
        return 0;
    }
    cb_strbuf_add_digest(&key, &source->digest);
    for (size_t i = 0; i < p->n_platforms; i++) {
        cb_strbuf_addch(&key, ' ');
        cb_strbuf_add_platform(&key, &p->platforms[i]);
    }
    if (recall_result(env, key.buf, out))
        return 0;
    int r = resolve(env, p, source, out, err);
    if (r == 0)
        remember_result(env, key.buf, out);
    return r;
}

static int head_target(struct deciding *x, struct cb_mirror_tag *t, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (x->bare)
        return 0;
    int r = cb_copy_target_head(x->target, t->tag, &d, &e);
    if (r == -CB_ENOTFOUND)
        return 0;
    t->target = d.digest;
    return r < 0 ? cb_error_move(err, &e) : 0;
}

static void say(struct cb_mirror_tag *t, enum cb_mirror_action a, const char *reason)
{
    t->action = a;
    t->reason = mirror_reason(reason);
}

/* Lists are not always whole: 1 where the source itself has no such tag. */
static int is_gone(struct source_state *s, const char *tag, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct looked now = { .error = CB_ERROR_INIT };
    source_reference(s, tag, &ref);
    int r = look_at_head(s, &ref, &now);
    if (r < 0 && r != -CB_ENOTFOUND)
        return cb_error_move(err, &now.error);
    cb_error_done(&now.error);
    return r < 0;
}

static int decide_gone(struct deciding *x, struct cb_mirror_tag *t, bool asked, struct cb_error *err)
{
    if (!x->s->e->deletes)
        return cb_error_set(err, CB_ENOTFOUND, "%s has no tag %s", x->p->source.text, t->tag);
    int gone = asked ? 1 : is_gone(x->s, t->tag, err);
    if (gone <= 0)
        return gone;
    say(t, CB_MIRROR_SKIP, "same");
    int r = head_target(x, t, err);
    if (r == 0 && cb_digest_is_set(&t->target))
        say(t, CB_MIRROR_DELETE, "gone from the source");
    return r;
}

static int decide_there(struct deciding *x, struct cb_mirror_tag *t, struct looked *seen, struct cb_error *err)
{
    const struct cb_copy_env *env = x->s->env;
    CB_CLEANUP(mirror_result_done) struct mirror_result result = { 0 };
    t->source = seen->digest;
    int r = head_target(x, t, err);
    if (r == 0)
        r = find_result(x, seen, &result, err);
    t->result = result.digest;
    if (x->s->e->top_only)
        cb_strvec_done(&result.parts);
    if (r == 0 && x->p->referrers)
        r = mirror_watch_state(&x->s->watch, &result, &t->referrers, err);
    if (r < 0)
        return r;
    bool same = cb_digest_eq(&t->target, &t->result);
    if (same && (!x->p->referrers || mirror_watch_brought(env, x->p, t)))
        say(t, CB_MIRROR_SKIP, "same");
    else if (same)
        say(t, CB_MIRROR_REFER, "other referrers");
    else
        say(t, CB_MIRROR_COPY, cb_digest_is_set(&t->target) ? "changed" : "new");
    if (t->action == CB_MIRROR_COPY)
        t->manifest = CB_TAKE(seen->manifest); /* the first target's; the others ask */
    return 0;
}

static int decide(void *arg, size_t i, struct cb_error *err)
{
    struct deciding *x = arg;
    struct cb_mirror_tag *t = &x->p->v[i];
    bool chosen = i < x->s->chosen.n; /* the others are at the target only */
    int r = cb_cancel_check(x->s->env->cancel, err);
    if (r < 0)
        return r;
    if (chosen && x->s->v[i].error.code)
        r = cb_error_copy(&t->error, &x->s->v[i].error);
    else if (chosen && cb_digest_is_set(&x->s->v[i].digest))
        r = decide_there(x, t, &x->s->v[i], &t->error);
    else
        r = decide_gone(x, t, chosen, &t->error);
    if (r < 0)
        t->outcome = CB_MIRROR_FAILED;
    return r == -CB_ECANCELED ? cb_error_copy(err, &t->error) : 0;
}

/* What the filter would choose of the target's tags, and the source has no more. */
static int list_target(struct deciding *x, struct cb_error *err)
{
    struct cb_list_options o = { 0 };
    struct cb_strvec there cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const struct cb_reference *ref = &x->p->target.ref;
    int r = cb_registry_tags(x->s->env->registry, ref->host, ref->repo, &o, &there, &e);
    if (r == -CB_ENOTFOUND) /* the repository is made by the first push */
        return 0;
    if (r < 0)
        return cb_error_move(err, &e);
    for (size_t i = 0; i < there.n; i++)
        if (!cb_strvec_has(&x->s->all, there.v[i]) && !cb_strvec_has(&x->s->chosen, there.v[i]) &&
            !mirror_is_digest_tag(there.v[i]) && mirror_filter_takes(&x->s->e->filter, there.v[i]))
            mirror_plan_add(x->p, there.v[i]);
    return 0;
}

static int by_tag(const void *a, const void *b)
{
    return strcmp(((const struct cb_mirror_tag *)a)->tag, ((const struct cb_mirror_tag *)b)->tag);
}

static int plan_tags(struct deciding *x, struct cb_error *err)
{
    for (size_t i = 0; i < x->s->chosen.n; i++)
        mirror_plan_add(x->p, x->s->chosen.v[i]);
    x->bare = cb_copy_target_is_bare(x->target);
    int r = 0;
    if (x->s->e->deletes)
        r = list_target(x, err);
    if (r == 0)
        r = cb_copy_each(x->p->n, cb_push_width(x->s->env->jobs), decide, x, err);
    if (x->p->n)
        qsort(x->p->v, x->p->n, sizeof *x->p->v, by_tag);
    return r;
}

static struct cb_mirror_pair *add_pair(struct cb_mirror_plan *plan, const struct mirror_entry *e,
                                       const struct cb_place *target)
{
    CB_GROW(plan->v, plan->n, plan->cap);
    struct cb_mirror_pair *p = &plan->v[plan->n++];
    *p = (struct cb_mirror_pair){ .referrers = e->referrers };
    (void)!cb_place_parse(&p->source, e->source.text, NULL); /* again: they were read from this text */
    (void)!cb_place_parse(&p->target, target->text, NULL);
    p->platforms = cb_calloc(e->n_platforms + 1, sizeof *p->platforms);
    for (; p->n_platforms < e->n_platforms; p->n_platforms++)
        cb_platform_copy(&p->platforms[p->n_platforms], &e->platforms[p->n_platforms]);
    return p;
}

static int plan_target(struct source_state *s, size_t i, const struct cb_error *failed, struct cb_error *err)
{
    const struct target_state *t = &s->targets[i];
    struct cb_mirror_pair *p = add_pair(s->planning->plan, s->e, &s->e->targets[i]);
    struct deciding x = { .s = s, .p = p, .target = t->target };
    if (failed->code || !t->target) {
        cb_error_copy(&p->error, failed->code ? failed : &t->error);
        return 0;
    }
    int r = plan_tags(&x, &p->error);
    return r == -CB_ECANCELED ? cb_error_copy(err, &p->error) : 0;
}

/* Whether they have any tags is asked while the source's are listed. */
static void open_targets(struct source_state *s)
{
    s->targets = cb_calloc(s->e->n_targets + 1, sizeof *s->targets);
    for (size_t i = 0; i < s->e->n_targets; i++) {
        struct cb_copy_target_options o = { .to = &s->e->targets[i] };
        if (cb_copy_target_open(s->env, &o, &s->targets[i].target, &s->targets[i].error) == 0)
            cb_copy_target_survey(s->targets[i].target);
    }
}

static int plan_entry(const struct cb_copy_env *env, const struct mirror_entry *e, struct planning *planning,
                      struct cb_error *err)
{
    struct source_state s = { .env = env, .e = e, .planning = planning };
    struct cb_error failed cb_cleanup_error = CB_ERROR_INIT;
    open_targets(&s);
    int r = read_source(&s, &failed);
    if (r == -CB_ECANCELED)
        cb_error_copy(err, &failed);
    mirror_watch_init(&s.watch, env, &e->source, s.listed ? &s.all : NULL);
    for (size_t i = 0; r != -CB_ECANCELED && i < e->n_targets; i++)
        r = plan_target(&s, i, &failed, err);
    source_done(&s);
    return r == -CB_ECANCELED ? r : 0;
}

int cb_mirror_plan_make(const struct cb_copy_env *env, const struct cb_mirror_spec *spec, bool at_once,
                        struct cb_mirror_plan *out, struct cb_error *err)
{
    struct planning planning = { .plan = out, .at_once = at_once };
    int r = 0;
    *out = (struct cb_mirror_plan){ 0 };
    for (size_t i = 0; r == 0 && i < spec->n; i++)
        r = plan_entry(env, &spec->v[i], &planning, err);
    return r;
}
