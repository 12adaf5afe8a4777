/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs that the target hardly has: those that were made just now, and all where nothing was ever pushed. Looking first
 * would cost a round trip of the time that somebody waits for. What is small is sent in the time that looking takes;
 * beside a larger one one looks, and ends the upload in the middle where it is there all the same. */
#include "oci/json.h"
#include "registry/private.h"
#include "util/alloc.h"

#define LOOK_FROM (UINT64_C(1) << 20)
#define BARE_FROM (UINT64_C(8) << 20) /* all begin at once there, and looks would take the places of bodies */
#define MAX_ANSWER (64u << 10)
#define PATIENCE_NS (3 * INT64_C(1000000000)) /* with a registry that is slow to say what it has */

/* ---- whether nothing was ever pushed there ---- */

/* Of what was pushed without a tag a list of tags says nothing; then the looks beside the uploads do. */
static bool has_no_tags(struct cb_push *p)
{
    CB_AUTO(cb_cancel_free) struct cb_cancel *patience = cb_cancel_new_for(p->cancel, PATIENCE_NS);
    CB_CLEANUP(reg_answer_done) struct reg_answer a = { .body = CB_STRBUF_INIT };
    struct reg_endpoint e = p->e;
    cb_autofree char *path = cb_asprintf("%s/tags/list?n=1", p->e.repo);
    struct cb_scope scope = { p->e.repo, "pull,push" };
    struct reg_request q = { .method = "GET", .path = path, .scopes = &scope, .n_scopes = 1, .no_retry = true,
                             .followed = true, .max_body = MAX_ANSWER };
    e.cancel = patience;
    if (reg_get(p->r, &e, &q, &a, NULL) < 0)
        return false;
    if (cb_http_status(a.reply) != 200)
        return cb_http_status(a.reply) == 404;
    cb_autojson json_t *o = cb_json_parse(a.body.buf, a.body.len, NULL);
    const json_t *tags = json_object_get(o, "tags");
    return tags && json_array_size(tags) == 0;
}

static void survey(void *arg)
{
    struct cb_push *p = arg;
    bool bare = !push_stopped(p) && has_no_tags(p);
    pthread_mutex_lock(&p->mu);
    p->bare = bare;
    p->surveying = false;
    pthread_cond_broadcast(&p->cond);
    pthread_mutex_unlock(&p->mu);
}

void cb_push_survey(struct cb_push *p)
{
    pthread_mutex_lock(&p->mu);
    bool first = !p->surveyed;
    p->surveying = p->surveying || first;
    p->surveyed = true;
    pthread_mutex_unlock(&p->mu);
    if (first)
        cb_pool_submit(p->openers, survey, p);
}

bool cb_push_is_bare(struct cb_push *p)
{
    pthread_mutex_lock(&p->mu);
    while (p->surveying && !p->stop && !p->error.code)
        pthread_cond_wait(&p->cond, &p->mu);
    bool bare = p->bare;
    pthread_mutex_unlock(&p->mu);
    return bare;
}

bool push_is_fresh(struct push_blob *b)
{
    return !b->done && (b->fresh || cb_push_is_bare(b->p));
}

/* ---- beside an upload ---- */

static void look_job(void *arg)
{
    struct push_blob *b = arg;
    if (!push_stopped(b->p) && push_is_there(b, NULL) == 1)
        atomic_store(&b->found, true);
    pthread_mutex_lock(&b->p->mu);
    b->looking = false;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->p->mu);
}

void push_look_beside(struct push_blob *b)
{
    if (!b->unseen)
        return;
    b->unseen = false;
    b->looking = true;
    cb_pool_submit(b->p->openers, look_job, b);
}

static int give_up(struct push_blob *b, int s, struct cb_error *e, struct cb_error *err)
{
    struct cb_push *p = b->p;
    pthread_mutex_lock(&p->mu);
    while (b->looking)
        pthread_cond_wait(&b->changed, &p->mu);
    pthread_mutex_unlock(&p->mu);
    if (s >= 0 || !atomic_load(&b->found))
        return s < 0 ? cb_error_move(err, e) : 0;
    b->result.outcome = CB_BLOB_PRESENT;
    return 0;
}

int push_send_fresh(struct push_blob *b, struct push_session *session, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    b->unseen = b->desc.size >= (b->fresh ? LOOK_FROM : BARE_FROM);
    int s = push_send(b, session, &e);
    return give_up(b, s, &e, err);
}
