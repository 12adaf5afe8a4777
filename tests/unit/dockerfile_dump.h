/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* The parsed form as text, one line a fact, for comparison with what a .test file expects. */

#include "dockerfile/dockerfile.h"

static inline void dump_text(struct cb_strbuf *o, const char *key, const char *s)
{
    if (!s)
        return;
    cb_strbuf_addf(o, " %s=\"", key);
    for (; *s; s++) {
        if (*s == '\n')
            cb_strbuf_adds(o, "\\n");
        else if (*s == '\r')
            cb_strbuf_adds(o, "\\r");
        else if (*s == '\t')
            cb_strbuf_adds(o, "\\t");
        else
            cb_strbuf_addch(o, *s);
    }
    cb_strbuf_addch(o, '"');
}

static inline void dump_list(struct cb_strbuf *o, const char *key, const struct cb_strvec *v)
{
    for (size_t i = 0; i < v->n; i++)
        dump_text(o, key, v->v[i]);
}

static inline void dump_span(struct cb_strbuf *o, struct cb_df_span s)
{
    cb_strbuf_addf(o, s.first == s.last ? " %u" : " %u-%u", s.first, s.last);
}

static inline void dump_mount(struct cb_strbuf *o, const struct cb_df_mount *m)
{
    static const char *const types[] = { "bind", "cache", "tmpfs", "secret", "ssh" };
    cb_strbuf_addf(o, "  mount %s %s%s", types[m->type], m->readonly ? "ro" : "rw", m->required ? " required" : "");
    dump_text(o, "id", m->id);
    dump_text(o, "target", m->target);
    dump_text(o, "source", m->source);
    dump_text(o, "from", m->from);
    dump_text(o, "env", m->env);
    dump_text(o, "sharing", m->sharing);
    dump_text(o, "mode", m->mode);
    dump_text(o, "uid", m->uid);
    dump_text(o, "gid", m->gid);
    dump_text(o, "size", m->size);
    cb_strbuf_addch(o, '\n');
}

static inline void dump_flags(struct cb_strbuf *o, const struct cb_df_instruction *i)
{
    dump_text(o, "from", i->from);
    dump_text(o, "chown", i->chown);
    dump_text(o, "chmod", i->chmod);
    dump_text(o, "checksum", i->checksum);
    dump_text(o, "network", i->network);
    dump_text(o, "security", i->security);
    dump_text(o, "platform", i->platform);
    dump_list(o, "exclude", &i->exclude);
    dump_list(o, "device", &i->devices);
    if (i->link)
        cb_strbuf_adds(o, " link");
    if (i->parents)
        cb_strbuf_adds(o, " parents");
    if (i->keep_git_dir_set)
        cb_strbuf_addf(o, " keep-git-dir=%d", i->keep_git_dir);
    if (i->unpack >= 0)
        cb_strbuf_addf(o, " unpack=%d", i->unpack);
    if (i->legacy_form)
        cb_strbuf_adds(o, " legacy");
    dump_text(o, "check", i->check);
}

static inline void dump_health(struct cb_strbuf *o, const struct cb_df_instruction *i)
{
    if (i->healthcheck_none)
        cb_strbuf_adds(o, " none");
    if (i->hc_interval || i->hc_timeout || i->hc_start_period || i->hc_start_interval)
        cb_strbuf_addf(o, " interval=%lld timeout=%lld start-period=%lld start-interval=%lld",
                       (long long)i->hc_interval, (long long)i->hc_timeout,
                       (long long)i->hc_start_period, (long long)i->hc_start_interval);
    if (i->hc_retries_set)
        cb_strbuf_addf(o, " retries=%llu", (unsigned long long)i->hc_retries);
}

static inline void dump_heredocs(struct cb_strbuf *o, const struct cb_df_instruction *i)
{
    for (size_t k = 0; k < i->n_heredocs; k++) {
        const struct cb_df_heredoc *h = &i->heredocs[k];
        cb_strbuf_addf(o, "  heredoc fd=%u%s%s", h->fd, h->expand ? " expand" : "", h->chomp ? " chomp" : "");
        if (i->heredoc_word)
            cb_strbuf_addf(o, " word=%zu", i->heredoc_word[k]);
        dump_text(o, "name", h->name);
        dump_text(o, "body", h->body);
        cb_strbuf_addch(o, '\n');
    }
    if (i->kind == CB_DF_RUN && i->n_heredocs > 0)
        cb_strbuf_adds(o, cb_df_run_is_script(i) ? "  script\n" : "  mixed\n");
}

static inline void dump_instruction(struct cb_strbuf *o, const struct cb_df_instruction *i)
{
    cb_strbuf_adds(o, cb_df_kind_name(i->kind));
    dump_span(o, i->span);
    dump_text(o, "base", i->base);
    dump_text(o, "name", i->stage_name);
    for (size_t k = 0; k < i->n_pairs; k++) {
        dump_text(o, "key", i->pairs[k].key);
        dump_text(o, "value", i->pairs[k].value);
    }
    if (i->kind != CB_DF_FROM)
        dump_list(o, "word", &i->words);
    if (i->command.exec_form)
        cb_strbuf_adds(o, " exec");
    dump_list(o, i->command.exec_form ? "arg" : "shell", &i->command.args);
    dump_health(o, i);
    dump_flags(o, i);
    cb_strbuf_addch(o, '\n');
    for (size_t k = 0; k < i->n_mounts; k++)
        dump_mount(o, &i->mounts[k]);
    dump_heredocs(o, i);
    if (i->onbuild) {
        cb_cleanup_strbuf struct cb_strbuf t = CB_STRBUF_INIT;
        cb_df_onbuild_text(&t, i);
        cb_strbuf_adds(o, " ");
        dump_text(o, "trigger", t.buf);
        cb_strbuf_adds(o, "\n> ");
        dump_instruction(o, i->onbuild);
    }
}

static inline void dump_file(struct cb_strbuf *o, const struct cb_dockerfile *d)
{
    if (d->syntax || d->check || d->escape != '\\') {
        cb_strbuf_addf(o, "directives escape=%c", d->escape);
        dump_text(o, "syntax", d->syntax);
        dump_text(o, "check", d->check);
        cb_strbuf_addch(o, '\n');
    }
    for (size_t i = 0; i < d->n_global_args; i++)
        dump_instruction(o, &d->global_args[i]);
    for (size_t s = 0; s < d->n_stages; s++) {
        dump_instruction(o, &d->stages[s].from);
        for (size_t i = 0; i < d->stages[s].n; i++)
            dump_instruction(o, &d->stages[s].instructions[i]);
    }
    for (size_t i = 0; i < d->n_warnings; i++) {
        cb_strbuf_addf(o, "warning %u %s", d->warnings[i].span.first, d->warnings[i].rule);
        cb_strbuf_addf(o, d->warnings[i].rule[0] ? "\n" : "%s\n", d->warnings[i].text);
    }
}
