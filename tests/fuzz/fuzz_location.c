/* SPDX-License-Identifier: Apache-2.0 */
/* Location of an upload: the URL that it leads to, if any, is one, and never less safe than where it came from. */
#include "registry/private.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(location)
{
    static const char asked[] = "https://r.example:5000/v2/x/blobs/uploads/?a=b";
    struct cb_url u cb_cleanup_url = { 0 };
    (void)len;
    cb_autofree char *url = reg_location_from(asked, text, NULL);
    if (!url)
        return;
    if (cb_url_parse(&u, url, NULL) < 0)
        abort();
    if (strcmp(u.host, "r.example") == 0 && u.port == 5000 && strcmp(u.scheme, "https") != 0)
        abort();
}
