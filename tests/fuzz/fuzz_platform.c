/* SPDX-License-Identifier: Apache-2.0 */
/* "os/arch/variant": what is printed is read as the same again. */
#include "oci/platform.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(platform)
{
    struct cb_platform p cb_cleanup_platform = { 0 }, again cb_cleanup_platform = { 0 };
    cb_cleanup_strbuf struct cb_strbuf out = CB_STRBUF_INIT;
    (void)len;
    if (cb_platform_parse(&p, text, NULL) < 0)
        return;
    cb_strbuf_add_platform(&out, &p);
    if (cb_platform_parse(&again, out.buf, NULL) < 0 || !cb_platform_eq(&p, &again) || !cb_platform_match(&p, &again))
        abort();
}
