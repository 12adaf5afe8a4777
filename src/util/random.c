/* SPDX-License-Identifier: Apache-2.0 */
#include "util/random.h"

#include <errno.h>
#include <sys/random.h>

void cb_random_bytes(void *buf, size_t n)
{
    char *p = buf;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            static const char text[] = "cbpush: no random numbers\n";
            ssize_t unused = write(STDERR_FILENO, text, sizeof text - 1);
            (void)unused;
            abort();
        }
        p += got;
        n -= (size_t)got;
    }
}
