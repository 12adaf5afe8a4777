/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/fd.h"
#include "util/timeutil.h"

#define DAY (24 * INT64_C(3600) * 1000000000)

static const char *inputs_path(char *buf, const struct cb_digest *id)
{
    char hex[CB_DIGEST_TEXT_MAX];
    snprintf(buf, CB_STORE_PATH_MAX, "inputs/%s", cb_digest_hex(id, hex));
    return buf;
}

/* That it is in use is noted by the day. */
static void touch(int fd)
{
    struct stat st;
    if (fstat(fd, &st) == 0 && cb_time_now() - (int64_t)st.st_mtim.tv_sec * 1000000000 > DAY)
        (void)!futimens(fd, NULL);
}

int cb_store_inputs_get(struct cb_store *s, const struct cb_digest *id, size_t max, struct cb_strbuf *out,
                        struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    size_t got = 0;
    cb_autoclose int fd = openat(s->root_fd, inputs_path(path, id), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return cb_error_sys(err, errno == ENOENT ? CB_ENOTFOUND : CB_ELOCAL, errno, "open %s/%s", s->root, path);
    cb_strbuf_reserve(out, max);
    int r = cb_fd_pread_full(fd, out->buf + out->len, max, 0, &got, err);
    if (r < 0)
        return r;
    cb_strbuf_setlen(out, out->len + got);
    touch(fd);
    return 0;
}

int cb_store_inputs_put(struct cb_store *s, const struct cb_digest *id, struct cb_slice text, struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    return cb_store_put_file(s, inputs_path(path, id), text, false, err);
}
