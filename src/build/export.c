/* SPDX-License-Identifier: Apache-2.0 */
#include "build/attest_files.h"
#include "util/alloc.h"

static bool is_files(const struct cb_output *o)
{
    return o->type == CB_OUTPUT_LOCAL || o->type == CB_OUTPUT_TAR;
}

static int agree(const struct cb_build_options *o, const struct cb_format *f, struct cb_error *err)
{
    for (size_t i = 0; i < o->n_outputs; i++) {
        const struct cb_output *x = &o->outputs[i];
        if ((x->format_set && (x->format.compression != f->compression || x->format.chunked != f->chunked)) ||
            (x->format.level != CB_LEVEL_DEFAULT && x->format.level != f->level))
            return cb_error_set(err, CB_EUSAGE, "the outputs of one build must have the same compression");
        if (cb_format_is_estargz(f) && is_files(x))
            return cb_error_set(err, CB_EUSAGE, "output %s: layers in eStargz have files of their own, which do not "
                                                "belong there: build it apart", x->dest);
        if (x->docker_types && cb_format_needs_oci(f))
            return cb_error_set(err, CB_EUSAGE, "%s needs OCI media types: leave out oci-mediatypes=false",
                                cb_format_name(f));
    }
    if (o->docker_types && cb_format_needs_oci(f))
        return cb_error_set(err, CB_EUSAGE, "%s needs OCI media types: leave out --format docker", cb_format_name(f));
    return cb_format_check(f, err);
}

int cb_build_format(const struct cb_build_options *o, struct cb_format *out, struct cb_error *err)
{
    *out = o->format;
    for (size_t i = o->n_outputs; i-- > 0;) {
        const struct cb_format *f = &o->outputs[i].format;
        int level = f->level != CB_LEVEL_DEFAULT ? f->level : out->level;
        if (o->outputs[i].format_set)
            *out = *f;
        out->level = level;
    }
    return agree(o, out, err);
}

struct cb_format cb_build_format_aside(const struct cb_build_options *o, const struct cb_format *f)
{
    struct cb_format fast = { CB_COMPRESSION_GZIP, CB_LEVEL_FAST };
    for (size_t i = 0; i < o->n_cache_to; i++)
        if (o->cache_to[i].all_steps)
            return *f; /* a cache gets them, too */
    return f->compression == CB_COMPRESSION_NONE ? *f : fast;
}

int cb_build_check_outputs(const struct cb_build_options *o, struct cb_error *err)
{
    for (size_t i = 0; o->n_platforms > 1 && i < o->n_outputs; i++) {
        const struct cb_output *x = &o->outputs[i];
        if (x->type == CB_OUTPUT_DOCKER)
            return cb_error_set(err, CB_EUSAGE, "output %s: a docker archive holds no index of several platforms: use "
                                                "type=oci, or build one platform", x->dest);
        if (x->platform_split == 0)
            return cb_error_set(err, CB_EUSAGE, "output %s: platform-split=false: the files of several platforms "
                                                "cannot be in one directory", x->dest);
    }
    return 0;
}

/* ---- several platforms as files ---- */

struct export {
    struct cb_build *b;
    const struct cb_output *o;
    struct cb_export_options *x; /* one an image */
    struct cb_image_tree tree;
    char **dirs;                 /* "linux_amd64", parallel to x, in order; NULL: everything at the top */
};

static char *split_name(const struct cb_platform *p)
{
    struct cb_strbuf sb cb_cleanup_strbuf = CB_STRBUF_INIT;
    cb_strbuf_add_platform(&sb, p);
    for (char *c = sb.buf; *c; c++)
        *c = *c == '/' ? '_' : *c;
    return cb_strbuf_detach(&sb, NULL);
}

/* A tar is in the order of its names. */
static void split(struct export *e)
{
    size_t n = e->b->plan.n_images;
    e->dirs = cb_calloc(n, sizeof *e->dirs);
    for (size_t i = 0; i < n; i++) {
        struct cb_export_options x = e->x[i];
        cb_autofree char *name = split_name(&e->b->plan.images[i].platform);
        size_t k = i;
        for (; k > 0 && strcmp(e->dirs[k - 1], name) > 0; k--) {
            e->x[k] = e->x[k - 1];
            e->dirs[k] = e->dirs[k - 1];
        }
        e->x[k] = x;
        e->dirs[k] = CB_TAKE(name);
    }
}

static int export_dirs(const struct export *e, struct cb_error *err)
{
    int r = 0;
    if (!e->dirs)
        return cb_export_local(&e->x[0], e->o->dest, err);
    for (size_t i = 0; r == 0 && i < e->b->plan.n_images; i++) {
        cb_autofree char *path = cb_asprintf("%s/%s", e->o->dest, e->dirs[i]);
        r = cb_export_local(&e->x[i], path, err);
    }
    return r;
}

static int export_tar(const struct export *e, int fd, struct cb_error *err)
{
    return e->dirs ? cb_export_tar_split(e->x, (const char *const *)e->dirs, e->b->plan.n_images, fd, err)
                   : cb_export_tar(&e->x[0], fd, err);
}

/* ---- one output ---- */

