/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_compat.h"

#include <stdio.h>

#include "util/strbuf.h"

#define IGNORED(name, arg) { name, 0, CB_OPT_NOTED, offsetof(struct compat_options, ignored), arg, NULL, NULL }
const struct cb_opt compat_opts[] = {
    IGNORED("builder", "NAME"),
    IGNORED("compress", NULL),
    IGNORED("disable-compression", NULL),
    IGNORED("disable-content-trust", NULL),
    IGNORED("force-rm", NULL),
    IGNORED("identity-label", NULL),
    IGNORED("inherit-labels", NULL),
    IGNORED("rm", NULL),
    IGNORED("skip-unused-stages", NULL),
    CB_OPT_END,
};

void compat_options_done(struct compat_options *o)
{
    cb_strvec_done(&o->ignored);
}

void compat_warn(const struct cb_strvec *ignored)
{
    for (size_t i = 0; i < ignored->n; i++)
        fprintf(stderr, "%s--%s", i ? ", " : "cbpush: warning: ", ignored->v[i]);
    if (ignored->n)
        fprintf(stderr, ": nothing to do here\n");
}
