/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_limits.h"

#include <arpa/inet.h>

#include "util/alloc.h"
#include "util/encode.h"

#define CPU_PERIOD 100000 /* µs, for --cpus */

#define AT(field) offsetof(struct limit_options, field)
#define RESOURCES \
    { "ulimit", 0, CB_OPT_LIST, AT(ulimit), "NAME=SOFT[:HARD]", "resource limit, such as nofile=1024:4096", NULL },    \
    { "shm-size", 0, CB_OPT_STRING, AT(shm_size), "BYTES", "size of /dev/shm (64m)", NULL },                           \
    { "memory", 'm', CB_OPT_STRING, AT(memory), "BYTES", "memory limit, such as 512m", NULL },                         \
    { "memory-swap", 0, CB_OPT_STRING, AT(memory_swap), "BYTES", "memory and swap together; -1: no limit of swap",     \
      NULL },                                                                                                          \
    { "cpus", 0, CB_OPT_STRING, AT(cpus), "NUMBER", "processors, such as 1.5", NULL },                                 \
    { "cpu-period", 0, CB_OPT_STRING, AT(cpu_period), "USECS", "period of --cpu-quota (100000)", NULL },               \
    { "cpu-quota", 0, CB_OPT_STRING, AT(cpu_quota), "USECS", "processor time in a period", NULL },                     \
    { "cpu-shares", 'c', CB_OPT_STRING, AT(cpu_shares), "SHARES", "weight against others (1024)", NULL },              \
    { "cpuset-cpus", 0, CB_OPT_STRING, AT(cpuset_cpus), "LIST", "processors to run on, such as 0-2,4", NULL },         \
    { "cpuset-mems", 0, CB_OPT_STRING, AT(cpuset_mems), "LIST", "memory nodes to use", NULL },                         \
    { "pids-limit", 0, CB_OPT_STRING, AT(pids_limit), "N", "processes and threads at a time; -1: no limit", NULL },    \
    { "cgroup-parent", 0, CB_OPT_STRING, AT(cgroup_parent), "PATH", "cgroup that theirs are made in", NULL },          \
    { "dns", 0, CB_OPT_LIST, AT(dns), "IP", "name server instead of the host's", NULL },                               \
    { "dns-search", 0, CB_OPT_LIST, AT(dns_search), "DOMAIN", "search domain instead of the host's; .: none", NULL },  \
    { "dns-option", 0, CB_OPT_LIST, AT(dns_option), "OPTION", "option of resolv.conf instead of the host's", NULL }

const struct cb_opt limit_opts[] = {
    { "allow", 0, CB_OPT_LIST, AT(allow), "RIGHT", "let RUNs ask for network.host, security.insecure, device[=NAME]",
      NULL, "network.host|security.insecure|device" },
    RESOURCES,
    { "cdi-config-dir", 0, CB_OPT_LIST, AT(cdi_dirs), "DIR", "CDI specs (/etc/cdi, /var/run/cdi)", NULL },
    CB_OPT_END,
};

const struct cb_opt limit_run_opts[] = { RESOURCES, CB_OPT_END };

void limit_options_done(struct limit_options *o)
{
    struct cb_strvec *const lists[] = { &o->allow, &o->ulimit, &o->dns, &o->dns_search, &o->dns_option, &o->cdi_dirs };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
}

void limit_values_done(struct limit_values *v)
{
    cb_limits_done(&v->limits);
    cb_strvec_done(&v->devices);
}

/* ---- --allow ---- */

static int take_allow(const struct limit_options *cli, struct limit_values *v, struct cb_run_rights *to,
                      struct cb_error *err)
{
    for (size_t i = 0; i < cli->allow.n; i++) {
        const char *word = cli->allow.v[i];
        if (!strcmp(word, "network.host"))
            to->host_network = true;
        else if (!strcmp(word, "security.insecure"))
            to->insecure = true;
        else if (!strcmp(word, "device") || !strcmp(word, "device=*"))
            to->any_device = true;
        else if (cb_starts_with(word, "device=") && word[7])
            cb_strvec_push(&v->devices, word + 7);
        else
            return cb_error_set(err, CB_EUSAGE, "--allow %s: network.host, security.insecure, device or device=NAME",
                                word);
    }
    to->devices = &v->devices;
    return 0;
}

