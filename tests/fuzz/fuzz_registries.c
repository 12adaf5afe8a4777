/* SPDX-License-Identifier: Apache-2.0 */
/* registries.conf: what it says of some names. A rule that matches is no longer than the name. */
#include "registry/private.h"
#include "tests/fuzz/fuzz.h"

FUZZ_TARGET(registries)
{
    static const char *const names[] = { "r.example/team/app", "docker.io/library/x", "a.b:5000/x" };
    CB_CLEANUP(reg_conf_done) struct reg_conf c = { 0 };
    const char *more = fuzz_second(text, &len, NULL);
    if (reg_conf_parse(&c, "f", text, len, NULL) < 0)
        return;
    if (more && reg_conf_parse(&c, "g", more, strlen(more), NULL) < 0)
        return;
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        size_t matched;
        const struct reg_rule *r = reg_conf_match(&c, names[i], &matched);
        if ((r == NULL) != (matched == 0) || matched > strlen(names[i]))
            abort();
    }
}
