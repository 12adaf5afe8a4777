/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing of an image gets in here but what the step itself is: no label, no annotation, no hook (C11). */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include "exec/network.h"
#include "exec/oci.h"
#include "util/alloc.h"
#include "util/secret.h"
#include "util/utf8.h"

#define SOFT_OPEN_FILES 1024
#define UMASK 022
#define TTY_GROUP "gid=5"

static bool is_utf8(const char *s)
{
    uint32_t cp;
    for (size_t n = strlen(s), used; n; s += used, n -= used) {
        used = cb_utf8_decode(s, n, &cp);
        if (used == 0)
            return false;
    }
    return true;
}

/* -CB_ECONF for what JSON cannot say: it would become something else. */
static int strings(const char *const *list, const char *what, json_t **out, struct cb_error *err)
{
    *out = json_array();
    for (; *list; list++) {
        if (!is_utf8(*list))
            return cb_error_set(err, CB_ECONF, "%s %.200s: no UTF-8, which isolation oci cannot pass on", what, *list);
        json_array_append_new(*out, json_string(*list));
    }
    return 0;
}

/* C9: what is no K=V would be read as something else by some runtimes. */
static int check_env(const char *const *env, struct cb_error *err)
{
    for (; *env; env++) {
        const char *eq = strchr(*env, '=');
        if (!eq || eq == *env)
            return cb_error_set(err, CB_ECONF, "environment entry %.200s: not NAME=VALUE", *env);
    }
    return 0;
}

static json_t *words(const char *const *list)
{
    json_t *a = json_array();
    for (; *list; list++)
        json_array_append_new(a, json_string(*list));
    return a;
}

static json_t *user(const struct cb_exec_spec *spec)
{
    json_t *o = json_object(), *groups = json_array();
    json_object_set_new(o, "uid", json_integer(spec->uid));
    json_object_set_new(o, "gid", json_integer(spec->gid));
    json_object_set_new(o, "umask", json_integer(UMASK));
    for (size_t i = 0; i < spec->n_groups; i++)
        json_array_append_new(groups, json_integer(spec->groups[i]));
    json_object_set_new(o, "additionalGids", groups);
    return o;
}

/* Docker's default set; only the bound of it for who is not root. Nothing is inheritable or ambient (G8). */
static json_t *capabilities(uint32_t uid)
{
    static const char *const names[] = { "CAP_CHOWN",   "CAP_DAC_OVERRIDE", "CAP_FSETID",  "CAP_FOWNER",  "CAP_MKNOD",
                                         "CAP_NET_RAW", "CAP_SETGID",       "CAP_SETUID",  "CAP_SETFCAP", "CAP_SETPCAP",
                                         "CAP_KILL",    "CAP_AUDIT_WRITE",  "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT",
                                         NULL };
    json_t *o = json_object();
    json_object_set_new(o, "bounding", words(names));
    json_object_set_new(o, "effective", uid ? json_array() : words(names));
    json_object_set_new(o, "permitted", uid ? json_array() : words(names));
    json_object_set_new(o, "inheritable", json_array());
    json_object_set_new(o, "ambient", json_array());
    return o;
}

static void add_rlimit(json_t *list, const char *type, uint64_t soft, uint64_t hard)
{
    json_t *o = json_object();
    json_object_set_new(o, "type", json_string(type));
    json_object_set_new(o, "soft", json_integer((json_int_t)soft));
    json_object_set_new(o, "hard", json_integer((json_int_t)hard));
    json_array_append_new(list, o);
}

/* What may not be raised to that stays as it is. */
static uint64_t no_core(void)
{
    struct rlimit core;
    return getrlimit(RLIMIT_CORE, &core) == 0 ? CB_MIN(core.rlim_max, (rlim_t)CB_NO_CORE) : CB_NO_CORE;
}

/* What native sets; said once more, because runtimes raise theirs. */
static json_t *rlimits(const struct cb_limits *limits)
{
    json_t *list = json_array();
    struct rlimit files;
    bool core = false, nofile = false;
    for (size_t i = 0; limits && i < limits->n_ulimits; i++) {
        const struct cb_ulimit *u = &limits->ulimits[i];
        char type[32] = "RLIMIT_";
        const char *name = cb_ulimit_name(u->resource);
        for (size_t n = strlen(type); *name && n + 1 < sizeof type; n++, name++)
            type[n] = *name >= 'a' && *name <= 'z' ? (char)(*name - 'a' + 'A') : *name;
        add_rlimit(list, type, u->soft, u->hard);
        core = core || u->resource == RLIMIT_CORE;
        nofile = nofile || u->resource == RLIMIT_NOFILE;
    }
    if (!core)
        add_rlimit(list, "RLIMIT_CORE", no_core(), no_core());
    if (!nofile && getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_max <= INT64_MAX)
        add_rlimit(list, "RLIMIT_NOFILE", CB_MIN(files.rlim_max, (rlim_t)SOFT_OPEN_FILES), files.rlim_max);
    return list;
}

