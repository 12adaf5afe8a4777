/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* subuid(5), subgid(5) and uid_map: which ids an ordinary user may hand out, and which are mapped now. */

#include <stddef.h>
#include <stdint.h>

#include "util/error.h"
#include "util/strvec.h"

struct cb_id_range {
    uint32_t start;
    uint32_t count;
};
struct cb_id_ranges {
    struct cb_id_range *v;
    size_t n, cap;
};
void cb_id_ranges_done(struct cb_id_ranges *r);
#define cb_cleanup_id_ranges CB_CLEANUP(cb_id_ranges_done)

/* The ranges of a user in the text of /etc/subuid: lines "login:start:count" or "uid:start:count". name may be NULL.
 * Lines that make no sense, or hold id 0 or `own`, are skipped, as newuidmap would refuse them. */
void cb_subid_parse(const char *text, const char *name, uint32_t own, struct cb_id_ranges *out);
/* path: /etc/subuid or /etc/subgid; no such file gives no ranges. */
int cb_subid_read(const char *path, const char *name, uint32_t own, struct cb_id_ranges *out,
                  struct cb_error *err) CB_WUR;
uint64_t cb_id_ranges_total(const struct cb_id_ranges *r);

/* newuidmap's and newgidmap's arguments for pid: 0 is `own`, 1… are the ranges, without a gap. */
void cb_subid_map_args(struct cb_strvec *argv, const char *program, int pid, uint32_t own,
                       const struct cb_id_ranges *r);
/* The ids that uid_map or gid_map text maps; UINT32_MAX for all of them. */
uint32_t cb_id_map_size(const char *map_text);
