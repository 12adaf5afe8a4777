/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/timeutil.h"

#define USE_STEP (3600LL * 1000000000) /* ns; last use is kept no finer, so that reading rarely writes */
#define MAX_ORIGINS 64

enum {
    ST_LAYER,
    ST_ENCODINGS,
    ST_ORIGINS,
    ST_TOUCH,
    ST_PUT_LAYER,
    ST_PUT_ENCODING,
    ST_PUT_ORIGIN,
    ST_USES,
    ST_DEL_LAYER,
    ST_DEL_ENCODINGS,
    ST_DEL_ORIGINS,
    ST_DEL_ORIGIN,
    ST_DEL_FACTS,
    ST_FACT_GET,
    ST_FACT_PUT,
    ST_COUNT
};
_Static_assert(ST_COUNT <= CB_DB_STATEMENTS, "room for every statement");

static void bind_digest(struct sqlite3_stmt *st, int i, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    sqlite3_bind_text(st, i, cb_digest_text(d, text), -1, SQLITE_TRANSIENT);
}

static bool column_digest(struct sqlite3_stmt *st, int i, struct cb_digest *out)
{
    const char *text = (const char *)sqlite3_column_text(st, i);
    return text && cb_digest_parse(out, text, NULL) == 0;
}

static const char *column_text(struct sqlite3_stmt *st, int i)
{
    const char *text = (const char *)sqlite3_column_text(st, i);
    return text ? text : "";
}

static struct sqlite3_stmt *stmt_of(struct cb_store *s, unsigned id, const char *sql, const struct cb_digest *diff_id,
                                    struct cb_error *err)
{
    struct sqlite3_stmt *st = cb_db_stmt(s, id, sql, err);
    if (st)
        bind_digest(st, 1, diff_id);
    return st;
}

/* A line "KEY=VALUE" each; neither has an end of a line in it, and keys no '='. */
static void parse_annotations(struct cb_layer_encoding *e, const char *text)
{
    struct cb_strmap m cb_cleanup_strmap = { 0 };
    while (*text) {
        size_t n = strcspn(text, "\n"), key = strcspn(text, "=");
        cb_autofree char *line = cb_strndup(text, n);
        if (key < n) {
            line[key] = '\0';
            cb_strmap_set(&m, line, line + key + 1);
        }
        text += n + (text[n] == '\n');
    }
    cb_layer_encoding_annotate(e, &m);
}

static char *print_annotations(const struct cb_layer_encoding *e)
{
    struct cb_strbuf s = CB_STRBUF_INIT;
    for (size_t i = 0; i < e->annotations.n; i++)
        if (!strchr(e->annotations.v[i].value, '\n'))
            cb_strbuf_addf(&s, "%s=%s\n", e->annotations.v[i].key, e->annotations.v[i].value);
    return cb_strbuf_detach(&s, NULL);
}

static int get_encodings(struct cb_store *s, struct cb_layer *l, struct cb_error *err)
{
    struct sqlite3_stmt *st = stmt_of(s, ST_ENCODINGS,
                                      "SELECT digest, size, compression, media_type, engine, annotations FROM encodings"
                                      " WHERE diff_id=?1 ORDER BY id",
                                      &l->diff_id, err);
    int r = st ? 0 : -CB_ELOCAL;
    while (st && (r = cb_db_step(s, st, err)) == 1) {
        struct cb_layer_encoding e cb_cleanup_layer_encoding = { .size = (uint64_t)sqlite3_column_int64(st, 1) };
        int c = sqlite3_column_int(st, 2);
        if (!column_digest(st, 0, &e.digest) || c < CB_COMPRESSION_NONE || c > CB_COMPRESSION_ZSTD)
            continue;
        e.compression = (enum cb_compression)c;
        e.media_type = cb_strdup(column_text(st, 3));
        e.engine = cb_strdup(column_text(st, 4));
        parse_annotations(&e, column_text(st, 5));
        cb_layer_add_encoding(l, &e);
    }
    return r;
}

static int get_origins(struct cb_store *s, struct cb_layer *l, struct cb_error *err)
{
    struct sqlite3_stmt *st =
        stmt_of(s, ST_ORIGINS, "SELECT digest, host, repo FROM origins WHERE diff_id=?1 ORDER BY id DESC LIMIT ?2",
                &l->diff_id, err);
    if (!st)
        return -CB_ELOCAL;
    sqlite3_bind_int(st, 2, MAX_ORIGINS);
    int r;
    while ((r = cb_db_step(s, st, err)) == 1) {
        struct cb_digest d;
        if (column_digest(st, 0, &d))
            cb_layer_add_origin(l, &d, column_text(st, 1), column_text(st, 2));
    }
    return r;
}

