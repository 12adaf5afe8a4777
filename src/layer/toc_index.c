/* SPDX-License-Identifier: Apache-2.0 */
#include "layer/toc_index.h"

#include <endian.h>
#include <errno.h>
#include <sys/stat.h>

#include "layer/toc_priv.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

static const char MAGIC[8] = { 'c', 'b', 't', 'o', 'c', 'i', 'x', '\1' };
#define RUN_SUM 16
#define RECORD_HEAD (8 + RUN_SUM) /* then a path and a NUL */
#define TAIL_SUMMED (sizeof MAGIC + 3 * 8 + 32)
#define TAIL (TAIL_SUMMED + 32)
#define MAX_INDEX (UINT64_C(1) << 30)

struct cb_toc_index {
    atomic_size_t refs;
    int fd;
    uint64_t table;          /* its bytes */
    size_t n;
    struct cb_digest digest; /* of the table */
    struct cb_strbuf text;   /* records and tail */
    size_t *records;         /* one a run: where in the text it is */
    size_t n_runs;
};

static size_t runs_of(size_t n)
{
    return n / CB_TOC_RUN + (n % CB_TOC_RUN != 0);
}

/* ---- writing ---- */

static void put_number(struct cb_strbuf *out, uint64_t v)
{
    v = htole64(v);
    cb_strbuf_add(out, &v, sizeof v);
}

static void put_record(struct cb_strbuf *out, struct cb_slice run, uint64_t at, const char *before)
{
    struct cb_digest sum;
    cb_digest_of(&sum, run.ptr, run.len);
    put_number(out, at);
    cb_strbuf_add(out, sum.raw, RUN_SUM);
    cb_strbuf_add(out, before, strlen(before) + 1);
}

void cb_toc_index_print(struct cb_strbuf *out, const struct cb_toc *t)
{
    size_t start = out->len, n = runs_of(t->n);
    cb_autofree uint64_t *runs = cb_calloc(n + 1, sizeof *runs);
    struct cb_digest digest, sum;
    cb_toc_print_runs(out, t, runs);
    size_t table = out->len - start;
    runs[n] = table - CB_TOC_SUM_LEN;
    cb_digest_of(&digest, out->buf + start, table);
    cb_strbuf_reserve(out, n * 64);
    for (size_t i = 0; i < n; i++)
        put_record(out, (struct cb_slice){ out->buf + start + runs[i], (size_t)(runs[i + 1] - runs[i]) }, runs[i],
                   i ? t->v[i * CB_TOC_RUN - 1].path : "");
    size_t records = out->len - start - table;
    cb_strbuf_add(out, MAGIC, sizeof MAGIC);
    put_number(out, table);
    put_number(out, records);
    put_number(out, t->n);
    cb_strbuf_add(out, digest.raw, 32);
    cb_digest_of(&sum, out->buf + start + table, out->len - start - table);
    cb_strbuf_add(out, sum.raw, 32);
}

/* ---- opening ---- */

static int damaged(const char *what, struct cb_error *err)
{
    return cb_error_set(err, CB_EVERIFY, "the index of a table of contents is damaged: %s", what);
}

