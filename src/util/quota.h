/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What a cgroup's limits leave us. Apart from who asks, so that tests can give them a tree of their own.
 *
 * sysfs is "/sys/fs/cgroup", membership the text of /proc/self/cgroup. The least limit of our cgroup and its
 * ancestors, v2 and v1, counts; 0: there is none. Paths that cannot be seen from here (no cgroup namespace) count as
 * unlimited, and their visible ancestors are asked. */

#include <stdint.h>

unsigned cb_cpu_quota(const char *sysfs, const char *membership);    /* CPUs, rounded up */
uint64_t cb_memory_quota(const char *sysfs, const char *membership); /* bytes */

unsigned cb_cpu_quota_here(void); /* of this machine and process */
/* How many bytes of memory can be had without swapping, as the kernel estimates it (MemAvailable), within our cgroups'
 * limits; 0 where that is not known. */
uint64_t cb_memory_available(void);
