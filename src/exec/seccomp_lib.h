/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* libseccomp, loaded when a step or a container is run (util/lazy.h). What is used of it is listed here. */

#include <seccomp.h>

#include "util/error.h"

/* Before anything else of it; cheap. -CB_ELOCAL where it is not there. */
int cb_seccomp_load(struct cb_error *err) CB_WUR;

#ifdef CB_LAZY_LIBS
#define CB_SECCOMP_FUNCTIONS(X)                                                                                        \
    X(arch_add) X(attr_set) X(export_bpf) X(init) X(release) X(rule_add_array) X(syscall_resolve_name)                 \
    X(syscall_resolve_name_arch) X(version)
struct cb_seccomp {
#define CB_LAZY_FIELD(name) __typeof__(seccomp_##name) *name;
    CB_SECCOMP_FUNCTIONS(CB_LAZY_FIELD)
#undef CB_LAZY_FIELD
};
extern struct cb_seccomp cb_seccomp;
#define seccomp_arch_add cb_seccomp.arch_add
#define seccomp_attr_set cb_seccomp.attr_set
#define seccomp_export_bpf cb_seccomp.export_bpf
#define seccomp_init cb_seccomp.init
#define seccomp_release cb_seccomp.release
#define seccomp_rule_add_array cb_seccomp.rule_add_array
#define seccomp_syscall_resolve_name cb_seccomp.syscall_resolve_name
#define seccomp_syscall_resolve_name_arch cb_seccomp.syscall_resolve_name_arch
#define seccomp_version cb_seccomp.version
#endif
