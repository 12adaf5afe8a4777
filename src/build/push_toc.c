/* SPDX-License-Identifier: Apache-2.0 */
#include "build/push_toc.h"

#include <pthread.h>

#include "util/alloc.h"

struct table {
    const struct cb_build_env *env;
    bool stored;                  /* the store has it */
    struct cb_cache_place *place; /* a cache that has it, or NULL */
    struct cb_digest diff_id;
    struct cb_toc_pin pin;
};

struct cb_toc_push {
    const struct cb_build_env *env;
    pthread_mutex_t mu;
    struct table **v; /* a push borrows each */
    size_t n, cap;
};

struct cb_toc_push *cb_toc_push_new(const struct cb_build_env *env)
{
    struct cb_toc_push *t = CB_NEW(struct cb_toc_push);
    t->env = env;
    pthread_mutex_init(&t->mu, NULL);
    return t;
}

void cb_toc_push_free(struct cb_toc_push *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->n; i++)
        free(t->v[i]);
    free(t->v);
    pthread_mutex_destroy(&t->mu);
    free(t);
}

/* ---- blobs ---- */

static int open_table(void *arg, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out,
                      struct cb_error *err)
{
    const struct table *x = arg;
    struct cb_descriptor toc = { .media_type = (char *)(uintptr_t) CB_MT_TOC, .digest = x->pin.digest,
                                 .size = x->pin.size };
    return x->stored ? cb_store_toc_source(x->env->store, &x->diff_id, &x->pin, out, err)
                     : x->place->ops->blob(x->place, &toc, out, err);
}

static int open_nothing(void *arg CB_UNUSED, const struct cb_digest *d CB_UNUSED, struct cb_blob_source **out,
                        struct cb_error *err CB_UNUSED)
{
    *out = cb_blob_source_from_mem(cb_image_tables_config, strlen(cb_image_tables_config));
    return 0;
}

/* The config of the artifact to come. */
static void add_nothing(struct cb_push *push)
{
    struct cb_push_blob empty = { .open = open_nothing, .optional = true };
    cb_descriptor_of(&empty.desc, CB_MT_OCI_EMPTY, cb_image_tables_config, strlen(cb_image_tables_config));
    (void)!cb_push_add(push, &empty, NULL);
    cb_descriptor_done(&empty.desc);
}

static struct table *keep(struct cb_toc_push *t, struct cb_slot *s, const struct cb_toc_pin *pin)
{
    struct table *x = CB_NEW(struct table);
    *x = (struct table){ .env = t->env, .place = cb_slot_pinned_by(s), .diff_id = *cb_slot_diff_id(s), .pin = *pin };
    pthread_mutex_lock(&t->mu);
    CB_GROW(t->v, t->n, t->cap);
    t->v[t->n++] = x;
    pthread_mutex_unlock(&t->mu);
    return x;
}

/* From the store where that has this very table, else from the cache that does, else from where the layer is. */
void cb_toc_push_add(struct cb_toc_push *t, struct cb_push *push, struct cb_slot *s, const struct cb_toc_pin *pin)
{
    struct cb_layer layer cb_cleanup_layer = { 0 };
    struct cb_toc_pin stored;
    struct table *x = keep(t, s, pin);
    cb_slot_layer(s, &layer);
    if (cb_store_toc_pin(t->env->store, &x->diff_id, &stored, NULL) == 0 && cb_toc_pin_eq(&stored, pin))
        x->stored = true;
    size_t n = x->place ? x->place->host != NULL : layer.n_origins;
    const char **hosts = cb_calloc(n + 1, sizeof *hosts), **repos = cb_calloc(n + 1, sizeof *repos);
    for (size_t i = 0; i < n; i++) {
        hosts[i] = x->place ? x->place->host : layer.origins[i].host;
        repos[i] = x->place ? x->place->repo : layer.origins[i].repo;
    }
    struct cb_push_blob b = { .desc = { .media_type = (char *)(uintptr_t) CB_MT_TOC, .digest = pin->digest,
                                        .size = pin->size },
                              .origin_hosts = hosts, .origin_repos = repos, .n_origins = n,
                              .open = x->stored || x->place ? open_table : NULL, .arg = x, .optional = true,
                              .fresh = cb_slot_is_fresh(s) };
    if (b.open || n) {
        (void)!cb_push_add(push, &b, NULL);
        add_nothing(push);
    }
    free(hosts);
    free(repos);
}

/* ---- what keeps them, from one push to the next ---- */

#define FACT "tables"
#define KNOWN_MAX 8 /* artifacts of a repository: platforms, and images that take turns */

static char *place_of(const struct cb_reference *at)
{
    return cb_asprintf("%s/%s", at->host, at->repo);
}

