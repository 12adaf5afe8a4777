/* SPDX-License-Identifier: Apache-2.0 */
#include "util/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"

struct cb_secret {
    void *data;
    size_t size, mapped;
};

static struct cb_secret *secret_map(size_t room, struct cb_error *err)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t mapped = (room + page) / page * page; /* at least a byte more than asked for */
    void *data = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data == MAP_FAILED) {
        cb_error_sys(err, CB_ELOCAL, errno, "memory for a secret");
        return NULL;
    }
    if (madvise(data, mapped, MADV_DONTDUMP) < 0 || madvise(data, mapped, MADV_DONTFORK) < 0) {
        cb_error_sys(err, CB_ELOCAL, errno, "protect the memory of a secret");
        munmap(data, mapped);
        return NULL;
    }
    /* RLIMIT_MEMLOCK may be less than this: then it is swap space that has to be trusted. */
    (void)!mlock(data, mapped);
    struct cb_secret *s = CB_NEW(struct cb_secret);
    *s = (struct cb_secret){ .data = data, .mapped = mapped };
    return s;
}

struct cb_secret *cb_secret_new(const void *data, size_t n, struct cb_error *err)
{
    struct cb_secret *s = secret_map(n, err);
    if (s && n)
        memcpy(s->data, data, n);
    if (s)
        s->size = n;
    return s;
}

int cb_secret_read(const char *path, size_t max, struct cb_secret **out, struct cb_error *err)
{
    cb_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return cb_error_sys(err, CB_EUSAGE, errno, "%s", path);
    CB_AUTO(cb_secret_free) struct cb_secret *s = secret_map(max + 1, err);
    if (!s)
        return -CB_ELOCAL;
    int r = cb_fd_read_full(fd, s->data, max + 1, &s->size, err);
    if (r < 0) {
        cb_error_wrap(err, "%s", path);
        return r;
    }
    if (s->size > max)
        return cb_error_set(err, CB_EUSAGE, "%s has more than %zu bytes", path, max);
    *out = CB_TAKE(s);
    return 0;
}

void cb_secret_free(struct cb_secret *s)
{
    if (!s)
        return;
    explicit_bzero(s->data, s->mapped);
    munmap(s->data, s->mapped);
    free(s);
}

const void *cb_secret_data(const struct cb_secret *s)
{
    return s->data;
}

size_t cb_secret_size(const struct cb_secret *s)
{
    return s->size;
}

int cb_secret_no_core(void)
{
    struct rlimit core = { 0 };
    if (getrlimit(RLIMIT_CORE, &core) < 0)
        return -errno;
    core.rlim_cur = core.rlim_max = CB_MIN(core.rlim_max, (rlim_t)CB_NO_CORE);
    return setrlimit(RLIMIT_CORE, &core) < 0 ? -errno : 0;
}
