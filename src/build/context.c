/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/context_match.h"
#include "build/context_private.h"
#include "util/alloc.h"
#include "util/path.h"

struct cb_context *cb_context_open(const char *path, const struct cb_df_ignore *ignore, struct cb_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        cb_error_sys(err, CB_EUSAGE, errno, "build context %s", path);
        return NULL;
    }
    return cb_context_from_fd(fd, ignore);
}

struct cb_context *cb_context_from_fd(int fd, const struct cb_df_ignore *ignore)
{
    struct cb_context *c = CB_NEW(struct cb_context);
    c->fd = fd;
    c->ignore = ignore;
    pthread_mutex_init(&c->mu, NULL);
    return c;
}

void cb_context_free(struct cb_context *c)
{
    if (!c)
        return;
    cb_stat_cache_close(c->stats);
    close(c->fd);
    pthread_mutex_destroy(&c->mu);
    free(c);
}

void cb_context_remember(struct cb_context *c, struct cb_store *store)
{
    c->store = store;
    if (!c->stats)
        c->stats = cb_stat_cache_open(store, c->fd);
}

void cb_context_leave_out(struct cb_context *c, const struct cb_store *store)
{
    struct stat st;
    if (fstat(cb_store_root_fd(store), &st) < 0)
        return;
    c->store_dev = st.st_dev;
    c->store_ino = st.st_ino;
}

bool cb_context_met_store(const struct cb_context *c)
{
    return atomic_load(&c->met_store);
}

void cb_context_found_all(struct cb_context *c)
{
    if (c)
        cb_stat_cache_close(CB_TAKE(c->stats));
}

int cb_context_fd(const struct cb_context *c)
{
    return c->fd;
}

void cb_context_stats(struct cb_context *c, struct cb_context_work *out)
{
    pthread_mutex_lock(&c->mu);
    *out = c->work;
    pthread_mutex_unlock(&c->mu);
}

/* ---- what the sources name ---- */

struct source {
    struct cb_context *c;
    struct cb_selection *out;
    const struct cb_filter *filter;
    const struct cb_build_env *env;
    const char *text;
    const char *below;             /* --parents, or NULL */
    bool wildcard;
};

/* One match: by its own name, with what it really is. */
static int select_match(const struct source *s, const char *path, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_context_real(s->c->fd, path, &real);
    if (r < 0)
        return cb_error_sys(err, CB_ECONF, -r, "%s", path);
    struct cb_context_walk w = { .c = s->c, .filter = s->filter, .cancel = s->env->cancel,
                                 .cpu = s->env->cpu };
    w.match = cb_selection_add(s->out, cb_path_base(path), false, s->wildcard);
    r = cb_context_walk(&w, real.buf, err);
    if (r == 0 && s->below && w.match->is_dir)
        w.match->items[0]->on_the_way = true;
    /* Left out, and nothing came of the hope that something below is not. */
    if (r == 0 && real.len && cb_df_ignored(s->c->ignore, real.buf) && w.match->n == 1) {
        cb_selection_pop(s->out);
        return s->wildcard ? 0 : cb_context_absent(s->c->fd, s->c->ignore, s->text, err);
    }
    return r;
}

/* A path of --parents without a wildcard has to be there. */
static int check_below(const struct source *s, struct cb_error *err)
{
    if (!s->below || s->wildcard || cb_df_has_wildcard(s->below) || s->out->v[s->out->n - 1].n > 1)
        return 0;
    cb_autofree char *whole = strcmp(s->text, ".") ? cb_asprintf("%s/%s", s->text, s->below) : cb_strdup(s->below);
    return cb_context_absent(s->c->fd, s->c->ignore, whole, err);
}

static int select_source(struct source *s, struct cb_error *err)
{
    struct cb_strvec paths cb_cleanup_strvec = CB_STRVEC_INIT;
    s->wildcard = cb_df_has_wildcard(s->text);
    int r = cb_context_match(s->c->fd, s->c->ignore, s->text, &paths, err);
    for (size_t k = 0; r == 0 && k < paths.n; k++)
        r = select_match(s, paths.v[k], err);
    return r < 0 ? r : check_below(s, err);
}

static int hash(struct cb_context *c, struct cb_selection *sel, const struct cb_build_env *env, struct cb_error *err)
{
    struct cb_span span cb_cleanup_span = cb_span_begin("context", "hash what was found");
    int r = cb_context_hash(c, sel, env, err);
    struct cb_context_work w;
    cb_context_stats(c, &w);
    cb_span_number(&span, "files_so_far", w.files);
    cb_span_number(&span, "known_so_far", w.known);
    cb_span_number(&span, "bytes_so_far", w.bytes);
    return r;
}

