/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/build_input.h"
#include "util/alloc.h"
#include "util/path.h"

/* As writing it would fail. What can only be known by trying is left to that. */
static int check_file(const char *path, struct cb_error *err)
{
    struct stat st;
    if (!path || !strcmp(path, "-"))
        return 0;
    const char *base = cb_path_base(path);
    cb_autofree char *dir = base == path ? cb_strdup(".") : cb_strndup(path, (size_t)(base - path));
    if (stat(dir, &st) < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "write %s", path);
    if (!S_ISDIR(st.st_mode))
        return cb_error_sys(err, CB_ELOCAL, ENOTDIR, "write %s", path);
    if (!*base || (stat(path, &st) == 0 && S_ISDIR(st.st_mode)))
        return cb_error_sys(err, CB_ELOCAL, EISDIR, "write %s", path);
    return 0;
}

static int check_output(const struct cb_output *o, struct cb_error *err)
{
    bool file = o->dest && o->type != CB_OUTPUT_LOCAL && !o->as_dir;
    if (file && !strcmp(o->dest, "-") && isatty(STDOUT_FILENO))
        return cb_error_set(err, CB_EUSAGE, "an archive is not written to a terminal: say dest=FILE, or redirect");
    return file ? check_file(o->dest, err) : 0;
}

int build_check_files(const struct build_input *in, struct cb_error *err)
{
    const struct build_options *c = &in->cli;
    const char *const files[] = { c->iidfile, c->metadata_file, c->results.iidfile_raw, c->results.digest_file,
                                  c->results.name_file, c->results.name_tag_file, c->release.receipt };
    int r = 0;
    for (size_t i = 0; r == 0 && i < CB_COUNTOF(files); i++)
        r = check_file(files[i], err);
    for (size_t i = 0; r == 0 && i < in->n_outputs; i++) {
        r = check_output(&in->outputs[i], err);
        if (r < 0)
            cb_error_wrap(err, "output %s", in->outputs[i].dest);
    }
    return r;
}
