/* SPDX-License-Identifier: Apache-2.0 */
/* What the other side lacks, as an OCI layout: every manifest, but of the blobs only those that it has not. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mirror/private.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/fd.h"
#include "util/fs.h"
#include "util/path.h"

#define INDEX "index.json"

struct absent {
    uint64_t size;
    char *repo; /* host/repository that is said to have it */
    bool noted; /* an image of the bundle needs it */
};
struct mirror_bundle {
    const struct cb_copy_env *env;
    struct cb_place place;
    pthread_mutex_t mu;
    struct cb_hashmap *have; /* digest → struct absent */
};

void mirror_bundle_free(struct mirror_bundle *b)
{
    size_t it = 0;
    const char *key;
    void *value;
    if (!b)
        return;
    while (cb_hashmap_next(b->have, &it, &key, &value)) {
        free(((struct absent *)value)->repo);
        free(value);
    }
    cb_hashmap_free(b->have);
    cb_place_done(&b->place);
    pthread_mutex_destroy(&b->mu);
    free(b);
}

const struct cb_place *mirror_bundle_place(const struct mirror_bundle *b)
{
    return &b->place;
}

/* ---- what the other side has ---- */

struct reading {
    struct mirror_bundle *b;
    const char *repo;
};

static void add_blob(void *arg, const struct cb_descriptor *d)
{
    struct reading *x = arg;
    char text[CB_DIGEST_TEXT_MAX];
    if (cb_hashmap_get(x->b->have, cb_digest_text(&d->digest, text)))
        return;
    struct absent *a = CB_NEW(struct absent);
    *a = (struct absent){ d->size, cb_strdup(x->repo), false };
    cb_hashmap_put(x->b->have, text, a);
}

/* Names of a bundle are HOST/REPO:TAG. */
static char *repo_of(const struct cb_place *p, const char *name)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    if (p->transport == CB_AT_REGISTRY)
        return cb_asprintf("%s/%s", p->ref.host, p->ref.repo);
    if (!name || !strchr(name, '/') || cb_reference_parse(&ref, name, NULL) < 0)
        return cb_strdup("");
    return cb_asprintf("%s/%s", ref.host, ref.repo);
}

static int read_image(struct mirror_bundle *b, struct cb_copy_source *s, const struct cb_place *p, const char *tag,
                      struct cb_error *err)
{
    cb_autofree char *repo = repo_of(p, tag);
    struct reading x = { b, repo };
    struct cb_copy_options o = { .tag = tag };
    int r = cb_copy_walk(s, &o, add_blob, &x, err);
    return r < 0 ? cb_error_wrap(err, "%s", tag ? tag : p->text) : 0;
}

static int read_place(struct mirror_bundle *b, const struct cb_place *p, struct cb_error *err)
{
    CB_AUTO(cb_copy_source_close) struct cb_copy_source *s = NULL;
    struct cb_strvec tags cb_cleanup_strvec = CB_STRVEC_INIT;
    bool one = p->transport == CB_AT_REGISTRY ? p->ref.tag || cb_digest_is_set(&p->ref.digest)
                                              : p->name || cb_digest_is_set(&p->digest);
    int r = cb_copy_source_open(b->env, p, &s, err);
    if (r < 0 || one)
        return r < 0 ? r : read_image(b, s, p, NULL, err);
    r = cb_copy_source_tags(s, &tags, err);
    for (size_t i = 0; r == 0 && i < tags.n; i++)
        r = read_image(b, s, p, tags.v[i], err);
    return r;
}

/* What can only be meant as a file. */
static bool is_path(const char *text)
{
    static const char json[] = ".json";
    size_t n = strlen(text);
    return text[0] == '/' || text[0] == '.' ||
           (!strchr(text, ':') && n > strlen(json) && !strcmp(text + n - strlen(json), json));
}

