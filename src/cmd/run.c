/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <stdio.h>
#include <unistd.h>

#include "cmd/session.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"

struct run_options {
    struct cb_common common;
    struct cb_strvec publish, env, env_file, volume;
    const char *workdir, *user, *entrypoint, *hostname, *network, *pull, *memory, *platform;
    bool interactive, tty, remove, read_only;
};

#define AT(field) offsetof(struct run_options, field)
static const struct cb_opt options[] = {
    { "publish", 'p', CB_OPT_LIST, AT(publish), "[IP:]HOST:PORT", "forward a port of this machine", NULL },
    { "env", 'e', CB_OPT_LIST, AT(env), "K[=V]", "environment; K alone: from ours", NULL },
    { "env-file", 0, CB_OPT_LIST, AT(env_file), "FILE", "environment, one K=V a line", NULL },
    { "volume", 'v', CB_OPT_LIST, AT(volume), "/SRC:/DST[:ro]", "bind mount", NULL },
    { "workdir", 'w', CB_OPT_STRING, AT(workdir), "DIR", "working directory", NULL },
    { "user", 'u', CB_OPT_STRING, AT(user), "USER[:GROUP]", "who it runs as", NULL },
    { "entrypoint", 0, CB_OPT_STRING, AT(entrypoint), "PROGRAM", "instead of the image's ENTRYPOINT", NULL },
    { "interactive", 'i', CB_OPT_FLAG, AT(interactive), NULL, "keep standard input", NULL },
    { "tty", 't', CB_OPT_FLAG, AT(tty), NULL, "give it a terminal", NULL },
    { "rm", 0, CB_OPT_FLAG, AT(remove), NULL, "remove it at its end (always the case)", NULL },
    { "network", 0, CB_OPT_STRING, AT(network), "MODE", "host, none, private (default: private if -p, else host)",
      NULL },
    { "hostname", 'h', CB_OPT_STRING, AT(hostname), "NAME", "its host name", NULL },
    { "memory", 'm', CB_OPT_STRING, AT(memory), "BYTES", "memory limit, such as 512m", NULL },
    { "read-only", 0, CB_OPT_FLAG, AT(read_only), NULL, "read-only root file system", NULL },
    { "pull", 0, CB_OPT_STRING, AT(pull), "POLICY", "always, missing (default), never", NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "platform of an image with several", NULL },
    CB_OPT_COMMON_ISOLATION(run_options),
    CB_OPT_COMMON_PROGRESS(run_options),
    CB_OPT_COMMON_REGISTRY(run_options),
    CB_OPT_COMMON_STORE(run_options),
    CB_OPT_END,
};

struct run_input {
    struct run_options cli;
    struct cb_strvec operands, command, env;
    struct cb_port *ports;
    enum cb_pull_policy pull;
    struct cb_run_options o;
};

