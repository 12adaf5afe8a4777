/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Allocation that ends the program when memory is out: every size that comes from outside is bounded (util/limits.h)
 * first. */

#include <stdarg.h>
#include <stddef.h>

#include "util/macros.h"

/* Ends the program where this machine gives nothing more, with status 6 (CB_ELOCAL). No allocation on the way out: text
 * goes straight to standard error, as it is. */
CB_NORETURN void cb_out_of(const char *text);

void *cb_malloc(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *cb_calloc(size_t n, size_t size) __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
void *cb_realloc(void *p, size_t size) __attribute__((alloc_size(2), returns_nonnull));
void *cb_reallocarray(void *p, size_t n, size_t size) __attribute__((alloc_size(2, 3), returns_nonnull));
char *cb_strdup(const char *s) __attribute__((malloc, returns_nonnull, nonnull));
char *cb_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull, nonnull));
char *cb_strdup_or_null(const char *s);
void *cb_memdup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
char *cb_asprintf(const char *fmt, ...) CB_PRINTF(1, 2) __attribute__((returns_nonnull));
char *cb_vasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0), returns_nonnull));
#define CB_NEW(type) ((type *)cb_calloc(1, sizeof(type)))

/* Room for one more at the end of the pair (v, n, cap). Amortised growth; v is any pointer. */
#define CB_GROW(v, n, cap)                                                                                             \
    do {                                                                                                               \
        if ((n) >= (cap)) {                                                                                            \
            (cap) = (cap) ? (cap) * 2 : 8;                                                                             \
            (v) = cb_reallocarray((v), (cap), sizeof *(v));                                                            \
        }                                                                                                              \
    } while (0)
