/* SPDX-License-Identifier: Apache-2.0 */
#include "util/lazy.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>

static atomic_bool forbidden;

void cb_lazy_forbid(void)
{
    atomic_store(&forbidden, true);
}

static int failed(struct cb_lazy *l, const char *why)
{
    return cb_error_set(&l->why, CB_ELOCAL,
                        "%s cannot be loaded (%s): install the library, or configure with --disable-lazy-libs",
                        l->soname, why ? why : "no reason is given");
}

static int load(struct cb_lazy *l)
{
    if (atomic_load(&forbidden))
        return failed(l, "too late: nothing is loaded any more");
    void *library = dlopen(l->soname, RTLD_LAZY | RTLD_LOCAL);
    if (!library)
        return failed(l, dlerror());
    for (size_t i = 0; i < l->n; i++) {
        void *f = dlsym(library, l->symbols[i].name);
        if (!f)
            return failed(l, dlerror());
        memcpy(l->symbols[i].at, &f, sizeof f);
    }
    return 0;
}

int cb_lazy_load(struct cb_lazy *l, struct cb_error *err)
{
    pthread_mutex_lock(&l->mu);
    if (l->state == CB_LAZY_NEW)
        l->state = load(l) < 0 ? CB_LAZY_FAILED : CB_LAZY_LOADED;
    int r = l->state == CB_LAZY_FAILED ? cb_error_copy(err, &l->why) : 0;
    pthread_mutex_unlock(&l->mu);
    return r;
}
