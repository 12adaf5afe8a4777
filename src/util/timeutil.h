/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Times. `int64_t` seconds or nanoseconds since the epoch; durations in nanoseconds. */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "util/error.h"
#include "util/strbuf.h"

#define CB_SECOND INT64_C(1000000000) /* ns */

int64_t cb_time_now(void);       /* CLOCK_REALTIME, ns */
int64_t cb_time_monotonic(void); /* CLOCK_MONOTONIC, ns */
bool cb_same_time(struct timespec a, struct timespec b);
/* RFC 3339 in UTC with as many fraction digits as needed: 2026-11-23T10:00:00.5Z */
void cb_time_format(struct cb_strbuf *out, int64_t ns);
/* False also for years that nanoseconds do not reach (before 1678, after 2261), as Go's zero time. */
bool cb_time_parse(const char *s, int64_t *ns);
bool cb_time_parse_http(const char *s, int64_t *sec); /* RFC 9110 HTTP-date */
/* Go's time.ParseDuration ("1h30m", "300ms"); negative values allowed. */
bool cb_duration_parse(const char *s, int64_t *ns);
/* SOURCE_DATE_EPOCH: *set false where unset or empty; -CB_EUSAGE where it is no number. */
int cb_source_date_epoch(bool *set, int64_t *sec, struct cb_error *err) CB_WUR;
/* "3 minutes ago" */
void cb_time_format_ago(struct cb_strbuf *out, int64_t then_ns, int64_t now_ns);
