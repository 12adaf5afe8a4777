/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/platform.h"

#include <sys/utsname.h>

#include "util/alloc.h"
#include "util/encode.h"

void cb_platform_done(struct cb_platform *p)
{
    free(p->os);
    free(p->arch);
    free(p->variant);
    free(p->os_version);
    *p = (struct cb_platform){ 0 };
}

void cb_platform_copy(struct cb_platform *dst, const struct cb_platform *src)
{
    if (dst == src)
        return;
    cb_platform_done(dst);
    dst->os = cb_strdup_or_null(src->os);
    dst->arch = cb_strdup_or_null(src->arch);
    dst->variant = cb_strdup_or_null(src->variant);
    dst->os_version = cb_strdup_or_null(src->os_version);
}

static void replace(char **field, const char *value)
{
    char *copy = cb_strdup_or_null(value);
    free(*field);
    *field = copy;
}

static void lower(char *s)
{
    for (; s && *s; s++)
        if (*s >= 'A' && *s <= 'Z')
            *s = (char)(*s - 'A' + 'a');
}

static void drop_if_empty(char **field)
{
    if (*field && !**field)
        replace(field, NULL);
}

/* Other names of an architecture; `variant` where the name says it. */
static const struct alias {
    const char *name, *arch, *variant;
} aliases[] = {
    { "x86_64", "amd64", NULL },     { "x86-64", "amd64", NULL },     { "i386", "386", NULL },
    { "i486", "386", NULL },         { "i586", "386", NULL },         { "i686", "386", NULL },
    { "aarch64", "arm64", NULL },    { "aarch64_be", "arm64be", NULL }, { "armhf", "arm", "v7" },
    { "armel", "arm", "v6" },        { "armv8l", "arm", "v8" },       { "armv7l", "arm", "v7" },
    { "armv6l", "arm", "v6" },       { "armv5tel", "arm", "v5" },     { "loongarch64", "loong64", NULL },
    { "powerpc64le", "ppc64le", NULL },
};

static void normalize_arch(struct cb_platform *p)
{
    for (size_t i = 0; i < CB_COUNTOF(aliases); i++) {
        if (!cb_streq(p->arch, aliases[i].name))
            continue;
        replace(&p->arch, aliases[i].arch);
        if (aliases[i].variant)
            replace(&p->variant, aliases[i].variant);
        return;
    }
}

static void normalize_variant(struct cb_platform *p)
{
    bool arm = cb_streq(p->arch, "arm"), arm64 = cb_streq(p->arch, "arm64"), amd64 = cb_streq(p->arch, "amd64");
    if ((arm || arm64) && p->variant && p->variant[0] >= '0' && p->variant[0] <= '9') {
        char *prefixed = cb_asprintf("v%s", p->variant);
        free(p->variant);
        p->variant = prefixed;
    }
    if (arm && !p->variant)
        replace(&p->variant, "v7");
    if ((arm64 && (cb_streq(p->variant, "v8") || cb_streq(p->variant, "v8.0"))) ||
        (amd64 && cb_streq(p->variant, "v1")) || cb_streq(p->arch, "386"))
        replace(&p->variant, NULL);
}

void cb_platform_normalize(struct cb_platform *p)
{
    lower(p->os);
    lower(p->arch);
    lower(p->variant);
    drop_if_empty(&p->os);
    drop_if_empty(&p->arch);
    drop_if_empty(&p->variant);
    drop_if_empty(&p->os_version);
    if (cb_streq(p->os, "macos"))
        replace(&p->os, "darwin");
    normalize_arch(p);
    normalize_variant(p);
}

void cb_platform_host(struct cb_platform *out)
{
    struct utsname u;
    if (uname(&u) < 0)
        abort(); /* only EFAULT is possible */
    cb_platform_done(out);
    out->os = cb_strdup(u.sysname);
    out->arch = cb_strdup(u.machine);
    cb_platform_normalize(out);
}

static bool is_one_of(const char *s, const char *const list[])
{
    for (size_t i = 0; list[i]; i++)
        if (strcmp(s, list[i]) == 0)
            return true;
    return false;
}

static bool is_known_os(const char *s)
{
    static const char *const list[] = {
        "linux",     "windows", "darwin",  "macos", "freebsd", "netbsd", "openbsd",
        "dragonfly", "solaris", "illumos", "aix",   "android", "plan9",  "js",
        "wasip1",    NULL,
    };
    return is_one_of(s, list);
}

static bool is_known_arch(const char *s)
{
    static const char *const list[] = {
        "amd64", "386",    "arm",    "arm64",    "arm64be", "ppc64", "ppc64le", "s390x", "riscv64",
        "mips",  "mipsle", "mips64", "mips64le", "loong64", "wasm",  NULL,
    };
    for (size_t i = 0; i < CB_COUNTOF(aliases); i++)
        if (strcmp(s, aliases[i].name) == 0)
            return true;
    return is_one_of(s, list);
}

#define PART_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-"

#define MAX_PART 64

/* Splits at slashes into at most three checked parts; how many, or 0 where the text is malformed. */
static size_t split(const char *text, char *parts[3])
{
    size_t n = 0;
    for (const char *s = text;; s++) {
        size_t len = strcspn(s, "/");
        if (n == 3 || !len || len > MAX_PART || strspn(s, PART_CHARS) < len)
            return 0;
        parts[n++] = cb_strndup(s, len);
        s += len;
        if (!*s)
            return n;
    }
}

