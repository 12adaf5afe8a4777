/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Who am I, to whom: where credentials come from, and how a challenge becomes an Authorization header.
 * reference/builders-and-registries.md §2.2, §2.4; safety.md D2–D4, D8, E1–E6; R14, R16, R19.
 *
 * A credential is bound to the host (and repository prefix) that it was given for, and goes only there, or to a token
 * realm that may have it (D4): same host and port, a known pair, or one that was approved at login. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/http.h"
#include "oci/json.h"
#include "oci/reference.h"
#include "util/error.h"
#include "util/strvec.h"

/* Secret text: wiped when freed. */
struct cb_credential {
    char *username; /* "" or NULL: none */
    char *password;
    char *identity_token; /* OAuth2 refresh token */
    char *registry_token; /* a ready bearer token */
    char *source;         /* for people: "/root/.docker/config.json", "docker-credential-ecr-login" */
    char *key;            /* what it stands under there: "ghcr.io/team", or what a helper was asked for */
};
void cb_credential_done(struct cb_credential *c);
#define cb_cleanup_credential CB_CLEANUP(cb_credential_done)
bool cb_credential_is_set(const struct cb_credential *c);

struct cb_auth; /* thread-safe */
struct cb_auth_options {
    const char *authfile; /* --authfile, or NULL; must exist by the time of a look-up */
    /* In place of all that for requests whose first scope pushes or deletes, and for those whose first does not. */
    const char *push_authfile, *pull_authfile;
    const char *creds;    /* --creds user[:password], or NULL */
    const char *pull_creds, *push_creds; /* the same, for one side each: --src-creds, --dest-creds */
    struct cb_http *http; /* for tokens; borrowed */
    const struct cb_cancel *cancel;
    void (*note)(void *arg, const char *line); /* -D: which source served which host; never a secret. Or NULL */
    void *note_arg;
};
struct cb_auth *cb_auth_new(const struct cb_auth_options *o);
void cb_auth_free(struct cb_auth *a);
/* registries.conf's credential-helpers, in order; "containers-auth.json" among them stands for the files, which are
 * left out where it is not. Before the first look-up; an --authfile goes before them. */
void cb_auth_set_helpers(struct cb_auth *a, const struct cb_strvec *helpers);
/* The host that --creds is for (R14): without it nobody gets them. */
void cb_auth_set_creds_host(struct cb_auth *a, const char *host);
/* Those that pull_creds and push_creds are for; NULL: none. Where it is one host what a request wants decides. */
void cb_auth_set_side_hosts(struct cb_auth *a, const char *pull, const char *push);
/* The token realm that gave the last token and had no credentials withheld, or NULL; owned by the caller. */
char *cb_auth_last_realm(struct cb_auth *a);
CB_DEFINE_CLEANUP(struct cb_auth *, cb_auth_free)
/* In the order of ecosystem-and-speed.md A5: --creds, --authfile (and then no other file), DOCKER_AUTH_CONFIG,
 * REGISTRY_AUTH_FILE, DOCKER_CONFIG, podman's files, docker's files; a variable takes the place of its own family's
 * files only. Over all of them the longest path key wins (host/ns/repo, host/ns), of equally long ones the first; then
 * the host's own, with credHelpers and credsStore. A helper that fails is an error (E2), one that has nothing is
 * anonymous. Results are cached. The case of host names does not matter. This is what a pull gets. */
int cb_auth_lookup(struct cb_auth *a, const char *host, const char *repo, struct cb_credential *out,
                   struct cb_error *err) CB_WUR;

/* One repository and what is wanted of it. */
struct cb_scope {
    const char *repo;    /* NULL: the registry's catalog */
    const char *actions; /* "pull", "pull,push"; "*" */
};
/* How to speak to the registry the challenge came from. */
struct cb_auth_target {
    const char *host;     /* as in references, with port if any */
    const char *base_url; /* "https://host:port" that was asked */
    const struct cb_http_tls *tls;
    bool plain_http;
    bool private_ok;
    bool approve_realm; /* login: the user is about to be told which token server it is */
};
/* What a request wants, and how far it has come. */
struct cb_auth_ask {
    const struct cb_scope *scopes; /* the most important first: some servers read no other */
    size_t n;
    const char *tried; /* the header that got the 401, or NULL */
    bool again;        /* a challenge of this request was answered before */
    bool sends;        /* it has a body of some length: the token should outlast it */
    /* Ends what is done for this request, also its waiting for a token that another fetches, and no other's. Derives
     * from the client's, or NULL: that. */
    const struct cb_cancel *cancel;
};
/* The Authorization value to send now, or NULL (none yet, or none is needed). Where the registry's way to
 * authenticate is known already, this fetches a token ahead of the 401, and renews one ahead of its end; what goes
 * wrong with that shows when the 401 comes. Owned by the caller. */
char *cb_auth_header(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_auth_ask *ask);
/* After a 401: all its WWW-Authenticate values. Fetches a token for the wanted scopes plus the challenge's, or takes
 * Basic, and keeps it. -CB_EAUTH, naming host, scope and where the credential came from, when there is nothing better
 * than what was just tried. */
int cb_auth_challenge(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_http_reply *reply,
                      const struct cb_auth_ask *ask, struct cb_error *err) CB_WUR;
/* A 401 that came before any request of worth (a probe): what it says of the registry is kept for cb_auth_header. */
void cb_auth_learn(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_http_reply *reply);

/* What would become of a request with these scopes, for people and programs, never a secret: an object with
 * "credentials" {source, key, user, kind} or null; of a 401 (reply; or NULL) "challenge" {scheme, realm, service,
 * scope}, "realm" {may_have_credentials, why}; "asked" [scope]; and after a request for a token, "granted" [scope] as
 * the token says where it can be read ("verified": false), "expires_in" seconds, or "token_error". */
json_t *cb_auth_explain(struct cb_auth *a, const struct cb_auth_target *t, const struct cb_http_reply *reply,
                        const struct cb_auth_ask *ask);

/* ---- login, logout ---- */
struct cb_login {
    const char *host;                /* docker.io is kept as https://index.docker.io/v1/ in docker's file */
    const char *authfile;            /* NULL: the file that a look-up would write to */
    const char *username, *password; /* verified by the caller */
    const char *realm;               /* token realm that was used at login; remembered as approved, or NULL */
};
/* 0600, atomic, unknown keys kept, credsStore/credHelpers used where configured (E1). *where: the file or helper,
 * owned. Several at once do not lose each other's. */
int cb_auth_store_login(const struct cb_login *l, char **where, struct cb_error *err) CB_WUR;
int cb_auth_remove_login(const char *host, const char *authfile, char **where, struct cb_error *err)
    CB_WUR; /* -CB_ENOTFOUND */
