/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "build/rootfs.h"
#include "build/solve.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/timeutil.h"

/* What is left of a RUN when its process has ended: it becomes a layer while the next steps run. */
struct cb_seal {
    struct cb_seal *next;          /* in the solver's list: directories stay until nothing can be mounted on them */
    struct cb_solver *s;
    struct cb_vertex *v;
    struct cb_slot *slot;
    struct cb_store_tmp tmp;       /* its "upper" */
    int upper_fd;
    struct cb_slot **below;        /* copies: the vertex's state may grow */
    size_t n_below;
};

void cb_seals_free(struct cb_seal *x)
{
    while (x) {
        struct cb_seal *next = x->next;
        cb_close_p(&x->upper_fd);
        cb_store_tmp_done(&x->tmp);
        free(x->below);
        free(x);
        x = next;
    }
}

static int write_difference(struct cb_seal *x, struct cb_layer *layer, struct cb_toc **toc, struct cb_error *err)
{
    struct cb_solver *s = x->s;
    cb_autosink struct cb_blob_sink *sink = NULL;
    int r = cb_slots_need(s->slots, x->below, x->n_below, CB_NEED_TOC, x->v->step, err);
    if (r == 0)
        r = cb_store_blob_sink(s->env->store, &sink, err);
    if (r < 0)
        return r;
    CB_AUTO(cb_stack_unref) struct cb_stack *lower = cb_slots_stack(x->below, x->n_below);
    struct cb_layer_write_options wo = { .compression = s->compression, .level = s->level, .pool = s->env->cpu,
                                         .clamp_mtime = s->kb.clamp_mtime, .sink = sink, .cancel = s->cancel };
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, err);
    struct cb_diff_options d = { .upper_fd = x->upper_fd, .userxattr = s->env->id_mode != CB_ID_REAL_ROOT,
                                 .single_id = s->env->id_mode == CB_ID_SINGLE, .lower = lower };
    size_t n = 0;
    if (!w)
        return err ? -(int)err->code : -CB_ELOCAL;
    r = cb_diff_overlay(&d, w, &n, err);
    if (r < 0 || n == 0)
        return r;
    r = cb_layer_writer_finish(w, layer, toc, err);
    if (r == 0)
        r = cb_store_toc_put(s->env->store, &layer->diff_id, *toc, err);
    return r == 0 ? cb_store_layer_put(s->env->store, layer, err) : r;
}

static int record(struct cb_seal *x, struct cb_error *err)
{
    struct cb_digest content, hint;
    struct cb_cache_record mark = { .created = x->v->state->created, .note = x->v->note };
    cb_key_run_content(&x->s->kb, x->v, x->below, x->n_below, &content);
    int r = cb_solver_record(x->s, x->v, &content, err);
    cb_key_run_hint(&x->s->kb, x->v, &hint);
    return r == 0 ? cb_store_cache_put(x->s->env->store, &hint, &mark, err) : r;
}

static void seal_run(void *arg)
{
    struct cb_seal *x = arg;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_layer layer cb_cleanup_layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    int r = write_difference(x, &layer, &toc, &e);
    /* A tree without its directories' owners (one mapped id) is as good as one that was unpacked: both keep them in the table. */
    if (r == 0 && toc && x->s->kb.clamp_mtime == INT64_MAX)
        r = cb_store_tree_publish(x->s->env->store, &x->tmp, "upper", &layer.diff_id, &e);
    if (r < 0)
        cb_error_wrap(&e, "%s", x->v->note);
    cb_slot_complete(x->slot, toc ? &layer : NULL, toc, r < 0 ? &e : NULL);
    if (r == 0 && record(x, &e) < 0)
        cb_step_warn(x->v->step, "not recorded in the build cache: %s", cb_error_text(&e));
}

/* Nothing at all in the upper directory: a step that changed nothing. */
static bool is_empty(int dirfd)
{
    struct stat st;
    return fstat(dirfd, &st) == 0 && cb_dir_is_empty(dirfd);
}

static void log_output(void *arg, int stream, const char *buf, size_t n)
{
    cb_step_log(arg, stream, buf, n);
}

static int mount_script(const struct cb_run_op *op, struct cb_store_tmp *tmp, struct cb_mount *m, struct cb_error *err)
{
    int r = cb_fs_write_file(tmp->fd, "script", op->script, strlen(op->script), 0755, err);
    if (r < 0)
        return r;
    m->kind = CB_MOUNT_BIND;
    m->target = op->script_path;
    m->readonly = true;
    m->source_fd = openat(tmp->fd, "script", O_PATH | O_CLOEXEC);
    return m->source_fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open the step's script") : 0;
}

