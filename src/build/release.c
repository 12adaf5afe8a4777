/* SPDX-License-Identifier: Apache-2.0 */
#include "build/release.h"

#include "util/alloc.h"

void cb_release_done(struct cb_release *r)
{
    for (size_t i = 0; i < r->n; i++)
        cb_tag_state_done(&r->v[i].old);
    free(r->v);
}

/* ---- the policy ---- */

/* "DIGEST" for all, "REF=DIGEST" for one; "none" in the place of a digest: the tag is not to be there. */
struct expectation {
    struct cb_reference ref; /* host NULL: every tag */
    struct cb_digest digest; /* unset: none */
};

static void expectation_done(struct expectation *e)
{
    cb_reference_done(&e->ref);
}

static int parse_expectation(const char *text, struct expectation *out, struct cb_error *err)
{
    const char *eq = strrchr(text, '='), *digest = eq ? eq + 1 : text;
    int r = 0;
    *out = (struct expectation){ 0 };
    if (eq) {
        cb_autofree char *name = cb_strndup(text, (size_t)(eq - text));
        r = cb_reference_parse(&out->ref, name, err);
        cb_reference_default_tag(&out->ref);
    }
    if (r == 0 && strcmp(digest, "none") != 0)
        r = cb_digest_parse(&out->digest, digest, err);
    if (r < 0)
        return cb_error_set(err, CB_EUSAGE, "--expect-old %s: [NAME:TAG=]DIGEST, or none for a tag that is not there",
                            text);
    return 0;
}

int cb_release_policy_check(const struct cb_release_policy *p, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && p->expect_old && i < p->expect_old->n; i++) {
        struct expectation e CB_CLEANUP(expectation_done) = { 0 };
        r = parse_expectation(p->expect_old->v[i], &e, err);
    }
    return r;
}

/* What the tag is expected to be; false: nothing is expected of it. One by name comes before one for all. */
static bool expected(const struct cb_release *r, const struct cb_reference *ref, struct cb_digest *out)
{
    const struct cb_strvec *list = r->policy->expect_old;
    bool named = false, any = false;
    for (size_t i = 0; list && i < list->n; i++) {
        struct expectation e CB_CLEANUP(expectation_done) = { 0 };
        if (parse_expectation(list->v[i], &e, NULL) < 0 || (e.ref.host ? !cb_reference_same_tag(&e.ref, ref) : named))
            continue;
        named = e.ref.host != NULL;
        any = true;
        *out = e.digest;
    }
    return any;
}

static int check_names(const struct cb_release *r, struct cb_error *err)
{
    const struct cb_strvec *list = r->policy->expect_old;
    for (size_t i = 0; list && i < list->n; i++) {
        struct expectation e CB_CLEANUP(expectation_done) = { 0 };
        int s = parse_expectation(list->v[i], &e, err);
        bool known = !e.ref.host;
        for (size_t k = 0; s == 0 && !known && k < r->n; k++)
            known = cb_reference_same_tag(&e.ref, r->v[k].ref);
        if (s < 0)
            return s;
        if (!known)
            return cb_error_set(err, CB_EUSAGE, "--expect-old %s: no such tag is pushed", list->v[i]);
    }
    return 0;
}

static int check_expected(const struct cb_release *r, const struct cb_release_tag *t, struct cb_error *err)
{
    struct cb_digest want = { 0 };
    char have[CB_DIGEST_TEXT_MAX], text[CB_DIGEST_TEXT_MAX];
    if (!expected(r, t->ref, &want))
        return 0;
    bool none = !cb_digest_is_set(&want);
    if (t->old.there ? !none && cb_digest_eq(&want, &t->old.digest) : none)
        return 0;
    cb_autofree char *name = cb_reference_text(t->ref);
    return cb_error_set(err, CB_EVERIFY, "%s is %s, and was expected to be %s: nothing was moved", name,
                        t->old.there ? cb_digest_text(&t->old.digest, have) : "not there",
                        none ? "not there" : cb_digest_text(&want, text));
}

static int check_immutable(const struct cb_release *r, const struct cb_release_tag *t, struct cb_error *err)
{
    char have[CB_DIGEST_TEXT_MAX];
    if (!r->policy->immutable || !t->old.there)
        return 0;
    cb_autofree char *name = cb_reference_text(t->ref);
    return cb_error_set(err, CB_EVERIFY, "%s is %s already, and --immutable lets no tag move: choose another tag", name,
                        cb_digest_text(&t->old.digest, have));
}

/* ---- looking ---- */

static int look(struct cb_release *r, struct cb_error *err)
{
    int s = 0;
    for (size_t i = 0; s == 0 && i < r->n; i++) {
        cb_tag_state_done(&r->v[i].old);
        s = cb_push_tag_state(r->v[i].push, r->v[i].ref->tag, &r->v[i].old, err);
    }
    return s;
}

static bool has_expectations(const struct cb_release *r)
{
    return r->policy->expect_old && r->policy->expect_old->n > 0;
}

void cb_release_look_ahead(struct cb_release *r, struct cb_tags_ahead *ahead)
{
    if (r->n != 1 || r->policy->immutable || has_expectations(r))
        return;
    r->looked = (ahead && cb_tags_ahead_only(ahead, &r->v[0].old)) || look(r, NULL) == 0;
}

/* What would spare us the move is looked at again. */
static bool knows(const struct cb_release *r, const struct cb_digest *digest)
{
    return r->looked && !(r->v[0].old.there && cb_digest_eq(&r->v[0].old.digest, digest));
}