static int get_layer(struct cb_store *s, const struct cb_digest *diff_id, struct cb_layer *out, int64_t *last_use,
                     struct cb_error *err)
{
    struct sqlite3_stmt *st =
        stmt_of(s, ST_LAYER, "SELECT size, last_use FROM layers WHERE diff_id=?1", diff_id, err);
    int r = st ? cb_db_step(s, st, err) : -CB_ELOCAL;
    if (r < 0)
        return r;
    if (r == 0) {
        char text[CB_DIGEST_TEXT_MAX];
        return cb_error_set(err, CB_ENOTFOUND, "layer %s is not known", cb_digest_text(diff_id, text));
    }
    bool unknown = sqlite3_column_type(st, 0) == SQLITE_NULL;
    struct cb_layer l cb_cleanup_layer = { .diff_id = *diff_id };
    l.size = unknown ? UINT64_MAX : (uint64_t)sqlite3_column_int64(st, 0);
    *last_use = sqlite3_column_int64(st, 1);
    sqlite3_reset(st);
    if ((r = get_encodings(s, &l, err)) < 0 || (r = get_origins(s, &l, err)) < 0)
        return r;
    *out = l;
    l = (struct cb_layer){ 0 };
    return 0;
}

int cb_layer_table_get(struct cb_store *s, const struct cb_digest *diff_id, struct cb_layer *out,
                       struct cb_error *err)
{
    int64_t last_use = 0;
    return get_layer(s, diff_id, out, &last_use, err);
}

struct layer_arg {
    const struct cb_digest *diff_id;
    const struct cb_layer *in;
    struct cb_layer *out;
};

static bool has_encoding(const struct cb_layer *l, const struct cb_layer_encoding *e)
{
    for (size_t i = 0; i < l->n_encodings; i++)
        if (cb_digest_eq(&l->encodings[i].digest, &e->digest))
            return (!e->engine || !e->engine[0] || cb_streq(l->encodings[i].engine, e->engine)) &&
                   (l->encodings[i].annotations.n || !e->annotations.n);
    return false;
}

static bool has_origin(const struct cb_layer *l, const struct cb_layer_origin *o)
{
    for (size_t i = 0; i < l->n_origins; i++)
        if (cb_digest_eq(&l->origins[i].digest, &o->digest) && cb_streq(l->origins[i].host, o->host) &&
            cb_streq(l->origins[i].repo, o->repo))
            return true;
    return false;
}

static bool adds_nothing(const struct cb_layer *have, const struct cb_layer *l)
{
    if (have->size == UINT64_MAX && l->size != UINT64_MAX)
        return false;
    for (size_t i = 0; i < l->n_encodings; i++)
        if (!has_encoding(have, &l->encodings[i]))
            return false;
    for (size_t i = 0; i < l->n_origins; i++)
        if (!has_origin(have, &l->origins[i]))
            return false;
    return true;
}

static int put_encoding(struct cb_store *s, const struct cb_layer *l, const struct cb_layer_encoding *e,
                        struct cb_error *err)
{
    struct sqlite3_stmt *st = stmt_of(s, ST_PUT_ENCODING,
                                      "INSERT INTO encodings(diff_id, digest, size, compression, media_type, engine,"
                                      " annotations) VALUES(?1,?2,?3,?4,?5,?6,?7)"
                                      " ON CONFLICT(diff_id, digest) DO UPDATE SET"
                                      " engine=iif(excluded.engine='', engine, excluded.engine),"
                                      " annotations=iif(annotations='', excluded.annotations, annotations)",
                                      &l->diff_id, err);
    cb_autofree char *annotations = print_annotations(e);
    if (!st)
        return -CB_ELOCAL;
    bind_digest(st, 2, &e->digest);
    sqlite3_bind_int64(st, 3, (sqlite3_int64)e->size);
    sqlite3_bind_int(st, 4, (int)e->compression);
    sqlite3_bind_text(st, 5, e->media_type ? e->media_type : cb_mt_layer(e->compression, false), -1,
                      SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 6, e->engine ? e->engine : "", -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 7, annotations, -1, SQLITE_TRANSIENT);
    return cb_db_exec(s, st, err);
}

