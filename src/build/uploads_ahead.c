/* SPDX-License-Identifier: Apache-2.0 */
#include "build/uploads_ahead.h"

#include <sys/stat.h>

#include "build/context_private.h"
#include "build/explain.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/path.h"

#define RECORD_MAX ((size_t)512 << 10) /* bytes: what is longer names no files, or many long ones */
#define RECORD_SMALL ((size_t)16 << 10) /* is looked through sooner than a thread starts */
#define READ_MAX (UINT64_C(1) << 20)   /* of files, in all */
#define DIGITS 12                      /* of a file's digest in a record */

/* ---- files ---- */

struct look {
    struct cb_context *c;
    uint64_t left; /* to be read */
    size_t hint;
};

/* Of a plain file; else NULL. */
static const char *digits_in(const char *what)
{
    const char *hex = strchr(what, ' ');
    return *what == 'f' && hex && strcspn(hex + 1, " ") == DIGITS ? hex + 1 : NULL;
}

static bool read_sum(struct look *l, const char *path, struct cb_sum *out)
{
    cb_autoclose int fd = cb_path_openat(l->c->fd, path, O_RDONLY | O_NONBLOCK, 0, CB_RESOLVE_NOFOLLOW);
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size > l->left ||
        cb_fd_slurp(fd, l->left, &text, NULL) < 0)
        return false;
    l->left -= text.len;
    cb_sum_of(out, text.buf, text.len);
    return true;
}

/* What is gone, or is no file any more, is not looked into. */
static bool holds_another(struct look *l, const char *path, const char *digits)
{
    struct stat st;
    struct cb_sum sum = { 0 };
    char hex[DIGITS + 1];
    if (cb_path_lstat(l->c->fd, path, &st, CB_RESOLVE_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
        return false;
    if (!cb_stat_cache_get(l->c->stats, &st, &l->hint, &sum) && !read_sum(l, path, &sum))
        return false;
    cb_hex_encode(hex, sum.raw, DIGITS / 2);
    return memcmp(hex, digits, DIGITS) != 0;
}

static bool step_has_changed(struct look *l, const struct cb_step_inputs *s, const atomic_bool *stop)
{
    for (size_t i = 0; i < s->paths.n && l->left && !atomic_load(stop); i++) {
        const char *digits = digits_in(s->whats.v[i]);
        if (digits && holds_another(l, s->paths.v[i], digits))
            return true;
    }
    return false;
}

bool cb_context_has_changed(struct cb_context *c, const struct cb_inputs *last, const atomic_bool *stop)
{
    struct look l = { .c = c, .left = READ_MAX, .hint = SIZE_MAX };
    for (size_t i = 0; i < last->n; i++)
        if (step_has_changed(&l, &last->v[i], stop))
            return true;
    return false;
}

/* ---- beside a build ---- */

struct cb_uploads_ahead {
    struct cb_build *b;
    struct cb_pool *pool; /* NULL: it has looked */
    atomic_bool stop;
};

/* False where nothing is known of the last build, or more than that. */
static bool look_into(struct cb_uploads_ahead *u, size_t max_record)
{
    struct cb_build *b = u->b;
    struct cb_inputs last cb_cleanup_inputs = { 0 };
    struct cb_context *c = b->solver.context;
    cb_inputs_last(b, cb_context_fd(c), max_record, &last);
    if (!last.n)
        return false;
    struct cb_span span cb_cleanup_span = cb_span_begin("context", "look for what has changed");
    cb_context_remember(c, b->env->store);
    bool changed = cb_context_has_changed(c, &last, &u->stop);
    if (changed)
        cb_pusher_ahead(b->pusher, 1);
    cb_span_text(&span, "found", changed ? "something" : "nothing");
    return true;
}

static void look(void *arg)
{
    (void)look_into(arg, RECORD_MAX);
}

struct cb_uploads_ahead *cb_uploads_ahead_new(struct cb_build *b)
{
    struct cb_uploads_ahead *u = CB_NEW(struct cb_uploads_ahead);
    u->b = b;
    if (look_into(u, RECORD_SMALL))
        return u;
    u->pool = cb_pool_new("ahead", 1);
    cb_pool_submit(u->pool, look, u);
    return u;
}

void cb_uploads_ahead_settle(struct cb_uploads_ahead *u)
{
    if (!u)
        return;
    atomic_store(&u->stop, true);
    cb_pool_free(CB_TAKE(u->pool));
}

void cb_uploads_ahead_free(struct cb_uploads_ahead *u)
{
    cb_uploads_ahead_settle(u);
    free(u);
}
