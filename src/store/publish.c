/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs between the proof of their bytes and their name on the disk (R6). The sync of the smallest file waits for all
 * that the journal of the file system has in hand, a layer that is being fetched for instance: so threads of the store
 * do it, and this process reads the blob by its descriptor meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/fd.h"

#define PUBLISHERS 4
#define WAITING_MAX 64 /* each holds a descriptor; beyond it who commits has to wait */
#define HELD_BYTES ((uint64_t)64 << 20) /* more than that is on its way to the disk soon enough */

struct cb_unpublished {
    struct cb_unpublished *next;
    uint64_t serial; /* as they were committed */
    bool held; /* no thread has it yet */
    bool failed;
    struct cb_store *store;
    struct cb_tmpfile tmp;
    struct cb_digest digest;
    uint64_t size;
};

void cb_publishing_init(struct cb_publishing *p)
{
    pthread_mutex_init(&p->mutex, NULL);
    pthread_cond_init(&p->changed, NULL);
}

/* ---- on the disk ---- */

static int open_alg_dir(struct cb_store *s, const struct cb_digest *d, int *fd, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    snprintf(path, sizeof path, "blobs/%s", cb_digest_alg_name(d->alg));
    *fd = openat(s->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd >= 0)
        return 0;
    if (errno == ENOENT && (mkdirat(s->root_fd, path, 0700) == 0 || errno == EEXIST)) {
        int r = cb_store_sync_parent(s, path, err);
        if (r < 0)
            return r;
        *fd = openat(s->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    }
    return *fd >= 0 ? 0 : cb_error_sys(err, CB_ELOCAL, errno, "open %s/%s", s->root, path);
}

/* Who lost the race looks whether the winner is sound (R10); a file that a power cut or the disk damaged is
 * replaced. */
static int check_winner(struct cb_unpublished *u, int dir, const char *hex, struct cb_error *err)
{
    cb_autoclose int fd = openat(dir, hex, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;
    struct cb_digest have = { 0 };
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == u->size &&
        cb_store_hash_file(fd, u->digest.alg, &have, NULL) == 0 && cb_digest_eq(&have, &u->digest))
        return cb_fs_sync_dir(dir, err);
    return cb_tmpfile_replace(&u->tmp, dir, hex, err);
}

/* The descriptor stays open: there may be readers on the way to it. */
static int publish(struct cb_unpublished *u, struct cb_error *err)
{
    struct cb_span span cb_cleanup_span = cb_span_begin("store", "publish blob");
    cb_span_digest(&span, "digest", &u->digest);
    cb_span_number(&span, "bytes", u->size);
    cb_autoclose int dir = -1;
    int r = open_alg_dir(u->store, &u->digest, &dir, err);
    if (r < 0)
        return r;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_hex(&u->digest, hex);
    bool existed = false;
    if ((r = cb_tmpfile_publish(&u->tmp, dir, hex, &existed, err)) == 0 && existed)
        r = check_winner(u, dir, hex, err);
    if (r < 0)
        cb_error_wrap(err, "publish %s/blobs/%s/%s", u->store->root, cb_digest_alg_name(u->digest.alg), hex);
    return r;
}

/* ---- later ---- */

static void unpublished_free(struct cb_unpublished *u)
{
    cb_tmpfile_done(&u->tmp);
    free(u);
}

/* Under the mutex. */
static void forget(struct cb_publishing *p, struct cb_unpublished *u)
{
    struct cb_unpublished **at = &p->list;
    while (*at != u)
        at = &(*at)->next;
    *at = u->next;
    unpublished_free(u);
}

/* One that did not get its name can still be read: whoever settles is told. */
static void run(void *arg)
{
    struct cb_unpublished *u = arg;
    struct cb_publishing *p = &u->store->publishing;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = publish(u, &e);
    pthread_mutex_lock(&p->mutex);
    p->n_waiting--;
    u->failed = r < 0;
    if (r < 0 && !p->error.code)
        cb_error_move(&p->error, &e);
    if (r == 0)
        forget(p, u);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->mutex);
}

/* Under the mutex. */
static struct cb_unpublished *find(struct cb_publishing *p, const struct cb_digest *d)
{
    struct cb_unpublished *u = p->list;
    while (u && !cb_digest_eq(&u->digest, d))
        u = u->next;
    return u;
}

/* Under the mutex. */
static void begin(struct cb_publishing *p, struct cb_unpublished *u)
{
    if (!p->pool)
        p->pool = cb_pool_new("publish", PUBLISHERS);
    u->held = false;
    cb_pool_submit(p->pool, run, u);
}

