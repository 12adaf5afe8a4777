/* SPDX-License-Identifier: Apache-2.0 */
/* FROM and ONBUILD. */
#include "dockerfile/internal.h"

#include <ctype.h>
#include <strings.h>

#include "util/alloc.h"

static int set_platform(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    (void)err;
    return cb_df_set_string(&i->platform, value);
}

const struct cb_df_flag cb_df_flags_from[] = {
    { "platform", CB_DF_FLAG_STRING, set_platform },
    { NULL, CB_DF_FLAG_STRING, NULL },
};

static bool stage_name_ok(const char *s)
{
    return islower((unsigned char)*s) && s[strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] == '\0';
}

int cb_df_parse_from(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    struct cb_strvec *w = &i->words;
    cb_df_split_blank(w, rq->rest);
    if (w->n != 1 && (w->n != 3 || strcasecmp(w->v[1], "as") != 0))
        return cb_df_fail(err, "FROM %s: write FROM image or FROM image AS name", CB_DF_SHOW(rq->rest));
    i->base = cb_strdup(w->v[0]);
    if (w->n == 1)
        return 0;
    i->stage_name = cb_strdup(w->v[2]);
    for (char *p = i->stage_name; *p; p++)
        *p = (char)tolower((unsigned char)*p);
    if (!stage_name_ok(i->stage_name))
        return cb_df_fail(err, "stage name %s: it begins with a letter and has only letters, digits, -, _ and .",
                          CB_DF_SHOW(w->v[2]));
    return 0;
}

int cb_df_parse_onbuild(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    struct cb_df_request inner = *rq;
    inner.trigger = true;
    inner.heredocs = (struct cb_df_heredocs)CB_DF_HEREDOCS_INIT;
    i->onbuild = CB_NEW(struct cb_df_instruction);
    int r = cb_df_instruction_read(i->onbuild, &inner, rq->rest, err);
    cb_df_heredocs_done(&inner.heredocs);
    i->onbuild->span.last = rq->lexer->line;
    if (r < 0)
        (void)cb_error_wrap(err, "ONBUILD");
    return r;
}

void cb_df_onbuild_text(struct cb_strbuf *out, const struct cb_df_instruction *onbuild)
{
    const struct cb_df_instruction *i = onbuild->onbuild;
    cb_strbuf_adds(out, i->original);
    for (size_t k = 0; k < i->n_heredocs; k++)
        cb_strbuf_addf(out, "\n%s%s", i->heredocs[k].body, i->heredocs[k].name);
}
