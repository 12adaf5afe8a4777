/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/build_limits.h"
#include "cmd/remote.h"
#include "cmd/run_refused.h"
#include "cmd/session.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"

struct run_options {
    struct cb_common common;
    struct cb_strvec publish, env, env_file, volume, tmpfs, add_host;
    const char *workdir, *user, *entrypoint, *hostname, *network, *pull, *platform;
    bool interactive, tty, read_only, no_healthcheck, quiet;
    int remove, init;
    struct limit_options limits;
    struct refused_options refused;
};
#define RUN_OPTIONS_INIT { .common = CB_COMMON_INIT, .remove = -1, .init = -1 }

#define AT(field) offsetof(struct run_options, field)
static const struct cb_opt options[] = {
    { "publish", 'p', CB_OPT_LIST, AT(publish), "[IP:]HOST:PORT", "forward a port of this machine", NULL },
    { "env", 'e', CB_OPT_LIST, AT(env), "K[=V]", "environment; K alone: as ours, or unset", NULL },
    { "env-file", 0, CB_OPT_LIST, AT(env_file), "FILE", "environment, one K=V a line", NULL },
    { "volume", 'v', CB_OPT_LIST, AT(volume), "/SRC:/DST[:ro]", "bind mount", NULL },
    { "tmpfs", 0, CB_OPT_LIST, AT(tmpfs), "/DST[:OPTIONS]", "mount in memory: size=64m, mode=1777, ro", NULL },
    { "workdir", 'w', CB_OPT_STRING, AT(workdir), "DIR", "working directory", NULL },
    { "user", 'u', CB_OPT_STRING, AT(user), "USER[:GROUP]", "who it runs as", NULL },
    { "entrypoint", 0, CB_OPT_STRING, AT(entrypoint), "PROGRAM", "instead of the image's ENTRYPOINT", NULL },
    { "interactive", 'i', CB_OPT_FLAG, AT(interactive), NULL, "keep standard input", NULL },
    { "tty", 't', CB_OPT_FLAG, AT(tty), NULL, "give it a terminal", NULL },
    { "rm", 0, CB_OPT_TRISTATE, AT(remove), NULL, "remove it at its end (always the case)", NULL },
    { "init", 0, CB_OPT_TRISTATE, AT(init), NULL, "a PID 1 that reaps (always the case)", NULL },
    { "no-healthcheck", 0, CB_OPT_FLAG, AT(no_healthcheck), NULL, "do not run HEALTHCHECK (always the case)", NULL },
    { "network", 0, CB_OPT_STRING, AT(network), "MODE", "host, none, private (default: private if -p, else host)",
      NULL, "host|none|private" },
    { "net", 0, CB_OPT_STRING, AT(network), "MODE", NULL, NULL, "host|none|private" },
    { "add-host", 0, CB_OPT_LIST, AT(add_host), "HOST:IP", "line of /etc/hosts; IP may be host-gateway", NULL },
    { "hostname", 'h', CB_OPT_STRING, AT(hostname), "NAME", "its host name", NULL },
    { "read-only", 0, CB_OPT_FLAG, AT(read_only), NULL, "read-only root file system, but for VOLUMEs", NULL },
    { "pull", 0, CB_OPT_STRING, AT(pull), "POLICY", "always, missing (default), never", NULL,
      "always|missing|never" },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "no progress", NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "platform of an image with several", NULL },
    CB_OPT_COMMON_ISOLATION(run_options),
    CB_OPT_COMMON_PROGRESS(run_options),
    CB_OPT_COMMON_REGISTRY(run_options),
    CB_OPT_COMMON_RETRY(run_options),
    CB_OPT_COMMON_STORE(run_options),
    CB_OPT_END,
};

static const struct cb_opt_group groups[] = {
    { "what it may use", limit_run_opts, AT(limits) },
    { "of docker run", refused_opts, AT(refused) },
    { NULL, NULL, 0 },
};

struct run_input {
    struct run_options cli;
    struct cb_strvec operands, command, env, hosts;
    struct limit_values limits;
    struct cb_dns dns;
    struct cb_port *ports;
    enum cb_pull_policy pull;
    struct cb_run_options o;
};

