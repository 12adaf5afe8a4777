/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/build_result.h"

#include <fcntl.h>
#include <unistd.h>

#include "util/alloc.h"
#include "util/fd.h"

#define AT(field) offsetof(struct result_options, field)
const struct cb_opt result_opts[] = {
    { "load", 0, CB_OPT_FLAG, AT(load), NULL, "also give the image to docker or podman of this machine", NULL },
    { "iidfile-raw", 0, CB_OPT_STRING, AT(iidfile_raw), "FILE", "write the image ID there without sha256:", NULL },
    { "digest-file", 0, CB_OPT_STRING, AT(digest_file), "FILE", "write the manifest's digest there", NULL },
    { "image-name-with-digest-file", 0, CB_OPT_STRING, AT(name_file), "FILE", "write NAME@DIGEST there, a line each",
      NULL },
    { "image-name-tag-with-digest-file", 0, CB_OPT_STRING, AT(name_tag_file), "FILE", "write NAME:TAG@DIGEST there",
      NULL },
    { "propagate-exit", 0, CB_OPT_FLAG, AT(propagate_exit), NULL, "a RUN that fails gives its own exit status", NULL },
    CB_OPT_END,
};

/* In place, without a temporary name: /dev/termination-log is a mount point. */
int cb_report_write_n(const char *path, const char *text, size_t n, struct cb_error *err)
{
    cb_autoclose int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return cb_error_sys(err, CB_ELOCAL, errno, "write %s", path);
    int r = cb_fd_write_all(fd, text, n, err);
    return r < 0 ? cb_error_wrap(err, "%s", path) : 0;
}

int cb_report_write(const char *path, const char *text, struct cb_error *err)
{
    return cb_report_write_n(path, text, strlen(text), err);
}

/* The tag of "host:5000/repo:tag", which is behind the last slash. */
static const char *tag_of(const char *name)
{
    const char *slash = strrchr(name, '/');
    return strchrnul(slash ? slash : name, ':');
}

static int write_names(const char *path, const struct cb_build_result *res, bool with_tag, struct cb_error *err)
{
    struct cb_strbuf text cb_cleanup_strbuf = CB_STRBUF_INIT;
    char digest[CB_DIGEST_TEXT_MAX];
    cb_digest_text(&res->desc.digest, digest);
    for (size_t i = 0; i < res->n_tags; i++) {
        const char *name = res->tags[i].name;
        size_t n = with_tag ? strlen(name) : (size_t)(tag_of(name) - name);
        cb_strbuf_addf(&text, "%.*s@%s\n", (int)n, name, digest);
    }
    return cb_report_write(path, text.buf, err);
}

int result_files_write(const struct result_options *o, const struct cb_build_result *res, struct cb_error *err)
{
    char digest[CB_DIGEST_TEXT_MAX], hex[CB_DIGEST_TEXT_MAX];
    cb_digest_text(&res->desc.digest, digest);
    cb_digest_hex(res->n_images == 1 ? &res->images[0].manifest.config.digest : &res->desc.digest, hex);
    int r = o->iidfile_raw ? cb_report_write(o->iidfile_raw, hex, err) : 0;
    if (r == 0 && o->digest_file)
        r = cb_report_write(o->digest_file, digest, err);
    if (r == 0 && o->name_file)
        r = write_names(o->name_file, res, false, err);
    if (r == 0 && o->name_tag_file)
        r = write_names(o->name_tag_file, res, true, err);
    return r;
}
