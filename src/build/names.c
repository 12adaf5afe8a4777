/* SPDX-License-Identifier: Apache-2.0 */
/* What the result is called. */
#include "build/internal.h"
#include "util/alloc.h"

static int parse_tag(struct cb_build *b, const char *text, struct cb_error *err)
{
    struct cb_reference *ref = &b->tags[b->n_tags];
    int r = cb_reference_parse(ref, text, err);
    if (r < 0) {
        cb_error_wrap(err, "tag");
        return r;
    }
    b->n_tags++;
    if (cb_digest_is_set(&ref->digest))
        return cb_error_set(err, CB_EUSAGE, "tag %s: a name to build must not have a digest", text);
    cb_reference_default_tag(ref);
    return 0;
}

/* Names of -t (k = 0) are pushed by --push and by an image output without names of its own; those of output k - 1 by
 * --push and by itself. */
static bool pushes(const struct cb_build_options *o, size_t k)
{
    bool push = o->push || (k > 0 && o->outputs[k - 1].push);
    for (size_t i = 0; k == 0 && i < o->n_outputs; i++)
        push = push || (o->outputs[i].push && o->outputs[i].names.n == 0);
    return push;
}

static int parse_names(struct cb_build *b, bool pushed, struct cb_error *err)
{
    int r = 0;
    for (size_t k = 0; k <= b->o->n_outputs; k++) {
        const struct cb_strvec *names = k == 0 ? b->o->tags : &b->o->outputs[k - 1].names;
        for (size_t i = 0; r == 0 && names && pushes(b->o, k) == pushed && i < names->n; i++)
            r = parse_tag(b, names->v[i], err);
    }
    return r;
}

int cb_build_parse_names(struct cb_build *b, struct cb_error *err)
{
    size_t max = b->o->tags ? b->o->tags->n : 0;
    for (size_t i = 0; i < b->o->n_outputs; i++)
        max += b->o->outputs[i].names.n;
    b->tags = cb_calloc(max + 1, sizeof *b->tags);
    int r = parse_names(b, true, err);
    b->n_pushed = b->n_tags;
    return r < 0 ? r : parse_names(b, false, err);
}

bool cb_build_wants_push(const struct cb_build_options *o)
{
    bool push = o->push;
    for (size_t i = 0; i < o->n_outputs; i++)
        push = push || o->outputs[i].push;
    return push;
}
