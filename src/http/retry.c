/* SPDX-License-Identifier: Apache-2.0 */
/* Rule R24: what may be repeated, and after which time. */
#include "http/private.h"
#include "util/encode.h"
#include "util/timeutil.h"

#define MAX_BACKOFF 30 /* times the base */
#define MAX_SECONDS INT64_C(1000000000)

bool cb_http_method_is_idempotent(const char *method)
{
    static const char *const methods[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS" };
    for (size_t i = 0; i < CB_COUNTOF(methods); i++)
        if (cb_streq(method, methods[i]))
            return true;
    return false;
}

bool cb_http_status_is_retryable(unsigned status)
{
    /* 499, 52x: a proxy or CDN in front lost its origin. */
    static const unsigned statuses[] = { 408, 429, 499, 500, 502, 503, 504, 520, 521, 522, 523, 524 };
    for (size_t i = 0; i < CB_COUNTOF(statuses); i++)
        if (status == statuses[i])
            return true;
    return false;
}

int64_t cb_http_backoff(int64_t base, unsigned tries)
{
    int64_t factor = tries < 5 ? INT64_C(1) << tries : MAX_BACKOFF;
    return base * CB_MIN(factor, (int64_t)MAX_BACKOFF);
}

int64_t cb_http_retry_after(const char *value, int64_t now_sec)
{
    uint64_t seconds = 0;
    int64_t date = 0;
    size_t digits = strspn(value, "0123456789");
    if (digits && !value[digits])
        return cb_parse_u64(value, MAX_SECONDS, &seconds) ? (int64_t)seconds : MAX_SECONDS;
    if (!cb_time_parse_http(value, &date))
        return -1;
    if (date <= now_sec)
        return 0;
    return date - now_sec < MAX_SECONDS ? date - now_sec : MAX_SECONDS;
}