/* ---- numbers ---- */

static int take_bytes(const char *flag, const char *text, uint64_t *out, struct cb_error *err)
{
    if (!text || (cb_parse_bytes(text, out) && *out <= INT64_MAX))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "--%s %s: write a size such as 512m", flag, text);
}

static int take_number(const char *flag, const char *text, uint64_t max, uint64_t *out, struct cb_error *err)
{
    if (!text || cb_parse_u64(text, max, out))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "--%s %s: write a number", flag, text);
}

/* "1.5" processors as microseconds of a period; at most three digits behind the point count. */
static int take_cpus(const char *text, struct cb_limits *l, struct cb_error *err)
{
    uint64_t whole = 0, milli = 0;
    const char *dot = text ? strchrnul(text, '.') : NULL;
    if (!text)
        return 0;
    cb_autofree char *left = cb_strndup(text, (size_t)(dot - text));
    cb_autofree char *right = *dot ? cb_asprintf("%s000", dot + 1) : cb_strdup("000");
    bool ok = (!*left || cb_parse_u64(left, 100000, &whole)) && (*left || *dot) && strlen(right) <= 12 &&
              strspn(right, "0123456789") == strlen(right);
    for (size_t i = 0; ok && i < 3; i++)
        milli = milli * 10 + (uint64_t)(right[i] - '0');
    if (!ok || (whole == 0 && milli < 10))
        return cb_error_set(err, CB_EUSAGE, "--cpus %s: write a number of processors such as 1.5, at least 0.01", text);
    l->cpu_period = CPU_PERIOD;
    l->cpu_quota = whole * CPU_PERIOD + milli * (CPU_PERIOD / 1000);
    return 0;
}

static int take_cpu(const struct limit_options *cli, struct cb_limits *l, struct cb_error *err)
{
    if (cli->cpus && (cli->cpu_period || cli->cpu_quota))
        return cb_error_set(err, CB_EUSAGE, "--cpus says the same as --cpu-period and --cpu-quota: give one or the "
                                            "others");
    int r = take_cpus(cli->cpus, l, err);
    if (r == 0)
        r = take_number("cpu-period", cli->cpu_period, 1000000, &l->cpu_period, err);
    if (r == 0 && (!cli->cpu_quota || strcmp(cli->cpu_quota, "-1")))
        r = take_number("cpu-quota", cli->cpu_quota, INT64_MAX, &l->cpu_quota, err);
    if (r == 0)
        r = take_number("cpu-shares", cli->cpu_shares, 262144, &l->cpu_shares, err);
    if (r == 0 && l->cpu_period && l->cpu_period < 1000)
        r = cb_error_set(err, CB_EUSAGE, "--cpu-period %s: from 1000 to 1000000", cli->cpu_period);
    if (r == 0 && l->cpu_quota && l->cpu_quota < 1000)
        r = cb_error_set(err, CB_EUSAGE, "--cpu-quota %s: at least 1000", cli->cpu_quota);
    return r;
}

static int take_memory(const struct limit_options *cli, struct cb_limits *l, struct cb_error *err)
{
    uint64_t swap = 0;
    int r = take_bytes("memory", cli->memory, &l->memory, err);
    if (r < 0 || !cli->memory_swap)
        return r;
    if (!l->memory)
        return cb_error_set(err, CB_EUSAGE, "--memory-swap is memory and swap together: give --memory too");
    if (!strcmp(cli->memory_swap, "-1")) {
        l->memory_swap = -1;
        return 0;
    }
    r = take_bytes("memory-swap", cli->memory_swap, &swap, err);
    if (r == 0 && swap && swap < l->memory)
        return cb_error_set(err, CB_EUSAGE, "--memory-swap %s is less than --memory %s: it is memory and swap together",
                            cli->memory_swap, cli->memory);
    l->memory_swap = (int64_t)swap;
    return r;
}

