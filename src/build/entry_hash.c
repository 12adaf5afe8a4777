/* SPDX-License-Identifier: Apache-2.0 */
#include "build/entry_hash.h"

void cb_hash_entry(struct cb_hasher *h, const struct cb_entry *e)
{
    const struct cb_digest data = cb_sum_digest(&e->digest);
    cb_hasher_field(h, e->path);
    cb_hasher_field_u64(h, e->type);
    cb_hasher_field_u64(h, e->mode);
    cb_hasher_field_u64(h, ((uint64_t)e->uid << 32) | e->gid);
    cb_hasher_field_u64(h, ((uint64_t)e->dev_major << 32) | e->dev_minor);
    cb_hasher_field(h, e->link);
    cb_hasher_field_u64(h, e->type == CB_ENTRY_FILE || e->type == CB_ENTRY_HARDLINK ? e->size : 0);
    cb_hasher_field_digest(h, &data);
    cb_hasher_field_u64(h, e->n_xattrs);
    for (size_t i = 0; i < e->n_xattrs; i++) {
        cb_hasher_field(h, e->xattrs[i].name);
        cb_hasher_field_bytes(h, e->xattrs[i].value, e->xattrs[i].len);
    }
}
