/* SPDX-License-Identifier: Apache-2.0 */
/* What a thread is told about its ids once it has become somebody else; credentials(7) without the capabilities. */
#include <errno.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>

#include "exec/notify_private.h"
#include "util/alloc.h"

#define MAX_GROUPS 1024   /* of a thread; we keep them */
#define MAX_THREADS 4096 /* before those that are gone are looked for */
#define KEEP CB_OWNER_KEEP

enum { REAL, EFFECTIVE, SAVED, FILES, N_IDS };

struct ids {
    uint64_t start;          /* of the thread: the number may be another's by now */
    uint32_t id[2][N_IDS];   /* users, groups */
    uint32_t *groups;        /* NULL: as they are */
    size_t n_groups;
    bool own_caps;           /* it has set its capabilities since: they no longer hang on its user */
};

static void ids_free(struct ids *x)
{
    if (x)
        free(x->groups);
    free(x);
}

void cb_notify_ids_free(struct cb_hashmap *ids)
{
    size_t it = 0;
    const char *key;
    void *x;
    while (cb_hashmap_next(ids, &it, &key, &x))
        ids_free(x);
    cb_hashmap_free(ids);
}

/* ---- whose they are ---- */

static void make_key(char key[static 16], pid_t tid)
{
    snprintf(key, 16, "%d", tid);
}

static void forget(struct cb_notifier *n, pid_t tid)
{
    char key[16];
    make_key(key, tid);
    ids_free(cb_hashmap_remove(n->ids, key));
}

static bool is_alive(const struct cb_notifier *n, const char *tid, uint64_t start)
{
    uint64_t now;
    return cb_notify_start(n, tid, &now) && now == start;
}

static struct ids *find(struct cb_notifier *n, pid_t tid)
{
    char key[16];
    make_key(key, tid);
    struct ids *x = cb_hashmap_get(n->ids, key);
    if (x && !is_alive(n, key, x->start)) {
        forget(n, tid);
        x = NULL;
    }
    return x;
}

static void sweep(struct cb_notifier *n)
{
    struct cb_hashmap *old = n->ids;
    size_t it = 0;
    const char *key;
    void *x;
    n->ids = cb_hashmap_new();
    while (cb_hashmap_next(old, &it, &key, &x)) {
        if (is_alive(n, key, ((struct ids *)x)->start))
            cb_hashmap_put(n->ids, key, x);
        else
            ids_free(x);
    }
    cb_hashmap_free(old);
}

/* Those of the thread, or new ones; NULL where the thread is gone. */
static struct ids *need(struct cb_notifier *n, pid_t tid)
{
    char key[16];
    struct ids *x = find(n, tid);
    if (x)
        return x;
    if (cb_hashmap_size(n->ids) >= MAX_THREADS)
        sweep(n);
    x = CB_NEW(struct ids);
    make_key(key, tid);
    if (!cb_notify_start(n, key, &x->start)) {
        free(x);
        return NULL;
    }
    cb_hashmap_put(n->ids, key, x);
    return x;
}

/* ---- becoming ---- */

static uint32_t id_arg(const struct cb_notify_call *c, unsigned i)
{
    uint64_t v = c->args[i];
    return c->narrow ? (uint16_t)v == UINT16_MAX ? KEEP : (uint16_t)v : (uint32_t)v;
}

static bool may_set(const struct cb_notifier *n, const struct cb_notify_call *c, const struct ids *x)
{
    uint64_t caps;
    unsigned cap = c->arg & CB_IDS_GROUP ? CAP_SETGID : CAP_SETUID;
    bool as_user = !x || x->own_caps || x->id[0][EFFECTIVE] == 0;
    return as_user && cb_notify_status(n, c->tid, "CapEff:", 16, &caps) && (caps >> cap & 1);
}

static bool among(uint32_t id, const uint32_t old[static N_IDS], bool saved)
{
    return id == KEEP || id == old[REAL] || id == old[EFFECTIVE] || (saved && id == old[SAVED]);
}

/* One change, by the rules of the call that made it. */
struct change {
    uint32_t to[N_IDS]; /* KEEP: not changed */
    bool allowed;       /* without privilege */
};

static void apply(struct cb_notifier *n, const struct cb_notify_call *c, const struct change *change,
                  struct cb_notify_reply *r)
{
    struct ids *x = find(n, c->tid);
    bool own = true;
    for (int i = 0; i < N_IDS; i++)
        own = own && (change->to[i] == KEEP || change->to[i] == 0);
    if (!x && own) {
        r->kernel = true;
        return;
    }
    if (!change->allowed && !may_set(n, c, x)) {
        r->error = EPERM;
        return;
    }
    x = need(n, c->tid);
    for (int i = 0; x && i < N_IDS; i++)
        if (change->to[i] != KEEP)
            x->id[c->arg & CB_IDS_GROUP][i] = change->to[i];
}

static const uint32_t *old_ids(struct cb_notifier *n, const struct cb_notify_call *c)
{
    static const uint32_t root[N_IDS];
    const struct ids *x = find(n, c->tid);
    return x ? x->id[c->arg & CB_IDS_GROUP] : root;
}

