/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <signal.h>
#include <strings.h>

#include "build/plan_note.h"
#include "util/alloc.h"
#include "util/encode.h"

bool plan_is_config(enum cb_df_kind k)
{
    return k != CB_DF_RUN && k != CB_DF_COPY && k != CB_DF_ADD && k != CB_DF_WORKDIR;
}

void plan_shell(const struct plan_stage *st, struct cb_strvec *out)
{
    if (st->config.shell.set && st->config.shell.args.n) {
        cb_strvec_copy(out, &st->config.shell.args);
        return;
    }
    cb_strvec_push(out, "/bin/sh");
    cb_strvec_push(out, "-c");
}

/* ---- ENV, LABEL ---- */

struct pair_values {
    char **key, **value;
    size_t n;
};

static void pair_values_done(struct pair_values *v)
{
    for (size_t i = 0; i < v->n; i++) {
        free(v->key[i]);
        free(v->value[i]);
    }
    free(v->key);
    free(v->value);
}

static void pair_values_note(const struct pair_values *v, struct cb_strbuf *note)
{
    for (size_t i = 0; i < v->n; i++)
        cb_strbuf_addf(note, " %s=%s", v->key[i], v->value[i] ? v->value[i] : "");
}

/* All are expanded before the first is set: one environment an instruction. */
static int expand_pairs(struct plan_stage *st, const struct cb_df_instruction *i, struct pair_values *v,
                        struct cb_error *err)
{
    int r = 0;
    v->n = i->n_pairs;
    v->key = cb_calloc(v->n + 1, sizeof *v->key);
    v->value = cb_calloc(v->n + 1, sizeof *v->value);
    for (size_t k = 0; r == 0 && k < v->n; k++) {
        r = plan_expand(st, i->pairs[k].key, &v->key[k], err);
        if (r == 0)
            r = plan_expand(st, i->pairs[k].value ? i->pairs[k].value : "", &v->value[k], err);
        if (r == 0 && !*v->key[k])
            r = cb_error_set(err, CB_ECONF, "a name is empty in \"%s\"", i->original);
    }
    return r;
}

static int do_env(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                  struct cb_error *err)
{
    struct pair_values v = { 0 };
    int r = expand_pairs(st, i, &v, err);
    for (size_t k = 0; r == 0 && k < v.n; k++)
        cb_env_set(&st->config.env, v.key[k], v.value[k]);
    pair_values_note(&v, note);
    pair_values_done(&v);
    return r;
}

static int do_label(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                    struct cb_error *err)
{
    struct pair_values v = { 0 };
    int r = expand_pairs(st, i, &v, err);
    for (size_t k = 0; r == 0 && k < v.n; k++)
        cb_strmap_set(&st->config.labels, v.key[k], v.value[k]);
    pair_values_note(&v, note);
    pair_values_done(&v);
    return r;
}

/* ---- CMD, ENTRYPOINT, SHELL ---- */

static void full_command(const struct plan_stage *st, const struct cb_df_command *c, struct cb_strvec *out)
{
    if (!c->exec_form)
        plan_shell(st, out);
    for (size_t k = 0; k < c->args.n; k++)
        cb_strvec_push(out, c->args.v[k]);
}

static int do_cmd(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                  struct cb_error *err CB_UNUSED)
{
    struct cb_strvec v cb_cleanup_strvec = CB_STRVEC_INIT;
    full_command(st, &i->command, &v);
    cb_arglist_set(&st->config.cmd, &v);
    st->config.args_escaped = true;
    cb_strbuf_addch(note, ' ');
    plan_note_quoted(note, &v);
    st->cmd_set = true;
    return 0;
}

static int do_entrypoint(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                         struct cb_error *err CB_UNUSED)
{
    struct cb_strvec v cb_cleanup_strvec = CB_STRVEC_INIT;
    full_command(st, &i->command, &v);
    cb_arglist_set(&st->config.entrypoint, &v);
    cb_strbuf_addch(note, ' ');
    plan_note_quoted(note, &v);
    if (!st->cmd_set)
        cb_arglist_clear(&st->config.cmd);
    return 0;
}

static int do_shell(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                    struct cb_error *err CB_UNUSED)
{
    cb_arglist_set(&st->config.shell, &i->command.args);
    cb_strbuf_addch(note, ' ');
    plan_note_words(note, &i->command.args);
    return 0;
}

/* ---- EXPOSE, VOLUME ---- */

/* Sorts, and takes away what is there twice: once an instruction, or a range of ports would cost its square. */
static void settle(struct cb_strvec *sv)
{
    size_t n = 0;
    cb_strvec_sort(sv);
    for (size_t i = 0; i < sv->n; i++) {
        if (n && !strcmp(sv->v[n - 1], sv->v[i]))
            free(sv->v[i]);
        else
            sv->v[n++] = sv->v[i];
    }
    for (size_t i = n; i < sv->n; i++)
        sv->v[i] = NULL;
    sv->n = n;
}

