/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "edit/private.h"
#include "util/alloc.h"

struct blob {
    struct cb_descriptor desc;
    char *host, *repo; /* a registry that has it, or NULL */
    struct cb_strbuf bytes;
    int fd;            /* -1: the bytes, or the store */
    bool in_memory;
    struct cb_edit_plan *plan;
};
struct doc {
    struct cb_descriptor desc;
    struct cb_strbuf body;
};
struct cb_edit_plan {
    const struct cb_edit_env *env;
    struct blob **v; /* each is handed to the push by address */
    size_t n, cap;
    struct doc *docs;
    size_t n_docs, cap_docs;
};

struct cb_edit_plan *cb_edit_plan_new(const struct cb_edit_env *env)
{
    struct cb_edit_plan *p = CB_NEW(struct cb_edit_plan);
    p->env = env;
    return p;
}

void cb_edit_plan_free(struct cb_edit_plan *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        cb_descriptor_done(&p->v[i]->desc);
        cb_strbuf_done(&p->v[i]->bytes);
        cb_close_p(&p->v[i]->fd);
        free(p->v[i]->host);
        free(p->v[i]->repo);
        free(p->v[i]);
    }
    for (size_t i = 0; i < p->n_docs; i++) {
        cb_descriptor_done(&p->docs[i].desc);
        cb_strbuf_done(&p->docs[i].body);
    }
    free(p->v);
    free(p->docs);
    free(p);
}

static struct blob *add(struct cb_edit_plan *p, const struct cb_descriptor *d)
{
    struct blob *b = CB_NEW(struct blob);
    *b = (struct blob){ .bytes = CB_STRBUF_INIT, .fd = -1, .plan = p };
    cb_descriptor_copy(&b->desc, d);
    CB_GROW(p->v, p->n, p->cap);
    return p->v[p->n++] = b;
}

void cb_edit_plan_blob(struct cb_edit_plan *p, const struct cb_edit_source *from, const struct cb_descriptor *d)
{
    struct blob *b = add(p, d);
    if (from->stored)
        return;
    b->host = cb_strdup(from->ref.host);
    b->repo = cb_strdup(from->ref.repo);
}

void cb_edit_plan_bytes(struct cb_edit_plan *p, const struct cb_descriptor *d, const void *buf, size_t n)
{
    struct blob *b = add(p, d);
    b->in_memory = true;
    cb_strbuf_add(&b->bytes, buf, n);
}

void cb_edit_plan_stored(struct cb_edit_plan *p, const struct cb_descriptor *d)
{
    add(p, d);
}

void cb_edit_plan_file(struct cb_edit_plan *p, const struct cb_descriptor *d, int fd)
{
    add(p, d)->fd = fd;
}

void cb_edit_plan_doc(struct cb_edit_plan *p, const struct cb_descriptor *d, const void *buf, size_t n)
{
    CB_GROW(p->docs, p->n_docs, p->cap_docs);
    struct doc *doc = &p->docs[p->n_docs++];
    *doc = (struct doc){ .body = CB_STRBUF_INIT };
    cb_descriptor_copy(&doc->desc, d);
    cb_strbuf_add(&doc->body, buf, n);
}

bool edit_plan_has_doc(const struct cb_edit_plan *p, const struct cb_descriptor *d)
{
    for (size_t i = 0; i < p->n_docs; i++) {
        const struct cb_descriptor *have = &p->docs[i].desc;
        if (cb_digest_eq(&have->digest, &d->digest))
            return have->size == d->size && cb_streq(have->media_type, d->media_type);
    }
    return false;
}

/* ---- pushing ---- */

static int open_blob(void *arg, const struct cb_digest *d, struct cb_blob_source **out, struct cb_error *err)
{
    const struct blob *b = arg;
    if (b->in_memory) {
        *out = cb_blob_source_from_mem(b->bytes.buf, b->bytes.len);
        return 0;
    }
    if (b->fd < 0)
        return cb_store_blob_source(b->plan->env->store, d, out, err);
    int fd = fcntl(b->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "duplicate a descriptor");
    /* Whoever changes the file meanwhile is found out. */
    *out = cb_blob_source_verify(cb_blob_source_from_fd(fd, 0, b->desc.size), d, b->desc.size);
    return 0;
}

static int add_blob(struct cb_push *push, struct blob *b, struct cb_error *err)
{
    const char *host = b->host, *repo = b->repo;
    struct cb_push_blob blob = { .desc = b->desc, .origin_hosts = &host, .origin_repos = &repo,
                                 .n_origins = host ? 1 : 0, .arg = b };
    if (!host || cb_store_blob_has(b->plan->env->store, &b->desc.digest, NULL))
        blob.open = open_blob;
    return cb_push_add(push, &blob, err);
}

