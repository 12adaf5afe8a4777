/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Owners that the disk cannot hold, because only one id is mapped: what a step's chown(2) asked for, by inode of its
 * upper directory and by path. It is in our memory alone: nothing that an image or a step writes can be taken for it.
 * Not thread-safe.
 *
 * What is renamed keeps its owner. What replaces a file by rename (editors do that, and see 0:0 as the old owner, which
 * they give the new one) has that of the path; so an owner of 0 counts only at the path where it was given. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "util/macros.h"

#define CB_OWNER_KEEP UINT32_MAX /* chown's -1 */

struct cb_owner_table;
/* uid, gid: whose everything new is that nobody changes. */
struct cb_owner_table *cb_owner_table_new(uint32_t uid, uint32_t gid);
void cb_owner_table_free(struct cb_owner_table *t);
CB_DEFINE_CLEANUP(struct cb_owner_table *, cb_owner_table_free)
/* fd (O_PATH will do): what stands at path (without a '/' in front). KEEP leaves an id as it is. False where the table
 * is full. */
bool cb_owner_table_put(struct cb_owner_table *t, int fd, const char *path, uint32_t uid, uint32_t gid) CB_WUR;
/* What is to be known of dirfd + name (no link followed, "" is dirfd itself) at path. *uid and *gid come as what the
 * layers below have there, or as KEEP where they have nothing. */
void cb_owner_table_get(const struct cb_owner_table *t, int dirfd, const char *name, const char *path,
                        uint32_t owner[static 2]);
