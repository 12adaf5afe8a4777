/* SPDX-License-Identifier: Apache-2.0 */
#include "build/mount_cache.h"

#include "util/alloc.h"
#include "util/fs.h"
#include "util/thread.h"

#define NAME_HEX 40

/* A place of either flag. */
struct side {
    const struct cb_cache_spec *spec;
    struct cb_cache_place *place;
    struct cb_cache_key *key;     /* or NULL */
    bool dead;                    /* it does not answer: it is not asked again */
};

/* A directory that steps used, as the last of them had it. */
struct used {
    struct used *next;
    char *name, *id;              /* in places; for people */
    struct cb_digest key;
    char directory[24];
    uint32_t uid, gid;
    bool damaged;                 /* a place gave something that was not right: it is written anew */
    bool is_used;
};

/* One of them to one place. */
struct work {
    struct work *next;
    struct cb_mount_cache *c;
    struct used *u;
    struct side *to;
    struct cb_step *step;
    struct cb_store_tmp tmp;
    struct cb_cache_mount_save *save;
    struct cb_error error;
};

struct cb_mount_cache {
    const struct cb_build_env *env;
    struct cb_cancel *cancel;     /* of what is sent */
    struct side *from, *to;
    size_t n_from, n_to;
    pthread_mutex_t mu;
    struct used *used;
    struct work *work;
    struct cb_pool *pool;
};

/* ---- names ---- */

/* What the store tells apart, and the platform, which machines differ in: what is in there may be programs. */
static char *place_name(const struct cb_mount_use *use)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(CB_DIGEST_SHA256);
    const struct cb_platform *p = &use->v->platform;
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_hasher_field(h, "cbpush-cache-mount-name/1");
    cb_hasher_field_digest(h, use->key);
    cb_hasher_field(h, p->os);
    cb_hasher_field(h, p->arch);
    cb_hasher_field(h, p->variant ? p->variant : "");
    cb_hasher_finish(h, &d);
    return cb_asprintf("mount-%.*s", NAME_HEX, cb_digest_hex(&d, hex));
}

/* Under mu. */
static struct used *find_used(struct cb_mount_cache *c, const struct cb_mount_use *use)
{
    cb_autofree char *name = place_name(use);
    struct used *u = c->used;
    while (u && strcmp(u->name, name))
        u = u->next;
    if (u)
        return u;
    u = CB_NEW(struct used);
    u->name = CB_TAKE(name);
    u->id = cb_strdup(use->m->id + (use->m->id[0] == '/')); /* no name space */
    u->key = *use->key;
    u->uid = use->m->uid;
    u->gid = use->m->gid;
    u->next = c->used;
    c->used = u;
    return u;
}

void cb_mount_cache_used(struct cb_mount_cache *c, const struct cb_mount_use *use, const char *name)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->mu);
    struct used *u = find_used(c, use);
    snprintf(u->directory, sizeof u->directory, "%s", name);
    u->is_used = true;
    pthread_mutex_unlock(&c->mu);
}

static struct cb_cache_mount mount_of(const struct cb_mount_cache *c, const struct used *u, const struct side *side)
{
    return (struct cb_cache_mount){ .place = side->place, .key = side->key, .name = u->name, .id = u->id, .tmp_fd = -1,
                                    .single_id = c->env->id_mode == CB_ID_SINGLE, .uid = u->uid, .gid = u->gid,
                                    .cancel = c->cancel };
}

/* ---- restoring ---- */

bool cb_mount_cache_reads(const struct cb_mount_cache *c)
{
    return c && c->n_from;
}

static void tell_restored(struct cb_step *step, const struct used *u, const struct side *side,
                          const struct cb_cache_mount_stats *stats)
{
    struct cb_strbuf size cb_cleanup_strbuf = CB_STRBUF_INIT, moved cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_size(&size, stats->bytes);
    cb_strbuf_add_size(&moved, stats->moved);
    cb_step_logf(step, "cache mount %s: %llu files, %s, from %s (%s fetched)", u->id,
                 (unsigned long long)stats->files, size.buf, side->place->text, moved.buf);
}

static bool is_dead(struct cb_mount_cache *c, const struct side *side)
{
    pthread_mutex_lock(&c->mu);
    bool dead = side->dead;
    pthread_mutex_unlock(&c->mu);
    return dead;
}

/* What does not answer is not asked for the next mount; what is wrong is told, and the directory is as it was. */
static int give_up(struct cb_mount_cache *c, struct side *side, struct used *u, struct cb_step *step,
                   struct cb_error *e)
{
    if (e->code == CB_ECANCELED)
        return -CB_ECANCELED;
    if (e->code == CB_ENOTFOUND)
        return 0;
    pthread_mutex_lock(&c->mu);
    side->dead = side->dead || e->code == CB_ENET || e->code == CB_EAUTH;
    u->damaged = u->damaged || e->code == CB_EVERIFY;
    pthread_mutex_unlock(&c->mu);
    cb_step_warn(step, "cache mount %s cannot be had from %s: %s", u->id, side->place->text, cb_error_text(e));
    return 0;
}

