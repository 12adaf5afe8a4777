/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* A fuzz target is one file, fuzz_NAME.c, with FUZZ_TARGET(NAME) { … }: it gets `text`, its own to change, with a NUL
 * behind its `len` bytes, and calls abort() where a promise is broken. contrib/ci/fuzz.sh builds each with libFuzzer;
 * tests/unit/test_dockerfile_mutate.c, test_image_records.c, test_layer_toc.c and test_registry_fuzz.c include them all
 * and replay tests/fuzz/corpus/NAME. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "util/alloc.h"

#ifdef CB_FUZZ_REPLAY
#define FUZZ_TARGET(name) static void fuzz_##name(char *text, size_t len)
#else
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
#define FUZZ_TARGET(name)                                         \
    static void fuzz_##name(char *text, size_t len);              \
    int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)  \
    {                                                             \
        cb_autofree char *text = cb_malloc(size + 1);             \
        if (size)                                                 \
            memcpy(text, data, size);                             \
        text[size] = '\0';                                        \
        fuzz_##name(text, size);                                  \
        return 0;                                                 \
    }                                                             \
    static void fuzz_##name(char *text, size_t len)
#endif

/* What stands behind the first \x01, which becomes a NUL; or otherwise. */
static inline CB_UNUSED const char *fuzz_second(char *text, size_t *len, const char *otherwise)
{
    char *sep = *len ? memchr(text, 1, *len) : NULL;
    if (!sep)
        return otherwise;
    *sep = '\0';
    *len = (size_t)(sep - text);
    return sep + 1;
}