static void input_done(struct run_input *in)
{
    struct cb_strvec *const lists[] = { &in->cli.publish, &in->cli.env, &in->cli.env_file, &in->cli.volume,
                                        &in->operands, &in->command, &in->env };
    for (size_t i = 0; i < CB_COUNTOF(lists); i++)
        cb_strvec_done(lists[i]);
    for (size_t i = 0; i < in->o.n_ports; i++)
        free(in->ports[i].host_ip);
    free(in->ports);
    cb_common_done(&in->cli.common);
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

static void take_env_word(struct run_input *in, const char *word)
{
    const char *v = strchr(word, '=') ? NULL : getenv(word);
    if (strchr(word, '='))
        cb_strvec_push(&in->env, word);
    else if (v)
        cb_strvec_pushf(&in->env, "%s=%s", word, v);
}

static int take_env_file(struct run_input *in, const char *path, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_file_slurp(path, 1u << 20, &text, err);
    if (r < 0)
        return cb_error_wrap(err, "--env-file");
    for (char *line = text.buf, *next; *line; line = next) {
        char *nl = strchrnul(line, '\n');
        next = *nl ? nl + 1 : nl;
        *nl = '\0';
        if (*line && *line != '#')
            take_env_word(in, line);
    }
    return 0;
}

/* A port that is the same on both sides needs no namespace of its own on the host's network. */
static int take_network(struct run_input *in, struct cb_error *err)
{
    in->o.network = in->o.n_ports ? CB_NETWORK_PRIVATE : CB_NETWORK_HOST;
    int r = in->cli.network ? cb_network_parse(in->cli.network, &in->o.network, err) : 0;
    for (size_t i = 0; r == 0 && in->o.network == CB_NETWORK_HOST && i < in->o.n_ports; i++)
        if (in->ports[i].host != in->ports[i].container)
            r = cb_error_set(err, CB_EUSAGE, "-p %u:%u: on the host's network a port cannot become another: "
                                             "use --network private", in->ports[i].host, in->ports[i].container);
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

static int make_options(struct run_input *in, struct cb_error *err)
{
    struct cb_run_options *o = &in->o;
    int r = take_ports(in, err);
    for (size_t i = 0; r == 0 && i < in->cli.env_file.n; i++)
        r = take_env_file(in, in->cli.env_file.v[i], err);
    for (size_t i = 0; i < in->cli.env.n; i++)
        take_env_word(in, in->cli.env.v[i]);
    if (r == 0)
        r = take_network(in, err);
    if (r == 0 && in->cli.pull)
        r = cb_pull_policy_parse(in->cli.pull, &in->pull, err);
    if (r == 0 && in->cli.memory && !cb_parse_bytes(in->cli.memory, &o->memory_max))
        r = cb_error_set(err, CB_EUSAGE, "--memory %s: write a size such as 512m", in->cli.memory);
    if (r == 0 && in->cli.tty && in->cli.interactive && !isatty(STDIN_FILENO))
        r = cb_error_set(err, CB_EUSAGE, "-t: standard input is no terminal");
    for (size_t i = 1; i < in->operands.n; i++)
        cb_strvec_push(&in->command, in->operands.v[i]);
    o->command = &in->command;
    o->entrypoint = in->cli.entrypoint;
    o->env = &in->env;
    o->workdir = in->cli.workdir;
    o->user = in->cli.user;
    o->hostname = in->cli.hostname;
    o->volumes = &in->cli.volume;
    o->interactive = in->cli.interactive;
    o->tty = in->cli.tty;
    o->readonly = in->cli.read_only;
    return r;
}

static int find_image(struct cb_session *s, const struct run_input *in, struct cb_found_image *f, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_platform platform cb_cleanup_platform = { 0 };
    struct cb_find_options find = { .ref = &ref, .platform = &platform, .policy = in->pull };
    const char *name = in->operands.v[0];
    int r = in->cli.platform ? cb_platform_parse(&platform, in->cli.platform, err) : 0;
    if (r == 0 && in->pull != CB_PULL_ALWAYS && cb_store_find(s->store, name, &desc, NULL, NULL) == 0)
        return cb_image_load(s->store, &desc, in->cli.platform ? &platform : NULL, &f->image, err);
    if (!in->cli.platform)
        cb_platform_host(&platform);
    if (r == 0)
        r = cb_reference_parse(&ref, name, err);
    if (r == 0)
        r = cb_session_name_host(s, ref.host, err);
    return r < 0 ? r : cb_build_resolve(&s->env, &find, f, err);
}

static int start(struct run_input *in, const struct cb_process *p, int *status, struct cb_error *err)
{
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_found_image f cb_cleanup_found_image = { 0 };
    if (!in->cli.common.progress)
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
    struct run_input in = { .cli.common = CB_COMMON_INIT };
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
    .summary = "run a command in an image; what it changes is dropped at its end",
    .operands = "[OPTIONS] IMAGE [COMMAND [ARG]…]",
    .options = options,
    .userns = true,
    .run = run,
};
