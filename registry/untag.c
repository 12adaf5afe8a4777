/* SPDX-License-Identifier: Apache-2.0 */
/* To delete one tag. Deleting by digest would take all tags of that manifest along; so where a registry cannot delete a
 * tag, the tag is moved to a manifest that nothing else points to, and that one is deleted. */
#include "oci/json.h"
#include "oci/mediatype.h"
#include "registry/private.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/random.h"

#define UNDO_NS (10 * INT64_C(1000000000))

/* The manifest that the tag is moved to. */
struct decoy {
    struct cb_strbuf config, body;
    struct cb_descriptor desc;
    char digest[CB_DIGEST_TEXT_MAX];
};

static void decoy_done(struct decoy *d)
{
    cb_strbuf_done(&d->config);
    cb_strbuf_done(&d->body);
    cb_descriptor_done(&d->desc);
}

static void make_config(struct cb_strbuf *out, const char *tag)
{
    uint8_t nonce[16];
    char hex[2 * sizeof nonce + 1];
    cb_random_bytes(nonce, sizeof nonce);
    cb_hex_encode(hex, nonce, sizeof nonce);
    cb_strbuf_addf(out,
                   "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Labels\":{\"delete-tag\":\"%s\","
                   "\"nonce\":\"%s\"}},\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[]}}",
                   tag, hex);
}

/* Of the same family as what is there: an old registry may take no other. */
static void decoy_make(struct decoy *d, const char *tag, bool docker)
{
    struct cb_manifest m cb_cleanup_manifest = { 0 };
    m.media_type = cb_strdup(docker ? CB_MT_DOCKER_MANIFEST : CB_MT_OCI_MANIFEST);
    make_config(&d->config, tag);
    cb_descriptor_of(&m.config, docker ? CB_MT_DOCKER_CONFIG : CB_MT_OCI_CONFIG, d->config.buf, d->config.len);
    cb_manifest_print(&d->body, &m);
    cb_descriptor_of(&d->desc, m.media_type, d->body.buf, d->body.len);
    cb_digest_text(&d->desc.digest, d->digest);
}

static int open_config(void *arg, const struct cb_digest *digest CB_UNUSED, struct cb_blob_source **out,
                       struct cb_error *err CB_UNUSED)
{
    const struct decoy *d = arg;
    *out = cb_blob_source_from_mem(d->config.buf, d->config.len);
    return 0;
}

static int push_config(struct cb_registry *r, const struct cb_reference *ref, struct decoy *d, struct cb_error *err)
{
    CB_AUTO(cb_push_free) struct cb_push *p = NULL;
    struct cb_push_options o = { .target = ref, .jobs = 1 };
    struct cb_push_blob b = { .open = open_config, .arg = d };
    int s = cb_push_begin(r, &o, &p, err);
    if (s < 0)
        return s;
    cb_descriptor_of(&b.desc, CB_MT_OCI_CONFIG, d->config.buf, d->config.len);
    s = cb_push_add(p, &b, err);
    cb_descriptor_done(&b.desc);
    return s < 0 ? s : cb_push_wait(p, err);
}

struct untag {
    struct cb_registry *r;
    const struct reg_endpoint *e;
    const struct cb_reference *ref;
    struct cb_fetched old; /* what the tag points to */
};

static int put_decoy(const struct untag *x, const struct decoy *d, const char *name, struct cb_error *err)
{
    struct reg_put put = { .name = name, .media_type = d->desc.media_type };
    put.body = (struct cb_slice){ d->body.buf, d->body.len };
    return reg_manifest_put(x->r, x->e, &put, NULL, err);
}

static int put_back(const struct untag *x, struct cb_error *err)
{
    struct reg_put put = { .name = x->ref->tag, .media_type = x->old.desc.media_type };
    put.body = (struct cb_slice){ x->old.body.buf, x->old.body.len };
    return reg_manifest_put(x->r, x->e, &put, NULL, err);
}

