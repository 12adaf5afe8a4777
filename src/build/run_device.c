/* SPDX-License-Identifier: Apache-2.0 */
#include "build/run_device.h"
#include "util/alloc.h"

/* One that is not required may be missing, as in BuildKit. */
int cb_run_devices(const struct cb_solver *s, const struct cb_vertex *v, struct cb_cdi *out, struct cb_error *err)
{
    for (size_t i = 0; i < v->run.devices.n; i++) {
        const char *name = v->run.devices.v[i] + 1;
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        int r = cb_cdi_find(s->o->cdi_dirs, name, out, &e);
        if (r == -CB_ENOTFOUND && v->run.devices.v[i][0] == '?') {
            cb_step_warn(v->step, "device %s is not there: the step runs without it", name);
            continue;
        }
        if (r < 0) {
            e.code = CB_ECONF;
            return cb_error_move(err, &e);
        }
    }
    return 0;
}

void cb_run_device_env(const struct cb_cdi *c, struct cb_strvec *env)
{
    for (size_t i = 0; i < c->env.n; i++) {
        const char *eq = strchr(c->env.v[i], '=');
        cb_autofree char *key = cb_strndup(c->env.v[i], (size_t)(eq - c->env.v[i]));
        cb_env_set(env, key, eq + 1);
    }
}
