/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/materialize.h"
#include "build/mount_cache.h"
#include "build/run_mounts.h"
#include "util/alloc.h"
#include "util/path.h"

/* ---- what a new one begins with ---- */

struct fill {
    struct cb_run_mounts *rm;
    const struct cb_run_mount *m;
    const struct cb_digest *key;
    int *trees;       /* by layer of the view */
    size_t n_trees;
};

static void fill_done(struct fill *f)
{
    for (size_t i = 0; i < f->n_trees; i++)
        cb_close_p(&f->trees[i]);
    free(f->trees);
}

static int open_trees(struct fill *f, struct cb_error *err)
{
    struct cb_solve_state *from = f->m->from->state;
    struct cb_slots *slots = f->rm->s->slots;
    int r = cb_slots_need(slots, from->layers, from->n_layers, CB_NEED_TOC | CB_NEED_TREE, f->rm->v->step, err);
    f->trees = cb_calloc(from->n_layers + 1, sizeof *f->trees);
    for (size_t i = 0; r == 0 && i < from->n_layers; i++)
        if (cb_slot_toc(from->layers[i])) {
            f->trees[f->n_trees] = -1;
            r = cb_slot_tree(from->layers, i, &f->trees[f->n_trees++], err);
        }
    return r;
}

static int open_item(void *arg, const struct cb_item *it, int *fd, struct cb_error *err)
{
    const struct fill *f = arg;
    const struct cb_stack_entry *se = it->se;
    if (!se->data || se->data_layer >= f->n_trees)
        return cb_error_set(err, CB_EINTERNAL, "%s has no data", it->rel);
    *fd = cb_path_openat(f->trees[se->data_layer], se->data->path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_NOFOLLOW);
    return *fd < 0 ? cb_error_sys(err, CB_ELOCAL, -*fd, "open %s", se->data->path) : 0;
}

static int make_parents(const char *path, int fs, struct cb_error *err)
{
    const char *slash = strrchr(path, '/');
    cb_autofree char *dir = cb_strndup(path, slash ? (size_t)(slash - path) : 0);
    cb_autoclose int fd = cb_path_mkdirs(fs, dir, 0755, CB_RESOLVE_NOFOLLOW);
    return fd < 0 ? cb_error_sys(err, CB_ELOCAL, -fd, "create %s", dir) : 0;
}

/* A copy of what `from` has there. */
static int fill_from(struct fill *f, int fs, struct cb_error *err)
{
    struct cb_solver *s = f->rm->s;
    CB_AUTO(cb_stack_unref) struct cb_stack *stack = NULL;
    struct cb_selection sel = { 0 };
    int r = open_trees(f, err);
    if (r == 0)
        r = cb_solver_stack(s, f->m->from, f->rm->v->step, &stack, err);
    if (r == 0)
        r = cb_stage_select_path(stack, f->m->source, &sel, err);
    if (r == 0)
        r = make_parents(f->m->source, fs, err);
    if (r == 0) {
        struct cb_materialize x = { .match = &sel.v[0], .dir = fs, .name = f->m->source, .open = open_item, .arg = f,
                                    .owners = s->env->id_mode != CB_ID_SINGLE, .cancel = s->cancel };
        r = cb_materialize(&x, err);
    }
    cb_selection_done(&sel);
    return r;
}

/* Where one id is mapped all belongs to that, and every step runs as it. */
static int set_owner(const struct cb_run_mount *m, bool one_id, int fs, struct cb_error *err)
{
    if (!one_id && fchown(fs, m->uid, m->gid) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "owner %u:%u", m->uid, m->gid);
    return fchmod(fs, m->mode) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "mode %o", m->mode) : 0;
}

static int fill_new(void *arg, int fs, struct cb_error *err)
{
    struct fill *f = arg;
    struct cb_mount_use use = { f->rm->v, f->m, f->key };
    struct cb_mount_cache *shared = f->rm->s->mount_cache;
    int r = cb_mount_cache_reads(shared) ? cb_mount_cache_restore(shared, &use, fs, err) : 0;
    if (r != 0)
        return CB_MIN(r, 0);
    if (f->m->fresh)
        return set_owner(f->m, f->rm->s->env->id_mode == CB_ID_SINGLE, fs, err);
    return f->m->from_kind == CB_MOUNT_FROM_VERTEX ? fill_from(f, fs, err) : 0;
}

static void tell_waiting(void *arg)
{
    const struct fill *f = arg;
    cb_step_logf(f->rm->v->step, "waiting for the cache %s: another step has it", f->m->target);
}

/* ---- which one ---- */

