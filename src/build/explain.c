/* SPDX-License-Identifier: Apache-2.0 */
#include "build/explain.h"

#include "util/alloc.h"

#define SHOWN 60 /* bytes of a value */
#define MAX_DEPTH 16

/* ---- which step is which ---- */

enum pass { BY_KEY, BY_TEXT_AND_STAGE, BY_TEXT_AND_PLATFORM, BY_TEXT, BY_PLACE, BY_PLACE_ANYWHERE, PASSES };

static bool alike(const struct cb_step_inputs *a, const struct cb_step_inputs *b, enum pass pass)
{
    bool text = !strcmp(a->text, b->text), stage = !strcmp(a->stage, b->stage);
    bool platform = !strcmp(a->platform, b->platform), place = stage && a->position == b->position;
    if (a->kind != b->kind)
        return false;
    switch (pass) {
    case BY_KEY:
        return text && cb_digest_eq(&a->key, &b->key);
    case BY_TEXT_AND_STAGE:
        return text && stage && platform;
    case BY_TEXT_AND_PLATFORM:
        return text && platform;
    case BY_TEXT:
        return text;
    case BY_PLACE:
        return place && platform;
    default:
        return place;
    }
}

static unsigned distance(const struct cb_step_inputs *a, const struct cb_step_inputs *b)
{
    return a->position > b->position ? a->position - b->position : b->position - a->position;
}

static size_t nearest(const struct cb_inputs *old, const bool *taken, const struct cb_step_inputs *s, enum pass pass)
{
    size_t best = SIZE_MAX;
    for (size_t k = 0; k < old->n; k++)
        if (!taken[k] && alike(&old->v[k], s, pass) &&
            (best == SIZE_MAX || distance(&old->v[k], s) < distance(&old->v[best], s)))
            best = k;
    return best;
}

size_t *cb_inputs_match(const struct cb_inputs *old, const struct cb_inputs *now)
{
    cb_autofree bool *taken = cb_calloc(old->n + 1, sizeof *taken);
    size_t *match = cb_calloc(now->n + 1, sizeof *match);
    for (size_t i = 0; i < now->n; i++)
        match[i] = SIZE_MAX;
    for (enum pass pass = 0; pass < PASSES; pass++)
        for (size_t i = 0; i < now->n; i++) {
            if (match[i] == SIZE_MAX)
                match[i] = nearest(old, taken, &now->v[i], pass);
            if (match[i] != SIZE_MAX)
                taken[match[i]] = true;
        }
    return match;
}

/* ---- what is told ---- */

/* Behind cut bytes of what both have in common. */
static char *shown(const char *text, size_t cut)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT, safe cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_text_redacted(&safe, text);
    if (cb_starts_with(safe.buf, "sha256:") && safe.len == 71)
        return cb_asprintf("%.19s…", safe.buf);
    cut = CB_MIN(cut, safe.len);
    while (cut && ((unsigned char)safe.buf[cut] & 0xc0) == 0x80)
        cut--;
    size_t n = safe.len - cut;
    while (n > SHOWN && (n = SHOWN) && ((unsigned char)safe.buf[cut + n] & 0xc0) == 0x80)
        n--;
    cb_strbuf_addf(&sb, "\"%s%.*s%s\"", cut ? "…" : "", (int)n, safe.buf + cut, cut + n < safe.len ? "…" : "");
    return cb_strbuf_detach(&sb, NULL);
}

/* Where both are long, what stands before the first difference is left out. */
static size_t common(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    return n > SHOWN / 2 ? n - SHOWN / 4 : 0;
}

