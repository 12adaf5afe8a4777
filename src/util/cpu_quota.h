/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* How many CPUs a cgroup's quota amounts to. Apart from thread.c, so that tests can give it a tree of their own. */

/* sysfs is "/sys/fs/cgroup", membership the text of /proc/self/cgroup. The least quota of our cgroup and its ancestors,
 * v2 and v1, rounded up; 0 where there is none. Paths that cannot be seen from here (no cgroup namespace) count as
 * unlimited, and their visible ancestors are asked. */
unsigned cb_cpu_quota(const char *sysfs, const char *membership);
