/* SPDX-License-Identifier: Apache-2.0 */
#include "util/alloc.h"

#include <stdint.h>

#define LOCAL_FAILURE 6 /* CB_ELOCAL, which stands above this */

void cb_out_of(const char *text)
{
    ssize_t unused = write(STDERR_FILENO, text, strlen(text));
    (void)unused;
    _exit(LOCAL_FAILURE);
}

static CB_NORETURN void out_of_memory(void)
{
    cb_out_of("cbpush: out of memory\n");
}

void *cb_malloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *cb_calloc(size_t n, size_t size)
{
    void *p = n && size ? calloc(n, size) : calloc(1, 1);
    if (!p)
        out_of_memory();
    return p;
}

void *cb_realloc(void *p, size_t size)
{
    void *q = realloc(p, size ? size : 1);
    if (!q)
        out_of_memory();
    return q;
}

void *cb_reallocarray(void *p, size_t n, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(n, size, &total))
        out_of_memory();
    return cb_realloc(p, total);
}

char *cb_strdup(const char *s)
{
    return cb_memdup(s, strlen(s) + 1);
}

char *cb_strndup(const char *s, size_t n)
{
    n = strnlen(s, n);
    char *copy = cb_malloc(n + 1);
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

char *cb_strdup_or_null(const char *s)
{
    return s ? cb_strdup(s) : NULL;
}

void *cb_memdup(const void *p, size_t n)
{
    void *copy = cb_malloc(n);
    if (n)
        memcpy(copy, p, n);
    return copy;
}

char *cb_asprintf(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    char *s = cb_vasprintf(fmt, ap);
    va_end(ap);
    return s;
}

char *cb_vasprintf(const char *fmt, va_list ap)
{
    char *s;
    if (vasprintf(&s, fmt, ap) < 0)
        out_of_memory();
    return s;
}
