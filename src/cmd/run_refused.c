/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/run_refused.h"

#include <string.h>

#define ONE "a container here lives as long as this command, and nothing can ask for it later"
#define STAYS "in a shell: cbpush run … & and, at the end, kill $!"
#define ALONE "one container knows of no other: reach it by -p, or by --network host"
#define SANDBOX "the sandbox always has Docker's default capabilities and seccomp profile"
#define SPACES "its namespaces are always its own (--network host shares the network)"
#define LOGS "its output is that of this command: redirect it"
#define HEALTH "health checks are not run: ask the container yourself, by -p"
#define STOP "TERM, INT and HUP reach the command as they come, and after 10 seconds it is killed"
#define DEVICE "run gives a container no devices of this machine"
#define LABELS "labels belong to images: cbpush build --label"

/* name, letter, what its value is (NULL: a flag), what to do */
#define REFUSED(X)                                                                                          \
    X("detach", 'd', NULL, STAYS)                                                                           \
    X("name", 0, "NAME", ONE)                                                                               \
    X("cidfile", 0, "FILE", ONE)                                                                            \
    X("label", 'l', "K=V", LABELS)                                                                          \
    X("label-file", 0, "FILE", LABELS)                                                                      \
    X("publish-all", 'P', NULL, "name each port: -p HOST_PORT:PORT")                                        \
    X("expose", 0, "PORT", "name each port: -p HOST_PORT:PORT")                                             \
    X("mount", 0, "SPEC", "write -v /SRC:/DST[:ro] or --tmpfs /DST")                                        \
    X("volumes-from", 0, "NAME", ALONE)                                                                     \
    X("link", 0, "NAME", ALONE)                                                                             \
    X("network-alias", 0, "NAME", ALONE)                                                                    \
    X("ip", 0, "IP", ALONE)                                                                                 \
    X("privileged", 0, NULL, SANDBOX)                                                                       \
    X("cap-add", 0, "NAME", SANDBOX)                                                                        \
    X("cap-drop", 0, "NAME", SANDBOX)                                                                       \
    X("security-opt", 0, "OPTION", SANDBOX)                                                                 \
    X("sysctl", 0, "K=V", SANDBOX)                                                                          \
    X("device", 0, "DEVICE", DEVICE)                                                                        \
    X("gpus", 0, "LIST", DEVICE)                                                                            \
    X("ipc", 0, "MODE", SPACES)                                                                             \
    X("pid", 0, "MODE", SPACES)                                                                             \
    X("uts", 0, "MODE", SPACES)                                                                             \
    X("userns", 0, "MODE", SPACES)                                                                          \
    X("cgroupns", 0, "MODE", SPACES)                                                                        \
    X("log-driver", 0, "NAME", LOGS)                                                                        \
    X("log-opt", 0, "OPTION", LOGS)                                                                         \
    X("attach", 'a', "STREAM", "-i attaches standard input; output and errors always are")                  \
    X("health-cmd", 0, "COMMAND", HEALTH)                                                                   \
    X("health-interval", 0, "DURATION", HEALTH)                                                             \
    X("health-retries", 0, "N", HEALTH)                                                                     \
    X("health-timeout", 0, "DURATION", HEALTH)                                                              \
    X("health-start-period", 0, "DURATION", HEALTH)                                                         \
    X("stop-signal", 0, "SIGNAL", STOP)                                                                     \
    X("stop-timeout", 0, "SECONDS", STOP)                                                                   \
    X("group-add", 0, "GROUP", "write -u USER:GROUP; the groups of /etc/group are a USER's anyway")

#define AS_OPTION(name, letter, arg, hint) { name, letter, CB_OPT_NOTED, offsetof(struct refused_options, said), arg, \
                                             NULL, NULL },
const struct cb_opt refused_opts[] = {
    REFUSED(AS_OPTION)
    { "restart", 0, CB_OPT_STRING, offsetof(struct refused_options, restart), "POLICY", NULL, NULL },
    CB_OPT_END,
};

#define AS_HINT(name, letter, arg, hint) { name, hint },
static const struct {
    const char *name, *hint;
} hints[] = { REFUSED(AS_HINT) };

void refused_options_done(struct refused_options *o)
{
    cb_strvec_done(&o->said);
}

int refused_options_check(const struct refused_options *o, struct cb_error *err)
{
    size_t n = o->said.n ? strcspn(o->said.v[0], "=") : 0;
    for (size_t i = 0; n && i < CB_COUNTOF(hints); i++)
        if (strlen(hints[i].name) == n && !strncmp(hints[i].name, o->said.v[0], n))
            return cb_error_set(err, CB_EUSAGE, "--%s is not supported: %s", hints[i].name, hints[i].hint);
    if (o->restart && strcmp(o->restart, "no"))
        return cb_error_set(err, CB_EUSAGE, "--restart %s is not supported: %s", o->restart, ONE);
    return 0;
}