static bool parse_port(const char *s, size_t n, uint32_t *out)
{
    cb_autofree char *text = cb_strndup(s, n);
    uint64_t v;
    if (!cb_parse_u64(text, 65535, &v))
        return false;
    *out = (uint32_t)v;
    return true;
}

/* PORT or PORT-PORT, up to end. */
static bool parse_ports(const char *s, const char *end, uint32_t *first, uint32_t *last)
{
    const char *dash = memchr(s, '-', (size_t)(end - s));
    if (!parse_port(s, (size_t)((dash ? dash : end) - s), first))
        return false;
    *last = *first;
    return !dash || (parse_port(dash + 1, (size_t)(end - dash - 1), last) && *first <= *last);
}

/* An IPv4 address, or one of IPv6 with or without brackets. */
static bool is_address(const char *s, size_t n)
{
    bool brackets = n >= 2 && s[0] == '[' && s[n - 1] == ']';
    cb_autofree char *text = cb_strndup(brackets ? s + 1 : s, brackets ? n - 2 : n);
    struct in6_addr a;
    return (!brackets && inet_pton(AF_INET, text, &a) == 1) || inet_pton(AF_INET6, text, &a) == 1;
}

/* [ip:][port], up to end: means nothing here, but has to make sense beside n ports. */
static bool is_host_side(const char *s, const char *end, uint32_t n)
{
    const char *colon = memrchr(s, ':', (size_t)(end - s)), *ports = colon ? colon + 1 : s;
    uint32_t first, last;
    if (colon && colon > s && !is_address(s, (size_t)(colon - s)))
        return false;
    return ports == end || (parse_ports(ports, end, &first, &last) && (n == 1 || last - first + 1 == n));
}

/* [[ip:][host]:]port[-port][/proto]; only the container's side is kept. */
static int expose_word(struct cb_strvec *out, const char *word, struct cb_error *err)
{
    const char *slash = strchrnul(word, '/'), *colon = memrchr(word, ':', (size_t)(slash - word));
    uint32_t first, last;
    cb_autofree char *proto = cb_strdup(slash[0] && slash[1] ? slash + 1 : "tcp");
    for (char *c = proto; *c; c++)
        *c = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    if (!parse_ports(colon ? colon + 1 : word, slash, &first, &last))
        return cb_error_set(err, CB_ECONF, "invalid port \"%s\": write PORT, PORT-PORT or PORT/udp", word);
    if (colon && !is_host_side(word, colon, last - first + 1))
        return cb_error_set(err, CB_ECONF, "invalid host side of port \"%s\": EXPOSE only needs what stands behind "
                            "the colon", word);
    if (strcmp(proto, "tcp") && strcmp(proto, "udp") && strcmp(proto, "sctp"))
        return cb_error_set(err, CB_ECONF, "invalid protocol \"%s\" in \"%s\": tcp, udp or sctp", proto, word);
    for (uint32_t p = first; p <= last; p++)
        cb_strvec_pushf(out, "%u/%s", p, proto);
    return 0;
}

static int do_expose(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                     struct cb_error *err)
{
    struct cb_strvec sorted cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_strvec words cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_strvec ports cb_cleanup_strvec = CB_STRVEC_INIT;
    int r = 0;
    cb_strvec_copy(&sorted, &i->words);
    cb_strvec_sort(&sorted);
    for (size_t k = 0; r == 0 && k < sorted.n; k++)
        r = plan_expand_words(st, sorted.v[k], &words, err);
    for (size_t k = 0; r == 0 && k < words.n; k++)
        r = expose_word(&ports, words.v[k], err);
    cb_strbuf_addch(note, ' ');
    plan_note_words(note, &ports);
    for (size_t k = 0; k < ports.n; k++)
        cb_strvec_push(&st->config.exposed_ports, ports.v[k]);
    settle(&st->config.exposed_ports);
    return r;
}

/* Unlike EXPOSE: a path with a space stays one. */
static int do_volume(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                     struct cb_error *err)
{
    struct cb_strvec paths cb_cleanup_strvec = CB_STRVEC_INIT;
    for (size_t k = 0; k < i->words.n; k++) {
        char *path = NULL;
        int r = plan_expand(st, i->words.v[k], &path, err);
        if (r < 0)
            return r;
        cb_strvec_take(&paths, path);
        if (!*path)
            return cb_error_set(err, CB_ECONF, "VOLUME has an empty path");
        cb_strvec_push(&st->config.volumes, path);
    }
    settle(&st->config.volumes);
    cb_strbuf_addch(note, ' ');
    plan_note_words(note, &paths);
    return 0;
}

/* ---- USER, STOPSIGNAL, MAINTAINER, HEALTHCHECK, ONBUILD ---- */