static void input_done(struct run_input *in)
{
    struct run_options *c = &in->cli;
    struct cb_strvec *const lists[] = { &c->publish, &c->env, &c->env_file, &c->volume, &c->tmpfs, &c->add_host,
                                        &in->operands, &in->command, &in->env, &in->hosts };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
    for (size_t i = 0; i < in->o.n_ports; i++)
        free(in->ports[i].host_ip);
    free(in->ports);
    limit_options_done(&c->limits);
    limit_values_done(&in->limits);
    refused_options_done(&c->refused);
    cb_common_done(&c->common);
}

static bool port_number(const char *s, size_t n, uint16_t *out)
{
    cb_autofree char *text = cb_strndup(s, n);
    uint64_t v;
    if (!cb_parse_u64(text, 65535, &v) || v == 0)
        return false;
    *out = (uint16_t)v;
    return true;
}

static bool is_address(const char *s)
{
    unsigned char raw[16];
    return inet_pton(AF_INET, s, raw) == 1;
}

/* [IP:]HOST:CONTAINER[/tcp] */
static int take_port(struct run_input *in, const char *spec, struct cb_error *err)
{
    struct cb_port *p = &in->ports[in->o.n_ports];
    const char *end = strchrnul(spec, '/');
    const char *last = memrchr(spec, ':', (size_t)(end - spec));
    const char *first = last ? memrchr(spec, ':', (size_t)(last - spec)) : NULL;
    const char *host = first ? first + 1 : spec;
    if (*end && strcmp(end, "/tcp"))
        return cb_error_set(err, CB_EUSAGE, "-p %s: only tcp is forwarded", spec);
    if (strchr(spec, '-'))
        return cb_error_set(err, CB_EUSAGE, "-p %s: ranges are not supported: give each port a -p of its own", spec);
    if (!last || !port_number(host, (size_t)(last - host), &p->host) ||
        !port_number(last + 1, (size_t)(end - last - 1), &p->container))
        return cb_error_set(err, CB_EUSAGE, "-p %s: write [IP:]HOST_PORT:PORT", spec);
    cb_autofree char *ip = first ? cb_strndup(spec, (size_t)(first - spec)) : NULL;
    if (ip && !is_address(ip))
        return cb_error_set(err, CB_EUSAGE, "-p %s: \"%s\" is no IPv4 address", spec, ip);
    p->host_ip = CB_TAKE(ip);
    in->o.n_ports++;
    return 0;
}

static int take_ports(struct run_input *in, struct cb_error *err)
{
    int r = 0;
    in->ports = cb_calloc(in->cli.publish.n + 1, sizeof *in->ports);
    for (size_t i = 0; r == 0 && i < in->cli.publish.n; i++)
        r = take_port(in, in->cli.publish.v[i], err);
    in->o.ports = in->ports;
    return r;
}

static int take_env_word(struct run_input *in, const char *word, struct cb_error *err)
{
    const char *v = strchr(word, '=') ? NULL : getenv(word);
    if (!*word || *word == '=')
        return cb_error_set(err, CB_EUSAGE, "environment \"%s\": there is no name before the =", word);
    if (strchr(word, '='))
        cb_strvec_push(&in->env, word);
    else if (v)
        cb_strvec_pushf(&in->env, "%s=%s", word, v);
    return 0;
}

/* As Docker reads it: blanks before a name are left out, and none may be in it; the value is taken as it stands. */
static int take_env_line(struct run_input *in, char *line, struct cb_error *err)
{
    static const char blanks[] = " \t\r\v\f";
    size_t n = strlen(line);
    if (n && line[n - 1] == '\r')
        line[n - 1] = '\0';
    line += strspn(line, blanks);
    if (!*line || *line == '#')
        return 0;
    if (strcspn(line, blanks) < strcspn(line, "="))
        return cb_error_set(err, CB_EUSAGE, "\"%.64s\": a name has no blanks: write NAME=VALUE", line);
    return take_env_word(in, line, err);
}

static int take_env_file(struct run_input *in, const char *path, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_file_slurp(path, 1u << 20, &text, err);
    if (r < 0)
        return cb_error_wrap(err, "--env-file");
    if (memchr(text.buf, '\0', text.len))
        return cb_error_set(err, CB_EUSAGE, "--env-file %s: it is no text", path);
    for (char *line = text.buf, *next; r == 0 && *line; line = next) {
        char *nl = strchrnul(line, '\n');
        next = *nl ? nl + 1 : nl;
        *nl = '\0';
        r = take_env_line(in, line, err);
    }
    return r < 0 ? cb_error_wrap(err, "--env-file %s", path) : 0;
}