static void show_blob(void *arg, const struct cb_digest *d, uint64_t current, uint64_t total,
                      const struct cb_push_result *done)
{
    static const char *const how[] = { " present", " mounted", " uploaded", " copied" };
    struct cb_step *step = arg;
    char text[CB_DIGEST_TEXT_MAX], id[64];
    snprintf(id, sizeof id, "%.19s", cb_digest_text(d, text));
    cb_step_status(step, id, current, total);
    if (!done)
        return;
    cb_step_status_done(step, id);
    cb_step_logf(step, "%s%s%s%s", id, how[done->outcome], done->mounted_from ? " from " : "",
                 done->mounted_from ? done->mounted_from : "");
}

static bool has_subject(const struct doc *d)
{
    cb_autojson json_t *o = cb_json_parse(d->body.buf, d->body.len, NULL);
    return json_object_get(o, "subject") != NULL;
}

/* What refers to something has to be found by it: in the fallback tag too, where the registry keeps no list. */
static int push_doc(struct cb_edit_plan *p, struct cb_push *push, const struct cb_reference *target,
                    const struct doc *d, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { .host = cb_strdup(target->host),
                                                     .repo = cb_strdup(target->repo), .digest = d->desc.digest };
    if (!has_subject(d))
        return cb_push_manifest(push, &d->desc, d->body.buf, d->body.len, err);
    return cb_registry_manifest_put(p->env->registry, &ref, d->desc.media_type,
                                    (struct cb_slice){ d->body.buf, d->body.len }, err);
}

static int push_all(struct cb_edit_plan *p, struct cb_push *push, const struct cb_reference *target,
                    struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < p->n; i++)
        r = add_blob(push, p->v[i], err);
    if (r == 0)
        r = cb_push_wait(push, err);
    for (size_t i = 0; r == 0 && i < p->n_docs; i++)
        r = push_doc(p, push, target, &p->docs[i], err);
    return r;
}

/* Between reading and now somebody may have moved the tag: what they pushed is not to be lost. */
static int check_unmoved(struct cb_push *push, const char *tag, const struct cb_descriptor *was, struct cb_error *err)
{
    bool current = true;
    int r = was ? cb_push_tag_current(push, was, tag, &current, err) : 0;
    if (r == 0 && !current)
        r = cb_error_set(err, CB_ENET, "the tag %s was moved by somebody else meanwhile; it is left as it is: "
                                       "run it again", tag);
    return r;
}

static void count(const struct cb_push *push, struct cb_edit_pushed *out)
{
    const struct cb_push_result *v;
    size_t n = cb_push_results(push, &v);
    for (size_t i = 0; i < n; i++) {
        out->present += v[i].outcome == CB_BLOB_PRESENT;
        out->mounted += v[i].outcome == CB_BLOB_MOUNTED;
        out->sent += v[i].outcome == CB_BLOB_UPLOADED || v[i].outcome == CB_BLOB_COPIED;
        out->bytes += v[i].sent;
    }
}

void cb_edit_pushed_done(struct cb_edit_pushed *r)
{
    cb_reference_done(&r->ref);
    cb_descriptor_done(&r->desc);
}

int cb_edit_plan_push(struct cb_edit_plan *p, const struct cb_reference *target, const struct cb_descriptor *was,
                      struct cb_edit_pushed *out, struct cb_error *err)
{
    struct cb_push_options o = { .target = target, .on_blob = show_blob, .arg = p->env->step };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    CB_AUTO(cb_push_free) struct cb_push *push = NULL;
    const struct doc *top = &p->docs[p->n_docs - 1];
    *out = (struct cb_edit_pushed){ 0 };
    int r = cb_push_begin(p->env->registry, &o, &push, &e);
    if (r == 0)
        r = push_all(p, push, target, &e);
    if (r == 0 && target->tag)
        r = check_unmoved(push, target->tag, was, &e);
    if (r == 0 && target->tag)
        r = cb_push_tag(push, &top->desc, (struct cb_slice){ top->body.buf, top->body.len }, target->tag,
                        &out->moved, &e);
    if (r < 0)
        return cb_error_move(err, &e);
    count(push, out);
    cb_reference_copy(&out->ref, target);
    out->ref.digest = top->desc.digest;
    cb_descriptor_copy(&out->desc, &top->desc);
    return 0;
}