static int take_ulimits(const struct limit_options *cli, struct cb_limits *l, struct cb_error *err)
{
    int r = 0;
    l->ulimits = cb_calloc(cli->ulimit.n + 1, sizeof *l->ulimits);
    for (size_t i = 0; r == 0 && i < cli->ulimit.n; i++)
        r = cb_ulimit_parse(&l->ulimits[l->n_ulimits++], cli->ulimit.v[i], err);
    return r;
}

/* ---- resolv.conf: nothing that could begin another line or word ---- */

static int check_words(const char *flag, const struct cb_strvec *list, struct cb_error *err)
{
    for (size_t i = 0; i < list->n; i++)
        if (!*list->v[i] || strpbrk(list->v[i], " \t\r\n\v\f#;"))
            return cb_error_set(err, CB_EUSAGE, "--%s %s: write one word", flag, list->v[i]);
    return 0;
}

static int take_dns(const struct limit_options *cli, struct cb_dns *to, struct cb_error *err)
{
    unsigned char raw[16];
    for (size_t i = 0; i < cli->dns.n; i++)
        if (inet_pton(AF_INET, cli->dns.v[i], raw) != 1 && inet_pton(AF_INET6, cli->dns.v[i], raw) != 1)
            return cb_error_set(err, CB_EUSAGE, "--dns %s: write an IP address", cli->dns.v[i]);
    int r = check_words("dns-search", &cli->dns_search, err);
    if (r == 0)
        r = check_words("dns-option", &cli->dns_option, err);
    *to = (struct cb_dns){ &cli->dns, &cli->dns_search, &cli->dns_option };
    return r;
}

int limit_options_resources(const struct limit_options *cli, struct limit_values *v, struct cb_dns *dns,
                            struct cb_error *err)
{
    struct cb_limits *l = &v->limits;
    int r = take_ulimits(cli, l, err);
    if (r == 0)
        r = take_bytes("shm-size", cli->shm_size, &l->shm_size, err);
    if (r == 0)
        r = take_memory(cli, l, err);
    if (r == 0)
        r = take_cpu(cli, l, err);
    if (r == 0 && (!cli->pids_limit || strcmp(cli->pids_limit, "-1")))
        r = take_number("pids-limit", cli->pids_limit, INT32_MAX, &l->pids, err);
    if (r == 0)
        r = take_dns(cli, dns, err);
    l->cpuset_cpus = cli->cpuset_cpus;
    l->cpuset_mems = cli->cpuset_mems;
    l->cgroup_parent = cli->cgroup_parent;
    return r;
}

int limit_options_take(const struct limit_options *cli, struct limit_values *v, struct cb_build_options *o,
                       struct cb_error *err)
{
    int r = take_allow(cli, v, &o->allow, err);
    if (r == 0)
        r = limit_options_resources(cli, v, &o->dns, err);
    o->limits = &v->limits;
    o->cdi_dirs = cli->cdi_dirs.n ? &cli->cdi_dirs : NULL;
    return r;
}

int limit_hosts_take(const struct cb_strvec *words, struct cb_strvec *out, struct cb_error *err)
{
    for (size_t i = 0; i < words->n; i++) {
        const char *word = words->v[i], *sep = word + strcspn(word, ":=");
        const char *ip = *sep ? sep + 1 : sep;
        size_t n = strlen(ip);
        if (!*ip || sep == word)
            return cb_error_set(err, CB_EUSAGE, "--add-host %s: write HOST:IP", word);
        bool brackets = n > 2 && ip[0] == '[' && ip[n - 1] == ']';
        cb_strvec_pushf(out, "%.*s %.*s", (int)(sep - word), word, (int)(brackets ? n - 2 : n),
                        brackets ? ip + 1 : ip);
    }
    return 0;
}