/* One word is a system or an architecture; the host is the rest. */
static int complete(struct cb_platform *p, struct cb_error *err)
{
    cb_cleanup_platform struct cb_platform host = { 0 };
    cb_platform_host(&host);
    lower(p->os);
    if (is_known_os(p->os)) {
        p->arch = CB_TAKE(host.arch);
        p->variant = CB_TAKE(host.variant);
        return 0;
    }
    if (!is_known_arch(p->os))
        return cb_error_set(err, CB_EUSAGE, "platform \"%s\": neither a known system nor a known architecture", p->os);
    p->arch = CB_TAKE(p->os);
    p->os = CB_TAKE(host.os);
    return 0;
}

int cb_platform_parse(struct cb_platform *out, const char *text, struct cb_error *err)
{
    char *parts[3] = { NULL, NULL, NULL };
    size_t n = split(text, parts);
    cb_cleanup_platform struct cb_platform p = { .os = parts[0], .arch = parts[1], .variant = parts[2] };
    if (!n)
        return cb_error_set(err, CB_EUSAGE, "platform \"%.200s\": not of the form os/arch or os/arch/variant", text);
    int r = n == 1 ? complete(&p, err) : 0;
    if (r < 0)
        return r;
    cb_platform_normalize(&p);
    if (p.variant && strlen(p.variant) > MAX_PART) /* a "v" was added */
        return cb_error_set(err, CB_EUSAGE, "platform \"%.200s\": the variant is too long", text);
    cb_platform_done(out);
    *out = p;
    p = (struct cb_platform){ 0 };
    return 0;
}

static bool same_but_version(const struct cb_platform *a, const struct cb_platform *b)
{
    return cb_streq(a->os, b->os) && cb_streq(a->arch, b->arch) && cb_streq(a->variant, b->variant);
}

bool cb_platform_eq(const struct cb_platform *a, const struct cb_platform *b)
{
    return same_but_version(a, b) && cb_streq(a->os_version, b->os_version);
}

bool cb_platform_means(const struct cb_platform *name, const struct cb_platform *is)
{
    return same_but_version(name, is) && (!name->os_version || cb_streq(name->os_version, is->os_version));
}

struct level {
    unsigned major, minor;
};

/* "v8.2" → 8, 2; `base` where there is no variant; false where it is no number. */
static bool read_level(const char *variant, unsigned base, struct level *out)
{
    *out = (struct level){ base, 0 };
    if (!variant)
        return true;
    const char *dot = strchr(variant, '.');
    uint64_t major, minor = 0;
    cb_autofree char *head = cb_strndup(variant, dot ? (size_t)(dot - variant) : strlen(variant));
    if (head[0] != 'v' || !cb_parse_u64(head + 1, 99, &major) || (dot && !cb_parse_u64(dot + 1, 99, &minor)))
        return false;
    *out = (struct level){ (unsigned)major, (unsigned)minor };
    return true;
}

/* Armv9.0 includes v8.5, v9.1 includes v8.6 and so on. */
static unsigned arm64_features(struct level l)
{
    return l.major >= 9 ? l.minor + 5 : l.minor;
}

enum { SIBLING = 1000, SAME = 100000 };

static int match_levels(const char *want, const char *have, unsigned base)
{
    struct level w, h;
    if (cb_streq(want, have))
        return SAME + 9999;
    if (!read_level(want, base, &w) || !read_level(have, base, &h))
        return 0;
    if (h.major > w.major || arm64_features(h) > arm64_features(w))
        return 0;
    return SAME + (int)(h.major * 100 + h.minor);
}

static int match_arch(const struct cb_platform *want, const struct cb_platform *have)
{
    const char *arch = want->arch;
    if (cb_streq(arch, have->arch)) {
        if (cb_streq(arch, "arm"))
            return match_levels(want->variant, have->variant, 7);
        if (cb_streq(arch, "arm64"))
            return match_levels(want->variant, have->variant, 8);
        if (cb_streq(arch, "amd64"))
            return match_levels(want->variant, have->variant, 1);
        return cb_streq(want->variant, have->variant) ? SAME : 0;
    }
    if (cb_streq(arch, "amd64") && cb_streq(have->arch, "386"))
        return SIBLING;
    if (cb_streq(arch, "arm64") && cb_streq(have->arch, "arm")) {
        int r = match_levels("v8", have->variant, 7);
        return r ? r - SAME + SIBLING : 0;
    }
    return 0;
}

/* How many characters the first three dotted parts take. */
static size_t build_length(const char *version)
{
    size_t n = 0;
    for (int dots = 0; version[n]; n++)
        if (version[n] == '.' && ++dots == 3)
            break;
    return n;
}

static bool os_version_agrees(const struct cb_platform *want, const struct cb_platform *have)
{
    if (!cb_streq(want->os, "windows") || !want->os_version || !have->os_version)
        return true;
    size_t n = build_length(want->os_version);
    return n == build_length(have->os_version) && strncmp(want->os_version, have->os_version, n) == 0;
}

int cb_platform_match(const struct cb_platform *want, const struct cb_platform *have)
{
    cb_cleanup_platform struct cb_platform w = { 0 }, h = { 0 };
    cb_platform_copy(&w, want);
    cb_platform_copy(&h, have);
    cb_platform_normalize(&w);
    cb_platform_normalize(&h);
    /* Where the image does not say, it is not refused, but anything that does say is better. */
    bool os = !h.os || cb_streq(w.os, h.os), silent = !h.os || !h.arch;
    if (!os || !os_version_agrees(&w, &h))
        return 0;
    int score = h.arch ? match_arch(&w, &h) : 1;
    return silent && score ? 1 : score;
}

void cb_strbuf_add_platform(struct cb_strbuf *sb, const struct cb_platform *p)
{
    cb_strbuf_addf(sb, "%s/%s", p->os ? p->os : "unknown", p->arch ? p->arch : "unknown");
    if (p->variant)
        cb_strbuf_addf(sb, "/%s", p->variant);
}
