/* SPDX-License-Identifier: Apache-2.0 */
#include <limits.h>

#include "build/internal.h"
#include "util/alloc.h"

static int agree(const struct cb_build_options *o, enum cb_compression c, int level, struct cb_error *err)
{
    for (size_t i = 0; i < o->n_outputs; i++) {
        const struct cb_output *x = &o->outputs[i];
        if ((x->compression_set && x->compression != c) || (x->level != INT_MIN && x->level != level))
            return cb_error_set(err, CB_EUSAGE, "the outputs of one build must have the same compression");
        if ((x->docker_types || o->docker_types) && c == CB_COMPRESSION_ZSTD)
            return cb_error_set(err, CB_EUSAGE, "zstd needs OCI media types: leave out oci-mediatypes=false");
    }
    if ((c == CB_COMPRESSION_ZSTD && (level == 0 || level > 19)) || (c == CB_COMPRESSION_GZIP && level > 12))
        return cb_error_set(err, CB_EUSAGE, "compression levels are 0 to 12 for gzip, 1 to 19 for zstd");
    return 0;
}

int cb_build_compression(const struct cb_build_options *o, enum cb_compression *c, int *level, struct cb_error *err)
{
    *c = o->compression;
    *level = o->compression_level;
    for (size_t i = o->n_outputs; i-- > 0;) {
        if (o->outputs[i].compression_set)
            *c = o->outputs[i].compression;
        if (o->outputs[i].level != INT_MIN)
            *level = o->outputs[i].level;
    }
    return agree(o, *c, *level, err);
}

static int export_file(const struct cb_output *o, const struct cb_export_options *x, struct cb_error *err)
{
    struct cb_out_file f;
    int r = cb_out_file_open(&f, o->dest, err);
    if (r == 0 && o->type == CB_OUTPUT_OCI)
        r = cb_export_oci_tar(x, f.fd, err);
    else if (r == 0 && o->type == CB_OUTPUT_DOCKER)
        r = cb_export_docker_tar(x, f.fd, err);
    else if (r == 0)
        r = cb_export_tar(x, f.fd, err);
    return cb_out_file_close(&f, r, err);
}

static int write_output(const struct cb_output *o, const struct cb_export_options *x, struct cb_step *step,
                        struct cb_error *err)
{
    if (o->type == CB_OUTPUT_LOCAL)
        return cb_export_local(x, o->dest, err);
    if (o->type == CB_OUTPUT_DOCKER && !o->dest)
        return cb_build_load(x, step, err);
    return o->type == CB_OUTPUT_OCI && o->as_dir ? cb_export_oci_dir(x, o->dest, err) : export_file(o, x, err);
}

static int export_one(struct cb_build *b, const struct cb_output *o, const struct cb_export_options *x,
                      struct cb_error *err)
{
    static const char *const what[] = { "image", "OCI layout", "docker archive", "directory", "tar archive" };
    const char *dest = o->dest ? o->dest : "of this machine's engine";
    cb_autofree char *name = cb_asprintf("exporting to %s %s", what[o->type], dest);
    struct cb_step *step = cb_step_new(b->env->progress, name);
    bool files = o->type == CB_OUTPUT_LOCAL || o->type == CB_OUTPUT_TAR;
    unsigned needs = files ? CB_NEED_TOC | CB_NEED_DATA : CB_NEED_BLOB;
    cb_step_begin(step);
    int r = cb_slots_need(b->slots, b->solver.result, b->solver.n_result, needs, step, err);
    if (r == 0)
        r = write_output(o, x, step, err);
    if (r < 0) {
        cb_error_wrap(err, "output %s", dest);
        cb_step_error(step, cb_error_text(err));
    } else {
        cb_step_done(step);
    }
    return r;
}

int cb_build_export(struct cb_build *b, struct cb_error *err)
{
    char **names = cb_calloc(b->n_tags + 1, sizeof *names);
    for (size_t i = 0; i < b->n_tags; i++)
        names[i] = cb_reference_text(&b->tags[i]);
    struct cb_export_options x = { .store = b->env->store, .image = &b->res->image, .names = (const char *const *)names,
                                   .n_names = b->n_tags, .clamp_mtime = b->epoch, .cancel = b->env->cancel };
    int r = 0;
    for (size_t i = 0; r == 0 && i < b->o->n_outputs; i++)
        if (b->o->outputs[i].type != CB_OUTPUT_IMAGE)
            r = export_one(b, &b->o->outputs[i], &x, err);
    for (size_t i = 0; i < b->n_tags; i++)
        free(names[i]);
    free(names);
    return r;
}
