/* SPDX-License-Identifier: Apache-2.0 */
#pragma once
/* Runs the corpora of fuzz targets: include the targets' files first, with CB_FUZZ_REPLAY defined. Behind cmocka.h. */

#include <dirent.h>

#include "util/alloc.h"
#include "util/fd.h"
#include "util/strbuf.h"

struct fuzz_target {
    const char *name;
    void (*run)(char *text, size_t len);
};

/* Each target changes its text. */
static inline void fuzz_run(const struct fuzz_target *t, const struct cb_strbuf *s)
{
    cb_autofree char *text = cb_malloc(s->len + 1);
    memcpy(text, s->buf ? s->buf : "", s->len + 1);
    t->run(text, s->len);
}

/* How many inputs there were. */
static inline size_t fuzz_replay(const struct fuzz_target *t)
{
    const char *data = getenv("CB_TEST_DATA") ? getenv("CB_TEST_DATA") : "tests/data";
    cb_autofree char *path = cb_asprintf("%s/../fuzz/corpus/%s", data, t->name);
    DIR *d = opendir(path);
    size_t n = 0;
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        cb_cleanup_strbuf struct cb_strbuf s = CB_STRBUF_INIT;
        cb_autofree char *file = cb_asprintf("%s/%s", path, e->d_name);
        if (e->d_name[0] == '.')
            continue;
        assert_int_equal(cb_file_slurp(file, 1 << 24, &s, NULL), 0);
        fuzz_run(t, &s);
        n++;
    }
    closedir(d);
    return n;
}