void cb_notify_set(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    uint32_t id = id_arg(c, 0);
    const uint32_t *old = old_ids(n, c);
    struct change change = { { KEEP, id, KEEP, id }, id == old[REAL] || id == old[SAVED] };
    if (id == KEEP) {
        r->error = EINVAL;
        return;
    }
    if (may_set(n, c, find(n, c->tid)))
        change.to[REAL] = change.to[SAVED] = id;
    apply(n, c, &change, r);
}

void cb_notify_setre(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    uint32_t real = id_arg(c, 0), effective = id_arg(c, 1);
    const uint32_t *old = old_ids(n, c);
    uint32_t now = effective == KEEP ? old[EFFECTIVE] : effective;
    struct change change = { { real, effective, KEEP, now }, among(real, old, false) && among(effective, old, true) };
    if (real != KEEP || (effective != KEEP && effective != old[REAL]))
        change.to[SAVED] = now;
    apply(n, c, &change, r);
}

void cb_notify_setres(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    uint32_t to[3];
    const uint32_t *old = old_ids(n, c);
    struct change change = { .allowed = true };
    for (unsigned i = 0; i < 3; i++) {
        change.to[i] = to[i] = id_arg(c, i);
        change.allowed = change.allowed && among(to[i], old, true);
    }
    change.to[FILES] = to[EFFECTIVE] == KEEP ? old[EFFECTIVE] : to[EFFECTIVE];
    apply(n, c, &change, r);
}

/* Its result is what it was, whether it was changed or not. */
void cb_notify_setfs(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    uint32_t id = id_arg(c, 0);
    const uint32_t *old = old_ids(n, c);
    uint32_t before = old[FILES];
    struct change change = { { KEEP, KEEP, KEEP, id }, among(id, old, true) || id == before };
    apply(n, c, &change, r);
    r->error = 0;
    r->value = before;
}

static int read_groups(const struct cb_notify_call *c, uint32_t *v, size_t n)
{
    uint16_t *narrow = c->narrow ? cb_calloc(n + 1, sizeof *narrow) : NULL;
    int r = cb_notify_read(c->tid, c->args[1], narrow ? (void *)narrow : v, n * (narrow ? sizeof *narrow : sizeof *v));
    for (size_t i = 0; narrow && i < n; i++)
        v[i] = narrow[i];
    free(narrow);
    return r;
}

void cb_notify_setgroups(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    struct cb_notify_call group = *c;
    size_t count = (uint32_t)c->args[0];
    group.arg = CB_IDS_GROUP;
    if (count > MAX_GROUPS)
        r->error = EINVAL;
    else if (!may_set(n, &group, find(n, c->tid)))
        r->error = EPERM;
    if (r->error)
        return;
    uint32_t *v = cb_calloc(count + 1, sizeof *v);
    r->error = count ? read_groups(c, v, count) : 0;
    struct ids *x = r->error || !cb_notify_valid(n, c) ? NULL : need(n, c->tid);
    if (!x) {
        free(v);
        return;
    }
    free(x->groups);
    x->groups = v;
    x->n_groups = count;
}

/* ---- being told ---- */

void cb_notify_get(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    const struct ids *x = find(n, c->tid);
    r->kernel = !x;
    r->value = x ? x->id[c->arg & CB_IDS_GROUP][c->arg & CB_IDS_EFFECTIVE ? EFFECTIVE : REAL] : 0;
}

static int write_id(const struct cb_notify_call *c, uint64_t at, uint32_t id)
{
    uint16_t narrow = (uint16_t)id;
    return cb_notify_write(c->tid, at, c->narrow ? (void *)&narrow : &id, c->narrow ? sizeof narrow : sizeof id);
}

void cb_notify_getres(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    const struct ids *x = find(n, c->tid);
    r->kernel = !x;
    for (unsigned i = 0; x && i < 3 && !r->error && cb_notify_valid(n, c); i++)
        r->error = write_id(c, c->args[i], x->id[c->arg & CB_IDS_GROUP][i]);
}

void cb_notify_getgroups(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    const struct ids *x = find(n, c->tid);
    int room = (int)(uint32_t)c->args[0];
    size_t step = c->narrow ? sizeof(uint16_t) : sizeof(uint32_t);
    if (!x || !x->groups) {
        r->kernel = true;
        return;
    }
    r->value = (int64_t)x->n_groups;
    if (room < 0 || (room && (size_t)room < x->n_groups))
        r->error = EINVAL;
    for (size_t i = 0; room && i < x->n_groups && !r->error && cb_notify_valid(n, c); i++)
        r->error = write_id(c, c->args[1] + i * step, x->groups[i]);
}

void cb_notify_capset(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    struct ids *x = find(n, c->tid);
    if (x)
        x->own_caps = true;
    r->kernel = true;
}

/* Everything in its root is 0:0 to stat(2): a new program that did not belong to 0 would not find its own files. */
void cb_notify_exec(struct cb_notifier *n, const struct cb_notify_call *c, struct cb_notify_reply *r)
{
    forget(n, c->tid);
    r->kernel = true;
}
