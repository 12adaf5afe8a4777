/* SPDX-License-Identifier: Apache-2.0 */
#include "util/quota.h"

#include <limits.h>

#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"

#define SYSFS "/sys/fs/cgroup"
#define MAX_CONTROL_FILE 256 /* a line of at most two numbers */
#define MAX_PROC_FILE (64u << 10)

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

/* A limit: how it is read in each version, 0 where there is none, and the controller of v1. */
struct limit {
    const char *controller;
    uint64_t (*v2)(const char *dir);
    uint64_t (*v1)(const char *dir);
};

/* ---- processors ---- */

static uint64_t cpus_of(const char *quota, const char *period)
{
    uint64_t q, p;
    /* "max" and "-1" are no numbers: unlimited. */
    if (!cb_parse_u64(quota, UINT32_MAX, &q) || !cb_parse_u64(period, UINT32_MAX, &p) || q == 0 || p == 0)
        return 0;
    return (q + p - 1) / p;
}

static uint64_t cpus_v2(const char *dir)
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

static uint64_t cpus_v1(const char *dir)
{
    cb_cleanup_strbuf struct cb_strbuf quota = CB_STRBUF_INIT, period = CB_STRBUF_INIT;
    if (!read_word(dir, "cpu.cfs_quota_us", &quota) || !read_word(dir, "cpu.cfs_period_us", &period))
        return 0;
    return cpus_of(quota.buf, period.buf);
}

/* ---- memory ---- */

/* v1 has a number close to the largest where there is no limit, which is as good as one. */
static uint64_t bytes_in(const char *dir, const char *file)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    uint64_t bytes;
    return read_word(dir, file, &text) && cb_parse_u64(text.buf, UINT64_MAX, &bytes) ? bytes : 0;
}

static uint64_t memory_v2(const char *dir)
{
    return bytes_in(dir, "memory.max");
}

static uint64_t memory_v1(const char *dir)
{
    return bytes_in(dir, "memory.limit_in_bytes");
}

/* ---- where the limits are ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    if (!a || !b)
        return a ? a : b;
    return CB_MIN(a, b);
}

/* From the cgroup up to the mount. */
static uint64_t least_upwards(const char *mount, struct cb_slice cgroup, uint64_t (*limit)(const char *dir))
{
    cb_cleanup_strbuf struct cb_strbuf dir = CB_STRBUF_INIT;
    cb_strbuf_adds(&dir, mount);
    cb_strbuf_add(&dir, cgroup.ptr, cgroup.len);
    uint64_t result = 0;
    while (dir.len >= strlen(mount)) {
        result = least(result, limit(dir.buf));
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
static uint64_t of_line(const struct limit *l, const char *sysfs, struct cb_slice line)
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
        uint64_t unified = least_upwards(sysfs, cgroup, l->v2);
        cb_strbuf_addf(&mount, "%s/unified", sysfs);
        return least(unified, least_upwards(mount.buf, cgroup, l->v2));
    }
    if (!list_has(controllers, l->controller))
        return 0;
    cb_strbuf_addf(&mount, "%s/%s", sysfs, l->controller);
    return least_upwards(mount.buf, cgroup, l->v1);
}

static uint64_t find_least(const struct limit *l, const char *sysfs, const char *membership)
{
    uint64_t result = 0;
    while (*membership) {
        size_t len = strcspn(membership, "\n");
        result = least(result, of_line(l, sysfs, (struct cb_slice){ membership, len }));
        membership += len + (membership[len] ? 1 : 0);
    }
    return result;
}

unsigned cb_cpu_quota(const char *sysfs, const char *membership)
{
    static const struct limit cpus = { "cpu", cpus_v2, cpus_v1 };
    return (unsigned)CB_MIN(find_least(&cpus, sysfs, membership), (uint64_t)UINT_MAX);
}

uint64_t cb_memory_quota(const char *sysfs, const char *membership)
{
    static const struct limit memory = { "memory", memory_v2, memory_v1 };
    return find_least(&memory, sysfs, membership);
}

/* "MemAvailable:   12345 kB" */
static uint64_t available(const char *meminfo)
{
    static const char name[] = "\nMemAvailable:";
    const char *at = strstr(meminfo, name);
    uint64_t kib;
    if (!at)
        return 0;
    at += strlen(name);
    at += strspn(at, " ");
    cb_autofree char *number = cb_strndup(at, strspn(at, "0123456789"));
    return cb_parse_u64(number, UINT64_MAX >> 10, &kib) ? kib << 10 : 0;
}

/* Of this process. */
static bool read_membership(struct cb_strbuf *out)
{
    return cb_file_slurp("/proc/self/cgroup", MAX_PROC_FILE, out, NULL) == 0;
}

unsigned cb_cpu_quota_here(void)
{
    cb_cleanup_strbuf struct cb_strbuf membership = CB_STRBUF_INIT;
    return read_membership(&membership) ? cb_cpu_quota(SYSFS, membership.buf) : 0;
}

uint64_t cb_memory_available(void)
{
    cb_cleanup_strbuf struct cb_strbuf meminfo = CB_STRBUF_INIT, membership = CB_STRBUF_INIT;
    if (cb_file_slurp("/proc/meminfo", MAX_PROC_FILE, &meminfo, NULL) < 0)
        return 0;
    uint64_t bytes = available(meminfo.buf);
    return bytes && read_membership(&membership) ? least(bytes, cb_memory_quota(SYSFS, membership.buf)) : bytes;
}
