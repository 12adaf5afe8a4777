/* SPDX-License-Identifier: Apache-2.0 */
/* The same decisions as seccomp_profile.c, from the same table, for whoever compiles them himself. */
#include <errno.h>
#include <stdint.h>
#include <sys/stat.h>

#include "exec/oci.h"
#include "exec/seccomp_names.h"

#define NAMESPACE_FLAGS 0x7e020000u /* CLONE_NEW* */
#define LAST_FAMILY 63              /* far above the kernel's */
#define FAMILY_ALG 38
#define FAMILY_VSOCK 40

static json_t *condition(unsigned index, const char *op, uint64_t value, uint64_t value_two)
{
    json_t *a = json_object();
    json_object_set_new(a, "index", json_integer(index));
    json_object_set_new(a, "value", json_integer((json_int_t)value));
    if (value_two)
        json_object_set_new(a, "valueTwo", json_integer((json_int_t)value_two));
    json_object_set_new(a, "op", json_string(op));
    return a;
}

/* args: taken, or NULL. errno_value 0: allowed. */
static void rule(json_t *rules, json_t *names, int errno_value, json_t *args)
{
    json_t *r = json_object();
    json_object_set_new(r, "names", names);
    json_object_set_new(r, "action", json_string(errno_value ? "SCMP_ACT_ERRNO" : "SCMP_ACT_ALLOW"));
    if (errno_value)
        json_object_set_new(r, "errnoRet", json_integer(errno_value));
    if (args)
        json_object_set_new(r, "args", args);
    json_array_append_new(rules, r);
}

static json_t *one(const char *name)
{
    json_t *a = json_array();
    json_array_append_new(a, json_string(name));
    return a;
}

static void allow_if(json_t *rules, const char *name, json_t *condition_taken)
{
    json_t *args = json_array();
    json_array_append_new(args, condition_taken);
    rule(rules, one(name), 0, args);
}

static void allow_names(json_t *rules)
{
    static const char *const special[] = { "socket", "socketcall" };
    static const char *const newer[] = { "uretprobe",     "cachestat",   "fchmodat2",   "map_shadow_stack",
                                         "futex_wake",    "futex_wait",  "futex_requeue", "mseal",
                                         "setxattrat",    "getxattrat",  "listxattrat", "removexattrat" };
    json_t *names = json_array();
    for (size_t i = 0; i < CB_COUNTOF(allowed_names); i++) {
        bool plain = true;
        for (size_t k = 0; k < CB_COUNTOF(special); k++)
            plain = plain && !cb_streq(allowed_names[i], special[k]);
        if (plain)
            json_array_append_new(names, json_string(allowed_names[i]));
    }
    for (size_t i = 0; i < CB_COUNTOF(newer); i++)
        json_array_append_new(names, json_string(newer[i]));
    rule(rules, names, 0, NULL);
}

/* Every family by itself: a comparison is of 64 bits, of which the kernel uses 32, so `not equal` can be got round. */
static void allow_sockets(json_t *rules)
{
    allow_if(rules, "socket", condition(0, "SCMP_CMP_LT", FAMILY_ALG, 0));
    for (unsigned family = FAMILY_ALG + 1; family <= LAST_FAMILY; family++)
        if (family != FAMILY_VSOCK)
            allow_if(rules, "socket", condition(0, "SCMP_CMP_EQ", family, 0));
    allow_if(rules, "socketcall", condition(0, "SCMP_CMP_GT", 1, 0));
}

static void allow_mknod(json_t *rules, const char *name, unsigned at)
{
    static const uint32_t harmless[] = { 0, S_IFREG, S_IFIFO, S_IFSOCK };
    for (size_t i = 0; i < CB_COUNTOF(harmless); i++)
        allow_if(rules, name, condition(at, "SCMP_CMP_MASKED_EQ", S_IFMT, harmless[i]));
    json_t *args = json_array();
    json_array_append_new(args, condition(at, "SCMP_CMP_MASKED_EQ", S_IFMT, S_IFCHR));
    json_array_append_new(args, condition(at + 1, "SCMP_CMP_EQ", 0, 0));
    rule(rules, one(name), 0, args);
}

static void refuse_as_missing(json_t *rules)
{
    static const char *const missing[] = { "clone3",           "process_vm_readv",  "process_vm_writev",
                                           "statmount",        "listmount",         "lsm_get_self_attr",
                                           "lsm_set_self_attr", "lsm_list_modules", "open_tree_attr",
                                           "file_getattr",     "file_setattr" };
    json_t *names = json_array();
    for (size_t i = 0; i < CB_COUNTOF(missing); i++)
        json_array_append_new(names, json_string(missing[i]));
    rule(rules, names, ENOSYS, NULL);
}

static json_t *architectures(void)
{
    json_t *a = json_array();
#if defined(__x86_64__)
    static const char *const names[] = { "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32" };
#else
    static const char *const names[] = { "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM" };
#endif
    for (size_t i = 0; i < CB_COUNTOF(names); i++)
        json_array_append_new(a, json_string(names[i]));
    return a;
}

json_t *cb_oci_seccomp(void)
{
    static const uint32_t personalities[] = { 0, 0x0008, 0x20000, 0x20008, 0xffffffff };
    json_t *o = json_object(), *rules = json_array();
    json_object_set_new(o, "defaultAction", json_string("SCMP_ACT_ERRNO"));
    json_object_set_new(o, "defaultErrnoRet", json_integer(EPERM));
    json_object_set_new(o, "architectures", architectures());
    allow_names(rules);
    allow_if(rules, "clone", condition(0, "SCMP_CMP_MASKED_EQ", NAMESPACE_FLAGS, 0));
    for (size_t i = 0; i < CB_COUNTOF(personalities); i++)
        allow_if(rules, "personality", condition(0, "SCMP_CMP_EQ", personalities[i], 0));
    allow_sockets(rules);
    allow_mknod(rules, "mknod", 1);
    allow_mknod(rules, "mknodat", 2);
    refuse_as_missing(rules);
    json_object_set_new(o, "syscalls", rules);
    return o;
}