static int run_process(struct cb_solver *s, struct cb_vertex *v, struct cb_run_root *root, struct cb_error *err)
{
    const struct cb_run_op *op = &v->run;
    struct cb_user user cb_cleanup_user = { 0 };
    struct cb_strvec env cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_mount script = { .source_fd = -1 };
    int status = 0;
    int r = cb_run_root_user(root, s->slots, op->user, v->step, &user, err);
    if (r == 0 && op->script)
        r = mount_script(op, &root->tmp, &script, err);
    if (r < 0)
        return r;
    cb_strvec_copy(&env, &op->env);
    if (!cb_env_get(&env, "HOME"))
        cb_env_set(&env, "HOME", user.home ? user.home : "/");
    struct cb_exec_spec spec = {
        .root = { root->lower_fds, root->n_lower, root->upper_fd, root->work_fd }, .id_mode = s->env->id_mode,
        .argv = (const char *const *)op->argv.v, .env = (const char *const *)env.v, .cwd = op->cwd, .uid = user.uid,
        .gid = user.gid, .groups = user.groups, .n_groups = user.n_groups, .network = op->network,
        .extra_hosts = s->o->extra_hosts, .mounts = &script, .n_mounts = op->script ? 1 : 0, .init = true, .stdin_fd = -1,
        .stdout_fd = -1, .stderr_fd = -1, .on_output = log_output, .on_output_arg = v->step, .cancel = s->cancel,
        .scratch_fd = root->scratch_fd,
    };
    r = cb_exec_run(&spec, &status, err);
    cb_close_p(&script.source_fd);
    if (r < 0 || status == 0)
        return r;
    r = cb_cancel_check(s->cancel, err);
    if (r < 0)
        return r;
    r = cb_error_set(err, CB_ESTEP, "process \"%s\" did not complete successfully: exit code: %d", v->note, status);
    if (err)
        err->exit_status = status;
    return r;
}

static void start_seal(struct cb_solver *s, struct cb_vertex *v, struct cb_run_root *root)
{
    struct cb_seal *x = CB_NEW(struct cb_seal);
    struct cb_solve_state *st = v->state;
    x->s = s;
    x->v = v;
    x->upper_fd = CB_TAKE_FD(root->upper_fd);
    x->tmp = root->tmp;
    root->tmp = (struct cb_store_tmp)CB_STORE_TMP_INIT;
    x->n_below = st->n_layers;
    x->below = cb_memdup(st->layers, st->n_layers * sizeof *st->layers + 1);
    x->slot = cb_slots_pending(s->slots, x->upper_fd);
    cb_state_push_layer(st, x->slot);
    pthread_mutex_lock(&s->mu);
    x->next = s->seal_list;
    s->seal_list = x;
    pthread_mutex_unlock(&s->mu);
    cb_pool_submit(s->seals, seal_run, x);
}

/* A base that was made again and came out the same: its difference is known. Only asked where such a RUN was ever recorded, since
 * the answer has to wait for the layers below. */
static bool recall(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_digest hint, content;
    struct cb_cache_record mark cb_cleanup_cache_record = { 0 };
    struct cb_solve_state *st = v->state;
    struct cb_slot *slot;
    cb_key_run_hint(&s->kb, v, &hint);
    if (s->o->no_cache || cb_store_cache_get(s->env->store, &hint, &mark, NULL) < 0)
        return false;
    if (cb_slots_need(s->slots, st->layers, st->n_layers, CB_NEED_TOC, v->step, NULL) < 0)
        return false;
    cb_key_run_content(&s->kb, v, st->layers, st->n_layers, &content);
    if (cb_solver_recall(s, v, &content, &slot, NULL) < 0)
        return false;
    if (slot)
        cb_state_push_layer(st, slot);
    st->hit = true;
    return true;
}

static int execute_run(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_run_root root cb_cleanup_run_root = CB_RUN_ROOT_INIT;
    struct cb_solve_state *st = v->state;
    if (recall(s, v))
        return cb_solver_record(s, v, NULL, err);
    int r = cb_run_root_open(&root, s->slots, st->layers, st->n_layers, v->step, err);
    if (r < 0)
        return r;
    st->created = cb_time_now();
    st->executed = true;
    r = run_process(s, v, &root, err);
    if (r < 0)
        return r;
    if (!is_empty(root.upper_fd)) {
        start_seal(s, v, &root);
        return 0;
    }
    return cb_solver_record(s, v, NULL, err);
}

const struct cb_op cb_op_run = { execute_run };