/* Under the mutex. */
static void begin_all(struct cb_publishing *p)
{
    p->hold = false;
    for (struct cb_unpublished *u = p->list; u; u = u->next)
        if (u->held)
            begin(p, u);
}

void cb_store_put_off(struct cb_store *s)
{
    pthread_mutex_lock(&s->publishing.mutex);
    s->publishing.hold = true;
    s->publishing.held = 0;
    pthread_mutex_unlock(&s->publishing.mutex);
}

void cb_store_go_on(struct cb_store *s)
{
    pthread_mutex_lock(&s->publishing.mutex);
    begin_all(&s->publishing);
    pthread_mutex_unlock(&s->publishing.mutex);
}

void cb_publish_later(struct cb_store *s, struct cb_tmpfile *tmp, const struct cb_digest *d, uint64_t size)
{
    struct cb_publishing *p = &s->publishing;
    pthread_mutex_lock(&p->mutex);
    if (p->n_waiting >= WAITING_MAX)
        begin_all(p);
    while (p->n_waiting >= WAITING_MAX)
        pthread_cond_wait(&p->changed, &p->mutex);
    if (!find(p, d)) {
        struct cb_unpublished *u = CB_NEW(struct cb_unpublished);
        *u = (struct cb_unpublished){ .next = p->list, .store = s, .tmp = *tmp, .digest = *d, .size = size,
                                     .serial = ++p->serial };
        *tmp = (struct cb_tmpfile)CB_TMPFILE_INIT;
        p->list = u;
        p->n_waiting++;
        u->held = true;
        p->held += size;
        if (!p->hold || p->held > HELD_BYTES)
            begin_all(p);
    }
    pthread_mutex_unlock(&p->mutex);
}

/* A description of its own, so that nobody moves another's offset. */
static int open_again(int fd)
{
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, O_RDONLY | O_CLOEXEC);
}

int cb_publish_peek(struct cb_store *s, const struct cb_digest *d)
{
    struct cb_publishing *p = &s->publishing;
    int fd = -1;
    pthread_mutex_lock(&p->mutex);
    /* Without /proc it is read by its name, as soon as it has one. */
    for (struct cb_unpublished *u; (u = find(p, d)) && (fd = open_again(u->tmp.fd)) < 0 && p->n_waiting;) {
        begin_all(p);
        pthread_cond_wait(&p->changed, &p->mutex);
    }
    pthread_mutex_unlock(&p->mutex);
    return fd;
}

bool cb_publish_any(struct cb_store *s)
{
    pthread_mutex_lock(&s->publishing.mutex);
    bool any = s->publishing.list != NULL;
    pthread_mutex_unlock(&s->publishing.mutex);
    return any;
}

int cb_store_settle(struct cb_store *s, struct cb_error *err)
{
    struct cb_publishing *p = &s->publishing;
    pthread_mutex_lock(&p->mutex);
    begin_all(p);
    while (p->n_waiting)
        pthread_cond_wait(&p->changed, &p->mutex);
    int r = p->error.code ? cb_error_copy(err, &p->error) : 0;
    pthread_mutex_unlock(&p->mutex);
    return r;
}

/* Under the mutex. */
static bool is_waiting(const struct cb_publishing *p, uint64_t last)
{
    const struct cb_unpublished *u = p->list;
    while (u && (u->failed || u->serial > last))
        u = u->next;
    return u;
}

void cb_store_settle_so_far(struct cb_store *s)
{
    struct cb_publishing *p = &s->publishing;
    pthread_mutex_lock(&p->mutex);
    uint64_t last = p->serial;
    begin_all(p);
    while (is_waiting(p, last))
        pthread_cond_wait(&p->changed, &p->mutex);
    pthread_mutex_unlock(&p->mutex);
}

int cb_publish_settle(struct cb_store *s, struct cb_error *err)
{
    int r = cb_store_settle(s, err);
    if (r == 0 && atomic_exchange(&s->publishing.met, false))
        r = cb_store_sync_parent(s, "blobs/sha256/.", err);
    return r;
}

void cb_publishing_done(struct cb_publishing *p)
{
    pthread_mutex_lock(&p->mutex); /* those that begin here forget what they have done */
    begin_all(p);
    pthread_mutex_unlock(&p->mutex);
    cb_pool_free(p->pool);
    while (p->list)
        forget(p, p->list);
    cb_error_done(&p->error);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->mutex);
}
