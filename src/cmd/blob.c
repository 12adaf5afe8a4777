/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/remote.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/input.h"

#define CHUNK (256u << 10)

struct blob_options {
    struct cb_common common;
    const char *output;
    bool json;
};
#define AT(field) offsetof(struct blob_options, field)

static int call(const struct cb_process *p, struct cb_remote_call *c, int argc, char **argv, struct cb_error *err)
{
    struct blob_options o = { .common = CB_COMMON_INIT };
    c->argc = argc;
    c->argv = argv;
    c->options = &o;
    c->common = &o.common;
    return cb_remote_call(p, c, err);
}

/* ---- get ---- */

/* To fd or, where that is negative, to standard output. Has seen the end: the bytes are verified. */
static int copy_out(struct cb_blob_source *src, int fd, struct cb_error *err)
{
    cb_autofree char *buf = cb_malloc(CHUNK);
    for (size_t got = 1;;) {
        int r = cb_blob_read(src, buf, CHUNK, &got, err);
        if (r < 0 || !got)
            return r;
        if (fd >= 0)
            r = cb_fd_write_all(fd, buf, got, err);
        else if (fwrite(buf, 1, got, stdout) != got)
            r = cb_stdout_check(err);
        if (r < 0)
            return r;
    }
}

static int open_blob(struct cb_remote *x, struct cb_blob_source **out, struct cb_error *err)
{
    struct cb_descriptor d cb_cleanup_descriptor = { .digest = x->ref.digest };
    d.media_type = cb_strdup("application/octet-stream");
    int r = cb_registry_blob_head(x->s.registry, &x->ref, &d.size, err);
    if (r == 0 && d.size == UINT64_MAX)
        r = cb_error_set(err, CB_ENET, "the registry does not tell the size of the blob");
    return r < 0 ? r : cb_registry_blob(x->s.registry, x->ref.host, x->ref.repo, &d, out, err);
}

static int get(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct blob_options *o = options;
    cb_autosource struct cb_blob_source *src = NULL;
    struct cb_out_file f;
    int r = open_blob(x, &src, err);
    if (r < 0 || !o->output || !strcmp(o->output, "-"))
        return r < 0 ? r : copy_out(src, -1, err);
    r = cb_out_file_open(&f, o->output, err);
    if (r == 0)
        r = copy_out(src, f.fd, err);
    return cb_out_file_close(&f, r, err);
}

static int run_get(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                   int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = get, .kind = CB_REMOTE_DIGEST };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt get_table[] = {
    { "output", 'o', CB_OPT_STRING, AT(output), "FILE", "write it there: whole and verified, or not at all", NULL },
    CB_OPT_REMOTE(blob_options),
    CB_OPT_END,
};

static const struct cb_verb verb_get = {
    .name = "blob get",
    .summary = "stream a blob to standard output or a file, verified",
    .operands = "[OPTIONS] REPOSITORY@DIGEST",
    .details = "On standard output bytes come before the last of them is verified: exit status 7 says that they are\n"
               "wrong.",
    .options = get_table,
    .run = run_get,
};

/* ---- head ---- */

static void print_json(const struct cb_digest *d, uint64_t size)
{
    char text[CB_DIGEST_TEXT_MAX];
    json_t *j = json_object();
    cb_json_put_string(j, "digest", cb_digest_text(d, text));
    cb_json_put(j, "size", json_integer((json_int_t)size));
    cb_print_json_line(j);
}

static int head(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct blob_options *o = options;
    uint64_t size = 0;
    int r = cb_registry_blob_head(x->s.registry, &x->ref, &size, err);
    if (r == 0 && size == UINT64_MAX)
        r = cb_error_set(err, CB_ENET, "it is there, but the registry does not tell its size");
    if (r < 0)
        return r;
    if (o->json)
        print_json(&x->ref.digest, size);
    else
        printf("%" PRIu64 "\n", size);
    return 0;
}

static int run_head(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                    int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = head, .kind = CB_REMOTE_DIGEST };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt head_table[] = {
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "digest and size", NULL },
    CB_OPT_REMOTE(blob_options),
    CB_OPT_END,
};

static const struct cb_verb verb_head = {
    .name = "blob head",
    .summary = "print the size of a blob in bytes; exit status 4 where it is not there",
    .operands = "[OPTIONS] REPOSITORY@DIGEST",
    .options = head_table,
    .run = run_head,
};

/* ---- put ---- */

/* What is pushed: a file, or what standard input gave, which is kept because an upload may have to begin again. */
struct content {
    int fd;
    uint64_t size;
    struct cb_digest digest;
};

static int open_spool(struct cb_error *err)
{
    const char *dir = getenv("TMPDIR");
    dir = dir && *dir ? dir : "/tmp";
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fd;
    cb_autofree char *path = cb_asprintf("%s/cbpush-blob-XXXXXX", dir);
    fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "temporary file in %s", dir);
    unlink(path);
    return fd;
}

static int open_content(struct content *c, const char *path, const struct cb_cancel *cancel, struct cb_error *err)
{
    if (strcmp(path, "-") != 0) {
        struct stat st;
        c->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        if (c->fd < 0 || fstat(c->fd, &st) < 0)
            return cb_error_sys(err, errno == ENOENT ? CB_EUSAGE : CB_ELOCAL, errno, "open %s", path);
        return S_ISREG(st.st_mode)
                   ? 0
                   : cb_error_set(err, CB_EUSAGE, "%s is no regular file: pipe it in (- is standard input)", path);
    }
    struct cb_input input = { STDIN_FILENO, cancel };
    uint64_t copied;
    c->fd = open_spool(err);
    return c->fd < 0 ? c->fd : cb_input_copy(&input, c->fd, UINT64_MAX, &copied, err);
}

