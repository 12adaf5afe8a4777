/* SPDX-License-Identifier: Apache-2.0 */
/* The parsers of timeutil.h. No strptime: month names must not depend on the locale. */
#include "util/timeutil.h"

#define NS_PER_SEC INT64_C(1000000000)

/* Exactly n digits at *s, within [min, max]; moves *s on. */
static bool take_number(const char **s, int n, int min, int max, int *out)
{
    int v = 0;
    for (int i = 0; i < n; i++) {
        char c = (*s)[i];
        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (c - '0');
    }
    *s += n;
    *out = v;
    return v >= min && v <= max;
}

static bool take_char(const char **s, char c)
{
    if (**s != c)
        return false;
    (*s)++;
    return true;
}

static bool take_clock(const char **s, struct tm *tm)
{
    return take_number(s, 2, 0, 23, &tm->tm_hour) && take_char(s, ':') && take_number(s, 2, 0, 59, &tm->tm_min) &&
           take_char(s, ':') && take_number(s, 2, 0, 59, &tm->tm_sec);
}

/* tm_year holds the full year, tm_mon 1–12. False for days that the month has not. */
static bool tm_to_seconds(const struct tm *tm, int64_t *sec)
{
    struct tm t = *tm;
    t.tm_year -= 1900;
    t.tm_mon -= 1;
    *sec = (int64_t)timegm(&t);
    return t.tm_mday == tm->tm_mday;
}

static bool take_fraction(const char **s, int64_t *ns)
{
    *ns = 0;
    if (!take_char(s, '.'))
        return true;
    const char *start = *s;
    int64_t scale = NS_PER_SEC / 10;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        *ns += (**s - '0') * scale;
        scale /= 10;
    }
    return *s > start;
}

static bool take_offset(const char **s, int64_t *sec)
{
    *sec = 0;
    if (take_char(s, 'Z') || take_char(s, 'z'))
        return true;
    int hours, minutes;
    bool east = take_char(s, '+');
    if (!east && !take_char(s, '-'))
        return false;
    if (!take_number(s, 2, 0, 23, &hours) || !take_char(s, ':') || !take_number(s, 2, 0, 59, &minutes))
        return false;
    *sec = (hours * 60 + minutes) * (east ? 60 : -60);
    return true;
}

bool cb_time_parse(const char *s, int64_t *ns)
{
    struct tm tm = { 0 };
    int64_t sec, frac, offset;
    if (!take_number(&s, 4, 0, 9999, &tm.tm_year) || !take_char(&s, '-') || !take_number(&s, 2, 1, 12, &tm.tm_mon) ||
        !take_char(&s, '-') || !take_number(&s, 2, 1, 31, &tm.tm_mday))
        return false;
    if (!(take_char(&s, 'T') || take_char(&s, 't')) || !take_clock(&s, &tm) || !take_fraction(&s, &frac))
        return false;
    if (!take_offset(&s, &offset) || *s || !tm_to_seconds(&tm, &sec))
        return false;
    int64_t total;
    if (__builtin_mul_overflow(sec - offset, NS_PER_SEC, &total) || __builtin_add_overflow(total, frac, &total))
        return false;
    *ns = total;
    return true;
}

static bool take_month(const char **s, int *month)
{
    static const char names[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        if (strncmp(*s, names[i], 3) == 0) {
            *s += 3;
            *month = (int)i + 1;
            return true;
        }
    }
    return false;
}

static bool take_gmt(const char **s)
{
    if (strncmp(*s, " GMT", 4) != 0)
        return false;
    *s += 4;
    return true;
}