static int set_expanded(struct plan_stage *st, const struct cb_df_instruction *i, char **field, struct cb_error *err)
{
    char *v = NULL;
    int r = plan_expand(st, i->words.n ? i->words.v[0] : "", &v, err);
    if (r < 0)
        return r;
    free(*field);
    *field = v;
    return 0;
}

static int do_user(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                   struct cb_error *err)
{
    int r = set_expanded(st, i, &st->config.user, err);
    if (r == 0)
        cb_strbuf_addf(note, " %s", st->config.user);
    return r;
}

static int do_maintainer(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                         struct cb_error *err CB_UNUSED)
{
    free(st->config.author);
    st->config.author = cb_strdup(i->words.n ? i->words.v[0] : "");
    cb_strbuf_addf(note, " %s", st->config.author);
    return 0;
}

/* RTMIN, RTMIN+3, RTMAX-2: at most 15 off. */
static bool is_realtime(const char *name)
{
    uint64_t n;
    if (strncasecmp(name, "RTMIN", 5) && strncasecmp(name, "RTMAX", 5))
        return false;
    return !name[5] || (name[5] == (strncasecmp(name, "RTMIN", 5) ? '-' : '+') && cb_parse_u64(name + 6, 15, &n));
}

static bool is_signal(const char *s)
{
    static const char *const second_names[] = { "CLD", "IO", "IOT" };
    uint64_t n;
    const char *name = strncasecmp(s, "SIG", 3) ? s : s + 3;
    if (cb_parse_u64(s, 64, &n))
        return n > 0;
    for (size_t i = 0; i < CB_COUNTOF(second_names); i++) {
        if (!strcasecmp(second_names[i], name))
            return true;
    }
    for (int i = 1; i < NSIG; i++) {
        const char *known = sigabbrev_np(i);
        if (known && !strcasecmp(known, name))
            return true;
    }
    return is_realtime(name);
}

static int do_stopsignal(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                         struct cb_error *err)
{
    int r = set_expanded(st, i, &st->config.stop_signal, err);
    if (r == 0 && !is_signal(st->config.stop_signal))
        return cb_error_set(err, CB_ECONF, "unknown signal \"%s\"", st->config.stop_signal);
    if (r == 0)
        cb_strbuf_addf(note, " %s", st->config.stop_signal);
    return r;
}

static int do_healthcheck(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                          struct cb_error *err CB_UNUSED)
{
    struct cb_healthcheck *h = CB_NEW(struct cb_healthcheck);
    h->interval = i->hc_interval;
    h->timeout = i->hc_timeout;
    h->start_period = i->hc_start_period;
    h->start_interval = i->hc_start_interval;
    h->retries = i->hc_retries;
    cb_strvec_push(&h->test, i->healthcheck_none ? "NONE" : i->command.exec_form ? "CMD" : "CMD-SHELL");
    for (size_t k = 0; !i->healthcheck_none && k < i->command.args.n; k++)
        cb_strvec_push(&h->test, i->command.args.v[k]);
    cb_healthcheck_free(st->config.healthcheck);
    st->config.healthcheck = h;
    cb_strbuf_addch(note, ' ');
    plan_note_healthcheck(note, h);
    return 0;
}

static int do_onbuild(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note CB_UNUSED,
                      struct cb_error *err CB_UNUSED)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_df_onbuild_text(&text, i);
    cb_strvec_push(&st->config.on_build, text.buf);
    return 0;
}

static int do_arg(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_strbuf *note,
                  struct cb_error *err)
{
    return plan_arg(st, i, note, err);
}

int plan_config(struct plan_stage *st, const struct cb_df_instruction *i, struct cb_error *err)
{
    static int (*const table[])(struct plan_stage *, const struct cb_df_instruction *, struct cb_strbuf *,
                                struct cb_error *) = {
        [CB_DF_ARG] = do_arg, [CB_DF_ENV] = do_env, [CB_DF_LABEL] = do_label, [CB_DF_MAINTAINER] = do_maintainer,
        [CB_DF_USER] = do_user, [CB_DF_EXPOSE] = do_expose, [CB_DF_CMD] = do_cmd, [CB_DF_ENTRYPOINT] = do_entrypoint,
        [CB_DF_VOLUME] = do_volume, [CB_DF_SHELL] = do_shell, [CB_DF_STOPSIGNAL] = do_stopsignal,
        [CB_DF_HEALTHCHECK] = do_healthcheck, [CB_DF_ONBUILD] = do_onbuild,
    };
    struct cb_strbuf note cb_cleanup_strbuf = CB_STRBUF_INIT;
    if ((size_t)i->kind >= CB_COUNTOF(table) || !table[i->kind])
        return cb_error_set(err, CB_EINTERNAL, "%s is no configuration", cb_df_kind_name(i->kind));
    cb_strbuf_adds(&note, cb_df_kind_name(i->kind));
    int r = table[i->kind](st, i, &note, err);
    if (r == 0 && i->kind != CB_DF_ONBUILD)
        plan_history(st, note.buf, NULL);
    return r;
}
