/* SPDX-License-Identifier: Apache-2.0 */
/* Names for documents that everybody may read: rule R17, and package URLs. */
#include "build/fetch.h"
#include "build/provenance.h"
#include "util/alloc.h"

#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"

char *cb_url_told(const char *url)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    const char *authority = strstr(url, "://");
    const char *rest = authority ? authority + 3 : url;
    size_t n = strcspn(rest, "/?#");
    const char *at = authority ? memrchr(rest, '@', n) : NULL;
    cb_strbuf_add_sanitized(&sb, url, (size_t)(rest - url), false);
    rest = at ? at + 1 : rest;
    cb_strbuf_add_sanitized(&sb, rest, strcspn(rest, "?#"), false);
    return cb_strbuf_detach(&sb, NULL);
}

/* user@host:path as the URL that it is. */
static char *repository(const struct cb_git_ref *g)
{
    const char *at = strchr(g->url, '@'), *colon = at ? strchr(at, ':') : NULL;
    if (strstr(g->url, "://") || !colon)
        return cb_url_told(g->url);
    const char *path = colon[1] == '/' ? colon + 2 : colon + 1;
    cb_autofree char *url = cb_asprintf("ssh://%.*s/%s", (int)(colon - at - 1), at + 1, path);
    return cb_url_told(url);
}

char *cb_git_told(const struct cb_git_ref *g)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *url = repository(g);
    cb_strbuf_adds(&sb, url);
    if (g->ref || g->subdir)
        cb_strbuf_addch(&sb, '#');
    if (g->ref)
        cb_strbuf_add_sanitized(&sb, g->ref, strlen(g->ref), false);
    if (g->subdir) {
        cb_strbuf_addch(&sb, ':');
        cb_strbuf_add_sanitized(&sb, g->subdir, strlen(g->subdir), false);
    }
    return cb_strbuf_detach(&sb, NULL);
}

/* ---- package URLs ---- */

static void add_escaped(struct cb_strbuf *sb, const char *text, const char *also)
{
    for (; *text; text++)
        if (strchr(PLAIN, *text) || strchr(also, *text))
            cb_strbuf_addch(sb, *text);
        else
            cb_strbuf_addf(sb, "%%%02X", (unsigned char)*text);
}

static void add_qualifiers(struct cb_strbuf *sb, const struct cb_digest *digest, const struct cb_platform *platform)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_strbuf_adds(sb, "?");
    if (cb_digest_is_set(digest)) {
        cb_strbuf_adds(sb, "digest=");
        add_escaped(sb, cb_digest_text(digest, hex), "");
        cb_strbuf_adds(sb, "&");
    }
    cb_strbuf_adds(sb, "platform=");
    cb_strbuf_add_platform(&text, platform);
    add_escaped(sb, text.buf, "");
}

char *cb_purl_docker(const struct cb_reference *ref, const struct cb_platform *platform)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT, name cb_cleanup_strbuf = CB_STRBUF_INIT;
    const struct cb_reference bare = { .host = ref->host, .repo = ref->repo };
    cb_strbuf_add_familiar(&name, &bare);
    cb_strbuf_adds(&sb, "pkg:docker/");
    add_escaped(&sb, name.buf, "/:");
    if (ref->tag) {
        cb_strbuf_addch(&sb, '@');
        add_escaped(&sb, ref->tag, "");
    }
    add_qualifiers(&sb, &ref->digest, platform);
    return cb_strbuf_detach(&sb, NULL);
}

char *cb_purl_oci(const char *name, const struct cb_digest *digest, const struct cb_platform *platform)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX];
    cb_strbuf_adds(&sb, "pkg:oci/");
    add_escaped(&sb, name, "");
    cb_strbuf_addch(&sb, '@');
    add_escaped(&sb, cb_digest_text(digest, text), "");
    add_qualifiers(&sb, &(struct cb_digest){ 0 }, platform);
    return cb_strbuf_detach(&sb, NULL);
}
