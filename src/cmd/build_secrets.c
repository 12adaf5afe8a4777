/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_secrets.h"

#include <errno.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>

#include "util/alloc.h"
#include "util/secret.h"

#define MAX_SECRET (500u << 10) /* BuildKit's */

/* ---- --secret ---- */

struct secret_words {
    char *id, *src, *env, *type;
};

static void secret_words_done(struct secret_words *w)
{
    free(w->id);
    free(w->src);
    free(w->env);
    free(w->type);
}

static int set_field(struct secret_words *w, const char *field, struct cb_error *err)
{
    const struct { const char *key; char **to; } fields[] = {
        { "id", &w->id }, { "src", &w->src }, { "source", &w->src }, { "env", &w->env }, { "type", &w->type },
    };
    size_t n = strcspn(field, "=");
    if (!field[n])
        return cb_error_set(err, CB_EUSAGE, "\"%s\" has no value", field);
    for (size_t i = 0; i < CB_COUNTOF(fields); i++) {
        if (strlen(fields[i].key) != n || strncasecmp(fields[i].key, field, n))
            continue;
        if (*fields[i].to)
            return cb_error_set(err, CB_EUSAGE, "%s is given twice", fields[i].key);
        *fields[i].to = cb_strdup(field + n + 1);
        return 0;
    }
    return cb_error_set(err, CB_EUSAGE, "unknown key \"%.*s\": use id, src, env or type", (int)n, field);
}

/* Commas separate; a field in double quotes may hold some, and doubled quotes. */
static char *next_field(const char **p)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *s = *p;
    bool quoted = *s == '"';
    for (s += quoted; *s && (quoted || *s != ','); s++) {
        if (quoted && *s == '"' && s[1] != '"') {
            quoted = false;
            continue;
        }
        s += quoted && *s == '"';
        cb_strbuf_addch(&sb, *s);
    }
    *p = *s ? s + 1 : NULL;
    return cb_strbuf_detach(&sb, NULL);
}

static int split_secret(struct secret_words *w, const char *word, struct cb_error *err)
{
    int r = 0;
    for (const char *p = word; r == 0 && p;) {
        cb_autofree char *field = next_field(&p);
        r = set_field(w, field, err);
    }
    if (r < 0)
        return r;
    if (!w->id || !*w->id)
        return cb_error_set(err, CB_EUSAGE, "it needs a name: id=…");
    if (w->type && strcmp(w->type, "file") && strcmp(w->type, "env"))
        return cb_error_set(err, CB_EUSAGE, "type=%s: file or env", w->type);
    if (w->src && w->env)
        return cb_error_set(err, CB_EUSAGE, "src and env: keep one of them");
    if (w->env && w->type && !strcmp(w->type, "file"))
        return cb_error_set(err, CB_EUSAGE, "type=file and env contradict one another");
    return 0;
}

/* type=env makes src the name of a variable; what is said of neither is looked for as a variable first. */
static void choose_place(struct secret_words *w)
{
    if (w->type && !strcmp(w->type, "env") && !w->env)
        w->env = CB_TAKE(w->src);
    if (w->env || w->src)
        return;
    char **to = getenv(w->id) && !(w->type && !strcmp(w->type, "file")) ? &w->env : &w->src;
    *to = cb_strdup(w->id);
}

static int take_secret(struct build_secrets *s, const char *word, struct cb_error *err)
{
    struct secret_words w CB_CLEANUP(secret_words_done) = { 0 };
    struct cb_secret *value = NULL;
    int r = split_secret(&w, word, err);
    if (r < 0)
        return r;
    choose_place(&w);
    const char *text = w.env ? getenv(w.env) : NULL;
    if (text && strlen(text) > MAX_SECRET)
        return cb_error_set(err, CB_EUSAGE, "the variable %s has more than %u bytes", w.env, MAX_SECRET);
    if (w.src)
        r = cb_secret_read(w.src, MAX_SECRET, &value, err);
    else
        r = (value = cb_secret_new(text, text ? strlen(text) : 0, err)) ? 0 : -CB_ELOCAL;
    if (r < 0)
        return r;
    CB_GROW(s->v, s->n, s->cap);
    s->v[s->n++] = (struct cb_build_secret){ .id = CB_TAKE(w.id), .value = value,
                                             .unset = w.env && !text ? CB_TAKE(w.env) : NULL };
    return 0;
}

