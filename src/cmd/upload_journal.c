/* SPDX-License-Identifier: Apache-2.0 */
/* The store keeps the registry client's journal of uploads. */
#include "cmd/session.h"

static int take(void *arg, const struct cb_upload_id *id, struct cb_upload_taken *out, struct cb_error *err)
{
    struct cb_store_upload_id what = { id->host, id->repo, id->digest };
    struct cb_store_upload_state state;
    struct cb_store_upload *u = NULL;
    int r = cb_store_upload_take(arg, &what, &u, &state, err);
    *out = (struct cb_upload_taken){ u, state.location, state.offset };
    return r;
}

static int note(void *entry, const char *location, uint64_t offset, struct cb_error *err)
{
    return cb_store_upload_note(entry, location, offset, err);
}

static void done(void *entry, bool finished)
{
    cb_store_upload_close(entry, finished);
}

struct cb_upload_journal cb_session_journal(struct cb_store *store)
{
    return (struct cb_upload_journal){ .take = take, .note = note, .close = done, .arg = store };
}
