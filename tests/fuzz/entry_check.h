/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* What holds of an entry that was taken from a helper: normal form, and within all limits. */

#include "layer/toc.h"
#include "tests/fuzz/fuzz.h"
#include "util/limits.h"
#include "util/path.h"

static void check_entry(const struct cb_entry *e)
{
    struct cb_strbuf normal cb_cleanup_strbuf = CB_STRBUF_INIT;
    size_t n = strlen(e->path);
    if (n == 0 || n > CB_MAX_PATH || !cb_path_normalize(&normal, e->path, n) || strcmp(normal.buf, e->path) != 0)
        abort();
    if (e->mode > 07777 || e->size > INT64_MAX || e->n_xattrs > CB_MAX_XATTRS)
        abort();
    bool links = e->type == CB_ENTRY_SYMLINK || e->type == CB_ENTRY_HARDLINK;
    if (links != (e->link != NULL) || (links && strlen(e->link) > CB_MAX_PATH))
        abort();
}
