/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/edit_session.h"

struct export_options {
    struct cb_common common;
    const char *platform, *output;
};
#define AT(field) offsetof(struct export_options, field)

static int write_tar(const struct export_options *o, const struct cb_edit_tables *t, struct cb_error *err)
{
    struct cb_out_file f;
    int r = cb_out_file_open(&f, o->output ? o->output : "-", err);
    if (r == 0)
        r = cb_edit_export(t, f.fd, err);
    return cb_out_file_close(&f, r, err);
}

static int export(const struct cb_process *p, const struct export_options *o, const char *what, struct cb_error *err)
{
    struct cb_edit_session e cb_cleanup_edit_session = { 0 };
    struct cb_edit_source source cb_cleanup_edit_source = { 0 };
    struct cb_edit_image image cb_cleanup_edit_image = CB_EDIT_IMAGE_INIT;
    struct cb_edit_tables tables cb_cleanup_edit_tables = { 0 };
    struct cb_platform platform cb_cleanup_platform = { 0 };
    int r = o->platform ? cb_platform_parse(&platform, o->platform, err) : 0;
    if (r == 0)
        r = cb_edit_session_open(&e, p, &o->common, "Exporting", err);
    if (r == 0)
        r = cb_edit_session_source(&e, what, &source, err);
    if (r == 0)
        r = cb_edit_image_open(&source, o->platform ? &platform : NULL, &image, err);
    if (r == 0)
        r = cb_edit_tables_read(&tables, &source, &image, SIZE_MAX, true, err);
    return r < 0 ? r : write_tar(o, &tables, err);
}

static int run_export(const struct cb_process *p, const struct cb_verb *self, int argc, char **argv,
                      int *status CB_UNUSED, struct cb_error *err)
{
    struct export_options o = { .common = CB_COMMON_INIT };
    struct cb_verb_args a = { .verb = self, .dest = &o, .argc = argc, .argv = argv, .min = 1, .max = 2 };
    int r = cb_verb_args(&a, err);
    if (r == 0 && a.operands.n > 1 && o.output)
        r = cb_error_set(err, CB_EUSAGE, "export: %s and --output both name the file", a.operands.v[1]);
    else if (a.operands.n > 1)
        o.output = a.operands.v[1];
    if (r == 0 && !a.done)
        r = export(p, &o, a.operands.v[0], err);
    cb_strvec_done(&a.operands);
    cb_common_done(&o.common);
    return r;
}

static const struct cb_opt export_table[] = {
    { "output", 'o', CB_OPT_STRING, AT(output), "FILE", "default: standard output", NULL },
    { "platform", 0, CB_OPT_STRING, AT(platform), "OS/ARCH", "which image of an index; default that of this machine",
      NULL },
    CB_OPT_EDIT(export_options),
};

const struct cb_verb cb_verb_export = {
    .name = "export",
    .registry_names = true,
    .summary = "write the root file system of an image as one tar",
    .operands = "[OPTIONS] IMAGE [FILE]",
    .details = "Whiteouts are applied, hard links are kept. Every layer is fetched once, and nothing is unpacked.\n"
               "IMAGE is one of a registry, or store:NAME, one of the local store.",
    .options = export_table,
    .run = run_export,
};
