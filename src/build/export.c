/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "build/internal.h"
#include "util/alloc.h"

void cb_build_compression(const struct cb_build_options *o, enum cb_compression *c, int *level)
{
    *c = o->compression;
    *level = o->compression_level;
    for (size_t i = 0; i < o->n_outputs; i++) {
        if (o->outputs[i].compression_set)
            *c = o->outputs[i].compression;
        if (o->outputs[i].level != INT_MIN)
            *level = o->outputs[i].level;
        if (o->outputs[i].compression_set || o->outputs[i].level != INT_MIN)
            return;
    }
}

/* A file that is there under its name only when it is whole. */
struct out_file {
    char *tmp;
    int fd;
};

static int out_open(const char *dest, struct out_file *f, struct cb_error *err)
{
    if (!strcmp(dest, "-")) {
        if (isatty(STDOUT_FILENO))
            return cb_error_set(err, CB_EUSAGE, "dest=-: not writing an archive to a terminal: redirect standard output");
        f->fd = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
        return f->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "standard output") : 0;
    }
    f->tmp = cb_asprintf("%s.cbpush-%ld", dest, (long)getpid());
    f->fd = open(f->tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return f->fd < 0 ? cb_error_sys(err, CB_ELOCAL, errno, "create %s", dest) : 0;
}

static int out_close(const char *dest, struct out_file *f, int r, struct cb_error *err)
{
    if (f->fd >= 0 && close(f->fd) < 0 && r == 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "write %s", dest);
    if (f->tmp && r == 0 && rename(f->tmp, dest) < 0)
        r = cb_error_sys(err, CB_ELOCAL, errno, "rename to %s", dest);
    if (f->tmp && r < 0)
        unlink(f->tmp);
    free(f->tmp);
    return r;
}

static int export_file(const struct cb_output *o, const struct cb_export_options *x, struct cb_error *err)
{
    struct out_file f = { .fd = -1 };
    int r = out_open(o->dest, &f, err);
    if (r == 0 && o->type == CB_OUTPUT_OCI)
        r = cb_export_oci_tar(x, f.fd, err);
    else if (r == 0 && o->type == CB_OUTPUT_DOCKER)
        r = cb_export_docker_tar(x, f.fd, err);
    else if (r == 0)
        r = cb_export_tar(x, f.fd, err);
    return out_close(o->dest, &f, r, err);
}

static int export_one(struct cb_build *b, const struct cb_output *o, const struct cb_export_options *x, struct cb_error *err)
{
    static const char *const what[] = { "image", "OCI layout", "docker archive", "directory", "tar archive" };
    cb_autofree char *name = cb_asprintf("exporting to %s %s", what[o->type], o->dest);
    struct cb_step *step = cb_step_new(b->env->progress, name);
    unsigned needs = o->type == CB_OUTPUT_LOCAL || o->type == CB_OUTPUT_TAR ? CB_NEED_TOC | CB_NEED_DATA : CB_NEED_BLOB;
    int r;
    cb_step_begin(step);
    r = cb_slots_need(b->slots, b->solver.result, b->solver.n_result, needs, step, err);
    if (r == 0 && o->type == CB_OUTPUT_LOCAL)
        r = cb_export_local(x, o->dest, err);
    else if (r == 0 && o->type == CB_OUTPUT_OCI && o->as_dir)
        r = cb_export_oci_dir(x, o->dest, err);
    else if (r == 0)
        r = export_file(o, x, err);
    if (r < 0)
        cb_step_error(step, cb_error_text(err));
    else
        cb_step_done(step);
    return r < 0 ? cb_error_wrap(err, "output %s", o->dest) : 0;
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
