/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/remote.h"

#include <stdio.h>

#include "oci/json.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

#define TRANSPORT "docker://"

/* An image of Docker Hub may be called oci, dir or store. */
static const struct { const char *prefix, *only_before; } places[] = {
    { "oci:", "/:" },          { "dir:", "/:" },         { "oci-archive:", "" },        { "store:", "/:" },
    { "docker-archive:", "" }, { "docker-daemon:", "" }, { "containers-storage:", "" },
};

bool cb_names_other_place(const char *text)
{
    for (size_t i = 0; i < CB_COUNTOF(places); i++)
        if (cb_starts_with(text, places[i].prefix) &&
            (!*places[i].only_before || strpbrk(text + strlen(places[i].prefix), places[i].only_before)))
            return true;
    return false;
}

int cb_check_no_place(const char *text, const char *instead, struct cb_error *err)
{
    if (cb_starts_with(text, "http://") || cb_starts_with(text, "https://"))
        return cb_error_set(err, CB_EUSAGE, "%s: write HOST/REPOSITORY[:TAG], without %.*s", text,
                            (int)(strstr(text, "//") - text) + 2, text);
    if (!cb_names_other_place(text))
        return 0;
    return cb_error_set(err, CB_EUSAGE, "%s: %s; `cbpush copy SRC DST` goes to other places and from them", text,
                        instead);
}

static int parse_host(struct cb_reference *out, const char *text, struct cb_error *err)
{
    cb_autofree char *host = cb_strdup(text);
    size_t n = strlen(host);
    if (n && host[n - 1] == '/')
        host[n - 1] = '\0';
    if (!cb_reference_valid_host(host))
        return cb_error_set(err, CB_EUSAGE, "%s is no registry: write HOST[:PORT]", text);
    out->host = CB_TAKE(host);
    return 0;
}

static int check_kind(const struct cb_reference *ref, const char *text, enum cb_remote_kind kind, struct cb_error *err)
{
    bool digest = cb_digest_is_set(&ref->digest);
    if (kind == CB_REMOTE_REPO && (ref->tag || digest))
        return cb_error_set(err, CB_EUSAGE, "%s: name the repository, without tag or digest", text);
    if (kind == CB_REMOTE_BLOB && ref->tag)
        return cb_error_set(err, CB_EUSAGE, "%s: a blob has no tag: write REPOSITORY@DIGEST", text);
    if (kind == CB_REMOTE_DIGEST && (!digest || ref->tag))
        return cb_error_set(err, CB_EUSAGE, "%s: write REPOSITORY@DIGEST", text);
    if (kind == CB_REMOTE_EXACT && !digest && !ref->tag)
        return cb_error_set(err, CB_EUSAGE, "%s: write the tag or the digest", text);
    return 0;
}

int cb_remote_parse(struct cb_reference *out, const char *text, enum cb_remote_kind kind, struct cb_error *err)
{
    const char *name = cb_starts_with(text, TRANSPORT) ? text + strlen(TRANSPORT) : text;
    if (kind == CB_REMOTE_HOST)
        return parse_host(out, name, err);
    int r = 0;
    if (name == text)
        r = cb_check_no_place(text, "this verb is about registries: write HOST/REPOSITORY[:TAG]", err);
    if (r == 0)
        r = cb_reference_parse_word(out, name, err);
    if (r == 0)
        r = check_kind(out, text, kind, err);
    if (r == 0 && kind == CB_REMOTE_IMAGE)
        cb_reference_default_tag(out);
    return r;
}

void cb_remote_done(struct cb_remote *x)
{
    cb_session_done(&x->s);
    cb_reference_done(&x->ref);
}

static int open_session(struct cb_remote *x, const struct cb_process *p, const struct cb_common *c,
                        struct cb_error *err)
{
    int r = cb_session_network(&x->s, p, c, err);
    return r < 0 ? r : cb_session_name_host(&x->s, x->ref.host, err);
}

int cb_remote_open(struct cb_remote *x, const struct cb_process *p, const struct cb_common *c, const char *text,
                   struct cb_error *err)
{
    int r = cb_remote_parse(&x->ref, text, CB_REMOTE_IMAGE, err);
    return r < 0 ? r : open_session(x, p, c, err);
}

static int open_and_run(const struct cb_process *p, const struct cb_remote_call *c, const struct cb_strvec *operands,
                        struct cb_error *err)
{
    CB_CLEANUP(cb_remote_done) struct cb_remote x = { .more = operands };
    int r = cb_remote_parse(&x.ref, operands->v[0], c->kind, err);
    if (r == 0)
        r = open_session(&x, p, c->common, err);
    return r < 0 ? r : c->run(&x, c->options, err);
}

