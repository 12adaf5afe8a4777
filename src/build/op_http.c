/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "build/solve.h"
#include "http/http.h"
#include "util/alloc.h"
#include "util/path.h"

#define FACT "http" /* URL → digest, ETag, Last-Modified of what it was, a line each */
#define AUTHORIZED "#authorized" /* behind the URL, which has no fragment: what was given for credentials is another */

/* A download: the file "data" in a directory of ours. */
struct cb_http_file {
    struct cb_store_tmp tmp;
    int dir, fd;
    struct cb_http_fetched got;
};

void cb_http_file_free(struct cb_http_file *f)
{
    if (!f)
        return;
    cb_close_p(&f->dir);
    cb_close_p(&f->fd);
    cb_store_tmp_done(&f->tmp);
    cb_http_fetched_done(&f->got);
    free(f);
}

static int open_file(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_http_file *f = CB_NEW(struct cb_http_file);
    *f = (struct cb_http_file){ .tmp = CB_STORE_TMP_INIT, .dir = -1, .fd = -1 };
    v->state->file = f;
    int r = cb_store_tmp_new(s->env->store, "http", &f->tmp, err);
    if (r < 0)
        return r;
    f->dir = cb_path_openat(f->tmp.fd, "fs", O_RDONLY | O_DIRECTORY, 0, CB_RESOLVE_NOFOLLOW);
    if (f->dir < 0)
        return cb_error_sys(err, CB_ELOCAL, -f->dir, "open the directory to download to");
    f->fd = openat(f->dir, "data", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return f->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "create a file to download to") : 0;
}

/* ---- what was there before ---- */

/* A URL may hold a secret in its query: its digest stands for it. */
static void fact_key(const struct cb_remote_op *op, char hex[static CB_DIGEST_TEXT_MAX])
{
    cb_autofree char *text = cb_asprintf("%s%s", op->url, op->authorized ? AUTHORIZED : "");
    struct cb_digest d;
    cb_digest_of(&d, text, strlen(text));
    cb_digest_hex(&d, hex);
}

struct before {
    struct cb_strbuf text;
    struct cb_digest digest;
    const char *etag, *last_modified; /* NULL for none */
};

static char *next_line(char **text)
{
    char *line = *text, *end = strchr(line, '\n');
    if (!end)
        return NULL;
    *end = '\0';
    *text = end + 1;
    return line;
}

static bool read_before(struct cb_solver *s, const struct cb_remote_op *op, struct before *b)
{
    char key[CB_DIGEST_TEXT_MAX];
    fact_key(op, key);
    if (s->o->no_cache || cb_store_fact_get(s->env->store, FACT, key, &b->text, NULL) < 0)
        return false;
    char *at = b->text.buf, *digest = next_line(&at), *etag = digest ? next_line(&at) : NULL;
    char *modified = etag ? next_line(&at) : NULL;
    if (!modified || cb_digest_parse(&b->digest, digest, NULL) < 0)
        return false;
    b->etag = *etag ? etag : NULL;
    b->last_modified = *modified ? modified : NULL;
    return true;
}

static void write_fact(struct cb_solver *s, const struct cb_remote_op *op, const struct cb_http_fetched *got)
{
    char key[CB_DIGEST_TEXT_MAX], digest[CB_DIGEST_TEXT_MAX];
    fact_key(op, key);
    const char *etag = got->etag && !got->young ? got->etag : "";
    const char *modified = got->last_modified && !got->young ? got->last_modified : "";
    cb_autofree char *value = cb_asprintf("%s\n%s\n%s\n", cb_digest_text(&got->digest, digest), etag, modified);
    /* Without it the next build downloads again. */
    (void)!cb_store_fact_put(s->env->store, FACT, key, value, NULL);
}

/* ---- what it is now ---- */

static int ask(struct cb_solver *s, struct cb_vertex *v, struct before *b, struct cb_error *err)
{
    bool known = read_before(s, &v->remote, b);
    int r = open_file(s, v, err);
    if (r < 0)
        return r;
    struct cb_http_fetched *got = &v->state->file->got;
    struct cb_http_fetch o = { .url = v->remote.url, .step = v->step, .fd = v->state->file->fd,
                               .etag = known ? b->etag : NULL, .last_modified = known ? b->last_modified : NULL };
    struct cb_fetcher f = cb_fetcher_of(s->env, s->o);
    r = cb_http_fetch(&f, &o, got, err);
    if (r < 0)
        return r;
    if (!got->unchanged)
        write_fact(s, &v->remote, got);
    v->remote.content = got->unchanged ? b->digest : got->digest;
    v->remote.last_modified = cb_strdup_or_null(got->unchanged ? b->last_modified : got->last_modified);
    if (got->unchanged)
        cb_http_file_free(CB_TAKE(v->state->file));
    return 0;
}

