/* SPDX-License-Identifier: Apache-2.0 */
#include "mirror/private.h"
#include "mirror/yaml.h"
#include "util/alloc.h"
#include "util/encode.h"

#define MAX_MIRRORS 10000
#define MAX_NEWEST 1000000

/* ---- patterns ---- */

static int read_exact(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct mirror_patterns *p = into;
    int r = mirror_yaml_strings(y, n, &p->exact, err);
    for (size_t i = 0; r == 0 && i < p->exact.n; i++)
        if (!cb_reference_valid_tag(p->exact.v[i]))
            r = mirror_yaml_wrong(y, n, err, "\"%.100s\" is no tag (patterns stand under glob, regex or semver)",
                                  p->exact.v[i]);
    return r;
}

static int read_globs(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return mirror_yaml_strings(y, n, &((struct mirror_patterns *)into)->globs, err);
}

static int read_regex(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    int r = mirror_yaml_strings(y, n, &all, err);
    for (size_t i = 0; r == 0 && i < all.n; i++)
        if (mirror_patterns_add_regex(into, all.v[i], &e) < 0)
            r = mirror_yaml_wrong(y, n, err, "%s", cb_error_text(&e));
    return r;
}

static const struct mirror_key exclude_keys[] = {
    { "exact", read_exact }, { "glob", read_globs }, { "regex", read_regex }, { NULL, NULL },
};

/* ---- tags ---- */

static int tags_exact(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return read_exact(y, n, &((struct mirror_filter *)into)->in, err);
}

static int tags_globs(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return read_globs(y, n, &((struct mirror_filter *)into)->in, err);
}

static int tags_regex(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return read_regex(y, n, &((struct mirror_filter *)into)->in, err);
}

static int tags_semver(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct mirror_filter *f = into;
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const char *text = NULL;
    int r = mirror_yaml_text(y, n, &text, err);
    if (r < 0)
        return r;
    f->semver = mirror_range_new(text, &e);
    return f->semver ? 0 : mirror_yaml_wrong(y, n, err, "%s", cb_error_text(&e));
}

static int tags_prerelease(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return mirror_yaml_bool(y, n, &((struct mirror_filter *)into)->prerelease, err);
}

static int tags_newest(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    const char *text = NULL;
    uint64_t value = 0;
    int r = mirror_yaml_text(y, n, &text, err);
    if (r == 0 && (!cb_parse_u64(text, MAX_NEWEST, &value) || value == 0))
        r = mirror_yaml_wrong(y, n, err, "write a number from 1 to %d", MAX_NEWEST);
    ((struct mirror_filter *)into)->newest = (size_t)value;
    return r;
}

static int tags_by(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    const char *text = NULL;
    int r = mirror_yaml_text(y, n, &text, err);
    if (r == 0 && strcmp(text, "semver") != 0 && strcmp(text, "created") != 0)
        r = mirror_yaml_wrong(y, n, err, "write semver or created");
    ((struct mirror_filter *)into)->by = r == 0 && !strcmp(text, "created") ? MIRROR_BY_CREATED : MIRROR_BY_SEMVER;
    return r;
}

static int tags_exclude(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return mirror_yaml_map(y, n, exclude_keys, &((struct mirror_filter *)into)->out, err);
}

static const struct mirror_key tags_keys[] = {
    { "exact", tags_exact },           { "glob", tags_globs },     { "regex", tags_regex },
    { "semver", tags_semver },         { "newest", tags_newest },  { "by", tags_by },
    { "prerelease", tags_prerelease }, { "exclude", tags_exclude }, { NULL, NULL },
};

/* ---- one mirror ---- */

static int read_place(const struct mirror_yaml *y, const yaml_node_t *n, struct cb_place *out, struct cb_error *err)
{
    struct cb_error e cb_cleanup_error = CB_ERROR_INIT;
    const char *text = NULL;
    int r = mirror_yaml_text(y, n, &text, err);
    if (r < 0)
        return r;
    if (cb_place_parse(out, text, &e) < 0)
        return mirror_yaml_wrong(y, n, err, "%s", cb_error_text(&e));
    if (out->transport != CB_AT_REGISTRY)
        return mirror_yaml_wrong(y, n, err, "%s: mirrors are between registries; `cbpush copy -a` and --bundle write "
                                            "layouts", text);
    if (out->ref.tag || cb_digest_is_set(&out->ref.digest))
        return mirror_yaml_wrong(y, n, err, "%s: a repository is expected; its tags stand under tags", text);
    return 0;
}

static int entry_source(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return read_place(y, n, &((struct mirror_entry *)into)->source, err);
}

static int entry_target(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct mirror_entry *e = into;
    e->targets = cb_reallocarray(e->targets, e->n_targets + 1, sizeof *e->targets);
    e->targets[e->n_targets] = (struct cb_place){ 0 };
    return read_place(y, n, &e->targets[e->n_targets++], err);
}

static int entry_targets(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    static const struct mirror_key target = { "targets", entry_target };
    return mirror_yaml_each(y, n, &target, into, err);
}

static int entry_tags(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct mirror_filter *f = &((struct mirror_entry *)into)->filter;
    return n->type == YAML_MAPPING_NODE ? mirror_yaml_map(y, n, tags_keys, f, err) : read_exact(y, n, &f->in, err);
}

static int entry_platforms(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct mirror_entry *e = into;
    struct cb_strvec all cb_cleanup_strvec = CB_STRVEC_INIT;
    struct cb_error error cb_cleanup_error = CB_ERROR_INIT;
    cb_platforms_free(e->platforms, e->n_platforms);
    e->platforms = NULL;
    e->n_platforms = 0;
    int r = mirror_yaml_strings(y, n, &all, err);
    if (r == 0 && cb_platforms_parse(&all, &e->platforms, &e->n_platforms, &error) < 0)
        r = mirror_yaml_wrong(y, n, err, "%s", cb_error_text(&error));
    return r;
}