/* One that begins with something else is another one, as in BuildKit. */
static int make_key(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_error *err)
{
    const struct cb_run_mount *m = o->m;
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    cb_hasher_field(h, "cbpush-cache-mount/1");
    cb_hasher_field(h, m->id);
    cb_hasher_field_u64(h, m->fresh);
    if (m->fresh) {
        cb_hasher_field_u64(h, m->mode);
        cb_hasher_field_u64(h, ((uint64_t)m->uid << 32) | m->gid);
    } else if (m->from_kind == CB_MOUNT_FROM_VERTEX) {
        struct cb_solve_state *from = m->from->state;
        int r = cb_slots_need(rm->s->slots, from->layers, from->n_layers, CB_NEED_CONTENT, rm->v->step, err);
        if (r < 0)
            return r;
        for (size_t i = 0; i < from->n_layers; i++) {
            struct cb_digest d;
            if (cb_slot_content(from->layers[i], &d))
                cb_hasher_field_digest(h, &d);
        }
        cb_hasher_field(h, m->source);
    }
    cb_hasher_finish(h, &o->key);
    return 0;
}

static struct cb_open_mount *find_same(struct cb_run_mounts *rm, const struct cb_open_mount *o)
{
    for (size_t i = 0; i < rm->v->run.n_mounts; i++) {
        struct cb_open_mount *x = &rm->open[i];
        if (x != o && x->cache.fd >= 0 && cb_digest_eq(&x->key, &o->key))
            return x;
    }
    return NULL;
}

static int take(struct cb_run_mounts *rm, struct cb_open_mount *o, struct cb_error *err)
{
    const struct cb_open_mount *same = find_same(rm, o);
    int dir = same ? same->cache.fd : -1;
    if (!same) {
        struct fill f CB_CLEANUP(fill_done) = { .rm = rm, .m = o->m, .key = &o->key };
        /* Of two that had copies at once one would not see what the other has made. */
        bool alone = rm->copies && o->m->sharing == CB_SHARING_SHARED;
        struct cb_store_mount_spec spec = { .key = o->key, .fill = fill_new, .arg = &f,
                                            .sharing = alone ? CB_SHARING_LOCKED : o->m->sharing,
                                            .waiting = tell_waiting, .cancel = rm->s->cancel };
        int r = cb_mount_cache_reads(rm->s->mount_cache) ?
                    cb_store_mount_drop_empty(rm->s->env->store, &o->key, err) : 0;
        if (r < 0)
            return r;
        r = cb_store_mount_take(rm->s->env->store, &spec, &o->cache, err);
        if (r < 0)
            return r;
        dir = o->cache.fd;
    }
    o->fd = cb_path_openat(dir, o->m->source, O_PATH, 0, CB_RESOLVE_IN_ROOT);
    if (o->fd == -ENOENT)
        return cb_error_set(err, CB_ECONF, "source=/%s: the cache has no such directory", o->m->source);
    if (o->fd < 0)
        return cb_error_sys(err, CB_ECONF, -o->fd, "source=/%s of the cache", o->m->source);
    return rm->copies && !o->m->readonly ? cb_run_mounts_keep_open(o, dir, err) : 0;
}

static int by_key(const void *a, const void *b)
{
    const struct cb_open_mount *const *x = a, *const *y = b;
    return cb_digest_cmp(&(*x)->key, &(*y)->key);
}

int cb_run_mounts_caches(struct cb_run_mounts *rm, struct cb_error *err)
{
    size_t total = rm->v->run.n_mounts, n = 0;
    struct cb_open_mount **v = cb_calloc(total + 1, sizeof(struct cb_open_mount *));
    int r = 0;
    for (size_t i = 0; r == 0 && i < total; i++)
        if (rm->open[i].m->type == CB_DF_MOUNT_CACHE) {
            v[n++] = &rm->open[i];
            r = make_key(rm, &rm->open[i], err);
        }
    if (r == 0)
        qsort(v, n, sizeof(struct cb_open_mount *), by_key);
    for (size_t i = 0; r == 0 && i < n; i++) {
        r = take(rm, v[i], err);
        if (r < 0)
            cb_error_wrap(err, "cache mount %s", v[i]->m->target);
    }
    if (r == 0 && rm->copies)
        cb_run_mounts_keep_last(rm);
    free(v);
    return r;
}

void cb_run_mounts_used(struct cb_run_mounts *rm)
{
    for (size_t i = 0; rm->open && i < rm->v->run.n_mounts; i++) {
        const struct cb_open_mount *o = &rm->open[i];
        struct cb_mount_use use = { rm->v, o->m, &o->key };
        if (o->cache.fd >= 0 && !o->m->readonly)
            cb_mount_cache_used(rm->s->mount_cache, &use, o->cache.name);
    }
}
