/* SPDX-License-Identifier: Apache-2.0 */
/* Records as JSON. The layers stand once, steps name them by position, so that a set of many steps stays small. */
#include "cache/cache.h"
#include "layer/layer.h"
#include "oci/json.h"
#include "util/alloc.h"
#include "util/encode.h"
#include "util/limits.h"
#include "util/timeutil.h"

#define SCHEMA 1
#define ENGINE_MAX 64

/* ---- the value ---- */

static void layer_done(struct cb_cache_layer *l)
{
    free(l->blob.media_type);
    free(l->blob.engine);
    free(l->toc_data);
}

static void step_done(struct cb_cache_step *s)
{
    free(s->note);
    free(s->layers);
}

void cb_cache_set_done(struct cb_cache_set *s)
{
    for (size_t i = 0; i < s->n_layers; i++)
        layer_done(&s->layers[i]);
    for (size_t i = 0; i < s->n_steps; i++)
        step_done(&s->steps[i]);
    free(s->layers);
    free(s->steps);
    *s = (struct cb_cache_set){ 0 };
}

static bool same_blob(const struct cb_cache_layer *a, const struct cb_cache_layer *b)
{
    bool told = cb_digest_is_set(&a->blob.digest);
    return cb_digest_eq(&a->diff_id, &b->diff_id) && told == cb_digest_is_set(&b->blob.digest) &&
           (!told || cb_digest_eq(&a->blob.digest, &b->blob.digest));
}

/* Takes l. */
static uint32_t push_layer(struct cb_cache_set *s, const struct cb_cache_layer *l)
{
    CB_GROW(s->layers, s->n_layers, s->cap_layers);
    s->layers[s->n_layers] = *l;
    return (uint32_t)s->n_layers++;
}

uint32_t cb_cache_set_layer(struct cb_cache_set *s, const struct cb_cache_layer *l)
{
    for (size_t i = s->n_layers; i-- > 0;)
        if (same_blob(&s->layers[i], l))
            return (uint32_t)i;
    struct cb_cache_layer copy = *l;
    copy.blob.media_type = cb_strdup_or_null(l->blob.media_type);
    copy.blob.engine = cb_strdup_or_null(l->blob.engine);
    copy.toc_data = cb_strdup_or_null(l->toc_data);
    return push_layer(s, &copy);
}

struct cb_cache_step *cb_cache_set_step(struct cb_cache_set *s, const struct cb_digest *key)
{
    CB_GROW(s->steps, s->n_steps, s->cap_steps);
    s->steps[s->n_steps] = (struct cb_cache_step){ .key = *key };
    return &s->steps[s->n_steps++];
}

void cb_cache_step_add(struct cb_cache_step *step, uint32_t layer)
{
    step->layers = cb_reallocarray(step->layers, step->n_layers + 1, sizeof *step->layers);
    step->layers[step->n_layers++] = layer;
}

const struct cb_cache_step *cb_cache_set_find(const struct cb_cache_set *s, const struct cb_digest *key)
{
    for (size_t i = 0; i < s->n_steps; i++)
        if (cb_digest_eq(&s->steps[i].key, key))
            return &s->steps[i];
    return NULL;
}

struct cb_cache_step *cb_cache_set_copy(struct cb_cache_set *to, const struct cb_cache_set *from,
                                        const struct cb_cache_step *step)
{
    if (cb_cache_set_find(to, &step->key))
        return NULL;
    struct cb_cache_step *s = cb_cache_set_step(to, &step->key);
    uint32_t *layers = cb_calloc(step->n_layers + 1, sizeof *layers);
    for (size_t i = 0; i < step->n_layers; i++)
        layers[i] = cb_cache_set_layer(to, &from->layers[step->layers[i]]);
    *s = *step;
    s->note = cb_strdup_or_null(step->note);
    s->layers = layers;
    return s;
}

/* ---- printing ---- */

static void put_digest(json_t *o, const char *key, const struct cb_digest *d)
{
    char text[CB_DIGEST_TEXT_MAX];
    cb_json_put_string(o, key, cb_digest_text(d, text));
}

static void put_size(json_t *o, const char *key, uint64_t n)
{
    cb_json_put(o, key, json_integer((json_int_t)n));
}

