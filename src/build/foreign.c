/* SPDX-License-Identifier: Apache-2.0 */
#include "build/foreign.h"

#include <fcntl.h>

#include "util/alloc.h"
#include "util/path.h"

static int refuse(const struct cb_platform *platform, const char *why, struct cb_error *err)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_strbuf want cb_cleanup_strbuf = CB_STRBUF_INIT, have cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_platform_host(&host);
    cb_strbuf_add_platform(&want, platform);
    cb_strbuf_add_platform(&have, &host);
    if (!cb_streq(platform->os, host.os))
        return cb_error_set(err, CB_ELOCAL, "programs of %s cannot run here (%s)", want.buf, have.buf);
    return cb_error_set(err, CB_ELOCAL,
                        "programs of %s run here (%s) by an emulator only, and %s: apt-get install qemu-user-static, "
                        "or docker run --privileged --rm tonistiigi/binfmt --install %s", want.buf, have.buf, why,
                        platform->arch);
}

int cb_foreign_check_platform(const struct cb_build_env *env, const struct cb_platform *platform, char **interpreter,
                              struct cb_error *err)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    struct cb_foreign f CB_CLEANUP(cb_foreign_done) = { 0 };
    cb_platform_host(&host);
    *interpreter = NULL;
    if (!platform->arch || !platform->os)
        return 0;
    if (!cb_streq(platform->os, host.os))
        return refuse(platform, "", err);
    int r = cb_exec_probe_foreign(cb_store_root_fd(env->store), platform->arch, &f, err);
    if (r == 0 && f.state == CB_FOREIGN_NOT)
        r = refuse(platform, f.detail, err);
    else if (r == 0)
        *interpreter = CB_TAKE(f.interpreter);
    return r;
}

/* ---- a build ---- */

struct known {
    const struct cb_platform *platform;
    char *interpreter;
};
struct table {
    struct known *v;
    size_t n, cap;
};

static int look_up(struct cb_solver *s, struct table *t, const struct cb_platform *p, const char **interpreter,
                   struct cb_error *err)
{
    for (size_t i = 0; i < t->n; i++)
        if (cb_streq(t->v[i].platform->arch, p->arch) && cb_streq(t->v[i].platform->os, p->os)) {
            *interpreter = t->v[i].interpreter;
            return 0;
        }
    struct known k = { .platform = p };
    int r = cb_foreign_check_platform(s->env, p, &k.interpreter, err);
    if (r < 0)
        return r;
    *interpreter = k.interpreter;
    CB_GROW(t->v, t->n, t->cap);
    t->v[t->n++] = k;
    return 0;
}

static bool will_run(const struct cb_vertex *v)
{
    return v->kind == CB_VERTEX_RUN && v->state->vertex == v && v->state->needed && !v->state->done;
}

int cb_foreign_check(struct cb_solver *s, struct cb_error *err)
{
    struct table t = { 0 };
    int r = 0;
    for (size_t i = 0; r == 0 && i < s->plan->n; i++) {
        struct cb_vertex *v = s->plan->vertices[i];
        const char *interpreter = NULL;
        if (!will_run(v))
            continue;
        r = look_up(s, &t, &v->platform, &interpreter, err);
        if (r == 0)
            v->run.interpreter = cb_strdup_or_null(interpreter);
        else
            s->failed = v;
    }
    for (size_t i = 0; i < t.n; i++)
        free(t.v[i].interpreter);
    free(t.v);
    return r;
}

int cb_foreign_check_root(const struct cb_run_root *root, const struct cb_platform *platform, const char *interpreter,
                          struct cb_error *err)
{
    if (!interpreter)
        return 0;
    for (size_t i = root->n_lower; i-- > 0;) {
        cb_autoclose int fd = cb_path_openat(root->lower_fds[i], interpreter + 1, O_PATH, 0, CB_RESOLVE_IN_ROOT);
        if (fd >= 0)
            return 0;
    }
    cb_autofree char *why = cb_asprintf("%s, which is registered without flag F, is not in this root", interpreter);
    return refuse(platform, why, err);
}