static int restore_from(struct cb_mount_cache *c, const struct cb_cache_mount *from, int fs_fd,
                        struct cb_cache_mount_stats *stats, struct cb_error *err)
{
    struct cb_cache_mount m = *from;
    struct cb_store_tmp tmp cb_cleanup_store_tmp = CB_STORE_TMP_INIT;
    struct cb_span span cb_cleanup_span = cb_span_begin("cache", "restore cache mount %s", m.id);
    int r = cb_store_tmp_new(c->env->store, "mount-cache", &tmp, err);
    m.tmp_fd = tmp.fd;
    if (r == 0)
        r = cb_cache_mount_restore(&m, fs_fd, stats, err);
    cb_span_number(&span, "files", stats->files);
    cb_span_number(&span, "bytes", stats->bytes);
    cb_span_number(&span, "fetched", stats->moved);
    return r;
}

int cb_mount_cache_restore(struct cb_mount_cache *c, const struct cb_mount_use *use, int fs_fd, struct cb_error *err)
{
    pthread_mutex_lock(&c->mu);
    struct used *u = find_used(c, use);
    pthread_mutex_unlock(&c->mu);
    for (size_t i = 0; i < c->n_from; i++) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        struct cb_cache_mount_stats stats = { 0 };
        struct side *side = &c->from[i];
        if (is_dead(c, side))
            continue;
        struct cb_cache_mount from = mount_of(c, u, side);
        int r = restore_from(c, &from, fs_fd, &stats, &e);
        if (r == 0) {
            tell_restored(use->v->step, u, side, &stats);
            return 1;
        }
        r = give_up(c, side, u, use->v->step, &e);
        if (r < 0)
            return cb_error_move(err, &e);
        r = cb_fs_remove_contents(fs_fd, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- saving ---- */

static int save(struct work *w, struct cb_error *err)
{
    struct cb_mount_cache *c = w->c;
    struct cb_store_mount dir = CB_STORE_MOUNT_INIT;
    struct cb_cache_mount m = mount_of(c, w->u, w->to);
    struct cb_span span cb_cleanup_span = cb_span_begin("cache", "read cache mount %s", w->u->id);
    int r = cb_store_tmp_new(c->env->store, "mount-cache", &w->tmp, err);
    if (r == 0)
        r = cb_store_mount_again(c->env->store, &w->u->key, w->u->directory, &dir, err);
    m.tmp_fd = w->tmp.fd;
    m.anew = w->u->damaged;
    if (r == 0)
        r = cb_cache_mount_save(&m, dir.fd, &w->save, err);
    cb_store_mount_done(&dir);
    return r;
}

static void run_work(void *arg)
{
    struct work *w = arg;
    cb_step_begin(w->step);
    if (cb_cancel_check(w->c->cancel, &w->error) == 0)
        (void)save(w, &w->error);
}

static void add_work(struct cb_mount_cache *c, struct used *u, struct side *to)
{
    cb_autofree char *name = cb_asprintf("exporting cache mount %s to %s", u->id, to->place->text);
    struct work *w = CB_NEW(struct work);
    *w = (struct work){ .next = c->work, .c = c, .u = u, .to = to, .tmp = CB_STORE_TMP_INIT,
                        .step = cb_step_new(c->env->progress, name) };
    c->work = w;
    cb_pool_submit(c->pool, run_work, w);
}

void cb_mount_cache_begin(struct cb_mount_cache *c)
{
    if (!c || !c->n_to)
        return;
    c->pool = cb_pool_new("mount-cache", 1);
    for (struct used *u = c->used; u; u = u->next)
        for (size_t i = 0; u->is_used && i < c->n_to; i++)
            add_work(c, u, &c->to[i]);
}

static void tell_saved(const struct work *w, const struct cb_cache_mount_stats *stats)
{
    struct cb_strbuf size cb_cleanup_strbuf = CB_STRBUF_INIT, moved cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_size(&size, stats->bytes);
    cb_strbuf_add_size(&moved, stats->moved);
    if (stats->same)
        cb_step_logf(w->step, "unchanged");
    else
        cb_step_logf(w->step, "%llu files, %s: %llu chunks, %llu of them new: %s",
                     (unsigned long long)stats->files, size.buf, (unsigned long long)stats->chunks,
                     (unsigned long long)stats->chunks_new, moved.buf);
}

static int commit(struct work *w)
{
    struct cb_cache_mount_stats stats = { 0 };
    struct cb_span span cb_cleanup_span = cb_span_begin("cache", "write cache mount %s", w->u->id);
    int r = cb_cache_mount_commit(w->save, &stats, &w->error);
    cb_span_number(&span, "chunks", stats.chunks);
    cb_span_number(&span, "new", stats.chunks_new);
    cb_span_number(&span, "sent", stats.moved);
    if (r == 0)
        tell_saved(w, &stats);
    return r;
}

/* Whatever it is about the directory here, the image is made: somebody else has it, or writes to it. */
static bool is_excused(const struct work *w)
{
    return w->to->spec->ignore_error || w->error.code == CB_ELOCAL ||
           (w->error.code == CB_ENOTFOUND && !w->save);
}

static int finish_work(struct work *w, struct cb_error *err)
{
    if (!w->error.code && commit(w) == 0) {
        cb_step_done(w->step);
        return 0;
    }
    if (is_excused(w)) {
        cb_step_warn(w->step, "cache mount %s was not saved: %s", w->u->id, cb_error_text(&w->error));
        cb_step_done(w->step);
        return 0;
    }
    cb_step_error(w->step, cb_error_text(&w->error));
    int r = cb_error_copy(err, &w->error);
    cb_error_wrap(err, "the image is made, but cache mount %s could not be written to %s", w->u->id,
                  w->to->place->text);
    return r;
}

int cb_mount_cache_finish(struct cb_mount_cache *c, struct cb_error *err)
{
    int r = 0;
    if (!c)
        return 0;
    cb_pool_free(CB_TAKE(c->pool));
    for (struct work *w = c->work; w; w = w->next) {
        int e = finish_work(w, r < 0 ? NULL : err);
        r = r < 0 ? r : e;
    }
    return r;
}

/* ---- opening ---- */

static int open_side(struct cb_mount_cache *c, struct side *s, const struct cb_cache_spec *spec, struct cb_error *err)
{
    struct cb_cache_place_options po = { .spec = spec, .run = "", .registry = c->env->registry, .cancel = c->cancel,
                                         .write = spec->to };
    int r = spec->key_file ? cb_cache_key_read(spec->key_file, spec->to, &s->key, err) : 0;
    s->spec = spec;
    if (r == 0)
        return cb_cache_place_open(&po, &s->place, err);
    cb_error_wrap(err, "%s", spec->to ? "--cache-mount-to" : "--cache-mount-from");
    return r;
}

/* What others wrote, and nobody has vouched for, would be signed. */
static int check_trust(const struct cb_build_options *o, struct cb_error *err)
{
    for (size_t i = 0; i < o->n_mount_to; i++)
        for (size_t k = 0; o->mount_to[i].key_file && k < o->n_mount_from; k++)
            if (!o->mount_from[k].key_file)
                return cb_error_set(err, CB_EUSAGE, "--cache-mount-to %s signs what comes of --cache-mount-from %s: "
                                    "give that a verify-key=FILE, or leave it out", o->mount_to[i].text,
                                    o->mount_from[k].text);
    return 0;
}

int cb_mount_cache_open(const struct cb_build_env *env, const struct cb_build_options *o, struct cb_mount_cache **out,
                        struct cb_error *err)
{
    CB_AUTO(cb_mount_cache_free) struct cb_mount_cache *c = NULL;
    int r = check_trust(o, err);
    if (r < 0 || o->n_mount_from + o->n_mount_to == 0)
        return r;
    c = CB_NEW(struct cb_mount_cache);
    c->env = env;
    c->cancel = cb_cancel_new((struct cb_cancel *)(uintptr_t)env->cancel);
    c->from = cb_calloc(o->n_mount_from + 1, sizeof *c->from);
    c->to = cb_calloc(o->n_mount_to + 1, sizeof *c->to);
    pthread_mutex_init(&c->mu, NULL);
    for (size_t i = 0; r == 0 && i < o->n_mount_from; i++)
        r = open_side(c, &c->from[c->n_from++], &o->mount_from[i], err);
    for (size_t i = 0; r == 0 && i < o->n_mount_to; i++)
        r = open_side(c, &c->to[c->n_to++], &o->mount_to[i], err);
    *out = r == 0 ? CB_TAKE(c) : NULL;
    return r;
}

static void side_done(struct side *s)
{
    cb_cache_place_close(s->place);
    cb_cache_key_free(s->key);
}

static void stop_writing(struct cb_mount_cache *c)
{
    for (size_t i = 0; i < c->n_to; i++) {
        struct cb_cache_place *p = c->to[i].place;
        if (p && p->ops->stop)
            p->ops->stop(p);
    }
}

/* Places first: uploads open what works have. */
void cb_mount_cache_free(struct cb_mount_cache *c)
{
    if (!c)
        return;
    if (c->pool) {
        cb_cancel_trigger(c->cancel, 0);
        stop_writing(c);
    }
    cb_pool_free(c->pool);
    for (size_t i = 0; i < c->n_from; i++)
        side_done(&c->from[i]);
    for (size_t i = 0; i < c->n_to; i++)
        side_done(&c->to[i]);
    while (c->work) {
        struct work *w = c->work;
        c->work = w->next;
        cb_cache_mount_save_free(w->save);
        cb_store_tmp_done(&w->tmp);
        cb_error_done(&w->error);
        free(w);
    }
    while (c->used) {
        struct used *u = c->used;
        c->used = u->next;
        free(u->name);
        free(u->id);
        free(u);
    }
    cb_cancel_free(c->cancel);
    pthread_mutex_destroy(&c->mu);
    free(c->from);
    free(c->to);
    free(c);
}
