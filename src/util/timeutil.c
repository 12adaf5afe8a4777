/* SPDX-License-Identifier: Apache-2.0 */
#include "util/timeutil.h"

#include "util/encode.h"

#define NS_PER_SEC INT64_C(1000000000)

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t cb_time_now(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t cb_time_monotonic(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

bool cb_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

void cb_time_format(struct cb_strbuf *out, int64_t ns)
{
    int64_t frac = ns % NS_PER_SEC;
    time_t sec = (time_t)(ns / NS_PER_SEC);
    if (frac < 0) {
        frac += NS_PER_SEC;
        sec--;
    }
    struct tm tm;
    gmtime_r(&sec, &tm);
    cb_strbuf_addf(out, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
                   tm.tm_min, tm.tm_sec);
    if (frac) {
        cb_strbuf_addf(out, ".%09lld", (long long)frac);
        while (out->buf[out->len - 1] == '0')
            cb_strbuf_setlen(out, out->len - 1);
    }
    cb_strbuf_addch(out, 'Z');
}

int cb_source_date_epoch(bool *set, int64_t *sec, struct cb_error *err)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    uint64_t v;
    *set = false;
    if (!text || !*text)
        return 0;
    /* Also good as nanoseconds. */
    if (!cb_parse_u64(text, INT64_MAX / (uint64_t)NS_PER_SEC, &v))
        return cb_error_set(err, CB_EUSAGE, "SOURCE_DATE_EPOCH is no number of seconds");
    *set = true;
    *sec = (int64_t)v;
    return 0;
}

struct age_unit {
    int64_t below; /* seconds: used for ages under it */
    int64_t seconds;
    const char *name;
};

void cb_time_format_ago(struct cb_strbuf *out, int64_t then_ns, int64_t now_ns)
{
    static const struct age_unit units[] = {
        { 60, 1, "second" },
        { 3600, 60, "minute" },
        { 48 * 3600, 3600, "hour" },
        { 14 * 86400, 86400, "day" },
        { 60 * 86400, 7 * 86400, "week" },
        { 730 * 86400, 30 * 86400, "month" },
        { INT64_MAX, 365 * 86400, "year" },
    };
    int64_t age;
    if (__builtin_sub_overflow(now_ns, then_ns, &age))
        age = now_ns > then_ns ? INT64_MAX : 0;
    /* A clock that was set back. */
    age = CB_MAX(age, (int64_t)0) / NS_PER_SEC;
    if (age == 0) {
        cb_strbuf_adds(out, "Less than a second ago");
        return;
    }
    const struct age_unit *u = units;
    while (age >= u->below)
        u++;
    int64_t n = age / u->seconds;
    cb_strbuf_addf(out, "%lld %s%s ago", (long long)n, u->name, n == 1 ? "" : "s");
}
