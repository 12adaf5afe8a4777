/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the verbs share that look into images and change them where they are. */

#include "cmd/session.h"
#include "edit/edit.h"

/* Options of all of them, behind their own. */
#define CB_OPT_EDIT(type)                                                                                            \
    CB_OPT_COMMON_PROGRESS(type), CB_OPT_COMMON_REGISTRY(type), CB_OPT_COMMON_RETRY(type),                           \
        CB_OPT_COMMON_STORE(type), CB_OPT_END
/* The members tag, platforms and json of those that edit. */
#define CB_OPT_EDIT_TAG(type)                                                                                        \
    {                                                                                                                \
        "tag", 't', CB_OPT_STRING, offsetof(struct type, tag), "NEWREF",                                             \
            "what it is to be called; default: the tag of REF is moved", NULL                                        \
    }
#define CB_OPT_EDIT_PLATFORMS(type)                                                                                  \
    {                                                                                                                \
        "platform", 0, CB_OPT_LIST, offsetof(struct type, platforms), "OS/ARCH,…",                                   \
            "of an index only these images; the others stay", NULL                                                   \
    }
#define CB_OPT_EDIT_JSON(type)                                                                                       \
    {                                                                                                                \
        "json", 0, CB_OPT_FLAG, offsetof(struct type, json), NULL, "print an object instead of the reference", NULL  \
    }

struct cb_edit_session {
    struct cb_session s;
    struct cb_edit_env env;
};
void cb_edit_session_done(struct cb_edit_session *e);
#define cb_cleanup_edit_session CB_CLEANUP(cb_edit_session_done)
/* title: "Looking", of the display. */
int cb_edit_session_open(struct cb_edit_session *e, const struct cb_process *p, const struct cb_common *c,
                         const char *title, struct cb_error *err) CB_WUR;
/* An IMAGE of the command line; its host is named. */
int cb_edit_session_source(struct cb_edit_session *e, const char *text, struct cb_edit_source *out,
                           struct cb_error *err) CB_WUR;
/* A REF that is changed: in a registry. to: -t, or NULL: what REF names is moved itself. */
int cb_edit_session_target(struct cb_edit_session *e, const char *text, const char *to, struct cb_edit_source *source,
                           struct cb_reference *target, struct cb_error *err) CB_WUR;
/* What the verbs that edit have in common: REF, -t, --platform, --json. */
struct cb_edit_request {
    const char *text, *tag;
    const struct cb_strvec *platforms;
    bool json;
};
/* Fills source, target, platforms and note of w, does it, and prints what came of it. */
int cb_edit_session_rewrite(struct cb_edit_session *e, const struct cb_edit_request *q, struct cb_edit_rewrite *w,
                            struct cb_error *err) CB_WUR;
/* The new reference by digest, or all of it as JSON. */
void cb_edit_session_print(const struct cb_edit_pushed *r, bool json);
/* RFC 3339 of SOURCE_DATE_EPOCH; NULL where it is not set. Owned by the caller. */
int cb_edit_created(char **out, struct cb_error *err) CB_WUR;
