/* SPDX-License-Identifier: Apache-2.0 */
/* uploads/<hex>: an upload that was begun, one file for a blob and a repository; who goes on with it has its flock. Its
 * lines are what it is, how far it was, when, and where it goes on, and then the sha256 of those. It is overwritten in
 * place and not synced: what is torn is as good as none. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/timeutil.h"

#define MAX_FILE (32u << 10)
#define MAX_LOCATION (16u << 10)
#define MAX_AGE (24 * 3600 * INT64_C(1000000000))
#define MAGIC "cbpush upload 1"

struct cb_store_upload {
    struct cb_store *store;
    char path[CB_STORE_PATH_MAX];
    char *what; /* the first lines */
    int fd;
    bool useful; /* somebody could go on with what stands in it */
};

static char *describe(const struct cb_store_upload_id *id)
{
    char digest[CB_DIGEST_TEXT_MAX];
    return cb_asprintf(MAGIC "\n%s\n%s\n%s\n", id->host, id->repo, cb_digest_text(id->digest, digest));
}

static void name_file(char path[static CB_STORE_PATH_MAX], const char *what)
{
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&d, what, strlen(what));
    snprintf(path, CB_STORE_PATH_MAX, "uploads/%s", cb_digest_hex(&d, hex));
}

/* ---- what stands in it ---- */

/* The next line without its end, cut out of *at; NULL where there is none. */
static char *next_line(char **at)
{
    char *line = *at, *end = strchr(line, '\n');
    if (!end)
        return NULL;
    *end = '\0';
    *at = end + 1;
    return line;
}

static bool sum_holds(const char *text, const char *sum)
{
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&d, text, (size_t)(sum - text));
    cb_digest_hex(&d, hex);
    return !strncmp(sum, hex, strlen(hex)) && sum[strlen(hex)] == '\n';
}

static bool is_recent(const char *text)
{
    uint64_t when;
    int64_t now = cb_time_now();
    return cb_parse_u64(text, INT64_MAX, &when) && now - (int64_t)when < MAX_AGE && (int64_t)when - now < MAX_AGE;
}

/* Offset, time, Location, sum. */
static char *parse(char *text, const char *what, uint64_t *offset)
{
    if (!cb_starts_with(text, what))
        return NULL;
    char *at = text + strlen(what), *sum = at;
    for (int i = 0; sum && i < 3; i++)
        sum = (sum = strchr(sum, '\n')) ? sum + 1 : NULL;
    if (!sum || !sum_holds(text, sum))
        return NULL;
    const char *far = next_line(&at), *when = next_line(&at), *location = next_line(&at);
    if (!far || !when || !location || !cb_parse_u64(far, INT64_MAX, offset) || !is_recent(when) || !*location)
        return NULL;
    return cb_strdup(location);
}

static char *read_location(const struct cb_store_upload *u, uint64_t *offset)
{
    char *text = cb_malloc(MAX_FILE + 1), *location = NULL;
    size_t got = 0;
    if (cb_fd_pread_full(u->fd, text, MAX_FILE, 0, &got, NULL) == 0) {
        text[got] = '\0';
        location = parse(text, u->what, offset);
    }
    explicit_bzero(text, MAX_FILE);
    free(text);
    return location;
}

/* ---- one upload ---- */

int cb_store_upload_take(struct cb_store *s, const struct cb_store_upload_id *id, struct cb_store_upload **out,
                         struct cb_store_upload_state *state, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    cb_autofree char *what = describe(id);
    int fd = -1;
    *out = NULL;
    *state = (struct cb_store_upload_state){ 0 };
    name_file(path, what);
    if (mkdirat(s->root_fd, "uploads", 0700) < 0 && errno != EEXIST)
        return cb_error_sys(err, CB_ELOCAL, errno, "create %s/uploads", s->root);
    int r = cb_fs_lock_file(s->root_fd, path, O_RDWR | O_CREAT, &fd, err);
    if (r <= 0)
        return r;
    struct cb_store_upload *u = CB_NEW(struct cb_store_upload);
    u->store = s;
    u->fd = fd;
    u->what = CB_TAKE(what);
    memcpy(u->path, path, sizeof path);
    state->location = read_location(u, &state->offset);
    u->useful = state->location != NULL;
    *out = u;
    return 0;
}

int cb_store_upload_note(struct cb_store_upload *u, const char *location, uint64_t offset, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest d;
    char hex[CB_DIGEST_TEXT_MAX];
    u->useful = location && strlen(location) <= MAX_LOCATION && !strpbrk(location, "\r\n");
    if (u->useful) {
        cb_strbuf_addf(&text, "%s%llu\n%lld\n%s\n", u->what, (unsigned long long)offset, (long long)cb_time_now(),
                       location);
        cb_digest_of(&d, text.buf, text.len);
        cb_strbuf_addf(&text, "%s\n", cb_digest_hex(&d, hex));
    }
    ssize_t n = pwrite(u->fd, text.buf ? text.buf : "", text.len, 0);
    int saved = errno;
    if (text.buf)
        explicit_bzero(text.buf, text.len);
    if (n != (ssize_t)text.len)
        return cb_error_sys(err, CB_ELOCAL, n < 0 ? saved : ENOSPC, "write %s/%s", u->store->root, u->path);
    return ftruncate(u->fd, n) < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "write %s/%s", u->store->root, u->path) : 0;
}

void cb_store_upload_close(struct cb_store_upload *u, bool done)
{
    if (!u)
        return;
    if (done || !u->useful)
        unlinkat(u->store->root_fd, u->path, 0);
    close(u->fd);
    free(u->what);
    free(u);
}

/* ---- keeping house ---- */

struct sweep {
    struct cb_store *s;
    int64_t older_than; /* ns since the epoch */
    bool dry_run;
    uint64_t n;
};

static int sweep_one(void *arg, int dirfd, const char *name, struct cb_error *err)
{
    struct sweep *w = arg;
    char path[CB_STORE_PATH_MAX];
    struct stat st;
    cb_autoclose int fd = -1;
    snprintf(path, sizeof path, "uploads/%.180s", name);
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mtim.tv_sec >= w->older_than / 1000000000)
        return 0;
    int r = cb_fs_lock_file(w->s->root_fd, path, O_RDONLY, &fd, err);
    if (r < 0 && err && err->sys_errno == ENOENT) {
        cb_error_done(err);
        return 0;
    }
    if (r <= 0)
        return r;
    w->n++;
    if (!w->dry_run)
        unlinkat(dirfd, name, 0);
    return 0;
}

int cb_store_uploads_expire(struct cb_store *s, struct cb_error *err)
{
    struct sweep w = { .s = s, .older_than = cb_time_now() - MAX_AGE };
    return cb_store_each(s, "uploads", sweep_one, &w, err);
}

int cb_store_uploads_prune(struct cb_store *s, bool dry_run, uint64_t *n, struct cb_error *err)
{
    struct sweep w = { .s = s, .older_than = INT64_MAX, .dry_run = dry_run };
    int r = cb_store_each(s, "uploads", sweep_one, &w, err);
    *n = w.n;
    return r;
}