static json_t *layer_json(const struct cb_cache_layer *l)
{
    json_t *o = json_object();
    put_digest(o, "diffID", &l->diff_id);
    if (l->size != UINT64_MAX)
        put_size(o, "size", l->size);
    if (cb_digest_is_set(&l->blob.digest)) {
        json_t *b = json_object();
        cb_json_put_string(b, "mediaType", l->blob.media_type);
        put_digest(b, "digest", &l->blob.digest);
        put_size(b, "size", l->blob.size);
        cb_json_put_string(b, "engine", l->blob.engine && *l->blob.engine ? l->blob.engine : NULL);
        cb_json_put(o, "blob", b);
    }
    if (cb_digest_is_set(&l->toc)) {
        json_t *t = json_object();
        put_digest(t, "digest", &l->toc);
        put_size(t, "size", l->toc_size);
        cb_json_put_string(t, "data", l->toc_data);
        cb_json_put(o, "toc", t);
    }
    return o;
}

static json_t *step_json(const struct cb_cache_step *s)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    json_t *o = json_object(), *layers = json_array();
    put_digest(o, "key", &s->key);
    cb_json_put(o, "whole", json_boolean(s->whole));
    cb_time_format(&text, s->created);
    cb_json_put_string(o, "created", text.buf);
    cb_json_put_string(o, "note", s->note);
    for (size_t i = 0; i < s->n_layers; i++)
        json_array_append_new(layers, json_integer(s->layers[i]));
    cb_json_put(o, "layers", layers);
    if (cb_digest_is_set(&s->content)) {
        put_digest(o, "content", &s->content);
        cb_json_put(o, "added", json_boolean(s->added));
    }
    if (s->is_signed) {
        cb_strbuf_reset(&text);
        cb_base64_encode(&text, s->signature, sizeof s->signature);
        cb_json_put_string(o, "signature", text.buf);
    }
    return o;
}

void cb_cache_set_print(struct cb_strbuf *out, const struct cb_cache_set *s)
{
    cb_autojson json_t *o = json_object();
    json_t *layers = json_array(), *steps = json_array();
    cb_json_put(o, "schema", json_integer(SCHEMA));
    for (size_t i = 0; i < s->n_layers; i++)
        json_array_append_new(layers, layer_json(&s->layers[i]));
    for (size_t i = 0; i < s->n_steps; i++)
        json_array_append_new(steps, step_json(&s->steps[i]));
    cb_json_put(o, "layers", layers);
    cb_json_put(o, "steps", steps);
    cb_json_print(out, o);
}

/* ---- parsing ---- */

static int get_digest(const json_t *o, const char *key, struct cb_digest *out, struct cb_error *err)
{
    const char *text = NULL;
    int r = cb_json_get_string(o, key, &text, err);
    if (r < 0)
        return r;
    return text ? cb_digest_parse(out, text, err) : cb_error_set(err, CB_EVERIFY, "it has no \"%s\"", key);
}

static int get_size(const json_t *o, uint64_t *out, struct cb_error *err)
{
    *out = UINT64_MAX;
    int r = cb_json_get_u64(o, "size", out, err);
    return r < 0 || *out != UINT64_MAX ? r : cb_error_set(err, CB_EVERIFY, "it has no \"size\"");
}

/* It goes into metadata and is shown. */
static bool is_engine(const char *s)
{
    size_t n = 0;
    for (; s[n] && n <= ENGINE_MAX; n++)
        if (s[n] <= ' ' || s[n] > '~')
            return false;
    return n <= ENGINE_MAX;
}

static int read_blob(struct cb_layer_encoding *e, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "mediaType", "digest", "size", "engine", NULL };
    const char *type = NULL, *engine = NULL;
    int r = cb_json_check_keys(o, known, err);
    if (r == 0)
        r = cb_json_get_string(o, "mediaType", &type, err);
    if (r == 0)
        r = cb_json_get_string(o, "engine", &engine, err);
    if (r == 0)
        r = get_digest(o, "digest", &e->digest, err);
    if (r == 0)
        r = get_size(o, &e->size, err);
    if (r < 0)
        return r;
    int c = type && !cb_mt_is_foreign_layer(type) ? cb_mt_layer_compression(type) : -1;
    if (c < 0)
        return cb_error_set(err, CB_EVERIFY, "its blob's media type is that of no layer");
    if (engine && !is_engine(engine))
        return cb_error_set(err, CB_EVERIFY, "its \"engine\" is no name");
    e->compression = (enum cb_compression)c;
    e->media_type = cb_strdup(type);
    e->engine = cb_strdup(engine ? engine : "");
    return 0;
}

