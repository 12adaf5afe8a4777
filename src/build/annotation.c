/* SPDX-License-Identifier: Apache-2.0 */
#include "build/internal.h"
#include "util/alloc.h"

void cb_annotations_done(struct cb_annotations *a)
{
    for (size_t i = 0; i < a->n; i++) {
        cb_platform_done(&a->v[i].platform);
        free(a->v[i].key);
        free(a->v[i].value);
    }
    free(a->v);
    *a = (struct cb_annotations){ 0 };
}

static const char *const level_names[] = {
    [CB_ANNOTATE_MANIFEST] = "manifest",
    [CB_ANNOTATE_INDEX] = "index",
    [CB_ANNOTATE_MANIFEST_DESCRIPTOR] = "manifest-descriptor",
    [CB_ANNOTATE_INDEX_DESCRIPTOR] = "index-descriptor",
};

static bool is_of_index(enum cb_annotation_level level)
{
    return level == CB_ANNOTATE_INDEX || level == CB_ANNOTATE_INDEX_DESCRIPTOR;
}

static int find_level(const char *name, size_t n, enum cb_annotation_level *out, struct cb_error *err)
{
    for (size_t i = 0; i < CB_COUNTOF(level_names); i++)
        if (strlen(level_names[i]) == n && !strncmp(level_names[i], name, n)) {
            *out = (enum cb_annotation_level)i;
            return 0;
        }
    return cb_error_set(err, CB_EUSAGE, "unknown annotation type \"%.*s\": manifest, index, manifest-descriptor, "
                                        "index-descriptor", (int)n, name);
}

/* "manifest[linux/amd64]" */
static int read_target(struct cb_annotation *a, const char *text, struct cb_error *err)
{
    size_t n = strcspn(text, "["), len = strlen(text);
    int r = find_level(text, n, &a->level, err);
    if (r < 0 || n == len)
        return r;
    if (text[len - 1] != ']' || len == n + 2)
        return cb_error_set(err, CB_EUSAGE, "\"%s\": write TYPE[OS/ARCH]", text);
    if (is_of_index(a->level))
        return cb_error_set(err, CB_EUSAGE, "\"%s\": an index is for all platforms", text);
    cb_autofree char *platform = cb_strndup(text + n + 1, len - n - 2);
    return cb_platform_parse(&a->platform, platform, err);
}

int cb_annotation_add(struct cb_annotations *to, const char *target, const char *key, const char *value,
                      struct cb_error *err)
{
    CB_GROW(to->v, to->n, to->cap);
    struct cb_annotation *a = &to->v[to->n++];
    *a = (struct cb_annotation){ .key = cb_strdup(key), .value = cb_strdup(value) };
    return target ? read_target(a, target, err) : 0;
}

void cb_annotations_move(struct cb_annotations *to, struct cb_annotations *from)
{
    for (size_t i = 0; i < from->n; i++) {
        CB_GROW(to->v, to->n, to->cap);
        to->v[to->n++] = from->v[i];
    }
    from->n = 0;
    cb_annotations_done(from);
}

int cb_annotation_parse(struct cb_annotations *to, const char *spec, struct cb_error *err)
{
    const char *eq = strchr(spec, '=');
    const char *colon = eq ? memchr(spec, ':', (size_t)(eq - spec)) : NULL;
    const char *start = colon ? colon + 1 : spec;
    if (!eq || eq == start)
        return cb_error_set(err, CB_EUSAGE, "--annotation %s: write [TYPE:]KEY=VALUE", spec);
    cb_autofree char *key = cb_strndup(start, (size_t)(eq - start));
    int r = colon ? 0 : cb_annotation_add(to, NULL, key, eq + 1, err);
    for (const char *t = spec; r == 0 && colon && t <= colon; t += strcspn(t, ",:") + 1) {
        cb_autofree char *target = cb_strndup(t, strcspn(t, ",:"));
        r = cb_annotation_add(to, target, key, eq + 1, err);
    }
    return r < 0 ? cb_error_wrap(err, "--annotation %s", spec) : 0;
}

void cb_annotations_of(const struct cb_annotations *a, enum cb_annotation_level level,
                       const struct cb_platform *platform, struct cb_strmap *out)
{
    for (int own = 0; a && own < 2; own++)
        for (size_t i = 0; i < a->n; i++) {
            const struct cb_annotation *x = &a->v[i];
            bool every = !x->platform.os;
            if (x->level == level && every == !own && (every || (platform && cb_platform_eq(&x->platform, platform))))
                cb_strmap_set(out, x->key, x->value);
        }
}

static bool is_built(const struct cb_build_options *o, const struct cb_platform *p)
{
    struct cb_platform host cb_cleanup_platform = { 0 };
    cb_platform_host(&host);
    for (size_t i = 0; i < o->n_platforms; i++)
        if (cb_platform_eq(&o->platforms[i], p))
            return true;
    return o->n_platforms == 0 && cb_platform_eq(&host, p);
}

int cb_annotations_check(const struct cb_build_options *o, struct cb_error *err)
{
    for (size_t i = 0; o->annotations && i < o->annotations->n; i++) {
        const struct cb_annotation *a = &o->annotations->v[i];
        struct cb_strbuf platform cb_cleanup_strbuf = CB_STRBUF_INIT;
        if (is_of_index(a->level) && o->n_platforms < 2 && !o->provenance.mode && !o->sbom.generator)
            return cb_error_set(err, CB_EUSAGE, "annotation %s: one platform makes no index that it could be put on",
                                a->key);
        if (!a->platform.os || is_built(o, &a->platform))
            continue;
        cb_strbuf_add_platform(&platform, &a->platform);
        return cb_error_set(err, CB_EUSAGE, "annotation %s: %s is not built", a->key, platform.buf);
    }
    return 0;
}
