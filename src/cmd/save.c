/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cmd/session.h"
#include "util/alloc.h"

struct save_options {
    struct cb_common common;
    const char *output, *format, *input, *name, *platform;
    bool quiet;
};
#define AT(field) offsetof(struct save_options, field)
static const struct cb_opt save_table[] = {
    { "output", 'o', CB_OPT_STRING, AT(output), "FILE", "write there instead of to standard output", NULL },
    { "format", 0, CB_OPT_STRING, AT(format), "FORMAT", "docker-archive (default), oci-archive, oci-dir", NULL,
      "docker-archive|oci-archive|oci-dir" },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH",
      "of an index only this image; without it OCI formats take all, docker-archive that of this machine", NULL },
    CB_OPT_COMMON_PROGRESS(save_options),
    CB_OPT_COMMON_REGISTRY(save_options),
    CB_OPT_COMMON_RETRY(save_options),
    CB_OPT_COMMON_STORE(save_options),
    CB_OPT_END,
};

static struct cb_step *begin_step(struct cb_session *s, const char *what, const char *path)
{
    cb_autofree char *title = cb_asprintf("%s %s", what, path);
    struct cb_step *step = cb_step_new(s->progress, title);
    cb_step_begin(step);
    return step;
}

static void end_step(struct cb_session *s, struct cb_step *step, int r, struct cb_error *err)
{
    if (r < 0)
        cb_step_error(step, cb_error_text(err));
    else
        cb_step_done(step);
    cb_progress_finish(s->progress, r < 0);
}

static int write_archive(const struct cb_export_options *x, const char *path, bool docker, struct cb_error *err)
{
    struct cb_out_file f;
    int r = cb_out_file_open(&f, path, err);
    if (r == 0)
        r = docker ? cb_export_docker_tar(x, f.fd, err) : cb_export_oci_tar(x, f.fd, err);
    return cb_out_file_close(&f, r, err);
}

static bool is_docker(const struct save_options *o)
{
    return !o->format || !strcmp(o->format, "docker-archive");
}

static int check_format(const struct save_options *o, struct cb_error *err)
{
    const char *format = o->format ? o->format : "docker-archive";
    bool dir = !strcmp(format, "oci-dir");
    if (!dir && strcmp(format, "oci-archive") && strcmp(format, "docker-archive"))
        return cb_error_set(err, CB_EUSAGE, "--format %s: docker-archive, oci-archive or oci-dir", format);
    if (dir && (!o->output || !strcmp(o->output, "-")))
        return cb_error_set(err, CB_EUSAGE, "--format oci-dir needs -o DIR");
    return 0;
}

/* The image that was asked for, or the only one that the format can hold; else everything. */
static int choose(struct cb_session *s, const struct save_options *o, struct cb_descriptor *desc, struct cb_error *err)
{
    struct cb_platform platform cb_cleanup_platform = { 0 };
    struct cb_image image cb_cleanup_image = { 0 };
    int r = o->platform ? cb_platform_parse(&platform, o->platform, err) : 0;
    if (r < 0 || !cb_mt_is_index(desc->media_type) || !(o->platform || is_docker(o)))
        return r;
    r = cb_image_load(s->store, desc, o->platform ? &platform : NULL, &image, err);
    if (r == 0)
        cb_descriptor_copy(desc, &image.desc);
    return r;
}

/* What is written of one operand; of a name that is an ID, none. */
struct saved {
    struct cb_image_tree tree;
    struct cb_export_options x;
    char *name;
};

static void saved_done(struct saved *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cb_image_tree_done(&v[i].tree);
        free(v[i].name);
    }
    free(v);
}

static int take(struct cb_session *s, const struct save_options *o, const char *what, struct saved *out,
                struct cb_step *step, struct cb_error *err)
{
    struct cb_descriptor desc cb_cleanup_descriptor = { 0 };
    int r = cb_store_find(s->store, what, &desc, &out->name, err);
    if (r == 0)
        r = choose(s, o, &desc, err);
    if (r == 0)
        r = cb_image_tree_load(s->store, &desc, &out->tree, err);
    const struct cb_image_part *top = r == 0 ? &out->tree.v[out->tree.n - 1] : NULL;
    if (r == 0 && is_docker(o) && !top->is_image) {
        r = cb_manifest_no_image(&top->image.manifest, err);
        cb_error_wrap(err, "%s", what);
        cb_error_append(err, ": --format oci-archive takes it");
    }
    if (r == 0)
        r = cb_build_fetch_tree(&s->env, &out->tree, step, err);
    if (r < 0)
        return r;
    out->x = (struct cb_export_options){ .store = s->store, .image = &out->tree.v[out->tree.n - 1].image,
                                         .tree = &out->tree, .names = (const char *const *)&out->name,
                                         .n_names = out->name != NULL, .clamp_mtime = INT64_MAX,
                                         .cancel = s->process->cancel, .step = step };
    return 0;
}