/* was or is NULL: there was, or is, none. Of a URL's secrets nothing is left in what is kept. */
static void tell(struct cb_build_why *out, const char *label, const char *was, const char *is)
{
    struct cb_strbuf a cb_cleanup_strbuf = CB_STRBUF_INIT, b cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_text_redacted(&a, was ? was : "");
    cb_strbuf_add_text_redacted(&b, is ? is : "");
    size_t cut = was && is ? common(a.buf, b.buf) : 0;
    cb_autofree char *x = shown(a.buf, cut), *y = shown(b.buf, cut);
    out->input = cb_strdup(label);
    out->was = was ? cb_strbuf_detach(&a, NULL) : NULL;
    out->is = is ? cb_strbuf_detach(&b, NULL) : NULL;
    if (!was)
        out->reason = cb_asprintf("%s %s is new", label, y);
    else if (!is)
        out->reason = cb_asprintf("%s %s is gone", label, x);
    else if (!strcmp(x, y))
        out->reason = cb_asprintf("%s changed", label);
    else
        out->reason = cb_asprintf("%s %s → %s", label, x, y);
}

static const char *value_of(const struct cb_strvec *labels, const struct cb_strvec *values, const char *label)
{
    for (size_t i = 0; i < labels->n; i++)
        if (!strcmp(labels->v[i], label))
            return values->v[i];
    return NULL;
}

static bool own_differs(const struct cb_step_inputs *old, const struct cb_step_inputs *now, struct cb_build_why *out)
{
    for (size_t i = 0; i < now->labels.n; i++) {
        const char *was = value_of(&old->labels, &old->values, now->labels.v[i]);
        if (!cb_streq(was, now->values.v[i])) {
            tell(out, now->labels.v[i], was, now->values.v[i]);
            return true;
        }
    }
    for (size_t i = 0; i < old->labels.n; i++)
        if (!value_of(&now->labels, &now->values, old->labels.v[i])) {
            tell(out, old->labels.v[i], old->values.v[i], NULL);
            return true;
        }
    return false;
}

static bool files_differ(const struct cb_step_inputs *old, const struct cb_step_inputs *now, struct cb_build_why *out)
{
    struct cb_files_change c CB_CLEANUP(cb_files_change_done) = CB_FILES_CHANGE_INIT;
    if (!cb_files_differ(old, now, &c))
        return false;
    out->reason = cb_strbuf_detach(&c.text, NULL);
    out->input = cb_strdup(c.path.len ? c.path.buf : "files");
    out->was = c.was.len ? cb_strdup(c.was.buf) : NULL;
    out->is = c.is.len ? cb_strdup(c.is.buf) : NULL;
    return true;
}

/* ---- other steps ---- */

/* COPY --link has two vertices: the one with the step counts, where it is not what stands below that did it. */
static const struct cb_vertex *real(const struct cb_vertex *v)
{
    while (v->kind == CB_VERTEX_LINK)
        v = v->from->state->executed || !v->base ? v->from : v->base;
    return v->state->vertex;
}

static size_t index_of(const struct cb_inputs *in, const struct cb_vertex *v)
{
    for (size_t i = 0; i < in->n; i++)
        if (in->v[i].vertex == v)
            return i;
    return SIZE_MAX;
}

static void explain(const struct cb_explain *x, size_t i, unsigned depth, struct cb_build_why *out);

/* What is fetched for an ADD, or made for a named context, has no line of its own. */
static void tell_cause(const struct cb_explain *x, const struct cb_vertex *cause, unsigned depth,
                       struct cb_build_why *out)
{
    const struct cb_vertex *c = real(cause);
    size_t i = index_of(x->now, c);
    if ((c->implied || !c->span.first) && i != SIZE_MAX && depth < MAX_DEPTH) {
        explain(x, i, depth + 1, out);
        return;
    }
    out->input = cb_strdup("base");
    if (c->kind == CB_VERTEX_SOURCE)
        out->reason = cb_asprintf("%s changed (%s:%u)", c->note, x->dockerfile, c->span.first);
    else if (c->state->executed)
        out->reason = cb_asprintf("runs because %s:%u did", x->dockerfile, c->span.first);
    else
        out->reason = cb_asprintf("%s:%u is another than before", x->dockerfile, c->span.first);
}

