/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Shared libraries that are loaded when they are first needed. Loading libcurl, with the forty libraries that a
 * distribution links it to, takes longer than an unchanged build; and most builds read no archive.
 *
 * A file of the folder that uses the library, LIBRARY_lib.h, maps its functions to a table; with --disable-lazy-libs
 * it maps nothing, and the library is linked. It is loaded once, by its soname as the dynamic linker finds it, and
 * stays. */

#include <pthread.h>
#include <stddef.h>

#include "util/error.h"

struct cb_lazy_symbol {
    const char *name;
    void *at;                      /* of a pointer to a function */
};
struct cb_lazy {
    const char *soname;
    const struct cb_lazy_symbol *symbols;
    size_t n;
    pthread_mutex_t mu;
    enum { CB_LAZY_NEW, CB_LAZY_LOADED, CB_LAZY_FAILED } state;
    struct cb_error why;           /* FAILED: kept, it is not tried again */
};
#define CB_LAZY_INIT(name, table)                                                                                      \
    {                                                                                                                  \
        .soname = (name), .symbols = (table), .n = CB_COUNTOF(table), .mu = PTHREAD_MUTEX_INITIALIZER                  \
    }
/* load, for LIBRARY_lib.c: all that is in its table, rows of struct cb_lazy_symbol. With --disable-lazy-libs there is
 * nothing to load. */
#ifdef CB_LAZY_LIBS
#define CB_LAZY_LIBRARY(load, soname, ...)                                                                             \
    static const struct cb_lazy_symbol symbols[] = { __VA_ARGS__ };                                                    \
    static struct cb_lazy library = CB_LAZY_INIT(soname, symbols);                                                     \
    int load(struct cb_error *err)                                                                                     \
    {                                                                                                                  \
        return cb_lazy_load(&library, err);                                                                            \
    }
#else
#define CB_LAZY_LIBRARY(load, soname, ...) CB_LAZY_NOTHING(load)
#endif
#define CB_LAZY_NOTHING(load)                                                                                          \
    int load(CB_UNUSED struct cb_error *err)                                                                           \
    {                                                                                                                  \
        return 0;                                                                                                      \
    }
/* -CB_ELOCAL where it cannot be had. */
int cb_lazy_load(struct cb_lazy *l, struct cb_error *err) CB_WUR;
/* From here on this process and its children load nothing: the root directory is about to become somebody else's. */
void cb_lazy_forbid(void);
