/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/timeutil.h"

#define HOUR (3600LL * 1000000000)
#define DEFAULT_GRACE (24 * HOUR)
#define FACT_LIFE (30 * 24 * HOUR)

struct sweep {
    struct cb_store *s;
    const struct cb_store_gc_options *o;
    struct cb_store_gc_result *res;
    struct cb_marks marks;
    int64_t keep_newer;
    const char *dir;          /* that is being gone through */
    struct cb_strvec trees;   /* to be measured: names in the trash, or in trees/ where nothing is removed */
    struct cb_strvec trash;   /* to be deleted */
    struct cb_digest *forget; /* layers whose rows go */
    size_t n_forget, cap_forget;
};

static bool old_enough(const struct sweep *w, const struct stat *st)
{
    int64_t made = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
    if (w->marks.oldest_other != INT64_MAX && made >= w->marks.oldest_other)
        return false;
    return w->keep_newer <= 0 || cb_time_now() - made >= w->keep_newer;
}

/* 1: it has been, or would be, removed (its name in the trash, if any, is the last of w->trash); 0: it stays. */
static int discard(struct sweep *w, int dirfd, const char *name, struct cb_error *err)
{
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "stat %s/%s/%s", w->s->root, w->dir, name);
    if (!old_enough(w, &st))
        return 0;
    char path[CB_STORE_PATH_MAX], trashed[CB_STORE_TRASH_NAME] = "";
    snprintf(path, sizeof path, "%s/%.180s", w->dir, name);
    int r = w->o->dry_run ? 0 : cb_store_trash(w->s, path, trashed, err);
    if (r < 0)
        return r;
    if (trashed[0])
        cb_strvec_push(&w->trash, trashed);
    if (S_ISREG(st.st_mode))
        w->res->bytes += (uint64_t)st.st_blocks * 512;
    else if (S_ISDIR(st.st_mode))
        cb_strvec_push(&w->trees, w->o->dry_run ? name : trashed);
    return 1;
}

static int discard_counted(struct sweep *w, int dirfd, const char *name, uint64_t *count, struct cb_error *err)
{
    int r = discard(w, dirfd, name, err);
    *count += r == 1;
    return r < 0 ? r : 0;
}

static int sweep_blob(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct sweep *w = arg;
    struct cb_digest d;
    uint64_t uncounted = 0;
    if (cb_starts_with(name, ".tmp-")) /* of a process that was killed while it replaced a damaged blob */
        return discard_counted(w, dirfd, name, &uncounted, err);
    if (!cb_store_digest_of_hex(&d, name, strlen(name)) || cb_marks_blob(&w->marks, &d))
        return 0;
    return discard_counted(w, dirfd, name, &w->res->blobs, err);
}

static int sweep_toc(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct sweep *w = arg;
    struct cb_digest d;
    uint64_t uncounted = 0;
    if (!cb_store_digest_of_hex(&d, name, strlen(name)) || cb_marks_layer(&w->marks, &d))
        return 0;
    return discard_counted(w, dirfd, name, &uncounted, err);
}

static int sweep_tree(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct sweep *w = arg;
    struct cb_digest d;
    if (!cb_store_digest_of_hex(&d, name, strcspn(name, "+-")) || cb_marks_layer(&w->marks, &d))
        return 0;
    return discard_counted(w, dirfd, name, &w->res->trees, err);
}

static int sweep_record(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct sweep *w = arg;
    return discard_counted(w, dirfd, name, &w->res->records, err);
}

static int sweep_stats(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct sweep *w = arg;
    struct stat st;
    uint64_t uncounted = 0;
    if (!w->o->all && (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
                       cb_time_now() - (int64_t)st.st_mtim.tv_sec * 1000000000 < FACT_LIFE))
        return 0;
    return discard_counted(w, dirfd, name, &uncounted, err);
}

static int sweep_record_dir(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    (void)dirfd;
    struct sweep *w = arg;
    char dir[CB_STORE_PATH_MAX];
    if (strlen(name) != 2)
        return 0;
    snprintf(dir, sizeof dir, "cache/%s", name);
    w->dir = dir;
    int r = cb_store_each(w->s, dir, sweep_record, w, err);
    w->dir = NULL;
    return r;
}

/* Who only compares builds loses nothing that was built: with the records, else by age alone. */
static int sweep_inputs(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct sweep *w = arg;
    uint64_t uncounted = 0;
    int64_t keep = w->keep_newer;
    if (!w->o->all)
        w->keep_newer = CB_MAX(keep, (int64_t)FACT_LIFE);
    int r = discard_counted(w, dirfd, name, &uncounted, err);
    w->keep_newer = keep;
    return r;
}

static int note_forget(void *arg, const struct cb_digest *diff_id, int64_t last_use, struct cb_error *err)
{
    (void)err;
    (void)last_use; /* recent ones are marked */
    struct sweep *w = arg;
    if (cb_marks_layer(&w->marks, diff_id))
        return 0;
    CB_GROW(w->forget, w->n_forget, w->cap_forget);
    w->forget[w->n_forget++] = *diff_id;
    return 0;
}