static int hash_content(struct content *c, enum cb_digest_alg alg, struct cb_error *err)
{
    CB_AUTO(cb_hasher_free) struct cb_hasher *h = cb_hasher_new(alg);
    cb_autofree char *buf = cb_malloc(CHUNK);
    for (size_t got = CHUNK; got == CHUNK; c->size += got) {
        int r = cb_fd_pread_full(c->fd, buf, CHUNK, c->size, &got, err);
        if (r < 0)
            return r;
        cb_hasher_update(h, buf, got);
    }
    cb_hasher_finish(h, &c->digest);
    return 0;
}

static int reopen(void *arg, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out, struct cb_error *err)
{
    const struct content *c = arg;
    int fd = fcntl(c->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "descriptor");
    /* A file that somebody changes meanwhile is no blob any more. */
    *out = cb_blob_source_verify(cb_blob_source_from_fd(fd, 0, c->size), &c->digest, c->size);
    return 0;
}

static int push(struct cb_remote *x, struct content *c, struct cb_error *err)
{
    CB_AUTO(cb_push_free) struct cb_push *p = NULL;
    struct cb_push_options o = { .target = &x->ref, .jobs = 1 };
    struct cb_push_blob b = { .desc = { .digest = c->digest, .size = c->size }, .open = reopen, .arg = c };
    int r = cb_push_begin(x->s.registry, &o, &p, err);
    if (r < 0)
        return r;
    b.desc.media_type = cb_strdup("application/octet-stream");
    r = cb_push_add(p, &b, err);
    free(b.desc.media_type);
    return r < 0 ? r : cb_push_wait(p, err);
}

static int check_content(const struct cb_remote *x, const struct content *c, const char *path, struct cb_error *err)
{
    char have[CB_DIGEST_TEXT_MAX], want[CB_DIGEST_TEXT_MAX];
    if (!cb_digest_is_set(&x->ref.digest) || cb_digest_eq(&c->digest, &x->ref.digest))
        return 0;
    return cb_error_set(err, CB_EVERIFY, "%s has digest %s, not %s", strcmp(path, "-") ? path : "standard input",
                        cb_digest_text(&c->digest, have), cb_digest_text(&x->ref.digest, want));
}

static int put(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct blob_options *o = options;
    const char *path = x->more->n > 1 ? x->more->v[1] : "-";
    struct content c = { .fd = -1 };
    int r = open_content(&c, path, x->s.process->cancel, err);
    if (r == 0)
        r = hash_content(&c, x->ref.digest.alg ? x->ref.digest.alg : CB_DIGEST_SHA256, err);
    if (r == 0)
        r = check_content(x, &c, path, err);
    if (r == 0)
        r = push(x, &c, err);
    if (c.fd >= 0)
        close(c.fd);
    if (r == 0 && o->json)
        print_json(&c.digest, c.size);
    else if (r == 0)
        cb_print_digest(&c.digest);
    return r;
}

static int run_put(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                   int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = put, .kind = CB_REMOTE_BLOB, .more = 1 };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt plain_table[] = {
    CB_OPT_REMOTE(blob_options),
    CB_OPT_END,
};

static const struct cb_verb verb_put = {
    .name = "blob put",
    .summary = "push a blob from a file or standard input; prints its digest",
    .operands = "[OPTIONS] REPOSITORY[@DIGEST] [FILE|-]",
    .details = "With DIGEST nothing else is pushed. Standard input is kept in a file of TMPDIR first, because an\n"
               "upload may have to begin again.",
    .options = head_table,
    .run = run_put,
};

/* ---- delete ---- */

static int delete(struct cb_remote *x, void *options, struct cb_error *err)
{
    const struct blob_options *o = options;
    int r = cb_registry_blob_delete(x->s.registry, &x->ref, err);
    if (r == 0 && o->json)
        cb_print_deleted(&x->ref);
    return r;
}

static int run_delete(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct cb_remote_call c = { .verb = self, .run = delete, .kind = CB_REMOTE_DIGEST };
    return call(p, &c, argc, argv, err);
}

static const struct cb_opt delete_table[] = {
    { "json", 0, CB_OPT_FLAG, AT(json), NULL, "an object: what was deleted", NULL },
    CB_OPT_REMOTE(blob_options),
    CB_OPT_END,
};

static const struct cb_verb verb_delete = {
    .name = "blob delete",
    .summary = "delete a blob; what refers to it is broken then",
    .operands = "[OPTIONS] REPOSITORY@DIGEST",
    .options = delete_table,
    .run = run_delete,
};

/* ---- all of them ---- */

static const struct cb_verb *const subs[] = { &verb_get, &verb_head, &verb_put, &verb_delete, NULL };

const struct cb_verb cb_verb_blob = {
    .name = "blob",
    .topic = CB_TOPIC_REGISTRY,
    .summary = "get, head, put or delete a blob",
    .operands = "get|head|put|delete [OPTIONS] REPOSITORY@DIGEST",
    .details = "`cbpush blob REPOSITORY@DIGEST` gets it.",
    .options = plain_table,
    .subs = subs,
    .run = cb_verb_run_sub,
};
