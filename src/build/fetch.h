/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a build reads that is neither a local directory nor an image: files by http(s), repositories by git. Rules R14
 * to R16, R19; attacks F4, F5. Credentials are those that remote_auth.h finds among the build's secrets; no error or
 * log shows them, nor more of a URL than its redactor leaves. */

#include "build/build.h"
#include "build/remote_auth.h"

/* ---- git_ref.c: how people write a repository ---- */
/* https://host/x.git[?query][#ref[:subdir]], http://…, ssh://[user@]host/…, git://…, user@host:path. The query has
 * ref, tag, branch, commit or checksum, subdir, keep-git-dir, submodules, mtime, fetch-by-commit. */
struct cb_git_ref {
    char *scheme;                 /* "https", "http", "ssh", "git" */
    char *url;                    /* what git is given: without query and fragment */
    char *ref;                    /* branch, tag, full name or commit; NULL: HEAD */
    char *checksum;               /* commit or the beginning of one, or NULL */
    char *subdir;                 /* normal form; NULL: the root */
    bool keep_git_dir, submodules, submodules_said, fetch_by_commit;
    bool mtime_checkout;          /* times are those of the checkout, not of the commit */
};
void cb_git_ref_done(struct cb_git_ref *g);
#define cb_cleanup_git_ref CB_CLEANUP(cb_git_ref_done)
/* Whether a word is meant as a repository, by its form alone. context: github.com/owner/repo counts too. */
bool cb_git_is_ref(const char *text, bool context);
/* -CB_ECONF. Of a word that cb_git_is_ref took. */
int cb_git_ref_parse(struct cb_git_ref *out, const char *text, struct cb_error *err) CB_WUR;
/* A commit or the beginning of one, as --checksum takes it: at least 7 and at most 64 lower-case digits. */
bool cb_git_is_checksum(const char *text);
/* 40 or 64 lower-case digits. */
bool cb_git_is_commit(const char *text);

/* http:// or https:// in any case. */
bool cb_url_is_http(const char *text);
/* The name that a URL's path ends in, percent-decoded, as a file may be called: NULL where there is none (no path, a
 * trailing slash, ".", "..", control characters, too long). Owned by the caller. */
char *cb_url_file_name(const char *url);
/* What may stand in a document that everybody reads: without user information, query and fragment. Owned by the
 * caller. */
char *cb_url_told(const char *url);
/* The same of a repository, as a URL, with "#REF[:SUBDIR]". Owned by the caller. */
char *cb_git_told(const struct cb_git_ref *g);
/* The scheme of SCHEME://… in lower case, or NULL. Owned by the caller. */
char *cb_url_scheme(const char *text);

/* ---- git_fetch.c ---- */
/* The commit that a reference names now, checked against its checksum (-CB_EVERIFY). One network round; none where it
 * is a commit already and there are no credentials, whose worth only the server knows. Refused by it: -CB_EAUTH.
 * *authorized: whether credentials may have a part in what is fetched; may be NULL. Owned by the caller; NULL and err
 * on failure. */
char *cb_git_resolve(const struct cb_fetcher *f, const struct cb_git_ref *g, struct cb_step *step, bool *authorized,
                     struct cb_error *err);
/* Fetches that commit, shallow where the server can, and checks it out. The root of what was asked for (the subdir) is
 * opened below tmp, whose "fs" is used. *mtime: s, of the commit, or INT64_MAX where files keep their own. */
struct cb_git_tree {
    int fd;                       /* O_RDONLY|O_DIRECTORY, the caller's */
    int64_t mtime;
    bool left_out;                /* there are submodules, and nobody said what to do with them */
};
int cb_git_checkout(const struct cb_fetcher *f, const struct cb_git_ref *g, const char *commit,
                    struct cb_store_tmp *tmp, struct cb_git_tree *out, struct cb_error *err) CB_WUR;

/* ---- http_fetch.c ---- */
struct cb_http_fetch {
    const char *url;
    const char *etag, *last_modified; /* of the answer before: a conditional request; or NULL */
    struct cb_step *step;
    int fd;                       /* receives the body; is emptied first */
    enum cb_digest_alg alg;       /* of `digest` */
    bool probe;                   /* only whether it is given to us: no body is read, and fd is not used */
};
struct cb_http_fetched {
    bool unchanged;               /* nothing was written, and the rest is not set */
    struct cb_digest digest;
    uint64_t size;
    char *etag, *last_modified;   /* headers, or NULL */
    bool young;                   /* they do not tell this file from the next one: no condition for later */
};
void cb_http_fetched_done(struct cb_http_fetched *f);
#define cb_cleanup_http_fetched CB_CLEANUP(cb_http_fetched_done)
/* Whatever is no success is -CB_ENET (401 and 403: -CB_EAUTH) with the URL and the status. */
int cb_http_fetch(const struct cb_fetcher *f, const struct cb_http_fetch *o, struct cb_http_fetched *out,
                  struct cb_error *err) CB_WUR;
/* s since the epoch of an HTTP-date; 0 where there is none. */
int64_t cb_http_mtime(const char *last_modified);
