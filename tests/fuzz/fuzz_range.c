/* SPDX-License-Identifier: Apache-2.0 */
/* Range of an upload, and Retry-After beside it. */
#include "registry/private.h"
#include "registry/upload.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(range)
{
    const char *wait = fuzz_second(text, &len, "");
    uint64_t n = upload_range(text);
    if (n != UINT64_MAX && (n == 0 || n > (uint64_t)INT64_MAX + 1))
        abort();
    int64_t s = cb_http_retry_after(wait, 1800000000);
    if (s < -1 || s > 1000000000)
        abort();
}
