/* SPDX-License-Identifier: Apache-2.0 */
/* The name of an image: what is printed is read as the same again. */
#include "oci/reference.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(reference)
{
    struct cb_reference r cb_cleanup_reference = { 0 }, again cb_cleanup_reference = { 0 };
    (void)len;
    if (cb_reference_parse(&r, text, NULL) < 0)
        return;
    cb_autofree char *one = cb_reference_text(&r);
    if (cb_reference_parse(&again, one, NULL) < 0)
        abort();
    cb_autofree char *two = cb_reference_text(&again);
    if (strcmp(one, two) != 0)
        abort();
}
