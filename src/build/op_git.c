/* SPDX-License-Identifier: Apache-2.0 */
#include "build/solve.h"

static int execute_git(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    struct cb_fetcher f = cb_fetcher_of(s->env, s->o);
    struct cb_git_tree tree;
    int r = cb_store_tmp_new(s->env->store, "git", &tmp, err);
    if (r == 0)
        r = cb_git_checkout(&f, &v->remote.git, v->remote.commit, &tmp, &tree, err);
    if (r < 0)
        return r;
    if (tree.left_out)
        cb_step_warn(v->step, "%s has submodules, which are not fetched: add ?submodules=true", v->remote.git.url);
    return cb_remote_place(s, v, tree.fd, tree.mtime, err);
}

const struct cb_op cb_op_git = { execute_git };
