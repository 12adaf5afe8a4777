/* SPDX-License-Identifier: Apache-2.0 */
/* Lists that go on elsewhere, and where they may lead (D6). */
#include "registry/private.h"
#include "util/alloc.h"
#include "util/limits.h"

#define MAX_TRIES 3
#define RETRY_NS INT64_C(200000000)

static char *find_next(const struct cb_http_reply *reply)
{
    const char *value;
    for (size_t i = 0; (value = cb_http_header_nth(reply, "Link", i)); i++) {
        char *next = reg_link_next(value);
        if (next)
            return next;
    }
    return NULL;
}

/* Absolute, and at the registry that was asked. */
static char *resolve(const char *asked, const char *next, struct cb_error *err)
{
    struct cb_url from cb_cleanup_url = { 0 }, to cb_cleanup_url = { 0 };
    cb_autofree char *url = reg_location_from(asked, next, err);
    if (!url || cb_url_parse(&from, asked, err) < 0 || cb_url_parse(&to, url, err) < 0)
        return NULL;
    if (cb_url_same_origin(&from, &to))
        return CB_TAKE(url);
    cb_error_set(err, CB_EVERIFY, "it goes on at %s, which is not the registry that was asked", to.host);
    return NULL;
}

/* Brent's: one page of all that were seen is kept, at distances that double; a circle of any length meets it. */
static bool goes_in_circle(struct reg_pages *p)
{
    if (p->mark && !strcmp(p->mark, p->url))
        return true;
    if (!p->mark || p->n >= 2 * p->marked) {
        free(p->mark);
        p->mark = cb_strdup(p->url);
        p->marked = p->n;
    }
    return false;
}

int reg_pages_next(struct reg_pages *p, const struct cb_http_reply *reply, struct cb_error *err)
{
    cb_autofree char *next = find_next(reply);
    free(CB_TAKE(p->url));
    if (!next)
        return 0;
    if (cb_http_crossed_origin(reply))
        return cb_error_set(err, CB_EVERIFY, "the registry led elsewhere, and the list goes on from there");
    if (++p->n >= CB_MAX_PAGES)
        return cb_error_set(err, CB_EVERIFY, "it has more than %d pages", CB_MAX_PAGES);
    p->url = resolve(cb_http_url(reply), next, err);
    if (!p->url)
        return -CB_EVERIFY;
    return goes_in_circle(p) ? cb_error_set(err, CB_EVERIFY, "its pages go in a circle") : 0;
}

void reg_pages_done(struct reg_pages *p)
{
    free(p->url);
    free(p->mark);
    *p = (struct reg_pages){ 0 };
}

/* ---- a page ---- */

void reg_answer_done(struct reg_answer *a)
{
    cb_http_reply_free(CB_TAKE(a->reply));
    cb_strbuf_done(&a->body);
}

/* What comes before the body is repeated in http; a body that breaks off is asked for again here. */
int reg_get(struct cb_registry *r, const struct reg_endpoint *e, const struct reg_request *q, struct reg_answer *out,
            struct cb_error *err)
{
    for (unsigned i = 1;; i++) {
        reg_answer_done(out);
        int s = reg_send(r, e, q, &out->reply, err);
        if (s < 0 || cb_http_status(out->reply) != 200)
            return s;
        s = cb_http_slurp(out->reply, &out->body, err);
        if (s == 0)
            return 0;
        cb_error_wrap(err, "registry %s", e->host);
        if (s != -CB_ENET || i == MAX_TRIES)
            return s;
        s = reg_pause(r, e->cancel, RETRY_NS * i, err);
        if (s < 0)
            return s;
    }
}