static int put_origin(struct cb_store *s, const struct cb_layer *l, const struct cb_layer_origin *o,
                      struct cb_error *err)
{
    struct sqlite3_stmt *st = stmt_of(s, ST_PUT_ORIGIN,
                                      "INSERT OR IGNORE INTO origins(diff_id, digest, host, repo)"
                                      " VALUES(?1,?2,?3,?4)",
                                      &l->diff_id, err);
    if (!st)
        return -CB_ELOCAL;
    bind_digest(st, 2, &o->digest);
    sqlite3_bind_text(st, 3, o->host, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 4, o->repo, -1, SQLITE_TRANSIENT);
    return cb_db_exec(s, st, err);
}

static int put_rows(struct cb_store *s, void *arg, struct cb_error *err)
{
    const struct cb_layer *l = arg;
    struct sqlite3_stmt *st =
        stmt_of(s, ST_PUT_LAYER,
                "INSERT INTO layers(diff_id, size, last_use) VALUES(?1,?2,?3) ON CONFLICT(diff_id)"
                " DO UPDATE SET size=coalesce(size, excluded.size), last_use=excluded.last_use",
                &l->diff_id, err);
    if (!st)
        return -CB_ELOCAL;
    if (l->size <= INT64_MAX)
        sqlite3_bind_int64(st, 2, (sqlite3_int64)l->size);
    sqlite3_bind_int64(st, 3, cb_time_now());
    int r = cb_db_exec(s, st, err);
    for (size_t i = 0; r == 0 && i < l->n_encodings; i++)
        r = l->encodings[i].size <= INT64_MAX ? put_encoding(s, l, &l->encodings[i], err) : 0;
    for (size_t i = 0; r == 0 && i < l->n_origins; i++)
        r = put_origin(s, l, &l->origins[i], err);
    return r;
}

static bool fresh_use(int64_t last_use)
{
    int64_t now = cb_time_now();
    return last_use <= now && now - last_use < USE_STEP;
}

int cb_layer_table_put(struct cb_store *s, const struct cb_layer *l, struct cb_error *err)
{
    struct cb_layer have cb_cleanup_layer = { 0 };
    int64_t last_use = 0;
    int r = get_layer(s, &l->diff_id, &have, &last_use, err);
    if (r == 0 && fresh_use(last_use) && adds_nothing(&have, l))
        return 0;
    if (r < 0 && r != -CB_ENOTFOUND)
        return r;
    return cb_db_transaction(s, put_rows, (void *)(uintptr_t)l, err);
}

static int run_put(struct cb_store *s, void *arg, struct cb_error *err)
{
    return cb_layer_table_put(s, ((const struct layer_arg *)arg)->in, err);
}

static int run_get(struct cb_store *s, void *arg, struct cb_error *err)
{
    const struct layer_arg *a = arg;
    int64_t last_use = 0;
    int r = get_layer(s, a->diff_id, a->out, &last_use, err);
    if (r < 0 || fresh_use(last_use))
        return r;
    struct sqlite3_stmt *st = stmt_of(s, ST_TOUCH, "UPDATE layers SET last_use=?2 WHERE diff_id=?1", a->diff_id, err);
    if (st)
        sqlite3_bind_int64(st, 2, cb_time_now());
    r = st ? cb_db_exec(s, st, err) : -CB_ELOCAL;
    if (r < 0)
        cb_layer_done(a->out);
    return r;
}

int cb_store_layer_put(struct cb_store *s, const struct cb_layer *l, struct cb_error *err)
{
    if (!cb_digest_is_set(&l->diff_id))
        return cb_error_set(err, CB_EINTERNAL, "a layer without a diff id");
    struct layer_arg a = { .in = l };
    int r = cb_store_hold(s, &l->diff_id, err);
    return r < 0 ? r : cb_db_run(s, run_put, &a, err);
}

int cb_store_layer_get(struct cb_store *s, const struct cb_digest *diff_id, struct cb_layer *out,
                       struct cb_error *err)
{
    struct layer_arg a = { .diff_id = diff_id, .out = out };
    int r = cb_store_hold(s, diff_id, err);
    return r < 0 ? r : cb_db_run(s, run_get, &a, err);
}

struct origin_arg {
    const struct cb_layer *layer;
    const struct cb_layer_origin *origin;
};

static int run_forget_origin(struct cb_store *s, void *arg, struct cb_error *err)
{
    const struct origin_arg *a = arg;
    struct sqlite3_stmt *st = stmt_of(s, ST_DEL_ORIGIN,
                                      "DELETE FROM origins WHERE diff_id=?1 AND digest=?2 AND host=?3 AND repo=?4",
                                      &a->layer->diff_id, err);
    if (!st)
        return -CB_ELOCAL;
    bind_digest(st, 2, &a->origin->digest);
    sqlite3_bind_text(st, 3, a->origin->host, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 4, a->origin->repo, -1, SQLITE_TRANSIENT);
    return cb_db_exec(s, st, err);
}

