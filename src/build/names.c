/* SPDX-License-Identifier: Apache-2.0 */
/* What the result is called, and where it is pushed to. */
#include "build/internal.h"
#include "util/alloc.h"

/* Names of -t are k = 0, those of output k - 1 are k. */

static bool has_names(const struct cb_output *x)
{
    return x->names.n > 0;
}

/* -t names what every image output without names of its own makes, as in buildx. */
static bool takes_tags(const struct cb_output *x)
{
    return x->type == CB_OUTPUT_IMAGE && !has_names(x);
}

/* Those of -t are pushed by --push and by an image output without names of its own; those of an output by --push and by
 * itself. */
static bool pushes(const struct cb_build_options *o, size_t k)
{
    bool push = o->push || (k > 0 && o->outputs[k - 1].push);
    for (size_t i = 0; k == 0 && i < o->n_outputs; i++)
        push = push || (o->outputs[i].push && !has_names(&o->outputs[i]));
    return push;
}

static bool is_by_digest(const struct cb_build_options *o, size_t k)
{
    bool yes = k > 0 && o->outputs[k - 1].by_digest;
    for (size_t i = 0; k == 0 && i < o->n_outputs; i++)
        yes = yes || o->outputs[i].by_digest;
    return yes;
}

static bool is_canonical(const struct cb_build_options *o, size_t k)
{
    bool yes = k > 0 && o->outputs[k - 1].canonical;
    for (size_t i = 0; k == 0 && i < o->n_outputs; i++)
        yes = yes || (o->outputs[i].canonical && takes_tags(&o->outputs[i]));
    return yes;
}

/* ---- by digest ---- */

static int check_output(const struct cb_build_options *o, const struct cb_output *x, struct cb_error *err)
{
    for (size_t i = 0; o->tags && i < o->tags->n; i++)
        if (x->by_digest && has_names(x) && !cb_strvec_has(&x->names, o->tags->v[i]))
            return cb_error_set(err, CB_EUSAGE, "-t %s: an output is pushed by digest under a name= of its own: leave "
                                                "out the one or the other", o->tags->v[i]);
    if ((!x->by_digest && !x->canonical) || has_names(x) || (o->tags && o->tags->n))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "--output: %s=true needs a name: name=REGISTRY/REPOSITORY",
                        x->by_digest ? "push-by-digest" : "name-canonical");
}

/* One output would have the names of -t with a tag, another without. */
static int check_tags(const struct cb_build_options *o, struct cb_error *err)
{
    for (size_t i = 0; is_by_digest(o, 0) && o->tags && o->tags->n && i < o->n_outputs; i++)
        if (takes_tags(&o->outputs[i]) && !o->outputs[i].by_digest)
            return cb_error_set(err, CB_EUSAGE, "-t %s: one output is pushed by digest, and another is not: give each "
                                                "its name=", o->tags->v[0]);
    return 0;
}

static int check_outputs(const struct cb_build_options *o, struct cb_error *err)
{
    int r = check_tags(o, err);
    for (size_t i = 0; r == 0 && i < o->n_outputs; i++)
        r = check_output(o, &o->outputs[i], err);
    return r;
}

size_t cb_build_pushed_tags(const struct cb_build *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_pushed; i++)
        n += b->tags[i].tag != NULL;
    return n;
}

static int check_release(const struct cb_build *b, struct cb_error *err)
{
    const struct cb_release_policy *p = &b->o->release;
    size_t tags = cb_build_pushed_tags(b);
    if (tags < b->n_pushed && b->o->join)
        return cb_error_set(err, CB_EUSAGE, "--join moves tags when every platform is there, and push-by-digest=true "
                                            "pushes to no tag: leave out the one or the other");
    if (tags || !b->n_pushed || (!p->immutable && !(p->expect_old && p->expect_old->n)))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "--%s is about tags, and push-by-digest=true moves none",
                        p->immutable ? "immutable" : "expect-old");
}

/* ---- reading ---- */

/* A name that is said twice is one: a receipt with two would be rolled back twice. SIZE_MAX: not said yet. */
static size_t find_name(const struct cb_build *b, const struct cb_reference *ref)
{
    for (size_t i = 0; i < b->n_tags; i++)
        if (cb_reference_same_tag(&b->tags[i], ref))
            return i;
    return SIZE_MAX;
}

static int parse_name(struct cb_build *b, const char *text, size_t k, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    int r = cb_reference_parse_word(&ref, text, err);
    if (r < 0) {
        cb_error_wrap(err, "tag");
        return r;
    }
    if (cb_digest_is_set(&ref.digest))
        return cb_error_set(err, CB_EUSAGE, "tag %s: a name to build must not have a digest", text);
    if (is_by_digest(b->o, k) && ref.tag)
        return cb_error_set(err, CB_EUSAGE, "%s has a tag, and cannot be pushed by digest: leave out the tag, or "
                                            "push-by-digest=true", text);
    if (!is_by_digest(b->o, k))
        cb_reference_default_tag(&ref);
    size_t known = find_name(b, &ref);
    size_t at = known == SIZE_MAX ? b->n_tags++ : known;
    b->canonical[at] = b->canonical[at] || is_canonical(b->o, k);
    if (known == SIZE_MAX) {
        b->tags[at] = ref;
        ref = (struct cb_reference){ 0 };
    }
    return 0;
}

static int parse_names(struct cb_build *b, bool pushed, struct cb_error *err)
{
    int r = 0;
    for (size_t k = 0; k <= b->o->n_outputs; k++) {
        const struct cb_strvec *names = k == 0 ? b->o->tags : &b->o->outputs[k - 1].names;
        for (size_t i = 0; r == 0 && names && pushes(b->o, k) == pushed && i < names->n; i++)
            r = parse_name(b, names->v[i], k, err);
    }
    return r;
}

int cb_build_parse_names(struct cb_build *b, struct cb_error *err)
{
    size_t max = b->o->tags ? b->o->tags->n : 0;
    for (size_t i = 0; i < b->o->n_outputs; i++)
        max += b->o->outputs[i].names.n;
    b->tags = cb_calloc(max + 1, sizeof *b->tags);
    b->canonical = cb_calloc(max + 1, sizeof *b->canonical);
    int r = parse_names(b, true, err);
    b->n_pushed = b->n_tags;
    if (r == 0)
        r = parse_names(b, false, err);
    if (r == 0)
        r = check_outputs(b->o, err);
    return r < 0 ? r : check_release(b, err);
}

bool cb_build_wants_push(const struct cb_build_options *o)
{
    bool push = o->push;
    for (size_t i = 0; i < o->n_outputs; i++)
        push = push || o->outputs[i].push;
    return push;
}
