/* SPDX-License-Identifier: Apache-2.0 */
#include "util/cpu_quota.h"

#include "util/encode.h"
#include "util/fd.h"

/* Both files are a line of at most two numbers. */
#define MAX_CONTROL_FILE 256

static bool read_word(const char *dir, const char *file, struct cb_strbuf *out)
{
    cb_cleanup_strbuf struct cb_strbuf path = CB_STRBUF_INIT;
    cb_strbuf_addf(&path, "%s/%s", dir, file);
    cb_strbuf_reset(out);
    if (cb_file_slurp(path.buf, MAX_CONTROL_FILE, out, NULL) < 0)
        return false;
    struct cb_slice s = cb_slice_trim((struct cb_slice){ out->buf, out->len });
    cb_strbuf_setlen(out, (size_t)(s.ptr - out->buf) + s.len);
    return s.len > 0;
}

static unsigned cpus_of(const char *quota, const char *period)
{
    uint64_t q, p;
    /* "max" and "-1" are no numbers: unlimited. */
    if (!cb_parse_u64(quota, UINT32_MAX, &q) || !cb_parse_u64(period, UINT32_MAX, &p) || q == 0 || p == 0)
        return 0;
    return (unsigned)((q + p - 1) / p);
}

static unsigned quota_v2(const char *dir)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    if (!read_word(dir, "cpu.max", &text))
        return 0;
    char *blank = strchr(text.buf, ' ');
    if (!blank)
        return 0;
    *blank = '\0';
    return cpus_of(text.buf, blank + 1);
}

static unsigned quota_v1(const char *dir)
{
    cb_cleanup_strbuf struct cb_strbuf quota = CB_STRBUF_INIT, period = CB_STRBUF_INIT;
    if (!read_word(dir, "cpu.cfs_quota_us", &quota) || !read_word(dir, "cpu.cfs_period_us", &period))
        return 0;
    return cpus_of(quota.buf, period.buf);
}

static unsigned least(unsigned a, unsigned b)
{
    if (!a || !b)
        return a ? a : b;
    return CB_MIN(a, b);
}

/* From the cgroup up to the mount. */
static unsigned quota_upwards(const char *mount, struct cb_slice cgroup, unsigned (*quota)(const char *dir))
{
    cb_cleanup_strbuf struct cb_strbuf dir = CB_STRBUF_INIT;
    cb_strbuf_adds(&dir, mount);
    cb_strbuf_add(&dir, cgroup.ptr, cgroup.len);
    unsigned result = 0;
    while (dir.len >= strlen(mount)) {
        result = least(result, quota(dir.buf));
        char *slash = strrchr(dir.buf, '/');
        if (!slash)
            break;
        cb_strbuf_setlen(&dir, (size_t)(slash - dir.buf));
    }
    return result;
}

static bool list_has(struct cb_slice list, const char *name)
{
    size_t n = strlen(name);
    while (list.len) {
        const char *comma = memchr(list.ptr, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.ptr) : list.len;
        if (len == n && memcmp(list.ptr, name, n) == 0)
            return true;
        len += comma ? 1 : 0;
        list.ptr += len;
        list.len -= len;
    }
    return false;
}

/* One line of /proc/self/cgroup: "id:controllers:path", v2 is "0::path". */
static unsigned quota_of_line(const char *sysfs, struct cb_slice line)
{
    const char *end = line.ptr + line.len;
    const char *first = memchr(line.ptr, ':', line.len);
    const char *second = first ? memchr(first + 1, ':', (size_t)(end - first - 1)) : NULL;
    if (!second)
        return 0;
    struct cb_slice controllers = { first + 1, (size_t)(second - first - 1) };
    struct cb_slice cgroup = { second + 1, (size_t)(end - second - 1) };
    cb_cleanup_strbuf struct cb_strbuf mount = CB_STRBUF_INIT;
    if (!controllers.len) {
        unsigned unified = quota_upwards(sysfs, cgroup, quota_v2);
        cb_strbuf_addf(&mount, "%s/unified", sysfs);
        return least(unified, quota_upwards(mount.buf, cgroup, quota_v2));
    }
    if (!list_has(controllers, "cpu"))
        return 0;
    cb_strbuf_addf(&mount, "%s/cpu", sysfs);
    return quota_upwards(mount.buf, cgroup, quota_v1);
}

unsigned cb_cpu_quota(const char *sysfs, const char *membership)
{
    unsigned result = 0;
    while (*membership) {
        size_t len = strcspn(membership, "\n");
        result = least(result, quota_of_line(sysfs, (struct cb_slice){ membership, len }));
        membership += len + (membership[len] ? 1 : 0);
    }
    return result;
}