static int take_env(struct run_input *in, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < in->cli.env_file.n; i++)
        r = take_env_file(in, in->cli.env_file.v[i], err);
    for (size_t i = 0; r == 0 && i < in->cli.env.n; i++) {
        const char *word = in->cli.env.v[i];
        r = take_env_word(in, word, err);
        if (!strchr(word, '=') && !getenv(word))
            cb_strvec_push(&in->env, word); /* of option alone, and not of a file, it takes away the image's */
    }
    return r;
}

/* On the host's network a port is there without being forwarded; what -p says more of it cannot be kept. */
static int check_host_ports(struct run_input *in, struct cb_error *err)
{
    for (size_t i = 0; i < in->o.n_ports; i++) {
        const struct cb_port *p = &in->ports[i];
        if (p->host != p->container)
            return cb_error_set(err, CB_EUSAGE, "-p %u:%u: on the host's network a port cannot become another: "
                                                "use --network private", p->host, p->container);
        if (p->host_ip)
            return cb_error_set(err, CB_EUSAGE, "-p %s:%u:%u: on the host's network the command says by itself on "
                                                "which address it listens: use --network private", p->host_ip, p->host,
                                p->container);
    }
    in->o.n_ports = 0;
    return 0;
}

static int take_network(struct run_input *in, struct cb_error *err)
{
    in->o.network = in->o.n_ports ? CB_NETWORK_PRIVATE : CB_NETWORK_HOST;
    bool bridge = in->cli.network && !strcmp(in->cli.network, "bridge"); /* Docker's word for private */
    int r = in->cli.network ? cb_network_parse(bridge ? "private" : in->cli.network, &in->o.network, err) : 0;
    if (r == 0 && in->o.network == CB_NETWORK_HOST)
        r = check_host_ports(in, err);
    if (r == 0 && in->o.network == CB_NETWORK_NONE && in->o.n_ports)
        r = cb_error_set(err, CB_EUSAGE, "-p and --network none contradict each other");
    return r;
}

/* pasta would share a port with one who listens on another address of it: a container that nobody reaches. */
static int port_is_free(const struct cb_port *p, struct cb_error *err)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(p->host), .sin_addr.s_addr = htonl(INADDR_ANY) };
    cb_autoclose int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->host_ip)
        inet_pton(AF_INET, p->host_ip, &a.sin_addr);
    if (s < 0 || setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int)) < 0 ||
        bind(s, (struct sockaddr *)&a, sizeof a) < 0 || listen(s, 1) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "-p: port %u", p->host);
    return 0;
}

static int ports_are_free(const struct run_input *in, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && in->o.network == CB_NETWORK_PRIVATE && i < in->o.n_ports; i++)
        r = port_is_free(&in->ports[i], err);
    return r;
}

/* What is always the case cannot be turned off. */
static int check_flags(const struct run_options *c, struct cb_error *err)
{
    if (c->remove == 0)
        return cb_error_set(err, CB_EUSAGE, "--rm=false: what a container changes is always dropped at its end");
    if (c->init == 0)
        return cb_error_set(err, CB_EUSAGE, "--init=false: there is always a PID 1 that reaps and passes signals on");
    if (c->tty && c->interactive && !isatty(STDIN_FILENO))
        return cb_error_set(err, CB_EUSAGE, "-t: standard input is no terminal");
    return refused_options_check(&c->refused, err);
}

static void fill_options(struct run_input *in)
{
    struct cb_run_options *o = &in->o;
    for (size_t i = 1; i < in->operands.n; i++)
        cb_strvec_push(&in->command, in->operands.v[i]);
    o->command = &in->command;
    o->entrypoint = in->cli.entrypoint;
    o->env = &in->env;
    o->workdir = in->cli.workdir;
    o->user = in->cli.user;
    o->hostname = in->cli.hostname;
    o->volumes = &in->cli.volume;
    o->tmpfs = &in->cli.tmpfs;
    o->extra_hosts = &in->hosts;
    o->dns = &in->dns;
    o->limits = &in->limits.limits;
    o->interactive = in->cli.interactive;
    o->tty = in->cli.tty;
    o->readonly = in->cli.read_only;
}

