/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Secrets of a build that are credentials of servers, by the names that BuildKit gave them:
 *
 *     GIT_AUTH_TOKEN.HOST   GIT_AUTH_HEADER.HOST   repositories of that host, submodules too
 *     GIT_AUTH_TOKEN        GIT_AUTH_HEADER        repositories that the build names, of any host
 *     HTTP_AUTH_TOKEN_HOST  HTTP_AUTH_HEADER_HOST  files of that host
 *
 * HOST has its port where that is not the scheme's own. They go to that host over https (plain http: loopback alone),
 * and never where a redirect leads. Rules R14, R16. */

#include "build/build.h"

/* What something is fetched with. */
struct cb_fetcher {
    const struct cb_build_env *env;
    const struct cb_build_secret *secrets;
    size_t n_secrets;
};
static inline struct cb_fetcher cb_fetcher_of(const struct cb_build_env *env, const struct cb_build_options *o)
{
    return (struct cb_fetcher){ .env = env, .secrets = o->secrets, .n_secrets = o->n_secrets };
}

/* One server, and what it is sent. */
struct cb_remote_auth {
    char *host;                    /* as a secret names it; NULL: nothing of this is for it (ssh, git) */
    char *origin;                  /* "https://HOST" */
    bool plain;                    /* it is http */
    char *value;                   /* of Authorization, or NULL */
    const char *id;                /* of the secret that it comes from */
    const struct cb_build_secret *empty; /* one that was meant for it and holds nothing, or NULL */
    bool withheld;                 /* there is a general one, but the server is spoken to in the clear */
};
void cb_remote_auth_done(struct cb_remote_auth *a); /* the value is zeroed */
#define cb_cleanup_remote_auth CB_CLEANUP(cb_remote_auth_done)
/* -CB_EUSAGE: two for one host, for one in the clear, or what can be no header. No message has anything of a value. */
int cb_http_auth(const struct cb_fetcher *f, const char *url, struct cb_remote_auth *out, struct cb_error *err) CB_WUR;

struct cb_git_auth {
    struct cb_remote_auth *v;      /* the first: of the repository; then those that submodules may need, with a value */
    size_t n, cap;
};
void cb_git_auth_done(struct cb_git_auth *a);
#define cb_cleanup_git_auth CB_CLEANUP(cb_git_auth_done)
/* url: as in struct cb_git_ref. -CB_EUSAGE as above, and where no host stands behind the dot. */
int cb_git_auth(const struct cb_fetcher *f, const char *url, bool submodules, struct cb_git_auth *out,
                struct cb_error *err) CB_WUR;

/* For whoever was refused: what is wrong, and what helps. token: "GIT_AUTH_TOKEN." or "HTTP_AUTH_TOKEN_". */
void cb_remote_auth_advise(const struct cb_remote_auth *a, const char *token, struct cb_strbuf *out);
