/* SPDX-License-Identifier: Apache-2.0 */
/* A token, for what it says of itself. */
#include "auth/private.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(jwt)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    (void)len;
    cb_autojson json_t *access = auth_jwt_access(text);
    if (!access)
        return;
    for (size_t i = 0; i < json_array_size(access); i++)
        if (!json_is_string(json_array_get(access, i)))
            abort();
    cb_json_print(&sb, access);
}