static int read_toc(struct cb_cache_layer *l, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "digest", "size", "data", NULL };
    const char *data = NULL;
    int r = cb_json_check_keys(o, known, err);
    if (r == 0)
        r = get_digest(o, "digest", &l->toc, err);
    if (r == 0)
        r = get_size(o, &l->toc_size, err);
    if (r == 0)
        r = cb_json_get_string(o, "data", &data, err);
    if (r < 0)
        return r;
    if (l->toc_size > CB_CACHE_MAX_TOC)
        return cb_error_set(err, CB_EVERIFY, "its table is too large");
    if (data && !cb_toc_pin_decode(&(struct cb_toc_pin){ l->toc, l->toc_size }, data, NULL))
        return cb_error_set(err, CB_EVERIFY, "its table is not the one that it names");
    l->toc_data = cb_strdup_or_null(data);
    return 0;
}

static int read_layer(struct cb_cache_layer *l, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "diffID", "size", "blob", "toc", NULL };
    const json_t *blob = NULL, *toc = NULL;
    l->size = UINT64_MAX;
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "it is no object");
    int r = cb_json_check_keys(o, known, err);
    if (r == 0)
        r = get_digest(o, "diffID", &l->diff_id, err);
    if (r == 0)
        r = cb_json_get_u64(o, "size", &l->size, err);
    if (r == 0)
        r = cb_json_get_object(o, "blob", &blob, err);
    if (r == 0)
        r = cb_json_get_object(o, "toc", &toc, err);
    if (r == 0 && blob)
        r = read_blob(&l->blob, blob, err);
    return r == 0 && toc ? read_toc(l, toc, err) : r;
}

static int read_positions(struct cb_cache_step *s, const json_t *o, size_t n_layers, struct cb_error *err)
{
    const json_t *a = NULL;
    int r = cb_json_get_array(o, "layers", &a, err);
    if (r < 0)
        return r;
    if (!a || json_array_size(a) > CB_MAX_LAYERS || (!s->whole && json_array_size(a) > 1))
        return cb_error_set(err, CB_EVERIFY, "its \"layers\" are missing or too many");
    for (size_t i = 0; i < json_array_size(a); i++) {
        const json_t *v = json_array_get(a, i);
        if (!json_is_integer(v) || json_integer_value(v) < 0 || (size_t)json_integer_value(v) >= n_layers)
            return cb_error_set(err, CB_EVERIFY, "it names a layer that is not there");
        cb_cache_step_add(s, (uint32_t)json_integer_value(v));
    }
    return 0;
}

static int read_signature(struct cb_cache_step *s, const char *text, struct cb_error *err)
{
    struct cb_strbuf raw cb_cleanup_strbuf = CB_STRBUF_INIT;
    if (!cb_base64_decode(&raw, text, strlen(text)) || raw.len != sizeof s->signature)
        return cb_error_set(err, CB_EVERIFY, "its \"signature\" is none");
    memcpy(s->signature, raw.buf, raw.len);
    s->is_signed = true;
    return 0;
}

static int read_times(struct cb_cache_step *s, const json_t *o, struct cb_error *err)
{
    const char *created = NULL, *note = NULL, *signature = NULL;
    int r = cb_json_get_string(o, "created", &created, err);
    if (r == 0 && (!created || !cb_time_parse(created, &s->created)))
        r = cb_error_set(err, CB_EVERIFY, "its \"created\" is no time");
    if (r == 0)
        r = cb_json_get_string(o, "note", &note, err);
    if (r == 0)
        r = cb_json_get_string(o, "signature", &signature, err);
    if (r < 0)
        return r;
    s->note = cb_strdup_or_null(note);
    return signature ? read_signature(s, signature, err) : 0;
}

