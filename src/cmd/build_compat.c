/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_compat.h"

#include <stdio.h>

#include "util/strbuf.h"

#define AT(field) offsetof(struct compat_options, field)
#define IGNORED(name, arg) { name, 0, CB_OPT_NOTED, AT(ignored), arg, NULL, NULL }
const struct cb_opt compat_opts[] = {
    { "attest", 0, CB_OPT_LIST, AT(attest), "SPEC", NULL, NULL },
    { "provenance", 0, CB_OPT_STRING, AT(provenance), "SPEC", "attestations are not made yet; false is accepted",
      NULL, "false" },
    { "sbom", 0, CB_OPT_STRING, AT(sbom), "SPEC", "the same", NULL, "false" },
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
    cb_strvec_done(&o->attest);
}

static bool says_no(const char *value)
{
    static const char *const no[] = { "false", "0", "none", "disabled", "disabled=true", "mode=none" };
    for (size_t i = 0; i < CB_COUNTOF(no); i++)
        if (!strcmp(value, no[i]))
            return true;
    return false;
}

static int check_attestation(const char *flag, const char *value, struct cb_error *err)
{
    if (!value || says_no(value) || cb_ends_with(value, ",disabled=true"))
        return 0;
    return cb_error_set(err, CB_EUSAGE,
                        "--%s%s%s: this version makes no attestations yet: leave it out, or say --%s=false", flag,
                        *value ? "=" : "", value, strcmp(flag, "attest") ? flag : "provenance");
}

int compat_check(const struct compat_options *o, struct cb_error *err)
{
    int r = check_attestation("provenance", o->provenance, err);
    if (r == 0)
        r = check_attestation("sbom", o->sbom, err);
    for (size_t i = 0; r == 0 && i < o->attest.n; i++)
        r = check_attestation("attest", o->attest.v[i], err);
    return r;
}

void compat_warn(const struct cb_strvec *ignored)
{
    for (size_t i = 0; i < ignored->n; i++)
        fprintf(stderr, "%s--%s", i ? ", " : "cbpush: warning: ", ignored->v[i]);
    if (ignored->n)
        fprintf(stderr, ": nothing to do here\n");
}
