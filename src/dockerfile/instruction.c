/* SPDX-License-Identifier: Apache-2.0 */
#include "dockerfile/internal.h"

#include <strings.h>

#include "util/alloc.h"
#include "util/limits.h"

/* The grammar's table: one row a kind, in the order of enum cb_df_kind. */
static const struct kind {
    const char *name;
    cb_df_parse_fn *parse;
    const struct cb_df_flag *flags;
    bool heredocs;
    bool trigger; /* may stand behind ONBUILD */
} kinds[] = {
    [CB_DF_FROM] = { "FROM", cb_df_parse_from, cb_df_flags_from, false, false },
    [CB_DF_ARG] = { "ARG", cb_df_parse_arg, NULL, false, true },
    [CB_DF_ENV] = { "ENV", cb_df_parse_pairs, NULL, false, true },
    [CB_DF_LABEL] = { "LABEL", cb_df_parse_pairs, NULL, false, true },
    [CB_DF_MAINTAINER] = { "MAINTAINER", cb_df_parse_single, NULL, false, false },
    [CB_DF_WORKDIR] = { "WORKDIR", cb_df_parse_single, NULL, false, true },
    [CB_DF_COPY] = { "COPY", cb_df_parse_copy, cb_df_flags_copy, true, true },
    [CB_DF_ADD] = { "ADD", cb_df_parse_copy, cb_df_flags_add, true, true },
    [CB_DF_RUN] = { "RUN", cb_df_parse_run, cb_df_flags_run, true, true },
    [CB_DF_USER] = { "USER", cb_df_parse_single, NULL, false, true },
    [CB_DF_EXPOSE] = { "EXPOSE", cb_df_parse_expose, NULL, false, true },
    [CB_DF_CMD] = { "CMD", cb_df_parse_cmd, NULL, false, true },
    [CB_DF_ENTRYPOINT] = { "ENTRYPOINT", cb_df_parse_cmd, NULL, false, true },
    [CB_DF_VOLUME] = { "VOLUME", cb_df_parse_volume, NULL, false, true },
    [CB_DF_SHELL] = { "SHELL", cb_df_parse_shell, NULL, false, true },
    [CB_DF_STOPSIGNAL] = { "STOPSIGNAL", cb_df_parse_single, NULL, false, true },
    [CB_DF_HEALTHCHECK] = { "HEALTHCHECK", cb_df_parse_healthcheck, cb_df_flags_healthcheck, false, true },
    /* What stands behind ONBUILD brings its own flags and heredocs. */
    [CB_DF_ONBUILD] = { "ONBUILD", cb_df_parse_onbuild, NULL, false, false },
};

const char *cb_df_kind_name(enum cb_df_kind k)
{
    return kinds[k].name;
}

int cb_df_set_string(char **field, const char *value)
{
    free(*field);
    *field = *value ? cb_strdup(value) : NULL;
    return 0;
}

static void done_pairs(struct cb_df_instruction *i)
{
    for (size_t k = 0; k < i->n_pairs; k++) {
        free(i->pairs[k].key);
        free(i->pairs[k].value);
    }
    free(i->pairs);
}

static void done_heredocs(struct cb_df_instruction *i)
{
    for (size_t k = 0; k < i->n_heredocs; k++) {
        free(i->heredocs[k].name);
        free(i->heredocs[k].body);
    }
    free(i->heredocs);
    free(i->heredoc_word);
}

static void done_mounts(struct cb_df_instruction *i)
{
    for (size_t k = 0; k < i->n_mounts; k++)
        cb_df_mount_done(&i->mounts[k]);
    free(i->mounts);
}

void cb_df_instruction_done(struct cb_df_instruction *i)
{
    char *const texts[] = {
        i->original, i->check, i->from, i->chown, i->chmod, i->checksum, i->network, i->security, i->platform, i->base,
        i->stage_name,
    };
    for (size_t k = 0; k < CB_COUNTOF(texts); k++)
        free(texts[k]);
    done_pairs(i);
    done_heredocs(i);
    done_mounts(i);
    cb_strvec_done(&i->comments);
    cb_strvec_done(&i->words);
    cb_strvec_done(&i->command.args);
    cb_strvec_done(&i->exclude);
    cb_strvec_done(&i->devices);
    if (i->onbuild) {
        cb_df_instruction_done(i->onbuild);
        free(i->onbuild);
    }
    *i = (struct cb_df_instruction){ 0 };
}