static int entry_referrers(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct mirror_entry *e = into;
    const char *text = n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : "";
    e->top_only = !strcmp(text, "top");
    e->referrers = e->top_only;
    if (e->top_only)
        return 0;
    return strcmp(text, "true") && strcmp(text, "false") ? mirror_yaml_wrong(y, n, err, "write true, false or top")
                                                         : mirror_yaml_bool(y, n, &e->referrers, err);
}

static int entry_delete(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    return mirror_yaml_bool(y, n, &((struct mirror_entry *)into)->deletes, err);
}

static const struct mirror_key entry_keys[] = {
    { "source", entry_source },       { "target", entry_target },       { "targets", entry_targets },
    { "tags", entry_tags },           { "platforms", entry_platforms }, { "referrers", entry_referrers },
    { "delete", entry_delete },       { NULL, NULL },
};

static void entry_done(struct mirror_entry *e)
{
    cb_place_done(&e->source);
    for (size_t i = 0; i < e->n_targets; i++)
        cb_place_done(&e->targets[i]);
    free(e->targets);
    mirror_filter_done(&e->filter);
    cb_platforms_free(e->platforms, e->n_platforms);
}

static int check_entry(const struct mirror_yaml *y, const yaml_node_t *n, const struct mirror_entry *e,
                       struct cb_error *err)
{
    if (!e->source.text)
        return mirror_yaml_wrong(y, n, err, "the mirror has no source");
    if (!e->n_targets)
        return mirror_yaml_wrong(y, n, err, "the mirror has no target");
    for (size_t i = 0; i < e->n_targets; i++)
        if (!strcmp(e->source.ref.host, e->targets[i].ref.host) && !strcmp(e->source.ref.repo, e->targets[i].ref.repo))
            return mirror_yaml_wrong(y, n, err, "source and target are one repository");
    return 0;
}

/* ---- the whole ---- */

struct reading {
    struct cb_mirror_spec *spec;
    struct mirror_entry defaults;
};

static void take_defaults(struct mirror_entry *e, const struct mirror_entry *d)
{
    e->referrers = d->referrers;
    e->top_only = d->top_only;
    e->deletes = d->deletes;
    e->platforms = cb_calloc(d->n_platforms + 1, sizeof *e->platforms);
    for (; e->n_platforms < d->n_platforms; e->n_platforms++)
        cb_platform_copy(&e->platforms[e->n_platforms], &d->platforms[e->n_platforms]);
}

static int read_entry(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    struct reading *x = into;
    struct cb_mirror_spec *s = x->spec;
    if (s->n == MAX_MIRRORS)
        return mirror_yaml_wrong(y, n, err, "more than %d mirrors", MAX_MIRRORS);
    s->v = cb_reallocarray(s->v, s->n + 1, sizeof *s->v);
    struct mirror_entry *e = &s->v[s->n++];
    *e = (struct mirror_entry){ 0 };
    take_defaults(e, &x->defaults);
    int r = mirror_yaml_map(y, n, entry_keys, e, err);
    return r < 0 ? r : check_entry(y, n, e, err);
}

static int read_mirrors(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    static const struct mirror_key entry = { "mirrors", read_entry };
    return mirror_yaml_each(y, n, &entry, into, err);
}

static int read_defaults(const struct mirror_yaml *y, const yaml_node_t *n, void *into, struct cb_error *err)
{
    static const struct mirror_key keys[] = {
        { "platforms", entry_platforms }, { "referrers", entry_referrers }, { "delete", entry_delete }, { NULL, NULL },
    };
    struct reading *x = into;
    if (x->spec->n)
        return mirror_yaml_wrong(y, n, err, "defaults come before mirrors");
    return mirror_yaml_map(y, n, keys, &x->defaults, err);
}

static const struct mirror_key top_keys[] = {
    { "defaults", read_defaults }, { "mirrors", read_mirrors }, { NULL, NULL },
};

void cb_mirror_spec_free(struct cb_mirror_spec *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        entry_done(&s->v[i]);
    free(s->v);
    free(s);
}

static void add_host(struct cb_strvec *out, const struct cb_place *p)
{
    if (!cb_strvec_has(out, p->ref.host))
        cb_strvec_push(out, p->ref.host);
}

void cb_mirror_spec_hosts(const struct cb_mirror_spec *s, struct cb_strvec *out)
{
    for (size_t i = 0; i < s->n; i++) {
        add_host(out, &s->v[i].source);
        for (size_t k = 0; k < s->v[i].n_targets; k++)
            add_host(out, &s->v[i].targets[k]);
    }
}

int cb_mirror_spec_parse(const char *name, const char *text, size_t len, struct cb_mirror_spec **out,
                         struct cb_error *err)
{
    struct mirror_yaml y;
    CB_AUTO(cb_mirror_spec_free) struct cb_mirror_spec *spec = CB_NEW(struct cb_mirror_spec);
    struct reading x = { spec, { .referrers = true } };
    int r = mirror_yaml_open(&y, name, text, len, err);
    if (r < 0)
        return r;
    const yaml_node_t *root = yaml_document_get_root_node(&y.doc);
    r = mirror_yaml_map(&y, root, top_keys, &x, err);
    if (r == 0 && !spec->n)
        r = mirror_yaml_wrong(&y, root, err, "no mirrors");
    entry_done(&x.defaults);
    mirror_yaml_close(&y);
    if (r == 0)
        *out = CB_TAKE(spec);
    return r;
}