/* A directory, or the index.json in it, is a layout; all else a reference or a place as `copy` takes it. */
static int place_of(struct cb_place *out, const char *text, struct cb_error *err)
{
    struct stat st;
    bool there = stat(text, &st) == 0, index = !strcmp(cb_path_base(text), INDEX);
    if (!there && is_path(text))
        return cb_error_set(err, CB_EUSAGE, "%s", strerrordesc_np(errno));
    if (!there)
        return cb_place_parse(out, text, err);
    if (!S_ISDIR(st.st_mode) && !index)
        return cb_error_set(err, CB_EUSAGE, "a bundle's directory, the " INDEX " in it, or an image or repository is "
                                            "expected (an archive is written oci-archive:%s)", text);
    size_t n = strlen(text) - (S_ISDIR(st.st_mode) ? 0 : strlen(INDEX));
    n -= n > 1 && text[n - 1] == '/';
    cb_autofree char *dir = n ? cb_strndup(text, n) : cb_strdup("."), *place = cb_asprintf("oci:%s", dir);
    cb_autofree char *version = cb_asprintf("%s/oci-layout", dir);
    if (access(version, F_OK) < 0 && errno == ENOENT)
        return cb_error_set(err, CB_EUSAGE, "there is no %s: a whole bundle or OCI layout is expected, as the "
                                            "manifests in it are read, too", version);
    return cb_place_parse(out, place, err);
}

static int read_have(struct mirror_bundle *b, const char *text, struct cb_error *err)
{
    struct cb_place p cb_cleanup_place = { 0 };
    int r = place_of(&p, text, err);
    if (r == 0)
        r = read_place(b, &p, err);
    return r < 0 ? cb_error_wrap(err, "--have %s", text) : 0;
}

int mirror_bundle_open(const struct cb_copy_env *env, const struct cb_mirror_options *o, struct mirror_bundle **out,
                       struct cb_error *err)
{
    CB_AUTO(mirror_bundle_free) struct mirror_bundle *b = CB_NEW(struct mirror_bundle);
    cb_autofree char *place = cb_asprintf("oci:%s", o->bundle);
    pthread_mutex_init(&b->mu, NULL);
    b->env = env;
    b->have = cb_hashmap_new();
    int r = cb_place_parse(&b->place, place, err);
    if (r == 0 && b->place.name)
        r = cb_error_set(err, CB_EUSAGE, "--bundle %s: a directory without ':' is expected", o->bundle);
    for (size_t i = 0; r == 0 && o->have && i < o->have->n; i++)
        r = read_have(b, o->have->v[i], err);
    if (r == 0)
        *out = CB_TAKE(b);
    return r;
}

/* ---- what is left out ---- */

bool mirror_bundle_lacks(void *arg, const struct cb_descriptor *d)
{
    struct mirror_bundle *b = arg;
    char text[CB_DIGEST_TEXT_MAX];
    pthread_mutex_lock(&b->mu);
    struct absent *a = cb_hashmap_get(b->have, cb_digest_text(&d->digest, text));
    if (a)
        a->noted = true;
    pthread_mutex_unlock(&b->mu);
    return a;
}

static int by_digest(const void *a, const void *b)
{
    return strcmp(json_string_value(json_object_get(*(json_t *const *)a, "digest")),
                  json_string_value(json_object_get(*(json_t *const *)b, "digest")));
}

static json_t *missing_json(const struct mirror_bundle *b)
{
    json_t *o = json_object(), *list = json_array();
    json_t **v = cb_calloc(cb_hashmap_size(b->have) + 1, sizeof(json_t *));
    size_t it = 0, n = 0;
    const char *key;
    void *value;
    while (cb_hashmap_next(b->have, &it, &key, &value)) {
        const struct absent *a = value;
        if (!a->noted)
            continue;
        v[n] = json_object();
        cb_json_put(v[n], "digest", json_string(key));
        cb_json_put(v[n], "size", json_integer((json_int_t)a->size));
        cb_json_put_string(v[n++], "repository", *a->repo ? a->repo : NULL);
    }
    qsort(v, n, sizeof(json_t *), by_digest);
    for (size_t i = 0; i < n; i++)
        json_array_append_new(list, v[i]);
    free(v);
    cb_json_put(o, "blobs", list);
    return o;
}

int mirror_bundle_finish(struct mirror_bundle *b, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_autojson json_t *o = missing_json(b);
    int r = cb_fs_mkdirs(b->place.path, 0755, err);
    if (r < 0)
        return r;
    cb_autoclose int dir = open(b->place.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "open %s", b->place.path);
    cb_json_print_pretty(&text, o);
    return cb_fs_write_file(dir, MIRROR_MISSING, text.buf, text.len, 0644, err);
}
