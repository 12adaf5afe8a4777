/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/trace.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/timeutil.h"
#include "util/trace.h"

#define MIN_CHUNK (64u << 10)

void cb_common_done(struct cb_common *c)
{
    struct cb_strvec *const lists[] = { &c->insecure, &c->mirrors, &c->certs, &c->client_certs, &c->unverified };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
}

void cb_session_done(struct cb_session *s)
{
    cb_progress_finish(s->progress, false);
    cb_registry_free(s->registry);
    cb_auth_free(s->auth);
    cb_http_free(s->http);
    cb_pool_free(s->cpu);
    cb_isolator_free(s->isolator);
    cb_store_close(s->store);
    cb_progress_free(s->progress);
    if (s->log_fd > 0)
        close(s->log_fd);
    cb_error_done(&s->no_store);
    free(s->creds_host);
}

static void store_is_busy(void *arg, const char *line)
{
    const struct cb_session *s = arg;
    if (s->progress)
        cb_progress_note(s->progress, false, "%s", line);
    else
        fprintf(stderr, "cbpush: %s\n", line);
}

static bool is_named(const struct cb_common *c)
{
    const char *env = getenv("CBPUSH_ROOT");
    return c->root || (env && *env);
}

/* There is no place for it that is ours; one that is full, busy, damaged or something else is another matter. */
static bool cannot_be_kept(const struct cb_error *e)
{
    static const int reasons[] = { EACCES, EPERM, EROFS, ENOENT, ENOTDIR };
    bool hit = false;
    for (size_t i = 0; i < CB_COUNTOF(reasons); i++)
        hit = hit || e->sys_errno == reasons[i];
    return hit;
}

static int open_store(struct cb_session *s, const struct cb_store_options *o, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_store_open(o, &s->store, &e);
    if (r == 0)
        return 0;
    if (!s->may_forget || is_named(s->common) || !cannot_be_kept(&e) ||
        cb_store_open_passing(o, &s->store, NULL) < 0)
        return cb_error_move(err, &e);
    cb_error_move(&s->no_store, &e);
    return 0;
}

int cb_session_needs_store(const struct cb_session *s, struct cb_error *err)
{
    return s->no_store.code ? cb_error_copy(err, &s->no_store) : 0;
}

int cb_session_store(struct cb_session *s, const struct cb_process *p, const struct cb_common *c, struct cb_error *err)
{
    static const char *const forms[] = {
        [CB_ID_REAL_ROOT] = NULL, [CB_ID_RANGE] = "userns", [CB_ID_SINGLE] = "single",
        [CB_ID_CONTAINER_ROOT] = "container",
    };
    struct cb_store_options o = { .root = c->root, .as_root = p->started_as_root, .tree_form = forms[p->id_mode],
                                  .images = p->id_mode == CB_ID_REAL_ROOT ? CB_STORE_IMAGES_LARGE
                                                                    : CB_STORE_IMAGES_NONE,
                                  .cancel = p->cancel, .busy = store_is_busy, .busy_arg = s };
    s->process = p;
    s->common = c;
    return open_store(s, &o, err);
}

static void debug_line(void *arg, const char *line)
{
    cb_progress_debug(arg, "%s", line);
}

static void notice_line(void *arg, const char *line)
{
    cb_progress_note(arg, false, "%s", line);
}

/* In the options of http, 0 is the default: no time at all is a nanosecond. */
static int take_durations(const struct cb_common *c, struct cb_http_options *o, struct cb_error *err)
{
    const struct { const char *name, *text; bool none; int64_t *ns; } v[] = {
        { "retry-delay", c->retry_delay, true, &o->backoff_ns },
        { "max-wait", c->max_wait, true, &o->max_wait_ns },
        { "stall-timeout", c->stall_timeout, false, &o->stall_ns },
        { "connect-timeout", c->connect_timeout, false, &o->connect_ns },
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++) {
        if (!v[i].text)
            continue;
        if (!cb_duration_parse(v[i].text, v[i].ns) || *v[i].ns < 0 || (*v[i].ns == 0 && !v[i].none))
            return cb_error_set(err, CB_EUSAGE, "--%s %s: write a duration such as 2s", v[i].name, v[i].text);
        *v[i].ns = CB_MAX(*v[i].ns, INT64_C(1));
    }
    return 0;
}

