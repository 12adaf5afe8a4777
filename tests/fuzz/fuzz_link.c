/* SPDX-License-Identifier: Apache-2.0 */
/* Link of a page: the next one is on a URL that can be resolved, or there is none. */
#include "registry/private.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(link)
{
    struct cb_url u cb_cleanup_url = { 0 };
    (void)len;
    cb_autofree char *next = reg_link_next(text);
    cb_autofree char *url = next ? cb_url_resolve("https://r.example/v2/_catalog?n=1", next, NULL) : NULL;
    if (url && cb_url_parse(&u, url, NULL) < 0)
        abort();
}
