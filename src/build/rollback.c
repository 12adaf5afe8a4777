/* SPDX-License-Identifier: Apache-2.0 */
#include "build/release.h"
#include "util/alloc.h"

/* Each tag has a session of its own; they share connections and tokens. */
static int open_all(const struct cb_build_env *env, struct cb_rollback *v, size_t n, struct cb_push **push,
                    struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++) {
        struct cb_push_options o = { .target = &v[i].ref, .jobs = 1 };
        r = cb_push_begin(env->registry, &o, &push[i], err);
    }
    return r;
}

static bool is(const struct cb_tag_state *s, const struct cb_digest *d)
{
    return s->there ? cb_digest_eq(&s->digest, d) : !cb_digest_is_set(d);
}

static int look_at(struct cb_rollback *t, struct cb_push *push, bool force, struct cb_error *err)
{
    struct cb_tag_state state cb_cleanup_tag_state = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    int r = cb_push_tag_state(push, t->ref.tag, &state, err);
    if (r < 0)
        return r;
    if (is(&state, &t->old))
        t->outcome = CB_ROLLBACK_WAS_SO;
    else if (!force && !is(&state, &t->now)) {
        cb_autofree char *name = cb_reference_text(&t->ref);
        return cb_error_set(err, CB_EVERIFY,
                            "%s is %s, so somebody has moved it since: nothing was rolled back (--force does it)", name,
                            state.there ? cb_digest_text(&state.digest, text) : "not there");
    }
    return 0;
}

static int restore_all(const struct cb_build_env *env, struct cb_rollback *v, size_t n, struct cb_push **push,
                       struct cb_error *err)
{
    int first = 0;
    for (size_t i = n; i-- > 0;) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (v[i].outcome == CB_ROLLBACK_WAS_SO)
            continue;
        int r = cb_release_restore(env->registry, push[i], &v[i].ref, &v[i].old, &e);
        v[i].outcome = r < 0 ? CB_ROLLBACK_FAILED : CB_ROLLBACK_DONE;
        if (r < 0 && first == 0) {
            cb_autofree char *name = cb_reference_text(&v[i].ref);
            cb_error_wrap(&e, "%s", name);
            first = cb_error_move(err, &e);
        }
    }
    return first;
}

int cb_build_rollback(const struct cb_build_env *env, struct cb_rollback *v, size_t n, bool force,
                      struct cb_error *err)
{
    struct cb_push **push = cb_calloc(n + 1, sizeof(struct cb_push *));
    int r = open_all(env, v, n, push, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        r = look_at(&v[i], push[i], force, err);
    if (r == 0)
        r = restore_all(env, v, n, push, err);
    for (size_t i = 0; i < n; i++)
        cb_push_free(push[i]);
    free(push);
    return r;
}
