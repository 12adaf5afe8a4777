/* SPDX-License-Identifier: Apache-2.0 */
/* COPY and ADD. */
#include "dockerfile/internal.h"

#include "util/alloc.h"

#define TEXT_SETTER(field)                                                                                             \
    static int set_##field(struct cb_df_instruction *i, const char *value, struct cb_error *err)                       \
    {                                                                                                                  \
        (void)err;                                                                                                     \
        return cb_df_set_string(&i->field, value);                                                                     \
    }
#define BOOL_SETTER(field)                                                                                             \
    static int set_##field(struct cb_df_instruction *i, const char *value, struct cb_error *err)                       \
    {                                                                                                                  \
        (void)err;                                                                                                     \
        i->field = strcmp(value, "true") == 0;                                                                         \
        return 0;                                                                                                      \
    }
TEXT_SETTER(chown)
TEXT_SETTER(chmod)
BOOL_SETTER(link)
BOOL_SETTER(parents)

static int set_from(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    int r = cb_df_from_check(value, err);
    return r < 0 ? r : cb_df_set_string(&i->from, value);
}

static int set_checksum(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    /* Absent, an empty one would let everything pass. */
    if (!*value)
        return cb_df_fail(err, "flag --checksum is empty: write --checksum=sha256:…");
    return cb_df_set_string(&i->checksum, value);
}

static int set_exclude(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec one = CB_STRVEC_INIT;
    cb_strvec_push(&one, value);
    CB_AUTO(cb_df_ignore_free) struct cb_df_ignore *checked = cb_df_ignore_from_patterns(&one, err);
    if (!checked) {
        (void)cb_error_wrap(err, "flag --exclude");
        return -CB_ECONF;
    }
    cb_strvec_push(&i->exclude, value);
    return 0;
}

static int set_keep_git_dir(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    (void)err;
    i->keep_git_dir = strcmp(value, "true") == 0;
    i->keep_git_dir_set = true;
    return 0;
}

static int set_unpack(struct cb_df_instruction *i, const char *value, struct cb_error *err)
{
    (void)err;
    i->unpack = strcmp(value, "true") == 0;
    return 0;
}

const struct cb_df_flag cb_df_flags_copy[] = {
    { "from", CB_DF_FLAG_STRING, set_from },
    { "chown", CB_DF_FLAG_STRING, set_chown },
    { "chmod", CB_DF_FLAG_STRING, set_chmod },
    { "link", CB_DF_FLAG_BOOL, set_link },
    { "parents", CB_DF_FLAG_BOOL, set_parents },
    { "exclude", CB_DF_FLAG_LIST, set_exclude },
    { NULL, CB_DF_FLAG_STRING, NULL },
};

const struct cb_df_flag cb_df_flags_add[] = {
    { "chown", CB_DF_FLAG_STRING, set_chown },
    { "chmod", CB_DF_FLAG_STRING, set_chmod },
    { "checksum", CB_DF_FLAG_STRING, set_checksum },
    { "link", CB_DF_FLAG_BOOL, set_link },
    { "keep-git-dir", CB_DF_FLAG_BOOL, set_keep_git_dir },
    { "unpack", CB_DF_FLAG_BOOL, set_unpack },
    { "exclude", CB_DF_FLAG_LIST, set_exclude },
    { NULL, CB_DF_FLAG_STRING, NULL },
};

/* Splits at blanks; a heredoc word, which may hold some, becomes the heredoc's name. */
static void split_words(struct cb_df_instruction *i, const struct cb_df_request *rq)
{
    size_t at = 0;
    i->heredoc_word = cb_calloc(CB_MAX(i->n_heredocs, (size_t)1), sizeof *i->heredoc_word);
    for (size_t k = 0; k < i->n_heredocs; k++) {
        struct cb_df_heredoc_word w = rq->heredocs.at[k];
        cb_autofree char *before = cb_strndup(rq->rest + at, w.start - at);
        cb_df_split_blank(&i->words, before);
        i->heredoc_word[k] = i->words.n;
        cb_strvec_push(&i->words, i->heredocs[k].name);
        at = w.end;
    }
    cb_df_split_blank(&i->words, rq->rest + at);
}

int cb_df_parse_copy(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    const char *name = cb_df_kind_name(i->kind);
    int r = cb_df_json_strings(rq->rest, &i->words, err);
    if (r < 0)
        return r;
    if (r == 0)
        split_words(i, rq);
    if (i->words.n < 2)
        return cb_df_fail(err, "%s %s: the destination is missing (write %s source… destination)", name,
                          CB_DF_SHOW(rq->rest), name);
    if (i->n_heredocs > 0 && i->heredoc_word[i->n_heredocs - 1] == i->words.n - 1)
        return cb_df_fail(err, "%s: the heredoc %s stands in the destination's place: add a path behind it", name,
                          CB_DF_SHOW(i->words.v[i->words.n - 1]));
    for (size_t k = 0; k + 1 < i->words.n; k++) { /* the destination may be: it is the working directory */
        if (!i->words.v[k][0])
            return cb_df_fail(err, "%s %s: a path is empty", name, CB_DF_SHOW(rq->rest));
    }
    return 0;
}
