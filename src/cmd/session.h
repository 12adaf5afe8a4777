/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the verbs work with, opened only as far as a verb asks, and closed in the right order. */

#include "build/build.h"
#include "cmd/cmd.h"

/* Options that several verbs share; part of each verb's options struct. */
struct cb_common {
    const char *root;
    bool debug;
    const char *authfile, *creds, *cert_dir, *progress, *trace;
    bool stdout_is_free;  /* the verb writes nothing there */
    bool makes_authfile;  /* it may be missing */
    const char *logfile;
    const char *retry, *retry_delay, *max_wait, *stall_timeout, *connect_timeout;
    const char *chunk_size;
    struct cb_strvec mirrors, certs, client_certs, unverified; /* of the registry client's options, by these names */
    bool only_mirrors;
    int tls_verify;
    const char *push_authfile, *pull_authfile, *limit_rate; /* of the verbs that move images */
    const char *pull_creds, *push_creds;
    struct cb_strvec insecure;
    const char *isolation, *runtime;
};
#define CB_COMMON_INIT { .tls_verify = -1 }
#define CB_OPT_COMMON_STORE(type)                                                                                    \
    { "root",        0,                                                                                              \
      CB_OPT_STRING, offsetof(struct type, common.root),                                                             \
      "DIR",         "keep images and cache in DIR (CBPUSH_ROOT)",                                                   \
      NULL },                                                                                                        \
    {                                                                                                                \
        "debug", 'D', CB_OPT_FLAG, offsetof(struct type, common.debug), NULL, "say more about what is done", NULL    \
    }
/* Of verbs that need no store; some had one, so --root is taken. */
#define CB_OPT_COMMON_NO_STORE(type)                                                                                 \
    { "root", 0, CB_OPT_STRING, offsetof(struct type, common.root), "DIR", NULL, NULL },                             \
    {                                                                                                                \
        "debug", 'D', CB_OPT_FLAG, offsetof(struct type, common.debug), NULL, "say more about what is done", NULL    \
    }
#define CB_OPT_COMMON_ISOLATION(type)                                                                                \
    { "isolation",   0,                                                                                              \
      CB_OPT_STRING, offsetof(struct type, common.isolation),                                                        \
      "KIND",        "auto (default), native, oci, chroot (CBPUSH_ISOLATION)",                                       \
      NULL,          "auto|native|oci|chroot" },                                                                     \
    {                                                                                                                \
        "runtime", 0, CB_OPT_STRING, offsetof(struct type, common.runtime), "PROGRAM",                               \
            "OCI runtime of isolation oci: path or name (default: crun, runc, runsc)", NULL                          \
    }
#define CB_OPT_COMMON_REGISTRY(type)                                                                                  \
    { "authfile",    0,                                                                                               \
      CB_OPT_STRING, offsetof(struct type, common.authfile),                                                          \
      "FILE",        "credentials (config.json or auth.json)",                                                        \
      NULL },                                                                                                         \
        { "creds", 0, CB_OPT_STRING, offsetof(struct type, common.creds), "USER[:PASS]", "credentials for this call", \
          NULL },                                                                                                     \
        { "cert-dir",    0,                                                                                           \
          CB_OPT_STRING, offsetof(struct type, common.cert_dir),                                                      \
          "DIR",         "*.crt, *.cert, *.key for the registry",                                                     \
          NULL },                                                                                                     \
        { "tls-verify",                                                                                               \
          0,                                                                                                          \
          CB_OPT_TRISTATE,                                                                                            \
          offsetof(struct type, common.tls_verify),                                                                   \
          NULL,                                                                                                       \
          "=false: do not verify certificates",                                                                       \
          NULL },                                                                                                     \
    {                                                                                                                 \
        "insecure-registry", 0, CB_OPT_LIST, offsetof(struct type, common.insecure), "HOST[:PORT]",                   \
            "plain HTTP is allowed there", NULL                                                                       \
    }
/* Whose credentials, and when a registry or the line is slow, busy or away. */
#define CB_OPT_COMMON_RETRY(type)                                                                                    \
    { "push-authfile", 0,                                                                                            \
      CB_OPT_STRING,   offsetof(struct type, common.push_authfile),                                                  \
      "FILE",          "credentials for what is pushed, in place of all other files",                                \
      NULL },                                                                                                        \
        { "pull-authfile", 0,                                                                                        \
          CB_OPT_STRING,   offsetof(struct type, common.pull_authfile),                                              \
          "FILE",          "credentials for what is pulled, in place of all other files",                            \
          NULL },                                                                                                    \
        { "limit-rate",  0,                                                                                          \
          CB_OPT_STRING, offsetof(struct type, common.limit_rate),                                                   \
          "RATE",        "bytes a second of all transfers together, in each direction (10M)",                        \
          NULL },                                                                                                    \
    { "retry",       0,                                                                                              \
      CB_OPT_STRING, offsetof(struct type, common.retry),                                                            \
      "N",           "further tries of a request that fails (5)",                                                    \
      NULL },                                                                                                        \
        { "retry-delay",                                                                                             \
          0,                                                                                                         \
          CB_OPT_STRING,                                                                                             \
          offsetof(struct type, common.retry_delay),                                                                 \
          "DURATION",                                                                                                \
          "before the first of them (1s), then doubled",                                                             \
          NULL },                                                                                                    \
        { "max-wait",                                                                                                \
          0,                                                                                                         \
          CB_OPT_STRING,                                                                                             \
          offsetof(struct type, common.max_wait),                                                                    \
          "DURATION",                                                                                                \
          "wait for a busy registry (Retry-After) no longer than that (5m)",                                         \
          NULL },                                                                                                    \
        { "stall-timeout",                                                                                           \
          0,                                                                                                         \
          CB_OPT_STRING,                                                                                             \
          offsetof(struct type, common.stall_timeout),                                                               \
          "DURATION",                                                                                                \
          "give a try up after less than 1 KiB/s for that long (30s)",                                               \
          NULL },                                                                                                    \
    {                                                                                                                \
        "connect-timeout", 0, CB_OPT_STRING, offsetof(struct type, common.connect_timeout), "DURATION",              \
            "for a connection, TLS included (30s)", NULL                                                             \
    }
