/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_session.h"

#include <stdio.h>

#include "cmd/remote.h"
#include "util/alloc.h"
#include "util/timeutil.h"

void cb_edit_session_done(struct cb_edit_session *e)
{
    cb_session_done(&e->s);
}

int cb_edit_session_open(struct cb_edit_session *e, const struct cb_process *p, const struct cb_common *c,
                         const char *title, struct cb_error *err)
{
    e->s.may_forget = true;
    int r = cb_session_open(&e->s, p, c, title, err);
    if (r < 0)
        return r;
    e->env = (struct cb_edit_env){ .registry = e->s.registry, .store = e->s.store, .cpu = e->s.cpu,
                                   .step = cb_step_new(e->s.progress, "layers"), .cancel = p->cancel };
    return 0;
}

int cb_edit_session_source(struct cb_edit_session *e, const char *text, struct cb_edit_source *out,
                           struct cb_error *err)
{
    int r = cb_starts_with(text, "store:")
                ? 0
                : cb_check_no_place(text, "write HOST/REPOSITORY[:TAG], or store:NAME for an image of the store", err);
    *out = (struct cb_edit_source){ 0 };
    if (r == 0)
        r = cb_edit_source_parse(out, &e->env, text, err);
    if (r < 0)
        return r;
    return out->stored ? cb_session_needs_store(&e->s, err) : cb_session_name_host(&e->s, out->ref.host, err);
}

int cb_edit_session_target(struct cb_edit_session *e, const char *text, const char *to, struct cb_edit_source *source,
                           struct cb_reference *target, struct cb_error *err)
{
    int r = cb_edit_session_source(e, text, source, err);
    if (r == 0 && source->stored)
        return cb_error_set(err, CB_EUSAGE, "%s: images are changed in a registry: `cbpush push` brings it there",
                            text);
    if (r < 0)
        return r;
    if (!to) {
        cb_reference_copy(target, &source->ref);
        target->digest = (struct cb_digest){ 0 };
        if (source->ref.tag && cb_digest_is_set(&source->ref.digest))
            return cb_error_set(err, CB_EUSAGE, "%s has a tag and a digest: -t says which tag is to be moved", text);
        return 0;
    }
    if ((r = cb_remote_parse(target, to, CB_REMOTE_IMAGE, err)) < 0)
        return r;
    if (cb_digest_is_set(&target->digest))
        return cb_error_set(err, CB_EUSAGE, "-t %s: a digest cannot be chosen: name a tag", to);
    return cb_session_name_host(&e->s, target->host, err);
}

void cb_edit_session_print(const struct cb_edit_pushed *r, bool json)
{
    struct cb_reference by_digest cb_cleanup_reference = { .host = cb_strdup(r->ref.host),
                                                           .repo = cb_strdup(r->ref.repo), .digest = r->ref.digest };
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *text = cb_reference_text(&by_digest);
    char digest[CB_DIGEST_TEXT_MAX];
    if (!json) {
        printf("%s\n", text);
        return;
    }
    cb_autojson json_t *o = json_object();
    cb_json_put_string(o, "reference", text);
    cb_json_put_string(o, "digest", cb_digest_text(&r->desc.digest, digest));
    cb_json_put_string(o, "mediaType", r->desc.media_type);
    cb_json_put(o, "size", json_integer((json_int_t)r->desc.size));
    cb_json_put_string(o, "tag", r->ref.tag);
    cb_json_put(o, "moved", json_boolean(r->moved));
    cb_json_put(o, "blobs", json_pack("{s:I,s:I,s:I,s:I}", "present", (json_int_t)r->present, "mounted",
                                      (json_int_t)r->mounted, "sent", (json_int_t)r->sent, "bytes",
                                      (json_int_t)r->bytes));
    cb_json_print_pretty(&out, o);
    fputs(out.buf, stdout);
}

static void note_line(void *session, const char *line)
{
    const struct cb_edit_session *e = session;
    cb_progress_note(e->s.progress, true, "note: %s", line);
}

int cb_edit_session_rewrite(struct cb_edit_session *e, const struct cb_edit_request *q, struct cb_edit_rewrite *w,
                            struct cb_error *err)
{
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_reference target cb_cleanup_reference = { 0 };
    struct cb_edit_pushed pushed cb_cleanup_edit_pushed = { 0 };
    struct cb_platform *platforms = NULL;
    int r = cb_platforms_parse(q->platforms, &platforms, &w->n_platforms, err);
    w->source = &source;
    w->target = &target;
    w->platforms = platforms;
    w->note = note_line;
    w->note_arg = e;
    if (r == 0)
        r = cb_edit_session_target(e, q->text, q->tag, &source, &target, err);
    if (r == 0)
        r = cb_edit_rewrite(w, &pushed, err);
    cb_platforms_free(platforms, w->n_platforms);
    cb_progress_finish(e->s.progress, r < 0);
    if (r == 0)
        cb_edit_session_print(&pushed, q->json);
    return r;
}

int cb_edit_created(char **out, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int64_t sec = 0;
    bool set = false;
    *out = NULL;
    int r = cb_source_date_epoch(&set, &sec, err);
    if (r < 0 || !set)
        return r;
    cb_time_format(&text, sec * INT64_C(1000000000));
    *out = cb_strbuf_detach(&text, NULL);
    return 0;
}
