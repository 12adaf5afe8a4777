/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A pool of workers, and a bounded queue of byte chunks. Threads have all signals blocked. */

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "util/error.h"

/* CPUs we may use: the affinity mask, cut by the cgroup's cpu quota (v1 and v2), at least 1. CBPUSH_THREADS (1 to
 * 1024; anything else counts as unset) overrides. */
unsigned cb_cpu_count(void);
int cb_cpu_count_check(struct cb_error *err) CB_WUR; /* that variable: -CB_EUSAGE where it says something else */
int cb_thread_start(pthread_t *t, const char *name, void *(*fn)(void *), void *arg, struct cb_error *err) CB_WUR;

/* Jobs run in the order in which they were submitted, on n threads. A job must not wait for a job behind it in the same
 * pool: so short CPU jobs (compress a block) and long blocking ones (a build step) live in different pools. */
struct cb_pool;
struct cb_pool *cb_pool_new(const char *name, unsigned threads);
void cb_pool_free(struct cb_pool *p); /* waits for all jobs */
CB_DEFINE_CLEANUP(struct cb_pool *, cb_pool_free)
void cb_pool_submit(struct cb_pool *p, void (*fn)(void *arg), void *arg);
unsigned cb_pool_threads(const struct cb_pool *p);
/* From now on at most n jobs at a time, one at least. What is under way goes on. */
void cb_pool_limit(struct cb_pool *p, unsigned n);

/* A bounded pipe of bytes in memory between one writer and one reader thread. */
struct cb_ring;
struct cb_ring *cb_ring_new(size_t capacity);
void cb_ring_free(struct cb_ring *r);
CB_DEFINE_CLEANUP(struct cb_ring *, cb_ring_free)
/* Blocks until something can be written; returns how much, 0 once the reader has closed. */
size_t cb_ring_write(struct cb_ring *r, const void *buf, size_t n);
/* Never blocks: how much was taken, 0 when full. *closed tells that the reader is gone. */
size_t cb_ring_try_write(struct cb_ring *r, const void *buf, size_t n, bool *closed);
/* Blocks until something can be read; 0 at the end (writer closed and all read). */
size_t cb_ring_read(struct cb_ring *r, void *buf, size_t n);
size_t cb_ring_try_read(struct cb_ring *r, void *buf, size_t n, bool *ended);
/* The same in place: blocks until there is room or data, and tells where it is and how much in one piece; 0 where write
 * and read give 0. What was used of it (all, a part, nothing) is then committed or released. */
size_t cb_ring_reserve(struct cb_ring *r, void **p);
void cb_ring_commit(struct cb_ring *r, size_t n);
size_t cb_ring_peek(struct cb_ring *r, const void **p);
void cb_ring_release(struct cb_ring *r, size_t n);
void cb_ring_close_write(struct cb_ring *r);
void cb_ring_close_read(struct cb_ring *r);
/* Called (from the other side's thread, outside the lock) when room or data appears after a try_* that got 0. */
void cb_ring_on_room(struct cb_ring *r, void (*fn)(void *), void *arg);
void cb_ring_on_data(struct cb_ring *r, void (*fn)(void *), void *arg);
