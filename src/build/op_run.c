/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <unistd.h>

#include "build/failed.h"
#include "build/foreign.h"
#include "build/rootfs.h"
#include "build/run_mounts.h"
#include "build/run_device.h"
#include "build/solve.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/timeutil.h"

/* What is left of a RUN when its process has ended: it becomes a layer while the next steps run. */
struct cb_seal {
    struct cb_seal *next;          /* in the solver's list: directories stay until nothing can be mounted on them */
    struct cb_solver *s;
    struct cb_vertex *v;
    struct cb_slot *slot;          /* NULL: it changed nothing, which only has to be recorded */
    struct cb_store_tmp tmp;       /* its "upper" */
    int upper_fd;
    struct cb_slot **below;        /* borrowed from the state, without the slot */
    size_t n_below;
    struct cb_owner_table *owners; /* what the disk cannot hold, or NULL */
};

void cb_seals_free(struct cb_seal *x)
{
    while (x) {
        struct cb_seal *next = x->next;
        cb_close_p(&x->upper_fd);
        cb_store_tmp_done(&x->tmp);
        cb_owner_table_free(x->owners);
        free(x);
        x = next;
    }
}

/* needs: LOOKUP, or whole tables. */
static int write_by(struct cb_seal *x, unsigned needs, struct cb_layer *layer, struct cb_toc **toc,
                    struct cb_error *err)
{
    struct cb_solver *s = x->s;
    cb_autosink struct cb_blob_sink *sink = NULL;
    struct cb_span span cb_cleanup_span = cb_span_begin("seal", "difference of %s", x->v->name);
    int r = cb_slots_need(s->slots, x->below, x->n_below, needs, x->v->step, err);
    if (r == 0)
        r = cb_store_blob_sink_known(s->env->store, &sink, err);
    if (r < 0)
        return r;
    CB_AUTO(cb_lookup_free) struct cb_lookup *lookup = cb_slots_lookup(x->below, x->n_below);
    struct cb_finder lower = cb_lookup_finder(lookup);
    struct cb_layer_write_options wo = cb_solver_write_options(s, x->v, sink);
    CB_AUTO(cb_layer_writer_free) struct cb_layer_writer *w = cb_layer_writer_new(&wo, err);
    struct cb_diff_options d = { .upper_fd = x->upper_fd, .userxattr = s->env->id_mode != CB_ID_REAL_ROOT,
                                 .single_id = s->env->id_mode == CB_ID_SINGLE, .owners = x->owners,
                                 .lower = &lower };
    size_t n = 0;
    if (!w)
        return cb_failed(err);
    r = cb_diff_overlay(&d, w, &n, err);
    cb_span_number(&span, "entries", n);
    cb_span_end(&span);
    if (r < 0 || n == 0)
        return r;
    r = cb_layer_writer_finish(w, layer, toc, err);
    return r < 0 ? r : cb_solver_keep_layer(s, layer, *toc, err);
}

/* What is damaged below is found by reading it, and whole tables are checked, and made again. */
static int write_difference(struct cb_seal *x, struct cb_layer *layer, struct cb_toc **toc, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = write_by(x, CB_NEED_LOOKUP, layer, toc, &e);
    if (r == -CB_EVERIFY) {
        cb_error_done(&e);
        r = write_by(x, CB_NEED_TOC, layer, toc, &e);
    }
    return r < 0 ? cb_error_move(err, &e) : 0;
}

/* A tree without its directories' owners (one mapped id) is as good as one that was unpacked: both keep them in the
 * table. Times that the layer does not have are not. */
static int publish_tree(struct cb_seal *x, const struct cb_layer *layer, struct cb_error *err)
{
    if (x->s->kb.clamp_mtime != INT64_MAX)
        return 0;
    const struct cb_tree_name name = { &layer->diff_id, NULL };
    return cb_store_tree_publish(x->s->env->store, &x->tmp, "upper", &name, err);
}

/* What content keys are made from: a parent's layer is known by its name. */
static int need_contents(struct cb_solver *s, struct cb_vertex *v, struct cb_slot *const *layers, size_t n,
                         struct cb_error *err)
{
    struct cb_slot **own = cb_calloc(n + 1, sizeof(struct cb_slot *));
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (!cb_slot_is_parent(layers[i]))
            own[m++] = layers[i];
    int r = cb_slots_need(s->slots, own, m, CB_NEED_CONTENT, v->step, err);
    free(own);
    return r;
}