int cb_store_origin_forget(struct cb_store *s, const struct cb_layer *l, size_t i, struct cb_error *err)
{
    struct origin_arg a = { l, &l->origins[i] };
    return cb_db_run(s, run_forget_origin, &a, err);
}

int cb_layer_table_each_use(struct cb_store *s, cb_layer_use_fn *fn, void *arg, struct cb_error *err)
{
    struct sqlite3_stmt *st = cb_db_stmt(s, ST_USES, "SELECT diff_id, last_use FROM layers", err);
    int r = st ? 0 : -CB_ELOCAL;
    while (st && (r = cb_db_step(s, st, err)) == 1) {
        struct cb_digest d;
        int e = column_digest(st, 0, &d) ? fn(arg, &d, sqlite3_column_int64(st, 1), err) : 0;
        if (e < 0) {
            sqlite3_reset(st);
            return e;
        }
    }
    return r;
}

int cb_layer_table_forget(struct cb_store *s, const struct cb_digest *diff_ids, size_t n, int64_t facts_before,
                          struct cb_error *err)
{
    static const struct {
        unsigned id;
        const char *sql;
    } del[] = {
        { ST_DEL_LAYER, "DELETE FROM layers WHERE diff_id=?1" },
        { ST_DEL_ENCODINGS, "DELETE FROM encodings WHERE diff_id=?1" },
        { ST_DEL_ORIGINS, "DELETE FROM origins WHERE diff_id=?1" },
    };
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < CB_COUNTOF(del); k++) {
            struct sqlite3_stmt *st = stmt_of(s, del[k].id, del[k].sql, &diff_ids[i], err);
            int r = st ? cb_db_exec(s, st, err) : -CB_ELOCAL;
            if (r < 0)
                return r;
        }
    struct sqlite3_stmt *st = cb_db_stmt(s, ST_DEL_FACTS, "DELETE FROM facts WHERE set_at<?1", err);
    if (!st)
        return -CB_ELOCAL;
    sqlite3_bind_int64(st, 1, facts_before);
    return cb_db_exec(s, st, err);
}

struct fact {
    const char *kind, *key, *value;
    struct cb_strbuf *out;
};

static int run_fact_get(struct cb_store *s, void *arg, struct cb_error *err)
{
    const struct fact *f = arg;
    struct sqlite3_stmt *st = cb_db_stmt(s, ST_FACT_GET, "SELECT value FROM facts WHERE kind=?1 AND key=?2", err);
    if (!st)
        return -CB_ELOCAL;
    sqlite3_bind_text(st, 1, f->kind, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 2, f->key, -1, SQLITE_TRANSIENT);
    int r = cb_db_step(s, st, err);
    if (r == 1) {
        cb_strbuf_adds(f->out, column_text(st, 0));
        sqlite3_reset(st);
        return 0;
    }
    return r < 0 ? r : cb_error_set(err, CB_ENOTFOUND, "nothing is known of %s %s", f->kind, f->key);
}

static int run_fact_put(struct cb_store *s, void *arg, struct cb_error *err)
{
    const struct fact *f = arg;
    struct sqlite3_stmt *st = cb_db_stmt(s, ST_FACT_PUT,
                                         "INSERT OR REPLACE INTO facts(kind, key, value, set_at)"
                                         " VALUES(?1,?2,?3,?4)",
                                         err);
    if (!st)
        return -CB_ELOCAL;
    sqlite3_bind_text(st, 1, f->kind, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 2, f->key, -1, SQLITE_TRANSIENT);
    sqlite3_bind_text(st, 3, f->value, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(st, 4, cb_time_now());
    return cb_db_exec(s, st, err);
}

int cb_store_fact_get(struct cb_store *s, const char *kind, const char *key, struct cb_strbuf *out,
                      struct cb_error *err)
{
    struct fact f = { .kind = kind, .key = key, .out = out };
    return cb_db_run(s, run_fact_get, &f, err);
}

int cb_store_fact_put(struct cb_store *s, const char *kind, const char *key, const char *value, struct cb_error *err)
{
    struct fact f = { .kind = kind, .key = key, .value = value };
    return cb_db_run(s, run_fact_put, &f, err);
}