/* Lines "SET ARTIFACT", the newest first. */
static void read_known(const struct cb_build_env *env, const struct cb_reference *at, struct cb_strbuf *out)
{
    cb_autofree char *key = place_of(at);
    if (cb_store_fact_get(env->store, FACT, key, out, NULL) < 0)
        cb_strbuf_reset(out);
}

bool cb_toc_push_knows(const struct cb_build_env *env, const struct cb_reference *at)
{
    struct cb_strbuf known cb_cleanup_strbuf = CB_STRBUF_INIT;
    read_known(env, at, &known);
    return known.len > 0;
}

static bool find_known(const struct cb_strbuf *known, const struct cb_digest *set, struct cb_digest *out)
{
    char text[CB_DIGEST_TEXT_MAX], artifact[CB_DIGEST_TEXT_MAX];
    size_t n = strlen(cb_digest_text(set, text));
    const char *at = known->len ? strstr(known->buf, text) : NULL;
    if (!at || at[n] != ' ')
        return false;
    snprintf(artifact, sizeof artifact, "%.*s", (int)strcspn(at + n + 1, "\n"), at + n + 1);
    return cb_digest_parse(out, artifact, NULL) == 0;
}

bool cb_toc_push_has(struct cb_toc_push *t, const struct cb_toc_target *to, const struct cb_push_part *image)
{
    struct cb_strbuf known cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_descriptor artifact = { .media_type = (char *)(uintptr_t) CB_MT_OCI_MANIFEST };
    struct cb_digest set;
    char name[CB_DIGEST_TEXT_MAX];
    bool there = false;
    read_known(t->env, to->at, &known);
    return cb_image_tables_set(image->manifest, &set) && find_known(&known, &set, &artifact.digest) &&
           cb_push_tag_current(to->push, &artifact, cb_digest_text(&artifact.digest, name), &there, NULL) == 0 && there;
}

/* artifact NULL: none is to be relied on any more. */
static void note_known(const struct cb_build_env *env, const struct cb_reference *at, const struct cb_digest *set,
                       const struct cb_digest *artifact)
{
    struct cb_strbuf old cb_cleanup_strbuf = CB_STRBUF_INIT, now cb_cleanup_strbuf = CB_STRBUF_INIT;
    char text[CB_DIGEST_TEXT_MAX], name[CB_DIGEST_TEXT_MAX];
    cb_autofree char *key = place_of(at);
    size_t n = strlen(cb_digest_text(set, text)), lines = 0;
    read_known(env, at, &old);
    if (artifact)
        cb_strbuf_addf(&now, "%s %s\n", text, cb_digest_text(artifact, name));
    for (const char *line = old.len ? old.buf : "", *end; lines < KNOWN_MAX - 1 && (end = strchr(line, '\n'));
         line = end + 1) {
        if (!strncmp(line, text, n))
            continue;
        cb_strbuf_add(&now, line, (size_t)(end + 1 - line));
        lines++;
    }
    if (now.len || old.len)
        (void)!cb_store_fact_put(env->store, FACT, key, now.len ? now.buf : "", NULL);
}

/* ---- what keeps them ---- */

struct keeping {
    const struct cb_toc_target *to;
    bool lacks; /* one that is pinned */
};

static bool arrived(void *arg, const struct cb_toc_pin *pin)
{
    struct keeping *k = arg;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    if (cb_push_wait_blob(k->to->push, &pin->digest, &e) == 0)
        return true;
    k->lacks = true;
    cb_step_logf(k->to->step, "a layer's table of contents is left out: %s", cb_error_text(&e));
    return false;
}

int cb_toc_push_keep(struct cb_toc_push *t, const struct cb_toc_target *to, const struct cb_push_part *image,
                     struct cb_error *err)
{
    struct keeping k = { .to = to };
    struct cb_image_tables tables = { image->desc, image->manifest, arrived, &k };
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    struct cb_strbuf body cb_cleanup_strbuf = CB_STRBUF_INIT;
    struct cb_digest config, set;
    bool unlisted = false;
    if (!cb_image_tables_artifact(&tables, &desc, &body))
        return 0;
    cb_digest_of(&config, cb_image_tables_config, strlen(cb_image_tables_config));
    int r = cb_push_wait_blob(to->push, &config, err);
    if (r == 0)
        r = cb_push_beside(to->push, &desc, (struct cb_slice){ body.buf, body.len }, &unlisted, err);
    if (r == 0 && cb_image_tables_set(image->manifest, &set))
        note_known(t->env, to->at, &set, unlisted && !k.lacks ? &desc.digest : NULL);
    return r;
}