int cb_remote_call(const struct cb_process *p, const struct cb_remote_call *c, struct cb_error *err)
{
    struct cb_verb_args a = { .verb = c->verb, .dest = c->options, .argc = c->argc, .argv = c->argv };
    a.min = 1;
    a.max = 1 + c->more;
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = open_and_run(p, c, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_common_done(c->common);
    return r;
}

static int no_variant(const struct cb_index *index, const struct cb_platform *want, struct cb_error *err)
{
    struct cb_strbuf wanted cb_cleanup_strbuf = CB_STRBUF_INIT, there cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&wanted, want);
    for (size_t i = 0; i < index->n_manifests && there.len < 200; i++)
        if (index->manifests[i].platform) {
            cb_strbuf_adds(&there, there.len ? ", " : "; it has ");
            cb_strbuf_add_platform(&there, index->manifests[i].platform);
        }
    return cb_error_set(err, CB_ECONF, "the image has no variant for %s%s", wanted.buf, there.buf);
}

/* What the index lists for it: maybe another index. */
static int select_entry(struct cb_remote *x, const struct cb_platform *want, struct cb_fetched *f,
                        struct cb_error *err)
{
    struct cb_index index cb_cleanup_index = { 0 };
    struct cb_reference ref = { .host = x->ref.host, .repo = x->ref.repo };
    int r = cb_index_parse(&index, f->body.buf, f->body.len, NULL, err);
    if (r < 0)
        return r;
    const struct cb_descriptor *d = cb_index_select(&index, want);
    if (!d)
        return no_variant(&index, want, err);
    ref.digest = d->digest;
    cb_fetched_done(f);
    return cb_registry_manifest(x->s.registry, &ref, f, err);
}

static int select_platform(struct cb_remote *x, const char *platform, struct cb_fetched *f, struct cb_error *err)
{
    struct cb_platform want cb_cleanup_platform = { 0 };
    int r = 0;
    if (!strcmp(platform, "local"))
        cb_platform_host(&want);
    else
        r = cb_platform_parse(&want, platform, err);
    for (unsigned depth = 0; r == 0 && cb_mt_is_index(f->desc.media_type); depth++) {
        if (depth > CB_MAX_INDEX_DEPTH)
            return cb_error_set(err, CB_EVERIFY, "more than %d indexes in one another", CB_MAX_INDEX_DEPTH);
        r = select_entry(x, &want, f, err);
    }
    return r;
}

int cb_remote_select(struct cb_remote *x, const char *platform, struct cb_fetched *f, struct cb_error *err)
{
    int r = select_platform(x, platform, f, err);
    if (r < 0) {
        cb_autofree char *text = cb_reference_text(&x->ref);
        cb_error_wrap(err, "%s", text);
    }
    return r;
}

int cb_remote_manifest(struct cb_remote *x, const char *platform, struct cb_fetched *out, struct cb_error *err)
{
    int r = cb_registry_manifest(x->s.registry, &x->ref, out, err);
    return r < 0 || !platform || !cb_mt_is_index(out->desc.media_type) ? r : cb_remote_select(x, platform, out, err);
}

int cb_remote_config(struct cb_remote *x, const struct cb_manifest *m, struct cb_strbuf *out, struct cb_error *err)
{
    cb_autosource struct cb_blob_source *src = NULL;
    if (m->config.size > CB_MAX_MANIFEST)
        return cb_error_set(err, CB_EVERIFY, "the configuration is too large (%llu bytes)",
                            (unsigned long long)m->config.size);
    int r = cb_registry_blob(x->s.registry, x->ref.host, x->ref.repo, &m->config, &src, err);
    return r < 0 ? r : cb_blob_read_all(src, CB_MAX_MANIFEST, out, err);
}

int cb_stdout_check(struct cb_error *err)
{
    return ferror(stdout) ? cb_error_set(err, CB_ELOCAL, "standard output could not be written") : 0;
}

int cb_remote_write(const char *path, const void *buf, size_t n, struct cb_error *err)
{
    struct cb_out_file f;
    if (!path || !strcmp(path, "-")) {
        fwrite(buf, 1, n, stdout);
        return cb_stdout_check(err);
    }
    int r = cb_out_file_open(&f, path, err);
    if (r == 0)
        r = cb_fd_write_all(f.fd, buf, n, err);
    return cb_out_file_close(&f, r, err);
}

void cb_print_json_line(json_t *j)
{
    struct cb_strbuf out cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_json_print(&out, j);
    json_decref(j);
    printf("%s\n", out.buf);
}

void cb_print_digest(const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    printf("%s\n", cb_digest_text(d, text));
}

void cb_print_deleted(const struct cb_reference *ref)
{
    cb_autofree char *text = cb_reference_text(ref);
    json_t *j = json_object();
    cb_json_put_string(j, "deleted", text);
    cb_print_json_line(j);
}
