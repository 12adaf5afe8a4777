/* SPDX-License-Identifier: Apache-2.0 */
/* What a RUN asks for beyond its sandbox, and whether whoever runs cbpush allows it (safety F6): a Dockerfile cannot
 * grant itself anything. */
#include "build/plan_private.h"
#include <strings.h>

#include "util/alloc.h"
#include "util/encode.h"

static int refuse(const char *flag, const char *allow, struct cb_error *err)
{
    return cb_error_set(err, CB_ECONF, "RUN %s has to be allowed on the command line: --allow %s", flag, allow);
}

/* The build's own network is the host's unless it says otherwise; a RUN that asks for it by name asks for what BuildKit
 * calls an entitlement. */
static int take_network(const struct cb_build_options *o, const struct cb_df_instruction *i, struct cb_run_op *op,
                        struct cb_error *err)
{
    op->network = o->network;
    if (i->network && !strcmp(i->network, "none"))
        op->network = CB_NETWORK_NONE;
    if (!i->network || strcmp(i->network, "host"))
        return 0;
    op->network = CB_NETWORK_HOST;
    return o->allow.host_network ? 0 : refuse("--network=host", "network.host", err);
}

static bool device_is_allowed(const struct cb_run_rights *allow, const char *name)
{
    cb_autofree char *kind = cb_strndup(name, strcspn(name, "="));
    cb_autofree char *all = cb_asprintf("%s=*", kind);
    return allow->any_device || (allow->devices && (cb_strvec_has(allow->devices, name) ||
                                                    cb_strvec_has(allow->devices, kind) ||
                                                    cb_strvec_has(allow->devices, all)));
}

static int take_devices(const struct cb_build_options *o, const struct cb_df_instruction *i, struct cb_run_op *op,
                        struct cb_error *err)
{
    for (size_t k = 0; k < i->devices.n; k++) {
        cb_autofree char *name = NULL;
        bool required = false;
        cb_df_device_split(i->devices.v[k], &name, &required);
        if (!device_is_allowed(&o->allow, name)) {
            cb_autofree char *flag = cb_asprintf("--device=%s", name), *allow = cb_asprintf("device=%s", name);
            return refuse(flag, allow, err);
        }
        cb_strvec_pushf(&op->devices, "%s%s", required ? "!" : "?", name);
    }
    return 0;
}

int plan_allowed(const struct plan_stage *st, const struct cb_df_instruction *i, struct cb_run_op *op,
                 struct cb_error *err)
{
    const struct cb_build_options *o = st->p->o->build;
    op->insecure = i->security && !strcmp(i->security, "insecure");
    if (op->insecure && !o->allow.insecure)
        return refuse("--security=insecure", "security.insecure", err);
    int r = take_network(o, i, op, err);
    return r < 0 ? r : take_devices(o, i, op, err);
}

/* ---- --no-cache-filter ---- */

static bool names_stage(const char *word, const struct plan_stage *st)
{
    const char *name = st->df->from.stage_name;
    uint64_t n;
    return (name && !strcasecmp(word, name)) || (cb_parse_u64(word, SIZE_MAX, &n) && n == st->index);
}

int plan_no_cache(struct planner *p, struct cb_error *err)
{
    const struct cb_strvec *filter = p->o->build->no_cache_filter;
    for (size_t i = 0; filter && i < filter->n; i++) {
        bool found = false;
        for (size_t k = 0; k < p->df->n_stages; k++)
            if (names_stage(filter->v[i], &p->stages[k]))
                found = p->stages[k].no_cache = true;
        if (!found)
            return cb_error_set(err, CB_EUSAGE, "--no-cache-filter %s: %s has no such stage", filter->v[i],
                                p->df->name);
    }
    return 0;
}
