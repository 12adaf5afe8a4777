/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "exec/limits.h"
#include "util/alloc.h"
#include "util/encode.h"

static const struct {
    const char *name;
    int resource;
} names[] = {
    { "as", RLIMIT_AS },         { "core", RLIMIT_CORE },     { "cpu", RLIMIT_CPU },
    { "data", RLIMIT_DATA },     { "fsize", RLIMIT_FSIZE },   { "locks", RLIMIT_LOCKS },
    { "memlock", RLIMIT_MEMLOCK }, { "msgqueue", RLIMIT_MSGQUEUE }, { "nice", RLIMIT_NICE },
    { "nofile", RLIMIT_NOFILE }, { "nproc", RLIMIT_NPROC },   { "rss", RLIMIT_RSS },
    { "rtprio", RLIMIT_RTPRIO }, { "rttime", RLIMIT_RTTIME }, { "sigpending", RLIMIT_SIGPENDING },
    { "stack", RLIMIT_STACK },
};

const char *cb_ulimit_name(int resource)
{
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        if (names[i].resource == resource)
            return names[i].name;
    return "limit";
}

static int find_resource(const char *name, size_t n)
{
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        if (strlen(names[i].name) == n && !strncmp(names[i].name, name, n))
            return names[i].resource;
    return -1;
}

static bool parse_value(const char *text, uint64_t *out)
{
    if (!strcmp(text, "-1") || !strcmp(text, "unlimited")) {
        *out = UINT64_MAX;
        return true;
    }
    return cb_parse_u64(text, INT64_MAX, out);
}

int cb_ulimit_parse(struct cb_ulimit *out, const char *text, struct cb_error *err)
{
    const char *eq = strchrnul(text, '=');
    const char *colon = *eq ? strchr(eq, ':') : NULL;
    out->resource = find_resource(text, (size_t)(eq - text));
    if (!*eq)
        return cb_error_set(err, CB_EUSAGE, "--ulimit %s: write NAME=SOFT[:HARD], such as nofile=1024:4096", text);
    if (out->resource < 0)
        return cb_error_set(err, CB_EUSAGE, "--ulimit %s: there is no limit named \"%.*s\"", text, (int)(eq - text),
                            text);
    cb_autofree char *soft = cb_strndup(eq + 1, colon ? (size_t)(colon - eq - 1) : strlen(eq + 1));
    if (!parse_value(soft, &out->soft) || !parse_value(colon ? colon + 1 : soft, &out->hard))
        return cb_error_set(err, CB_EUSAGE, "--ulimit %s: a limit is a number, or -1 for none", text);
    if (out->soft > out->hard)
        return cb_error_set(err, CB_EUSAGE, "--ulimit %s: the soft limit is above the hard one", text);
    return 0;
}

void cb_limits_done(struct cb_limits *l)
{
    free(l->ulimits);
    *l = (struct cb_limits){ 0 };
}

bool cb_limits_need_cgroup(const struct cb_limits *l)
{
    return l && (l->memory || l->memory_swap || l->cpu_period || l->cpu_quota || l->cpu_shares || l->cpuset_cpus ||
                 l->cpuset_mems || l->pids || l->cgroup_parent);
}
