/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "store/private.h"
#include "util/alloc.h"
#include "util/fs.h"
#include "util/timeutil.h"

#define DB_NAME "index.sqlite"
#define BUSY_NS (20 * CB_SECOND)
#define AFTER_CANCEL (CB_SECOND / 4)
#define SCHEMA_VERSION 2

/* All of it can be rebuilt (rebuild.c) or done without; so NORMAL is durable enough. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS layers(diff_id TEXT PRIMARY KEY, size INTEGER, last_use INTEGER NOT NULL) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS encodings(id INTEGER PRIMARY KEY, diff_id TEXT NOT NULL, digest TEXT NOT NULL,"
    " size INTEGER NOT NULL, compression INTEGER NOT NULL, media_type TEXT NOT NULL, engine TEXT NOT NULL,"
    " annotations TEXT NOT NULL,"
    " UNIQUE(diff_id, digest));"
    "CREATE TABLE IF NOT EXISTS origins(id INTEGER PRIMARY KEY, diff_id TEXT NOT NULL, digest TEXT NOT NULL,"
    " host TEXT NOT NULL, repo TEXT NOT NULL, UNIQUE(diff_id, digest, host, repo));"
    "CREATE TABLE IF NOT EXISTS facts(kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, set_at INTEGER NOT "
    "NULL,"
    " PRIMARY KEY(kind, key)) WITHOUT ROWID;";

static int db_fail(struct cb_store *s, struct cb_error *err, const char *what)
{
    int code = s->db.handle ? sqlite3_errcode(s->db.handle) : SQLITE_CANTOPEN;
    if (code == SQLITE_BUSY && cb_canceled(s->cancel))
        return cb_cancel_check(s->cancel, err);
    s->db.corrupt = s->db.corrupt || code == SQLITE_CORRUPT || code == SQLITE_NOTADB;
    const char *text = s->db.handle ? sqlite3_errmsg(s->db.handle) : sqlite3_errstr(code);
    int sys = code == SQLITE_FULL                    ? ENOSPC
              : code == SQLITE_IOERR && s->db.handle ? sqlite3_system_errno(s->db.handle)
                                                     : 0;
    if (sys)
        return cb_error_sys(err, CB_ELOCAL, sys, "%s in %s/" DB_NAME ": %s", what, s->root, text);
    return cb_error_set(err, CB_ELOCAL, "%s in %s/" DB_NAME ": %s", what, s->root, text);
}

static void close_handle(struct cb_store *s)
{
    for (size_t i = 0; i < CB_DB_STATEMENTS; i++) {
        sqlite3_finalize(s->db.stmt[i]);
        s->db.stmt[i] = NULL;
    }
    sqlite3_close(s->db.handle);
    s->db.handle = NULL;
}

void cb_db_close(struct cb_store *s)
{
    /* In a forked child the handle is the parent's: closing it would drop the parent's locks. */
    if (s->db.handle && s->db.pid == getpid())
        close_handle(s);
}