/* What a checksum names may be in the cache already, which asks nobody for a password. */
static int probe(const struct cb_fetcher *f, struct cb_vertex *v, struct cb_error *err)
{
    struct cb_http_fetched got cb_cleanup_http_fetched = { 0 };
    struct cb_http_fetch o = { .url = v->remote.url, .step = v->step, .fd = -1, .probe = true };
    return cb_http_fetch(f, &o, &got, err);
}

int cb_http_resolve(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    struct before b = { .text = CB_STRBUF_INIT };
    struct cb_remote_auth auth cb_cleanup_remote_auth = { 0 };
    struct cb_fetcher f = cb_fetcher_of(s->env, s->o);
    int r = cb_http_auth(&f, v->remote.url, &auth, err);
    v->remote.authorized = auth.value != NULL;
    if (r == 0 && !v->remote.pinned)
        r = ask(s, v, &b, err);
    else if (r == 0 && v->remote.authorized)
        r = probe(&f, v, err);
    cb_strbuf_done(&b.text);
    return r;
}

/* ---- its bytes ---- */

static int check_digest(const struct cb_vertex *v, struct cb_error *err)
{
    const struct cb_remote_op *op = &v->remote;
    const struct cb_digest *got = &v->state->file->got.digest;
    struct cb_strbuf url cb_cleanup_strbuf = CB_STRBUF_INIT;
    char a[CB_DIGEST_TEXT_MAX], b[CB_DIGEST_TEXT_MAX];
    if (cb_digest_eq(got, &op->content))
        return 0;
    cb_strbuf_add_url_redacted(&url, op->url);
    if (op->pinned)
        return cb_error_set(err, CB_EVERIFY, "%s is %s, and not %s as --checksum says", url.buf,
                            cb_digest_text(got, a), cb_digest_text(&op->content, b));
    return cb_error_set(err, CB_ENET, "%s changed while it was being built with: build again", url.buf);
}

static int download(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    int r = open_file(s, v, err);
    if (r < 0)
        return r;
    struct cb_http_fetch o = { .url = v->remote.url, .step = v->step, .fd = v->state->file->fd,
                               .alg = v->remote.content.alg };
    struct cb_fetcher f = cb_fetcher_of(s->env, s->o);
    r = cb_http_fetch(&f, &o, &v->state->file->got, err);
    return r < 0 ? r : check_digest(v, err);
}

static int set_attributes(const struct cb_http_file *f, struct cb_error *err)
{
    int64_t sec = cb_http_mtime(f->got.last_modified);
    const struct timespec t[2] = { { .tv_sec = sec }, { .tv_sec = sec } };
    if (fchmod(f->fd, 0600) < 0 || futimens(f->fd, t) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "set mode and time of what was downloaded");
    return 0;
}

/* Only the bytes tell whether there is something to unpack. */
static int set_dest(struct cb_vertex *v, struct cb_error *err)
{
    const struct cb_remote_op *op = &v->remote;
    int archive = op->unpack ? cb_layer_is_archive(v->state->file->fd, err) : 0;
    if (archive < 0)
        return archive;
    v->copy.unpack = archive;
    free(v->copy.dest);
    v->copy.dest = archive && op->as_root ? cb_strdup("/") : cb_asprintf("/%s%s", op->name, archive ? "/" : "");
    return 0;
}

static int execute_http(struct cb_solver *s, struct cb_vertex *v, struct cb_error *err)
{
    int r = v->state->file ? 0 : download(s, v, err);
    if (r == 0)
        r = set_attributes(v->state->file, err);
    if (r == 0)
        r = set_dest(v, err);
    if (r < 0)
        return r;
    r = cb_remote_place(s, v, CB_TAKE_FD(v->state->file->dir), INT64_MAX, err);
    cb_http_file_free(CB_TAKE(v->state->file));
    return r;
}

const struct cb_op cb_op_http = { execute_http };
