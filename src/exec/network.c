/* SPDX-License-Identifier: Apache-2.0 */
#include "exec/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "util/mnt.h"
#include "exec/sandbox.h"
#include "util/alloc.h"
#include "util/fd.h"

#define MAX_RESOLV (64u << 10)
#define RESOLVED_UPSTREAM "/run/systemd/resolve/resolv.conf"

/* Podman's and Docker's words for one of ours; options may follow. */
static const char *same_as(const char *text)
{
    static const struct { const char *word, *ours; } rows[] = {
        { "bridge", "private: a network of its own, by pasta" },
        { "pasta", "private: a network of its own, by pasta" },
        { "slirp4netns", "private: a network of its own, by pasta" },
        { "container", "host: there are no networks of other containers" },
        { "ns", "host, and start cbpush in that network namespace" },
    };
    size_t n = strcspn(text, ":");
    for (size_t i = 0; i < CB_COUNTOF(rows); i++)
        if (strlen(rows[i].word) == n && !strncmp(rows[i].word, text, n))
            return rows[i].ours;
    return NULL;
}

int cb_network_parse(const char *text, enum cb_network *out, struct cb_error *err)
{
    static const struct {
        const char *name;
        enum cb_network value;
    } names[] = {
        { "default", CB_NETWORK_HOST }, { "host", CB_NETWORK_HOST }, { "none", CB_NETWORK_NONE },
        { "private", CB_NETWORK_PRIVATE },
    };
    for (size_t i = 0; i < CB_COUNTOF(names); i++) {
        if (cb_streq(text, names[i].name)) {
            *out = names[i].value;
            return 0;
        }
    }
    const char *ours = text ? same_as(text) : NULL;
    if (ours)
        return cb_error_set(err, CB_EUSAGE, "network %.64s: write %s", text, ours);
    return cb_error_set(err, CB_EUSAGE, "network %.64s: must be host, none, private or default", text ? text : "");
}

const char *cb_network_hostname(const struct cb_exec_spec *spec)
{
    return spec->hostname ? spec->hostname : "buildkitsandbox";
}

/* ---- /etc/hosts ---- */

