/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* os/arch[/variant] (image-index.md "platform"), normalised as containerd does: x86_64 → amd64, aarch64 → arm64
 * (variant v8 dropped), armhf → arm/v7, armel → arm/v6, i386 → 386. */

#include <stdbool.h>

#include "util/error.h"
#include "util/strbuf.h"
#include "util/strvec.h"

struct cb_platform { /* owns its strings; NULL where absent */
    char *os;
    char *arch;
    char *variant;
    char *os_version;
};

void cb_platform_done(struct cb_platform *p);
#define cb_cleanup_platform CB_CLEANUP(cb_platform_done)
void cb_platform_copy(struct cb_platform *dst, const struct cb_platform *src);
/* "os/arch[/variant]"; a lone "linux" takes the host's architecture, a lone "arm64" the host's system. Normalised. */
int cb_platform_parse(struct cb_platform *out, const char *text, struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
/* Lists with commas, one after the other, each platform once; "local" is the host's. *out: cb_platforms_free. */
int cb_platforms_parse(const struct cb_strvec *lists, struct cb_platform **out, size_t *n,
                       struct cb_error *err) CB_WUR; /* -CB_EUSAGE */
void cb_platforms_free(struct cb_platform *v, size_t n);
void cb_platform_host(struct cb_platform *out);
void cb_platform_normalize(struct cb_platform *p);
bool cb_platform_eq(const struct cb_platform *a, const struct cb_platform *b);
/* Whether a user who writes `name` means `is`: any os_version is meant, unless one is written. Both normalised. */
bool cb_platform_means(const struct cb_platform *name, const struct cb_platform *is);
/* How well `have` serves `want`: 0 not at all, higher is better (arm: v7 wants v7, then v6, v5; amd64 v1 serves amd64).
 * As containerd does, a machine's 32-bit sibling serves last: 386 for amd64, arm for arm64. On Windows the first three
 * parts of os_version must agree where both sides have them. Neither side need be normalised. */
int cb_platform_match(const struct cb_platform *want, const struct cb_platform *have);
void cb_strbuf_add_platform(struct cb_strbuf *sb, const struct cb_platform *p); /* os/arch[/variant] */
