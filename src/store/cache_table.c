/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/fd.h"
#include "util/limits.h"

/* A record is lines of text; the last is the sha256 of all before it, because records are not synced:
 *   cbpush-cache 1
 *   whole 0|1
 *   created <ns>
 *   note <percent-encoded>
 *   layer <digest>        (each, lowest first)
 *   sum <64 hex digits> */
#define RECORD_MAX (256u << 10)
#define NOTE_MAX (64u << 10)
#define HEAD "cbpush-cache 1"

void cb_cache_record_done(struct cb_cache_record *r)
{
    free(r->layers);
    free(r->note);
    *r = (struct cb_cache_record){ 0 };
}

static const char *record_path(char *buf, const struct cb_digest *key)
{
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_hex(key, hex);
    snprintf(buf, CB_STORE_PATH_MAX, "cache/%.2s/%s", hex, hex);
    return buf;
}

static void add_sum(struct cb_strbuf *sb)
{
    struct cb_digest sum;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&sum, sb->buf, sb->len);
    cb_strbuf_addf(sb, "sum %s\n", cb_digest_hex(&sum, hex));
}

int cb_store_cache_put(struct cb_store *s, const struct cb_digest *key, const struct cb_cache_record *r,
                       struct cb_error *err)
{
    if (r->n_layers > CB_MAX_LAYERS)
        return cb_error_set(err, CB_EINTERNAL, "a cache record of %zu layers", r->n_layers);
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_addf(&sb, HEAD "\nwhole %d\ncreated %lld\nnote ", r->whole, (long long)r->created);
    if (r->note)
        cb_percent_encode(&sb, r->note, strnlen(r->note, NOTE_MAX / 3));
    cb_strbuf_addch(&sb, '\n');
    for (size_t i = 0; i < r->n_layers; i++) {
        int e = cb_store_hold(s, &r->layers[i], err);
        if (e < 0)
            return e;
        cb_strbuf_adds(&sb, "layer ");
        cb_strbuf_add_digest(&sb, &r->layers[i]);
        cb_strbuf_addch(&sb, '\n');
    }
    add_sum(&sb);
    char path[CB_STORE_PATH_MAX];
    return cb_store_put_file(s, record_path(path, key), (struct cb_slice){ sb.buf, sb.len }, false, err);
}

static bool sum_holds(const char *text, size_t len, size_t *body)
{
    const size_t tail = 4 + 64 + 1;
    if (len <= tail || text[len - 1] != '\n' || memchr(text, '\0', len))
        return false;
    *body = len - tail;
    struct cb_digest sum;
    char hex[CB_DIGEST_TEXT_MAX];
    cb_digest_of(&sum, text, *body);
    cb_digest_hex(&sum, hex);
    return text[*body - 1] == '\n' && memcmp(text + *body, "sum ", 4) == 0 && memcmp(text + *body + 4, hex, 64) == 0;
}

static bool take_line(struct cb_cache_record *r, const char *line)
{
    uint64_t n = 0;
    if (cb_starts_with(line, "whole ") && cb_parse_u64(line + 6, 1, &n)) {
        r->whole = n == 1;
    } else if (cb_starts_with(line, "created ") && cb_parse_u64(line + 8, INT64_MAX, &n)) {
        r->created = (int64_t)n;
    } else if (cb_starts_with(line, "note ")) {
        struct cb_strbuf note cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (r->note || !cb_percent_decode(&note, line + 5, strlen(line + 5)))
            return false;
        r->note = cb_strbuf_detach(&note, NULL);
    } else if (cb_starts_with(line, "layer ") && r->n_layers < CB_MAX_LAYERS) {
        r->layers = cb_reallocarray(r->layers, r->n_layers + 1, sizeof *r->layers);
        if (cb_digest_parse(&r->layers[r->n_layers], line + 6, NULL) < 0)
            return false;
        r->n_layers++;
    } else {
        return false;
    }
    return true;
}

int cb_cache_record_parse(struct cb_cache_record *out, const char *text, size_t len, struct cb_error *err)
{
    size_t body = 0;
    if (!sum_holds(text, len, &body))
        return cb_error_set(err, CB_ENOTFOUND, "the cache record is torn");
    cb_autofree char *copy = cb_strndup(text, body);
    struct cb_cache_record r cb_cleanup_cache_record = { 0 };
    bool first = true;
    for (char *line = copy, *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        *end = '\0';
        if (first ? strcmp(line, HEAD) != 0 : !take_line(&r, line))
            return cb_error_set(err, CB_ENOTFOUND, "the cache record is of another version");
        first = false;
    }
    *out = r;
    r = (struct cb_cache_record){ 0 };
    return 0;
}

int cb_cache_record_read(int dirfd, const char *name, struct cb_cache_record *out, struct cb_error *err)
{
    cb_autoclose int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return cb_error_set(err, CB_ENOTFOUND, "no cache record");
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open the cache record %s", name);
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    int r = cb_fd_slurp(fd, RECORD_MAX, &text, err);
    if (r == -CB_EVERIFY)
        return cb_error_set(err, CB_ENOTFOUND, "the cache record %s is too large", name);
    return r < 0 ? r : cb_cache_record_parse(out, text.buf, text.len, err);
}

int cb_store_cache_get(struct cb_store *s, const struct cb_digest *key, struct cb_cache_record *out,
                       struct cb_error *err)
{
    char path[CB_STORE_PATH_MAX];
    struct cb_cache_record rec cb_cleanup_cache_record = { 0 };
    int r = cb_cache_record_read(s->root_fd, record_path(path, key), &rec, err);
    if (r < 0)
        return r;
    /* gc may have been between: but then the layers' users find nothing, which is a miss like any other. */
    for (size_t i = 0; i < rec.n_layers; i++)
        if ((r = cb_store_hold(s, &rec.layers[i], err)) < 0)
            return r;
    *out = rec;
    rec = (struct cb_cache_record){ 0 };
    return 0;
}

static int stop_at_one(void *arg, int dirfd CB_UNUSED, const char *name CB_UNUSED, struct cb_error *err)
{
    *(bool *)arg = false;
    return cb_error_set(err, CB_ECANCELED, "one is enough");
}

bool cb_store_cache_is_empty(struct cb_store *s)
{
    bool empty = true;
    int r = cb_store_each(s, "cache", stop_at_one, &empty, NULL);
    return r == 0 && empty;
}