/* layers: what v stands on. */
static int content_key(struct cb_solver *s, struct cb_vertex *v, struct cb_slot *const *layers, size_t n,
                       struct cb_digest *out, struct cb_error *err)
{
    struct cb_digest shown;
    int r = need_contents(s, v, layers, n, err);
    if (r < 0)
        return r;
    cb_key_run_content(&s->kb, v, layers, n, out);
    if (v->run.n_mounts == 0)
        return 0;
    r = cb_run_mounts_content(s, v, &shown, err);
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field_digest(h, out);
    cb_hasher_field_digest(h, &shown);
    cb_hasher_finish(h, out);
    return r;
}

static void record(struct cb_seal *x)
{
    struct cb_solver *s = x->s;
    struct cb_digest content, hint;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_cache_record mark = { .created = x->v->state->created, .note = x->v->note };
    if (x->v->state->unsure) {
        cb_solve_disclaim(s, x->v);
        return;
    }
    if (content_key(s, x->v, x->below, x->n_below, &content, &e) < 0)
        return; /* what stands below is not there: nor is there anything to record */
    cb_solver_record(s, x->v, &content);
    cb_key_run_hint(&s->kb, x->v, &hint);
    if (cb_store_cache_put(s->env->store, &hint, &mark, &e) < 0 && !cb_canceled(s->cancel))
        cb_step_warn(x->v->step, "not recorded in the build cache: %s", cb_error_text(&e));
    if (s->claims)
        cb_claims_stored(s->claims, x->v);
}

static int make_layer(struct cb_seal *x)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_layer layer cb_cleanup_layer = { 0 };
    CB_AUTO(cb_toc_unref) struct cb_toc *toc = NULL;
    struct cb_span span cb_cleanup_span = cb_span_begin("seal", "layer of %s", x->v->name);
    int r = write_difference(x, &layer, &toc, &e);
    cb_span_number(&span, "bytes", toc ? layer.size : 0);
    if (r == 0 && toc)
        r = publish_tree(x, &layer, &e);
    if (r < 0)
        cb_error_wrap(&e, "%s", x->v->note);
    cb_slot_complete(x->slot, toc ? &layer : NULL, toc, r < 0 ? &e : NULL);
    if (r < 0)
        cb_solver_fail(x->s, x->v, &e);
    return r;
}

static void seal_run(void *arg)
{
    struct cb_seal *x = arg;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = x->slot ? make_layer(x) : cb_slots_settle(x->below, x->n_below, &e);
    if (!x->slot && r < 0)
        cb_solver_fail(x->s, x->v, &e);
    cb_close_p(&x->upper_fd);
    cb_owner_table_free(CB_TAKE(x->owners));
    if (r == 0)
        record(x);
    cb_solver_sealed(x->s);
}

static void log_output(void *arg, int stream, const char *buf, size_t n)
{
    cb_step_log(arg, stream, buf, n);
}

static int mount_script(const struct cb_run_op *op, struct cb_store_tmp *tmp, struct cb_mount *m, struct cb_error *err)
{
    m->source_fd = -1;
    int r = cb_fs_write_file(tmp->fd, "script", op->script, strlen(op->script), 0755, err);
    if (r < 0)
        return r;
    m->kind = CB_MOUNT_BIND;
    m->target = op->script_path;
    m->readonly = true;
    m->source_fd = openat(tmp->fd, "script", O_PATH | O_CLOEXEC);
    return m->source_fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open the step's script") : 0;
}

/* How the process ended: a status is a failure of the step, unless we stopped it. */
static int judge(struct cb_solver *s, const struct cb_vertex *v, int status, struct cb_error *err)
{
    int r = status ? cb_cancel_check(s->cancel, err) : 0;
    if (r < 0 || status == 0)
        return r;
    r = cb_error_set(err, CB_ESTEP, "process \"%s\" did not complete successfully: exit code: %d", v->note, status);
    if (err)
        err->exit_status = status;
    return r;
}

/* All that a step is started with, besides its root. */
struct process {
    struct cb_solver *s;
    struct cb_vertex *v;
    struct cb_user user;
    struct cb_strvec env;
    struct cb_run_mounts mounts;
    struct cb_cdi cdi;
    int script_fd;
};