/* "06 Nov 1994 08:49:37 GMT" or, with the sender's two digits of the year, "06-Nov-94 08:49:37 GMT". */
static bool take_day_month_year(const char **s, struct tm *tm)
{
    if (!take_number(s, 2, 1, 31, &tm->tm_mday))
        return false;
    char between = **s;
    if ((between != ' ' && between != '-') || !take_char(s, between) || !take_month(s, &tm->tm_mon) ||
        !take_char(s, between))
        return false;
    if (between == ' ')
        return take_number(s, 4, 0, 9999, &tm->tm_year) && take_char(s, ' ') && take_clock(s, tm) && take_gmt(s);
    if (!take_number(s, 2, 0, 99, &tm->tm_year))
        return false;
    tm->tm_year += tm->tm_year < 70 ? 2000 : 1900;
    return take_char(s, ' ') && take_clock(s, tm) && take_gmt(s);
}

/* "Nov  6 08:49:37 1994", behind the weekday. */
static bool take_asctime(const char **s, struct tm *tm)
{
    if (!take_month(s, &tm->tm_mon) || !take_char(s, ' '))
        return false;
    if (!take_number(s, take_char(s, ' ') ? 1 : 2, 1, 31, &tm->tm_mday))
        return false;
    return take_char(s, ' ') && take_clock(s, tm) && take_char(s, ' ') && take_number(s, 4, 0, 9999, &tm->tm_year);
}

bool cb_time_parse_http(const char *s, int64_t *sec)
{
    struct tm tm = { 0 };
    int64_t v;
    /* The weekday adds nothing: any word does. */
    while ((*s >= 'A' && *s <= 'Z') || (*s >= 'a' && *s <= 'z'))
        s++;
    bool comma = take_char(&s, ',');
    if (!take_char(&s, ' ') || !(comma ? take_day_month_year(&s, &tm) : take_asctime(&s, &tm)))
        return false;
    if (*s || !tm_to_seconds(&tm, &v))
        return false;
    *sec = v;
    return true;
}

static bool take_unit(const char **s, int64_t *ns)
{
    static const struct {
        const char *name;
        int64_t ns;
    } units[] = {
        { "ns", 1 },
        { "us", 1000 },
        { "\xc2\xb5s", 1000 }, /* micro sign */
        { "\xce\xbcs", 1000 }, /* Greek mu */
        { "ms", 1000000 },
        { "s", NS_PER_SEC },
        { "m", 60 * NS_PER_SEC },
        { "h", 3600 * NS_PER_SEC },
    };
    for (size_t i = 0; i < CB_COUNTOF(units); i++) {
        if (cb_starts_with(*s, units[i].name)) {
            *s += strlen(units[i].name);
            *ns = units[i].ns;
            return true;
        }
    }
    return false;
}

/* One "1.5h". Digits of the fraction beyond the eighteenth change no nanosecond. */
static bool take_duration_part(const char **s, unsigned __int128 *total)
{
    unsigned __int128 whole = 0, frac = 0, scale = 1;
    int64_t unit;
    bool digits = false;
    for (; **s >= '0' && **s <= '9'; (*s)++, digits = true) {
        whole = whole * 10 + (unsigned)(**s - '0');
        if (whole > INT64_MAX)
            return false;
    }
    if (take_char(s, '.')) {
        for (int i = 0; **s >= '0' && **s <= '9'; (*s)++, i++, digits = true) {
            if (i < 18) {
                frac = frac * 10 + (unsigned)(**s - '0');
                scale *= 10;
            }
        }
    }
    if (!digits || !take_unit(s, &unit))
        return false;
    *total += whole * (uint64_t)unit + frac * (uint64_t)unit / scale;
    return *total <= (uint64_t)INT64_MAX;
}

bool cb_duration_parse(const char *s, int64_t *ns)
{
    unsigned __int128 total = 0;
    bool negative = *s == '-';
    if (*s == '-' || *s == '+')
        s++;
    if (!*s)
        return false;
    if (strcmp(s, "0") != 0) {
        while (*s) {
            if (!take_duration_part(&s, &total))
                return false;
        }
    }
    *ns = negative ? -(int64_t)total : (int64_t)total;
    return true;
}
