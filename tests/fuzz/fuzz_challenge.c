/* SPDX-License-Identifier: Apache-2.0 */
/* WWW-Authenticate, of one value or two: what comes out may become part of a request. */
#include "auth/private.h"
#include "tests/fuzz/fuzz.h"

static void check_harmless(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f)
            abort();
}

FUZZ_TARGET(challenge)
{
    CB_CLEANUP(auth_challenges_done) struct auth_challenges c = { 0 };
    const char *second = fuzz_second(text, &len, NULL);
    if (auth_challenge_parse(&c, text, NULL) < 0 || (second && auth_challenge_parse(&c, second, NULL) < 0))
        return;
    for (size_t i = 0; i < c.n; i++) {
        if (!*c.v[i].scheme)
            abort();
        for (size_t k = 0; k < c.v[i].params.n; k++) {
            check_harmless(c.v[i].params.v[k].key);
            check_harmless(c.v[i].params.v[k].value);
        }
    }
}
