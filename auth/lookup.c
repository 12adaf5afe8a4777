/* SPDX-License-Identifier: Apache-2.0 */
/* Which of all sources has the credential. */
#include "auth/private.h"
#include "util/alloc.h"

/* A file of a buildx directory, as a source for this once. */
static const json_t *buildx_root(const struct auth_source *src, const struct auth_query *q, bool of_repo,
                                 struct auth_source *file, struct cb_error *err)
{
    char *path = auth_buildx_find(src->name, q, of_repo);
    if (!path)
        return NULL;
    *file = (struct auth_source){ .name = path, .helped = src->helped };
    pthread_mutex_init(&file->mu, NULL);
    return auth_source_root(file, err);
}

static void buildx_done(struct auth_source *file)
{
    if (!file->name)
        return;
    json_decref(file->root);
    pthread_mutex_destroy(&file->mu);
    free(file->name);
}

/* buildx keys by directory: in the file itself the host alone counts. */
static int look_in_buildx(const struct auth_source *src, const struct auth_query *q, bool of_repo,
                          struct cb_credential *out, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_CLEANUP(buildx_done) struct auth_source file = { 0 };
    struct auth_query host = *q;
    host.repo = NULL;
    const json_t *root = buildx_root(src, q, of_repo, &file, &e);
    if (!root)
        return e.code ? cb_error_move(err, &e) : 0;
    return auth_root_lookup(root, &file, &host, AUTH_OF_HOST, out, err);
}

/* The longest path of all sources. What is broken shows when the hosts' own keys are looked at. */
static int look_for_path(struct auth_sources *s, const struct auth_query *q, struct cb_credential *out)
{
    const struct auth_source *best = NULL;
    unsigned most = 0;
    int r = 0;
    for (size_t i = 0; i < s->n; i++) {
        struct auth_source *src = &s->v[i];
        if (src->kind == AUTH_BUILDX && look_in_buildx(src, q, true, out, NULL) > 0)
            return 1; /* the whole repository, and nothing is longer */
        const json_t *root = src->kind <= AUTH_OLD ? auth_source_root(src, NULL) : NULL;
        unsigned rank = root ? auth_root_path_rank(root, q) : 0;
        if (rank > most) {
            best = src;
            most = rank;
        }
    }
    if (best)
        r = auth_root_lookup(best->root, best, q, AUTH_OF_PATH, out, NULL);
    return r > 0;
}

static int look_for_host(struct auth_source *src, const struct auth_query *q, struct cb_credential *out,
                         struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (src->kind == AUTH_HELPER)
        return auth_source_ask_helper(src, src->name, q, out, err);
    if (src->kind == AUTH_BUILDX)
        return look_in_buildx(src, q, false, out, err);
    const json_t *root = auth_source_root(src, &e);
    if (!root)
        return e.code ? cb_error_move(err, &e) : 0;
    return auth_root_lookup(root, src, q, AUTH_OF_HOST, out, err);
}

int auth_sources_lookup(struct auth_sources *s, const struct auth_query *q, struct cb_credential *out,
                        struct cb_error *err)
{
    int r = q->repo ? look_for_path(s, q, out) : 0;
    for (size_t i = 0; r == 0 && i < s->n; i++)
        r = look_for_host(&s->v[i], q, out, err);
    return r;
}
