/* SPDX-License-Identifier: Apache-2.0 */
#include "build/run_mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/materialize.h"
#include "util/alloc.h"
#include "util/path.h"
#include "util/secret.h"

/* ---- bind: the context ---- */

static bool same_item(const struct cb_item *a, const struct cb_item *b)
{
    const struct cb_found *x = cb_item_found(a), *y = cb_item_found(b);
    return cb_streq(a->rel, b->rel) && cb_streq(a->link, b->link) && a->type == b->type && a->mode == b->mode &&
           x->size == y->size && (a->type != CB_ENTRY_FILE || cb_sum_eq(&x->digest, &y->digest));
}

/* The first path that is not what it was. */
static const char *first_changed(const struct cb_match *was, const struct cb_match *is)
{
    size_t i = 0;
    while (i < was->n && i < is->n && same_item(was->items[i], is->items[i]))
        i++;
    return cb_item_path(i < was->n ? was->items[i] : i < is->n ? is->items[i] : was->items[0]);
}

/* Fails where what a mount shows, or is a copy of, is no longer what the step is known by. */
static int check_context(const struct cb_run_mounts *rm, const struct cb_open_mount *o, const char *when,
                         struct cb_error *err)
{
    const struct cb_selection *was = &rm->v->state->mounts[o - rm->open];
    struct cb_selection is = { 0 };
    struct cb_digest a, b;
    int r = cb_context_select_again(rm->s->context, o->m->source, rm->s->env, &is, err);
    cb_selection_digest(was, &a);
    cb_selection_digest(&is, &b);
    if (r == 0 && !cb_digest_eq(&a, &b))
        r = cb_error_set(err, CB_ELOCAL, "/%s changed while %s", first_changed(&was->v[0], &is.v[0]), when);
    cb_selection_done(&is);
    return r;
}

