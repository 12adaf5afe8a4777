/* SPDX-License-Identifier: Apache-2.0 */
/* The inputs of a build, from one to the next in the store. */
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "build/explain.h"
#include "util/alloc.h"
#include "util/path.h"

/* A context that is fetched is known by its name, a directory by its path. */
static void identity(const struct cb_build *b, int context_fd, struct cb_digest *out)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", context_fd);
    ssize_t n = cb_build_fetches(b->o) || context_fd < 0 ? -1 : readlink(link, path, sizeof path - 1);
    path[CB_MAX(n, (ssize_t)0)] = '\0';
    cb_hasher_field(h, "cbpush-inputs/1");
    cb_hasher_field(h, n > 0 ? path : b->o->context);
    cb_hasher_field(h, b->o->dockerfile);
    cb_hasher_field(h, b->o->target);
    cb_hasher_finish(h, out);
}

static void read_old(struct cb_store *store, const struct cb_digest *id, size_t max, struct cb_inputs *out)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_store_inputs_get(store, id, max, &text, NULL) < 0 || !cb_inputs_parse(out, text.buf, text.len))
        *out = (struct cb_inputs){ 0 };
}

void cb_inputs_last(const struct cb_build *b, int context_fd, size_t max, struct cb_inputs *out)
{
    struct cb_digest id;
    identity(b, context_fd, &id);
    read_old(b->env->store, &id, max, out);
}

/* In front of those that stand further down. */
static void add_why(struct cb_build_result *res, struct cb_build_why w)
{
    size_t at = res->n_why++;
    res->why = cb_reallocarray(res->why, res->n_why, sizeof *res->why);
    for (; at > 0 && res->why[at - 1].line > w.line; at--)
        res->why[at] = res->why[at - 1];
    res->why[at] = w;
}

static bool was_run(const struct cb_vertex *v)
{
    return v->kind != CB_VERTEX_SOURCE && !v->implied && v->state->executed;
}

static void explain_all(struct cb_build *b, const struct cb_explain *x)
{
    bool any = false;
    for (size_t i = 0; i < x->now->n; i++)
        any = any || was_run(x->now->v[i].vertex);
    for (size_t i = 0; any && i < x->now->n; i++) {
        const struct cb_vertex *v = x->now->v[i].vertex;
        struct cb_build_why why;
        if (v->kind == CB_VERTEX_SOURCE && cb_explain_parent(x, i, &why))
            add_why(b->res, why);
        if (!was_run(v))
            continue;
        cb_explain_step(x, i, &why);
        add_why(b->res, why);
    }
}

/* Of a step that was not finished the last build that did is what the next one is compared with: it has the record. */
static void keep_finished(struct cb_inputs *old, struct cb_inputs *now, const size_t *match)
{
    size_t n = 0;
    for (size_t i = 0; i < now->n; i++) {
        const struct cb_solve_state *st = now->v[i].vertex->state;
        bool finished = now->v[i].kind == CB_VERTEX_SOURCE || st->done || !st->needed;
        struct cb_step_inputs keep = now->v[i];
        if (!finished && match[i] != SIZE_MAX) {
            keep = old->v[match[i]];
            old->v[match[i]] = now->v[i];
        } else if (!finished) {
            cb_step_inputs_done(&now->v[i]);
            continue;
        }
        now->v[n++] = keep;
    }
    now->n = n;
    now->goal = (struct cb_digest){ 0 };
}

static void write_new(struct cb_build *b, const struct cb_digest *id, const struct cb_inputs *now)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_inputs_print(&text, now);
    if (cb_store_inputs_put(b->env->store, id, (struct cb_slice){ text.buf, text.len }, &e) < 0)
        cb_progress_debug(b->env->progress, "what the steps were made from is not kept: %s", cb_error_text(&e));
}

/* The usual case, of which nothing has to be computed, read or written. */
static bool is_unchanged(const struct cb_build *b, const struct cb_digest *id)
{
    struct cb_strbuf head cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest goal;
    cb_inputs_goal(&b->solver, &goal);
    return cb_store_inputs_get(b->env->store, id, CB_INPUTS_HEAD, &head, NULL) == 0 &&
           cb_inputs_text_is_of(head.buf, head.len, &goal);
}

void cb_build_explain(struct cb_build *b, int context_fd, bool failed)
{
    struct cb_inputs old cb_cleanup_inputs = { 0 }, now cb_cleanup_inputs = { 0 };
    struct cb_digest id;
    identity(b, context_fd, &id);
    bool unchanged = !failed && is_unchanged(b, &id);
    if (unchanged && !b->o->explain)
        return;
    struct cb_span span cb_cleanup_span = cb_span_begin("cache", "note what the steps were made from");
    cb_inputs_of_build(&b->solver, &now);
    if (failed || b->o->explain)
        read_old(b->env->store, &id, CB_INPUTS_MAX + CB_INPUTS_HEAD, &old);
    cb_autofree size_t *match = cb_inputs_match(&old, &now);
    struct cb_explain x = { .old = &old, .now = &now, .match = match, .dockerfile = b->res->dockerfile->name,
                            .no_cache = b->o->no_cache };
    if (b->o->explain)
        explain_all(b, &x);
    if (failed)
        keep_finished(&old, &now, match);
    if (!unchanged)
        write_new(b, &id, &now);
}