/* A tag that is there is no failure yet with --immutable: what is built may be what it stands for. */
int cb_release_check(struct cb_release *r, struct cb_error *err)
{
    if (!has_expectations(r))
        return 0;
    int s = check_names(r, err);
    if (s == 0)
        s = look(r, err);
    for (size_t i = 0; s == 0 && i < r->n; i++)
        s = check_expected(r, &r->v[i], err);
    return s;
}

static int check(struct cb_release *r, const struct cb_digest *digest, struct cb_error *err)
{
    int s = check_names(r, err);
    for (size_t i = 0; s == 0 && i < r->n; i++) {
        const struct cb_release_tag *t = &r->v[i];
        if (t->old.there && cb_digest_eq(&t->old.digest, digest))
            continue;
        s = check_immutable(r, t, err);
        if (s == 0)
            s = check_expected(r, t, err);
    }
    return s;
}

/* ---- moving ---- */

/* Several tags: the manifest first, everywhere, so that what follows are only names. */
static int put_everywhere(struct cb_release *r, const struct cb_tag_manifest *m, struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX];
    struct cb_push *last = NULL;
    int s = 0;
    cb_digest_text(&m->desc->digest, digest);
    for (size_t i = 0; s == 0 && r->n > 1 && i < r->n; i++) {
        bool there = false;
        if (r->v[i].push == last)
            continue;
        last = r->v[i].push;
        s = cb_push_manifest(last, m->desc, m->body.ptr, m->body.len, err);
        if (s == 0)
            s = cb_push_tag_current(last, m->desc, digest, &there, err);
        if (s == 0 && !there)
            s = cb_error_set(err, CB_ENET, "%s/%s took the manifest %s, and does not have it", r->v[i].ref->host,
                             r->v[i].ref->repo, digest);
    }
    return s;
}

/* v[from] to v[to - 1] are of one repository. */
static int move_repository(struct cb_release *r, size_t from, size_t to, const struct cb_tag_manifest *m,
                           struct cb_error *err)
{
    struct cb_tag_move *moves = cb_calloc(to - from, sizeof *moves);
    size_t *of = cb_calloc(to - from, sizeof *of), n = 0;
    for (size_t i = from; i < to; i++) {
        struct cb_release_tag *t = &r->v[i];
        if (t->old.there && cb_digest_eq(&t->old.digest, &m->desc->digest))
            continue;
        of[n] = i;
        moves[n++] = (struct cb_tag_move){ .tag = t->ref->tag, .old = &t->old,
                                           .guarded = r->policy->immutable || has_expectations(r) };
    }
    int s = cb_push_move_tags(r->v[from].push, m, moves, n, err);
    for (size_t i = 0; i < n; i++)
        r->v[of[i]].moved = moves[i].moved;
    free(moves);
    free(of);
    return s;
}

static int move(struct cb_release *r, const struct cb_tag_manifest *m, struct cb_error *err)
{
    int s = 0;
    for (size_t i = 0, end; s == 0 && i < r->n; i = end) {
        for (end = i + 1; end < r->n && r->v[end].push == r->v[i].push; end++)
            ;
        s = move_repository(r, i, end, m, err);
    }
    return s;
}

/* ---- back ---- */

int cb_release_restore(struct cb_registry *registry, struct cb_push *push, const struct cb_reference *ref,
                       const struct cb_digest *old, struct cb_error *err)
{
    struct cb_fetched f cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    if (!cb_digest_is_set(old))
        return cb_registry_tag_delete(registry, ref, err);
    struct cb_reference pinned = { .host = ref->host, .repo = ref->repo, .digest = *old };
    int s = cb_registry_manifest(registry, &pinned, &f, err);
    if (s < 0)
        return s;
    struct cb_tag_state state = { .there = true };
    struct cb_tag_move move = { .tag = ref->tag, .old = &state };
    struct cb_tag_manifest m = { &f.desc, { f.body.buf, f.body.len } };
    return cb_push_move_tags(push, &m, &move, 1, err);
}

static void add_name(struct cb_strbuf *list, const struct cb_reference *ref)
{
    cb_autofree char *name = cb_reference_text(ref);
    cb_strbuf_addf(list, "%s%s", list->len ? ", " : "", name);
}

static void undo(struct cb_release *r, struct cb_error *err)
{
    struct cb_strbuf back cb_cleanup_strbuf = CB_STRBUF_INIT, stays cb_cleanup_strbuf = CB_STRBUF_INIT;
    for (size_t i = r->n; i-- > 0;) {
        struct cb_release_tag *t = &r->v[i];
        if (!t->moved)
            continue;
        t->moved = cb_release_restore(r->registry, t->push, t->ref, &t->old.digest, NULL) < 0;
        add_name(t->moved ? &stays : &back, t->ref);
    }
    if (back.len)
        cb_error_append(err, "; moved back: %s", back.buf);
    if (stays.len)
        cb_error_append(err, "; moved, and could not be moved back: %s", stays.buf);
}

int cb_release_run(struct cb_release *r, const struct cb_tag_manifest *m, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int s = put_everywhere(r, m, &e);
    if (s == 0 && !knows(r, &m->desc->digest))
        s = look(r, &e);
    if (s == 0)
        s = check(r, &m->desc->digest, &e);
    if (s == 0 && (s = move(r, m, &e)) < 0)
        undo(r, &e);
    return s < 0 ? cb_error_move(err, &e) : 0;
}

void cb_release_report(const struct cb_release *r, bool failed, struct cb_build_result *res)
{
    res->tags = cb_reallocarray(res->tags, res->n_tags + r->n + 1, sizeof *res->tags);
    for (size_t i = 0; i < r->n; i++)
        if (!failed || r->v[i].moved)
            res->tags[res->n_tags++] = (struct cb_build_tag){ .name = cb_reference_text(r->v[i].ref), .pushed = true,
                                                              .moved = r->v[i].moved, .old = r->v[i].old.digest };
}