static int take_retries(const struct cb_common *c, struct cb_http_options *o, struct cb_error *err)
{
    uint64_t n = 0;
    if (c->retry && !cb_parse_u64(c->retry, 1000, &n))
        return cb_error_set(err, CB_EUSAGE, "--retry %s: write a number up to 1000", c->retry);
    if (c->retry)
        o->retries = (unsigned)n;
    if (c->limit_rate && (!cb_parse_bytes(c->limit_rate, &o->rate) || !o->rate || o->rate > INT64_MAX / 1000))
        return cb_error_set(err, CB_EUSAGE, "--limit-rate %s: write bytes a second, such as 500k or 10M",
                            c->limit_rate);
    return take_durations(c, o, err);
}

static int take_chunk_size(const struct cb_common *c, struct cb_registry_options *o, struct cb_error *err)
{
    uint64_t n = 0;
    if (!c->chunk_size)
        return 0;
    if (!cb_parse_bytes(c->chunk_size, &n) || (n && n < MIN_CHUNK) || n > INT64_MAX)
        return cb_error_set(err, CB_EUSAGE, "--chunk-size %s: write a size of 64k or more, such as 16m, or 0 for none",
                            c->chunk_size);
    o->chunk_size = n ? n : UINT64_MAX;
    return 0;
}

/* A name that is mistyped would else be told only where a registry asks for credentials, if at all. */
static int check_authfiles(const struct cb_common *c, struct cb_error *err)
{
    const struct { const char *option, *path; } v[] = {
        { "authfile", c->authfile },
        { "push-authfile", c->push_authfile },
        { "pull-authfile", c->pull_authfile },
    };
    for (size_t i = 0; i < CB_COUNTOF(v); i++)
        if (v[i].path && !c->makes_authfile && access(v[i].path, F_OK) < 0)
            return cb_error_sys(err, CB_ECONF, errno, "--%s %s", v[i].option, v[i].path);
    return 0;
}

static int open_network(struct cb_session *s, struct cb_error *err)
{
    const struct cb_common *c = s->common;
    const struct cb_cancel *cancel = s->process->cancel;
    struct cb_http_options ho = {
        .cancel = cancel, .retries = 5, .trace = c->debug ? debug_line : NULL, .trace_arg = s->progress,
        .notice = notice_line, .notice_arg = s->progress
    };
    int r = take_retries(c, &ho, err);
    if (r == 0)
        r = check_authfiles(c, err);
    if (r < 0)
        return r;
    s->http = cb_http_new(&ho);
    struct cb_auth_options ao = { .authfile = c->authfile, .creds = c->creds, .http = s->http, .cancel = cancel,
                                  .push_authfile = c->push_authfile, .pull_authfile = c->pull_authfile,
                                  .push_creds = c->push_creds, .pull_creds = c->pull_creds,
                                  .note = c->debug ? debug_line : NULL, .note_arg = s->progress };
    s->auth = cb_auth_new(&ao);
    struct cb_registry_options ro = { .http = s->http, .auth = s->auth, .cancel = cancel, .cert_dir = c->cert_dir,
                                      .insecure = &c->insecure, .tls_verify = c->tls_verify,
                                      .mirrors = &c->mirrors, .only_mirrors = c->only_mirrors, .certs = &c->certs,
                                      .client_certs = &c->client_certs, .unverified = &c->unverified,
                                      .debug = c->debug ? debug_line : NULL, .debug_arg = s->progress,
                                      .notice = notice_line, .notice_arg = s->progress };
    if (s->store) {
        s->journal = cb_session_journal(s->store);
        ro.journal = &s->journal;
    }
    if ((r = take_chunk_size(c, &ro, err)) < 0)
        return r;
    s->registry = cb_registry_new(&ro, err);
    if (s->registry)
        cb_auth_set_helpers(s->auth, cb_registry_credential_helpers(s->registry));
    return s->registry ? 0 : -CB_ECONF;
}

static int open_log(struct cb_session *s, const char *path, struct cb_progress_options *po, struct cb_error *err)
{
    if (!path)
        return 0;
    s->log_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (s->log_fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "--logfile %s", path);
    po->fd = s->log_fd;
    return 0;
}

static void start_progress(struct cb_session *s, const struct cb_progress_options *po)
{
    s->progress = cb_progress_new(po);
    cb_progress_set_debug(s->progress, s->common->debug);
}

/* Lines that a registry's failures are worth, and no more. */
int cb_session_network(struct cb_session *s, const struct cb_process *p, const struct cb_common *c,
                       struct cb_error *err)
{
    struct cb_progress_options po = { .mode = CB_PROGRESS_PLAIN, .fd = STDERR_FILENO };
    s->process = p;
    s->common = c;
    start_progress(s, &po);
    return open_network(s, err);
}

