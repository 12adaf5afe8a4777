/* SPDX-License-Identifier: Apache-2.0 */
#include <sys/stat.h>

#include "mirror/private.h"
#include "oci/json.h"
#include "oci/mediatype.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/limits.h"

struct load {
    const struct cb_copy_env *env;
    const struct cb_mirror_load *o;
    struct cb_place dir;
    struct cb_copy_source *from;
    struct cb_strmap missing; /* digest → host/repository that has it, or "" */
    struct cb_place place;    /* of the target that is open */
    struct cb_copy_target *to;
};

/* The target's name with another host in front, where that was asked for. */
static char *renamed(const struct load *x, const char *name)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (!x->o->to)
        return cb_strdup(name);
    if (cb_reference_parse(&ref, name, NULL) < 0)
        return cb_strdup(name);
    return cb_asprintf("%s/%s%s%s", x->o->to, ref.repo, ref.tag ? ":" : "", ref.tag ? ref.tag : "");
}

/* ---- what the bundle leaves out ---- */

static int read_missing(struct load *x, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autofree char *path = cb_asprintf("%s/" MIRROR_MISSING, x->o->dir);
    const json_t *blobs = NULL;
    int r = cb_file_slurp(path, 64u << 20, &text, err);
    if (r == -CB_ENOTFOUND)
        return cb_error_set(err, CB_EUSAGE, "%s is no bundle of `mirror --bundle`: it has no " MIRROR_MISSING,
                            x->o->dir);
    if (r < 0)
        return r;
    cb_autojson json_t *o = cb_json_parse(text.buf, text.len, err);
    r = o ? cb_json_get_array(o, "blobs", &blobs, err) : -CB_EVERIFY;
    for (size_t i = 0; r == 0 && i < json_array_size(blobs); i++) {
        const char *digest = NULL, *repo = NULL;
        const json_t *b = json_array_get(blobs, i);
        r = cb_json_get_string(b, "digest", &digest, err);
        if (r == 0)
            r = cb_json_get_string(b, "repository", &repo, err);
        if (r == 0 && digest)
            cb_strmap_set(&x->missing, digest, repo ? repo : "");
    }
    return r < 0 ? cb_error_wrap(err, "%s", path) : 0;
}

/* ---- what it should have ---- */

struct look {
    const struct load *x;
    struct cb_error *err;
    int result;
};

static int check_file(const struct load *x, const struct cb_descriptor *d, struct cb_error *err)
{
    char hex[CB_DIGEST_TEXT_MAX];
    struct stat st;
    cb_autofree char *path = cb_asprintf("%s/blobs/%s/%s", x->o->dir, cb_digest_alg_name(d->digest.alg),
                                         cb_digest_hex(&d->digest, hex));
    if (stat(path, &st) < 0)
        return cb_error_sys(err, errno == ENOENT ? CB_EVERIFY : CB_ELOCAL, errno, "%s", path);
    if ((uint64_t)st.st_size != d->size)
        return cb_error_set(err, CB_EVERIFY, "%s has %llu bytes and should have %llu", path,
                            (unsigned long long)st.st_size, (unsigned long long)d->size);
    return 0;
}

static void look_at_blob(void *arg, const struct cb_descriptor *d)
{
    struct look *l = arg;
    char text[CB_DIGEST_TEXT_MAX];
    bool foreign = d->urls.n && cb_mt_is_foreign_layer(d->media_type);
    if (l->result == 0 && !foreign && !cb_strmap_get(&l->x->missing, cb_digest_text(&d->digest, text)))
        l->result = check_file(l->x, d, l->err);
}

static int check_entry(const struct load *x, const struct cb_descriptor *d, struct cb_error *err)
{
    struct look l = { x, err, 0 };
    struct cb_copy_options o = { .digest = d->digest };
    int r = check_file(x, d, err);
    if (r == 0 && (cb_mt_is_manifest(d->media_type) || cb_mt_is_index(d->media_type)))
        r = cb_copy_walk(x->from, &o, look_at_blob, &l, err);
    return r < 0 ? r : l.result;
}

