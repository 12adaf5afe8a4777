/* SPDX-License-Identifier: Apache-2.0 */
/* The instructions that only change the image's configuration. */
#include "dockerfile/internal.h"

#include "util/alloc.h"

/* A word of "KEY=value" or, where only_key allows it, "KEY". */
static int add_pair(struct cb_df_instruction *i, const char *word, bool only_key, struct cb_error *err)
{
    const char *eq = strchr(word, '=');
    const char *name = cb_df_kind_name(i->kind);
    if (!eq && !only_key)
        return cb_df_fail(err, "%s: %s has no = (write %s key=value, with quotes around blanks)", name,
                          CB_DF_SHOW(word), name);
    if (eq == word)
        return cb_df_fail(err, "%s: %s has no name in front of the =", name, CB_DF_SHOW(word));
    struct cb_df_pair *p = &i->pairs[i->n_pairs++];
    p->key = eq ? cb_strndup(word, (size_t)(eq - word)) : cb_strdup(word);
    p->value = eq ? cb_strdup(eq + 1) : NULL;
    return 0;
}

static int add_pairs(struct cb_df_instruction *i, const struct cb_strvec *words, bool only_key, struct cb_error *err)
{
    int r = 0;
    i->pairs = cb_calloc(CB_MAX(words->n, (size_t)1), sizeof *i->pairs);
    for (size_t k = 0; r == 0 && k < words->n; k++)
        r = add_pair(i, words->v[k], only_key, err);
    return r;
}

int cb_df_parse_arg(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec words = CB_STRVEC_INIT;
    /* An open quote may be in a default that is never used: the expansion tells. */
    (void)cb_df_split_quoted(&words, rq->rest, rq->lexer->escape);
    if (words.n == 0)
        return cb_df_fail(err, "ARG needs a name");
    return add_pairs(i, &words, true, err);
}

static int legacy_pair(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    const char *s = rq->rest, *name = cb_df_kind_name(i->kind);
    size_t n = 0;
    while (s[n] && !cb_df_is_blank(s[n]))
        n++;
    const char *value = s + n;
    while (cb_df_is_blank(*value))
        value++;
    if (!*value)
        return cb_df_fail(err, "%s: %s has no value (write %s key=value)", name, CB_DF_SHOW(s), name);
    i->legacy_form = true;
    i->pairs = cb_calloc(1, sizeof *i->pairs);
    i->pairs[i->n_pairs++] = (struct cb_df_pair){ cb_strndup(s, n), cb_strdup(value) };
    return 0;
}

int cb_df_parse_pairs(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec words = CB_STRVEC_INIT;
    bool closed = cb_df_split_quoted(&words, rq->rest, rq->lexer->escape);
    if (words.n > 0 && !strchr(words.v[0], '='))
        return legacy_pair(i, rq, err);
    if (!closed)
        return cb_df_fail(err, "%s: %s: a quote is not closed", cb_df_kind_name(i->kind), CB_DF_SHOW(rq->rest));
    if (words.n == 0)
        return cb_df_fail(err, "%s needs key=value", cb_df_kind_name(i->kind));
    return add_pairs(i, &words, false, err);
}

int cb_df_parse_single(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    (void)err;
    cb_strvec_push(&i->words, rq->rest);
    return 0;
}

int cb_df_parse_expose(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    (void)err;
    cb_df_split_blank(&i->words, rq->rest);
    return 0;
}

int cb_df_parse_volume(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    int r = cb_df_json_strings(rq->rest, &i->words, err);
    if (r < 0)
        return r;
    if (r == 0)
        cb_df_split_blank(&i->words, rq->rest);
    if (i->words.n == 0)
        return cb_df_fail(err, "VOLUME needs a path");
    for (size_t k = 0; k < i->words.n; k++) {
        struct cb_slice t = cb_df_trim(CB_SLICE(i->words.v[k]));
        if (t.len == 0)
            return cb_df_fail(err, "VOLUME %s: a path is empty", CB_DF_SHOW(rq->rest));
        char *trimmed = cb_strndup(t.ptr, t.len);
        free(i->words.v[k]);
        i->words.v[k] = trimmed;
    }
    return 0;
}

int cb_df_parse_cmd(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    return cb_df_command_parse(&i->command, rq->rest, err);
}

int cb_df_parse_shell(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    int r = cb_df_command_parse(&i->command, rq->rest, err);
    if (r < 0)
        return r;
    if (!i->command.exec_form)
        return cb_df_fail(err, "SHELL %s: only the JSON form is possible, as in SHELL [\"/bin/bash\", \"-c\"]",
                          CB_DF_SHOW(rq->rest));
    if (i->command.args.n == 0)
        return cb_df_fail(err, "SHELL []: the name of a shell is missing");
    return 0;
}