static uint64_t number_at(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

static int read_at(int fd, uint64_t at, size_t n, struct cb_strbuf *out, struct cb_error *err)
{
    size_t got;
    cb_strbuf_reset(out);
    cb_strbuf_reserve(out, n + 1);
    int r = cb_fd_pread_full(fd, out->buf, n, at, &got, err);
    if (r < 0)
        return r;
    if (got < n)
        return damaged("it is cut off", err);
    cb_strbuf_setlen(out, n);
    return 0;
}

/* The lengths that the tail claims, where they are those of a file of this size. */
static bool lengths_fit(struct cb_toc_index *x, const char *tail, uint64_t size, uint64_t *records)
{
    x->table = number_at(tail + 8);
    *records = number_at(tail + 16);
    uint64_t n = number_at(tail + 24);
    if (n > CB_MAX_LAYER_ENTRIES || *records > MAX_INDEX || x->table > 2 * CB_TOC_MAX_BYTES)
        return false;
    x->n = (size_t)n;
    x->n_runs = runs_of(x->n);
    return x->table >= CB_TOC_SUM_LEN && x->table + *records + TAIL == size &&
           *records >= x->n_runs * (RECORD_HEAD + 1);
}

/* Whether the sum of records and tail holds. */
static bool sum_holds(const char *text, size_t records)
{
    struct cb_digest sum;
    cb_digest_of(&sum, text, records + TAIL_SUMMED);
    return memcmp(sum.raw, text + records + TAIL_SUMMED, 32) == 0;
}

bool cb_toc_index_of(const void *buf, size_t len, size_t *table)
{
    struct cb_toc_index x = { 0 };
    uint64_t records;
    if (len < TAIL)
        return false;
    const char *tail = (const char *)buf + (len - TAIL);
    if (memcmp(tail, MAGIC, sizeof MAGIC) != 0 || !lengths_fit(&x, tail, len, &records))
        return false;
    *table = (size_t)x.table;
    return sum_holds((const char *)buf + x.table, (size_t)records);
}

static uint64_t run_start(const struct cb_toc_index *x, size_t run)
{
    return run < x->n_runs ? number_at(x->text.buf + x->records[run]) : x->table - CB_TOC_SUM_LEN;
}

static const char *path_before(const struct cb_toc_index *x, size_t run)
{
    return x->text.buf + x->records[run] + RECORD_HEAD;
}

/* The sum holds: this only keeps what a faulty writer could have written from leading astray. */
static bool find_records(struct cb_toc_index *x, size_t records)
{
    size_t at = 0;
    x->records = cb_calloc(x->n_runs + 1, sizeof *x->records);
    for (size_t i = 0; i < x->n_runs; i++) {
        x->records[i] = at;
        size_t room = records - at;
        const char *end = room > RECORD_HEAD ? memchr(x->text.buf + at + RECORD_HEAD, '\0', room - RECORD_HEAD) : NULL;
        if (!end || (i && cb_entry_path_cmp(path_before(x, i - 1), path_before(x, i)) > 0))
            return false;
        at = (size_t)(end + 1 - x->text.buf);
    }
    for (size_t i = 0; i < x->n_runs; i++)
        if (run_start(x, i) >= run_start(x, i + 1))
            return false;
    return at == records;
}

static int read_index(struct cb_toc_index *x, struct cb_error *err)
{
    struct cb_strbuf tail cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct stat st;
    uint64_t records;
    if (fstat(x->fd, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "look at a table of contents");
    if ((uint64_t)st.st_size < TAIL)
        return damaged("it is cut off", err);
    int r = read_at(x->fd, (uint64_t)st.st_size - TAIL, TAIL, &tail, err);
    if (r < 0)
        return r;
    if (memcmp(tail.buf, MAGIC, sizeof MAGIC) != 0)
        return cb_error_set(err, CB_EVERIFY, "a table of contents without an index of this version");
    if (!lengths_fit(x, tail.buf, (uint64_t)st.st_size, &records))
        return damaged("lengths", err);
    if ((r = read_at(x->fd, x->table, (size_t)records + TAIL, &x->text, err)) < 0)
        return r;
    if (!sum_holds(x->text.buf, (size_t)records) || !find_records(x, (size_t)records))
        return damaged("its checksum does not hold", err);
    x->digest.alg = CB_DIGEST_SHA256;
    memcpy(x->digest.raw, x->text.buf + records + TAIL_SUMMED - 32, 32);
    return 0;
}

static int check_version(int fd, struct cb_error *err)
{
    struct cb_strbuf head cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = read_at(fd, 0, 8, &head, err);
    if (r == 0 && !cb_toc_is_current(head.buf, head.len))
        r = cb_error_set(err, CB_EVERIFY, "a table of contents of another version");
    return r;
}

int cb_toc_index_open(int fd, struct cb_toc_index **out, struct cb_error *err)
{
    CB_AUTO(cb_toc_index_unref) struct cb_toc_index *x = CB_NEW(struct cb_toc_index);
    atomic_init(&x->refs, 1);
    x->fd = fd;
    x->text = (struct cb_strbuf)CB_STRBUF_INIT;
    int r = read_index(x, err);
    if (r == 0)
        r = check_version(fd, err);
    if (r == 0)
        *out = CB_TAKE(x);
    return r;
}

struct cb_toc_index *cb_toc_index_ref(struct cb_toc_index *x)
{
    if (x)
        atomic_fetch_add_explicit(&x->refs, 1, memory_order_relaxed);
    return x;
}

void cb_toc_index_unref(struct cb_toc_index *x)
{
    if (!x || atomic_fetch_sub_explicit(&x->refs, 1, memory_order_acq_rel) != 1)
        return;
    cb_close_p(&x->fd);
    cb_strbuf_done(&x->text);
    free(x->records);
    free(x);
}

size_t cb_toc_index_count(const struct cb_toc_index *x)
{
    return x->n;
}

void cb_toc_index_pin(const struct cb_toc_index *x, struct cb_toc_pin *out)
{
    *out = (struct cb_toc_pin){ x->digest, x->table };
}

/* ---- reading ---- */

struct cb_toc_cursor {
    struct cb_toc_index *x;
    size_t run; /* that is in v */
    bool loaded;
    struct cb_entry v[CB_TOC_RUN];
    struct cb_arena arena;
    struct cb_strbuf bytes;
};

struct cb_toc_cursor *cb_toc_cursor_new(struct cb_toc_index *x)
{
    struct cb_toc_cursor *c = CB_NEW(struct cb_toc_cursor);
    c->x = cb_toc_index_ref(x);
    c->bytes = (struct cb_strbuf)CB_STRBUF_INIT;
    return c;
}

void cb_toc_cursor_free(struct cb_toc_cursor *c)
{
    if (!c)
        return;
    cb_toc_index_unref(c->x);
    cb_arena_done(&c->arena);
    cb_strbuf_done(&c->bytes);
    free(c);
}

static int load_run(struct cb_toc_cursor *c, size_t run, struct cb_error *err)
{
    const struct cb_toc_index *x = c->x;
    uint64_t from = run_start(x, run);
    size_t len = (size_t)(run_start(x, run + 1) - from), first = run * CB_TOC_RUN;
    struct cb_digest sum;
    if (c->loaded && c->run == run)
        return 0;
    c->loaded = false;
    int r = read_at(x->fd, from, len, &c->bytes, err);
    if (r < 0)
        return r;
    cb_digest_of(&sum, c->bytes.buf, len);
    cb_arena_done(&c->arena);
    if (memcmp(sum.raw, x->text.buf + x->records[run] + 8, RUN_SUM) != 0 ||
        !cb_toc_take_run((struct cb_slice){ c->bytes.buf, len }, path_before(x, run), c->v,
                         CB_MIN(x->n - first, CB_TOC_RUN), &c->arena))
        return cb_error_set(err, CB_EVERIFY, "a table of contents is damaged near byte %llu", (unsigned long long)from);
    c->run = run;
    c->loaded = true;
    return 0;
}

int cb_toc_cursor_at(struct cb_toc_cursor *c, size_t i, const struct cb_entry **e, struct cb_error *err)
{
    *e = NULL;
    if (i >= c->x->n)
        return 0;
    int r = load_run(c, i / CB_TOC_RUN, err);
    if (r == 0)
        *e = &c->v[i % CB_TOC_RUN];
    return r;
}

/* The last run whose path before is below path: the ones after it are not, so it holds the answer, or its end is. */
static size_t run_of(const struct cb_toc_index *x, const char *path)
{
    size_t lo = 0, hi = x->n_runs;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (cb_entry_path_cmp(path_before(x, mid), path) < 0)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

int cb_toc_cursor_bound(struct cb_toc_cursor *c, const char *path, size_t *i, struct cb_error *err)
{
    *i = 0;
    if (!c->x->n)
        return 0;
    size_t run = run_of(c->x, path), first = run * CB_TOC_RUN, lo = 0, hi = CB_MIN(c->x->n - first, CB_TOC_RUN);
    int r = load_run(c, run, err);
    while (r == 0 && lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (cb_entry_path_cmp(c->v[mid].path, path) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *i = first + lo;
    return r;
}