static int read_content(struct cb_cache_step *s, const json_t *o, struct cb_error *err)
{
    if (!json_object_get(o, "content"))
        return 0;
    int r = get_digest(o, "content", &s->content, err);
    if (r == 0)
        r = cb_json_get_bool(o, "added", &s->added, err);
    if (r == 0 && (s->content.alg != CB_DIGEST_SHA256 || (s->added && s->n_layers == 0)))
        r = cb_error_set(err, CB_EVERIFY, "its \"content\" is that of no step");
    return r;
}

static int read_step(struct cb_cache_step *s, const json_t *o, size_t n_layers, struct cb_error *err)
{
    static const char *const known[] = { "key", "whole", "created", "note", "layers", "content", "added",
                                         "signature", NULL };
    if (!json_is_object(o))
        return cb_error_set(err, CB_EVERIFY, "it is no object");
    int r = cb_json_check_keys(o, known, err);
    if (r == 0)
        r = get_digest(o, "key", &s->key, err);
    if (r == 0 && s->key.alg != CB_DIGEST_SHA256)
        r = cb_error_set(err, CB_EVERIFY, "its \"key\" is no sha256");
    if (r == 0)
        r = cb_json_get_bool(o, "whole", &s->whole, err);
    if (r == 0)
        r = read_times(s, o, err);
    if (r == 0)
        r = read_positions(s, o, n_layers, err);
    return r < 0 ? r : read_content(s, o, err);
}

static int read_layers(struct cb_cache_set *s, const json_t *a, struct cb_error *err)
{
    for (size_t i = 0; i < json_array_size(a); i++) {
        struct cb_cache_layer l = { 0 };
        int r = read_layer(&l, json_array_get(a, i), err);
        if (r < 0) {
            layer_done(&l);
            cb_error_wrap(err, "layers[%zu]", i);
            return r;
        }
        push_layer(s, &l);
    }
    return 0;
}

static int read_steps(struct cb_cache_set *s, const json_t *a, struct cb_error *err)
{
    for (size_t i = 0; i < json_array_size(a); i++) {
        struct cb_cache_step step = { 0 };
        int r = read_step(&step, json_array_get(a, i), s->n_layers, err);
        if (r < 0) {
            step_done(&step);
            cb_error_wrap(err, "steps[%zu]", i);
            return r;
        }
        *cb_cache_set_step(s, &step.key) = step;
    }
    return 0;
}

static int read_set(struct cb_cache_set *s, const json_t *o, struct cb_error *err)
{
    static const char *const known[] = { "schema", "layers", "steps", NULL };
    const json_t *layers = NULL, *steps = NULL;
    uint64_t schema = 0;
    int r = cb_json_check_keys(o, known, err);
    if (r == 0)
        r = cb_json_get_u64(o, "schema", &schema, err);
    if (r == 0 && schema != SCHEMA)
        r = cb_error_set(err, CB_EVERIFY, "they are of another version");
    if (r == 0)
        r = cb_json_get_array(o, "layers", &layers, err);
    if (r == 0)
        r = cb_json_get_array(o, "steps", &steps, err);
    if (r == 0 && (!layers || !steps || json_array_size(layers) > CB_CACHE_MAX_LAYERS ||
                   json_array_size(steps) > CB_CACHE_MAX_STEPS))
        r = cb_error_set(err, CB_EVERIFY, "\"layers\" or \"steps\" are missing or too many");
    if (r == 0)
        r = read_layers(s, layers, err);
    return r < 0 ? r : read_steps(s, steps, err);
}

int cb_cache_set_parse(struct cb_cache_set *out, const char *text, size_t len, struct cb_error *err)
{
    struct cb_cache_set s cb_cleanup_cache_set = { 0 };
    cb_autojson json_t *o = len <= CB_MAX_MANIFEST ? cb_json_parse(text, len, err) : NULL;
    int r = o ? 0 : -CB_EVERIFY;
    if (len > CB_MAX_MANIFEST)
        cb_error_set(err, CB_EVERIFY, "too large");
    if (r == 0)
        r = json_is_object(o) ? read_set(&s, o, err) : cb_error_set(err, CB_EVERIFY, "no object");
    if (r < 0) {
        cb_error_wrap(err, "cache records");
        return r;
    }
    *out = s;
    s = (struct cb_cache_set){ 0 };
    return 0;
}
