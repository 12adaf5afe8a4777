/* SPDX-License-Identifier: Apache-2.0 */
/* What a build of a stage takes from outside: arguments, secrets, agents, caches; of the stages it needs, too. */
#include "dockerfile/lint_private.h"

#include "util/alloc.h"
#include "util/hashmap.h"

struct outliner {
    struct cb_df_lint *l;
    struct cb_df_outline *out;
    struct cb_hashmap *seen[4]; /* names that are listed: args, secrets, ssh, caches */
};

static const struct cb_df_lint_arg *find(const struct cb_df_lint_args *args, const char *name)
{
    for (size_t i = args->n; i-- > 0;)
        if (strcmp(args->v[i].param.name, name) == 0)
            return &args->v[i];
    return NULL;
}

static void put(struct cb_df_params *to, struct cb_hashmap *seen, const struct cb_df_param *p)
{
    if (cb_hashmap_put(seen, p->name, to))
        return;
    CB_GROW(to->v, to->n, to->cap);
    to->v[to->n++] = (struct cb_df_param){ cb_strdup(p->name), cb_strdup_or_null(p->value),
                                           cb_strdup_or_null(p->description), p->required, p->span };
}

/* The argument, and those that its default names. */
static void put_arg(struct outliner *o, const struct cb_df_lint_stage *st, const char *name)
{
    const struct cb_df_lint_arg *a = find(&st->args, name);
    if (!a)
        a = find(&o->l->global_args, name);
    if (!a || cb_hashmap_get(o->seen[0], name))
        return;
    put(&o->out->args, o->seen[0], &a->param);
    for (size_t i = 0; i < a->deps.n; i++)
        put_arg(o, st, a->deps.v[i]);
}

static void put_stage(struct outliner *o, const struct cb_df_lint_stage *st)
{
    struct cb_df_outline *out = o->out;
    for (size_t i = 0; i < st->used.n; i++)
        put_arg(o, st, st->used.v[i]);
    for (size_t i = 0; i < st->secrets.n; i++)
        put(&out->secrets, o->seen[1], &st->secrets.v[i]);
    for (size_t i = 0; i < st->ssh.n; i++)
        put(&out->ssh, o->seen[2], &st->ssh.v[i]);
    for (size_t i = 0; i < st->caches.n; i++)
        put(&out->caches, o->seen[3], &st->caches.v[i]);
}

static int by_line(const void *a, const void *b)
{
    const struct cb_df_param *x = a, *y = b;
    if (x->span.first != y->span.first)
        return x->span.first < y->span.first ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void sort(struct cb_df_params *p)
{
    if (p->n > 1)
        qsort(p->v, p->n, sizeof *p->v, by_line);
}

/* The target's own come first: a name that several stages have is listed as the target has it. */
static void collect(struct outliner *o, const struct cb_df_lint_stage *target)
{
    const struct cb_df_instruction *from = &target->df->from;
    put_stage(o, target);
    for (size_t i = target->index; i-- > 0;)
        if (o->l->stages[i].reachable)
            put_stage(o, &o->l->stages[i]);
    o->out->name = cb_strdup_or_null(from->stage_name);
    if (from->stage_name)
        o->out->description = cb_strdup_or_null(cb_df_description(from, from->stage_name));
    sort(&o->out->args);
    sort(&o->out->secrets);
    sort(&o->out->ssh);
    sort(&o->out->caches);
}

int cb_df_outline(struct cb_df_outline *out, struct cb_dockerfile *d, const struct cb_df_lint_options *o,
                  struct cb_error *err)
{
    CB_CLEANUP(cb_df_lint_done) struct cb_df_lint l = { .d = d, .o = o };
    struct cb_df_lint_stage *target = NULL;
    *out = (struct cb_df_outline){ 0 };
    int r = cb_df_lint_run(&l, &target, err);
    if (r < 0)
        return r;
    if (!target)
        return cb_error_set(err, CB_EUSAGE, "--target %s: %s has no such stage", o->target, d->name);
    struct outliner w = { .l = &l, .out = out };
    for (size_t i = 0; i < CB_COUNTOF(w.seen); i++)
        w.seen[i] = cb_hashmap_new();
    collect(&w, target);
    for (size_t i = 0; i < CB_COUNTOF(w.seen); i++)
        cb_hashmap_free(w.seen[i]);
    return 0;
}
