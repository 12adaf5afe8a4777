/* SPDX-License-Identifier: Apache-2.0 */
/* Rule R15: every hop is judged anew. */
#include "http/private.h"
#include "util/alloc.h"

bool cb_http_is_redirect(unsigned status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

int cb_http_redirect_allowed(const struct cb_http_request *req, const struct cb_url *first, const struct cb_url *from,
                             const struct cb_url *to, struct cb_error *err)
{
    if (!cb_streq(to->scheme, "http"))
        return 0;
    if (!cb_streq(from->scheme, "http"))
        return cb_error_set(err, CB_EVERIFY, "redirect from https to unencrypted http://%s refused", to->host);
    if (!req->plain_http || !cb_streq(first->host, to->host))
        return cb_error_set(err, CB_EVERIFY, "redirect to http://%s refused: unencrypted http is allowed for %s only",
                            to->host, first->host);
    return 0;
}

static int resolve(const struct cb_http_hop *hop, const char *location, struct cb_url *to, struct cb_error *err)
{
    cb_autofree char *base = cb_url_text(&hop->url);
    cb_autofree char *url = cb_url_resolve(base, location, err);
    int r = url ? cb_url_parse(to, url, err) : -CB_EVERIFY;
    if (r < 0) {
        cb_cleanup_strbuf struct cb_strbuf shown = CB_STRBUF_INIT;
        cb_strbuf_add_url_redacted(&shown, location);
        cb_error_wrap(err, "redirect to %.500s", shown.buf);
    }
    return r;
}

int cb_http_redirect_follow(struct cb_http_hop *hop, const struct cb_url *first, unsigned status,
                            const char *location, struct cb_error *err)
{
    cb_cleanup_url struct cb_url to = { 0 };
    const struct cb_http_request *req = hop->req;
    int r = resolve(hop, location, &to, err);
    if (r == 0)
        r = cb_http_redirect_allowed(req, first, &hop->url, &to, err);
    if (r < 0)
        return r;
    bool same_host = cb_streq(first->host, to.host), post = cb_streq(hop->method, "POST");
    bool to_get = (status == 303 && !cb_streq(hop->method, "HEAD")) || (status < 303 && post);
    if (!same_host && !to_get && !cb_streq(hop->method, "GET") && !cb_streq(hop->method, "HEAD"))
        return cb_error_set(err, CB_EVERIFY, "redirect of a %s to another host (%s) refused", hop->method, to.host);
    hop->foreign = hop->foreign || !cb_url_same_origin(first, &to);
    hop->other_host = !same_host;
    hop->private_ok = same_host ? req->private_ok : req->private_redirect_ok;
    char ip[CB_HTTP_IP_MAX];
    if (!hop->private_ok && cb_http_host_is_literal(to.host, ip) && cb_http_address_is_private(ip))
        return cb_error_set(err, CB_EVERIFY, "redirect to the private address %s refused", ip);
    if (to_get) {
        hop->method = "GET";
        hop->with_body = false;
    }
    cb_url_done(&hop->url);
    hop->url = to;
    to = (struct cb_url){ 0 };
    return 0;
}
