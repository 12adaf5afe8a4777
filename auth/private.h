/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of auth share. */

#include <pthread.h>

#include "auth/auth.h"
#include "oci/json.h"
#include "util/hashmap.h"
#include "util/turn.h"

/* ---- found.c: credentials that are looked for once, each by one thread while others wait for it alone ---- */
struct auth_found {
    struct cb_turn turn;
    bool done;
    struct cb_credential cred;
    struct cb_error failure; /* of a helper; code CB_OK: none */
};
struct auth_found_map {
    pthread_mutex_t mu;
    struct cb_hashmap *map;
};
void auth_found_init(struct auth_found_map *m);
void auth_found_done(struct auth_found_map *m);
struct auth_found *auth_found_of(struct auth_found_map *m, const char *key);
void auth_credential_copy(struct cb_credential *to, const struct cb_credential *from);
/* Wipes before it frees. */
void auth_secret_free(char *s);
/* Host names are bound to credentials without regard to case. Owned. */
char *auth_lower(const char *host);

/* ---- sources.c: what may hold credentials, in order ---- */
enum auth_source_kind {
    AUTH_FILE,   /* config.json or auth.json */
    AUTH_OLD,    /* .dockercfg: "auths" without anything around it */
    AUTH_BUILDX, /* a directory of config.json by repository and scope */
    AUTH_HELPER, /* docker-credential-NAME for every host */
};
#define AUTH_IN_PLACE "DOCKER_AUTH_CONFIG"
struct auth_source {
    enum auth_source_kind kind;
    char *name;                    /* path, AUTH_IN_PLACE, or the helper's name */
    char *text;                    /* content given in place (environment), or NULL: read the file */
    bool must;                     /* named by the user: its absence is an error */
    struct auth_found_map *helped; /* what helpers said, by "helper|server" */
    pthread_mutex_t mu;            /* held while it is read */
    bool named;                    /* by a person, for this call: it may be a pipe */
    json_t *root;                  /* what was read, once it was */
    struct cb_error failed;        /* why it cannot be: a pipe cannot be read again */
    const struct cb_cancel *cancel; /* ends the wait for a pipe; or NULL */
};
struct auth_sources {
    struct auth_source *v;
    size_t n, cap;
    const struct cb_cancel *cancel; /* of those that are found */
};
void auth_sources_find(struct auth_sources *s, const char *authfile);
/* As cb_auth_set_helpers says. */
void auth_sources_set_helpers(struct auth_sources *s, const struct cb_strvec *helpers);
void auth_sources_done(struct auth_sources *s);
/* What is wrong with the file that DOCKER_CONFIG or REGISTRY_AUTH_FILE names: it is not there. "" or " (…)". */
void auth_sources_missing(struct cb_strbuf *out);
/* The file that login writes to; owned. */
char *auth_login_path(const char *authfile);

/* ---- lookup.c ---- */
struct auth_query {
    const char *host, *repo; /* repo may be NULL */
    const char *actions;     /* "pull,push"; NULL: none in particular */
    const struct cb_cancel *cancel; /* NULL: the client's, for auth_lookup */
};
/* 1 found, 0 not there, negative: a file or helper that would have been next is broken. */
int auth_sources_lookup(struct auth_sources *s, const struct auth_query *q, struct cb_credential *out,
                        struct cb_error *err);
/* "push" in "pull,push"; n: length of action. */
bool auth_has_action(const char *actions, const char *action, size_t n);

/* ---- buildx.c: $DOCKER_CONFIG/buildx/config/HOST[/REPO][@ACTION,…]/config.json ---- */
/* The file of the repository, or of the host alone, whose actions are all wanted: of several that with the most.
 * Owned; NULL: there is none. */
char *auth_buildx_find(const char *dir, const struct auth_query *q, bool of_repo);

/* ---- config_file.c ---- */
enum auth_reach {
    AUTH_OF_PATH, /* keys with a path, no helpers */
    AUTH_OF_HOST, /* the host's helper, then its keys */
};
/* The root of a source's JSON; borrowed. NULL with err->code 0: there is no such file. */
const json_t *auth_source_root(struct auth_source *src, struct cb_error *err);
/* 1 found, 0 not there, negative: the file or helper is broken. */
int auth_root_lookup(const json_t *root, const struct auth_source *src, const struct auth_query *q,
                     enum auth_reach reach, struct cb_credential *out, struct cb_error *err);
/* How long the path of the best key with one is; 0: there is none. */
unsigned auth_root_path_rank(const json_t *root, const struct auth_query *q);
/* Once for a host: it may take a second, and many repositories ask. */
int auth_source_ask_helper(const struct auth_source *src, const char *helper, const struct auth_query *q,
                           struct cb_credential *out, struct cb_error *err);
/* Parsed and checked; an empty text is an empty object. NULL and -CB_ECONF naming the file. */
json_t *auth_file_parse(const char *name, const struct cb_strbuf *text, struct cb_error *err);
/* How a key of "auths" fits a host (and repository, NULL: any path is too long): 0 not at all, else the higher the
 * closer. */
unsigned auth_key_rank(const char *key, const char *host, const char *repo);
/* The helper that serves a host, or NULL; borrowed from root. */
const char *auth_file_helper(const json_t *root, const char *host);
/* What the host is called in files and for helpers. */
const char *auth_server_name(const char *host);