static bool cause_differs(const struct cb_explain *x, size_t i, unsigned depth, struct cb_build_why *out)
{
    const struct cb_step_inputs *now = &x->now->v[i], *old = &x->old->v[x->match[i]];
    for (size_t k = 0; k < now->causes.n; k++) {
        const char *was = value_of(&old->causes, &old->cause_keys, now->causes.v[k]);
        if (was && !strcmp(was, now->cause_keys.v[k]))
            continue;
        if (was)
            tell_cause(x, now->cause_of[k], depth, out);
        else
            tell(out, now->causes.v[k], NULL, real(now->cause_of[k])->name);
        return true;
    }
    for (size_t k = 0; k < old->causes.n; k++)
        if (!value_of(&now->causes, &now->cause_keys, old->causes.v[k])) {
            tell(out, old->causes.v[k], "there was one", NULL);
            return true;
        }
    return false;
}

/* The same step as before, but what would have spared it is not there any more. */
static void tell_lost(const struct cb_explain *x, size_t i, unsigned depth, struct cb_build_why *out)
{
    const struct cb_step_inputs *now = &x->now->v[i];
    const struct cb_digest *lost = &now->vertex->state->lost;
    char text[CB_DIGEST_TEXT_MAX];
    if (cb_digest_is_set(lost)) {
        out->input = cb_strdup("layer");
        out->reason = cb_asprintf("its record is there, but the layer %.19s… is neither in the store nor known to be "
                                  "in a registry", cb_digest_text(lost, text));
        return;
    }
    for (size_t k = 0; k < now->causes.n; k++)
        if (real(now->cause_of[k])->state->executed) {
            tell_cause(x, now->cause_of[k], depth, out);
            return;
        }
    out->reason = cb_digest_eq(&now->key, &x->old->v[x->match[i]].key)
                      ? cb_strdup("nothing changed, but the store has no record of it")
                      : cb_strdup("its key is another, and none of the inputs that are noted: was it made by another "
                                  "version of cbpush?");
}

static void explain(const struct cb_explain *x, size_t i, unsigned depth, struct cb_build_why *out)
{
    const struct cb_step_inputs *now = &x->now->v[i];
    if (x->no_cache || now->vertex->state->no_cache) {
        out->reason = cb_strdup(x->no_cache ? "the cache was off (--no-cache)"
                                            : "the cache was off for this stage (--no-cache-filter)");
        return;
    }
    if (x->match[i] == SIZE_MAX) {
        out->reason = cb_strdup("no earlier build of this step is known");
        return;
    }
    const struct cb_step_inputs *old = &x->old->v[x->match[i]];
    if (strcmp(old->text, now->text))
        tell(out, "instruction", old->text, now->text);
    else if (!own_differs(old, now, out) && !files_differ(old, now, out) && !cause_differs(x, i, depth, out))
        tell_lost(x, i, depth, out);
}

static void tell_place(const struct cb_explain *x, const struct cb_vertex *v, struct cb_build_why *out)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT, name cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_text_redacted(&name, v->name);
    cb_strbuf_add_text_redacted(&sb, v->note);
    out->line = v->span.first;
    out->name = cb_strbuf_detach(&name, NULL);
    out->step = cb_strbuf_detach(&sb, NULL);
    out->place = v->span.first ? cb_asprintf("%s:%u", x->dockerfile, v->span.first) : cb_strdup(x->dockerfile);
}

void cb_explain_step(const struct cb_explain *x, size_t i, struct cb_build_why *out)
{
    *out = (struct cb_build_why){ 0 };
    tell_place(x, x->now->v[i].vertex, out);
    explain(x, i, 0, out);
}

bool cb_explain_parent(const struct cb_explain *x, size_t i, struct cb_build_why *out)
{
    *out = (struct cb_build_why){ 0 };
    if (x->match[i] == SIZE_MAX)
        return false;
    const struct cb_step_inputs *old = &x->old->v[x->match[i]], *now = &x->now->v[i];
    bool differs = true;
    if (strcmp(old->text, now->text))
        tell(out, "instruction", old->text, now->text);
    else
        differs = own_differs(old, now, out);
    if (differs)
        tell_place(x, now->vertex, out);
    return differs;
}