/* A bundle that was copied by half is told of before anything is sent. */
static int check_whole(const struct load *x, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_index idx cb_cleanup_index = { 0 };
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    cb_autofree char *path = cb_asprintf("%s/index.json", x->o->dir);
    int r = cb_file_slurp(path, CB_MAX_MANIFEST, &text, &e);
    if (r == 0)
        r = cb_index_parse(&idx, text.buf, text.len, CB_MT_OCI_INDEX, &e);
    for (size_t i = 0; r == 0 && i < idx.n_manifests; i++)
        r = check_entry(x, &idx.manifests[i], &e);
    if (r == -CB_ENOTFOUND || r == -CB_EVERIFY)
        return cb_error_set(err, CB_EVERIFY, "the bundle is not whole, copy it again: %s", cb_error_text(&e));
    return r < 0 ? cb_error_move(err, &e) : 0;
}

/* It may be had from the repository that was said to have it. */
static void known(void *arg, const struct cb_digest *d, struct cb_strvec *hosts, struct cb_strvec *repos)
{
    struct load *x = arg;
    struct cb_reference ref cb_cleanup_reference = { 0 };
    char text[CB_DIGEST_TEXT_MAX];
    const char *repo = cb_strmap_get(&x->missing, cb_digest_text(d, text));
    cb_autofree char *name = repo && *repo ? renamed(x, repo) : NULL;
    if (name && cb_reference_parse(&ref, name, NULL) == 0) {
        cb_strvec_push(hosts, ref.host);
        cb_strvec_push(repos, ref.repo);
    }
}

/* ---- images ---- */

static int open_target(struct load *x, const struct cb_reference *ref, struct cb_error *err)
{
    struct cb_copy_target_options o = { .to = &x->place, .known = known, .arg = x };
    cb_autofree char *text = cb_asprintf("docker://%s/%s", ref->host, ref->repo);
    if (x->to && !strcmp(x->place.text, text))
        return 0;
    cb_copy_target_close(CB_TAKE(x->to));
    cb_place_done(&x->place);
    int r = cb_place_parse(&x->place, text, err);
    return r < 0 ? r : cb_copy_target_open(x->env, &o, &x->to, err);
}

static int load_image(struct load *x, const char *name, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    struct cb_copy_result res cb_cleanup_copy_result = { 0 };
    cb_autofree char *target = renamed(x, name);
    int r = cb_reference_parse(&ref, target, err);
    if (r == 0 && !ref.tag)
        r = cb_error_set(err, CB_EVERIFY, "it has no tag");
    if (r == 0)
        r = open_target(x, &ref, err);
    struct cb_copy_options o = { .tag = name, .to_tag = ref.tag, .referrers = true };
    if (r == 0)
        r = cb_copy_image(x->from, x->to, &o, &res, err);
    if (r == -CB_ENOTFOUND && x->missing.n > 0)
        cb_error_wrap(err, "the registry lacks what the bundle left out (load the bundle before this one first, or "
                           "make one with another --have)");
    if (r < 0)
        return cb_error_wrap(err, "%s", target);
    if (x->o->told)
        x->o->told(x->o->arg, target, &res.to.digest);
    return 0;
}

static int load_all(struct load *x, struct cb_error *err)
{
    struct cb_strvec names cb_cleanup_strvec = CB_STRVEC_INIT;
    cb_autofree char *place = cb_asprintf("oci:%s", x->o->dir);
    int r = read_missing(x, err);
    if (r == 0)
        r = cb_place_parse(&x->dir, place, err);
    if (r == 0)
        r = cb_copy_source_open(x->env, &x->dir, &x->from, err);
    if (r == 0)
        r = check_whole(x, err);
    if (r == 0)
        r = cb_copy_source_tags(x->from, &names, err);
    cb_strvec_sort(&names); /* one repository after the other */
    for (size_t i = 0; r == 0 && i < names.n; i++)
        r = load_image(x, names.v[i], err);
    return r;
}

int cb_mirror_load(const struct cb_copy_env *env, const struct cb_mirror_load *o, struct cb_error *err)
{
    struct load x = { .env = env, .o = o };
    int r = load_all(&x, err);
    cb_copy_target_close(x.to);
    cb_copy_source_close(x.from);
    cb_place_done(&x.dir);
    cb_place_done(&x.place);
    cb_strmap_done(&x.missing);
    return r;
}