static void process_done(struct process *p)
{
    cb_user_done(&p->user);
    cb_strvec_wipe(&p->env);
    cb_run_mounts_done(&p->mounts);
    cb_cdi_done(&p->cdi);
    cb_close_p(&p->script_fd);
}

static int prepare_process(struct process *p, struct cb_run_root *root, struct cb_error *err)
{
    const struct cb_run_op *op = &p->v->run;
    int r = cb_run_root_user(root, p->s->slots, op->user, p->v->step, &p->user, err);
    if (r == 0)
        r = cb_run_devices(p->s, p->v, &p->cdi, err);
    if (r < 0)
        return r;
    cb_strvec_copy(&p->env, &op->env);
    if (!cb_env_get(&p->env, "HOME"))
        cb_env_set(&p->env, "HOME", p->user.home ? p->user.home : "/");
    cb_run_device_env(&p->cdi, &p->env);
    r = cb_run_mounts_open(&p->mounts, &p->env, err);
    if (r == 0 && op->script) {
        r = mount_script(op, &root->tmp, &p->mounts.list[p->mounts.n], err);
        p->script_fd = p->mounts.list[p->mounts.n++].source_fd;
    }
    return r;
}

/* Whose chowns are recorded, and what USER is where there is one id. */
static void use_one_id(struct cb_run_root *root, const struct process *p)
{
    const struct cb_user *u = &p->user;
    root->owners = cb_owner_table_new(u->uid, u->gid);
    if (u->uid || u->gid)
        cb_step_warn(p->v->step, "USER %s: only one id is mapped here, so the step runs as root of its own and sees "
                     "itself as 0:0; what it makes is %u:%u in the layer (a range in /etc/subuid and /etc/subgid gives "
                     "it the user)", p->v->run.user, u->uid, u->gid);
}

static int run_process(struct cb_solver *s, struct cb_vertex *v, struct cb_run_root *root, struct cb_error *err)
{
    struct process p CB_CLEANUP(process_done) = { .s = s, .v = v, .script_fd = -1,
                                                  .mounts = { .s = s, .v = v, .tmp = CB_STORE_TMP_INIT } };
    const struct cb_run_op *op = &v->run;
    const struct cb_isolation *isolation = NULL;
    int status = 0, r = cb_isolator_get(s->env->isolator, s->env->progress, v->step, &isolation, err);
    bool in_chroot = isolation && isolation->kind == CB_ISOLATION_CHROOT;
    p.mounts.copies = in_chroot;
    if (r == 0)
        r = prepare_process(&p, root, err);
    if (r < 0)
        return r;
    if (s->env->id_mode == CB_ID_SINGLE)
        use_one_id(root, &p);
    struct cb_exec_spec spec = {
        .isolation = isolation, .root = { root->lower_fds, root->n_lower, root->upper_fd, root->work_fd },
        .id_mode = s->env->id_mode,
        .argv = (const char *const *)op->argv.v, .env = (const char *const *)p.env.v, .cwd = op->cwd,
        .uid = p.user.uid, .gid = p.user.gid, .groups = p.user.groups, .n_groups = p.user.n_groups,
        .network = op->network, .extra_hosts = s->o->extra_hosts, .mounts = p.mounts.list, .n_mounts = p.mounts.n,
        .init = true, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1,
        .one_stream = !cb_progress_tells_streams(s->env->progress), .on_output = log_output,
        .on_output_arg = v->step, .cancel = s->cancel, .scratch_fd = root->scratch_fd, .dns = &s->o->dns,
        .hostname = s->o->run_hostname, .limits = s->o->limits, .insecure = op->insecure, .cdi = &p.cdi,
        .owners = root->owners,
    };
    struct cb_span span cb_cleanup_span = cb_span_begin("run", "process of %s", v->name);
    cb_solve_has_looked_below(s, v);
    cb_solve_process(s, true);
    r = cb_exec_run(&spec, &status, err);
    cb_solve_process(s, false);
    cb_span_number(&span, "exit_status", (uint64_t)status);
    cb_run_mounts_kept(&p.mounts);
    if (r == 0)
        r = judge(s, v, status, err);
    if (r == -CB_ESTEP && in_chroot)
        cb_step_warn(v->step, "isolation chroot has no /proc and no /sys, which this step may have missed (Go needs "
                     "GOROOT set then): `cbpush doctor` says what native and oci need");
    if (r == 0)
        r = cb_run_mounts_check(&p.mounts, err);
    if (r == 0)
        cb_run_mounts_used(&p.mounts);
    return r;
}