/* 1: the tag is the decoy's still; 0: it is gone, or somebody has moved it. */
static int is_still_decoy(const struct untag *x, const struct decoy *d, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct cb_fetched now cb_cleanup_fetched = { .body = CB_STRBUF_INIT };
    int s = reg_manifest_fetch(x->r, x->e, x->ref, &now, &e);
    if (s == -CB_ENOTFOUND)
        return 0;
    return s < 0 ? cb_error_move(err, &e) : cb_digest_eq(&now.desc.digest, &d->desc.digest);
}

/* Gone is as good: somebody may be deleting the same tag, by the same decoy. */
static int remove_decoy(const struct untag *x, const struct decoy *d, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int s = reg_manifest_remove(x->r, x->e, d->digest, &e);
    return s < 0 && s != -CB_ENOTFOUND ? cb_error_move(err, &e) : 0;
}

/* What was meant to go and did not is as it was before; also where we are interrupted, or where only the answer that
 * the tag was moved did not come. */
static void undo(const struct untag *x, const struct decoy *d, struct cb_error *err)
{
    CB_AUTO(cb_cancel_free) struct cb_cancel *patience = cb_cancel_new_for(NULL, UNDO_NS);
    CB_AUTO(cb_registry_free) struct cb_registry *r = cb_registry_until(x->r, patience);
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    struct reg_endpoint at = *x->e;
    struct untag late = *x;
    at.cancel = patience;
    late.r = r;
    late.e = &at;
    cb_registry_grace(x->r, UNDO_NS);
    if (is_still_decoy(&late, d, NULL) != 0 && put_back(&late, &e) < 0)
        cb_error_wrap(err, "the tag could not be put back (%s) after this", cb_error_text(&e));
}

static int swap_and_delete(const struct untag *x, const struct decoy *d, struct cb_error *err)
{
    int s = put_decoy(x, d, x->ref->tag, err);
    if (s == 0)
        s = remove_decoy(x, d, err);
    if (s == 0)
        s = is_still_decoy(x, d, err);
    if (s == 1)
        s = cb_error_set(err, CB_ENET, "%s/%s:%s: the registry keeps the tag", x->e->host, x->e->repo, x->ref->tag);
    if (s < 0)
        undo(x, d, err);
    return s;
}

/* Whether the registry deletes at all is tried before the tag is touched. */
static int by_decoy(const struct untag *x, struct cb_error *err)
{
    CB_CLEANUP(decoy_done) struct decoy d = { .config = CB_STRBUF_INIT, .body = CB_STRBUF_INIT };
    decoy_make(&d, x->ref->tag, cb_mt_is_docker(x->old.desc.media_type));
    int s = push_config(x->r, x->ref, &d, err);
    if (s == 0)
        s = put_decoy(x, &d, d.digest, err);
    if (s == 0)
        s = remove_decoy(x, &d, err);
    if (s < 0) {
        cb_error_wrap(err, "the registry cannot delete a tag, nor the manifest that would take it along");
        return s;
    }
    return swap_and_delete(x, &d, err);
}

/* 404 too: some know no tags in that place. */
static bool cannot_untag(int status)
{
    return status == 400 || status == 404 || status == 405;
}

int cb_registry_tag_delete(struct cb_registry *r, const struct cb_reference *ref, struct cb_error *err)
{
    CB_CLEANUP(reg_endpoint_done) struct reg_endpoint e = { 0 };
    CB_CLEANUP(cb_error_done) struct cb_error refused = CB_ERROR_INIT;
    struct cb_reference by_tag = { .host = ref->host, .repo = ref->repo, .tag = ref->tag };
    struct untag x = { .r = r, .e = &e, .ref = &by_tag, .old = { .body = CB_STRBUF_INIT } };
    if (!ref->tag)
        return cb_error_set(err, CB_EUSAGE, "no tag is named");
    int s = reg_endpoint_push(r, ref->host, ref->repo, &e, err);
    if (s < 0)
        return s;
    s = reg_manifest_remove(r, &e, ref->tag, &refused);
    if (s == 0 || !cannot_untag(refused.http_status))
        return s < 0 ? cb_error_move(err, &refused) : 0;
    s = reg_manifest_fetch(r, &e, &by_tag, &x.old, err);
    if (s == 0)
        s = by_decoy(&x, err);
    cb_fetched_done(&x.old);
    return s;
}
