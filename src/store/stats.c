/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/fd.h"

/* stats/<hex of key>: the content, the boot id in BOOT_LEN bytes, the 32 raw bytes of the sha256 of both. Not synced:
 * after a power cut the boot is another one. */
#define BOOT_LEN 64
#define SUM_LEN 32
#define FILES_MAX 64

_Static_assert(sizeof((struct cb_store *)NULL)->boot == BOOT_LEN, "the boot id's place");

static const char *stats_path(char *buf, const struct cb_digest *key)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, CB_STORE_PATH_MAX, "stats/%s", cb_digest_hex(key, hex));
    return buf;
}

static int not_there(const struct cb_store *s, const char *path, const char *why, struct cb_error *err)
{
    return cb_error_set(err, CB_ENOTFOUND, "%s/%s %s", s->root, path, why);
}

int cb_store_stats_get(struct cb_store *s, const struct cb_digest *key, struct cb_strbuf *out, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    struct cb_digest sum;
    cb_autoclose int fd =
        openat(s->root_fd, stats_path(path, key), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return not_there(s, path, "is not there", err);
    /* Read, not mapped: a file that somebody truncates would kill us. */
    if (cb_fd_slurp(fd, CB_STORE_STATS_MAX + BOOT_LEN + SUM_LEN, out, NULL) < 0 || out->len < BOOT_LEN + SUM_LEN)
        return not_there(s, path, "cannot be read", err);
    size_t summed = out->len - SUM_LEN, len = summed - BOOT_LEN;
    cb_digest_of(&sum, out->buf, summed);
    if (memcmp(sum.raw, out->buf + summed, SUM_LEN) != 0)
        return not_there(s, path, "is damaged", err);
    if (!s->boot[0] || memcmp(out->buf + len, s->boot, BOOT_LEN) != 0)
        return not_there(s, path, "is of another boot", err);
    cb_strbuf_setlen(out, len);
    return 0;
}

struct crowd {
    size_t n;
    char oldest[256];
    struct timespec time;
};

static int count_file(void *arg, int dirfd, const char *name, struct cb_error *err CB_UNUSED)
{
    struct crowd *c = arg;
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    bool older = st.st_mtim.tv_sec < c->time.tv_sec ||
                 (st.st_mtim.tv_sec == c->time.tv_sec && st.st_mtim.tv_nsec < c->time.tv_nsec);
    if (c->n++ == 0 || older) {
        c->time = st.st_mtim;
        snprintf(c->oldest, sizeof c->oldest, "%s", name);
    }
    return 0;
}

/* Each put adds one file at most, so one at most is too many. */
static int make_room(struct cb_store *s, struct cb_error *err)
{
    struct crowd c = { .n = 0 };
    char path[CB_STORE_PATH_MAX];
    int r = cb_store_each(s, "stats", count_file, &c, err);
    if (r < 0 || c.n <= FILES_MAX)
        return r;
    snprintf(path, sizeof path, "stats/%.200s", c.oldest);
    if (unlinkat(s->root_fd, path, 0) < 0 && errno != ENOENT)
        return cb_error_sys(err, CB_ELOCAL, errno, "remove %s/%s", s->root, path);
    return 0;
}

int cb_store_stats_put(struct cb_store *s, const struct cb_digest *key, struct cb_strbuf *content,
                       struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    struct cb_digest sum;
    if (!s->boot[0] || content->len > CB_STORE_STATS_MAX)
        return 0;
    cb_strbuf_add(content, s->boot, BOOT_LEN);
    cb_digest_of(&sum, content->buf, content->len);
    cb_strbuf_add(content, sum.raw, SUM_LEN);
    int r = cb_store_put_file(s, stats_path(path, key), (struct cb_slice){ content->buf, content->len }, false, err);
    return r < 0 ? r : make_room(s, err);
}
