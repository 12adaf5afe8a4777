/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Attributes and the ownership macros that the whole code is written with. */

#include <stddef.h>
#include <stdlib.h>

#define CB_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define CB_WUR __attribute__((warn_unused_result))
#define CB_CLEANUP(fn) __attribute__((cleanup(fn)))
#define CB_UNUSED __attribute__((unused))
#define CB_NORETURN __attribute__((noreturn))

#define CB_COUNTOF(a) (sizeof(a) / sizeof((a)[0]))

/* The lesser and the greater of two. Each is evaluated once: it may be a call, or what other threads change. */
#define CB_MIN(a, b) CB_CHOOSE_(a, <, b, __COUNTER__)
#define CB_MAX(a, b) CB_CHOOSE_(a, >, b, __COUNTER__)
#define CB_CHOOSE_(a, op, b, n) CB_CHOOSE_N_(a, op, b, n)
#define CB_CHOOSE_N_(a, op, b, n)                                                                                      \
    ({                                                                                                                 \
        __auto_type cb_left_##n = (a);                                                                                 \
        __auto_type cb_right_##n = (b);                                                                                \
        cb_left_##n op cb_right_##n ? cb_left_##n : cb_right_##n;                                                      \
    })

/* Hands a pointer over: yields it and leaves NULL behind, so that its cleanup frees nothing. */
#define CB_TAKE(p) ({ __typeof__(p) cb_take_ = (p); (p) = NULL; cb_take_; })
/* The same for a descriptor. */
#define CB_TAKE_FD(fd) ({ int cb_take_ = (fd); (fd) = -1; cb_take_; })

/* Declares `cb_cleanup_<name>`-style functions for a destructor that takes the pointer and accepts NULL:
 *     CB_DEFINE_CLEANUP(struct cb_toc *, cb_toc_free)   ->   CB_AUTO(cb_toc_free) struct cb_toc *toc = NULL; */
#define CB_DEFINE_CLEANUP(type, fn)                                                                                    \
    static inline CB_UNUSED void fn##_p(type *p)                                                                       \
    {                                                                                                                  \
        if (*p)                                                                                                        \
            fn(*p);                                                                                                    \
    }
#define CB_AUTO(fn) __attribute__((cleanup(fn##_p)))

static inline CB_UNUSED void cb_free_p(void *p)
{
    free(*(void **)p);
}
#define cb_autofree __attribute__((cleanup(cb_free_p)))

void cb_close_p(int *fd); /* closes unless negative; keeps errno */
#define cb_autoclose __attribute__((cleanup(cb_close_p)))