static int export_file(const struct export *e, struct cb_error *err)
{
    struct cb_out_file f;
    int r = cb_out_file_open(&f, e->o->dest, err);
    if (r == 0 && e->o->type == CB_OUTPUT_OCI)
        r = cb_export_oci_tar(&e->x[0], f.fd, err);
    else if (r == 0 && e->o->type == CB_OUTPUT_DOCKER)
        r = cb_export_docker_tar(&e->x[0], f.fd, err);
    else if (r == 0)
        r = export_tar(e, f.fd, err);
    return cb_out_file_close(&f, r, err);
}

static int write_output(const struct export *e, struct cb_step *step, struct cb_error *err)
{
    if (e->o->type == CB_OUTPUT_LOCAL)
        return export_dirs(e, err);
    if (e->o->type == CB_OUTPUT_DOCKER && !e->o->dest)
        return cb_build_load(&e->x[0], step, err);
    return e->o->type == CB_OUTPUT_OCI && e->o->as_dir ? cb_export_oci_dir(&e->x[0], e->o->dest, err)
                                                       : export_file(e, err);
}

static int need_layers(const struct export *e, struct cb_step *step, struct cb_error *err)
{
    unsigned needs = is_files(e->o) ? CB_NEED_TOC | CB_NEED_DATA : CB_NEED_BLOB;
    int r = 0;
    for (size_t i = 0; r == 0 && i < e->b->plan.n_images; i++)
        r = cb_slots_need(e->b->slots, e->b->solver.images[i].layers, e->b->solver.images[i].n, needs, step, err);
    return r;
}

static size_t image_of(const struct export *e, size_t i)
{
    return (size_t)(e->x[i].image - e->b->res->images);
}

static int attest(struct export *e, struct cb_error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && is_files(e->o) && cb_attests_files(e->b->o) && i < e->b->plan.n_images; i++) {
        struct cb_export_document *v = NULL;
        r = cb_attest_documents(e->b, image_of(e, i), e->o->attestation_prefix, &v, &e->x[i].n_documents, err);
        e->x[i].documents = v;
    }
    return r;
}

static const char *const output_names[] = { "image", "OCI layout", "docker archive", "directory", "tar archive" };

static int run_export(struct export *e, struct cb_error *err)
{
    const char *dest = e->o->dest ? e->o->dest : "of this machine's engine";
    cb_autofree char *name = cb_asprintf("exporting to %s %s", output_names[e->o->type], dest);
    struct cb_step *step = cb_step_new(e->b->env->progress, name);
    struct cb_span span cb_cleanup_span = cb_span_begin("export", "%s", name);
    cb_step_begin(step);
    int r = need_layers(e, step, err);
    if (r == 0)
        r = attest(e, err);
    if (r == 0)
        r = write_output(e, step, err);
    if (r < 0) {
        cb_error_wrap(err, "output %s", dest);
        cb_step_error(step, cb_error_text(err));
    } else {
        cb_step_done(step);
    }
    return r;
}

/* common: names and times. */
static int export_one(struct cb_build *b, const struct cb_output *o, const struct cb_export_options *common,
                      struct cb_error *err)
{
    size_t n = b->plan.n_images;
    struct export e = { .b = b, .o = o, .x = cb_calloc(n, sizeof *e.x) };
    for (size_t i = 0; i < n; i++) {
        e.x[i] = *common;
        e.x[i].image = &b->res->images[i];
    }
    if (is_files(o) && (n > 1 ? o->platform_split != 0 : o->platform_split > 0))
        split(&e);
    bool index = o->type == CB_OUTPUT_OCI && cb_mt_is_index(b->res->desc.media_type);
    int r = index ? cb_image_tree_load(b->env->store, &b->res->desc, &e.tree, err) : 0;
    if (index)
        e.x[0].tree = &e.tree;
    else if (b->attestations && !(is_files(o) && cb_attests_files(b->o)))
        cb_progress_note(b->env->progress, true, "output %s has the image without its attestation: a %s holds none",
                         o->dest ? o->dest : "to this machine's engine", output_names[o->type]);
    if (r == 0)
        r = run_export(&e, err);
    for (size_t i = 0; e.dirs && i < n; i++)
        free(e.dirs[i]);
    for (size_t i = 0; i < n; i++)
        cb_documents_free((struct cb_export_document *)(uintptr_t)e.x[i].documents, e.x[i].n_documents);
    free(e.dirs);
    free(e.x);
    cb_image_tree_done(&e.tree);
    return r;
}

/* Who could neither change nor remove what belongs to subordinate ids. */
static bool is_ordinary_user(enum cb_id_mode m)
{
    return m == CB_ID_RANGE || m == CB_ID_SINGLE || m == CB_ID_NONE;
}

int cb_build_export(struct cb_build *b, struct cb_error *err)
{
    char **names = cb_calloc(b->n_tags + 1, sizeof *names);
    size_t n = 0;
    for (size_t i = 0; i < b->n_tags; i++)
        if (b->tags[i].tag)
            names[n++] = cb_reference_text(&b->tags[i]);
    struct cb_export_options x = { .store = b->env->store, .names = (const char *const *)names, .n_names = n,
                                   .clamp_mtime = b->epoch, .cancel = b->env->cancel,
                                   .users_own = is_ordinary_user(b->env->id_mode) };
    int r = 0;
    for (size_t i = 0; r == 0 && i < b->o->n_outputs; i++)
        if (b->o->outputs[i].type != CB_OUTPUT_IMAGE && b->o->outputs[i].type != CB_OUTPUT_NONE)
            r = export_one(b, &b->o->outputs[i], &x, err);
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
    return r;
}