int cb_session_open(struct cb_session *s, const struct cb_process *p, const struct cb_common *c, const char *title,
                    struct cb_error *err)
{
    struct cb_progress_options po = { .mode = CB_PROGRESS_AUTO, .fd = STDERR_FILENO, .title = title,
                                      .cancel = p->cancel };
    int r = cb_progress_mode_take(c->progress, &po.mode, err);
    if (r == 0)
        r = cb_cpu_count_check(err);
    if (r == 0)
        r = cb_trace_file_begin(p, c->trace, c->stdout_is_free, err);
    struct cb_span span cb_cleanup_span = cb_span_begin("cbpush", "open store and registries");
    if (r == 0)
        r = open_log(s, c->logfile, &po, err);
    if (r == 0)
        r = cb_session_store(s, p, c, err);
    if (r < 0)
        return r;
    s->isolator =
        cb_isolator_new(c->isolation, c->runtime, cb_store_root_fd(s->store), (enum cb_id_mode)p->id_mode, err);
    if (!s->isolator)
        return -CB_EUSAGE;
    if (p->no_userns.code)
        cb_isolator_refuse(s->isolator, &p->no_userns);
    start_progress(s, &po);
    if (s->no_store.code)
        cb_progress_note(s->progress, false, "nothing is kept for the next call: %s", cb_error_text(&s->no_store));
    s->cpu = cb_pool_new("cpu", cb_cpu_count());
    r = open_network(s, err);
    s->env = (struct cb_build_env){ .store = s->store, .registry = s->registry, .http = s->http,
                                    .progress = s->progress, .cpu = s->cpu, .cancel = p->cancel,
                                    .id_mode = (enum cb_id_mode)p->id_mode, .isolator = s->isolator };
    return r;
}

int cb_session_name_host(struct cb_session *s, const char *host, struct cb_error *err)
{
    if (s->common->creds && s->creds_host && strcmp(s->creds_host, host))
        return cb_error_set(err, CB_EUSAGE, "--creds is for one registry; %s and %s are named: use --authfile",
                            s->creds_host, host);
    if (!s->creds_host)
        s->creds_host = cb_strdup(host);
    cb_auth_set_creds_host(s->auth, s->creds_host);
    cb_registry_name_host(s->registry, host);
    return 0;
}

int cb_verb_args(struct cb_verb_args *a, struct cb_error *err)
{
    struct cb_opt_parse p = { .verb = a->verb->name,
                              .table = a->verb->options,
                              .groups = a->verb->groups,
                              .dest = a->dest,
                              .argc = a->argc,
                              .argv = a->argv,
                              .stop_at_operand = a->stop_at_operand,
                              .takes_arg = a->takes_arg,
                              .operands = &a->operands };
    int r = cb_opt_parse(&p, err);
    if (r == 0 && p.help) {
        cb_verb_help(a->verb);
        a->done = true;
        return 0;
    }
    if (r == 0 && a->operands.n < a->min)
        r = cb_error_set(err, CB_EUSAGE, "an operand is missing");
    if (r == 0 && a->operands.n > a->max)
        r = cb_error_set(err, CB_EUSAGE, "too many operands: \"%s\" is not expected%s%s", a->operands.v[a->max],
                         a->too_many ? "; " : "", a->too_many ? a->too_many : "");
    if (r < 0)
        return cb_error_set(err, CB_EUSAGE, "%s: %s\nusage: %s%s %s (--help says more)", a->verb->name,
                            cb_error_text(err), a->verb == &cb_verb_executor ? "" : "cbpush ", a->verb->name,
                            a->verb->operands);
    return 0;
}

int cb_pull_policy_parse(const char *text, enum cb_pull_policy *out, struct cb_error *err)
{
    static const struct { const char *word; enum cb_pull_policy policy; } words[] = {
        { "always", CB_PULL_ALWAYS }, { "true", CB_PULL_ALWAYS }, { "newer", CB_PULL_NEWER },
        { "missing", CB_PULL_MISSING }, { "false", CB_PULL_MISSING }, { "never", CB_PULL_NEVER },
    };
    for (size_t i = 0; i < CB_COUNTOF(words); i++)
        if (!strcmp(text, words[i].word)) {
            *out = words[i].policy;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "--pull=%s: always, newer, missing or never", text);
}

char *cb_size_text(uint64_t bytes)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_size(&sb, bytes);
    return cb_strbuf_detach(&sb, NULL);
}

void cb_short_id(char out[16], const struct cb_digest *d)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(out, 16, "%.12s", cb_digest_hex(d, hex));
}