static int process(const struct cb_exec_spec *spec, json_t *o, struct cb_error *err)
{
    const char *cwd[] = { spec->cwd, NULL };
    json_t *args = NULL, *env = NULL, *dir = NULL;
    int r = check_env(spec->env, err);
    if (r == 0)
        r = strings(spec->argv, "argument", &args, err);
    if (r == 0)
        r = strings(spec->env, "environment entry", &env, err);
    if (r == 0)
        r = strings(cwd, "working directory", &dir, err);
    if (r == 0)
        json_object_set(o, "cwd", json_array_get(dir, 0));
    json_decref(dir);
    json_object_set_new(o, "args", args ? args : json_array());
    json_object_set_new(o, "env", env ? env : json_array());
    json_object_set_new(o, "terminal", json_boolean(spec->tty));
    json_object_set_new(o, "user", user(spec));
    json_object_set_new(o, "capabilities", capabilities(spec->uid));
    json_object_set_new(o, "rlimits", rlimits(spec->limits));
    json_object_set_new(o, "noNewPrivileges", json_false());
    return r;
}

/* ---- mounts ---- */

static json_t *mount(const char *target, const char *type, const char *const *options)
{
    json_t *o = json_object();
    json_object_set_new(o, "destination", json_string(target));
    json_object_set_new(o, "type", json_string(type));
    json_object_set_new(o, "source", json_string(type));
    json_object_set_new(o, "options", words(options));
    return o;
}

/* /dev is always a tmpfs of its own, /proc a new one (R21, G7). All else is mounted already. */
static json_t *mounts(const struct cb_exec_spec *spec, const json_t *dev_mounts)
{
    static const char *const proc[] = { "nosuid", "noexec", "nodev", NULL };
    static const char *const dev[] = { "nosuid", "strictatime", "mode=755", "size=65536k", NULL };
    char shm_size[32] = "size=67108864";
    const char *shm[] = { "nosuid", "noexec", "nodev", "mode=1777", shm_size, NULL };
    /* The group is not mapped where only one id is. */
    const char *pts[] = { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
                          spec->id_mode == CB_ID_SINGLE ? NULL : TTY_GROUP, NULL };
    if (spec->limits && spec->limits->shm_size)
        snprintf(shm_size, sizeof shm_size, "size=%llu", (unsigned long long)spec->limits->shm_size);
    json_t *a = json_array();
    json_array_append_new(a, mount("/proc", "proc", proc));
    json_array_append_new(a, mount("/dev", "tmpfs", dev));
    json_array_append_new(a, mount("/dev/pts", "devpts", pts));
    json_array_append_new(a, mount("/dev/shm", "tmpfs", shm));
    json_array_append_new(a, mount("/dev/mqueue", "mqueue", proc));
    for (size_t i = 0; i < json_array_size(dev_mounts); i++)
        json_array_append(a, json_array_get(dev_mounts, i));
    return a;
}

static json_t *linux_part(void)
{
    static const char *const namespaces[] = { "mount", "pid", "ipc", "uts" };
    static const char *const masked[] = { "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
                                          "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi", "/proc/timer_list",
                                          "/proc/timer_stats", NULL };
    static const char *const readonly[] = { "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
                                            NULL };
    json_t *o = json_object(), *list = json_array();
    for (size_t i = 0; i < CB_COUNTOF(namespaces); i++) {
        json_t *ns = json_object();
        json_object_set_new(ns, "type", json_string(namespaces[i]));
        json_array_append_new(list, ns);
    }
    json_object_set_new(o, "namespaces", list);
    json_object_set_new(o, "maskedPaths", words(masked));
    json_object_set_new(o, "readonlyPaths", words(readonly));
    json_object_set_new(o, "seccomp", cb_oci_seccomp());
    return o;
}

json_t *cb_oci_config(const struct cb_exec_spec *spec, const json_t *dev_mounts, struct cb_error *err)
{
    json_t *o = json_object(), *p = json_object(), *root = json_object();
    json_object_set_new(o, "ociVersion", json_string("1.0.2"));
    json_object_set_new(o, "process", p);
    json_object_set_new(o, "root", root);
    json_object_set_new(root, "path", json_string("rootfs"));
    json_object_set_new(root, "readonly", json_boolean(spec->readonly_root));
    json_object_set_new(o, "hostname", json_string(cb_network_hostname(spec)));
    json_object_set_new(o, "mounts", mounts(spec, dev_mounts));
    json_object_set_new(o, "linux", linux_part());
    if (process(spec, p, err) == 0)
        return o;
    json_decref(o);
    return NULL;
}
