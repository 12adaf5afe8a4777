/* SPDX-License-Identifier: Apache-2.0 */
#include "http/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

/* Under the lock. */
static struct cb_http_token *find(struct cb_http *h, const struct cb_cancel *c)
{
    for (size_t i = 0; i < h->n_tokens; i++)
        if (h->tokens[i].cancel == c)
            return &h->tokens[i];
    return NULL;
}

void cb_http_token_watch(struct cb_http_transfer *t, const struct cb_cancel *c)
{
    struct cb_http *h = t->h;
    if (!c)
        return;
    pthread_mutex_lock(&h->lock);
    struct cb_http_token *k = find(h, c);
    bool fresh = !k;
    if (fresh) {
        CB_GROW(h->tokens, h->n_tokens, h->cap_tokens);
        k = &h->tokens[h->n_tokens++];
        *k = (struct cb_http_token){ .cancel = c };
    }
    k->users++;
    t->cancel = c;
    pthread_mutex_unlock(&h->lock);
    if (fresh)
        curl_multi_wakeup(h->multi);
}

void cb_http_token_unwatch(struct cb_http_transfer *t)
{
    struct cb_http *h = t->h;
    pthread_mutex_lock(&h->lock);
    struct cb_http_token *k = t->cancel ? find(h, t->cancel) : NULL;
    if (k && --k->users == 0)
        *k = h->tokens[--h->n_tokens];
    t->cancel = NULL;
    pthread_mutex_unlock(&h->lock);
}

bool cb_http_is_canceled(const struct cb_http *h, const struct cb_http_transfer *t)
{
    bool over = cb_canceled(h->o.cancel) && cb_time_monotonic() >= h->grace_until;
    return h->canceled || over || cb_canceled_below(t->cancel, h->o.cancel);
}

static void add_fd(struct cb_http *h, size_t *n, const struct cb_cancel *c)
{
    CB_GROW(h->fds, *n, h->cap_fds);
    h->fds[(*n)++] = (struct curl_waitfd){ .fd = cb_cancel_fd(c), .events = CURL_WAIT_POLLIN };
}

/* What was triggered stays readable: it is left out, also where it was the client's token that did it. */
unsigned cb_http_token_fds(struct cb_http *h)
{
    size_t n = 0;
    pthread_mutex_lock(&h->lock);
    if (h->o.cancel && !h->cancel_seen)
        add_fd(h, &n, h->o.cancel);
    for (size_t i = 0; i < h->n_tokens; i++)
        if (!h->tokens[i].seen)
            add_fd(h, &n, h->tokens[i].cancel);
    pthread_mutex_unlock(&h->lock);
    return (unsigned)n;
}

bool cb_http_tokens_triggered(struct cb_http *h)
{
    bool any = false;
    pthread_mutex_lock(&h->lock);
    for (size_t i = 0; i < h->n_tokens; i++) {
        struct cb_http_token *k = &h->tokens[i];
        if (k->seen || !cb_canceled(k->cancel))
            continue;
        k->seen = any = true;
    }
    if (any)
        pthread_cond_broadcast(&h->gate);
    pthread_mutex_unlock(&h->lock);
    return any;
}