int cb_context_select(struct cb_context *c, const struct cb_copy_op *op, const struct cb_build_env *env,
                      struct cb_selection *out, struct cb_error *err)
{
    struct cb_span span cb_cleanup_span = cb_span_begin("context", "find %s", op->sources.n ? op->sources.v[0] : "");
    int r = 0;
    out->context = c;
    for (size_t i = 0; r == 0 && i < op->sources.n; i++) {
        struct cb_filter filter cb_cleanup_filter = { 0 };
        struct source s = { .c = c, .out = out, .filter = &filter, .env = env, .text = op->sources.v[i],
                            .below = cb_copy_below(op, i) };
        r = cb_filter_open(&filter, op, s.below, err);
        if (r == 0)
            r = select_source(&s, err);
    }
    cb_span_end(&span);
    return r < 0 ? r : hash(c, out, env, err);
}

int cb_context_select_path(struct cb_context *c, const char *path, const struct cb_build_env *env,
                           struct cb_selection *out, struct cb_error *err)
{
    struct cb_strbuf real cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct source s = { .c = c, .out = out, .env = env, .text = path };
    struct stat st;
    out->context = c;
    int r = cb_context_real(c->fd, path, &real);
    if (r == 0)
        r = cb_path_lstat(c->fd, real.buf, &st, CB_RESOLVE_NOFOLLOW);
    if (r == -ENOENT || r == -ENOTDIR)
        return cb_context_absent(c->fd, c->ignore, path, err);
    if (r < 0)
        return cb_error_sys(err, CB_ECONF, -r, "\"/%s\"", path);
    bool left_out = cb_df_ignored(c->ignore, path) || cb_df_ignored(c->ignore, real.buf);
    if (*path && left_out && !(S_ISDIR(st.st_mode) && cb_df_ignore_may_reinclude(c->ignore, real.buf)))
        return cb_context_absent(c->fd, c->ignore, path, err);
    struct cb_span span cb_cleanup_span = cb_span_begin("context", "find %s", path);
    r = select_match(&s, path, err);
    cb_span_end(&span);
    return r < 0 ? r : hash(c, out, env, err);
}

/* By a context of its own: others may be at work on c. */
int cb_context_select_again(const struct cb_context *c, const char *path, const struct cb_build_env *env,
                            struct cb_selection *out, struct cb_error *err)
{
    int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    CB_AUTO(cb_context_free) struct cb_context *own = cb_context_from_fd(fd, c->ignore);
    own->store_dev = c->store_dev;
    own->store_ino = c->store_ino;
    if (c->store)
        cb_context_remember(own, c->store);
    int r = cb_context_select_path(own, path, env, out, err);
    out->context = NULL;
    return r;
}

/* ---- bytes ---- */

int cb_context_open_item(struct cb_path_cursor *in, const struct cb_item *it, int *out, struct cb_error *err)
{
    cb_autoclose int fd = cb_path_cursor_open(in, cb_item_path(it), O_RDONLY | O_NONBLOCK);
    struct stat st;
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, -fd, "open %s", cb_item_path(it));
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size != cb_item_found(it)->size)
        return cb_error_set(err, CB_ELOCAL, "%s changed while it was being read", cb_item_path(it));
    *out = CB_TAKE_FD(fd);
    return 0;
}

struct cb_path_cursor cb_context_cursor(const struct cb_context *c)
{
    return (struct cb_path_cursor)CB_PATH_CURSOR(c ? c->fd : -1);
}

int cb_context_source_in(struct cb_path_cursor *in, const struct cb_item *it, struct cb_blob_source **out,
                         struct cb_error *err)
{
    int fd = -1;
    if (it->is_socket) {
        *out = cb_blob_source_from_mem("", 0);
        return 0;
    }
    int r = cb_context_open_item(in, it, &fd, err);
    if (r == 0)
        *out = cb_blob_source_from_fd(fd, 0, cb_item_found(it)->size);
    return r;
}

int cb_context_source(const struct cb_context *c, const struct cb_item *it, struct cb_blob_source **out,
                      struct cb_error *err)
{
    struct cb_path_cursor in cb_cleanup_path_cursor = cb_context_cursor(c);
    return cb_context_source_in(&in, it, out, err);
}

/* user.xdg.*: what browsers, curl and desktops note down about a file on this machine, such as the URL that it came
 * from, which may be nobody else's business, and which makes the same file another one elsewhere. */
static void drop_local(struct cb_xattrs *x)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->n; i++)
        if (cb_starts_with(x->v[i].name, "user.xdg."))
            free((void *)(uintptr_t)x->v[i].value);
        else
            x->v[kept++] = x->v[i];
    x->n = (uint32_t)kept;
}

int cb_context_xattrs(struct cb_item *it, int fd, struct cb_error *err)
{
    struct cb_xattrs x cb_cleanup_xattrs = CB_XATTRS_INIT;
    const char *path = cb_item_path(it);
    if (cb_xattrs_read(&x, fd) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "extended attributes of %s", *path ? path : ".");
    drop_local(&x);
    cb_item_set_xattrs(it, x.v, x.n);
    return 0;
}