static int make_options(struct run_input *in, struct cb_error *err)
{
    int r = check_flags(&in->cli, err);
    if (r == 0)
        r = take_ports(in, err);
    if (r == 0)
        r = take_env(in, err);
    if (r == 0)
        r = take_network(in, err);
    if (r == 0 && in->cli.pull)
        r = cb_pull_policy_parse(in->cli.pull, &in->pull, err);
    if (r == 0)
        r = limit_options_resources(&in->cli.limits, &in->limits, &in->dns, err);
    if (r == 0)
        r = limit_hosts_take(&in->cli.add_host, &in->hosts, err);
    fill_options(in);
    return r;
}

/* An image that is no index is found whatever platform was asked for. */
static int check_platform(const char *name, const struct cb_platform *wanted, const struct cb_platform *is,
                          struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (cb_platform_match(wanted, is) > 0)
        return 0;
    cb_strbuf_add_platform(&text, is);
    cb_strbuf_adds(&text, ", not ");
    cb_strbuf_add_platform(&text, wanted);
    return cb_error_set(err, CB_ECONF, "%s is for %s", name, text.buf);
}

static int find(struct cb_session *s, const struct run_input *in, const struct cb_platform *platform,
                struct cb_found_image *f, struct cb_error *err)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_find_options o = { .ref = &ref, .platform = platform, .policy = in->pull, .layers = true };
    const char *name = in->operands.v[0];
    if (cb_starts_with(name, "docker://")) /* as podman's run has it: the store first, all the same */
        name += strlen("docker://");
    int r = in->pull == CB_PULL_ALWAYS ? -CB_ENOTFOUND : cb_store_find(s->store, name, &desc, NULL, err);
    if (r == 0)
        return cb_image_load(s->store, &desc, in->cli.platform ? platform : NULL, &f->image, err);
    if (r != -CB_ENOTFOUND)
        return r;
    cb_error_done(err);
    r = cb_check_no_place(name, "write the name of an image, of the store or of a registry", err);
    if (r == 0)
        r = cb_reference_parse_word(&ref, name, err);
    if (r == 0)
        r = cb_session_name_host(s, ref.host, err);
    return r < 0 ? r : cb_build_resolve(&s->env, &o, f, err);
}

static int find_image(struct cb_session *s, const struct run_input *in, struct cb_found_image *f, struct cb_error *err)
{
    struct cb_platform platform cb_cleanup_platform = { 0 };
    int r = in->cli.platform ? cb_platform_parse(&platform, in->cli.platform, err) : 0;
    if (!in->cli.platform)
        cb_platform_host(&platform);
    if (r == 0)
        r = find(s, in, &platform, f, err);
    if (r == 0 && in->cli.platform)
        r = check_platform(in->operands.v[0], &platform, &f->image.config.platform, err);
    return r;
}

static int start(struct run_input *in, const struct cb_process *p, int *status, struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_found_image f cb_cleanup_found_image = { 0 };
    if (in->cli.quiet)
        in->cli.common.progress = "quiet";
    else if (!in->cli.common.progress)
        in->cli.common.progress = isatty(STDERR_FILENO) ? "auto" : "quiet";
    int r = ports_are_free(in, err);
    if (r == 0)
        r = cb_session_open(&s, p, &in->cli.common, "Running", err);
    if (r == 0)
        r = find_image(&s, in, &f, err);
    if (r == 0)
        r = cb_build_run_image(&s.env, &f, &in->o, status, err);
    return r;
}

static int run(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv, int *status,
               struct cb_error *err)
{
    struct run_input in = { .cli = RUN_OPTIONS_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &in.cli, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX,
                              .stop_at_operand = true };
    int r = cb_verb_args(&a, err);
    in.operands = a.operands;
    if (r == 0 && !a.done) {
        r = make_options(&in, err);
        if (r == 0)
            r = start(&in, p, status, err);
    }
    input_done(&in);
    return r;
}

const struct cb_verb cb_verb_run = {
    .name = "run",
    .topic = CB_TOPIC_BUILD,
    .summary = "run a command in an image; what it changes is dropped at its end",
    .operands = "[OPTIONS] IMAGE [COMMAND [ARG]…]",
    .details = "The status is that of the command: 128 + the signal that ended it, 127 where there is no such\n"
               "program, 126 where it cannot be executed. Failures of cbpush itself have numbers of their own\n"
               "(Docker: 125). TERM, INT and HUP are passed on to the command (STOPSIGNAL is for docker stop); what\n"
               "still runs 10 seconds later, or at a second INT, is killed, and the status is 128 + the signal that\n"
               "cbpush got. HEALTHCHECK is not run.",
    .options = options,
    .groups = groups,
    .userns = true,
    .run = run,
};
