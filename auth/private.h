/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What the parts of auth share. */

#include <pthread.h>

#include "auth/auth.h"
#include "oci/json.h"

/* ---- sources.c: the files that may hold credentials, in order ---- */
struct auth_source {
    char *name;                 /* path, or "DOCKER_AUTH_CONFIG" */
    char *text;                 /* content given in place (environment), or NULL: read the file */
};
struct auth_sources {
    struct auth_source *v;
    size_t n, cap;
};
void auth_sources_find(struct auth_sources *s, const char *authfile);
void auth_sources_done(struct auth_sources *s);
/* The file that login writes to; owned. */
char *auth_login_path(const char *authfile);

/* ---- config_file.c ---- */
/* 1 found, 0 not there, negative: the file or helper is broken. */
int auth_file_lookup(const struct auth_source *src, const char *host, const char *repo, const struct cb_cancel *cancel,
                     struct cb_credential *out, struct cb_error *err);
/* The keys that a host goes by: docker.io has four. Ends with NULL. */
void auth_host_keys(const char *host, const char *keys[static 5]);
/* "https://h/v1/" → "h". Owned. */
char *auth_key_host(const char *key);
/* The helper that serves a host, or NULL; borrowed from root. */
const char *auth_file_helper(const json_t *root, const char *host);

/* ---- helper.c ---- */
int auth_helper_get(const char *helper, const char *server, const struct cb_cancel *cancel, struct cb_credential *out, struct cb_error *err);
int auth_helper_store(const char *helper, const char *server, const char *user, const char *secret, struct cb_error *err) CB_WUR;
int auth_helper_erase(const char *helper, const char *server, struct cb_error *err) CB_WUR;

/* ---- challenge.c ---- */
struct auth_challenge {
    char *scheme;               /* lower case */
    struct cb_strmap params;    /* names lower case */
};
struct auth_challenges {
    struct auth_challenge *v;
    size_t n, cap;
};
void auth_challenges_done(struct auth_challenges *c);
/* Adds those of one header value; -CB_EVERIFY for what RFC 9110 §11.6.1 does not allow. */
int auth_challenge_parse(struct auth_challenges *c, const char *value, struct cb_error *err) CB_WUR;

/* ---- realm.c ---- */
/* Whether a token server may be given the credentials of the registry. *reason says why not. */
bool auth_realm_allowed(const struct cb_auth_target *t, const char *realm, const char **reason);
int auth_realm_approve(const char *host, const char *realm, struct cb_error *err) CB_WUR;

/* ---- token.c ---- */
struct auth_token_request {
    const struct cb_auth_target *target;
    const char *realm, *service;
    const struct cb_strvec *scopes;   /* "repository:x:pull" */
    const struct cb_credential *cred; /* unset: anonymous */
};
struct auth_token {
    char *value;
    int64_t renew_at;           /* monotonic ns */
};
int auth_token_fetch(struct cb_http *http, const struct auth_token_request *q, struct auth_token *out, struct cb_error *err) CB_WUR;
char *auth_basic_header(const struct cb_credential *c);

/* Wipes before it frees. */
void auth_secret_free(char *s);