static int start_seal(struct cb_solver *s, struct cb_vertex *v, struct cb_run_root *root, struct cb_error *err)
{
    struct cb_solve_state *st = v->state;
    struct cb_slot *slot = NULL;
    int r = cb_fs_is_empty(root->upper_fd) ? 0 : cb_slots_pending(s->slots, root->upper_fd, &slot, err);
    if (r < 0)
        return r;
    struct cb_seal *x = CB_NEW(struct cb_seal);
    *x = (struct cb_seal){ .s = s, .v = v, .slot = slot, .tmp = CB_STORE_TMP_INIT, .upper_fd = -1,
                           .n_below = st->n_layers };
    if (slot) {
        cb_state_push_layer(st, slot);
        x->upper_fd = CB_TAKE_FD(root->upper_fd);
        x->tmp = root->tmp;
        x->owners = CB_TAKE(root->owners);
        root->tmp = (struct cb_store_tmp)CB_STORE_TMP_INIT;
    }
    x->below = st->layers;
    pthread_mutex_lock(&s->mu);
    x->next = s->seal_list;
    s->seal_list = x;
    s->sealing++;
    pthread_mutex_unlock(&s->mu);
    cb_pool_submit(s->seals, seal_run, x);
    return 0;
}

/* A base that was made again and came out the same: its difference is known. Only asked where such a RUN was ever
 * recorded, since the answer has to wait for the layers below. */
static bool recall(struct cb_solver *s, struct cb_vertex *v)
{
    struct cb_digest hint, content;
    struct cb_cache_record mark cb_cleanup_cache_record = { 0 };
    struct cb_solve_state *st = v->state;
    if (s->o->no_cache || st->no_cache)
        return false;
    cb_key_run_hint(&s->kb, v, &hint);
    if (cb_store_cache_get(s->env->store, &hint, &mark, NULL) < 0 &&
        !(s->cache_in && v->note && cb_cache_in_has_content(s->cache_in, v->note)))
        return false;
    if (content_key(s, v, st->layers, st->n_layers, &content, NULL) < 0)
        return false;
    return cb_solver_recall(s, v, &content);
}

/* What another build made of it meanwhile. Its layers below may have other times than ours. */
static bool served(struct cb_solver *s, struct cb_vertex *v, enum cb_claims_answer answer)
{
    const struct cb_solve_state *st = v->state;
    struct cb_digest content;
    bool got = answer == CB_CLAIMS_STORED && recall(s, v);
    if (answer == CB_CLAIMS_RECORDED)
        got = cb_look_up_again(s, v) || (content_key(s, v, st->layers, st->n_layers, &content, NULL) == 0 &&
                                         cb_look_up_content(s, v, &content));
    if (got)
        cb_solve_disclaim(s, v);
    return got;
}

static int execute_run(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_run_root root cb_cleanup_run_root = CB_RUN_ROOT_INIT;
    struct cb_solve_state *st = v->state;
    if (recall(s, v)) {
        cb_solve_disclaim(s, v);
        return 0;
    }
    enum cb_claims_answer answer = cb_solve_claim(s, v, false);
    if (answer == CB_CLAIMS_WAIT || served(s, v, answer))
        return answer == CB_CLAIMS_WAIT ? CB_OP_WAITS : 0;
    int r = cb_run_root_open(&root, s->slots, st->layers, st->n_layers, v->step, err);
    if (r == 0)
        r = cb_foreign_check_root(&root, &v->platform, v->run.interpreter, err);
    if (r < 0)
        return r;
    if (answer == CB_CLAIMS_ASKING) {
        answer = cb_solve_claim(s, v, true);
        if (answer == CB_CLAIMS_WAIT || served(s, v, answer))
            return answer == CB_CLAIMS_WAIT ? CB_OP_WAITS : 0;
    }
    st->created = cb_time_now();
    cb_solve_executes(s, v);
    cb_solve_claim_ahead(s);
    r = run_process(s, v, &root, err);
    return r < 0 ? r : start_seal(s, v, &root, err);
}

const struct cb_op cb_op_run = { execute_run };