static int forget_rows(struct cb_store *s, void *arg, struct cb_error *err)
{
    const struct sweep *w = arg;
    return cb_layer_table_forget(s, w->forget, w->n_forget, cb_time_now() - FACT_LIFE, err);
}

static int sweep_rows(struct cb_store *s, void *arg, struct cb_error *err)
{
    struct sweep *w = arg;
    w->n_forget = 0;
    int r = cb_layer_table_each_use(s, note_forget, w, err);
    return r < 0 ? r : cb_db_transaction(s, forget_rows, w, err);
}

static int sweep_dir(struct sweep *w, const char *dir, cb_store_visit_fn *fn, struct cb_error *err)
{
    w->dir = dir;
    return cb_store_each(w->s, dir, fn, w, err);
}

/* What refers goes before what is referred to. */
static int sweep_all(struct sweep *w, struct cb_error *err)
{
    static const struct {
        const char *dir;
        cb_store_visit_fn *fn;
    } dirs[] = {
        { "stats", sweep_stats },
        { "toc/sha256", sweep_toc },
        { "toc/sha512", sweep_toc },
        { "blobs/sha256", sweep_blob },
        { "blobs/sha512", sweep_blob },
    };
    int r = w->o->all ? sweep_dir(w, "cache", sweep_record_dir, err) : 0;
    if (r == 0)
        r = sweep_dir(w, "inputs", sweep_inputs, err);
    if (r == 0)
        r = sweep_dir(w, "trees", sweep_tree, err);
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(dirs); i++)
        r = sweep_dir(w, dirs[i].dir, dirs[i].fn, err);
    return r < 0 || w->o->dry_run ? r : cb_db_run(w->s, sweep_rows, w, err);
}

static int mark_and_sweep(struct sweep *w, bool with_index, struct cb_error *err)
{
    cb_autoclose int lock = -1;
    int r = cb_store_lock(w->s, true, &lock, err);
    if (r == 0)
        r = cb_marks_collect(&w->marks, w->s, !w->o->all, err);
    if (r == 0 && !with_index)
        return sweep_dir(w, "trees", sweep_tree, err);
    if (r == 0)
        r = cb_marks_expand(&w->marks, w->keep_newer, err);
    return r == 0 ? sweep_all(w, err) : r;
}

static void measure_trees(struct sweep *w, int dirfd)
{
    for (size_t i = 0; i < w->trees.n; i++) {
        uint64_t bytes = 0;
        if (cb_fs_disk_usage(dirfd, w->trees.v[i], &bytes, NULL) == 0)
            w->res->bytes += bytes;
    }
}

static int empty_trash(struct sweep *w, struct cb_error *err)
{
    int trash = -1;
    int r = cb_store_trash_dir(w->s, &trash, err);
    if (r < 0)
        return r;
    measure_trees(w, trash);
    for (size_t i = 0; r == 0 && i < w->trash.n; i++)
        r = cb_fs_remove_tree(trash, w->trash.v[i], err);
    cb_strvec_done(&w->trees);
    cb_strvec_done(&w->trash);
    return r;
}

static int pass(struct sweep *w, bool with_index, struct cb_error *err)
{
    int r = mark_and_sweep(w, with_index, err);
    cb_marks_done(&w->marks);
    if (!w->o->dry_run) {
        int e = empty_trash(w, r == 0 ? err : NULL);
        return r < 0 ? r : e;
    }
    cb_autoclose int trees = openat(w->s->root_fd, "trees", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (trees >= 0)
        measure_trees(w, trees);
    cb_strvec_done(&w->trees);
    return r;
}

static int nothing(struct cb_store *s, void *arg, struct cb_error *err)
{
    (void)s;
    (void)arg;
    (void)err;
    return 0;
}

static int run_gc(struct sweep *w, struct cb_error *err)
{
    /* The index is opened (and, if need be, rebuilt) before everybody else has to wait. On a full disk it cannot be:
     * then trees go first, for which it is not needed, and make room for it. */
    struct cb_error full cb_cleanup_error = CB_ERROR_INIT;
    int r = cb_db_run(w->s, nothing, NULL, &full);
    if (r < 0 && full.sys_errno == ENOSPC && !w->o->dry_run) {
        if ((r = pass(w, false, err)) < 0)
            return r;
    } else if (r < 0) {
        return cb_error_move(err, &full);
    }
    if ((r = pass(w, true, err)) < 0 || w->o->dry_run)
        return r;
    return cb_trees_settle(w->s, err);
}

int cb_store_gc(struct cb_store *s, const struct cb_store_gc_options *o, struct cb_store_gc_result *res,
                struct cb_error *err)
{
    *res = (struct cb_store_gc_result){ 0 };
    struct sweep w = { .s = s, .o = o, .res = res, .trees = CB_STRVEC_INIT, .trash = CB_STRVEC_INIT };
    w.keep_newer = o->keep_newer_ns < 0 ? DEFAULT_GRACE : o->keep_newer_ns;
    int r = cb_store_settle(s, err);
    if (r == 0)
        r = run_gc(&w, err);
    free(w.forget);
    if (r < 0)
        cb_error_wrap(err, "clean the store");
    return r;
}