/* ---- helper.c ---- */
/* 1 found, 0 the helper has none, negative. */
int auth_helper_get(const char *helper, const char *server, const struct cb_cancel *cancel, struct cb_credential *out,
                    struct cb_error *err);
/* What it printed. 1 found, 0 it has none, negative. */
int auth_helper_read(const char *helper, const char *text, size_t len, struct cb_credential *out,
                     struct cb_error *err);
int auth_helper_store(const char *helper, const char *server, const char *user, const char *secret,
                      struct cb_error *err) CB_WUR;
/* -CB_ENOTFOUND where the helper has none. */
int auth_helper_erase(const char *helper, const char *server, struct cb_error *err) CB_WUR;

/* ---- challenge.c ---- */
struct auth_challenge {
    char *scheme;            /* lower case */
    struct cb_strmap params; /* names lower case */
};
struct auth_challenges {
    struct auth_challenge *v;
    size_t n, cap;
};
void auth_challenges_done(struct auth_challenges *c);
/* Adds those of one header value; -CB_EVERIFY for what RFC 9110 §11.6.1 does not allow. */
/* All of a reply. */
int auth_challenge_read(const struct cb_http_reply *reply, struct auth_challenges *c, struct cb_error *err) CB_WUR;
/* The first of a scheme, or NULL. */
const struct auth_challenge *auth_challenge_pick(const struct auth_challenges *c, const char *scheme);
int auth_challenge_parse(struct auth_challenges *c, const char *value, struct cb_error *err) CB_WUR;

/* ---- realm.c ---- */
/* Whether a token server may be given the credentials of the registry. *reason says why, or why not. */
bool auth_realm_allowed(const struct cb_auth_target *t, const char *realm, const char **reason);
/* Kept for later runs, unless it is the registry's own host. */
int auth_realm_approve(const char *host, const char *realm, struct cb_error *err) CB_WUR;

/* ---- token.c ---- */
struct auth_token_request {
    const struct cb_auth_target *target;
    const char *realm, *service;
    const struct cb_strvec *scopes;   /* "repository:x:pull" */
    const struct cb_credential *cred; /* unset: anonymous */
    const struct cb_cancel *cancel;
};
struct auth_token {
    char *value;
    int64_t renew_at; /* monotonic ns */
    int64_t ends;     /* of its life, the same clock */
};
int auth_token_fetch(struct cb_http *http, const struct auth_token_request *q, struct auth_token *out,
                     struct cb_error *err) CB_WUR;
char *auth_basic_header(const struct cb_credential *c);

/* ---- token_table.c: tokens by (realm, service, whose credentials, sorted scopes), for all hosts that share a token
 * server ---- */
struct auth_kept_token {
    struct cb_turn turn; /* one fetch at a time; where its request is given up, who waits is next to fetch */
    struct auth_token token;
};
/* Never freed before the table. */
struct auth_kept_token *auth_token_kept(struct cb_auth *a, const struct auth_token_request *q);
void auth_token_table_done(struct cb_hashmap *tokens);

/* ---- jwt.c ---- */
/* The "access" claim of a JSON web token, type, name and actions of each; NULL where it is none. Nothing is verified:
 * that is the registry's business. */
json_t *auth_jwt_access(const char *token);

/* ---- scope.c ---- */
void auth_scope_list(const struct cb_scope *scopes, size_t n, struct cb_strvec *out);
/* Adds those of a challenge ("a b") that none of the list covers. */
void auth_scope_add(struct cb_strvec *list, const char *text);

/* ---- auth.c ---- */
/* One set of scopes at one registry. */
struct auth_entry {
    struct cb_turn turn;   /* one fetch at a time, as above */
    char *header;          /* "Bearer …", "Basic …", or NULL */
    int64_t renew_at;      /* monotonic ns; INT64_MAX: never */
    int64_t ends;          /* the same clock; INT64_MAX: never */
    size_t asked;          /* scopes that the header was asked with */
    bool not_ahead;        /* fetching before the 401 has failed */
    struct cb_error ahead; /* of that */
    char *withheld;        /* why the credentials did not go to the token server, or NULL */
};
/* How a registry authenticates, as its last challenge said. */
struct auth_known {
    bool basic;
    char *realm, *service;
};
/* Credentials of the command line. */
enum auth_side { AUTH_BOTH, AUTH_PULL, AUTH_PUSH, AUTH_SIDES };
struct auth_given {
    char *creds; /* or NULL */
    char *host;  /* under mu; or NULL: nobody gets them */
};
struct cb_auth {
    struct cb_auth_options o;
    struct auth_sources sources, push_sources;
    bool apart;                  /* push_sources are not the same as sources */
    struct auth_found_map found; /* "host/repo actions" */
    pthread_mutex_t mu;          /* everything below */
    struct auth_given given[AUTH_SIDES];
    char *last_realm;
    struct cb_hashmap *entries; /* "base_url|scopes" → auth_entry */
    struct cb_hashmap *known;   /* base_url → auth_known */
    struct cb_hashmap *tokens;  /* → auth_kept_token */
};
/* cb_auth_lookup for what a scope wants. */
int auth_lookup(struct cb_auth *a, const struct auth_query *q, struct cb_credential *out, struct cb_error *err)
    CB_WUR;
struct auth_entry *auth_entry_of(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_strvec *scopes);
void auth_note(const struct cb_auth *a, const char *fmt, ...) CB_PRINTF(2, 3);