static bool host_name_ok(const char *name, size_t n)
{
    static const char usual[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";
    return n > 0 && n <= 253 && strspn(name, usual) >= n;
}

static int add_extra(const char *entry, struct cb_strbuf *out, struct cb_error *err)
{
    unsigned char addr[16];
    size_t n = strcspn(entry, " \t");
    const char *ip = entry + n + strspn(entry + n, " \t");
    if (!host_name_ok(entry, n) || (inet_pton(AF_INET, ip, addr) != 1 && inet_pton(AF_INET6, ip, addr) != 1))
        return cb_error_set(err, CB_ECONF, "extra host `%.200s`: must be a name and an IP address", entry);
    cb_strbuf_addf(out, "%s\t%.*s\n", ip, (int)n, entry);
    return 0;
}

int cb_network_hosts(const char *hostname, const struct cb_strvec *extra, struct cb_strbuf *out, struct cb_error *err)
{
    if (!host_name_ok(hostname, strlen(hostname)) || strlen(hostname) > 64)
        return cb_error_set(err, CB_ECONF, "host name `%.100s`: letters, digits, `-`, `_` and `.`, at most 64",
                            hostname);
    cb_strbuf_addf(out,
                   "127.0.0.1\tlocalhost %s\n"
                   "::1\tlocalhost ip6-localhost ip6-loopback\n"
                   "fe00::0\tip6-localnet\n"
                   "ff00::0\tip6-mcastprefix\n"
                   "ff02::1\tip6-allnodes\n"
                   "ff02::2\tip6-allrouters\n",
                   hostname);
    for (size_t i = 0; extra && i < extra->n; i++) {
        int r = add_extra(extra->v[i], out, err);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- /etc/resolv.conf ---- */

static bool is_loopback_server(const char *line, size_t n)
{
    static const char word[] = "nameserver";
    if (n < sizeof word || strncmp(line, word, sizeof word - 1) != 0)
        return false;
    const char *p = line + sizeof word - 1;
    p += strspn(p, " \t");
    return cb_starts_with(p, "127.") || cb_starts_with(p, "::1");
}

/* Copies all lines but name servers on the loopback; tells whether a name server was left. */
static bool copy_reachable(const char *text, struct cb_strbuf *out)
{
    bool server = false;
    while (*text) {
        const char *end = strchrnul(text, '\n');
        size_t n = (size_t)(end - text);
        if (!is_loopback_server(text, n)) {
            cb_strbuf_add(out, text, n);
            cb_strbuf_addch(out, '\n');
            server |= n > 10 && strncmp(text, "nameserver", 10) == 0;
        }
        text = *end ? end + 1 : end;
    }
    return server;
}

static bool has_loopback_server(const char *text)
{
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, '\n');
        if (is_loopback_server(text, (size_t)(end - text)))
            return true;
    }
    return false;
}

void cb_network_resolv(enum cb_network mode, const char *host, const char *upstream, struct cb_strbuf *out)
{
    if (mode == CB_NETWORK_NONE)
        return;
    if (mode == CB_NETWORK_HOST) {
        cb_strbuf_adds(out, host);
        return;
    }
    if (copy_reachable(host, out))
        return;
    cb_cleanup_strbuf struct cb_strbuf other = CB_STRBUF_INIT;
    if (upstream && copy_reachable(upstream, &other)) {
        cb_strbuf_reset(out);
        cb_strbuf_add(out, other.buf, other.len);
    } else if (has_loopback_server(host)) {
        cb_strbuf_addf(out, "nameserver %s\n", CB_NETWORK_FORWARDED);
    }
}

/* ---- putting them in place ---- */

int cb_stage_write(struct cb_sandbox *sb, const char *name, const char *text, size_t n, struct cb_error *err)
{
    cb_autoclose int fd = openat(sb->stage, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "write %s", name) : cb_fd_write_all(fd, text, n, err);
}

/* Writable, as with Docker, but only a copy of this step: what it writes there reaches no image. */
static int put_file(struct cb_sandbox *sb, const char *name, const char *path, const struct cb_strbuf *text,
                    struct cb_error *err)
{
    int r = cb_stage_write(sb, name, text->buf, text->len, err);
    return r < 0 ? r : cb_rootfs_put(sb, cb_mnt_clone(sb->stage, name, false), path, CB_MNT_SAFEST, err);
}

static void slurp_or_nothing(const char *path, struct cb_strbuf *out)
{
    if (cb_file_slurp(path, MAX_RESOLV, out, NULL) < 0)
        cb_strbuf_reset(out);
}

/* host-gateway is where the machine itself can be reached: on its own network that is the loopback. Without a network
 * nobody is reached. */
static int reachable_hosts(const struct cb_exec_spec *spec, struct cb_strvec *out, struct cb_error *err)
{
    static const char gateway[] = " host-gateway";
    for (size_t i = 0; spec->extra_hosts && i < spec->extra_hosts->n; i++) {
        const char *line = spec->extra_hosts->v[i];
        if (!cb_ends_with(line, gateway))
            cb_strvec_push(out, line);
        else if (spec->network == CB_NETWORK_PRIVATE)
            return cb_error_set(err, CB_EUSAGE, "host-gateway: from a private network there is no way to this machine: "
                                                "use --network=host");
        else if (spec->network == CB_NETWORK_HOST)
            cb_strvec_pushf(out, "%.*s 127.0.0.1", (int)(strlen(line) - strlen(gateway)), line);
    }
    return 0;
}

static void resolv_text(const struct cb_exec_spec *spec, struct cb_strbuf *out)
{
    cb_cleanup_strbuf struct cb_strbuf ours = CB_STRBUF_INIT, upstream = CB_STRBUF_INIT;
    slurp_or_nothing("/etc/resolv.conf", &ours);
    if (spec->network == CB_NETWORK_PRIVATE)
        slurp_or_nothing(RESOLVED_UPSTREAM, &upstream);
    cb_network_resolv(spec->network, ours.buf, upstream.len ? upstream.buf : NULL, out);
    cb_network_dns(spec->dns, out);
}

bool cb_network_forwards(const struct cb_exec_spec *spec)
{
    cb_cleanup_strbuf struct cb_strbuf text = CB_STRBUF_INIT;
    resolv_text(spec, &text);
    return strstr(text.buf, "nameserver " CB_NETWORK_FORWARDED "\n");
}

int cb_network_texts(const struct cb_exec_spec *spec, struct cb_strbuf *hosts, struct cb_strbuf *resolv,
                     struct cb_error *err)
{
    cb_cleanup_strvec struct cb_strvec extra = CB_STRVEC_INIT;
    int r = reachable_hosts(spec, &extra, err);
    if (r == 0)
        r = cb_network_hosts(cb_network_hostname(spec), &extra, hosts, err);
    if (r < 0)
        return r;
    resolv_text(spec, resolv);
    return 0;
}

int cb_network_files(struct cb_sandbox *sb, struct cb_error *err)
{
    cb_cleanup_strbuf struct cb_strbuf hosts = CB_STRBUF_INIT, resolv = CB_STRBUF_INIT;
    const char *hostname = cb_network_hostname(sb->spec);
    int r = cb_network_texts(sb->spec, &hosts, &resolv, err);
    if (r < 0)
        return r;
    if (sethostname(hostname, strlen(hostname)) < 0 || setdomainname("(none)", 6) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "set the host name");
    r = put_file(sb, "hosts", "/etc/hosts", &hosts, err);
    return r < 0 ? r : put_file(sb, "resolv.conf", "/etc/resolv.conf", &resolv, err);
}

/* As Docker has them: nobody needs to be root for port 80 or a ping in a network of his own. Where /proc/sys cannot be
 * written (in a container) they stay as the kernel makes them. */
static void relax_network(void)
{
    static const char *const settings[][2] = { { "ip_unprivileged_port_start", "0" },
                                               { "ping_group_range", "0 2147483647" } };
    cb_autoclose int dir = open("/proc/sys/net/ipv4", O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; dir >= 0 && i < CB_COUNTOF(settings); i++) {
        cb_autoclose int fd = openat(dir, settings[i][0], O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
            (void)!write(fd, settings[i][1], strlen(settings[i][1]));
    }
}

int cb_network_loopback(struct cb_sandbox *sb, struct cb_error *err)
{
    struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
    if (sb->spec->network == CB_NETWORK_HOST)
        return 0;
    cb_autoclose int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (s < 0 || ioctl(s, SIOCSIFFLAGS, &ifr) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "bring the loopback interface up");
    relax_network();
    return 0;
}
