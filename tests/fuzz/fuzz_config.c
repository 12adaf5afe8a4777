/* SPDX-License-Identifier: Apache-2.0 */
/* An image configuration: what is printed of it is read as the same. */
#include "oci/config.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(config)
{
    struct cb_image_config c cb_cleanup_image_config = { 0 }, again cb_cleanup_image_config = { 0 };
    struct cb_strbuf one cb_cleanup_strbuf = CB_STRBUF_INIT, two cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_image_config_parse(&c, text, len, NULL) < 0)
        return;
    cb_image_config_print(&one, &c);
    if (cb_image_config_parse(&again, one.buf, one.len, NULL) < 0)
        abort();
    cb_image_config_print(&two, &again);
    if (strcmp(one.buf, two.buf) != 0)
        abort();
}