#define CB_OPT_COMMON_PUSH(type)                                                                                      \
    {                                                                                                                 \
        "chunk-size", 0, CB_OPT_STRING, offsetof(struct type, common.chunk_size), "SIZE",                             \
            "upload larger blobs in pieces of SIZE (default: as it proves best, from 64m; 0: never)", NULL            \
    }
#define CB_OPT_COMMON_PROGRESS(type)                                                                                 \
    { "progress",    0,                                                                                              \
      CB_OPT_STRING, offsetof(struct type, common.progress),                                                         \
      "MODE",        "auto, tty, plain, quiet, rawjson",                                                             \
      NULL,          "auto|tty|plain|quiet|rawjson" },                                                               \
    {                                                                                                                \
        "trace", 0, CB_OPT_STRING, offsetof(struct type, common.trace), "FILE",                                      \
            "write a timeline of what is done there, for chrome://tracing and Perfetto", NULL                        \
    }

struct cb_session {
    const struct cb_process *process;
    const struct cb_common *common;
    /* Set before it is opened by a verb that keeps in the store only what it could ask for again: where none can be
     * kept (a HOME that is not one's own, a read-only root), and nobody has named one, one for this call serves. */
    bool may_forget;
    struct cb_error no_store; /* then why */
    struct cb_store *store;
    struct cb_http *http;
    struct cb_auth *auth;
    struct cb_registry *registry;
    struct cb_upload_journal journal;
    struct cb_progress *progress;
    int log_fd;
    struct cb_pool *cpu;
    struct cb_isolator *isolator;
    struct cb_build_env env;
    char *creds_host;
};
void cb_session_done(struct cb_session *s);
#define cb_cleanup_session CB_CLEANUP(cb_session_done)
int cb_session_store(struct cb_session *s, const struct cb_process *p, const struct cb_common *c,
                     struct cb_error *err) CB_WUR;
/* Store, progress, HTTP, credentials, registry, pool: everything that env needs. title: "Building". */
int cb_session_open(struct cb_session *s, const struct cb_process *p, const struct cb_common *c, const char *title,
                    struct cb_error *err) CB_WUR;

/* upload_journal.c */
struct cb_upload_journal cb_session_journal(struct cb_store *store);
/* HTTP, credentials and registry alone, for verbs that need no store. */
int cb_session_network(struct cb_session *s, const struct cb_process *p, const struct cb_common *c,
                       struct cb_error *err) CB_WUR;

/* For an operand that is an image of the store: -CB_ELOCAL where this call has only one of its own. */
int cb_session_needs_store(const struct cb_session *s, struct cb_error *err) CB_WUR;

/* A registry host that stands on the command line: --creds and --tls-verify=false are for it. -CB_EUSAGE for a second
 * one with --creds. */
int cb_session_name_host(struct cb_session *s, const char *host, struct cb_error *err) CB_WUR;

/* The usual beginning of a verb: options into dest, --help answered (then *done), operands counted. */
struct cb_verb_args {
    const struct cb_verb *verb;
    void *dest;
    int argc;
    char **argv;
    size_t min, max;              /* operands */
    const char *too_many;         /* what may have been meant where there are more; or NULL */
    bool stop_at_operand;
    void *takes_arg;
    struct cb_strvec operands;    /* out */
    bool done;                    /* out: help was printed */
};
int cb_verb_args(struct cb_verb_args *a, struct cb_error *err) CB_WUR;
void cb_common_done(struct cb_common *c);
#define cb_cleanup_common CB_CLEANUP(cb_common_done)

/* always, missing, never, and buildx's words for them. -CB_EUSAGE. */
int cb_pull_policy_parse(const char *text, enum cb_pull_policy *out, struct cb_error *err) CB_WUR;

/* For people: "12.3MB". Owned by the caller. */
char *cb_size_text(uint64_t bytes);
/* Short form of a digest: 12 hex digits. */
void cb_short_id(char out[16], const struct cb_digest *d);
