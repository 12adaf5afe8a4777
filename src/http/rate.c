/* SPDX-License-Identifier: Apache-2.0 */
/* --limit-rate: two buckets for the whole client, one a direction, that fill with time. What takes from one may leave
 * it in debt, since libcurl hands out what it has read; then all wait until that is paid. In the client's thread. */
#include "http/private.h"
#include "util/timeutil.h"

#define BURST_MIN 4096
#define BURST_PART 8 /* of a second's worth */

static int64_t burst(const struct cb_http *h)
{
    return CB_MAX((int64_t)(h->o.rate / BURST_PART), (int64_t)BURST_MIN);
}

static void fill(const struct cb_http *h, struct cb_http_bucket *b)
{
    int64_t now = cb_time_monotonic();
    int64_t passed = b->at ? CB_MIN(now - b->at, CB_SEC_NS) : CB_SEC_NS;
    int64_t more = (int64_t)((double)passed * (double)h->o.rate / (double)CB_SEC_NS);
    if (more <= 0 && b->at)
        return; /* too short a while for a byte: it is counted next time */
    b->at = now;
    b->have = CB_MIN(b->have + more, burst(h));
}

size_t cb_http_rate_allows(struct cb_http *h, struct cb_http_bucket *b)
{
    if (!h->o.rate)
        return SIZE_MAX;
    fill(h, b);
    return b->have > 0 ? (size_t)b->have : 0;
}

void cb_http_rate_took(struct cb_http *h, struct cb_http_bucket *b, size_t n)
{
    if (h->o.rate)
        b->have -= (int64_t)n;
}

static int64_t until_paid_ms(const struct cb_http *h, const struct cb_http_bucket *b)
{
    return b->have > 0 ? 0 : (int64_t)((double)(1 - b->have) * 1000 / (double)h->o.rate) + 1;
}

int64_t cb_http_rate_wait_ms(const struct cb_http *h)
{
    return CB_MIN(CB_MAX(CB_MAX(until_paid_ms(h, &h->down), until_paid_ms(h, &h->up)), INT64_C(1)), INT64_C(1000));
}