static int find_kind(const char *line, size_t n, enum cb_df_kind *kind, struct cb_error *err)
{
    const char *names[CB_COUNTOF(kinds) + 1] = { NULL };
    for (size_t k = 0; k < CB_COUNTOF(kinds); k++) {
        if (strlen(kinds[k].name) == n && strncasecmp(kinds[k].name, line, n) == 0) {
            *kind = (enum cb_df_kind)k;
            return 0;
        }
        names[k] = kinds[k].name;
    }
    cb_autofree char *word = cb_strndup(line, n);
    const char *best = cb_df_suggest(word, names);
    if (best)
        return cb_df_fail(err, "unknown instruction: %s (did you mean %s?)", CB_DF_SHOW(word), best);
    return cb_df_fail(err, "unknown instruction: %s; if the line belongs to the one above, end that with \\",
                      CB_DF_SHOW(word));
}

/* Finds and reads the heredocs of arguments that are no JSON. */
static int read_heredocs(struct cb_df_instruction *i, struct cb_df_request *rq, struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec json = CB_STRVEC_INIT;
    struct cb_df_heredocs *h = &rq->heredocs;
    if (!strstr(rq->rest, "<<"))
        return 0;
    int r = cb_df_json_strings(rq->rest, &json, err);
    if (r != 0)
        return r < 0 ? r : 0;
    r = cb_df_heredocs_scan(h, rq->rest, err);
    if (r == 0)
        r = cb_df_heredocs_read(h, rq->lexer, err);
    if (r < 0)
        return r;
    i->heredocs = CB_TAKE(h->v);
    i->n_heredocs = h->n;
    h->n = 0;
    return 0;
}

int cb_df_instruction_read(struct cb_df_instruction *out, struct cb_df_request *rq, const char *line,
                           struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec flags = CB_STRVEC_INIT;
    size_t n = 0;
    while (line[n] && !cb_df_is_blank(line[n]))
        n++;
    int r = find_kind(line, n, &out->kind, err);
    if (r < 0)
        return r;
    const struct kind *k = &kinds[out->kind];
    out->span = rq->span;
    out->original = cb_strdup(line);
    out->unpack = -1;
    if (rq->trigger && !k->trigger)
        return cb_df_fail(err, "%s cannot stand behind ONBUILD", k->name);
    rq->rest = line + n;
    r = cb_df_flags_extract(&rq->rest, rq->lexer->escape, &flags, err);
    if (r == 0)
        r = cb_df_flags_apply(out, k->flags, &flags, err);
    if (r == 0 && k->heredocs)
        r = read_heredocs(out, rq, err);
    if (r < 0)
        return r;
    rq->rest = cb_df_trim_left(CB_SLICE(rq->rest)).ptr;
    if (!*rq->rest)
        return cb_df_fail(err, "%s needs arguments", k->name);
    return k->parse(out, rq, err);
}

static int read_trigger(struct cb_df_instruction *out, struct cb_df_lexer *lx, struct cb_error *err)
{
    CB_CLEANUP(cb_df_line_done) struct cb_df_line line = CB_DF_LINE_INIT;
    CB_CLEANUP(cb_df_line_done) struct cb_df_line more = CB_DF_LINE_INIT;
    int r = cb_df_lexer_next(lx, &line, err);
    if (r <= 0)
        return r < 0 ? r : cb_df_fail(err, "there is no instruction in it");
    struct cb_df_request rq = { .lexer = lx, .span = line.span, .trigger = true };
    r = cb_df_instruction_read(out, &rq, line.text.buf, err);
    cb_df_heredocs_done(&rq.heredocs);
    if (r == 0)
        r = cb_df_lexer_next(lx, &more, err);
    if (r <= 0)
        return r;
    return cb_df_fail(err, "%s: a trigger is one instruction", CB_DF_SHOW(more.text.buf));
}

int cb_df_instruction_parse(struct cb_df_instruction *out, const char *text, const char *where, struct cb_error *err)
{
    struct cb_df_lexer lx = { .text = text, .len = strlen(text), .escape = '\\' };
    unsigned line;
    *out = (struct cb_df_instruction){ 0 };
    int r = cb_df_text_check(text, lx.len, CB_MAX_DOCKERFILE, &line, err);
    if (r == 0)
        r = read_trigger(out, &lx, err);
    if (r == 0)
        return 0;
    cb_df_instruction_done(out);
    (void)cb_error_wrap(err, "%s", where);
    return -CB_ECONF;
}