int cb_db_text(struct cb_store *s, const char *sql, struct cb_error *err)
{
    return sqlite3_exec(s->db.handle, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : db_fail(s, err, sql);
}

struct sqlite3_stmt *cb_db_stmt(struct cb_store *s, unsigned id, const char *sql, struct cb_error *err)
{
    struct sqlite3_stmt **slot = &s->db.stmt[id];
    if (!*slot && sqlite3_prepare_v3(s->db.handle, sql, -1, SQLITE_PREPARE_PERSISTENT, slot, NULL) != SQLITE_OK) {
        db_fail(s, err, sql);
        return NULL;
    }
    sqlite3_reset(*slot);
    sqlite3_clear_bindings(*slot);
    return *slot;
}

int cb_db_step(struct cb_store *s, struct sqlite3_stmt *st, struct cb_error *err)
{
    int r = sqlite3_step(st);
    if (r == SQLITE_ROW)
        return 1;
    if (r == SQLITE_DONE) {
        sqlite3_reset(st);
        return 0;
    }
    int e = db_fail(s, err, sqlite3_sql(st));
    sqlite3_reset(st);
    return e;
}

int cb_db_exec(struct cb_store *s, struct sqlite3_stmt *st, struct cb_error *err)
{
    int r;
    while ((r = cb_db_step(s, st, err)) == 1)
        ;
    return r;
}

int cb_db_transaction(struct cb_store *s, int (*fn)(struct cb_store *s, void *arg, struct cb_error *err), void *arg,
                      struct cb_error *err)
{
    int r = cb_db_text(s, "BEGIN IMMEDIATE", err);
    if (r < 0)
        return r;
    r = fn(s, arg, err);
    if (r == 0)
        r = cb_db_text(s, "COMMIT", err);
    if (r < 0)
        sqlite3_exec(s->db.handle, "ROLLBACK", NULL, NULL, NULL);
    return r;
}

static int query_int(struct cb_store *s, const char *sql, int *out, struct cb_error *err)
{
    struct sqlite3_stmt *st = NULL;
    if (sqlite3_prepare_v2(s->db.handle, sql, -1, &st, NULL) != SQLITE_OK)
        return db_fail(s, err, sql);
    int r = sqlite3_step(st);
    if (r == SQLITE_ROW)
        *out = sqlite3_column_int(st, 0);
    else
        db_fail(s, err, sql);
    sqlite3_finalize(st);
    return r == SQLITE_ROW ? 0 : -CB_ELOCAL;
}

/* A write-ahead log that is there means that the last user was killed or lives: only then a check is worth its
 * time. */
static int quick_check(struct cb_store *s, struct cb_error *err)
{
    struct stat st;
    if (fstatat(s->root_fd, DB_NAME "-wal", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size == 0)
        return 0;
    struct sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2(s->db.handle, "PRAGMA quick_check(1)", -1, &q, NULL) != SQLITE_OK)
        return db_fail(s, err, "quick_check");
    bool row = sqlite3_step(q) == SQLITE_ROW;
    bool ok = row && strcmp((const char *)sqlite3_column_text(q, 0), "ok") == 0;
    sqlite3_finalize(q);
    if (ok)
        return 0;
    if (!row)
        return db_fail(s, err, "quick_check");
    s->db.corrupt = true;
    return cb_error_set(err, CB_ELOCAL, "%s/" DB_NAME " is damaged", s->root);
}

static int make_schema(struct cb_store *s, void *arg, struct cb_error *err)
{
    (void)arg;
    int version = 0;
    int r = query_int(s, "PRAGMA user_version", &version, err);
    if (r < 0)
        return r;
    if (version != 0 && version != SCHEMA_VERSION)
        r = cb_db_text(s,
                       "DROP TABLE IF EXISTS layers; DROP TABLE IF EXISTS encodings; DROP TABLE IF EXISTS origins;"
                       "DROP TABLE IF EXISTS facts;",
                       err);
    if (r == 0)
        r = cb_db_text(s, schema, err);
    return r == 0 ? cb_db_text(s, "PRAGMA user_version=2", err) : r;
}

/* ---- waiting for who has the file ---- */

/* What is put in order after a cancel still waits a moment. */
static bool may_wait(const struct cb_store *s, int64_t since)
{
    return cb_time_monotonic() - since < (cb_canceled(s->cancel) ? AFTER_CANCEL : BUSY_NS);
}

static void wait_a_moment(const struct cb_store *s, int64_t ms)
{
    struct pollfd p = { .fd = s->cancel && !cb_canceled(s->cancel) ? cb_cancel_fd(s->cancel) : -1, .events = POLLIN };
    (void)poll(&p, 1, (int)ms);
}

/* For SQLite: whether it is to try again. n: how often it has asked in this wait. */
static int on_busy(void *arg, int n)
{
    struct cb_store *s = arg;
    if (n == 0) {
        s->db.busy_since = cb_time_monotonic();
        s->db.told = !s->busy;
    }
    if (!may_wait(s, s->db.busy_since))
        return 0;
    if (!s->db.told && cb_time_monotonic() - s->db.busy_since > CB_SECOND) {
        cb_autofree char *line = cb_asprintf("waiting for another program that uses %s/" DB_NAME, s->root);
        s->busy(s->busy_arg, line);
        s->db.told = true;
    }
    wait_a_moment(s, CB_MIN(1 + n, 20));
    return 1;
}

/* The change to a write-ahead log wants the file for itself, and of those who want it at once SQLite lets one have it
 * and fails the others without waiting. Where such a log cannot work (no shared memory on that file system) it keeps
 * its rollback journal. */
static int use_wal(struct cb_store *s, struct cb_error *err)
{
    int64_t since = cb_time_monotonic();
    for (;;) {
        struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
        if (cb_db_text(s, "PRAGMA journal_mode=WAL", &e) == 0)
            return 0;
        if (sqlite3_errcode(s->db.handle) != SQLITE_BUSY || !may_wait(s, since))
            return cb_error_move(err, &e);
        wait_a_moment(s, 2);
    }
}

/* What a crash leaves of an index without a row is found out when it is opened again, and made anew: nobody waits for
 * the disk until there are some. */
static int prepare_handle(struct cb_store *s, bool *fresh, struct cb_error *err)
{
    int version = 0;
    int r = cb_db_text(s, "PRAGMA synchronous=OFF", err);
    if (r == 0)
        r = use_wal(s, err);
    if (r == 0)
        r = query_int(s, "PRAGMA user_version", &version, err);
    *fresh = r == 0 && version != SCHEMA_VERSION;
    if (*fresh)
        r = cb_db_transaction(s, make_schema, NULL, err);
    return r < 0 ? r : cb_db_text(s, "PRAGMA synchronous=NORMAL", err);
}

/* *fresh: there are no tables of ours yet. */
static int open_handle(struct cb_store *s, bool *fresh, struct cb_error *err)
{
    cb_autofree char *path = cb_asprintf("%s/" DB_NAME, s->root);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE;
    s->db.pid = getpid();
    if (sqlite3_open_v2(path, &s->db.handle, flags, NULL) != SQLITE_OK)
        return db_fail(s, err, "open");
    sqlite3_extended_result_codes(s->db.handle, 0);
    sqlite3_busy_handler(s->db.handle, on_busy, s);
    sqlite3_db_config(s->db.handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(s->db.handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    int r = quick_check(s, err);
    return r < 0 ? r : prepare_handle(s, fresh, err);
}

static int set_aside(struct cb_store *s, struct cb_error *err)
{
    if (renameat(s->root_fd, DB_NAME, s->root_fd, DB_NAME ".bak") < 0 && errno != ENOENT)
        return cb_error_sys(err, CB_ELOCAL, errno, "rename %s/" DB_NAME, s->root);
    static const char *const more[] = { DB_NAME "-wal", DB_NAME "-shm", DB_NAME "-journal" };
    for (size_t i = 0; i < CB_COUNTOF(more); i++)
        if (unlinkat(s->root_fd, more[i], 0) < 0 && errno != ENOENT)
            return cb_error_sys(err, CB_ELOCAL, errno, "remove %s/%s", s->root, more[i]);
    return 0;
}

/* One process repairs; the others find a sound file when they get the lock. A repair has a lock of its own, because
 * gc uses the database while it has the store's. */
static int repair(struct cb_store *s, struct cb_error *err)
{
    cb_autoclose int lock = openat(s->root_fd, "index.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s/index.lock", s->root);
    int r = cb_store_lock_wait(s, lock, true, err);
    if (r < 0)
        return r;
    bool fresh = false;
    close_handle(s);
    s->db.corrupt = false;
    int ok = 0;
    if (open_handle(s, &fresh, NULL) == 0 &&
        query_int(s,
                  "SELECT count(*) FROM pragma_quick_check(1)"
                  " WHERE quick_check='ok'",
                  &ok, NULL) == 0 &&
        ok == 1)
        return 0;
    close_handle(s);
    s->db.corrupt = false;
    if ((r = set_aside(s, err)) < 0 || (r = open_handle(s, &fresh, err)) < 0)
        return r;
    return cb_store_rebuild(s, err);
}

static int ensure_open(struct cb_store *s, struct cb_error *err)
{
    if (s->db.handle && s->db.pid != getpid())
        return cb_error_set(err, CB_EINTERNAL, "the store's index is used across a fork");
    if (s->db.handle)
        return 0;
    bool fresh = false;
    int r = open_handle(s, &fresh, err);
    /* Somebody may have removed the file of a store that has images. */
    if (r == 0 && fresh)
        r = cb_store_rebuild(s, err);
    if (r < 0 && !s->db.corrupt)
        close_handle(s);
    return r;
}

int cb_db_run(struct cb_store *s, int (*fn)(struct cb_store *s, void *arg, struct cb_error *err), void *arg,
              struct cb_error *err)
{
    pthread_mutex_lock(&s->db.mutex);
    int r = 0;
    for (int i = 0; i < 2; i++) {
        r = ensure_open(s, err);
        if (r == 0)
            r = fn(s, arg, err);
        if (r == 0 || !s->db.corrupt)
            break;
        r = i == 0 ? repair(s, err) : r;
        if (r < 0)
            break;
    }
    if (s->db.corrupt) {
        close_handle(s);
        s->db.corrupt = false;
    }
    pthread_mutex_unlock(&s->db.mutex);
    return r;
}

static int nothing(struct cb_store *s CB_UNUSED, void *arg CB_UNUSED, struct cb_error *err CB_UNUSED)
{
    return 0;
}

void cb_store_warm(struct cb_store *s)
{
    (void)!cb_db_run(s, nothing, NULL, NULL);
}

/* Where others use it, some of it stays for whoever closes it last. */
void cb_store_settle_index(struct cb_store *s)
{
    pthread_mutex_lock(&s->db.mutex);
    if (s->db.handle && s->db.pid == getpid())
        (void)!sqlite3_wal_checkpoint_v2(s->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    pthread_mutex_unlock(&s->db.mutex);
}