static int open_context_item(void *arg, const struct cb_item *it, int *fd, struct cb_error *err)
{
    struct cb_context *c = arg;
    struct stat st;
    *fd = cb_path_openat(cb_context_fd(c), cb_item_path(it), O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_NOFOLLOW);
    if (*fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -*fd, "open %s", cb_item_path(it));
    if (fstat(*fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != cb_item_found(it)->size)
        return cb_error_set(err, CB_ELOCAL, "%s changed while it was being read", cb_item_path(it));
    return 0;
}

static int copy_context(struct cb_run_mounts *rm, struct cb_open_mount *o, const struct cb_match *match,
                        struct cb_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "context-%zu", (size_t)(o - rm->open));
    struct cb_materialize x = { .match = match, .dir = rm->tmp.fd, .name = name, .open = open_context_item,
                                .arg = rm->s->context, .cancel = rm->s->cancel };
    int r = cb_materialize(&x, err);
    if (r == 0)
        r = check_context(rm, o, "it was being read", err);
    if (r < 0)
        return r;
    o->fd = openat(rm->tmp.fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return o->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open %s", name) : 0;
}

/* What is shown is what BuildKit's builder would have been sent: without what .dockerignore leaves out, and root's.
 * Where the directory is just that, it is shown itself. */
static int bind_context(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_error *err)
{
    const struct cb_match *match = &rm->v->state->mounts[o - rm->open].v[0];
    const char *path = cb_item_path(match->items[0]);
    if (!o->m->readonly || match->partial || match->foreign)
        return copy_context(rm, o, match, err);
    o->fd = cb_path_openat(cb_context_fd(rm->s->context), path, O_PATH | O_NOFOLLOW, 0, CB_RESOLVE_NOFOLLOW);
    o->live = true;
    return o->fd < 0 ? cb_error_sys(err, CB_ELOCAL, -o->fd, "open %s", path) : 0;
}

/* ---- bind: another result ---- */

static int bind_vertex(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_error *err)
{
    struct cb_solve_state *from = o->m->from->state;
    int r = cb_run_root_open(&o->root, rm->s->slots, from->layers, from->n_layers, rm->v->step, err);
    o->tree = (struct cb_rootfs){ o->root.lower_fds, o->root.n_lower, o->root.upper_fd, o->root.work_fd };
    return r;
}

static int bind_nothing(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_error *err)
{
    char name[32];
    snprintf(name, sizeof name, "empty-%zu", (size_t)(o - rm->open));
    if (*o->m->source)
        return cb_error_set(err, CB_ECONF, "\"/%s\": what it is mounted from is empty", o->m->source);
    if (mkdirat(rm->tmp.fd, name, 0755) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s", name);
    o->fd = openat(rm->tmp.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return o->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "open %s", name) : 0;
}

static int open_bind(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_error *err)
{
    if (o->m->from_kind == CB_MOUNT_FROM_CONTEXT)
        return bind_context(rm, o, err);
    return o->m->from_kind == CB_MOUNT_FROM_VERTEX ? bind_vertex(rm, o, err) : bind_nothing(rm, o, err);
}

/* ---- secrets and agents ---- */

static const struct cb_build_secret *find_secret(const struct cb_run_mounts *rm, const char *id)
{
    const struct cb_build_options *o = rm->s->o;
    for (size_t i = o->n_secrets; i-- > 0;)
        if (!strcmp(o->secrets[i].id, id))
            return &o->secrets[i];
    return NULL;
}

static int set_variable(const struct cb_run_mount *m, const struct cb_secret *value, struct cb_strvec *env,
                        struct cb_error *err)
{
    const char *text = cb_secret_data(value);
    if (strlen(text) != cb_secret_size(value))
        return cb_error_set(err, CB_EUSAGE, "secret %s holds a NUL byte: it cannot be the variable %s", m->id, m->env);
    cb_env_set(env, m->env, text);
    return 0;
}

static int open_secret(struct cb_run_mounts *rm, const struct cb_run_mount *m, struct cb_strvec *env,
                       struct cb_error *err)
{
    const struct cb_build_secret *x = find_secret(rm, m->id);
    if (!x && m->required)
        return cb_error_set(err, CB_EUSAGE, "secret %s is required and was not given: --secret id=%s,src=FILE", m->id,
                            m->id);
    if (!x)
        return 0;
    if (x->unset)
        cb_step_warn(rm->v->step, "secret %s is empty: the variable %s is not set", m->id, x->unset);
    if (m->target)
        rm->list[rm->n++] = (struct cb_mount){ .kind = CB_MOUNT_DATA, .target = m->target, .readonly = true,
                                               .mode = S_IFREG | (m->mode & 0777), .uid = m->uid, .gid = m->gid,
                                               .data = cb_secret_data(x->value), .data_len = cb_secret_size(x->value) };
    return m->env ? set_variable(m, x->value, env, err) : 0;
}

static const char *find_agent(const struct cb_run_mounts *rm, const char *id)
{
    const struct cb_build_options *o = rm->s->o;
    for (size_t i = 0; i < o->n_ssh; i++)
        if (!strcmp(o->ssh[i].id, id))
            return o->ssh[i].socket;
    return NULL;
}

static int open_ssh(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_strvec *env, struct cb_error *err)
{
    const struct cb_run_mount *m = o->m;
    char name[32];
    snprintf(name, sizeof name, "ssh-%zu", (size_t)(o - rm->open));
    if (!cb_env_get(env, "SSH_AUTH_SOCK"))
        cb_env_set(env, "SSH_AUTH_SOCK", m->target);
    bool one_id = rm->s->env->id_mode == CB_ID_SINGLE;
    struct cb_ssh_forward_spec spec = { .agent = find_agent(rm, m->id), .dir_fd = rm->tmp.fd, .name = name,
                                        .mode = m->mode, .uid = one_id ? 0 : m->uid, .gid = one_id ? 0 : m->gid };
    if (!spec.agent && m->required)
        return cb_error_set(err, CB_EUSAGE, "ssh agent %s is required and was not given: --ssh %s, or --ssh %s=KEY",
                            m->id, m->id, m->id);
    return spec.agent ? cb_ssh_forward_start(&spec, &o->ssh, err) : 0;
}

/* ---- all of them ---- */

static int open_one(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_error *err)
{
    return o->m->type == CB_DF_MOUNT_BIND ? open_bind(rm, o, err) : 0;
}

static void tell_owner(const struct cb_run_mounts *rm, const struct cb_run_mount *m)
{
    bool owned = m->type == CB_DF_MOUNT_SECRET || m->type == CB_DF_MOUNT_SSH || m->type == CB_DF_MOUNT_CACHE;
    if (owned && m->target && (m->uid || m->gid) && rm->s->env->id_mode == CB_ID_SINGLE)
        cb_step_warn(rm->v->step, "mount %s: only one id is mapped here, so it belongs to 0:0 and not to %u:%u",
                     m->target, m->uid, m->gid);
}

/* In the order of the Dockerfile, once all is there. */
static int add_one(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_strvec *env, struct cb_error *err)
{
    const struct cb_run_mount *m = o->m;
    struct cb_mount x = { .kind = CB_MOUNT_BIND, .source_fd = o->fd, .target = m->target, .readonly = m->readonly,
                          .scratch = m->type == CB_DF_MOUNT_CACHE || m->type == CB_DF_MOUNT_BIND,
                          .keep = o->keep_dir >= 0 ? &o->keep : NULL };
    if (m->type == CB_DF_MOUNT_SECRET)
        return open_secret(rm, m, env, err);
    if (m->type == CB_DF_MOUNT_SSH) {
        int r = open_ssh(rm, o, env, err);
        if (r < 0 || !o->ssh)
            return r;
        x.source_fd = cb_ssh_forward_fd(o->ssh);
        x.readonly = false;
    } else if (m->type == CB_DF_MOUNT_TMPFS) {
        x.kind = CB_MOUNT_TMPFS;
        x.size = m->size;
    } else if (o->fd < 0) {
        x.kind = CB_MOUNT_TREE;
        x.tree = &o->tree;
        x.sub = m->source;
    }
    rm->list[rm->n++] = x;
    return 0;
}

static int open_all(struct cb_run_mounts *rm, struct cb_strvec *env, struct cb_error *err)
{
    size_t n = rm->v->run.n_mounts;
    int r = cb_store_tmp_new(rm->s->env->store, "mounts", &rm->tmp, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        if ((r = open_one(rm, &rm->open[i], err)) < 0)
            cb_error_wrap(err, "mount %s", rm->open[i].m->target);
    if (r == 0)
        r = cb_run_mounts_caches(rm, err);
    for (size_t i = 0; r == 0 && i < n; i++)
        if ((r = add_one(rm, &rm->open[i], env, err)) == 0)
            tell_owner(rm, rm->open[i].m);
    return r;
}

int cb_run_mounts_open(struct cb_run_mounts *rm, struct cb_strvec *env, struct cb_error *err)
{
    size_t n = rm->v->run.n_mounts;
    rm->open = cb_calloc(n + 1, sizeof *rm->open);
    rm->list = cb_calloc(n + 1, sizeof *rm->list);
    for (size_t i = 0; i < n; i++)
        rm->open[i] = (struct cb_open_mount){ .m = &rm->v->run.mounts[i], .root = CB_RUN_ROOT_INIT,
                                              .cache = CB_STORE_MOUNT_INIT, .fd = -1, .keep_dir = -1,
                                              .keep = { .error = CB_ERROR_INIT } };
    return n ? open_all(rm, env, err) : 0;
}

int cb_run_mounts_check(struct cb_run_mounts *rm, struct cb_error *err)
{
    for (size_t i = 0; rm->open && i < rm->v->run.n_mounts; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        const struct cb_open_mount *o = &rm->open[i];
        int r = o->live ? check_context(rm, o, "the step ran", &e) : 0;
        if (r == -CB_ECANCELED)
            return cb_error_move(err, &e);
        if (r < 0) {
            cb_step_warn(rm->v->step, "mount %s: %s: the step, and what stands on it, is not recorded in the build "
                         "cache", o->m->target, cb_error_text(&e));
            rm->v->state->unsure = true;
        }
    }
    return 0;
}

void cb_run_mounts_done(struct cb_run_mounts *rm)
{
    for (size_t i = 0; rm->open && i < rm->v->run.n_mounts; i++) {
        struct cb_open_mount *o = &rm->open[i];
        cb_ssh_forward_free(o->ssh);
        cb_close_p(&o->fd);
        cb_close_p(&o->keep_dir);
        cb_error_done(&o->keep.error);
        cb_store_mount_done(&o->cache);
        cb_run_root_done(&o->root);
    }
    free(rm->open);
    free(rm->list);
    cb_store_tmp_done(&rm->tmp);
}
