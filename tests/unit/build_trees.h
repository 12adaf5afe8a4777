/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Tables and views from a few words, and back. An entry is one line of text:
 *
 *     d PATH MODE UID:GID        f PATH MODE UID:GID DATA      l PATH TARGET      h PATH FIRST-NAME
 *     w PATH (whiteout)
 *
 * Mode and owner may be left out from the right: 755 or 644, 0:0, "". */

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "layer/stack.h"
#include "util/alloc.h"
#include "util/strvec.h"

#define TREE_TIME 1000000

static inline CB_UNUSED struct cb_toc *tree_toc(const char *const *lines)
{
    CB_AUTO(cb_toc_builder_free) struct cb_toc_builder *b = cb_toc_builder_new();
    for (size_t i = 0; lines && lines[i]; i++) {
        char type = 0, path[300], a[300] = "", owner[64] = "0:0", data[300] = "";
        unsigned mode = 0;
        int n = sscanf(lines[i], "%c %299s %299s %63s %299s", &type, path, a, owner, data);
        assert_true(n >= 2);
        struct cb_entry e = { .path = path,
                              .mtime = TREE_TIME,
                              .mode = type == 'd'   ? 0755
                                      : type == 'l' ? 0777
                                                    : 0644 };
        e.type = type == 'd'   ? CB_ENTRY_DIR
                 : type == 'f' ? CB_ENTRY_FILE
                 : type == 'l' ? CB_ENTRY_SYMLINK
                 : type == 'w' ? CB_ENTRY_WHITEOUT : CB_ENTRY_HARDLINK;
        if ((type == 'd' || type == 'f') && sscanf(a, "%o", &mode) == 1)
            e.mode = mode;
        assert_int_equal(sscanf(owner, "%u:%u", &e.uid, &e.gid), 2);
        if (type == 'l' || type == 'h')
            e.link = a;
        const struct cb_entry *first = type == 'h' ? cb_toc_builder_find(b, a) : NULL;
        if (type == 'f') {
            e.size = strlen(data);
            cb_sum_of(&e.digest, data, e.size);
        } else if (first) {
            e.size = first->size;
            e.digest = first->digest;
            e.mode = first->mode;
        }
        assert_int_equal(cb_toc_builder_add(b, &e, NULL), 0);
    }
    return cb_toc_builder_finish(b);
}

static inline CB_UNUSED struct cb_stack *tree_stack(const char *const *lines)
{
    struct cb_toc *toc = tree_toc(lines);
    struct cb_stack *s = cb_stack_new(&toc, 1);
    cb_toc_unref(toc);
    return s;
}

static inline CB_UNUSED struct cb_stack *tree_stack2(const char *const *lower, const char *const *upper)
{
    struct cb_toc *tocs[] = { tree_toc(lower), tree_toc(upper) };
    struct cb_stack *s = cb_stack_new(tocs, 2);
    cb_toc_unref(tocs[0]);
    cb_toc_unref(tocs[1]);
    return s;
}

/* "f PATH MODE UID:GID SIZE", "l PATH TARGET", "h PATH FIRST" … */
static inline CB_UNUSED void tree_line(struct cb_strbuf *o, const struct cb_entry *e, const char *path)
{
    static const char letters[] = { [CB_ENTRY_WHITEOUT] = 'w', [CB_ENTRY_OPAQUE] = 'o', [CB_ENTRY_DIR] = 'd',
                                    [CB_ENTRY_FILE] = 'f', [CB_ENTRY_SYMLINK] = 'l', [CB_ENTRY_HARDLINK] = 'h',
                                    [CB_ENTRY_CHAR] = 'c', [CB_ENTRY_BLOCK] = 'b', [CB_ENTRY_FIFO] = 'p' };
    cb_strbuf_addf(o, "%c %s", letters[e->type], *path ? path : ".");
    if (e->link)
        cb_strbuf_addf(o, " %s", e->link);
    else
        cb_strbuf_addf(o, " %o %u:%u", e->mode, e->uid, e->gid);
    if (e->type == CB_ENTRY_FILE)
        cb_strbuf_addf(o, " %llu", (unsigned long long)e->size);
    cb_strbuf_addch(o, '\n');
}
