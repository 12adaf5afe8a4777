/* SPDX-License-Identifier: Apache-2.0 */
/* What a credential helper prints. */
#include "auth/private.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(helper)
{
    struct cb_credential c cb_cleanup_credential = { 0 };
    int r = auth_helper_read("x", text, len, &c, NULL);
    if (r > 0 && (!cb_credential_is_set(&c) || !c.source))
        abort();
    if (r == 0 && cb_credential_is_set(&c))
        abort();
}