int build_secrets_take(struct build_secrets *s, const struct cb_strvec *words, struct cb_error *err)
{
    int r = 0;
    /* What becomes a variable of a step lies in plain memory for a while. */
    if (words->n && (r = cb_secret_no_core()) < 0)
        return cb_error_sys(err, CB_ELOCAL, -r, "forbid core dumps");
    for (size_t i = 0; r == 0 && i < words->n; i++)
        if ((r = take_secret(s, words->v[i], err)) < 0)
            cb_error_wrap(err, "--secret %s", words->v[i]);
    return r;
}

/* ---- --ssh ---- */

static int check_path(const char *path, bool *socket, struct cb_error *err)
{
    struct stat st;
    if (stat(path, &st) < 0)
        return cb_error_sys(err, CB_EUSAGE, errno, "%s", path);
    *socket = S_ISSOCK(st.st_mode);
    return 0;
}

static int take_paths(struct build_ssh_entry *e, struct cb_build_ssh *to, const char *paths, struct cb_error *err)
{
    for (const char *p = paths; p;) {
        cb_autofree char *path = next_field(&p);
        bool socket = false;
        int r = check_path(path, &socket, err);
        if (r < 0)
            return r;
        if (to->socket || (socket && e->keys.n))
            return cb_error_set(err, CB_EUSAGE, "one socket, or key files");
        if (socket)
            to->socket = CB_TAKE(path);
        else
            cb_strvec_push(&e->keys, path);
    }
    return 0;
}

static int take_ssh(struct build_secrets *s, const char *word, struct cb_error *err)
{
    struct cb_build_ssh *to = &s->ssh[s->n_ssh];
    struct build_ssh_entry *e = &s->entries[s->n_ssh];
    size_t n = strcspn(word, "=");
    const char *paths = word[n] ? word + n + 1 : "";
    e->dir = (struct cb_store_tmp)CB_STORE_TMP_INIT;
    to->id = n ? cb_strndup(word, n) : cb_strdup("default");
    s->n_ssh++;
    for (size_t i = 0; i + 1 < s->n_ssh; i++)
        if (!strcmp(s->ssh[i].id, to->id))
            return cb_error_set(err, CB_EUSAGE, "%s is given twice", to->id);
    if (!*paths)
        paths = getenv("SSH_AUTH_SOCK");
    if (!paths || !*paths)
        return cb_error_set(err, CB_EUSAGE, "no agent runs: SSH_AUTH_SOCK is not set (start one, or give a key file: "
                                            "--ssh %s=FILE)", to->id);
    return take_paths(e, to, paths, err);
}

int build_ssh_take(struct build_secrets *s, const struct cb_strvec *words, struct cb_error *err)
{
    s->ssh = cb_calloc(words->n + 1, sizeof *s->ssh);
    s->entries = cb_calloc(words->n + 1, sizeof *s->entries);
    int r = 0;
    for (size_t i = 0; r == 0 && i < words->n; i++)
        if ((r = take_ssh(s, words->v[i], err)) < 0)
            cb_error_wrap(err, "--ssh %s", words->v[i]);
    return r;
}

int build_ssh_open(struct build_secrets *s, struct cb_store *store, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->n_ssh; i++) {
        struct build_ssh_entry *e = &s->entries[i];
        if (e->keys.n == 0)
            continue;
        r = cb_store_tmp_new(store, "ssh", &e->dir, err);
        if (r == 0)
            r = cb_ssh_agent_start(e->dir.fd, &e->keys, &e->agent, err);
        if (r == 0)
            s->ssh[i].socket = cb_strdup(cb_ssh_agent_socket(e->agent));
        else
            cb_error_wrap(err, "--ssh %s", s->ssh[i].id);
    }
    if (r < 0)
        build_ssh_close(s);
    return r;
}

void build_ssh_close(struct build_secrets *s)
{
    for (size_t i = 0; i < s->n_ssh; i++) {
        cb_ssh_agent_free(CB_TAKE(s->entries[i].agent));
        cb_store_tmp_done(&s->entries[i].dir);
    }
}

void build_secrets_done(struct build_secrets *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free((void *)(uintptr_t)s->v[i].id);
        free((void *)(uintptr_t)s->v[i].unset);
        cb_secret_free((struct cb_secret *)(uintptr_t)s->v[i].value);
    }
    free(s->v);
    for (size_t i = 0; i < s->n_ssh; i++) {
        free((void *)(uintptr_t)s->ssh[i].id);
        free((void *)(uintptr_t)s->ssh[i].socket);
        cb_strvec_done(&s->entries[i].keys);
    }
    free(s->ssh);
    free(s->entries);
}