static int save(struct cb_session *s, const struct save_options *o, const struct cb_strvec *images,
                struct cb_error *err)
{
    struct saved *v = cb_calloc(images->n, sizeof *v);
    bool file = o->output && strcmp(o->output, "-");
    struct cb_step *step = begin_step(s, "saving to", file ? o->output : "standard output");
    int r = 0;
    for (size_t i = 0; r == 0 && i < images->n; i++) {
        r = take(s, o, images->v[i], &v[i], step, err);
        if (i > 0)
            v[i - 1].x.more = &v[i].x;
    }
    if (r == 0 && cb_streq(o->format, "oci-dir"))
        r = cb_export_oci_dir(&v[0].x, o->output, err);
    else if (r == 0)
        r = write_archive(&v[0].x, o->output ? o->output : "-", is_docker(o), err);
    saved_done(v, images->n);
    end_step(s, step, r, err);
    return r;
}

static int run_save(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                    int *status CB_UNUSED, struct cb_error *err)
{
    struct save_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = SIZE_MAX };
    int r = cb_verb_args(&a, err);
    if (r == 0 && !a.done)
        r = check_format(&o, err);
    if (r == 0 && !a.done)
        r = cb_session_open(&s, p, &o.common, "Saving", err);
    if (r == 0 && !a.done)
        r = save(&s, &o, &a.operands, err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

const struct cb_verb cb_verb_save = {
    .name = "save",
    .summary = "write images to an archive",
    .operands = "[OPTIONS] IMAGE…",
    .options = save_table,
    .run = run_save,
};

/* ---- load ---- */

static const struct cb_opt load_table[] = {
    { "input", 'i', CB_OPT_STRING, AT(input), "PATH",
      "docker or OCI archive, or OCI layout directory; default standard input", NULL },
    { "tag", 't', CB_OPT_STRING, AT(name), "NAME[:TAG]", "name it so, whatever the archive says", NULL },
    { "quiet", 'q', CB_OPT_FLAG, AT(quiet), NULL, "digests only", NULL },
    CB_OPT_COMMON_PROGRESS(save_options),
    CB_OPT_COMMON_STORE(save_options),
    CB_OPT_END,
};

static int name_image(struct cb_session *s, const struct save_options *o, const struct cb_image *image,
                      const char *given, struct cb_error *err)
{
    struct cb_reference ref cb_cleanup_reference = { 0 };
    char digest[CB_DIGEST_TEXT_MAX];
    cb_digest_text(&image->desc.digest, digest);
    const char *text = o->name ? o->name : given;
    int r = text ? cb_reference_parse_word(&ref, text, err) : 0;
    if (r < 0)
        return r;
    cb_autofree char *name = NULL;
    if (text) {
        cb_reference_default_tag(&ref);
        name = cb_reference_text(&ref);
        r = cb_store_name_set(s->store, name, &image->desc, err);
    }
    if (r == 0)
        printf("%s%s%s\n", digest, o->quiet || !name ? "" : " ", o->quiet || !name ? "" : name);
    return r;
}

static int load(struct cb_session *s, const struct save_options *o, struct cb_error *err)
{
    struct cb_import_result res = { 0 };
    bool file = o->input && strcmp(o->input, "-");
    struct cb_step *step = begin_step(s, "loading", file ? o->input : "standard input");
    struct cb_import_options io = { .store = s->store, .path = file ? o->input : "-", .step = step,
                                    .cancel = s->process->cancel };
    int r = cb_image_import(&io, &res, err);
    end_step(s, step, r, err);
    if (r == 0 && o->name && res.n > 1)
        r = cb_error_set(err, CB_EUSAGE, "the archive holds %zu images: --tag names only one", res.n);
    for (size_t i = 0; r == 0 && i < res.n; i++)
        r = name_image(s, o, &res.images[i], res.names[i], err);
    cb_import_result_done(&res);
    return r;
}

static int run_load(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                    int *status CB_UNUSED, struct cb_error *err)
{
    struct save_options o = { .common = CB_COMMON_INIT };
    struct cb_session s cb_cleanup_session = { 0 };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .max = 1 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && a.operands.n)
        r = cb_error_set(err, CB_EUSAGE, "load: write -i %s", a.operands.v[0]);
    cb_strvec_done(&a.operands);
    if (r == 0 && !a.done && !o.input && isatty(STDIN_FILENO))
        r = cb_error_set(err, CB_EUSAGE, "load: standard input is a terminal: use -i FILE or redirect");
    if (o.quiet)
        o.common.progress = "quiet";
    if (r == 0 && !a.done)
        r = cb_session_open(&s, p, &o.common, "Loading", err);
    if (r == 0 && !a.done)
        r = load(&s, &o, err);
    return r;
}

const struct cb_verb cb_verb_load = {
    .name = "load",
    .summary = "bring an archive into the store",
    .operands = "[OPTIONS]",
    .options = load_table,
    .run = run_load,
};
