/* SPDX-License-Identifier: Apache-2.0 */
#include "registry/upload.h"
#include "util/alloc.h"

#define MAX_LOOKS 20
#define LOOK_NS (250 * INT64_C(1000000))

static void say(const struct upload *u, const char *what, struct cb_error *e)
{
    const struct cb_registry_options *o = &u->b->p->r->o;
    if (o->debug) {
        cb_autofree char *line = cb_asprintf("%s: %s", what, cb_error_text(e));
        o->debug(o->debug_arg, line);
    }
    cb_error_done(e);
}

static void tell_user(const struct upload *u)
{
    const struct cb_registry_options *o = &u->b->p->r->o;
    char id[CB_DIGEST_TEXT_MAX];
    if (!o->notice)
        return;
    cb_autofree char *line = cb_asprintf("blob %.19s goes on at byte %llu of %llu, where an earlier push ended",
                                         cb_digest_text(&u->b->desc.digest, id), (unsigned long long)u->offset,
                                         (unsigned long long)u->b->desc.size);
    o->notice(o->notice_arg, line);
}

/* What the dead process had on the line may still be coming in: two writers at once would spoil the blob. So the
 * registry is asked until it says the same twice. */
static int settle(struct upload *u, struct cb_error *err)
{
    int s = upload_ask(u, false, err);
    for (unsigned i = 0; s == UPLOAD_ON && i < MAX_LOOKS; i++) {
        uint64_t before = u->offset;
        s = reg_pause(u->b->p->r, u->b->p->e.cancel, LOOK_NS, err);
        if (s == 0)
            s = upload_ask(u, false, err);
        if (s == UPLOAD_ON && u->offset == before)
            break;
    }
    return s;
}

/* Only what the registry still answers for is gone on with. What was left may be of another day's host, so that nothing
 * it does is an error: the blob goes from its beginning then. */
static int go_on(struct upload *u, struct cb_upload_taken *t, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct push_session opened = u->at;
    u->at = (struct push_session){ .url = CB_TAKE(t->location), .chunk_min = opened.chunk_min };
    u->offset = u->mark = CB_MIN(t->offset, u->b->desc.size);
    u->reached = u->b->desc.size;
    int s = settle(u, &e);
    if (s == -CB_ECANCELED)
        cb_error_move(err, &e);
    if (s == UPLOAD_ON) {
        u->spliced = true;
        push_session_done(&opened);
        tell_user(u);
        return 0;
    }
    if (s < 0)
        say(u, "an upload that an earlier push left", &e);
    upload_session_drop(u);
    u->at = opened;
    return s == -CB_ECANCELED ? s : 0;
}

int upload_journal_take(struct upload *u, struct cb_error *err)
{
    struct cb_push *p = u->b->p;
    const struct cb_upload_journal *j = p->r->o.journal;
    struct cb_upload_id id = { p->e.host, p->e.repo, &u->b->desc.digest };
    struct cb_upload_taken t = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (!j || u->entry)
        return 0;
    if (j->take(j->arg, &id, &t, &e) < 0)
        say(u, "journal of uploads", &e);
    u->entry = t.entry;
    int s = t.location ? go_on(u, &t, err) : 0;
    if (t.location)
        explicit_bzero(t.location, strlen(t.location));
    free(t.location);
    return s;
}

void upload_journal_note(struct upload *u)
{
    const struct cb_upload_journal *j = u->b->p->r->o.journal;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (u->entry && j->note(u->entry, u->at.url, u->offset, &e) < 0)
        say(u, "journal of uploads", &e);
}

void upload_journal_close(struct upload *u, bool done)
{
    if (u->entry)
        u->b->p->r->o.journal->close(u->entry, done);
    u->entry = NULL;
}
