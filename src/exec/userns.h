/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Why user namespaces or mounts do not work here, in the user's terms. */

#include <stdbool.h>

#include "util/strbuf.h"

/* Text of a small file in /proc or /sys, trimmed; "" where it cannot be read. */
void cb_sysctl_read(const char *path, struct cb_strbuf *out);
/* The one change that would let an ordinary user have namespaces; owned by the caller, never NULL. */
char *cb_userns_remedy(int sys_errno);
/* The same for one who is root already but may not mount. */
char *cb_privilege_remedy(void);
/* The login name of the user who started us (from uid_map in a namespace of ours) or its number. */
char *cb_userns_owner(void);
